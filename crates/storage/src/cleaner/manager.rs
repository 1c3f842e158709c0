//! Which logs are being cleaned, paused or set aside, and up to where each is clean.
//!
//! A log is cleaned by one thread at a time. Whoever truncates, deletes or moves it pauses its cleaning first and waits
//! until the thread has let go. Pauses are counted.
//!
//! Source: Kafka `LogCleanerManager`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::{LogToClean, PreCleanStats, cleanable_bytes, cleanable_offsets, max_compaction_delay};
use crate::checkpoint::{CLEANER_OFFSET_CHECKPOINT, OffsetCheckpoint};
use crate::disk::Disk;
use crate::log::{Log, TopicPartition};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CleaningState {
    InProgress,
    /// A thread is at it and is asked to stop; so many want it paused.
    Aborted(usize),
    Paused(usize),
}

#[derive(Debug)]
struct Checkpoint {
    file: OffsetCheckpoint,
    /// None until the file was read.
    offsets: Option<BTreeMap<TopicPartition, i64>>,
}

#[derive(Debug, Default)]
struct State {
    in_progress: HashMap<TopicPartition, CleaningState>,
    uncleanable: BTreeMap<PathBuf, BTreeSet<TopicPartition>>,
    /// By log directory.
    checkpoints: BTreeMap<PathBuf, Checkpoint>,
    dirtiest_ratio: f64,
    last_run_ms: i64,
}

/// Logs that cannot be cleaned, by directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UncleanableLogs {
    /// The log directory.
    pub dir: PathBuf,
    /// Its partitions that are set aside.
    pub partitions: Vec<TopicPartition>,
    /// Bytes that would be cleaned if they could be.
    pub bytes: u64,
}

/// The cleaning of all logs of a node.
#[derive(Debug)]
pub(crate) struct CleanerManager {
    state: Mutex<State>,
    /// A thread has let go of a log that is to be paused.
    let_go: Condvar,
}

impl State {
    fn offsets(&mut self, dir: &Path) -> io::Result<&mut BTreeMap<TopicPartition, i64>> {
        let checkpoint = self.checkpoints.get_mut(dir).ok_or(io::ErrorKind::NotFound)?;
        if checkpoint.offsets.is_none() {
            checkpoint.offsets = Some(checkpoint.file.read().unwrap_or_else(|error| {
                tracing::warn!(dir = %dir.display(), %error, "the cleaner's checkpoint cannot be read; logs count as dirty");
                BTreeMap::new()
            }));
        }
        Ok(checkpoint.offsets.get_or_insert_default())
    }

    /// Changes the offsets of a directory and makes them durable.
    fn update(
        &mut self,
        dir: &Path,
        change: impl FnOnce(&mut BTreeMap<TopicPartition, i64>),
    ) -> io::Result<()> {
        let offsets = self.offsets(dir)?;
        let before = offsets.clone();
        change(offsets);
        if *offsets == before {
            return Ok(());
        }
        let after = offsets.clone();
        match self.checkpoints.get(dir) {
            Some(checkpoint) => checkpoint.file.write(&after),
            None => Ok(()),
        }
    }

    fn is_uncleanable(&self, log: &Log) -> bool {
        self.uncleanable
            .get(log.dir_state().path())
            .is_some_and(|partitions| partitions.contains(log.partition()))
    }
}

