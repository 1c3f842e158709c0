//! Replicas that move from one log directory to another, and logs that are found where they were left.

mod workload;

use std::path::PathBuf;

use ottla_protocol::records::BatchOptions;
use ottla_protocol::types::Uuid;
use ottla_storage::LogError;
use ottla_storage::dirs::{LogDirsSettings, MetaProperties};
use ottla_storage::log::AppendOptions;
use ottla_storage::producer_state::AppendOrigin;
use workload::disk::SteppedDisk;
use workload::{Node, START_MS, Workload, all_records, compacted, partition};

struct Setup {
    folder: tempfile::TempDir,
}

impl Setup {
    fn new() -> Self {
        let setup = Setup { folder: tempfile::tempdir().expect("a directory") };
        for (number, path) in setup.paths().iter().enumerate() {
            std::fs::create_dir_all(path).expect("makes");
            MetaProperties::new("c".to_owned(), 1, id(number as u8))
                .write(&ottla_storage::disk::OsDisk, path, START_MS)
                .expect("writes");
        }
        setup
    }

    fn paths(&self) -> Vec<PathBuf> {
        ["a", "b", "c"].iter().map(|name| self.folder.path().join(name)).collect()
    }

    fn open(&self) -> Node {
        Node::try_open(SteppedDisk::new(), self.paths(), compacted(), START_MS).expect("opens")
    }

    /// The entries of a directory that are partitions.
    fn names(&self, dir: usize) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(&self.paths()[dir])
            .expect("lists")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with("t-0"))
            .map(|name| match (name.find('.'), name.rfind('-')) {
                (Some(dot), Some(dash)) => format!("{}{}", &name[..dot], &name[dash..]),
                _ => name,
            })
            .collect();
        names.sort();
        names
    }
}

fn id(number: u8) -> Uuid {
    Uuid::from_random([number + 1; 16])
}

fn copy_all(node: &Node) -> usize {
    let mut steps = 0;
    loop {
        let copied = node.dirs.copy_some(&partition(), 900, node.now()).expect("copies").expect("a move");
        steps += 1;
        if copied.caught_up {
            return steps;
        }
        assert!(copied.advanced);
    }
}

#[test]
fn a_replica_moves_while_it_is_written_to() {
    let setup = Setup::new();
    let paths = setup.paths();
    let mut node = setup.open();
    let mut load = Workload::new(3);
    for _ in 0..50 {
        load.step(&node);
    }
    node.log().roll(node.now()).expect("rolls");
    while let Some(cleaning) = node.clean() {
        cleaning.result.expect("cleans");
    }
    let checkpoint = node.dirs.cleaner_checkpoint(&partition());
    let log = node.log();
    assert_eq!(log.dir_state().path(), paths[0]);
    assert!(!node.dirs.begin_move(&partition(), &paths[0], node.now()).expect("is there"));
    assert!(node.dirs.begin_move(&partition(), &paths[1], node.now()).expect("begins"));
    assert!(!node.dirs.begin_move(&partition(), &paths[1], node.now()).expect("is on its way"));
    assert_eq!(setup.names(1), ["t-0-future"]);
    assert!(node.dirs.finish_move(&partition(), node.now()).expect("looks").is_none(), "far from there");
    assert!(copy_all(&node) > 3);
    load.step(&node);
    assert!(node.dirs.finish_move(&partition(), node.now()).expect("looks").is_none(), "a batch is missing");
    load.step(&node);
    copy_all(&node);
    let (end, producers) = (log.log_end_offset(), log.producer_entries());
    let promoted = node.dirs.finish_move(&partition(), node.now()).expect("finishes").expect("has caught up");
    assert_eq!(promoted.new.dir_state().path(), paths[1]);
    assert!(matches!(log.roll(START_MS), Err(LogError::Closed { .. })), "the old log takes nothing more");
    assert_eq!((setup.names(0), setup.names(1)), (vec!["t-0-delete".to_owned()], vec!["t-0".to_owned()]));
    let new = node.log();
    assert_eq!((new.log_end_offset(), new.high_watermark()), (end, end));
    let states = |entries: &[ottla_storage::producer_state::ProducerEntry]| {
        entries
            .iter()
            .map(|e| (e.producer_id, e.last_sequence(), e.current_txn_first_offset))
            .collect::<Vec<_>>()
    };
    assert_eq!(states(&new.producer_entries()), states(&producers));
    assert_eq!(node.dirs.cleaner_checkpoint(&partition()), checkpoint);
    load.check(&new);
    load.step(&node);
    load.settle(&node);
    node.clean_all();
    load.check(&node.log());
    node.dirs.maintain(node.now() + 60_001);
    assert!(setup.names(0).is_empty(), "the old log goes after the delay");
    drop((node, new, log, promoted));
    let node = setup.open();
    assert_eq!(node.dirs.get(&partition()).expect("the log").dir_state().path(), paths[1]);
}

