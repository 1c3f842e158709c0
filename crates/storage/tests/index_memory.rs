//! The memory of the indexes of closed segments is bounded, whatever is read, and reads stay right.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla_protocol::records::{BatchBuilder, BatchIter, BatchOptions};
use ottla_storage::dirs::DirState;
use ottla_storage::disk::{Disk, Loaded, OsDisk};
use ottla_storage::log::{AppendOptions, FetchIsolation, Log, LogOptions};
use ottla_storage::producer_state::AppendOrigin;
use ottla_storage::{LogConfig, LogError, TopicPartition};

const NOW_MS: i64 = 1_700_000_000_000;
/// Records of a batch.
const RECORDS: i64 = 3;
/// Records at the end that may be taken back.
const UNCOMMITTED: i64 = 30 * RECORDS;

struct Setup {
    folder: tempfile::TempDir,
    state: Arc<DirState>,
    log: Arc<Log>,
}

/// The record at offset N has the timestamp `NOW_MS + N`.
fn append(log: &Log) {
    let base = log.log_end_offset();
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for n in 0..RECORDS {
        builder.append(NOW_MS + base + n, None, Some(&[7; 100]), []);
    }
    let bytes = builder.build().expect("builds").to_vec();
    log.append_as_leader(&bytes, &AppendOptions::new(AppendOrigin::Client, 0, NOW_MS)).expect("appends");
    log.maybe_increment_high_watermark((log.log_end_offset() - UNCOMMITTED).max(0));
}

impl Setup {
    /// A log in which each closed segment has some 40 batches, and each batch an entry of 8 bytes in the offset index and
    /// one of 12 in the time index.
    fn new(batches: usize, limit: usize) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let state = Arc::new(DirState::new(folder.path().to_path_buf()));
        state.set_max_index_memory_bytes(limit);
        let config = LogConfig {
            segment_bytes: 16_000,
            index_interval_bytes: 1,
            retention_ms: -1,
            ..LogConfig::default()
        };
        let dir = folder.path().join("t-0");
        let options = LogOptions { config, ..LogOptions::new(TopicPartition::new("t", 0), dir, NOW_MS) };
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let log = Log::open(&disk, &state, options).expect("opens");
        (0..batches).for_each(|_| append(&log));
        Setup { folder, state, log }
    }

    /// Bytes of all indexes of closed segments.
    fn index_bytes(&self) -> u64 {
        let active = format!("{:020}", self.log.segment_sizes().last().expect("a segment").0);
        let files = std::fs::read_dir(self.folder.path().join("t-0")).expect("a directory");
        files
            .map(|file| file.expect("a file"))
            .filter(|file| {
                let name = file.file_name().to_string_lossy().into_owned();
                name.ends_with("index") && !name.starts_with(&active)
            })
            .map(|file| file.metadata().expect("metadata").len())
            .sum()
    }
}

/// Reads the batch that holds the offset; none when the log no longer has it.
fn read(log: &Log, offset: i64) -> Option<i64> {
    let found = match log.read(offset, 1, FetchIsolation::LogEnd, true) {
        Ok(found) => found,
        Err(LogError::OffsetOutOfRange { .. }) => return None,
        Err(error) => panic!("{error}"),
    };
    let Loaded::Bytes(bytes) = found.slice.load().expect("loads") else { panic!("a short slice") };
    let batch = BatchIter::new(&bytes).next()?.expect("a batch");
    let header = *batch.header();
    batch.ensure_valid().expect("a good batch");
    assert!(header.base_offset <= offset && offset <= header.last_offset(), "{offset} in {header:?}");
    Some(header.base_offset)
}

#[test]
fn a_log_that_is_read_through_keeps_no_more_than_the_limit() {
    let limit = 4000;
    let setup = Setup::new(2000, limit);
    assert!(setup.log.segment_count() > 40);
    assert!(setup.index_bytes() > 8 * limit as u64, "{}", setup.index_bytes());
    assert_eq!(setup.state.index_memory_bytes(), 0, "what is appended to does not count");
    let mut most = 0;
    for offset in (0..setup.log.log_end_offset()).step_by(7) {
        assert_eq!(read(&setup.log, offset), Some(offset / RECORDS * RECORDS));
        let found = setup.log.offset_for_timestamp(NOW_MS + offset).expect("a lookup").expect("a record");
        assert_eq!(found.offset, offset);
        most = most.max(setup.state.index_memory_bytes());
    }
    assert!(most <= limit && most > limit / 2, "{most}");
    let aborted = setup.log.collect_aborted_transactions(0, i64::MAX).expect("reads");
    assert!(aborted.is_empty());
    assert!(setup.state.index_memory_bytes() <= limit, "also with files that are not there");

    // Lookups at the end need what is appended to, and nothing of what is kept.
    let before = setup.state.index_memory_bytes();
    let active = setup.log.segment_sizes().last().expect("a segment").0;
    for offset in active..setup.log.log_end_offset() {
        assert_eq!(read(&setup.log, offset), Some(offset / RECORDS * RECORDS));
    }
    assert_eq!(setup.state.index_memory_bytes(), before);

    setup.state.set_max_index_memory_bytes(0);
    assert!(setup.state.index_memory_bytes() < 1000, "at most one is left");
    let log = Arc::downgrade(&setup.log);
    let Setup { folder: _folder, state, log: held } = setup;
    drop(held);
    assert!(log.upgrade().is_none());
    assert_eq!(state.index_memory_bytes(), 0, "and none of a log that is gone");
}

/// Readers look up whatever there is while indexes are let go of all the time, segments are closed behind them, deleted
/// before them and cut under them.
#[test]
fn lookups_stay_right_while_indexes_come_and_go() {
    let setup = Setup::new(600, 1000);
    let (log, state) = (&setup.log, &setup.state);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3u64)
            .map(|reader| {
                let done = &done;
                scope.spawn(move || {
                    let mut random = 88_172_645_463_325_252 ^ (reader << 40);
                    let mut reads = 0;
                    while !done.load(Ordering::Relaxed) {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;
                        let (start, end) = (log.log_start_offset(), log.high_watermark());
                        let offset = start + (random % (end - start).max(1) as u64) as i64;
                        if let Some(base) = read(log, offset) {
                            assert_eq!(base, offset / RECORDS * RECORDS);
                            reads += 1;
                        }
                        if let Some(found) = log.offset_for_timestamp(NOW_MS + offset).expect("a lookup") {
                            // What begins behind it was deleted meanwhile.
                            assert!(found.offset >= offset, "{} for {offset}", found.offset);
                            assert_eq!(found.timestamp, NOW_MS + found.offset);
                        }
                        assert!(state.index_memory_bytes() <= 1000);
                    }
                    reads
                })
            })
            .collect();
        for round in 0..60 {
            (0..20).for_each(|_| append(log));
            if round % 4 == 0 {
                // Into a closed segment, which is appended to from now on.
                log.truncate_to(log.log_end_offset() - 25 * RECORDS, NOW_MS).expect("truncates");
            }
            if round % 7 == 0 {
                log.maybe_increment_log_start_offset(log.log_start_offset() + 100).expect("moves the start");
                log.delete_old_segments(NOW_MS).expect("deletes");
            }
            log.maintain(NOW_MS).expect("maintains");
        }
        done.store(true, Ordering::Relaxed);
        let reads: usize = readers.into_iter().map(|reader| reader.join().expect("reads")).sum();
        assert!(reads > 100, "{reads}");
    });
    for offset in log.log_start_offset()..log.log_end_offset() {
        assert_eq!(read(log, offset), Some(offset / RECORDS * RECORDS));
    }
}