impl CleanerManager {
    pub(crate) fn new(disk: &Arc<dyn Disk>, dirs: &[PathBuf]) -> Self {
        let checkpoints = dirs
            .iter()
            .map(|dir| {
                let file = OffsetCheckpoint::new(Arc::clone(disk), dir, CLEANER_OFFSET_CHECKPOINT);
                (dir.clone(), Checkpoint { file, offsets: None })
            })
            .collect();
        let state = State { checkpoints, ..State::default() };
        CleanerManager { state: Mutex::new(state), let_go: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Writes an offset; a directory that cannot take it is offline, unless it is only full.
    fn note(&self, state: &mut State, log: &Log, offset: i64) {
        let dir = log.dir_state().path();
        let partition = log.partition().clone();
        if let Err(error) = state.update(dir, |offsets| {
            offsets.insert(partition, offset);
        }) {
            log.storage_error("Failed to access checkpoint file cleaner-offset-checkpoint", error);
        }
    }

    /// Chooses the log with the largest share of dirty bytes among those that are due, and marks it as being cleaned.
    pub(crate) fn grab_filthiest(
        &self,
        logs: &[Arc<Log>],
        now_ms: i64,
    ) -> (Option<LogToClean>, PreCleanStats) {
        let mut state = self.state();
        let state = &mut *state;
        state.last_run_ms = now_ms;
        let mut stats = PreCleanStats::default();
        let mut dirtiest_ratio = 0.0f64;
        let mut filthiest: Option<LogToClean> = None;
        for log in logs {
            if !log.config().cleanup_policy.compact
                || log.dir_state().is_offline()
                || log.is_closed()
                || state.in_progress.contains_key(log.partition())
                || state.is_uncleanable(log)
            {
                continue;
            }
            let Ok(offsets) = state.offsets(log.dir_state().path()) else { continue };
            let last_clean_offset = offsets.get(log.partition()).copied();
            let found = cleanable_offsets(log, last_clean_offset, now_ms).and_then(|offsets| {
                let delay_ms = max_compaction_delay(log, offsets.first_dirty_offset, now_ms)?;
                Ok((offsets, delay_ms))
            });
            let (offsets, delay_ms) = match found {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    self.set_aside(state, log, &error);
                    continue;
                }
                Err(error) => {
                    log.storage_error("Failed to calculate log cleaning stats", error);
                    continue;
                }
            };
            if offsets.force_update_checkpoint {
                self.note(state, log, offsets.first_dirty_offset);
            }
            stats.max_compaction_delay_ms = stats.max_compaction_delay_ms.max(delay_ms);
            stats.delayed_partitions += usize::from(delay_ms > 0);
            let candidate = LogToClean::new(Arc::clone(log), offsets, delay_ms > 0);
            if candidate.total_bytes() == 0 {
                continue;
            }
            let ratio = candidate.cleanable_ratio();
            dirtiest_ratio = dirtiest_ratio.max(ratio);
            if candidate.is_due() {
                stats.cleanable_partitions += 1;
                if filthiest.as_ref().is_none_or(|best| ratio > best.cleanable_ratio()) {
                    filthiest = Some(candidate);
                }
            }
        }
        state.dirtiest_ratio = dirtiest_ratio;
        if let Some(target) = &filthiest {
            state.in_progress.insert(target.log.partition().clone(), CleaningState::InProgress);
        }
        (filthiest, stats)
    }

    /// Marks those of `logs` as being worked on that are compacted and left alone by everybody else.
    pub(crate) fn grab_for_deletion(&self, logs: &[Arc<Log>], compacted: bool) -> Vec<Arc<Log>> {
        let mut state = self.state();
        let mut grabbed = Vec::new();
        for log in logs {
            if log.config().cleanup_policy.compact == compacted
                && !log.dir_state().is_offline()
                && !state.in_progress.contains_key(log.partition())
            {
                state.in_progress.insert(log.partition().clone(), CleaningState::InProgress);
                grabbed.push(Arc::clone(log));
            }
        }
        grabbed
    }

    /// Whether the cleaning of a log is to stop.
    pub(crate) fn is_aborted(&self, partition: &TopicPartition) -> bool {
        matches!(self.state().in_progress.get(partition), Some(CleaningState::Aborted(_)))
    }

    /// Lets go of a log. `clean_up_to` is the first dirty offset when it was cleaned.
    pub(crate) fn done(&self, log: &Log, clean_up_to: Option<i64>) {
        let mut state = self.state();
        match state.in_progress.get(log.partition()).copied() {
            Some(CleaningState::Aborted(pauses)) => {
                state.in_progress.insert(log.partition().clone(), CleaningState::Paused(pauses));
                self.let_go.notify_all();
            }
            Some(CleaningState::InProgress) => {
                if let Some(offset) = clean_up_to {
                    self.note(&mut state, log, offset);
                }
                state.in_progress.remove(log.partition());
            }
            Some(CleaningState::Paused(_)) | None => {}
        }
    }

    /// Stops the cleaning of a log and keeps it from being cleaned until [`CleanerManager::resume`]. Returns when no
    /// thread is at it any more.
    pub(crate) fn abort_and_pause(&self, partition: &TopicPartition) {
        let mut state = self.state();
        let next = match state.in_progress.get(partition) {
            None => CleaningState::Paused(1),
            Some(CleaningState::InProgress) => CleaningState::Aborted(1),
            Some(CleaningState::Aborted(pauses)) => CleaningState::Aborted(pauses + 1),
            Some(CleaningState::Paused(pauses)) => CleaningState::Paused(pauses + 1),
        };
        state.in_progress.insert(partition.clone(), next);
        while matches!(state.in_progress.get(partition), Some(CleaningState::Aborted(_))) {
            state = self.let_go.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// Takes back one [`CleanerManager::abort_and_pause`].
    pub(crate) fn resume(&self, partition: &TopicPartition) {
        let mut state = self.state();
        match state.in_progress.get(partition).copied() {
            Some(CleaningState::Paused(pauses)) if pauses > 1 => {
                state.in_progress.insert(partition.clone(), CleaningState::Paused(pauses - 1));
            }
            Some(CleaningState::Paused(_)) => {
                state.in_progress.remove(partition);
            }
            Some(CleaningState::Aborted(pauses)) if pauses > 1 => {
                state.in_progress.insert(partition.clone(), CleaningState::Aborted(pauses - 1));
            }
            Some(CleaningState::Aborted(_) | CleaningState::InProgress) | None => {}
        }
    }

    /// The first dirty offset of a log, as it was noted last.
    pub(crate) fn checkpoint(&self, dir: &Path, partition: &TopicPartition) -> Option<i64> {
        self.state().offsets(dir).ok()?.get(partition).copied()
    }

    /// Lets what is at or behind `offset` count as dirty, durably, before the log is truncated to it.
    pub(crate) fn truncate_checkpoint(
        &self,
        dir: &Path,
        partition: &TopicPartition,
        offset: i64,
    ) -> io::Result<()> {
        self.state().update(dir, |offsets| {
            if let Some(known) = offsets.get_mut(partition) {
                *known = offset.min(*known);
            }
        })
    }

    /// Lets a log that ends before its checkpoint count as dirty from its start: the records that made it clean are
    /// gone, and others will come.
    pub(crate) fn check_loaded(&self, log: &Log) {
        let mut state = self.state();
        let dir = log.dir_state().path();
        let known = state.offsets(dir).ok().and_then(|offsets| offsets.get(log.partition()).copied());
        if known.is_some_and(|offset| offset > log.log_end_offset()) {
            self.note(&mut state, log, log.log_start_offset());
        }
    }

    /// Forgets a log of a directory.
    pub(crate) fn forget(&self, dir: &Path, partition: &TopicPartition) -> io::Result<()> {
        let mut state = self.state();
        if let Some(partitions) = state.uncleanable.get_mut(dir) {
            partitions.remove(partition);
        }
        state.update(dir, |offsets| {
            offsets.remove(partition);
        })
    }

    /// Moves what is known of a log from one directory to another.
    pub(crate) fn alter_dir(&self, from: &Path, to: &Path, partition: &TopicPartition) -> io::Result<()> {
        let mut state = self.state();
        let offset = state.offsets(from)?.get(partition).copied();
        if let Some(offset) = offset {
            state.update(to, |offsets| {
                offsets.insert(partition.clone(), offset);
            })?;
            state.update(from, |offsets| {
                offsets.remove(partition);
            })?;
        }
        if state.uncleanable.get_mut(from).is_some_and(|partitions| partitions.remove(partition)) {
            state.uncleanable.entry(to.to_path_buf()).or_default().insert(partition.clone());
        }
        Ok(())
    }

    /// Sets a log aside that cannot be cleaned.
    pub(crate) fn mark_uncleanable(&self, log: &Log, error: &(dyn std::error::Error + 'static)) {
        self.set_aside(&mut self.state(), log, error);
    }

    fn set_aside(&self, state: &mut State, log: &Log, error: &(dyn std::error::Error + 'static)) {
        tracing::warn!(
            partition = %log.partition(),
            dir = %log.dir_state().path().display(),
            error,
            "a log cannot be cleaned; its partition is set aside until the next start"
        );
        state
            .uncleanable
            .entry(log.dir_state().path().to_path_buf())
            .or_default()
            .insert(log.partition().clone());
    }

    /// Forgets logs that are set aside and not there any more.
    pub(crate) fn maintain_uncleanable(&self, exists: impl Fn(&TopicPartition) -> bool) {
        let mut state = self.state();
        for partitions in state.uncleanable.values_mut() {
            partitions.retain(&exists);
        }
    }

    /// Share of dirty bytes of the dirtiest log at the last search, from 0 to 1, and when that was.
    pub(crate) fn last_run(&self) -> (f64, i64) {
        let state = self.state();
        (state.dirtiest_ratio, state.last_run_ms)
    }

    /// What is set aside, for every directory.
    pub(crate) fn uncleanable(
        &self,
        find: impl Fn(&TopicPartition) -> Option<Arc<Log>>,
        now_ms: i64,
    ) -> Vec<UncleanableLogs> {
        let mut state = self.state();
        let state = &mut *state;
        let dirs: Vec<PathBuf> = state.checkpoints.keys().cloned().collect();
        let mut all = Vec::new();
        for dir in dirs {
            let partitions: Vec<TopicPartition> =
                state.uncleanable.get(&dir).into_iter().flatten().cloned().collect();
            let mut bytes = 0;
            for partition in &partitions {
                let checkpoint = state.offsets(&dir).ok().and_then(|offsets| offsets.get(partition).copied());
                let Some(log) = find(partition) else { continue };
                if let Ok(offsets) = cleanable_offsets(&log, checkpoint, now_ms) {
                    bytes +=
                        cleanable_bytes(&log, offsets.first_dirty_offset, offsets.first_uncleanable_offset).1;
                }
            }
            all.push(UncleanableLogs { dir, partitions, bytes });
        }
        all
    }
}
