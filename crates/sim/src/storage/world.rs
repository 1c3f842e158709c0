//! One life of a node's log directories.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::records::{BatchIter, patch};
use ottla_protocol::types::Uuid;
use ottla_storage::checkpoint::{RECOVERY_POINT_CHECKPOINT, parse_offsets};
use ottla_storage::cleaner::{CleanError, Cleaner, CleanerConfig, CleanerControl};
use ottla_storage::dirs::{CLEAN_SHUTDOWN_FILE, LogDirs, LogDirsOptions};
use ottla_storage::disk::Disk;
use ottla_storage::log::AppendOptions;
use ottla_storage::producer_state::AppendOrigin;
use ottla_storage::{CleanupPolicy, Log, LogConfig, LogError, TopicPartition};
use ottla_testkit::disk::{CrashMode, Fault, FaultKind};
use ottla_testkit::rng::{Rng, mix};

use super::batches::{self, MBatch, NOBODY, Writer};
use super::check::{self, Down};
use super::model::{Part, Presence};
use super::observe::Observed;
use super::outcome::Outcome;
use crate::fs::SimFs;

/// Partitions of one life at the same time.
const MAX_PARTS: usize = 3;
const START_MS: i64 = 1_700_000_000_000;

/// Cleans without a throttle.
struct Unhurried(i64);

impl CleanerControl for Unhurried {
    fn now_ms(&self) -> i64 {
        self.0
    }

    fn io(&self, _bytes: usize, _cancelled: &dyn Fn() -> bool) -> bool {
        true
    }
}

type Step = Result<(), String>;

struct World {
    rng: Rng,
    fs: SimFs,
    dirs: Option<LogDirs>,
    paths: Vec<PathBuf>,
    parts: Vec<Part>,
    /// Names of deleted partitions, which must not come back.
    deleted: Vec<TopicPartition>,
    config: LogConfig,
    now_ms: i64,
    next_id: u64,
    /// A sync failed since the last power cut: what the page cache holds may never become durable.
    sync_failed: bool,
    outcome: Outcome,
    verbose: bool,
}

/// Lives one life. `verbose` keeps the story.
pub fn run(seed: u64, verbose: bool) -> Outcome {
    let mut world = World::new(seed, verbose);
    let lived = catch_unwind(AssertUnwindSafe(|| world.live()));
    let failure = match lived {
        Ok(Ok(())) => None,
        Ok(Err(text)) => Some(text),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some(format!("panic: {}", text.unwrap_or_default()))
        }
    };
    let World { fs, mut outcome, .. } = world;
    let disk = fs.disk();
    outcome.trace = disk.trace();
    outcome.operations = disk.operations();
    outcome.faults = disk.injected();
    outcome.failure = failure;
    outcome
}

impl World {
    fn new(seed: u64, verbose: bool) -> Self {
        let mut rng = Rng::new(seed);
        let fs = SimFs::new(rng.next_u64());
        let paths: Vec<PathBuf> =
            (0..rng.between(1, 2)).map(|n| PathBuf::from(format!("/data/{n}"))).collect();
        {
            let mut disk = fs.disk();
            for path in &paths {
                disk.create_dir_all(path).expect("an empty disk");
            }
            disk.sync_dir(Path::new("/")).expect("an empty disk");
            disk.sync_dir(Path::new("/data")).expect("an empty disk");
        }
        let compact = rng.chance(1, 4);
        let config = LogConfig {
            cleanup_policy: CleanupPolicy { delete: !compact || rng.chance(1, 3), compact },
            min_cleanable_dirty_ratio: 0.0,
            delete_retention_ms: *rng.pick(&[0, 2000]),
            segment_bytes: *rng.pick(&[500, 900, 1500, 4000]),
            index_interval_bytes: *rng.pick(&[1, 60, 200]),
            segment_index_bytes: *rng.pick(&[96, 240, 1200]),
            flush_messages: if rng.chance(1, 4) { 1 } else { i64::MAX },
            retention_bytes: *rng.pick(&[-1, -1, 1500]),
            retention_ms: *rng.pick(&[-1, 20_000]),
            file_delete_delay_ms: *rng.pick(&[0, 1000]),
            message_timestamp_after_max_ms: i64::MAX,
            max_message_bytes: 1 << 20,
            ..LogConfig::default()
        };
        World {
            rng,
            fs,
            dirs: None,
            paths,
            parts: Vec::new(),
            deleted: Vec::new(),
            config,
            now_ms: START_MS,
            next_id: 0,
            sync_failed: false,
            outcome: Outcome::default(),
            verbose,
        }
    }

    fn tell(&mut self, text: impl FnOnce() -> String) {
        if self.verbose {
            let operations = self.fs.disk().operations();
            let line = format!("[{operations}] {}", text());
            println!("{line}");
            self.outcome.story.push(line);
        }
    }

    fn live(&mut self) -> Step {
        self.open()?;
        self.create()?;
        let steps = self.rng.between(20, 90);
        for _ in 0..steps {
            self.step()?;
            self.settle()?;
        }
        // The end: a stop of every kind, and nothing may be missing.
        let down = *self.rng.pick(&[Down::Clean, Down::Kill, Down::Power]);
        self.stop(down)?;
        match self.rng.below(6) {
            0 | 1 => self.rot(),
            2 => self.misdirect(),
            _ => Ok(()),
        }
    }

