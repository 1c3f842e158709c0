//! Replicas on their way from one log directory to another: `-future` logs that catch up and take the place of the
//! current ones (KIP-113, KIP-858).
//!
//! Source: Kafka `LogManager.replaceCurrentWithFutureLog`, `LogManager.recoverAbandonedFutureLogs`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::types::Uuid;

use super::LogDirs;
use super::log_dirs::LogDir;
use super::names::{delete_dir_name, future_dir_name, partition_dir_name};
use crate::error::LogError;
use crate::log::{FetchIsolation, Log, LogOptions, TopicPartition};

/// Partitions of which it is remembered where they are wanted before they are there.
const MAX_PREFERRED: usize = 100_000;
/// The longest name of a `-future` directory.
const MAX_NAME_BYTES: usize = 255;

/// A replica that has come to its new directory.
#[derive(Debug, Clone)]
pub struct Promoted {
    /// The log in the old directory, closed.
    pub old: Option<Arc<Log>>,
    /// The log in the new one, which is the partition's from now on.
    pub new: Arc<Log>,
}

/// A step of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Bytes that were read.
    pub bytes: usize,
    /// Whether the two logs end at the same offset.
    pub caught_up: bool,
    /// Whether the future log ends further on than before.
    pub advanced: bool,
}

/// Takes from a future log what the current one does not have, any more or at all.
fn align(dirs: &LogDirs, current: &Log, future: &Log, now_ms: i64) -> Result<(), LogError> {
    let (start, end) = (current.log_start_offset(), current.log_end_offset());
    if future.log_end_offset() < start {
        return dirs.truncate_fully_noted(future, start, None, now_ms);
    }
    let Some(epoch) = future.latest_epoch() else {
        dirs.truncate_noted(future, end, now_ms)?;
        return Ok(());
    };
    let common = match current.end_offset_for_epoch(epoch) {
        Some(known) if known.leader_epoch == epoch => known.offset,
        // The current log has no such epoch: what is common ends with the last one that both have.
        Some(known) => {
            let mine = future.end_offset_for_epoch(known.leader_epoch).map_or(start, |mine| mine.offset);
            mine.min(known.offset)
        }
        None => end,
    };
    dirs.truncate_noted(future, common.min(end), now_ms)?;
    Ok(())
}

impl LogDirs {
    /// The log on its way to another directory.
    pub fn future(&self, partition: &TopicPartition) -> Option<Arc<Log>> {
        self.futures.read().unwrap_or_else(|poisoned| poisoned.into_inner()).get(partition).cloned()
    }

    /// Every log on its way to another directory, by partition.
    pub fn futures(&self) -> Vec<Arc<Log>> {
        let futures = self.futures.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut all: Vec<_> = futures.values().cloned().collect();
        drop(futures);
        all.sort_by(|left, right| left.partition().cmp(right.partition()));
        all
    }

    fn dir_at(&self, path: &Path) -> Option<&LogDir> {
        self.dirs.iter().find(|dir| dir.state.path() == path)
    }

    pub(super) fn dir_of(&self, log: &Log) -> Option<&LogDir> {
        self.dirs.iter().find(|dir| Arc::ptr_eq(&dir.state, log.dir_state()))
    }

    /// Whether the name of the partition leaves room for the directory of a move.
    pub fn can_be_moved(partition: &TopicPartition) -> bool {
        future_dir_name(partition, Uuid::ZERO).len() <= MAX_NAME_BYTES
    }

    /// Remembers in which directory a partition is wanted that is not there yet; an empty path forgets it.
    pub fn prefer(&self, partition: &TopicPartition, path: &Path) {
        let mut preferred = self.preferred.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if path.as_os_str().is_empty() {
            preferred.remove(partition);
        } else if preferred.len() < MAX_PREFERRED || preferred.contains_key(partition) {
            preferred.insert(partition.clone(), path.to_path_buf());
        }
    }

