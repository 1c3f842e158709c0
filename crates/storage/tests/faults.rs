//! A disk that fails: full, or with errors on writes and syncs; and files that lose or change bytes.

mod hooked_disk;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use hooked_disk::{HookedDisk, Hooks};
use ottla_protocol::ErrorCode;
use ottla_protocol::records::{BatchBuilder, BatchIter, BatchOptions};
use ottla_storage::dirs::DirState;
use ottla_storage::disk::{Disk, DiskFile};
use ottla_storage::log::{AppendOptions, FetchIsolation, Log, LogOptions};
use ottla_storage::producer_state::AppendOrigin;
use ottla_storage::{LogConfig, LogError, TopicPartition};
use proptest::prelude::*;

const NOW_MS: i64 = 1_700_000_000_000;
const FINE: u8 = 0;
/// Writes fail half way with "no space left".
const FULL: u8 = 1;
/// Writes fail with an I/O error.
const BROKEN_WRITES: u8 = 2;
/// Syncs fail with an I/O error.
const BROKEN_SYNCS: u8 = 3;
/// Files cannot be opened: the process has no descriptor left.
const NO_DESCRIPTORS: u8 = 4;

#[derive(Debug, Default)]
struct Faults {
    mode: AtomicU8,
}

impl Faults {
    fn set(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }

    fn is(&self, mode: u8) -> bool {
        self.mode.load(Ordering::SeqCst) == mode
    }
}

impl Hooks for Faults {
    fn opening(&self, _path: &Path) -> io::Result<()> {
        if self.is(NO_DESCRIPTORS) { Err(io::Error::from_raw_os_error(libc::EMFILE)) } else { Ok(()) }
    }
    fn syncing(&self, _path: &Path) -> io::Result<()> {
        if self.is(BROKEN_SYNCS) { Err(io::Error::other("input/output error")) } else { Ok(()) }
    }
    fn pwrite_all(&self, file: &dyn DiskFile, bytes: &[u8], position: u64) -> io::Result<()> {
        if self.is(FULL) {
            file.pwrite_all(&bytes[..bytes.len() / 2], position)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.is(BROKEN_WRITES) {
            return Err(io::Error::other("input/output error"));
        }
        file.pwrite_all(bytes, position)
    }
}

struct Setup {
    folder: tempfile::TempDir,
    disk: Arc<dyn Disk>,
    faults: Arc<Faults>,
    state: Arc<DirState>,
    config: LogConfig,
}

impl Setup {
    fn new(config: LogConfig) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let faults = Arc::new(Faults::default());
        let disk: Arc<dyn Disk> = Arc::new(HookedDisk(Arc::clone(&faults)));
        let state = Arc::new(DirState::new(folder.path().to_path_buf()));
        Setup { folder, disk, faults, state, config }
    }

    fn open(&self, clean: bool) -> Result<Arc<Log>, LogError> {
        let dir = self.folder.path().join("t-0");
        let options = LogOptions {
            config: self.config.clone(),
            had_clean_shutdown: clean,
            ..LogOptions::new(TopicPartition::new("t", 0), dir, NOW_MS)
        };
        Log::open(&self.disk, &self.state, options)
    }
}

fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 800,
        index_interval_bytes: 100,
        segment_index_bytes: 1200,
        ..LogConfig::default()
    }
}

fn batch(index: i32) -> Vec<u8> {
    let options = BatchOptions {
        producer_id: 4,
        producer_epoch: 0,
        base_sequence: index * 2,
        ..BatchOptions::default()
    };
    let mut builder = BatchBuilder::new(options);
    for record in 0..2 {
        builder.append(NOW_MS + i64::from(index * 2 + record), Some(b"k"), Some(b"some value"), []);
    }
    builder.build().expect("builds").to_vec()
}

fn append(log: &Log, index: i32) -> Result<(), LogError> {
    log.append_as_leader(&batch(index), &AppendOptions::new(AppendOrigin::Client, 0, NOW_MS)).map(|_| ())
}

/// Every record of a log from its start, whose offsets must follow one another.
fn count(log: &Log) -> i64 {
    let mut next = log.log_start_offset();
    while next < log.log_end_offset() {
        let read = log.read(next, 10_000, FetchIsolation::LogEnd, true).expect("reads");
        let bytes = read.slice.to_vec().expect("reads");
        for batch in BatchIter::new(&bytes) {
            let batch = batch.expect("a batch");
            batch.ensure_valid().expect("a good checksum");
            assert_eq!(batch.header().base_offset, next);
            next = batch.header().next_offset();
        }
    }
    next
}

#[test]
fn a_full_disk_costs_the_append_and_nothing_else() {
    let setup = Setup::new(small());
    let log = setup.open(true).expect("opens");
    for index in 0..20 {
        append(&log, index).expect("appends");
    }
    setup.faults.set(FULL);
    for _ in 0..3 {
        let error = append(&log, 20).expect_err("no space");
        assert!(error.is_shortage());
        assert_eq!(error.error_code(), ErrorCode::KafkaStorageError);
        assert_eq!((log.log_end_offset(), count(&log)), (40, 40), "reads go on");
    }
    assert!(!setup.state.is_offline());
    setup.faults.set(FINE);
    for index in 20..40 {
        append(&log, index).expect("space is back");
    }
    drop(log);
    let log = setup.open(false).expect("no torn batch is left");
    assert_eq!((log.log_end_offset(), count(&log)), (80, 80));
    assert_eq!(log.active_producers()[0].last_sequence, 79);
}

