//! Every target, and those of the file formats.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::records::{BatchBuilder, BatchIter, BatchOptions, Scratch};
use ottla_protocol::types::Uuid;
use ottla_storage::checkpoint::{
    LEADER_EPOCH_CHECKPOINT, RECOVERY_POINT_CHECKPOINT, parse_offsets, render_offsets,
};
use ottla_storage::dirs::{
    DirState, LogDirs, LogDirsOptions, META_PROPERTIES_FILE, MetaProperties, PARTITION_METADATA_FILE,
    PartitionMetadata,
};
use ottla_storage::disk::Disk;
use ottla_storage::kraft::{QUORUM_STATE_FILE, QuorumState, SnapshotFiles, SnapshotId};
use ottla_storage::log::{AppendOptions, FetchIsolation, Log, LogOptions};
use ottla_storage::producer_state::{AppendOrigin, parse_snapshot, render_snapshot};
use ottla_storage::{LogConfig, TopicPartition};

use super::memory::MemoryDisk;
use super::wire;

const NOW_MS: i64 = 1_700_000_000_000;
const ROOT: &str = "/d";
const DIR: &str = "/d/t-0";
/// Decompressed bytes of one batch.
const BUDGET: usize = 1 << 20;

/// A file format, or a family of messages.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Reads the bytes as such; panics when something is wrong.
    pub run: fn(&[u8]),
    /// Good inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "segment", run: segment, seeds: || log_files(".log") },
    Target { name: "offset_index", run: offset_index, seeds: || log_files(".index") },
    Target { name: "time_index", run: time_index, seeds: || log_files(".timeindex") },
    Target { name: "txn_index", run: txn_index, seeds: || log_files(".txnindex") },
    Target { name: "producer_snapshot", run: producer_snapshot, seeds: || log_files(".snapshot") },
    Target { name: "leader_epochs", run: leader_epochs, seeds: || log_files(LEADER_EPOCH_CHECKPOINT) },
    Target { name: "offset_checkpoint", run: offset_checkpoint, seeds: offset_checkpoint_seeds },
    Target { name: "quorum_state", run: quorum_state, seeds: quorum_state_seeds },
    Target { name: "meta_properties", run: meta_properties, seeds: meta_properties_seeds },
    Target { name: "partition_metadata", run: partition_metadata, seeds: partition_metadata_seeds },
    Target { name: "kraft_snapshot", run: kraft_snapshot, seeds: || log_files(".log") },
    Target { name: "requests", run: wire::requests, seeds: wire::request_seeds },
    Target { name: "responses", run: wire::responses, seeds: wire::response_seeds },
    Target { name: "records", run: wire::records, seeds: wire::record_seeds },
    Target { name: "batches", run: wire::batches, seeds: wire::batch_seeds },
];

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 2000,
        index_interval_bytes: 60,
        segment_index_bytes: 240,
        message_timestamp_after_max_ms: i64::MAX,
        ..LogConfig::default()
    }
}

fn open(fs: &MemoryDisk, clean: bool) -> Result<Arc<Log>, ottla_storage::LogError> {
    let disk: Arc<dyn Disk> = Arc::new(fs.clone());
    let state = Arc::new(DirState::new(PathBuf::from(ROOT)));
    let options = LogOptions {
        config: config(),
        had_clean_shutdown: clean,
        transaction_verification: false,
        producer_id_expiration_ms: i64::MAX,
        ..LogOptions::new(TopicPartition::new("t", 0), PathBuf::from(DIR), NOW_MS)
    };
    Log::open(&disk, &state, options)
}

fn batch(producer: (i64, i16, i32), transactional: bool, records: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        producer_id: producer.0,
        producer_epoch: producer.1,
        base_sequence: producer.2,
        transactional,
        ..BatchOptions::default()
    });
    for record in 0..records {
        builder.append(NOW_MS + record, Some(b"key"), Some(b"value"), []);
    }
    builder.build().expect("builds").to_vec()
}

fn append(log: &Log, bytes: Vec<u8>, origin: AppendOrigin, epoch: i32) {
    log.append_as_leader(&bytes, &AppendOptions::new(origin, epoch, NOW_MS)).expect("appends");
}

/// A disk with a small log of plain, idempotent and transactional records and of two epochs, closed in order.
fn small_log() -> MemoryDisk {
    let fs = MemoryDisk::default();
    fs.create_dir_all(Path::new(DIR)).expect("an empty disk");
    let log = open(&fs, true).expect("opens");
    append(&log, batch((-1, -1, -1), false, 3), AppendOrigin::Client, 0);
    append(&log, batch((1, 0, 0), false, 2), AppendOrigin::Client, 0);
    append(&log, batch((2, 0, 0), true, 2), AppendOrigin::Client, 1);
    append(&log, super::super::storage::abort_marker(NOW_MS, 2, 0), AppendOrigin::Coordinator, 1);
    append(&log, batch((1, 0, 2), false, 1), AppendOrigin::Client, 1);
    log.close(NOW_MS).expect("closes");
    fs
}

