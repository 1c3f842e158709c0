//! Compaction on a disk that forgets: power cuts at any step of cleanings and of the recoveries after them, with any
//! part of what was not synced lost. What a consumer of committed records finds stays the same.

#[path = "../../storage/tests/workload/mod.rs"]
mod workload;

use std::path::Path;
use std::sync::Arc;

use ottla_protocol::records::BatchIter;
use ottla_sim::fs::SimFs;
use ottla_storage::disk::Disk;
use ottla_storage::log::Log;
use ottla_testkit::disk::{CrashMode, Fault, FaultKind};
use ottla_testkit::rng::Rng;
use workload::{Node, START_MS, Workload, compacted, partition};

/// Lives of a log; each has several cuts. `OTTLA_SIM_SEEDS` asks for more.
const SEEDS: u64 = 40;
const CUTS: u64 = 6;

fn open(fs: &SimFs, now_ms: i64) -> Option<Node> {
    let paths = vec![Path::new("/d").to_path_buf()];
    let node = Node::try_open(Arc::new(fs.clone()), paths, compacted(), now_ms)?;
    node.dirs.get(&partition())?;
    Some(node)
}

fn mode(rng: &mut Rng) -> CrashMode {
    [CrashMode::LoseAll, CrashMode::KeepAll, CrashMode::Prefix, CrashMode::Subset, CrashMode::Subset]
        [rng.index(5)]
}

/// No segment reaches into the next one, and each ends with a whole batch.
fn check_segments(fs: &SimFs, log: &Log) {
    let bases: Vec<i64> = log.segment_sizes().iter().map(|(base_offset, _)| *base_offset).collect();
    for (index, base_offset) in bases.iter().enumerate() {
        let path = log.dir().join(format!("{base_offset:020}.log"));
        let bytes = fs.read(&path, 1 << 20).expect("reads").expect("is there");
        let mut next = *base_offset;
        let mut batches = BatchIter::new(&bytes);
        for batch in batches.by_ref() {
            let batch = batch.expect("a batch");
            batch.ensure_valid().expect("a good checksum");
            assert!(batch.header().base_offset >= next, "offsets grow");
            next = batch.header().next_offset();
        }
        assert!(batches.remaining().is_empty(), "whole batches");
        assert!(bases.get(index + 1).is_none_or(|after| next <= *after), "{base_offset} reaches to {next}");
    }
}

fn live(seed: u64) {
    let fs = SimFs::new(seed);
    let mut rng = Rng::new(seed ^ 0x636f_6d70);
    let mut load = Workload::new(seed);
    let mut now_ms = START_MS;
    let paths = vec![Path::new("/d").to_path_buf()];
    let mut node = Node::try_open(Arc::new(fs.clone()), paths, compacted(), now_ms).expect("a new directory");
    node.log();
    fs.fsync_dir(Path::new("/")).expect("syncs");
    for cut in 0..CUTS {
        for _ in 0..rng.below(50) {
            load.step(&node);
        }
        if rng.chance(1, 2) {
            load.settle(&node);
        }
        node.pass(rng.below(1500) as i64);
        now_ms = node.now();
        let log = node.log();
        log.roll(now_ms).expect("rolls");
        // Everything that was appended is durable; what compaction does is not, unless it says so.
        log.flush(now_ms).expect("flushes");
        node.dirs.checkpoint();
        let (start, end) = (log.log_start_offset(), log.log_end_offset());
        drop(log);
        let soon = [6, 30][rng.index(2)];
        let fault = match rng.below(4) {
            0 => Fault::Crash { after: rng.below(12) },
            1 => Fault::Crash { after: rng.below(400) },
            // Most of what can go wrong goes wrong between two renames.
            kind => Fault::Error {
                dir: Path::new("/d").to_path_buf(),
                kind: Some(if kind == 2 { FaultKind::Rename } else { FaultKind::SyncDir }),
                after: rng.below(soon),
            },
        };
        fs.disk().inject(fault);
        while let Some(cleaning) = node.clean() {
            if cleaning.result.is_err() {
                break;
            }
        }
        drop(node);
        fs.disk().cut_power(mode(&mut rng));
        // The start after it, too, is cut short now and then.
        for _ in 0..rng.below(4) {
            fs.disk().inject(Fault::Crash { after: rng.below(60) });
            drop(open(&fs, now_ms));
            fs.disk().cut_power(mode(&mut rng));
        }
        node = open(&fs, now_ms).unwrap_or_else(|| panic!("cut {cut}: the log is not there"));
        let log = node.dirs.get(&partition()).expect("the log");
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (start, end), "cut {cut}");
        log.update_high_watermark(end);
        load.check(&log);
        check_segments(&fs, &log);
        if rng.chance(1, 2) {
            while let Some(cleaning) = node.clean() {
                cleaning.result.expect("cleans");
            }
            load.check(&log);
            check_segments(&fs, &log);
        }
    }
}

#[test]
fn a_power_cut_in_a_cleaning_changes_nothing_that_a_consumer_sees() {
    let asked = std::env::var("OTTLA_SIM_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    for seed in 0..asked.unwrap_or(SEEDS) {
        let result = std::panic::catch_unwind(|| live(seed));
        assert!(result.is_ok(), "seed {seed}");
    }
}