#[test]
fn without_descriptors_logs_stay_closed_but_the_directory_is_not_to_blame() {
    let setup = Setup::new(small());
    setup.faults.set(NO_DESCRIPTORS);
    assert!(setup.open(true).expect_err("no descriptor").is_shortage());
    assert!(!setup.state.is_offline());
    setup.faults.set(FINE);
    let log = setup.open(true).expect("opens");
    setup.faults.set(NO_DESCRIPTORS);
    // Until a segment has to be rolled or an index written.
    let failed = (0..500).find_map(|index| append(&log, index).err()).expect("needs a file at last");
    assert!(failed.is_shortage());
    assert!(!setup.state.is_offline());
    setup.faults.set(FINE);
    let end = log.log_end_offset();
    append(&log, end as i32 / 2).expect("goes on");
    assert_eq!(count(&log), log.log_end_offset());
}

#[test]
fn a_failed_write_takes_the_directory_offline_once() {
    let setup = Setup::new(LogConfig::default());
    let told = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&told);
    setup.state.on_failure(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    let log = setup.open(true).expect("opens");
    append(&log, 0).expect("appends");
    setup.faults.set(BROKEN_WRITES);
    assert_eq!(append(&log, 1).expect_err("broken").error_code(), ErrorCode::KafkaStorageError);
    setup.faults.set(FINE);
    let error = append(&log, 1).expect_err("offline for good");
    assert!(matches!(error, LogError::DirOffline { .. }));
    assert_eq!(error.error_code(), ErrorCode::KafkaStorageError);
    assert!(log.read(0, 100, FetchIsolation::LogEnd, true).is_err());
    assert_eq!(told.load(Ordering::SeqCst), 1);
}

#[test]
fn a_failed_sync_takes_the_directory_offline_and_moves_no_recovery_point() {
    let setup = Setup::new(LogConfig::default());
    let log = setup.open(true).expect("opens");
    append(&log, 0).expect("appends");
    log.flush(NOW_MS).expect("syncs");
    assert_eq!(log.recovery_point(), 2);
    append(&log, 1).expect("appends");
    setup.faults.set(BROKEN_SYNCS);
    assert_eq!(log.flush(NOW_MS).expect_err("broken").error_code(), ErrorCode::KafkaStorageError);
    assert!(setup.state.is_offline());
    assert_eq!(log.recovery_point(), 2);
}

#[test]
fn flush_messages_syncs_within_the_append() {
    let setup = Setup::new(LogConfig { flush_messages: 1, ..LogConfig::default() });
    let log = setup.open(true).expect("opens");
    append(&log, 0).expect("appends");
    assert_eq!((log.recovery_point(), log.unflushed_messages()), (2, 0));
}

fn files(dir: &Path, suffix: &str) -> Vec<std::path::PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(dir)
        .expect("lists")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().ends_with(suffix))
        .collect();
    found.sort();
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever a crash leaves of the files, the log opens, and holds a prefix of what was appended.
    #[test]
    fn any_cut_or_flip_leaves_a_prefix(
        appends in 1..30i32,
        synced in 0..30i64,
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        flip in prop::option::of(1..=255u8),
        lose_indexes: bool,
    ) {
        let setup = Setup::new(small());
        let log = setup.open(true).expect("opens");
        for index in 0..appends {
            append(&log, index).expect("appends");
        }
        let _ = log.flush_up_to(synced.min(log.log_end_offset()), NOW_MS);
        drop(log);
        let dir = setup.folder.path().join("t-0");
        let logs = files(&dir, ".log");
        let path = &logs[which.index(logs.len())];
        let mut bytes = std::fs::read(path).expect("reads");
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            match flip {
                // Base offset and leader epoch are not covered by the checksum: a flip there can look sound.
                Some(mask) if !matches!(at % batch(0).len(), 0..8 | 12..16) => bytes[at] ^= mask,
                Some(_) => {}
                // A cut between two batches, before a later segment, leaves a hole like that of a compacted log.
                None if at % batch(0).len() == 0 && path != &logs[logs.len() - 1] => {}
                None => bytes.truncate(at),
            }
            std::fs::write(path, &bytes).expect("writes");
        }
        if lose_indexes {
            for path in files(&dir, ".index").iter().chain(&files(&dir, ".timeindex")) {
                std::fs::write(path, b"lost").expect("writes");
            }
        }
        let log = setup.open(false).expect("opens");
        let end = log.log_end_offset();
        prop_assert!(end <= i64::from(appends) * 2);
        let found = count(&log);
        prop_assert_eq!(found, end);
        let next = (end / 2) as i32;
        prop_assert_eq!(end % 2, 0);
        append(&log, next).expect("the producer goes on behind the prefix");
        log.close(NOW_MS).expect("closes");
        let log = setup.open(true).expect("opens");
        prop_assert_eq!(log.log_end_offset(), end + 2);
        prop_assert_eq!(count(&log), end + 2);
    }
}