    fn step(&mut self) -> Step {
        self.now_ms += self.rng.between(0, 400);
        self.fs.disk().set_now_ms(self.now_ms);
        match self.rng.below(100) {
            0..44 => self.append(),
            44..52 => self.end_transaction(),
            52..55 => self.with_log(|world, part, log| world.roll(part, log)),
            55..60 => self.with_log(|world, part, log| world.flush(part, log)),
            60..65 => self.maintain(),
            65..70 => self.checkpoint(),
            65..75 if self.config.cleanup_policy.compact && self.rng.chance(1, 2) => {
                self.compact()?;
                // What it swapped is durable, whether what the swap relies on is or not.
                if self.rng.chance(1, 8) { self.stop(Down::Power) } else { Ok(()) }
            }
            70..75 => self.with_log(|world, part, log| world.truncate(part, log)),
            75 => self.with_log(|world, part, log| world.truncate_fully(part, log)),
            76..79 => self.with_log(|world, part, log| world.delete_records(part, log)),
            79..82 if self.config.cleanup_policy.compact && self.rng.chance(2, 3) => self.compact(),
            79..82 => self.retention(),
            82..84 => self.with_log(|world, part, log| world.bump_epoch(part, log)),
            84..86 => self.with_log(|world, part, log| world.retry(part, log)),
            86..88 => self.create(),
            88 => self.delete(),
            89..92 => self.with_log(|world, part, log| world.look(part, log)),
            92..95 => self.inject(),
            95 => {
                let full = self.rng.chance(1, 2);
                self.tell(|| format!("the disk is full: {full}"));
                self.fs.disk().set_full(full);
                Ok(())
            }
            _ => {
                let down = *self.rng.pick(&[Down::Clean, Down::Kill, Down::Power, Down::Power]);
                self.stop(down)
            }
        }
    }

    /// What follows from the last step: a machine that went down is started, and so is a node with a failed directory.
    fn settle(&mut self) -> Step {
        if self.fs.disk().is_down() {
            let down = if self.rng.chance(1, 3) { Down::Kill } else { Down::Power };
            return self.stop(down);
        }
        let offline = self.dirs.as_ref().is_none_or(|dirs| dirs.dirs().iter().any(|dir| dir.offline));
        if offline && self.rng.chance(1, 3) {
            let down = if self.rng.chance(1, 3) { Down::Kill } else { Down::Power };
            return self.stop(down);
        }
        // Whatever the log says is durable is taken at its word.
        if let Some(dirs) = &self.dirs {
            for part in &mut self.parts {
                if part.starts.last() != Some(&part.start) {
                    part.starts.push(part.start);
                }
                if let Some(log) = dirs.get(&part.name)
                    && !log.dir_state().is_offline()
                    && !part.loose
                {
                    part.durable_end = part.durable_end.max(log.recovery_point());
                }
            }
        }
        Ok(())
    }

    // Starts and stops.

    fn options(&self) -> LogDirsOptions {
        let config = self.config.clone();
        LogDirsOptions {
            topic_configs: Arc::new(move |_| config.clone()),
            recovery_threads_per_data_dir: 0,
            transaction_verification: false,
            producer_id_expiration_ms: i64::MAX,
            file_delete_delay_ms: 1000,
            ..LogDirsOptions::new(self.paths.clone())
        }
    }

    /// Opens and loads, over again while the machine goes down meanwhile.
    fn open(&mut self) -> Step {
        loop {
            let disk: Arc<dyn Disk> = Arc::new(self.fs.clone());
            let unique = u128::from(self.rng.next_u64());
            let opened = LogDirs::open(disk, self.options(), unique);
            if let Ok(dirs) = opened {
                let bytes = *self.rng.pick(&[0, 600, 1 << 20]);
                dirs.states().iter().for_each(|state| state.set_catch_up_bytes(bytes));
                dirs.states().iter().for_each(|state| state.set_max_index_memory_bytes(bytes as usize));
                dirs.load_logs(self.now_ms, &|_| false);
                self.outcome.recoveries += 1;
                let failed = dirs.dirs().iter().any(|dir| dir.offline);
                if !failed && !self.fs.disk().is_down() {
                    self.dirs = Some(dirs);
                    return Ok(());
                }
            }
            if self.fs.disk().injected() == self.outcome.faults {
                return Err("a log directory cannot be loaded, and nothing is wrong with the disk".to_owned());
            }
            self.outcome.faults = self.fs.disk().injected();
            self.tell(|| "down again while starting".to_owned());
            for part in &mut self.parts {
                // The start that was interrupted may have begun at any of them.
                part.forgotten_below.extend_from_slice(&part.starts);
            }
            self.crash(Down::Power);
        }
    }

    fn crash(&mut self, down: Down) {
        let mut disk = self.fs.disk();
        if down == Down::Power || self.sync_failed {
            let modes = [CrashMode::LoseAll, CrashMode::KeepAll, CrashMode::Prefix, CrashMode::Subset];
            let mode = *self.rng.pick(&[modes[0], modes[1], modes[2], modes[3], modes[3], modes[3]]);
            disk.cut_power(mode);
            self.sync_failed = false;
        } else {
            disk.kill_process();
        }
    }

