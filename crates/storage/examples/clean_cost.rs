//! What cleaning costs: fills a compacted log of a data directory, then cleans it and says how fast that was.
//!
//! `cargo run --release -p ottla-storage --example clean_cost -- DIR TOPIC fill MEGABYTES KEYS VALUE_BYTES none|zstd`
//! `cargo run --release -p ottla-storage --example clean_cost -- DIR TOPIC clean`

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ottla_protocol::compression::{Codec, Compression};
use ottla_protocol::records::{BatchBuilder, BatchOptions};
use ottla_storage::cleaner::{Cleaner, CleanerConfig, CleanerControl};
use ottla_storage::dirs::{LogDirs, LogDirsOptions};
use ottla_storage::disk::OsDisk;
use ottla_storage::log::AppendOptions;
use ottla_storage::producer_state::AppendOrigin;
use ottla_storage::{CleanupPolicy, LogConfig, TopicPartition};

const RECORDS_PER_BATCH: u64 = 100;

struct Free;

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

impl CleanerControl for Free {
    fn now_ms(&self) -> i64 {
        now_ms()
    }

    fn io(&self, _: usize, _: &dyn Fn() -> bool) -> bool {
        true
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let text = |at: usize| args.get(at).expect("an argument").as_str();
    let number = |at: usize| text(at).parse::<u64>().expect("a number");
    let config = LogConfig {
        segment_bytes: 100 << 20,
        cleanup_policy: CleanupPolicy { delete: false, compact: true },
        min_cleanable_dirty_ratio: 0.01,
        ..LogConfig::default()
    };
    let options = LogDirsOptions {
        topic_configs: Arc::new(move |_| config.clone()),
        ..LogDirsOptions::new(vec![PathBuf::from(text(0))])
    };
    let dirs = LogDirs::open(Arc::new(OsDisk), options, 1).expect("opens");
    dirs.load_logs(now_ms(), &|_| false);
    let partition = TopicPartition::new(text(1), 0);
    let log = dirs.get_or_create(&partition, None, None, now_ms()).expect("a log");
    log.update_high_watermark(log.log_end_offset());
    if text(2) == "fill" {
        let (keys, value_bytes) = (number(4), number(5) as usize);
        let codec = Codec::from_name(text(6)).expect("a codec");
        let mut seed = 1u64;
        let mut value: Vec<u8> = (0..value_bytes as u64).map(|at| b'a' + (at * at % 23) as u8).collect();
        while log.size() < number(3) << 20 {
            let options = BatchOptions { compression: Compression::of(codec), ..BatchOptions::default() };
            let mut builder = BatchBuilder::new(options);
            for _ in 0..RECORDS_PER_BATCH {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let key = format!("key-{:012}", (seed >> 20) % keys);
                let at = (seed >> 50) as usize % value_bytes;
                value[at] = value[at].wrapping_add(1);
                builder.append(now_ms(), Some(key.as_bytes()), Some(&value), []);
            }
            let bytes = builder.build().expect("builds").to_vec();
            let options = AppendOptions::new(AppendOrigin::Client, 0, now_ms());
            log.append_as_leader(&bytes, &options).expect("appends");
        }
        log.update_high_watermark(log.log_end_offset());
        log.roll(now_ms()).expect("rolls");
        println!("{} MB, {} records", log.size() >> 20, log.log_end_offset());
    } else {
        let mut cleaner = Cleaner::new(&CleanerConfig::default(), 7);
        let began = Instant::now();
        while let (Some(cleaning), _) = dirs.clean_filthiest(&mut cleaner, &Free) {
            let (end, stats) = cleaning.result.expect("cleans");
            let mb = |bytes: u64| bytes as f64 / 1_048_576.0;
            println!(
                "to {end}: {:.0} MB in {:.2} s ({:.0} MB/s): map {:.2} s, copied {:.0} MB of {} records",
                mb(stats.bytes_read),
                stats.elapsed_secs(),
                mb(stats.bytes_read) / stats.elapsed_secs(),
                stats.elapsed_index_secs(),
                mb(stats.bytes_written),
                stats.messages_written,
            );
        }
        println!("all in {:.2} s", began.elapsed().as_secs_f64());
    }
    dirs.shutdown(now_ms(), -1);
}
