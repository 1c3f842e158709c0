//! A log directory that fails takes its own logs with it, and nothing else.

mod workload;

use std::path::PathBuf;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::records::BatchOptions;
use ottla_storage::dirs::CleanShutdown;
use ottla_storage::disk::OsDisk;
use ottla_storage::log::{AppendOptions, FetchIsolation, Log};
use ottla_storage::producer_state::AppendOrigin;
use ottla_storage::{LogConfig, LogError, TopicPartition};
use workload::disk::{Fault, SteppedDisk};
use workload::{Node, START_MS, Workload, all_records, batch, compacted, partition};

struct Setup {
    folder: tempfile::TempDir,
    disk: Arc<SteppedDisk>,
    node: Node,
    /// One log in each directory.
    logs: Vec<Arc<Log>>,
}

impl Setup {
    fn new(config: LogConfig) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let disk = SteppedDisk::new();
        let node = Node::try_open(disk.clone(), Self::paths_in(&folder), config, START_MS).expect("opens");
        let logs = (0..2)
            .map(|number| {
                node.dirs
                    .get_or_create(&TopicPartition::new("t", number), None, None, START_MS)
                    .expect("a log")
            })
            .collect();
        Setup { folder, disk, node, logs }
    }

    fn paths_in(folder: &tempfile::TempDir) -> Vec<PathBuf> {
        ["a", "b"].iter().map(|name| folder.path().join(name)).collect()
    }

    fn paths(&self) -> Vec<PathBuf> {
        Self::paths_in(&self.folder)
    }

    fn append(&self, log: usize) -> Result<(), LogError> {
        let bytes = batch(&BatchOptions::default(), START_MS, &[("k", Some("some value"))]);
        let log = &self.logs[log];
        log.append_as_leader(&bytes, &AppendOptions::new(AppendOrigin::Client, 0, START_MS))?;
        log.maybe_increment_high_watermark(log.log_end_offset());
        Ok(())
    }

    fn offline(&self) -> Vec<bool> {
        self.node.dirs.dirs().iter().map(|dir| dir.offline).collect()
    }
}

#[test]
fn a_failed_directory_takes_only_its_logs() {
    for fault in [Fault::Write, Fault::Sync, Fault::Read, Fault::ReadOnly] {
        let setup = Setup::new(compacted());
        let failures = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = Arc::clone(&failures);
        setup.node.dirs.states()[0].on_failure(move |_| {
            counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        });
        for _ in 0..20 {
            setup.append(0).expect("appends");
            setup.append(1).expect("appends");
        }
        setup.disk.steps.set_fault(Some((&setup.paths()[0], fault)));
        let error = match fault {
            Fault::Write | Fault::ReadOnly => setup.append(0),
            Fault::Sync => setup.logs[0].flush(START_MS),
            _ => setup.logs[0].read(1, 100, FetchIsolation::LogEnd, true).map(|_| ()),
        }
        .expect_err("the disk does not work");
        assert_eq!(error.error_code(), ErrorCode::KafkaStorageError, "{fault:?}");
        assert_eq!(setup.offline(), [true, false], "{fault:?}");
        let error = setup.append(0).expect_err("is offline");
        assert!(matches!(error, LogError::DirOffline { .. }), "{error}");
        assert!(setup.logs[0].read(0, 100, FetchIsolation::LogEnd, true).is_err());
        assert_eq!(failures.load(std::sync::atomic::Ordering::SeqCst), 1, "told once");
        // Everything goes on elsewhere.
        setup.append(1).expect("appends");
        let new = setup.node.dirs.get_or_create(&TopicPartition::new("u", 0), None, None, START_MS);
        assert_eq!(new.expect("a log").dir_state().path(), setup.paths()[1]);
        setup.node.dirs.maintain(START_MS);
        setup.node.dirs.delete_old_segments(START_MS);
        setup.node.dirs.checkpoint();
        setup.node.dirs.shutdown(START_MS, 3);
        let marks: Vec<bool> = setup
            .paths()
            .iter()
            .map(|path| CleanShutdown::read(&OsDisk, path).expect("reads").is_some())
            .collect();
        assert_eq!(marks, [false, true], "{fault:?}");
        // The disk is mended: what had been written is there.
        let Setup { folder, node, logs, .. } = setup;
        drop((node, logs));
        let node = Node::try_open(SteppedDisk::new(), Setup::paths_in(&folder), compacted(), START_MS)
            .expect("opens");
        assert_eq!(all_records(&node.dirs.get(&partition()).expect("the log")).len(), 20, "{fault:?}");
        assert_eq!(node.dirs.get(&TopicPartition::new("t", 1)).expect("the log").log_end_offset(), 21);
    }
}