    /// Stops the node in one of three ways, starts it again and looks at everything.
    fn stop(&mut self, wanted: Down) -> Step {
        self.outcome.faults = self.fs.disk().injected();
        let mut clean_dirs: Vec<PathBuf> = Vec::new();
        if wanted == Down::Clean
            && let Some(dirs) = &self.dirs
        {
            self.fs.disk().set_full(false);
            dirs.shutdown(self.now_ms, 7);
            self.sync_failed |= dirs.dirs().iter().any(|dir| dir.offline);
            for path in &self.paths {
                if !self.fs.disk().files(&path.join(CLEAN_SHUTDOWN_FILE)).is_empty() {
                    clean_dirs.push(path.clone());
                }
            }
        }
        let clean: Vec<bool> = self
            .parts
            .iter()
            .map(|part| {
                let log = self.dirs.as_ref().and_then(|dirs| dirs.get(&part.name));
                log.is_some_and(|log| {
                    !log.dir_state().is_offline()
                        && clean_dirs.iter().any(|dir| dir == log.dir_state().path())
                })
            })
            .collect();
        if self.rng.chance(1, 4) {
            self.leave_swap()?;
        }
        self.dirs = None;
        // After a clean stop the power may go as well.
        let physical = match wanted {
            Down::Clean if self.rng.chance(1, 2) => Down::Power,
            Down::Clean => Down::Kill,
            other => other,
        };
        let cut = physical == Down::Power || self.sync_failed;
        let kind = if cut { Down::Power } else { Down::Kill };
        self.tell(|| format!("stop: {wanted:?}, then {kind:?}; clean: {clean_dirs:?}"));
        self.crash(kind);
        if self.rng.chance(1, 5) {
            let after = self.rng.below(40);
            self.fs.disk().inject(Fault::Crash { after });
        }
        if self.config.cleanup_policy.compact && self.rng.chance(1, 12) {
            // What compaction left behind stays when the topic is compacted no longer.
            self.tell(|| "the topics are compacted no longer".to_owned());
            self.config.cleanup_policy = CleanupPolicy { delete: true, compact: false };
            for part in &mut self.parts {
                part.config.cleanup_policy = self.config.cleanup_policy;
            }
        }
        let boot = self.fs.disk().boot();
        self.open()?;
        self.fs.disk().clear_faults();
        // A second crash during the start was a power cut.
        let again = self.fs.disk().boot() != boot;
        let kind = if again { Down::Power } else { kind };
        let dirs = self.dirs.as_ref().ok_or("not open")?;
        for deleted in &self.deleted {
            if dirs.get(deleted).is_some() {
                return Err(format!("{deleted} was deleted and is back"));
            }
        }
        let mut gone = Vec::new();
        let mut looked = Vec::new();
        for (index, part) in self.parts.iter_mut().enumerate() {
            // A directory is durable with the first flush of its log, not before.
            let certain = part.presence == Presence::Yes && (kind != Down::Power || part.durable_end > 0);
            let Some(log) = dirs.get(&part.name) else {
                if certain {
                    return Err(format!("{} is gone", part.name));
                }
                gone.push(index);
                continue;
            };
            let down = if clean[index] { Down::Clean } else { kind };
            let context = |text: String| format!("{} after {down:?}: {text}", part.name);
            let seen = Observed::of(&self.fs, &log).map_err(context)?;
            if log.topic_id().is_some_and(|id| id != part.topic_id) || (log.topic_id().is_none() && certain) {
                return Err(format!("{} has topic id {:?}", part.name, log.topic_id()));
            }
            // What a broker does with what the controller says.
            log.assign_topic_id(part.topic_id).map_err(|error| format!("{}: {error}", part.name))?;
            let loose = part.loose;
            check::recovered(part, &seen, down)
                .map_err(|text| format!("{} after {down:?}: {text}", part.name))?;
            part.presence = Presence::Yes;
            if loose {
                gone.push(index);
                continue;
            }
            check::state(part, &seen).map_err(|text| format!("{} after {down:?}: {text}", part.name))?;
            check::lookups(part, &log, &seen, &mut self.rng)
                .map_err(|text| format!("{} after {down:?}: {text}", part.name))?;
            looked.push((index, seen));
        }
        // A second recovery changes nothing.
        if self.rng.chance(1, 4) {
            self.dirs = None;
            self.fs.disk().kill_process();
            self.open()?;
            let dirs = self.dirs.as_ref().ok_or("not open")?;
            for (index, before) in &looked {
                let name = &self.parts[*index].name;
                let log = dirs.get(name).ok_or_else(|| format!("{name} is gone after a second start"))?;
                let after = Observed::of(&self.fs, &log)?;
                before
                    .same_as(&after, self.parts[*index].compacted)
                    .map_err(|text| format!("{name} after a second start: {text}"))?;
                self.parts[*index].forgotten_below.push(after.start);
                self.parts[*index].rebuilt_end = after.end;
                self.parts[*index].high_watermark = after.high_watermark;
            }
        }
        for index in gone.into_iter().rev() {
            let part = self.parts.remove(index);
            if let Some(dirs) = &self.dirs
                && dirs.get(&part.name).is_some()
            {
                dirs.delete(&part.name, self.now_ms).map_err(|e| e.to_string())?;
                self.deleted.push(part.name);
            }
        }
        // One replica: what is there is committed.
        if self.rng.chance(3, 4) {
            for part in &mut self.parts {
                if let Some(log) = self.dirs.as_ref().and_then(|dirs| dirs.get(&part.name)) {
                    part.high_watermark = log.update_high_watermark(log.log_end_offset());
                }
            }
        }
        for part in &mut self.parts {
            let last = part.batches.iter().map(|batch| batch.header.partition_leader_epoch).max();
            part.leader_epoch = part.leader_epoch.max(last.unwrap_or(0)) + i32::from(self.rng.chance(1, 2));
        }
        self.outcome.faults = self.fs.disk().injected();
        Ok(())
    }

