//! Batches in a log whose content is larger than their topic allows: what reads their records refuses them, and takes no
//! memory for them. They come by replication, by an adopted directory, or by a limit that was lowered.

mod workload;

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::compression::{Codec, Compression, CompressionError};
use ottla_protocol::records::{BatchBuilder, BatchOptions, RecordsError};
use ottla_storage::cleaner::CleanError;
use ottla_storage::dirs::DirState;
use ottla_storage::disk::{Disk, OsDisk};
use ottla_storage::log::{Log, LogOptions};
use ottla_storage::{LogConfig, LogError, TopicPartition};
use workload::disk::SteppedDisk;
use workload::{Node, START_MS, compacted, partition};

/// More than a batch of a topic with the usual settings may become.
const BOMB_RECORDS: i64 = 130;
const BOMB_VALUE_BYTES: usize = 1 << 20;

/// Each record has a timestamp and a key of its own.
fn zstd(base_offset: i64, records: i64, value: &[u8]) -> Vec<u8> {
    let compression = Compression::of(Codec::Zstd);
    let mut builder = BatchBuilder::new(BatchOptions { base_offset, compression, ..BatchOptions::default() });
    for n in base_offset..base_offset + records {
        builder.append(START_MS + n, Some(&n.to_be_bytes()), Some(value), []);
    }
    builder.build().expect("builds").to_vec()
}

fn bomb(base_offset: i64) -> Vec<u8> {
    let bytes = zstd(base_offset, BOMB_RECORDS, &vec![0; BOMB_VALUE_BYTES]);
    assert!(bytes.len() < 100_000, "{}", bytes.len());
    bytes
}

fn follow(log: &Log, bytes: &[u8]) {
    log.append_as_follower(bytes, 0, START_MS).expect("appends");
    log.update_high_watermark(log.log_end_offset());
}

fn is_over_budget(error: &RecordsError, budget: usize) -> bool {
    matches!(error, RecordsError::Decompression(CompressionError::BudgetExceeded { budget_bytes }) if *budget_bytes == budget)
}

#[test]
fn lookups_by_timestamp_are_held_to_the_limits_of_the_topic() {
    let folder = tempfile::tempdir().expect("a directory");
    let state = Arc::new(DirState::new(folder.path().to_path_buf()));
    let config = LogConfig::default();
    let options = LogOptions {
        config: config.clone(),
        ..LogOptions::new(TopicPartition::new("t", 0), folder.path().join("t-0"), START_MS)
    };
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let log = Log::open(&disk, &state, options).expect("opens");
    follow(&log, &zstd(0, 10, &[1; 1000]));
    follow(&log, &bomb(10));
    let end = 10 + BOMB_RECORDS;

    let find =
        |offset: i64| log.offset_for_timestamp(START_MS + offset).map(|found| found.map(|at| at.offset));
    assert_eq!(find(5).expect("a lookup"), Some(5));
    for result in [find(20).map(|_| ()), log.max_timestamp_offset().map(|_| ())] {
        let error = result.expect_err("too large");
        assert_eq!(error.error_code(), ErrorCode::InvalidRecord);
        let LogError::Records(error) = error else { panic!("{error}") };
        assert!(is_over_budget(&error, 128 << 20), "{error}");
    }
    assert!(!state.is_offline());
    assert_eq!(state.damaged_places(), 0, "it is what was written");

    // With messages that large a batch may become larger too.
    log.update_config(LogConfig { max_message_bytes: 9 << 20, ..config.clone() });
    assert_eq!(find(20).expect("a lookup"), Some(20));
    assert_eq!(log.max_timestamp_offset().expect("a lookup").map(|at| at.offset), Some(end - 1));

    // And back: what a thread has read for one topic is no measure for another.
    log.update_config(config.clone());
    find(20).expect_err("too large");

    log.update_config(LogConfig { max_decompressed_message_bytes: 900, ..config });
    let LogError::Records(error) = find(5).expect_err("too large") else { panic!("another error") };
    assert!(matches!(error, RecordsError::RecordTooLarge { max: 900, .. }), "{error}");
}

#[test]
fn a_cleaning_is_held_to_the_limits_of_the_topic() {
    let large = LogConfig { segment_bytes: 1 << 20, max_message_bytes: 9 << 20, ..compacted() };
    let usual = LogConfig { max_message_bytes: 1 << 20, ..large.clone() };
    let short = LogConfig { max_decompressed_message_bytes: 1000, ..large.clone() };
    let cases = [
        (usual, Some("exceeds the budget of 134217728 bytes")),
        (short, Some("exceeds the configured maximum record size of 1000")),
        (large, None),
    ];
    for (config, refusal) in cases {
        let folder = tempfile::tempdir().expect("a directory");
        let mut node = Node::open(SteppedDisk::new(), folder.path(), config, START_MS);
        let log = node.log();
        follow(&log, &bomb(0));
        log.roll(START_MS).expect("rolls");
        node.put("d", Some("1"));
        match (node.clean().expect("a cleaning").result, refusal) {
            (Ok(_), None) => {}
            (Err(CleanError::Corrupt { offset: 0, source, .. }), Some(text)) => {
                assert!(source.to_string().contains(text), "{source}");
            }
            (result, _) => panic!("{result:?}"),
        }
        let set_aside = node.dirs.cleaner_status(node.now()).uncleanable;
        let set_aside: Vec<_> = set_aside.iter().flat_map(|dir| dir.partitions.clone()).collect();
        assert_eq!(set_aside, refusal.map(|_| partition()).into_iter().collect::<Vec<_>>());
        assert_eq!(log.log_end_offset(), BOMB_RECORDS + 1, "the log goes on");
    }
}
