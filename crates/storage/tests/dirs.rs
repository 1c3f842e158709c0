//! The log directories of a node: placement, restarts, deletion, locks, strays.

use std::path::PathBuf;
use std::sync::Arc;

use ottla_protocol::records::{BatchBuilder, BatchOptions};
use ottla_protocol::types::Uuid;
use ottla_storage::dirs::{DirError, LogDirs, LogDirsOptions, MetaProperties};
use ottla_storage::disk::OsDisk;
use ottla_storage::log::{AppendOptions, Log};
use ottla_storage::producer_state::AppendOrigin;
use ottla_storage::{LogError, TopicPartition};

const NOW_MS: i64 = 1_700_000_000_000;

struct Setup {
    folder: tempfile::TempDir,
}

impl Setup {
    fn new() -> Self {
        Setup { folder: tempfile::tempdir().expect("a directory") }
    }

    fn paths(&self) -> Vec<PathBuf> {
        ["a", "b"].iter().map(|name| self.folder.path().join(name)).collect()
    }

    fn open(&self) -> LogDirs {
        let dirs = self.try_open().expect("opens");
        dirs.load_logs(NOW_MS, &|_| false);
        dirs
    }

    fn try_open(&self) -> Result<LogDirs, DirError> {
        LogDirs::open(Arc::new(OsDisk), LogDirsOptions::new(self.paths()), 99)
    }
}

fn append(log: &Log, records: i64) {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for _ in 0..records {
        builder.append(NOW_MS, None, Some(b"value"), []);
    }
    let bytes = builder.build().expect("builds").to_vec();
    log.append_as_leader(&bytes, &AppendOptions::new(AppendOrigin::Client, 0, NOW_MS)).expect("appends");
    log.maybe_increment_high_watermark(log.log_end_offset());
}

fn partition(topic: &str, number: i32) -> TopicPartition {
    TopicPartition::new(topic, number)
}

/// The open files of this process below a folder.
fn open_files(below: &std::path::Path) -> usize {
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("lists");
    let links = descriptors.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.filter(|path| path.starts_with(below)).count()
}

#[test]
fn a_partition_keeps_one_file_open() {
    let setup = Setup::new();
    let dirs = setup.open();
    let before = open_files(setup.folder.path());
    for number in 0..20 {
        let log = dirs.get_or_create(&partition("many", number), None, None, NOW_MS).expect("creates");
        append(&log, 10);
        log.flush(NOW_MS).expect("flushes");
    }
    assert_eq!(open_files(setup.folder.path()) - before, 20);
}

#[test]
fn partitions_are_spread_and_found_again_after_a_clean_stop() {
    let setup = Setup::new();
    let id = Uuid::from_random([7; 16]);
    let dirs = setup.open();
    assert_eq!(dirs.previous_broker_epoch(), -1);
    for number in 0..6 {
        let log = dirs.get_or_create(&partition("t", number), Some(id), None, NOW_MS).expect("creates");
        append(&log, i64::from(number) + 1);
    }
    dirs.get(&partition("t", 5)).expect("is there").delete_records(2).expect("deletes");
    let in_a = dirs.all().iter().filter(|log| log.dir().starts_with(&setup.paths()[0])).count();
    assert_eq!(in_a, 3);
    dirs.shutdown(NOW_MS, 17);
    drop(dirs);

    let dirs = setup.open();
    assert_eq!(dirs.previous_broker_epoch(), 17);
    assert_eq!(dirs.all().len(), 6);
    for number in 0..6 {
        let log = dirs.get(&partition("t", number)).expect("is there");
        assert_eq!(log.log_end_offset(), i64::from(number) + 1);
        assert_eq!(
            (log.high_watermark(), log.recovery_point()),
            (i64::from(number) + 1, i64::from(number) + 1)
        );
        assert_eq!(log.topic_id(), Some(id));
    }
    assert_eq!(dirs.get(&partition("t", 5)).expect("is there").log_start_offset(), 2);
    let other = Uuid::from_random([8; 16]);
    let error = dirs.get_or_create(&partition("t", 0), Some(other), None, NOW_MS).expect_err("another topic");
    assert!(matches!(error, LogError::InvalidArgument { .. }));
}