#[test]
fn a_move_goes_on_after_a_restart() {
    let setup = Setup::new();
    let node = setup.open();
    let mut load = Workload::new(4);
    for _ in 0..40 {
        load.step(&node);
    }
    node.dirs.begin_move(&partition(), &setup.paths()[2], node.now()).expect("begins");
    node.dirs.copy_some(&partition(), 900, node.now()).expect("copies");
    let half = node.dirs.future(&partition()).expect("on its way").log_end_offset();
    assert!(half > 0);
    drop(node);
    let node = setup.open();
    let log = node.dirs.get(&partition()).expect("the log");
    log.update_high_watermark(log.log_end_offset());
    let future = node.dirs.future(&partition()).expect("on its way still");
    assert!(future.log_end_offset() <= half);
    copy_all(&node);
    assert!(node.dirs.finish_move(&partition(), node.now()).expect("finishes").is_some());
    load.check(&node.log());
}

#[test]
fn a_copy_that_went_another_way_is_cut_back() {
    let setup = Setup::new();
    let node = setup.open();
    for round in 0..30 {
        node.put("k", Some(&format!("{round}")));
    }
    node.dirs.begin_move(&partition(), &setup.paths()[1], node.now()).expect("begins");
    copy_all(&node);
    let log = node.log();
    node.dirs.truncate_to(&partition(), 10, node.now()).expect("truncates");
    let other = workload::batch(&BatchOptions::default(), START_MS, &[("k", Some("other"))]);
    log.append_as_leader(&other, &AppendOptions::new(AppendOrigin::Client, 5, START_MS)).expect("appends");
    log.maybe_increment_high_watermark(11);
    copy_all(&node);
    node.dirs.finish_move(&partition(), node.now()).expect("finishes").expect("caught up");
    let last = all_records(&node.log()).pop().expect("a record");
    assert_eq!((last.offset, last.value), (10, Some(b"other".to_vec())));
    // Records that were deleted meanwhile leave nothing to begin with.
    node.dirs.begin_move(&partition(), &setup.paths()[2], node.now()).expect("begins");
    node.log().delete_records(5).expect("deletes");
    copy_all(&node);
    node.dirs.finish_move(&partition(), node.now()).expect("finishes").expect("caught up");
    assert_eq!((node.log().log_start_offset(), node.log().log_end_offset()), (5, 11));
}

#[test]
fn moves_can_be_changed_given_up_and_end_with_the_partition() {
    let setup = Setup::new();
    let node = setup.open();
    node.put("k", Some("v"));
    node.dirs.begin_move(&partition(), &setup.paths()[1], node.now()).expect("begins");
    assert!(node.dirs.begin_move(&partition(), &setup.paths()[2], node.now()).expect("another way"));
    assert_eq!(
        (setup.names(1), setup.names(2)),
        (vec!["t-0-delete".to_owned()], vec!["t-0-future".to_owned()])
    );
    assert!(node.dirs.end_move(&partition(), node.now()).expect("ends"));
    assert!(node.dirs.copy_some(&partition(), 900, node.now()).expect("nothing").is_none());
    node.dirs.begin_move(&partition(), &setup.paths()[1], node.now()).expect("begins");
    node.dirs.delete(&partition(), node.now()).expect("deletes");
    assert!(node.dirs.future(&partition()).is_none());
    let error = node.dirs.begin_move(&partition(), &setup.paths()[1], node.now()).expect_err("is gone");
    assert!(matches!(error, LogError::Closed { .. }));
}

