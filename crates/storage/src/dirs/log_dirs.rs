//! Every log of a node, in its directories.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use ottla_protocol::types::Uuid;
use thiserror::Error;

use super::clean_shutdown::CleanShutdown;
use super::meta_properties::MetaProperties;
use super::names::{DirKind, delete_dir_name, parse_dir_name, partition_dir_name, stray_dir_name};
use super::settings::LogDirsSettings;
use super::state::DirState;
use super::{CLUSTER_METADATA_DIR, LOCK_FILE};
use crate::checkpoint::{
    HIGH_WATERMARK_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT, OffsetCheckpoint, RECOVERY_POINT_CHECKPOINT,
};
use crate::cleaner::CleanerManager;
use crate::config::LogConfig;
use crate::disk::{DirLock, Disk};
use crate::error::LogError;
use crate::log::{DEFAULT_PRODUCER_ID_EXPIRATION_MS, Log, LogOptions, TopicPartition};
use crate::mutation::{self, Mutation};

/// Logs that are closed at the same time.
const MAX_CLOSING_THREADS: usize = 16;

/// The settings of a topic, by its name.
pub type TopicConfigs = Arc<dyn Fn(&str) -> LogConfig + Send + Sync>;

/// What the log directories are opened with.
#[derive(Clone)]
pub struct LogDirsOptions {
    /// `log.dirs`.
    pub dirs: Vec<PathBuf>,
    /// Settings of topics.
    pub topic_configs: TopicConfigs,
    /// `num.recovery.threads.per.data.dir`; 0 loads everything on the caller's thread, one log after the other.
    pub recovery_threads_per_data_dir: usize,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i64,
    /// `transaction.partition.verification.enable`.
    pub transaction_verification: bool,
    /// `file.delete.delay.ms` of whole partitions.
    pub file_delete_delay_ms: i64,
    /// `ottla.log.unflushed.bytes.per.partition`: bytes of one log that may be written and not durable before it is
    /// made durable in the background.
    pub max_unflushed_bytes_per_partition: u64,
    /// `ottla.log.unflushed.bytes.per.dir`: the same for all logs of a directory.
    pub max_unflushed_bytes_per_dir: u64,
}

impl fmt::Debug for LogDirsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogDirsOptions").field("dirs", &self.dirs).finish_non_exhaustive()
    }
}

impl LogDirsOptions {
    /// Kafka's defaults for `dirs`.
    pub fn new(dirs: Vec<PathBuf>) -> Self {
        LogDirsOptions {
            dirs,
            topic_configs: Arc::new(|_| LogConfig::default()),
            recovery_threads_per_data_dir: 2,
            producer_id_expiration_ms: DEFAULT_PRODUCER_ID_EXPIRATION_MS,
            transaction_verification: true,
            file_delete_delay_ms: 60_000,
            max_unflushed_bytes_per_partition: 256 << 20,
            max_unflushed_bytes_per_dir: 2 << 30,
        }
    }
}

/// Why log directories cannot be used.
#[derive(Debug, Error)]
pub enum DirError {
    /// Another process has the directory.
    #[error(
        "Failed to acquire lock on file .lock in {dir}. A Kafka instance in another process or thread is using this \
         directory.", dir = .dir.display()
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// No directory is left.
    #[error("Shutdown broker because none of the specified log dirs from {dirs} can be created or validated")]
    NoneOnline {
        /// The directories.
        dirs: String,
    },
    /// A directory of another node or cluster.
    #[error("{text}")]
    Inconsistent {
        /// What is wrong.
        text: String,
    },
}

#[derive(Debug)]
pub(super) struct LogDir {
    pub(super) state: Arc<DirState>,
    meta: Option<MetaProperties>,
    pub(super) recovery_points: OffsetCheckpoint,
    pub(super) log_starts: OffsetCheckpoint,
    pub(super) high_watermarks: OffsetCheckpoint,
    clean: Option<CleanShutdown>,
    /// High watermarks as they stood when the directory was opened.
    loaded_high_watermarks: BTreeMap<TopicPartition, i64>,
    _lock: Option<Box<dyn DirLock>>,
}