    /// Leaves two segments merged into one with the suffix `.swap`, as a cleaner that is interrupted before it takes
    /// the old ones away.
    fn leave_swap(&mut self) -> Step {
        if self.fs.disk().is_down() || self.parts.is_empty() {
            return Ok(());
        }
        let part = &self.parts[self.rng.index(self.parts.len())];
        let Some(log) = self.dirs.as_ref().and_then(|dirs| dirs.get(&part.name)) else { return Ok(()) };
        if log.dir_state().is_offline() || part.loose {
            return Ok(());
        }
        let segments = log.segment_sizes();
        // Only what is durable is cleaned.
        let closed = segments.partition_point(|(base, _)| *base <= part.durable_end).saturating_sub(1);
        if closed.min(segments.len() - 1) < 2 {
            return Ok(());
        }
        let first = self.rng.index(closed.min(segments.len() - 1) - 1);
        let dir = log.dir();
        let mut disk = self.fs.disk();
        disk.clear_faults();
        let mut merged = Vec::new();
        for (base, size) in &segments[first..first + 2] {
            let path = dir.join(format!("{base:020}.log"));
            let Some(bytes) = disk.files(&path).first().map(|(_, bytes)| bytes.to_vec()) else {
                return Ok(());
            };
            merged.extend_from_slice(&bytes[..*size as usize]);
        }
        disk.set_full(false);
        let said = |error| format!("{error:?} of a disk without faults");
        let path = dir.join(format!("{:020}.log.swap", segments[first].0));
        let file = disk.open(&path, true).map_err(said)?;
        disk.write(file, &merged, 0).map_err(said)?;
        disk.sync(file).map_err(said)?;
        disk.sync_dir(&dir).map_err(said)?;
        drop(disk);
        let name = self.parts[0].name.clone();
        self.tell(|| {
            format!("swap of two segments from {} in {}, {name} is first", segments[first].0, dir.display())
        });
        Ok(())
    }

    /// Opens what a damaged disk holds. A directory that is refused is fine; a panic is not.
    fn open_damaged(&mut self) -> Option<LogDirs> {
        let disk: Arc<dyn Disk> = Arc::new(self.fs.clone());
        let dirs = LogDirs::open(disk, self.options(), 1).ok()?;
        dirs.load_logs(self.now_ms, &|_| false);
        for log in dirs.all() {
            let mut next = log.log_start_offset();
            while let Ok(read) = log.read(next, 4000, ottla_storage::log::FetchIsolation::TxnCommitted, true)
            {
                let bytes = read.slice.to_vec().unwrap_or_default();
                let last = BatchIter::new(&bytes).flatten().map(|batch| batch.header().next_offset()).last();
                match last {
                    Some(last) if last > next => next = last,
                    _ => break,
                }
            }
            let _ = log.offset_for_timestamp(self.now_ms - 3000);
            let _ = log.max_timestamp_offset();
        }
        Some(dirs)
    }

    /// Bits of a file rot while the node is down. What recovery scans or builds anew must be as before, up to the
    /// batch that is hit; of the rest nothing is asked but that nobody panics.
    fn rot(&mut self) -> Step {
        self.dirs = None;
        self.fs.disk().kill_process();
        let data = Path::new("/data");
        let files: Vec<(PathBuf, usize)> = {
            let disk = self.fs.disk();
            let files = disk.files(data);
            files
                .iter()
                .filter(|(_, b)| !b.is_empty())
                .map(|(path, bytes)| (path.clone(), bytes.len()))
                .collect()
        };
        if files.is_empty() {
            return Ok(());
        }
        let (path, len) = self.rng.pick(&files).clone();
        let position = self.rng.index(len);
        let bit = self.rng.below(8) as u8;
        let hit = self.hit(&path, position);
        self.tell(|| format!("bit {bit} of byte {position} of {} flips: {hit:?}", path.display()));
        self.fs.disk().flip_bit(&path, position, bit);
        let dirs = self.open_damaged();
        let Some((name, limit)) = hit else { return Ok(()) };
        let log = dirs.as_ref().and_then(|dirs| dirs.get(&name));
        let Some(log) = log else { return Err(format!("{name} is refused for a rotten {}", path.display())) };
        let seen = Observed::of(&self.fs, &log).map_err(|text| format!("{name} with rot: {text}"))?;
        let Some(part) = self.parts.iter_mut().find(|part| part.name == name) else { return Ok(()) };
        if part.compacted {
            // What a lost record took the place of is gone already.
            return Ok(());
        }
        (part.durable_end, part.kept_end) = (part.durable_end.min(limit), limit.min(part.end));
        part.noted_start = 0;
        // Without the rest of the log its start may be behind the end.
        part.loose = seen.end < part.start;
        check::recovered(part, &seen, Down::Kill).map_err(|text| format!("{name} with rot: {text}"))?;
        check::state(part, &seen).map_err(|text| format!("{name} with rot: {text}"))?;
        check::lookups(part, &log, &seen, &mut self.rng).map_err(|text| format!("{name} with rot: {text}"))
    }