    pub(super) fn take_preferred(&self, partition: &TopicPartition) -> Option<PathBuf> {
        self.preferred.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).remove(partition)
    }

    /// Begins to move a partition to the directory `path`: an empty log there, which the caller fills. Returns false
    /// when the partition is there already, or on its way there. A move to yet another directory ends.
    ///
    /// # Errors
    /// No such partition or directory; the disk.
    pub fn begin_move(&self, partition: &TopicPartition, path: &Path, now_ms: i64) -> Result<bool, LogError> {
        if let Some(future) = self.future(partition)
            && future.dir_state().path() != path
        {
            self.end_move(partition, now_ms)?;
        }
        let current = self.get(partition).ok_or_else(|| LogError::Closed { partition: partition.clone() })?;
        if current.dir_state().path() == path {
            return Ok(false);
        }
        let mut futures = self.futures.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if futures.contains_key(partition) {
            return Ok(false);
        }
        let dir = match self.dir_at(path) {
            Some(dir) if !dir.state.is_offline() => dir,
            _ => return Err(LogError::DirOffline { dir: path.to_path_buf() }),
        };
        let options = LogOptions {
            topic_id: current.topic_id(),
            ..self.log_options(
                partition.clone(),
                path.join(future_dir_name(partition, self.random_id())),
                now_ms,
            )
        };
        let future = Log::open(&self.disk, &dir.state, options)?;
        futures.insert(partition.clone(), future);
        Ok(true)
    }

    /// Copies at most `max_bytes`, or one batch that is larger, from the current log to the future one. Returns none when
    /// there is no move to go on with.
    ///
    /// # Errors
    /// The disk of either directory.
    pub fn copy_some(
        &self,
        partition: &TopicPartition,
        max_bytes: usize,
        now_ms: i64,
    ) -> Result<Option<Copied>, LogError> {
        let (Some(current), Some(future)) = (self.get(partition), self.future(partition)) else {
            return Ok(None);
        };
        align(self, &current, &future, now_ms)?;
        let from = future.log_end_offset();
        let mut bytes = 0;
        if from < current.log_end_offset() {
            let read = current.read(from, max_bytes, FetchIsolation::LogEnd, true)?;
            let batches =
                read.slice.to_vec().map_err(|error| current.storage_error("Error while copying", error))?;
            bytes = batches.len();
            future.append_as_follower(&batches, i32::MAX, now_ms)?;
        }
        future.update_high_watermark(current.high_watermark());
        if current.log_start_offset() <= future.high_watermark() {
            future.maybe_increment_log_start_offset(current.log_start_offset())?;
        }
        let caught_up = future.log_end_offset() == current.log_end_offset();
        Ok(Some(Copied { bytes, caught_up, advanced: future.log_end_offset() > from }))
    }

    /// Gives a move up. Returns whether there was one.
    ///
    /// # Errors
    /// The disk.
    pub fn end_move(&self, partition: &TopicPartition, now_ms: i64) -> Result<bool, LogError> {
        let removed = self.futures.write().unwrap_or_else(|poisoned| poisoned.into_inner()).remove(partition);
        let Some(future) = removed else { return Ok(false) };
        let path = future.dir_state().path().join(delete_dir_name(partition, self.random_id()));
        future.rename_dir(path.clone())?;
        self.remove_later(path, now_ms);
        Ok(true)
    }

    /// Lets the log in the new directory take the place of the one in the old directory, which is deleted after
    /// `file.delete.delay.ms`. Appends to the old one fail from the moment on at which the two are compared. Returns
    /// none, with nothing done, when the new one has not caught up or there is none. The caller has made the new log
    /// durable, so that this does not take long.
    ///
    /// # Errors
    /// The disk; when that of the new directory fails, the old log goes on.
    pub fn finish_move(&self, partition: &TopicPartition, now_ms: i64) -> Result<Option<Promoted>, LogError> {
        let mut logs = self.logs.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (Some(current), Some(future)) = (logs.get(partition).cloned(), self.future(partition)) else {
            return Ok(None);
        };
        current.freeze();
        let caught_up = future.log_end_offset() == current.log_end_offset();
        if !caught_up || current.dir_state().is_offline() {
            current.thaw();
            return Ok(None);
        }
        future.update_high_watermark(current.high_watermark());
        let new = match self.promote(&future, current.log_start_offset(), now_ms) {
            Ok(new) => new,
            Err(error) => {
                current.thaw();
                return Err(error);
            }
        };
        logs.insert(partition.clone(), Arc::clone(&new));
        drop(logs);
        let (from, to) = (current.dir_state().path(), new.dir_state().path());
        if let Err(error) = self.cleaner.alter_dir(from, to, partition) {
            tracing::warn!(%partition, %error, "the cleaner's checkpoint did not move with the log");
        }
        let path = from.join(delete_dir_name(partition, self.random_id()));
        match current.rename_dir(path.clone()) {
            Ok(()) => self.remove_later(path, now_ms),
            // The next start finds the partition twice, and takes the one that goes further.
            Err(error) => {
                tracing::error!(%partition, %error, "the log in the old directory cannot be removed")
            }
        }
        self.checkpoint();
        Ok(Some(Promoted { old: Some(current), new }))
    }

    /// Closes a future log and opens it under the partition's own name.
    pub(super) fn promote(
        &self,
        future: &Arc<Log>,
        log_start_offset: i64,
        now_ms: i64,
    ) -> Result<Arc<Log>, LogError> {
        let partition = future.partition();
        let high_watermark = future.high_watermark();
        future.close(now_ms)?;
        let path = future.dir_state().path().join(partition_dir_name(partition));
        future.rename_dir(path.clone())?;
        self.futures.write().unwrap_or_else(|poisoned| poisoned.into_inner()).remove(partition);
        let options = LogOptions {
            log_start_offset: log_start_offset.min(future.log_end_offset()),
            recovery_point: future.log_end_offset(),
            ..self.log_options(partition.clone(), path, now_ms)
        };
        let new = Log::open(&self.disk, future.dir_state(), options)?;
        new.update_high_watermark(high_watermark);
        Ok(new)
    }
}
