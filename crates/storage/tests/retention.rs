//! Which segments retention takes, by the settings that are in force at the time.

mod workload;

use std::time::Duration;

use ottla_protocol::records::{BatchOptions, NO_TIMESTAMP};
use ottla_storage::{CleanupPolicy, LogConfig};
use workload::disk::SteppedDisk;
use workload::{Node, START_MS, batch, partition};

const DAY_MS: i64 = 86_400_000;

fn node(folder: &tempfile::TempDir, config: LogConfig) -> Node {
    let config = LogConfig { segment_bytes: 400, segment_index_bytes: 800, ..config };
    Node::open(SteppedDisk::new(), folder.path(), config, START_MS)
}

/// Ten segments, the last of them active; records a minute apart.
fn fill(node: &Node, timestamp: impl Fn(i64) -> i64) {
    for number in 0..30 {
        let mut bytes = batch(&BatchOptions::default(), timestamp(number), &[("k", Some(&"v".repeat(50)))]);
        node.append(&mut bytes).expect("appends");
    }
    assert_eq!(node.log().segment_count(), 10);
}

fn minutes(number: i64) -> i64 {
    START_MS + number * 60_000
}

fn starts(node: &Node) -> Vec<i64> {
    node.log().segment_sizes().iter().map(|(base_offset, _)| *base_offset).collect()
}

#[test]
fn by_time_a_segment_goes_with_its_largest_timestamp() {
    let folder = tempfile::tempdir().expect("a directory");
    let node = node(&folder, LogConfig { retention_ms: DAY_MS, ..LogConfig::default() });
    fill(&node, minutes);
    let log = node.log();
    assert_eq!(log.delete_old_segments(minutes(8) + DAY_MS).expect("deletes"), 2, "not older than a day");
    assert_eq!((starts(&node)[0], log.log_start_offset()), (6, 6));
    assert_eq!(log.delete_old_segments(minutes(8) + DAY_MS + 1).expect("deletes"), 1);
    // The active segment, too, goes in the end; an empty one takes its place.
    assert_eq!(log.delete_old_segments(minutes(30) + DAY_MS).expect("deletes"), 7);
    assert_eq!((starts(&node), log.log_start_offset(), log.size()), (vec![30], 30, 0));
    assert_eq!(log.delete_old_segments(minutes(90) + DAY_MS).expect("deletes"), 0, "an empty one stays");
}

#[test]
fn a_timestamp_in_the_future_keeps_what_comes_behind() {
    let folder = tempfile::tempdir().expect("a directory");
    let config = LogConfig {
        retention_ms: 1000,
        message_timestamp_after_max_ms: i64::MAX,
        segment_ms: i64::MAX,
        ..LogConfig::default()
    };
    let node = node(&folder, config);
    fill(&node, |number| if number == 4 { START_MS + DAY_MS } else { minutes(number) });
    let log = node.log();
    assert_eq!(log.delete_old_segments(minutes(60)).expect("deletes"), 1);
    assert_eq!(starts(&node)[0], 3);
    assert_eq!(log.delete_old_segments(START_MS + DAY_MS + 1001).expect("deletes"), 9);
}

#[test]
fn without_timestamps_the_time_of_the_last_write_counts() {
    let folder = tempfile::tempdir().expect("a directory");
    let node = node(&folder, LogConfig { retention_ms: DAY_MS, ..LogConfig::default() });
    fill(&node, |_| NO_TIMESTAMP);
    let now_ms =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis()
            as i64;
    assert_eq!(node.log().delete_old_segments(now_ms).expect("deletes"), 0);
    assert_eq!(node.log().delete_old_segments(now_ms + 2 * DAY_MS).expect("deletes"), 10);
}

#[test]
fn by_size_whole_segments_go_that_are_not_needed() {
    let folder = tempfile::tempdir().expect("a directory");
    let node = node(&folder, LogConfig { retention_ms: -1, retention_bytes: 1000, ..LogConfig::default() });
    fill(&node, minutes);
    let log = node.log();
    let sizes = log.segment_sizes();
    log.delete_old_segments(START_MS).expect("deletes");
    assert!(log.size() >= 1000, "never less than is to be kept");
    let first = sizes.iter().find(|(base_offset, _)| *base_offset == starts(&node)[0]).expect("a segment");
    assert!(log.size() - first.1 < 1000, "and not a segment more");
}

#[test]
fn settings_take_effect_without_a_restart() {
    let folder = tempfile::tempdir().expect("a directory");
    let node = node(&folder, LogConfig { retention_ms: -1, ..LogConfig::default() });
    fill(&node, minutes);
    let log = node.log();
    let with = |change: &dyn Fn(&mut LogConfig)| {
        let mut config = (*log.config()).clone();
        change(&mut config);
        log.update_config(config);
        log.delete_old_segments(minutes(100)).expect("deletes")
    };
    assert_eq!(with(&|_| {}), 0);
    assert_eq!(with(&|config| config.retention_ms = 95 * 60_000), 1, "offsets 0 to 2");
    let size = log.size() as i64;
    assert_eq!(with(&|config| config.retention_bytes = size - 400), 1);
    // Nothing but what is below the log's start goes without `delete`.
    let policy = |delete, compact| CleanupPolicy { delete, compact };
    assert_eq!(with(&|config| (config.retention_ms, config.cleanup_policy) = (1, policy(false, true))), 0);
    assert_eq!(with(&|config| config.cleanup_policy = policy(false, false)), 0);
    log.delete_records(13).expect("deletes");
    assert_eq!(with(&|_| {}), 2, "up to the segment that holds the log's start");
    assert_eq!(starts(&node)[0], 12);
    assert_eq!(with(&|config| config.cleanup_policy = policy(true, true)), 6);
}