    /// The partition of a file whose damage recovery must make good, and the offset up to which it can.
    fn hit(&self, path: &Path, position: usize) -> Option<(TopicPartition, i64)> {
        let name = path.file_name()?.to_str()?;
        let dir = path.parent()?;
        let (base, kind) = name.split_once('.')?;
        let base: i64 = base.parse().ok()?;
        let part = self.parts.iter().find(|part| dir.ends_with(format!("{}", part.name)))?;
        let disk = self.fs.disk();
        let read = |path: PathBuf| disk.files(&path).first().map(|(_, bytes)| bytes.to_vec());
        let points = read(dir.parent()?.join(RECOVERY_POINT_CHECKPOINT)).unwrap_or_default();
        let point = parse_offsets(&points).ok()?.get(&part.name).copied().unwrap_or(0);
        let bases: Vec<i64> = disk
            .files(dir)
            .iter()
            .filter_map(|(path, _)| path.file_name()?.to_str()?.strip_suffix(".log")?.parse().ok())
            .collect();
        let scanned_from = bases[bases.partition_point(|base| *base <= point).checked_sub(1)?];
        if base < scanned_from || read(dir.parent()?.join(CLEAN_SHUTDOWN_FILE)).is_some() {
            return None;
        }
        match kind {
            "index" | "timeindex" | "txnindex" => Some((part.name.clone(), part.end)),
            "log" => {
                let bytes = read(path.to_path_buf())?;
                let mut at = 0;
                for batch in BatchIter::new(&bytes).flatten() {
                    let end = at + batch.size();
                    if position < end {
                        // The checksum does not cover offset and epoch.
                        let covered = position - at >= 16;
                        return covered.then(|| (part.name.clone(), batch.header().base_offset));
                    }
                    at = end;
                }
                None
            }
            _ => None,
        }
    }

    /// A write goes astray without an error. What recovery lets through must have been appended.
    fn misdirect(&mut self) -> Step {
        let dir = self.rng.pick(&self.paths).clone();
        let after = self.rng.below(10);
        self.tell(|| format!("misdirect a write in {} after {after}", dir.display()));
        self.fs.disk().set_full(false);
        self.fs.disk().inject(Fault::Misdirect { dir, after });
        for _ in 0..20 {
            // Readers may see bytes that nobody wrote there: errors are to be expected, and so are failed directories.
            let _ = self.append();
        }
        self.dirs = None;
        self.crash(Down::Kill);
        let _ = self.open_damaged();
        Ok(())
    }

    // Steps.

    /// Calls `f` with a partition and its log, when one can be used.
    fn with_log(&mut self, f: impl FnOnce(&mut World, &mut Part, &Arc<Log>) -> Step) -> Step {
        if self.parts.is_empty() {
            return Ok(());
        }
        let index = self.rng.index(self.parts.len());
        let Some(log) = self.dirs.as_ref().and_then(|dirs| dirs.get(&self.parts[index].name)) else {
            return Ok(());
        };
        if log.dir_state().is_offline()
            || self.parts[index].loose
            || self.parts[index].presence == Presence::Maybe
        {
            return Ok(());
        }
        let mut part = self.parts.swap_remove(index);
        let result = f(self, &mut part, &log);
        let name = part.name.clone();
        self.parts.push(part);
        result.map_err(|text| format!("{name}: {text}"))
    }

    /// Sorts an error: a full disk is passing, anything else must have taken the directory offline. Returns whether
    /// the disk is only full.
    fn only_full(&mut self, log: &Log, error: &LogError) -> Result<bool, String> {
        let text = error.to_string();
        self.tell(|| format!("error: {text}"));
        if error.is_shortage() && !log.dir_state().is_offline() {
            return Ok(true);
        }
        if log.dir_state().is_offline() {
            self.sync_failed = true;
            return Ok(false);
        }
        Err(format!("{error}, and the directory is still online"))
    }

    fn append(&mut self) -> Step {
        self.with_log(|world, part, log| {
            if world.rng.chance(1, 8) {
                return world.append_as_follower(part, log);
            }
            let writer = world.writer(log);
            let bytes = batches::data(&mut world.rng, writer, world.now_ms);
            world.append_batch(part, log, bytes, AppendOrigin::Client)
        })
    }

    /// A writer that goes on where the log says that it stopped.
    fn writer(&mut self, log: &Log) -> Writer {
        let producer_id = self.rng.between(-1, 5);
        if producer_id < 0 {
            return NOBODY;
        }
        let entry = log.producer_entries().into_iter().find(|entry| entry.producer_id == producer_id);
        let transactional = producer_id >= 3;
        let Some(entry) = entry else {
            return Writer { producer_id, epoch: 0, sequence: 0, transactional };
        };
        let open = entry.current_txn_first_offset.is_some();
        if !open && self.rng.chance(1, 10) {
            return Writer { producer_id, epoch: entry.producer_epoch + 1, sequence: 0, transactional };
        }
        let sequence = entry.last_sequence() + 1;
        Writer { producer_id, epoch: entry.producer_epoch, sequence, transactional }
    }

