//! Any bytes as record batches: every record of every batch is read under a budget, whatever the codec.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_protocol::records::{BatchIter, Scratch, patch};

fuzz_target!(|data: &[u8]| {
    let mut scratch = Scratch::with_budget(1 << 20);
    // Most inputs fail the checksum; with it put right the rest of the reader is reached too.
    let mut repaired = data.to_vec();
    if repaired.len() > 61 {
        repaired[16] = 2;
        let length = (repaired.len() - 12) as i32;
        repaired[8..12].copy_from_slice(&length.to_be_bytes());
        patch::refresh_crc(&mut repaired);
    }
    for bytes in [data, &repaired] {
        for batch in BatchIter::new(bytes) {
            let Ok(batch) = batch else { break };
            let _ = batch.ensure_valid();
            if let Ok(records) = batch.records(&mut scratch) {
                for record in records {
                    let Ok(record) = record else { break };
                    for header in record.headers.iter() {
                        let _ = (header.key, header.value);
                    }
                }
            }
        }
    }
});