fn log_files(suffix: &str) -> Vec<Vec<u8>> {
    let fs = small_log();
    let files = fs.files(Path::new(DIR)).into_iter();
    files.filter(|(name, _)| name.ends_with(suffix)).map(|(_, bytes)| bytes).collect()
}

thread_local! {
    /// The files of the small log, made once.
    static SMALL: Vec<(PathBuf, Vec<u8>)> = {
        let files = small_log().files(Path::new(DIR)).into_iter();
        files.map(|(name, bytes)| (Path::new(DIR).join(name), bytes)).collect()
    };
}

/// A disk with the small log, one file of which is replaced.
fn small_log_with(name: &str, bytes: &[u8]) -> MemoryDisk {
    let fs = MemoryDisk::default();
    fs.create_dir_all(Path::new(DIR)).expect("an empty disk");
    SMALL.with(|files| {
        for (path, content) in files {
            fs.put(path, content);
        }
    });
    fs.put(&Path::new(DIR).join(name), bytes);
    fs
}

/// An error must say which file it is about.
fn names(error: &(dyn std::error::Error + 'static), file: &str) {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    assert!(text.contains(file), "an error that does not name {file}: {text}");
}

/// Uses a log in every way that looks at its files.
fn use_log(log: &Log) {
    let mut next = log.log_start_offset();
    for isolation in [FetchIsolation::LogEnd, FetchIsolation::TxnCommitted] {
        log.update_high_watermark(log.log_end_offset());
        while let Ok(read) = log.read(next, 300, isolation, true) {
            let bytes = read.slice.to_vec().unwrap_or_default();
            let last = BatchIter::new(&bytes).flatten().map(|batch| batch.header().next_offset()).last();
            match last {
                Some(last) if last > next => next = last,
                _ => break,
            }
        }
        next = log.log_start_offset();
    }
    let _ = log.offset_for_timestamp(NOW_MS + 1);
    let _ = log.max_timestamp_offset();
    let _ = log.producer_entries();
    let _ = log.collect_aborted_transactions(0, 100);
    let _ = log.truncate_to(5, NOW_MS);
    let bytes = batch((-1, -1, -1), false, 1);
    let _ = log.append_as_leader(&bytes, &AppendOptions::new(AppendOrigin::Client, 2, NOW_MS));
    let _ = log.roll(NOW_MS);
    let _ = log.delete_old_segments(NOW_MS);
    let _ = log.close(NOW_MS);
}

/// Whether an input goes one of two ways.
fn coin(bytes: &[u8], salt: u64) -> bool {
    ottla_testkit::rng::mix_bytes(salt, bytes) & 1 == 1
}

fn segment(bytes: &[u8]) {
    let name = "00000000000000000000.log";
    if coin(bytes, 1) {
        // After a kill everything is scanned, and what is good is kept.
        let fs = MemoryDisk::default();
        fs.create_dir_all(Path::new(DIR)).expect("an empty disk");
        fs.put(&Path::new(DIR).join(name), bytes);
        let log = open(&fs, false).expect("a scan cuts what is bad");
        use_log(&log);
        return;
    }
    let fs = small_log_with(name, bytes);
    match open(&fs, true) {
        Ok(log) => use_log(&log),
        Err(error) => names(&error, name),
    }
}

/// `rebuilt` says that a start after a kill does without the file.
fn with_file(name: &str, bytes: &[u8], rebuilt: bool) {
    let fs = small_log_with(name, bytes);
    let clean = coin(bytes, 1);
    match open(&fs, clean) {
        Ok(log) => {
            let whole = clean || !rebuilt || log.log_end_offset() == 9;
            assert!(whole, "the log is whole: {}", log.log_end_offset());
            if coin(bytes, 2) {
                use_log(&log);
            }
        }
        Err(error) => {
            assert!(clean || !rebuilt, "what can be built anew is never refused: {error}");
            // An index can lead to a place in the log where no batch starts.
            names(&error, name.split('.').next().unwrap_or(name));
        }
    }
}

fn offset_index(bytes: &[u8]) {
    with_file("00000000000000000000.index", bytes, true);
}

fn time_index(bytes: &[u8]) {
    with_file("00000000000000000000.timeindex", bytes, true);
}

fn txn_index(bytes: &[u8]) {
    with_file("00000000000000000000.txnindex", bytes, true);
}

fn producer_snapshot(bytes: &[u8]) {
    if let Ok(entries) = parse_snapshot(bytes) {
        assert_eq!(parse_snapshot(&render_snapshot(&entries)).map(|again| again.len()), Ok(entries.len()));
    }
    with_file("00000000000000000009.snapshot", bytes, true);
}

fn leader_epochs(bytes: &[u8]) {
    with_file(LEADER_EPOCH_CHECKPOINT, bytes, false);
}

fn offset_checkpoint(bytes: &[u8]) {
    if let Ok(offsets) = parse_offsets(bytes) {
        assert_eq!(parse_offsets(render_offsets(&offsets).as_bytes()).as_ref(), Ok(&offsets));
    }
    let fs = small_log_with(LEADER_EPOCH_CHECKPOINT, b"0\n0\n");
    fs.put(&Path::new(ROOT).join(RECOVERY_POINT_CHECKPOINT), bytes);
    let options = LogDirsOptions {
        recovery_threads_per_data_dir: 0,
        topic_configs: Arc::new(|_| config()),
        ..LogDirsOptions::new(vec![PathBuf::from(ROOT)])
    };
    let dirs = LogDirs::open(Arc::new(fs), options, 1).expect("opens");
    dirs.load_logs(NOW_MS, &|_| false);
    for log in dirs.all() {
        use_log(&log);
    }
    dirs.checkpoint();
}

fn offset_checkpoint_seeds() -> Vec<Vec<u8>> {
    let offsets = [(TopicPartition::new("t", 0), 5), (TopicPartition::new("topic-2", 11), i64::MAX)];
    vec![render_offsets(&offsets.into_iter().collect()).into_bytes(), b"0\n0\n".to_vec()]
}

/// Reads a small file by its own reader, which must name it when it is bad.
fn small_file<T>(
    name: &str,
    bytes: &[u8],
    read: impl FnOnce(&dyn Disk, &Path) -> io::Result<Option<T>>,
) -> Option<T> {
    let fs = MemoryDisk::default();
    fs.create_dir_all(Path::new(ROOT)).expect("an empty disk");
    fs.put(&Path::new(ROOT).join(name), bytes);
    match read(&fs, Path::new(ROOT)) {
        Ok(found) => found,
        Err(error) => {
            names(&error, name);
            None
        }
    }
}

fn quorum_state(bytes: &[u8]) {
    if let Some(state) = small_file(QUORUM_STATE_FILE, bytes, QuorumState::read) {
        assert_eq!(QuorumState::parse(state.render().as_bytes()), Ok(state));
    }
}

fn quorum_state_seeds() -> Vec<Vec<u8>> {
    let old = QuorumState { data_version: 0, current_voters: Some(vec![1, 2, 3]), ..QuorumState::default() };
    let new = QuorumState { leader_id: 3, leader_epoch: 9, voted_id: 3, ..QuorumState::default() };
    vec![old.render().into_bytes(), new.render().into_bytes()]
}

fn meta_properties(bytes: &[u8]) {
    if let Some(meta) = small_file(META_PROPERTIES_FILE, bytes, MetaProperties::read) {
        let _ = meta.render("date");
    }
}

fn meta_properties_seeds() -> Vec<Vec<u8>> {
    let meta = MetaProperties::new("b3R0bGEtb3JhY2xlLS0tLQ", 1, Uuid([7; 16]));
    vec![meta.render("Sun Nov 22 04:27:03 UTC 2026").into_bytes(), b"version=0\nbroker.id=7\n".to_vec()]
}

fn partition_metadata(bytes: &[u8]) {
    if let Some(metadata) = small_file(PARTITION_METADATA_FILE, bytes, PartitionMetadata::read) {
        assert_eq!(PartitionMetadata::parse(&metadata.render()), Some(metadata));
    }
}

fn partition_metadata_seeds() -> Vec<Vec<u8>> {
    vec![PartitionMetadata { topic_id: Uuid([7; 16]) }.render().into_bytes()]
}

fn kraft_snapshot(bytes: &[u8]) {
    let fs = MemoryDisk::default();
    fs.create_dir_all(Path::new(ROOT)).expect("an empty disk");
    let id = SnapshotId { end_offset: 9, epoch: 1 };
    fs.put(&Path::new(ROOT).join(id.file_name()), bytes);
    let files = SnapshotFiles::new(Arc::new(fs), Path::new(ROOT));
    assert_eq!(files.list().expect("lists"), [id]);
    let read = files.read(id, 1 << 20).expect("reads").unwrap_or_default();
    assert_eq!(read, bytes);
    let mut scratch = Scratch::with_budget(BUDGET);
    for batch in BatchIter::new(&read) {
        let Ok(batch) = batch else { break };
        let _ = batch.ensure_valid();
        if let Ok(records) = batch.records(&mut scratch) {
            for record in records {
                let Ok(record) = record else { break };
                let _ = ottla_protocol::records::control::ControlRecordType::parse_key(record.key);
            }
        }
    }
}