    fn append_batch(
        &mut self,
        part: &mut Part,
        log: &Arc<Log>,
        bytes: Vec<u8>,
        origin: AppendOrigin,
    ) -> Step {
        let expected = MBatch::placed(bytes.clone(), part.end, part.leader_epoch);
        if bytes.len() > self.config.segment_bytes as usize {
            return Ok(());
        }
        let options = AppendOptions::new(origin, part.leader_epoch, self.now_ms);
        match log.append_as_leader(&bytes, &options) {
            Ok(info) => {
                if (info.first_offset, info.last_offset) != (expected.base(), expected.last())
                    || info.duplicate
                {
                    return Err(format!("appended at {info:?}, not at {}", part.end));
                }
                let h = expected.header;
                self.tell(|| {
                    let size = expected.bytes.len();
                    let (id, epoch, seq) = (h.producer_id, h.producer_epoch, h.base_sequence);
                    let (first, last, name) = (expected.base(), expected.last(), &part.name);
                    format!("{name}: append {first}..={last} {size} bytes, producer {id}/{epoch}/{seq}, epoch {}, {:?}",
                        h.partition_leader_epoch, expected.marker)
                });
                self.appended(part, log, vec![expected]);
                Ok(())
            }
            Err(error) => self.not_appended(part, log, &error, vec![expected]),
        }
    }

    fn appended(&mut self, part: &mut Part, log: &Log, batches: Vec<MBatch>) {
        self.outcome.appends += batches.len() as u64;
        part.batches.extend(batches);
        part.end = part.batches.last().map_or(part.end, |batch| batch.last() + 1);
        part.kept_end = part.end;
        if part.config.flush_messages == 1 {
            part.durable_end = part.end;
        }
        if self.rng.chance(4, 5) {
            log.maybe_increment_high_watermark(part.end);
            part.high_watermark = part.high_watermark.max(part.end);
        }
    }

    fn not_appended(&mut self, part: &mut Part, log: &Log, error: &LogError, ghosts: Vec<MBatch>) -> Step {
        if self.only_full(log, error)? {
            if log.log_end_offset() != part.end {
                return Err(format!("{error}, but the log now ends at {}", log.log_end_offset()));
            }
        } else {
            part.ghosts = ghosts;
        }
        Ok(())
    }

    fn append_as_follower(&mut self, part: &mut Part, log: &Arc<Log>) -> Step {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        let mut next = part.end;
        let mut leader = batches::Leader::after(&log.producer_entries());
        for _ in 0..self.rng.between(1, 5) {
            if self.rng.chance(1, 4) {
                part.leader_epoch += 1;
            }
            let one = leader.next(&mut self.rng, part.coordinator_epoch, self.now_ms);
            let batch = MBatch::placed(one, next, part.leader_epoch);
            next = batch.last() + 1;
            bytes.extend_from_slice(&batch.bytes);
            expected.push(batch);
        }
        match log.append_as_follower(&bytes, part.leader_epoch, self.now_ms) {
            Ok(info) if info.last_offset + 1 == next => {
                self.tell(|| format!("{}: append as follower {}..{next}", part.name, info.first_offset));
                self.appended(part, log, expected);
                Ok(())
            }
            Ok(info) => Err(format!("appended {info:?}, not up to {next}")),
            Err(error) => self.not_appended(part, log, &error, expected),
        }
    }

    fn end_transaction(&mut self) -> Step {
        self.with_log(|world, part, log| {
            let open: Vec<_> = log
                .producer_entries()
                .into_iter()
                .filter(|entry| entry.current_txn_first_offset.is_some())
                .collect();
            if open.is_empty() {
                return Ok(());
            }
            let entry = *world.rng.pick(&open);
            if world.rng.chance(1, 8) {
                part.coordinator_epoch += 1;
            }
            let commit = world.rng.chance(1, 2);
            let epoch = entry.producer_epoch + i16::from(world.rng.chance(1, 6));
            let bytes =
                batches::marker(commit, part.coordinator_epoch, world.now_ms, entry.producer_id, epoch);
            world.append_batch(part, log, bytes, AppendOrigin::Coordinator)
        })
    }

    fn retry(&mut self, part: &mut Part, log: &Arc<Log>) -> Step {
        let Some(batch) = part.batches.iter().rev().find(|batch| batch.header.has_producer_id()) else {
            return Ok(());
        };
        let known = log.producer_entries().into_iter().any(|entry| {
            entry.producer_id == batch.header.producer_id && entry.last_data_offset() == batch.last()
        });
        // A producer whose state was forgotten may have begun anew: which of two equal batches is told is open.
        let same = |other: &&MBatch| {
            let of = |b: &MBatch| (b.header.producer_id, b.header.producer_epoch, b.header.base_sequence);
            of(other) == of(batch)
        };
        let is_only = part.batches.iter().filter(same).count() == 1;
        // A follower takes batches of any size, clients' must fit into a segment.
        let is_too_large = batch.bytes.len() > self.config.segment_bytes as usize;
        if batch.marker.is_some() || !known || !is_only || is_too_large {
            return Ok(());
        }
        let (first, last) = (batch.base(), batch.last());
        let mut bytes = batch.bytes.clone();
        patch::set_base_offset(&mut bytes, 0);
        let options = AppendOptions::new(AppendOrigin::Client, part.leader_epoch, self.now_ms);
        match log.append_as_leader(&bytes, &options) {
            Ok(info) if info.duplicate && (info.first_offset, info.last_offset) == (first, last) => Ok(()),
            Ok(info) => Err(format!("a retry of {first}..={last} is {info:?}")),
            Err(error) => self.only_full(log, &error).map(|_| ()),
        }
    }

    fn roll(&mut self, part: &mut Part, log: &Arc<Log>) -> Step {
        self.tell(|| format!("{}: roll", part.name));
        match log.roll(self.now_ms) {
            Ok(()) => Ok(()),
            Err(error) => self.only_full(log, &error).map(|_| ()),
        }
    }