#[test]
fn a_directory_that_fails_at_the_start_leaves_the_others() {
    for fault in [Fault::ReadOnly, Fault::Read] {
        let setup = Setup::new(compacted());
        setup.append(0).expect("appends");
        setup.append(1).expect("appends");
        setup.node.dirs.shutdown(START_MS, 3);
        let Setup { folder, node, logs, .. } = setup;
        drop((node, logs));
        let disk = SteppedDisk::new();
        let paths = Setup::paths_in(&folder);
        disk.steps.set_fault(Some((&paths[0], fault)));
        let node = Node::try_open(disk, paths, compacted(), START_MS).expect("opens");
        assert_eq!(node.dirs.dirs().iter().map(|dir| dir.offline).collect::<Vec<_>>(), [true, false]);
        assert!(node.dirs.get(&partition()).is_none());
        assert_eq!(node.dirs.get(&TopicPartition::new("t", 1)).expect("the log").log_end_offset(), 1);
    }
}

#[test]
fn a_full_disk_stops_a_cleaning_and_nothing_else() {
    let mut setup = Setup::new(compacted());
    let mut load = Workload::new(8);
    for _ in 0..60 {
        load.step(&setup.node);
    }
    load.settle(&setup.node);
    setup.logs[0].roll(START_MS).expect("rolls");
    let before = all_records(&setup.logs[0]);
    setup.disk.steps.set_fault(Some((&setup.paths()[0], Fault::Full)));
    let result = setup.node.clean().expect("a cleaning").result;
    assert!(result.is_err());
    assert_eq!(setup.offline(), [false, false]);
    assert_eq!(all_records(&setup.logs[0]), before);
    assert!(setup.node.dirs.cleaner_status(START_MS).uncleanable.iter().all(|dir| dir.partitions.is_empty()));
    let names = std::fs::read_dir(setup.paths()[0].join("t-0")).expect("lists");
    assert!(
        names
            .into_iter()
            .all(|name| { !name.expect("a file").file_name().to_string_lossy().ends_with(".cleaned") })
    );
    setup.disk.steps.set_fault(None);
    while let Some(cleaning) = setup.node.clean() {
        cleaning.result.expect("there is space again");
    }
    assert!(all_records(&setup.logs[0]).len() < before.len());
    load.check(&setup.logs[0]);
}

#[test]
fn a_disk_that_fails_in_the_midst_of_a_cleaning_is_offline() {
    for fault in [Fault::Write, Fault::Sync, Fault::Read] {
        let mut setup = Setup::new(compacted());
        for _ in 0..100 {
            setup.append(0).expect("appends");
        }
        setup.logs[0].roll(START_MS).expect("rolls");
        setup.disk.steps.set_fault(Some((&setup.paths()[0], fault)));
        match setup.node.clean() {
            Some(cleaning) => assert!(cleaning.result.is_err(), "{fault:?}"),
            // It failed while logs were looked at.
            None => assert_eq!(fault, Fault::Read),
        }
        assert_eq!(setup.offline(), [true, false], "{fault:?}");
        assert!(setup.node.clean().is_none(), "what is offline is left alone");
    }
}

#[test]
fn a_move_to_a_directory_that_fails_leaves_the_original() {
    for fault in [Fault::Write, Fault::Sync, Fault::ReadOnly] {
        let setup = Setup::new(compacted());
        for _ in 0..20 {
            setup.append(0).expect("appends");
        }
        setup.node.dirs.begin_move(&partition(), &setup.paths()[1], START_MS).expect("begins");
        if fault == Fault::Sync {
            while !setup
                .node
                .dirs
                .copy_some(&partition(), 300, START_MS)
                .expect("copies")
                .expect("a move")
                .caught_up
            {}
        }
        setup.disk.steps.set_fault(Some((&setup.paths()[1], fault)));
        match fault {
            Fault::Sync => assert!(setup.node.dirs.finish_move(&partition(), START_MS).is_err()),
            _ => assert!(setup.node.dirs.copy_some(&partition(), 300, START_MS).is_err()),
        }
        assert_eq!(setup.offline(), [false, true], "{fault:?}");
        setup.append(0).expect("the original goes on");
        assert_eq!(setup.node.log().dir_state().path(), setup.paths()[0]);
    }
}
