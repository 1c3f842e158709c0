//! Damage that a reader meets fails what met it, is reported once, and leaves everything else alone.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::records::{BatchBuilder, BatchIter, BatchOptions};
use ottla_storage::dirs::DirState;
use ottla_storage::disk::{Disk, OsDisk};
use ottla_storage::log::{AppendOptions, FetchIsolation, Log, LogOptions};
use ottla_storage::producer_state::AppendOrigin;
use ottla_storage::{LogConfig, LogError, TopicPartition};

const NOW_MS: i64 = 1_700_000_000_000;
/// More than a log keeps in mind the places of.
const BATCHES: i64 = 20;

struct Setup {
    folder: tempfile::TempDir,
    state: Arc<DirState>,
    log: Arc<Log>,
}

fn append(log: &Log, timestamp: i64) {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(timestamp, None, Some(&[7; 100]), []);
    let bytes = builder.build().expect("builds").to_vec();
    let options = AppendOptions::new(AppendOrigin::Client, 0, NOW_MS);
    log.append_as_leader(&bytes, &options).expect("appends");
    log.maybe_increment_high_watermark(log.log_end_offset());
}

impl Setup {
    /// A log of one batch per offset, with an index entry for nearly each.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let state = Arc::new(DirState::new(folder.path().to_path_buf()));
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let config = LogConfig { index_interval_bytes: 1, ..LogConfig::default() };
        let dir = folder.path().join("t-0");
        let options = LogOptions { config, ..LogOptions::new(TopicPartition::new("t", 0), dir, NOW_MS) };
        let log = Log::open(&disk, &state, options).expect("opens");
        for offset in 0..BATCHES {
            append(&log, NOW_MS + offset);
        }
        Setup { folder, state, log }
    }

    /// Writes `bytes` at `at` within the batch at `offset`. Returns where.
    fn damage(&self, offset: i64, at: u64, bytes: &[u8]) -> u64 {
        let path = self.folder.path().join("t-0/00000000000000000000.log");
        let content = std::fs::read(&path).expect("the segment");
        let size = BatchIter::new(&content).next().expect("a batch").expect("a good one").size() as u64;
        let position = offset as u64 * size;
        let file = OpenOptions::new().write(true).open(&path).expect("the segment");
        file.write_all_at(bytes, position + at).expect("written");
        position
    }

    fn read(&self, offset: i64) -> Result<usize, LogError> {
        let read = self.log.read(offset, 1, FetchIsolation::HighWatermark, true)?;
        Ok(read.slice.to_vec().expect("bytes").len())
    }
}

#[test]
fn a_damaged_batch_fails_the_reads_that_meet_it_and_no_directory() {
    let setup = Setup::new();
    // The length of a batch: less than any batch has.
    let position = setup.damage(3, 8, &[0; 4]);
    for _ in 0..3 {
        let error = setup.read(3).expect_err("damage");
        assert_eq!(error.error_code(), ErrorCode::CorruptMessage, "{error}");
        let LogError::Damaged { source, .. } = error else { panic!("{error}") };
        assert!(source.path.ends_with("t-0/00000000000000000000.log"), "{source}");
        assert_eq!(source.position, Some(position), "{source}");
    }
    assert!(!setup.state.is_offline());
    assert_eq!(setup.state.damaged_places(), 1, "a place counts once");
    // Batches before and behind it, where the index leads around it.
    assert!(setup.read(1).expect("before the damage") > 0);
    assert!(setup.read(5).expect("behind the damage") > 0);
    append(&setup.log, NOW_MS + BATCHES);
    assert_eq!(setup.log.log_end_offset(), BATCHES + 1);
    assert!(setup.read(BATCHES).expect("the new batch") > 0);
    // Another place is another line.
    setup.damage(1, 8, &[0; 4]);
    setup.read(1).expect_err("damage");
    assert_eq!(setup.state.damaged_places(), 2);
}

#[test]
fn a_lookup_by_time_that_meets_damage_fails_alone() {
    let setup = Setup::new();
    setup.damage(3, 8, &[0; 4]);
    let error = setup.log.offset_for_timestamp(NOW_MS + 3).expect_err("damage");
    assert_eq!(error.error_code(), ErrorCode::CorruptMessage, "{error}");
    assert!(!setup.state.is_offline());
    assert_eq!(setup.state.damaged_places(), 1);
    let found = setup.log.offset_for_timestamp(NOW_MS + 1).expect("before the damage");
    assert_eq!(found.map(|found| found.offset), Some(1));
}