#[test]
fn compacted_logs_are_left_to_the_cleaner_threads() {
    let folder = tempfile::tempdir().expect("a directory");
    let both = LogConfig {
        retention_ms: 1,
        cleanup_policy: CleanupPolicy { delete: true, compact: true },
        ..LogConfig::default()
    };
    let node = node(&folder, both);
    fill(&node, minutes);
    assert_eq!(node.dirs.delete_old_segments(minutes(100)), 0);
    node.dirs.abort_and_pause_cleaning(&workload::partition());
    assert_eq!(node.dirs.delete_old_segments_of_compacted(minutes(100)), 0, "it is paused");
    node.dirs.resume_cleaning(&workload::partition());
    assert_eq!(node.dirs.delete_old_segments_of_compacted(minutes(100)), 10);
}

#[test]
fn nothing_at_or_above_the_high_watermark_goes() {
    let folder = tempfile::tempdir().expect("a directory");
    let node = node(&folder, LogConfig { retention_ms: 1, ..LogConfig::default() });
    fill(&node, minutes);
    let log = node.log();
    log.update_high_watermark(7);
    assert_eq!(log.delete_old_segments(minutes(100)).expect("deletes"), 2);
    assert_eq!(log.log_start_offset(), 6);
}

#[test]
fn files_stay_for_the_delay() {
    let folder = tempfile::tempdir().expect("a directory");
    let config = LogConfig { retention_ms: 1, file_delete_delay_ms: 500, ..LogConfig::default() };
    let node = node(&folder, config);
    fill(&node, minutes);
    let log = node.log();
    let read = log.read(0, 50, ottla_storage::log::FetchIsolation::HighWatermark, true).expect("reads");
    log.delete_old_segments(minutes(100)).expect("deletes");
    let deleted = || {
        std::fs::read_dir(folder.path().join("t-0"))
            .expect("lists")
            .filter(|file| {
                file.as_ref().is_ok_and(|file| file.file_name().to_string_lossy().ends_with(".deleted"))
            })
            .count()
    };
    assert!(deleted() >= 30);
    log.maintain(minutes(100) + 499).expect("maintains");
    assert!(deleted() >= 30);
    log.maintain(minutes(100) + 500).expect("maintains");
    assert_eq!(deleted(), 0);
    assert!(!read.slice.to_vec().expect("who reads still can").is_empty());
}

/// Files of closed segments are opened when they are first needed.
#[test]
fn what_is_deleted_under_a_lookup_is_none_of_its_business() {
    let lookup_during = |deletion: fn(&Node)| {
        let folder = tempfile::tempdir().expect("a directory");
        let disk = SteppedDisk::new();
        let config = LogConfig { segment_bytes: 400, segment_index_bytes: 800, ..LogConfig::default() };
        let node = Node::open(disk.clone(), folder.path(), config, START_MS);
        fill(&node, minutes);
        disk.steps.slow_down("index", Duration::from_millis(200));
        std::thread::scope(|scope| {
            let log = node.log();
            let lookup = scope.spawn(move || log.offset_for_timestamp(minutes(4)).expect("a lookup"));
            std::thread::sleep(Duration::from_millis(50));
            deletion(&node);
            let found = lookup.join().expect("looks up").expect("a record");
            assert!(found.offset >= 4, "{}", found.offset);
        });
        assert!(!node.dirs.dirs()[0].offline);
    };
    lookup_during(|node| {
        node.log().maybe_increment_log_start_offset(20).expect("moves the start");
        assert_eq!(node.log().delete_old_segments(START_MS).expect("deletes"), 6);
    });
    lookup_during(|node| assert!(node.dirs.delete(&partition(), START_MS).expect("deletes")));
    lookup_during(|node| {
        node.log().truncate_fully_and_start_at(100, None, START_MS).expect("truncates");
    });
}

#[test]
fn a_partition_that_is_deleted_under_a_flush_fails_no_directory() {
    let folder = tempfile::tempdir().expect("a directory");
    let disk = SteppedDisk::new();
    let config = LogConfig { segment_bytes: 400, segment_index_bytes: 800, ..LogConfig::default() };
    let node = Node::open(disk.clone(), folder.path(), config, START_MS);
    fill(&node, minutes);
    disk.steps.slow_down("-0", Duration::from_millis(200));
    std::thread::scope(|scope| {
        let log = node.log();
        assert!(log.dir().to_string_lossy().ends_with("-0"));
        let flush = scope.spawn(move || log.flush(START_MS));
        std::thread::sleep(Duration::from_millis(50));
        assert!(node.dirs.delete(&partition(), START_MS).expect("deletes"));
        flush.join().expect("ends").expect("flushes");
    });
    assert!(!node.dirs.dirs()[0].offline);
}
