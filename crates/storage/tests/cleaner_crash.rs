//! Cleanings that end at any step: the next start finds the log as it was, or as it was to be.

mod workload;

use std::path::Path;

use ottla_storage::LogConfig;
use workload::disk::SteppedDisk;
use workload::{Node, START_MS, Workload, all_records, compacted, partition};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("lists") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copies");
        }
    }
}

/// Opens what was left, as after a kill, and checks it.
fn examine(path: &Path, load: &Workload, config: &LogConfig, end: i64, now_ms: i64) -> Node {
    let node = Node::open(SteppedDisk::new(), path, config.clone(), now_ms);
    let log = node.dirs.get(&partition()).expect("the log");
    assert_eq!(log.log_end_offset(), end);
    log.update_high_watermark(end);
    load.check(&log);
    let files = std::fs::read_dir(path.join("t-0")).expect("lists");
    for file in files {
        let name = file.expect("a file").file_name().to_string_lossy().into_owned();
        assert!(!name.ends_with(".cleaned") && !name.ends_with(".swap"), "{name} is left");
    }
    node
}

#[test]
fn a_kill_at_any_step_of_a_cleaning_loses_nothing() {
    for seed in 0..4 {
        let origin = tempfile::tempdir().expect("a directory");
        let config = LogConfig { segment_bytes: 4000, ..compacted() };
        let mut load = Workload::new(seed);
        let (end, now_ms) = {
            let mut node = Node::open(SteppedDisk::new(), origin.path(), config.clone(), START_MS);
            for _ in 0..40 {
                load.step(&node);
            }
            // A second cleaning has small segments to merge.
            if seed % 2 == 1 {
                load.settle(&node);
                node.clean_all();
                for _ in 0..25 {
                    load.step(&node);
                }
                node.pass(1500);
            }
            load.settle(&node);
            node.log().roll(node.now()).expect("rolls");
            node.dirs.shutdown(node.now(), 1);
            (node.log().log_end_offset(), node.now())
        };
        let mut steps = 0;
        loop {
            let folder = tempfile::tempdir().expect("a directory");
            copy(origin.path(), folder.path());
            let disk = SteppedDisk::new();
            let mut node = Node::open(disk.clone(), folder.path(), config.clone(), now_ms);
            node.log().update_high_watermark(end);
            disk.steps.end_after(steps);
            let done = match node.clean() {
                Some(cleaning) => cleaning.result.is_ok() && !node.log().dir_state().is_offline(),
                None => panic!("nothing to clean"),
            };
            drop(node);
            let mut node = examine(folder.path(), &load, &config, end, now_ms);
            // What was begun can be done again, and once more.
            while let Some(cleaning) = node.clean() {
                cleaning.result.expect("cleans");
            }
            load.check(&node.log());
            if done {
                break;
            }
            steps += 1;
        }
        assert!(steps > 30, "{steps} steps");
    }
}

#[test]
fn a_kill_in_the_midst_of_a_recovery_is_recovered_from() {
    let origin = tempfile::tempdir().expect("a directory");
    let config = LogConfig { segment_bytes: 4000, ..compacted() };
    let mut load = Workload::new(77);
    let disk = SteppedDisk::new();
    let (end, now_ms) = {
        let mut node = Node::open(disk.clone(), origin.path(), config.clone(), START_MS);
        for _ in 0..60 {
            load.step(&node);
        }
        load.settle(&node);
        node.log().roll(node.now()).expect("rolls");
        let found = (node.log().log_end_offset(), node.now());
        // Up to where old files are on their way out.
        let is_half_way = || {
            let names: Vec<String> = std::fs::read_dir(origin.path().join("t-0"))
                .expect("lists")
                .map(|file| file.expect("a file").file_name().to_string_lossy().into_owned())
                .collect();
            names.iter().any(|name| name.ends_with(".log.swap"))
                && names.iter().any(|name| name.ends_with(".log.deleted"))
        };
        let mut steps = 0;
        while !is_half_way() {
            drop(node);
            let disk = SteppedDisk::new();
            node = Node::open(disk.clone(), origin.path(), config.clone(), found.1);
            node.log().update_high_watermark(found.0);
            disk.steps.end_after(steps);
            assert!(node.clean().is_some(), "the log is as dirty as before");
            steps += 1;
        }
        found
    };
    let mut steps = 0;
    loop {
        let folder = tempfile::tempdir().expect("a directory");
        copy(origin.path(), folder.path());
        let disk = SteppedDisk::new();
        disk.steps.end_after(steps);
        let opened = Node::try_open(disk.clone(), vec![folder.path().to_path_buf()], config.clone(), now_ms);
        let done = opened
            .as_ref()
            .is_some_and(|node| node.dirs.get(&partition()).is_some_and(|log| !log.dir_state().is_offline()));
        drop(opened);
        let node = examine(folder.path(), &load, &config, end, now_ms);
        assert!(!all_records(&node.log()).is_empty());
        if done {
            break;
        }
        steps += 1;
    }
    assert!(steps > 5, "{steps} steps");
}