/// A log directory for those who ask.
#[derive(Debug, Clone)]
pub struct LogDirInfo {
    /// The directory.
    pub path: PathBuf,
    /// Its id, when `meta.properties` says it.
    pub directory_id: Option<Uuid>,
    /// Whether it failed.
    pub offline: bool,
    /// Whether it takes no new logs.
    pub cordoned: bool,
    /// Bytes of its file system, where known.
    pub total_bytes: Option<u64>,
    /// Bytes that are free, where known.
    pub usable_bytes: Option<u64>,
}

#[derive(Debug)]
struct PendingRemoval {
    due_ms: i64,
    path: PathBuf,
}

/// Every log of a node.
#[derive(Debug)]
pub struct LogDirs {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) options: LogDirsOptions,
    pub(super) settings: RwLock<LogDirsSettings>,
    pub(super) dirs: Vec<LogDir>,
    pub(super) logs: RwLock<HashMap<TopicPartition, Arc<Log>>>,
    /// Logs on their way to another directory. Taken after `logs` where both are.
    pub(super) futures: RwLock<HashMap<TopicPartition, Arc<Log>>>,
    /// Directories that partitions are wanted in that are not there yet.
    pub(super) preferred: Mutex<HashMap<TopicPartition, PathBuf>>,
    pending: Mutex<Vec<PendingRemoval>>,
    /// Distinguishes directories that are deleted; from the caller's randomness.
    unique: Mutex<u128>,
    pub(super) cleaner: CleanerManager,
}

impl LogDirs {
    /// Makes and locks the directories and reads what they say of themselves. No log is opened yet. A directory that
    /// cannot be used is offline from the start. `unique` is any random number.
    ///
    /// # Errors
    /// [`DirError::Locked`] when another process has one; [`DirError::NoneOnline`] when none is left.
    pub fn open(disk: Arc<dyn Disk>, options: LogDirsOptions, unique: u128) -> Result<Self, DirError> {
        let mut dirs = Vec::new();
        for path in &options.dirs {
            let state = Arc::new(DirState::new(path.clone()));
            state.set_max_unflushed_bytes(options.max_unflushed_bytes_per_partition);
            let mut dir = LogDir {
                recovery_points: OffsetCheckpoint::new(Arc::clone(&disk), path, RECOVERY_POINT_CHECKPOINT),
                log_starts: OffsetCheckpoint::new(Arc::clone(&disk), path, LOG_START_OFFSET_CHECKPOINT),
                high_watermarks: OffsetCheckpoint::new(Arc::clone(&disk), path, HIGH_WATERMARK_CHECKPOINT),
                state,
                meta: None,
                clean: None,
                loaded_high_watermarks: BTreeMap::new(),
                _lock: None,
            };
            match Self::open_dir(&*disk, path, &mut dir) {
                Ok(true) => {}
                Ok(false) => return Err(DirError::Locked { dir: path.clone() }),
                Err(error) => dir.state.fail("Error while opening the log directory", &error),
            }
            dirs.push(dir);
        }
        if dirs.iter().all(|dir| dir.state.is_offline()) {
            let names: Vec<String> = options.dirs.iter().map(|dir| dir.display().to_string()).collect();
            return Err(DirError::NoneOnline { dirs: names.join(", ") });
        }
        let cleaner = CleanerManager::new(&disk, &options.dirs);
        Ok(LogDirs {
            cleaner,
            disk,
            settings: RwLock::new(LogDirsSettings::of(&options)),
            options,
            dirs,
            logs: RwLock::new(HashMap::new()),
            futures: RwLock::new(HashMap::new()),
            preferred: Mutex::new(HashMap::new()),
            pending: Mutex::new(Vec::new()),
            unique: Mutex::new(unique),
        })
    }

    fn open_dir(disk: &dyn Disk, path: &Path, dir: &mut LogDir) -> io::Result<bool> {
        disk.create_dir_all(path)?;
        match disk.try_lock(&path.join(LOCK_FILE))? {
            Some(lock) => dir._lock = Some(lock),
            None => return Ok(false),
        }
        dir.meta = MetaProperties::read(disk, path)?;
        dir.clean = CleanShutdown::read(disk, path)?;
        dir.loaded_high_watermarks = dir.high_watermarks.read()?;
        Ok(true)
    }

