//! Offsets that are missing between two segments: compaction leaves them so, and what is behind them is good.

use std::sync::Arc;

use ottla_protocol::records::{BatchBuilder, BatchIter, BatchOptions};
use ottla_storage::dirs::DirState;
use ottla_storage::disk::{Disk, OsDisk};
use ottla_storage::log::{AppendOptions, FetchIsolation, Log, LogOptions};
use ottla_storage::producer_state::AppendOrigin;
use ottla_storage::{LogConfig, TopicPartition};

const NOW_MS: i64 = 1_700_000_000_000;

struct Setup {
    folder: tempfile::TempDir,
    disk: Arc<dyn Disk>,
}

impl Setup {
    fn new() -> Self {
        Setup { folder: tempfile::tempdir().expect("a directory"), disk: Arc::new(OsDisk) }
    }

    /// Opens as after a kill, without a recovery point. The topic is not compacted, or not any more.
    fn open(&self) -> Arc<Log> {
        let state = Arc::new(DirState::new(self.folder.path().to_path_buf()));
        let options = LogOptions {
            config: LogConfig { segment_bytes: 400, index_interval_bytes: 1, ..LogConfig::default() },
            had_clean_shutdown: false,
            ..LogOptions::new(TopicPartition::new("t", 0), self.folder.path().join("t-0"), NOW_MS)
        };
        let log = Log::open(&self.disk, &state, options).expect("opens");
        log.update_high_watermark(log.log_end_offset());
        log
    }
}

fn append(log: &Log) {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(NOW_MS, None, Some(&[7; 100]), []);
    let bytes = builder.build().expect("builds").to_vec();
    log.append_as_leader(&bytes, &AppendOptions::new(AppendOrigin::Client, 0, NOW_MS)).expect("appends");
    log.maybe_increment_high_watermark(log.log_end_offset());
}

/// The offsets that a consumer gets, from the start on.
fn offsets(log: &Log) -> Vec<i64> {
    let mut found = Vec::new();
    let mut next = log.log_start_offset();
    while next < log.log_end_offset() {
        let read = log.read(next, 1 << 20, FetchIsolation::HighWatermark, true).expect("reads");
        let bytes = read.slice.to_vec().expect("bytes");
        for batch in BatchIter::new(&bytes) {
            let header = *batch.expect("a good batch").header();
            found.push(header.base_offset);
            next = header.next_offset();
        }
        assert!(!bytes.is_empty(), "nothing at {next}");
    }
    found
}

#[test]
fn what_is_behind_the_gap_that_compaction_left_survives_a_kill() {
    let setup = Setup::new();
    let log = setup.open();
    for _ in 0..10 {
        append(&log);
    }
    let bases: Vec<i64> = log.segment_sizes().iter().map(|(base, _)| *base).collect();
    assert!(bases.len() >= 3, "{bases:?}");
    drop(log);
    // Compaction took the last batch of the first segment, and its index is one of a shorter segment.
    let dir = setup.folder.path().join("t-0");
    let first = dir.join("00000000000000000000.log");
    let content = std::fs::read(&first).expect("the segment");
    let sizes: Vec<usize> = BatchIter::new(&content).map(|batch| batch.expect("good").size()).collect();
    let kept: usize = sizes[..sizes.len() - 1].iter().sum();
    std::fs::write(&first, &content[..kept]).expect("written");

    let missing = bases[1] - 1;
    let expected: Vec<i64> = (0..10).filter(|offset| *offset != missing).collect();
    let log = setup.open();
    assert_eq!(log.log_end_offset(), 10);
    assert_eq!(offsets(&log), expected);
    append(&log);
    assert_eq!(log.log_end_offset(), 11);
    drop(log);
    assert_eq!(offsets(&setup.open()).len(), 10);
}

#[test]
fn what_is_behind_damage_does_not() {
    let setup = Setup::new();
    let log = setup.open();
    for _ in 0..10 {
        append(&log);
    }
    let bases: Vec<i64> = log.segment_sizes().iter().map(|(base, _)| *base).collect();
    drop(log);
    // The end of the first segment reads as zeros, as after a power cut.
    let first = setup.folder.path().join("t-0/00000000000000000000.log");
    let mut content = std::fs::read(&first).expect("the segment");
    let size = BatchIter::new(&content).next().expect("a batch").expect("good").size();
    let from = content.len() - size;
    content[from..].fill(0);
    std::fs::write(&first, &content).expect("written");
    assert_eq!(setup.open().log_end_offset(), bases[1] - 1);
}