#[test]
fn after_a_kill_logs_are_recovered_and_checkpoints_hold() {
    let setup = Setup::new();
    let dirs = setup.open();
    let log = dirs.get_or_create(&partition("t", 0), None, None, NOW_MS).expect("creates");
    append(&log, 5);
    log.flush(NOW_MS).expect("syncs");
    append(&log, 4);
    dirs.checkpoint();
    let text =
        std::fs::read_to_string(setup.paths()[0].join("recovery-point-offset-checkpoint")).expect("reads");
    // Before the last durable record: see `Log::recovery_point_to_note`.
    assert_eq!(text, "0\n1\nt 0 4\n");
    append(&log, 3);
    drop((log, dirs));
    let dirs = setup.open();
    assert_eq!(dirs.previous_broker_epoch(), -1);
    let log = dirs.get(&partition("t", 0)).expect("is there");
    assert_eq!((log.log_end_offset(), log.high_watermark(), log.recovery_point()), (12, 9, 4));
}

#[test]
fn a_deleted_partition_is_gone_at_once_and_its_files_later() {
    let setup = Setup::new();
    let dirs = setup.open();
    let log = dirs.get_or_create(&partition("t", 0), None, None, NOW_MS).expect("creates");
    append(&log, 1);
    let slice = log.read(0, 100, ottla_storage::log::FetchIsolation::LogEnd, true).expect("reads").slice;
    assert!(dirs.delete(&partition("t", 0), NOW_MS).expect("deletes"));
    assert!(!dirs.delete(&partition("t", 0), NOW_MS).expect("is gone"));
    assert!(dirs.get(&partition("t", 0)).is_none());
    let again = dirs.get_or_create(&partition("t", 0), None, None, NOW_MS).expect("creates");
    assert_eq!(again.log_end_offset(), 0);
    let marked = || {
        std::fs::read_dir(&setup.paths()[0])
            .expect("lists")
            .filter(|entry| {
                entry.as_ref().expect("an entry").file_name().to_string_lossy().ends_with("-delete")
            })
            .count()
    };
    assert_eq!(marked(), 1);
    dirs.maintain(NOW_MS + 59_999);
    assert_eq!(marked(), 1);
    dirs.maintain(NOW_MS + 60_000);
    assert_eq!(marked(), 0);
    assert_eq!(slice.to_vec().expect("a reader goes on").len(), slice.len);
}

#[test]
fn a_log_that_the_cluster_does_not_know_is_set_aside() {
    let setup = Setup::new();
    let dirs = setup.open();
    for topic in ["known", "unknown"] {
        append(&dirs.get_or_create(&partition(topic, 0), None, None, NOW_MS).expect("creates"), 1);
    }
    dirs.shutdown(NOW_MS, 1);
    drop(dirs);
    let dirs = setup.try_open().expect("opens");
    dirs.load_logs(NOW_MS, &|log| &*log.partition().topic == "unknown");
    assert_eq!(dirs.all().len(), 1);
    let stray = setup.paths().iter().any(|path| {
        std::fs::read_dir(path).expect("lists").any(|entry| {
            let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
            name.starts_with("unknown-0.") && name.ends_with("-stray")
        })
    });
    assert!(stray);
}

#[test]
fn a_directory_belongs_to_one_process() {
    let setup = Setup::new();
    let dirs = setup.open();
    assert!(matches!(setup.try_open(), Err(DirError::Locked { .. })));
    drop(dirs);
    setup.try_open().expect("is free again");
}

#[test]
fn a_directory_that_cannot_be_used_leaves_the_other() {
    let setup = Setup::new();
    std::fs::write(&setup.paths()[0], b"a file").expect("writes");
    let dirs = setup.open();
    let info = dirs.dirs();
    assert_eq!((info[0].offline, info[1].offline), (true, false));
    assert!(info[1].total_bytes.is_some_and(|bytes| bytes > 0));
    let log = dirs.get_or_create(&partition("t", 0), None, None, NOW_MS).expect("creates");
    assert!(log.dir().starts_with(&setup.paths()[1]));
    std::fs::remove_dir_all(&setup.paths()[1]).expect("removes");
    drop((log, dirs));
    std::fs::write(&setup.paths()[1], b"a file").expect("writes");
    assert!(matches!(setup.try_open(), Err(DirError::NoneOnline { .. })));
}

#[test]
fn a_named_directory_is_used() {
    let setup = Setup::new();
    let ids = [Uuid::from_random([1; 16]), Uuid::from_random([2; 16])];
    for (path, id) in setup.paths().iter().zip(ids) {
        std::fs::create_dir_all(path).expect("makes");
        MetaProperties::new("cluster", 3, id).write(&OsDisk, path, NOW_MS).expect("writes");
    }
    let dirs = setup.open();
    for number in 0..3 {
        let log = dirs.get_or_create(&partition("t", number), None, Some(ids[1]), NOW_MS).expect("creates");
        assert!(log.dir().starts_with(&setup.paths()[1]));
    }
    assert_eq!(dirs.meta_properties()[0].1.node_id, Some(3));
}