    fn flush(&mut self, part: &mut Part, log: &Arc<Log>) -> Step {
        self.tell(|| format!("{}: flush", part.name));
        match log.flush(self.now_ms) {
            Ok(()) => {
                part.durable_end = part.end;
                Ok(())
            }
            Err(error) => self.only_full(log, &error).map(|_| ()),
        }
    }

    fn maintain(&mut self) -> Step {
        self.now_ms += self.rng.between(0, 2000);
        self.tell(|| "maintain".to_owned());
        if let Some(dirs) = &self.dirs {
            dirs.maintain(self.now_ms);
            self.sync_failed |= dirs.dirs().iter().any(|dir| dir.offline);
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Step {
        self.tell(|| "checkpoint".to_owned());
        let Some(dirs) = &self.dirs else { return Ok(()) };
        let before = self.fs.disk().injected();
        dirs.checkpoint();
        let disk = self.fs.disk();
        if disk.injected() == before && !disk.is_full() && !disk.is_down() {
            for part in &mut self.parts {
                if let Some(log) = dirs.get(&part.name)
                    && !log.dir_state().is_offline()
                {
                    part.noted_start = part.start;
                }
            }
        }
        Ok(())
    }

    fn truncate(&mut self, part: &mut Part, log: &Arc<Log>) -> Step {
        if part.compacted {
            // What was compacted is committed, and what took its place too: no leader asks for that.
            return Ok(());
        }
        let mut boundaries: Vec<i64> = part
            .batches
            .iter()
            .filter(|batch| !batch.gone && batch.base() >= part.start)
            .map(MBatch::base)
            .collect();
        boundaries.push(part.end);
        // Mostly a little of the end.
        let from = if self.rng.chance(2, 3) { boundaries.len().saturating_sub(4) } else { 0 };
        let offset = *self.rng.pick(&boundaries[from..]);
        self.tell(|| format!("{}: truncate to {offset} of {}", part.name, part.end));
        let Some(dirs) = &self.dirs else { return Ok(()) };
        match dirs.truncate_to(&part.name, offset, self.now_ms) {
            Ok(_) => {
                if offset < part.end {
                    part.truncate(offset);
                    // The new leader is of a later epoch.
                    part.leader_epoch += 1;
                }
                Ok(())
            }
            Err(error) => {
                if self.only_full(log, &error)? {
                    // Half done: this partition is given up.
                    part.loose = true;
                }
                part.kept_end = part.kept_end.min(offset);
                part.durable_end = part.durable_end.min(offset);
                part.noted_start = part.noted_start.min(offset);
                Ok(())
            }
        }
    }

    fn truncate_fully(&mut self, part: &mut Part, log: &Arc<Log>) -> Step {
        let offset = part.end + self.rng.between(0, 20) - self.rng.between(0, 5).min(part.end);
        self.tell(|| format!("{}: truncate fully to {offset} of {}", part.name, part.end));
        let Some(dirs) = &self.dirs else { return Ok(()) };
        match dirs.truncate_fully_and_start_at(&part.name, offset, None, self.now_ms) {
            Ok(()) => {
                part.batches.clear();
                part.ghosts.clear();
                (part.start, part.end, part.kept_end) = (offset, offset, offset);
                (part.durable_end, part.start_limit, part.high_watermark) = (offset, offset, offset);
                part.noted_start = offset;
                part.forgotten_below = vec![offset];
                part.rebuilt_end = offset;
                part.epochs_from = 0;
                part.leader_epoch += 1;
            }
            Err(error) => {
                self.only_full(log, &error)?;
                part.loose = true;
            }
        }
        Ok(())
    }

    fn delete_records(&mut self, part: &mut Part, log: &Arc<Log>) -> Step {
        if part.high_watermark <= part.start {
            return Ok(());
        }
        let offset = self.rng.between(part.start, part.high_watermark);
        self.tell(|| format!("{}: delete records before {offset}", part.name));
        match log.delete_records(offset) {
            Ok(start) if start == offset.max(part.start) => {
                part.start = start;
                part.start_limit = start;
                Ok(())
            }
            Ok(start) => Err(format!("the log starts at {start} after deleting up to {offset}")),
            Err(error) => {
                self.only_full(log, &error)?;
                part.start_limit = part.start_limit.max(offset);
                part.start = log.log_start_offset().max(part.start);
                Ok(())
            }
        }
    }

    fn retention(&mut self) -> Step {
        self.now_ms += self.rng.between(0, 5000);
        self.with_log(|world, part, log| {
            world.tell(|| format!("{}: retention", part.name));
            let result = log.delete_old_segments(world.now_ms);
            let start = log.log_start_offset();
            if start < part.start || start > part.high_watermark.max(part.start) {
                return Err(format!("retention moved the start from {} to {start}", part.start));
            }
            if let Err(error) = result {
                world.only_full(log, &error)?;
                part.start_limit = part.high_watermark.max(start);
            } else {
                part.start_limit = start;
            }
            part.start = start;
            let first = log.segment_sizes().first().map_or(0, |(base, _)| *base);
            for batch in part.batches.iter_mut().filter(|batch| batch.base() < first) {
                batch.gone = true;
            }
            Ok(())
        })
    }

    /// Cleans whatever is due, and compares.
    fn compact(&mut self) -> Step {
        self.now_ms += self.rng.between(0, 3000);
        self.fs.disk().set_now_ms(self.now_ms);
        let control = Unhurried(self.now_ms);
        let config =
            CleanerConfig { dedupe_buffer_size: 4096, io_buffer_size: 4096, ..CleanerConfig::default() };
        let mut cleaner = Cleaner::new(&config, 7);
        for _ in 0..MAX_PARTS {
            let Some(dirs) = &self.dirs else { return Ok(()) };
            let (Some(cleaning), _) = dirs.clean_filthiest(&mut cleaner, &control) else { return Ok(()) };
            let Some(index) = self.parts.iter().position(|part| part.name == cleaning.partition) else {
                return Ok(());
            };
            let log = dirs.get(&cleaning.partition);
            let name = cleaning.partition.clone();
            let first = cleaning.first_dirty_offset;
            self.tell(|| {
                format!("{name}: clean from {first}: {:?}", cleaning.result.as_ref().map(|(end, _)| *end))
            });
            self.parts[index].compacted = true;
            let Some(log) = log else { return Ok(()) };
            match cleaning.result {
                // A full disk left a truncation half done: what is there now is open until the next start.
                Ok(_) if self.parts[index].loose => return Ok(()),
                Ok(_) => {
                    let part = &self.parts[index];
                    let before = self.fs.disk().injected();
                    let seen = match Observed::of(&self.fs, &log) {
                        Ok(seen) => seen,
                        // The look itself met a fault.
                        Err(_) if self.fs.disk().injected() != before => return Ok(()),
                        Err(text) => return Err(format!("{name} cleaned: {text}")),
                    };
                    check::compacted(part, &seen, part.end)
                        .map_err(|text| format!("{name} cleaned: {text}"))?;
                    let bases: Vec<i64> = seen.batches().map(MBatch::base).collect();
                    for batch in &mut self.parts[index].batches {
                        batch.gone = bases.binary_search(&batch.base()).is_err();
                    }
                }
                Err(CleanError::Log(error)) => {
                    self.only_full(&log, &error).map_err(|text| format!("{name}: {text}"))?;
                    return Ok(());
                }
                Err(error) => return Err(format!("{name}: {error}")),
            }
        }
        Ok(())
    }

    fn bump_epoch(&mut self, part: &mut Part, log: &Arc<Log>) -> Step {
        part.leader_epoch += self.rng.between(1, 2) as i32;
        if self.rng.chance(1, 2) {
            return Ok(());
        }
        match log.assign_epoch_start_offset(part.leader_epoch, part.end) {
            Ok(()) => Ok(()),
            Err(error) => self.only_full(log, &error).map(|_| ()),
        }
    }

    fn look(&mut self, part: &mut Part, log: &Arc<Log>) -> Step {
        if log.high_watermark() != part.high_watermark {
            return Err(format!("high watermark {} should be {}", log.high_watermark(), part.high_watermark));
        }
        let before = self.fs.disk().injected();
        let looked = Observed::of(&self.fs, log).and_then(|seen| {
            check::state(part, &seen)?;
            check::lookups(part, log, &seen, &mut self.rng)
        });
        match looked {
            Err(_) if self.fs.disk().injected() != before => Ok(()),
            other => other,
        }
    }

    fn create(&mut self) -> Step {
        if self.parts.len() >= MAX_PARTS {
            return Ok(());
        }
        self.next_id += 1;
        let name = TopicPartition::new(format!("t{}", self.next_id), 0);
        let mut id = [0u8; 16];
        id[15] = self.next_id as u8;
        id[0] = 1;
        let topic_id = Uuid(id);
        let mut part = Part::new(name.clone(), topic_id, self.config.clone());
        self.tell(|| format!("create {name}"));
        let Some(dirs) = &self.dirs else { return Ok(()) };
        match dirs.get_or_create(&name, Some(topic_id), None, self.now_ms) {
            Ok(_) => part.presence = Presence::Yes,
            Err(_) => part.loose = true,
        }
        self.parts.push(part);
        Ok(())
    }

    fn delete(&mut self) -> Step {
        if self.parts.len() < 2 {
            return Ok(());
        }
        let index = self.rng.index(self.parts.len());
        let name = self.parts[index].name.clone();
        self.tell(|| format!("delete {name}"));
        let Some(dirs) = &self.dirs else { return Ok(()) };
        let online = dirs.get(&name).is_some_and(|log| !log.dir_state().is_offline());
        if !online || self.parts[index].presence == Presence::Maybe {
            return Ok(());
        }
        match dirs.delete(&name, self.now_ms) {
            Ok(_) => {
                self.parts.remove(index);
                self.deleted.push(name);
            }
            Err(_) => self.parts[index].presence = Presence::Maybe,
        }
        Ok(())
    }

    fn inject(&mut self) -> Step {
        let dir = self.rng.pick(&self.paths).clone();
        let after = self.rng.below(30);
        let kinds = [
            FaultKind::Open,
            FaultKind::SyncDir,
            FaultKind::Rename,
            FaultKind::Remove,
            FaultKind::Read,
            FaultKind::Write,
            FaultKind::Sync,
            FaultKind::Truncate,
        ];
        let fault = match self.rng.below(10) {
            0..5 => Fault::Crash { after },
            5 => Fault::Dead { dir, after },
            6 => Fault::Full { after },
            _ => {
                let kind = Some(*self.rng.pick(&kinds));
                Fault::Error { dir, kind, after: self.rng.below(8) }
            }
        };
        self.tell(|| format!("inject {fault:?}"));
        let mut disk = self.fs.disk();
        let note = mix(after, 1);
        disk.note(note);
        disk.inject(fault);
        Ok(())
    }
}
