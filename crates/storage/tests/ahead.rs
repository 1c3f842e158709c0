//! What is done ahead of a sync: zeros behind the end of a log whose every append is synced, and writing that begins before
//! anybody waits for it.

mod hooked_disk;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use hooked_disk::{HookedDisk, Hooks};
use ottla_protocol::records::{BatchBuilder, BatchIter, BatchOptions};
use ottla_storage::dirs::DirState;
use ottla_storage::disk::{Disk, DiskFile};
use ottla_storage::log::{AppendOptions, FetchIsolation, Log, LogOptions};
use ottla_storage::producer_state::AppendOrigin;
use ottla_storage::{LogConfig, TopicPartition};

const NOW_MS: i64 = 1_700_000_000_000;

#[derive(Debug, Default)]
struct Watch {
    /// Nothing that is all zeros can be written: no space.
    no_zeros: AtomicBool,
    /// Ranges whose writing was begun.
    begun: Mutex<Vec<(u64, u64)>>,
}

impl Hooks for Watch {
    fn pwrite_all(&self, file: &dyn DiskFile, bytes: &[u8], position: u64) -> io::Result<()> {
        if self.no_zeros.load(Ordering::SeqCst) && bytes.iter().all(|byte| *byte == 0) {
            file.pwrite_all(&bytes[..bytes.len() / 2], position)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.pwrite_all(bytes, position)
    }

    fn start_writeback(&self, _file: &dyn DiskFile, position: u64, len: u64) {
        self.begun.lock().expect("no panic").push((position, len));
    }
}

struct Setup {
    folder: tempfile::TempDir,
    watch: Arc<Watch>,
    state: Arc<DirState>,
    config: LogConfig,
}

impl Setup {
    fn new(config: LogConfig) -> Setup {
        let folder = tempfile::tempdir().expect("a directory");
        let state = Arc::new(DirState::new(folder.path().to_path_buf()));
        Setup { folder, watch: Arc::default(), state, config }
    }

    fn durable() -> Setup {
        Setup::new(LogConfig { flush_messages: 1, ..LogConfig::default() })
    }

    fn open(&self, had_clean_shutdown: bool) -> Arc<Log> {
        let disk: Arc<dyn Disk> = Arc::new(HookedDisk(Arc::clone(&self.watch)));
        let options = LogOptions {
            config: self.config.clone(),
            had_clean_shutdown,
            ..LogOptions::new(TopicPartition::new("t", 0), self.folder.path().join("t-0"), NOW_MS)
        };
        Log::open(&disk, &self.state, options).expect("opens")
    }

    fn file(&self, base_offset: i64) -> PathBuf {
        self.folder.path().join(format!("t-0/{base_offset:020}.log"))
    }

    fn file_len(&self, base_offset: i64) -> u64 {
        std::fs::metadata(self.file(base_offset)).expect("is there").len()
    }
}

fn append(log: &Log, value_bytes: usize) -> ottla_storage::log::AppendInfo {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(NOW_MS, None, Some(&vec![b'v'; value_bytes]), []);
    let batch = builder.build().expect("builds");
    log.append_as_leader(&batch, &AppendOptions::new(AppendOrigin::Client, 0, NOW_MS)).expect("appends")
}

fn offsets(log: &Log) -> Vec<i64> {
    let read = log.read(0, 1 << 20, FetchIsolation::LogEnd, true).expect("reads");
    let bytes = read.slice.to_vec().expect("reads");
    let batches = BatchIter::new(&bytes).map(|batch| {
        let batch = batch.expect("a batch");
        batch.ensure_valid().expect("a good checksum");
        batch.header().base_offset
    });
    batches.collect()
}

#[test]
fn a_durable_log_runs_into_zeros_until_it_is_closed() {
    let setup = Setup::durable();
    let log = setup.open(true);
    append(&log, 1000);
    let len = setup.file_len(0);
    assert!(len > log.size() && len - log.size() <= 256 * 1024, "{len}");
    for _ in 0..10 {
        append(&log, 1000);
    }
    assert_eq!(setup.file_len(0), len, "these needed no more");
    append(&log, 500_000);
    assert!(setup.file_len(0) > log.size(), "and this did");
    let written = std::fs::read(setup.file(0)).expect("reads");
    assert!(written[log.size() as usize..].iter().all(|byte| *byte == 0));
    log.close(NOW_MS).expect("closes");
    assert_eq!(setup.file_len(0), log.size());
    assert_eq!(offsets(&setup.open(true)), (0..12).collect::<Vec<_>>());
}

#[test]
fn a_crash_leaves_zeros_that_the_next_start_cuts_off() {
    let setup = Setup::durable();
    let log = setup.open(true);
    for _ in 0..5 {
        append(&log, 100);
    }
    let size = log.size();
    drop(log);
    assert!(setup.file_len(0) > size);
    let log = setup.open(false);
    assert_eq!((setup.file_len(0), log.size(), log.log_end_offset()), (size, size, 5));
    append(&log, 100);
    assert_eq!(offsets(&log), (0..6).collect::<Vec<_>>());
}

#[test]
fn a_closed_segment_and_a_truncated_one_have_no_zeros() {
    let setup = Setup::durable();
    let log = setup.open(true);
    for _ in 0..4 {
        append(&log, 100);
    }
    let size = log.size();
    log.roll(NOW_MS).expect("rolls");
    assert_eq!(setup.file_len(0), size);
    append(&log, 100);
    append(&log, 100);
    assert!(setup.file_len(4) > log.size() - size);
    log.truncate_to(5, NOW_MS).expect("truncates");
    assert_eq!(setup.file_len(4), log.size() - size);
    append(&log, 100);
    assert_eq!(offsets(&log).len(), 4, "of the first segment");
    assert_eq!(log.log_end_offset(), 6);
}

#[test]
fn a_disk_without_room_for_zeros_takes_records() {
    let setup = Setup::durable();
    let log = setup.open(true);
    setup.watch.no_zeros.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        append(&log, 100);
        assert_eq!(setup.file_len(0), log.size());
    }
    assert!(!setup.state.is_offline());
    assert_eq!(offsets(&log), [0, 1, 2]);
}

#[test]
fn other_logs_are_as_long_as_their_records() {
    let setup = Setup::new(LogConfig::default());
    let log = setup.open(true);
    append(&log, 100);
    assert_eq!(setup.file_len(0), log.size());
}

#[test]
fn writing_begins_with_each_mebibyte_and_leaves_out_the_end() {
    let setup = Setup::new(LogConfig::default());
    let log = setup.open(true);
    let mut due = 0;
    for _ in 0..80 {
        if append(&log, 100_000).writeback_due {
            due += 1;
            log.start_writeback();
        }
    }
    assert_eq!(due, 7, "of 8 MB");
    let begun = setup.watch.begun.lock().expect("no panic").clone();
    let mut reached = 0;
    for (position, len) in begun {
        assert_eq!(position, reached, "one behind the other");
        reached += len;
    }
    let behind = log.size() - reached;
    assert!((512 * 1024..3 << 20).contains(&behind), "{behind}");
    assert_eq!(log.recovery_point(), 0, "nothing is durable by that");
}
