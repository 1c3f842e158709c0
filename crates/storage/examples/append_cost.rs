//! What one append and one read of a log cost, on this machine. Usage: `cargo run --release -p ottla-storage --example
//! append_cost -- DIR`, which prints nanoseconds per batch for a few batch sizes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use ottla_protocol::compression::{Codec, Compression};
use ottla_protocol::records::{BatchBuilder, BatchOptions};
use ottla_storage::TopicPartition;
use ottla_storage::dirs::{LogDirs, LogDirsOptions};
use ottla_storage::disk::OsDisk;
use ottla_storage::log::{AppendOptions, FetchIsolation};
use ottla_storage::producer_state::AppendOrigin;

const NOW_MS: i64 = 1_795_330_000_000;
const TOTAL_BYTES: usize = 256 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = PathBuf::from(std::env::args().nth(1).ok_or("usage: append_cost DIR")?);
    let dirs = LogDirs::open(Arc::new(OsDisk), LogDirsOptions::new(vec![dir]), 1)?;
    dirs.load_logs(NOW_MS, &|_| false);
    for (records, value, codec) in
        [(1, 100, Codec::None), (16, 1024, Codec::None), (64, 1024, Codec::None), (64, 1024, Codec::Lz4)]
    {
        let partition = TopicPartition::new(format!("r{records}v{value}-{codec}"), 0);
        let log = dirs.get_or_create(&partition, None, None, NOW_MS)?;
        let options = BatchOptions { compression: Compression::of(codec), ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options);
        for _ in 0..records {
            builder.append(NOW_MS, None, Some(&vec![b'x'; value]), []);
        }
        let bytes = builder.build()?;
        let count = (TOTAL_BYTES / bytes.len()).clamp(1000, 300_000);
        let mut buffer = bytes.to_vec();
        let started = Instant::now();
        for _ in 0..count {
            buffer.copy_from_slice(&bytes);
            log.append_as_leader(&buffer, &AppendOptions::new(AppendOrigin::Client, 0, NOW_MS))?;
            log.maybe_increment_high_watermark(log.log_end_offset());
        }
        let append = started.elapsed();
        let started = Instant::now();
        let mut next = 0;
        let mut reads = 0u32;
        let mut out = Vec::new();
        while next < log.log_end_offset() {
            let read = log.read(next, 1 << 20, FetchIsolation::HighWatermark, true)?;
            out.clear();
            read.slice.read_into(&mut out)?;
            next += (read.slice.len / bytes.len()).max(1) as i64 * records;
            reads += 1;
        }
        println!(
            "{partition}: {} byte batches, append {} ns, read of 1 MiB {} us",
            bytes.len(),
            append.as_nanos() / count as u128,
            started.elapsed().as_micros() / u128::from(reads.max(1)),
        );
    }
    dirs.shutdown(NOW_MS, 1);
    Ok(())
}
