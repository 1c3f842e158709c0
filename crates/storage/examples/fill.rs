//! Writes a log directory with everything that Kafka's tools look at: every codec, several segments, transactions.
//! Usage: `cargo run -p ottla-storage --example fill -- DIR`, then `kafka-dump-log --files DIR/...`.

use std::path::PathBuf;
use std::sync::Arc;

use ottla_protocol::compression::{Codec, Compression};
use ottla_protocol::records::control::EndTxnMarker;
use ottla_protocol::records::{BatchBuilder, BatchOptions, Header};
use ottla_protocol::types::Uuid;
use ottla_storage::dirs::{LogDirs, LogDirsOptions};
use ottla_storage::disk::OsDisk;
use ottla_storage::log::AppendOptions;
use ottla_storage::producer_state::AppendOrigin;
use ottla_storage::{LogConfig, TopicPartition};

const NOW_MS: i64 = 1_795_330_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = PathBuf::from(std::env::args().nth(1).ok_or("usage: fill DIR")?);
    let mut options = LogDirsOptions::new(vec![dir]);
    options.topic_configs = Arc::new(|_| LogConfig {
        segment_bytes: 20_000,
        index_interval_bytes: 400,
        segment_index_bytes: 4096,
        ..LogConfig::default()
    });
    options.transaction_verification = false;
    let dirs = LogDirs::open(Arc::new(OsDisk), options, 42)?;
    dirs.load_logs(NOW_MS, &|_| false);
    let id = Uuid::from_random(*b"0123456789abcdef");
    for codec in Codec::ALL {
        let partition = TopicPartition::new(format!("codec-{codec}"), 0);
        let log = dirs.get_or_create(&partition, Some(id), None, NOW_MS)?;
        for batch in 0..200i32 {
            let transactional = batch % 3 == 0;
            let mut builder = BatchBuilder::new(BatchOptions {
                compression: Compression::of(codec),
                producer_id: if transactional { 7 } else { 3 },
                producer_epoch: 0,
                base_sequence: if transactional { batch / 3 * 5 } else { (batch - 1 - batch / 3) * 5 },
                transactional,
                ..BatchOptions::default()
            });
            for record in 0..5i64 {
                let timestamp = NOW_MS - 100_000 + i64::from(batch) * 10 + record;
                let value = format!("value {batch} {record} {}", "x".repeat((batch % 50) as usize));
                let header = Header { key: b"h", value: Some(b"v") };
                builder.append(timestamp, Some(b"key"), Some(value.as_bytes()), [header]);
            }
            let bytes = builder.build()?.to_vec();
            log.append_as_leader(&bytes, &AppendOptions::new(AppendOrigin::Client, 4, NOW_MS))?;
            if transactional {
                let marker = EndTxnMarker { commit: batch % 2 == 0, coordinator_epoch: 1 };
                let bytes = marker.batch(0, NOW_MS, 4, 7, 0).to_vec();
                let options = AppendOptions {
                    transaction_version: 1,
                    ..AppendOptions::new(AppendOrigin::Coordinator, 4, NOW_MS)
                };
                log.append_as_leader(&bytes, &options)?;
            }
            log.maybe_increment_high_watermark(log.log_end_offset());
        }
    }
    dirs.shutdown(NOW_MS, 5);
    Ok(())
}