    pub(super) fn random_id(&self) -> Uuid {
        let mut unique = self.unique.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *unique = unique
            .wrapping_mul(0xda94_2042_e4dd_58b5)
            .wrapping_add(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        Uuid::from_random((*unique ^ (*unique >> 64)).to_be_bytes())
    }

    /// Opens every log, each directory with its own threads: recovering those that were not closed in order. Logs
    /// that `is_stray` names get the suffix `-stray` and are left alone. The marks of a clean stop go.
    ///
    /// Directories that fail go offline with their logs; the others are loaded.
    pub fn load_logs(&self, now_ms: i64, is_stray: &(dyn Fn(&Log) -> bool + Sync)) {
        let online = self.dirs.iter().filter(|dir| !dir.state.is_offline());
        let load = move |dir: &LogDir| {
            if let Err(error) = self.load_dir(dir, now_ms, is_stray) {
                dir.state.fail("Error while loading the log directory", &error);
            }
        };
        if self.options.recovery_threads_per_data_dir == 0 {
            online.for_each(load);
            return;
        }
        std::thread::scope(|scope| {
            for dir in online {
                scope.spawn(move || load(dir));
            }
        });
    }

    fn load_dir(
        &self,
        dir: &LogDir,
        now_ms: i64,
        is_stray: &(dyn Fn(&Log) -> bool + Sync),
    ) -> io::Result<()> {
        let path = dir.state.path();
        let clean = dir.clean.is_some();
        if clean && !mutation::on(Mutation::CleanMarkKept) {
            CleanShutdown::remove(&*self.disk, path)?;
        }
        let recovery_points = dir.recovery_points.read().unwrap_or_else(|error| {
            tracing::warn!(dir = %path.display(), %error, "no recovery points, recovering from the start");
            BTreeMap::new()
        });
        let log_starts = dir.log_starts.read().unwrap_or_else(|error| {
            tracing::warn!(dir = %path.display(), %error, "no log start offsets");
            BTreeMap::new()
        });
        let mut jobs = VecDeque::new();
        for entry in self.disk.list(path)? {
            if !entry.is_dir || entry.name == CLUSTER_METADATA_DIR {
                continue;
            }
            match parse_dir_name(&entry.name) {
                Some((partition, kind @ (DirKind::Log | DirKind::Future))) => {
                    jobs.push_back((partition, kind, path.join(&entry.name)));
                }
                Some((_, DirKind::Delete)) => self.remove_later(path.join(&entry.name), now_ms),
                Some((_, DirKind::Stray)) | None => {}
            }
        }
        let jobs = Mutex::new(jobs);
        let work = || {
            loop {
                let next = jobs.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).pop_front();
                let Some((partition, kind, dir_path)) = next else { return };
                let options = LogOptions {
                    log_start_offset: log_starts.get(&partition).copied().unwrap_or(0),
                    recovery_point: recovery_points.get(&partition).copied().unwrap_or(0),
                    had_clean_shutdown: clean,
                    ..self.log_options(partition, dir_path, now_ms)
                };
                match Log::open(&self.disk, &dir.state, options) {
                    Ok(log) => self.adopt(dir, log, kind, is_stray),
                    Err(error) => tracing::error!(%error, "a log cannot be loaded"),
                }
            }
        };
        match self.options.recovery_threads_per_data_dir {
            0 => work(),
            threads => std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(work);
                }
            }),
        }
        // A log that was cut ends at or before the point that is noted. Were it closed there, the next recovery would
        // begin behind the segment whose indexes were built anew and are not durable.
        match if clean { Ok(()) } else { self.note_recovery_points(dir) } {
            Err(error) if !crate::error::is_shortage(&error) => Err(error),
            _ => Ok(()),
        }
    }

    fn adopt(&self, dir: &LogDir, log: Arc<Log>, kind: DirKind, is_stray: &(dyn Fn(&Log) -> bool + Sync)) {
        if is_stray(&log) {
            tracing::warn!(partition = %log.partition(), "a log that the cluster does not know");
            self.set_stray(&log);
            return;
        }
        let high_watermark = dir.loaded_high_watermarks.get(log.partition()).copied().unwrap_or(0);
        log.update_high_watermark(high_watermark);
        let partition = log.partition().clone();
        let table = match kind {
            DirKind::Future => &self.futures,
            DirKind::Log | DirKind::Delete | DirKind::Stray => {
                self.cleaner.check_loaded(&log);
                &self.logs
            }
        };
        let mut logs = table.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let loser = match logs.get(&partition) {
            None => None,
            // A move that was interrupted between its two renames: the copy has all that the original has, and may
            // have been appended to since.
            Some(other) if other.log_end_offset() >= log.log_end_offset() => Some(Arc::clone(&log)),
            Some(other) => Some(Arc::clone(other)),
        };
        if loser.as_ref().is_none_or(|loser| !Arc::ptr_eq(loser, &log)) {
            logs.insert(partition.clone(), log);
        }
        drop(logs);
        if let Some(loser) = loser {
            tracing::warn!(
                %partition,
                dir = %loser.dir().display(),
                "a partition is in two log directories; the log that ends earlier is set aside"
            );
            self.set_stray(&loser);
        }
    }

    /// Renames a log that nobody has a use for.
    fn set_stray(&self, log: &Log) {
        let name = stray_dir_name(log.partition(), self.random_id());
        if let Err(error) = log.rename_dir(log.dir_state().path().join(name)) {
            tracing::error!(%error, "a stray log cannot be renamed");
        }
    }

    /// The options of a log that is opened in `dir`, with the settings in force.
    pub(super) fn log_options(&self, partition: TopicPartition, dir: PathBuf, now_ms: i64) -> LogOptions {
        let settings = self.settings();
        LogOptions {
            config: (self.options.topic_configs)(&partition.topic),
            producer_id_expiration_ms: settings.producer_id_expiration_ms,
            transaction_verification: settings.transaction_verification,
            ..LogOptions::new(partition, dir, now_ms)
        }
    }

    /// The log of a partition.
    pub fn get(&self, partition: &TopicPartition) -> Option<Arc<Log>> {
        self.logs.read().unwrap_or_else(|poisoned| poisoned.into_inner()).get(partition).cloned()
    }

    /// Every log, by partition.
    pub fn all(&self) -> Vec<Arc<Log>> {
        let logs = self.logs.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut all: Vec<_> = logs.values().cloned().collect();
        drop(logs);
        all.sort_by(|left, right| left.partition().cmp(right.partition()));
        all
    }

    /// The log of a partition; a new one where there is none, in the directory that `directory_id` names, or in the
    /// online directory with the fewest partitions.
    ///
    /// # Errors
    /// The disk; no directory is online; another topic id.
    pub fn get_or_create(
        &self,
        partition: &TopicPartition,
        topic_id: Option<Uuid>,
        directory_id: Option<Uuid>,
        now_ms: i64,
    ) -> Result<Arc<Log>, LogError> {
        if let Some(log) = self.get(partition) {
            if let Some(topic_id) = topic_id {
                log.assign_topic_id(topic_id)?;
            }
            return Ok(log);
        }
        let mut logs = self.logs.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(log) = logs.get(partition) {
            return Ok(Arc::clone(log));
        }
        let assigned = directory_id.filter(|id| !id.is_reserved());
        let id_of = |dir: &LogDir| dir.meta.as_ref().and_then(|meta| meta.directory_id);
        // A move that the controller took for done before the directory was renamed.
        if let Some(future) = self.future(partition)
            && assigned.is_some()
            && self.dir_of(&future).and_then(id_of) == assigned
        {
            tracing::info!(%partition, dir = %future.dir().display(), "finishing a move that was interrupted");
            let log = self.promote(&future, future.log_start_offset(), now_ms)?;
            logs.insert(partition.clone(), Arc::clone(&log));
            return Ok(log);
        }
        let dir = self.choose_dir(&logs, assigned, self.take_preferred(partition))?;
        let options = LogOptions {
            topic_id,
            ..self.log_options(
                partition.clone(),
                dir.state.path().join(partition_dir_name(partition)),
                now_ms,
            )
        };
        let log = Log::open(&self.disk, &dir.state, options)?;
        logs.insert(partition.clone(), Arc::clone(&log));
        Ok(log)
    }

    /// The directory of a new log: the one that is wanted, the one that is assigned, or the one with the fewest logs.
    fn choose_dir(
        &self,
        logs: &HashMap<TopicPartition, Arc<Log>>,
        assigned: Option<Uuid>,
        preferred: Option<PathBuf>,
    ) -> Result<&LogDir, LogError> {
        let online = || self.dirs.iter().filter(|dir| !dir.state.is_offline());
        let offline = || self.dirs.iter().find(|dir| dir.state.is_offline());
        let refused = |dir: Option<&LogDir>| LogError::DirOffline {
            dir: dir.map(|dir| dir.state.path().to_path_buf()).unwrap_or_default(),
        };
        if let Some(wanted) =
            preferred.and_then(|path| online().find(|dir| dir.state.path() == path.as_path()))
        {
            return Ok(wanted);
        }
        if let Some(id) = assigned {
            let id_of = |dir: &LogDir| dir.meta.as_ref().and_then(|meta| meta.directory_id);
            match online().find(|dir| id_of(dir) == Some(id)) {
                Some(dir) => return Ok(dir),
                // Its records may be in a directory that failed: an empty log must not take its place.
                None if offline().is_some() => return Err(refused(offline())),
                None => {}
            }
        }
        let futures = self.futures.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let count = |dir: &LogDir| {
            let here = |log: &&Arc<Log>| Arc::ptr_eq(log.dir_state(), &dir.state);
            logs.values().filter(here).count() + futures.values().filter(here).count()
        };
        let settings = self.settings();
        let mut open = online().filter(|dir| !settings.is_cordoned(dir.state.path())).peekable();
        let first = open.next();
        // Counting looks at every log: with one directory, which is the rule, there is nothing to compare.
        let fewest = if open.peek().is_none() {
            first
        } else {
            first.into_iter().chain(open).min_by_key(|dir| count(dir))
        };
        fewest
            // Assigned before all directories were cordoned.
            .or_else(|| online().next())
            .ok_or_else(|| refused(offline()))
    }

    /// Deletes a partition: its directory is renamed at once and removed after `file.delete.delay.ms`. Returns
    /// whether there was one.
    ///
    /// # Errors
    /// The disk.
    pub fn delete(&self, partition: &TopicPartition, now_ms: i64) -> Result<bool, LogError> {
        let removed = self.logs.write().unwrap_or_else(|poisoned| poisoned.into_inner()).remove(partition);
        let Some(log) = removed else { return Ok(false) };
        let path = log.dir_state().path().join(delete_dir_name(partition, self.random_id()));
        self.while_paused(&log, || log.rename_dir(path.clone()))?;
        self.forget_cleaning(&log);
        self.remove_later(path, now_ms);
        self.end_move(partition, now_ms)?;
        Ok(true)
    }

    /// Sets a partition aside that the cluster does not know. Returns whether there was one.
    ///
    /// # Errors
    /// The disk.
    pub fn mark_stray(&self, partition: &TopicPartition) -> Result<bool, LogError> {
        let removed = self.logs.write().unwrap_or_else(|poisoned| poisoned.into_inner()).remove(partition);
        let Some(log) = removed else { return Ok(false) };
        let path = log.dir_state().path().join(stray_dir_name(partition, self.random_id()));
        self.while_paused(&log, || log.rename_dir(path))?;
        self.forget_cleaning(&log);
        Ok(true)
    }

    fn forget_cleaning(&self, log: &Log) {
        if let Err(error) = self.cleaner.forget(log.dir_state().path(), log.partition()) {
            tracing::warn!(partition = %log.partition(), %error, "the cleaner's checkpoint still has a log that is gone");
        }
    }

    pub(super) fn remove_later(&self, path: PathBuf, now_ms: i64) {
        let due_ms = now_ms.saturating_add(self.settings().file_delete_delay_ms);
        self.pending
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .push(PendingRemoval { due_ms, path });
    }

    /// Does what has waited: removes deleted partitions whose delay is over, and [`Log::maintain`] of every log.
    pub fn maintain(&self, now_ms: i64) {
        let due: Vec<PendingRemoval> = {
            let mut pending = self.pending.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let (due, later) = pending.drain(..).partition(|entry| entry.due_ms <= now_ms);
            *pending = later;
            due
        };
        for removal in due {
            if let Err(error) = self.disk.remove_dir_all(&removal.path) {
                tracing::warn!(path = %removal.path.display(), %error, "a deleted log cannot be removed");
            }
        }
        for log in self.all().into_iter().chain(self.futures()) {
            if !log.dir_state().is_offline()
                && let Err(error) = log.maintain(now_ms)
            {
                tracing::warn!(%error, "maintenance of a log failed");
            }
        }
        for dir in &self.dirs {
            dir.state.expire_reads();
        }
        self.settle_new();
        self.bound_unflushed(now_ms);
    }

    /// Closes every log, writes the checkpoints and the marks of a clean stop. A directory of which a log cannot be
    /// closed gets no mark, and is recovered at the next start.
    pub fn shutdown(&self, now_ms: i64, broker_epoch: i64) {
        for dir in &self.dirs {
            dir.state.committer().stop();
        }
        let mut all = self.all();
        all.extend(self.futures());
        let unclean: Mutex<Vec<PathBuf>> = Mutex::default();
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(log) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                if log.dir_state().is_offline() {
                    continue;
                }
                if let Err(error) = log.close(now_ms) {
                    tracing::error!(%error, "a log cannot be closed");
                    let mut unclean = unclean.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    unclean.push(log.dir_state().path().to_path_buf());
                }
            }
        };
        // Closing is waiting for the disk, which makes durable together what comes together.
        match self.options.recovery_threads_per_data_dir {
            0 => work(),
            _ => std::thread::scope(|scope| {
                for _ in 0..MAX_CLOSING_THREADS.min(all.len()) {
                    scope.spawn(work);
                }
            }),
        }
        let unclean = unclean.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        self.checkpoint();
        for dir in self.dirs.iter().filter(|dir| !dir.state.is_offline()) {
            let path = dir.state.path();
            if unclean.iter().any(|unclean| unclean == path) {
                continue;
            }
            if let Err(error) = (CleanShutdown { broker_epoch }).write(&*self.disk, path) {
                tracing::error!(dir = %path.display(), %error, "no mark of the clean stop");
            }
        }
    }

    /// The directories.
    pub fn dirs(&self) -> Vec<LogDirInfo> {
        let settings = self.settings();
        self.dirs
            .iter()
            .map(|dir| {
                let offline = dir.state.is_offline();
                let space = if offline { None } else { self.disk.space(dir.state.path()).ok().flatten() };
                LogDirInfo {
                    path: dir.state.path().to_path_buf(),
                    directory_id: dir.meta.as_ref().and_then(|meta| meta.directory_id),
                    offline,
                    cordoned: settings.is_cordoned(dir.state.path()),
                    total_bytes: space.map(|(total, _)| total),
                    usable_bytes: space.map(|(_, usable)| usable),
                }
            })
            .collect()
    }

    /// The state of each directory, for failure hooks.
    pub fn states(&self) -> Vec<Arc<DirState>> {
        self.dirs.iter().map(|dir| Arc::clone(&dir.state)).collect()
    }

    /// `meta.properties` of each directory that has one.
    pub fn meta_properties(&self) -> Vec<(PathBuf, MetaProperties)> {
        self.dirs.iter().filter_map(|dir| Some((dir.state.path().to_path_buf(), dir.meta.clone()?))).collect()
    }

    /// The broker epoch of the last run when it was stopped in order, or else -1.
    pub fn previous_broker_epoch(&self) -> i64 {
        let mut epoch = None;
        for dir in &self.dirs {
            match (&dir.clean, epoch) {
                (None, _) => return -1,
                (Some(clean), None) => epoch = Some(clean.broker_epoch),
                (Some(clean), Some(known)) if clean.broker_epoch != known => return -1,
                _ => {}
            }
        }
        epoch.unwrap_or(-1)
    }

    /// Settings of a topic changed: puts them in force in its logs.
    pub fn update_topic_config(&self, topic: &str) {
        let config = (self.options.topic_configs)(topic);
        for table in [&self.logs, &self.futures] {
            let logs = table.read().unwrap_or_else(|poisoned| poisoned.into_inner());
            for log in logs.values().filter(|log| &*log.partition().topic == topic) {
                log.update_config(config.clone());
            }
        }
    }
}