#[test]
fn of_two_logs_of_a_partition_the_longer_one_counts() {
    let setup = Setup::new();
    let node = setup.open();
    let mut load = Workload::new(5);
    for _ in 0..20 {
        load.step(&node);
    }
    node.dirs.begin_move(&partition(), &setup.paths()[1], node.now()).expect("begins");
    copy_all(&node);
    let future = node.dirs.future(&partition()).expect("on its way").dir();
    drop(node);
    // The power went between the two renames of the swap, after more had come.
    std::fs::rename(future, setup.paths()[1].join("t-0")).expect("renames");
    for round in 0..3 {
        let node = setup.open();
        let log = node.dirs.get(&partition()).expect("the log");
        log.update_high_watermark(log.log_end_offset());
        load.check(&log);
        if round == 0 {
            let strays = [setup.names(0), setup.names(1)].concat();
            assert_eq!(strays.iter().filter(|name| *name == "t-0-stray").count(), 1, "{strays:?}");
        }
        load.step(&node);
    }
}

#[test]
fn a_move_that_the_controller_took_for_done_is_finished_by_the_broker() {
    let setup = Setup::new();
    let node = setup.open();
    let mut load = Workload::new(6);
    for _ in 0..20 {
        load.step(&node);
    }
    node.dirs.begin_move(&partition(), &setup.paths()[1], node.now()).expect("begins");
    copy_all(&node);
    let end = node.log().log_end_offset();
    drop(node);
    std::fs::remove_dir_all(setup.paths()[0].join("t-0")).expect("the old disk is gone");
    let node = setup.open();
    assert!(node.dirs.get(&partition()).is_none());
    let log = node.dirs.get_or_create(&partition(), None, Some(id(1)), node.now()).expect("the log");
    assert_eq!((log.dir_state().path().to_path_buf(), log.log_end_offset()), (setup.paths()[1].clone(), end));
    assert_eq!(setup.names(1), ["t-0"]);
}

#[test]
fn a_log_in_a_failed_directory_gets_no_empty_one_in_its_place() {
    let setup = Setup::new();
    let node = setup.open();
    let state = node.dirs.states()[0].clone();
    state.fail("test", &std::io::Error::other("gone"));
    let error = node.dirs.get_or_create(&partition(), None, Some(id(0)), START_MS).expect_err("is offline");
    assert!(matches!(error, LogError::DirOffline { .. }), "{error}");
    let log = node.dirs.get_or_create(&partition(), None, Some(id(2)), START_MS).expect("another one");
    assert_eq!(log.dir_state().path(), setup.paths()[2]);
}

#[test]
fn new_logs_go_where_they_are_wanted_and_not_into_cordoned_directories() {
    let setup = Setup::new();
    let node = setup.open();
    let create = |name: &str| {
        let partition = ottla_storage::TopicPartition::new(name, 0);
        let log = node.dirs.get_or_create(&partition, None, None, START_MS).expect("a log");
        setup.paths().iter().position(|path| path == log.dir_state().path()).expect("a directory")
    };
    let settings = node.dirs.settings();
    let cordoned = [0, 1].iter().map(|dir| setup.paths()[*dir].clone()).collect();
    node.dirs.update_settings(LogDirsSettings { cordoned_dirs: cordoned, ..settings.clone() });
    assert_eq!([create("u"), create("v"), create("w")], [2, 2, 2]);
    assert_eq!(node.dirs.dirs().iter().map(|dir| dir.cordoned).collect::<Vec<_>>(), [true, true, false]);
    node.dirs.update_settings(LogDirsSettings { all_cordoned: true, ..settings.clone() });
    assert_eq!(create("x"), 0, "it has to go somewhere");
    node.dirs.update_settings(settings);
    assert_eq!(create("y"), 1);
    node.dirs.prefer(&ottla_storage::TopicPartition::new("z", 0), &setup.paths()[2]);
    assert_eq!(create("z"), 2);
}
