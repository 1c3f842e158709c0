//! An append before the disk sees it (validation), an append as a whole, and finding an offset.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ottla_protocol::compression::{Codec, Compression};
use ottla_protocol::records::{BatchBuilder, BatchOptions, Scratch};
use ottla_storage::dirs::DirState;
use ottla_storage::disk::{Disk, OsDisk};
use ottla_storage::log::{AppendOptions, FetchIsolation, LogOptions};
use ottla_storage::producer_state::AppendOrigin;
use ottla_storage::validation::{ValidationContext, analyze, validate_records};
use ottla_storage::{Log, LogConfig, TopicPartition};

const NOW_MS: i64 = 1_700_000_000_000;

fn batch(records: usize, value_bytes: usize, codec: Codec) -> Vec<u8> {
    let options = BatchOptions { compression: Compression::of(codec), ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    // Something that compresses about as JSON does.
    let value: Vec<u8> =
        (0..value_bytes).map(|i| b"{\"key\": \"value\", \"number\": "[i % 27] ^ (i / 200) as u8).collect();
    for _ in 0..records {
        builder.append(NOW_MS, None, Some(&value), std::iter::empty());
    }
    builder.build().expect("it can be compressed").to_vec()
}

fn validation(c: &mut Criterion) {
    let partition = TopicPartition::new("t", 0);
    let config = LogConfig::default();
    let context = ValidationContext {
        partition: &partition,
        config: &config,
        origin: AppendOrigin::Client,
        leader_epoch: 0,
        now_ms: NOW_MS,
    };
    let mut scratch = Scratch::default();
    let mut group = c.benchmark_group("validation");
    for (name, records, value_bytes, codec) in [
        ("1 record of 100 B", 1, 100, Codec::None),
        ("100 records of 1 KiB", 100, 1024, Codec::None),
        ("100 records of 1 KiB, lz4", 100, 1024, Codec::Lz4),
        ("100 records of 1 KiB, zstd", 100, 1024, Codec::Zstd),
    ] {
        let bytes = batch(records, value_bytes, codec);
        // Bytes before compression, so that codecs can be compared.
        group.throughput(Throughput::Bytes((records * value_bytes) as u64));
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                || bytes.clone(),
                |bytes| {
                    let found = analyze(bytes, &context).expect("it is good");
                    validate_records(bytes, found.source_codec, &context, &mut scratch).expect("it is good");
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn open(folder: &tempfile::TempDir) -> Arc<Log> {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let state = Arc::new(DirState::new(folder.path().to_path_buf()));
    let options = LogOptions::new(TopicPartition::new("t", 0), folder.path().join("t-0"), NOW_MS);
    Log::open(&disk, &state, options).expect("a new log")
}

fn logs(c: &mut Criterion) {
    let options = AppendOptions::new(AppendOrigin::Client, 0, NOW_MS);
    let mut group = c.benchmark_group("log");
    // A segment with an index of some thousand entries.
    const BATCHES: i64 = 20_000;
    let folder = tempfile::tempdir().expect("a directory");
    let log = open(&folder);
    let bytes = batch(1, 4096, Codec::None);
    for _ in 0..BATCHES {
        log.append_as_leader(&bytes, &options).expect("it is appended");
    }
    log.maybe_increment_high_watermark(log.log_end_offset());
    let mut at = 0i64;
    group.throughput(Throughput::Elements(1));
    group.bench_function("find an offset among 20,000 batches", |b| {
        b.iter(|| {
            at = (at + 7_919) % BATCHES;
            log.read(black_box(at), 1, FetchIsolation::HighWatermark, true).expect("it is there").slice.len
        });
    });
    for (name, records, value_bytes) in [("1 record of 100 B", 1, 100), ("16 records of 1 KiB", 16, 1024)] {
        let folder = tempfile::tempdir().expect("a directory");
        let log = open(&folder);
        let bytes = batch(records, value_bytes, Codec::None);
        let mut appended = 0u64;
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(format!("append {name}"), |b| {
            b.iter_batched_ref(
                || bytes.clone(),
                |bytes| {
                    appended += 1;
                    log.append_as_leader(bytes, &options).expect("it is appended");
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    // Appends are files: few of them are enough.
    config = Criterion::default().measurement_time(std::time::Duration::from_secs(2));
    targets = validation, logs
}
criterion_main!(benches);
