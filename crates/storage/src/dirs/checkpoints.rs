//! What is noted of the logs of a directory, and how it is kept true when logs are cut.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::log_dirs::{LogDir, LogDirs};
use crate::error::{LogError, is_shortage};
use crate::log::{Log, TopicPartition};
use crate::mutation::{self, Mutation};

/// New logs of a directory that are made durable at a time: some hundreds of milliseconds of the maintenance thread.
const MAX_SETTLED: usize = 32;

impl LogDirs {
    /// The logs that are in a directory, also those that are moving there.
    fn logs_of(&self, dir: &LogDir) -> Vec<Arc<Log>> {
        let mut all = self.all();
        all.extend(self.futures());
        all.retain(|log| Arc::ptr_eq(log.dir_state(), &dir.state));
        all
    }

    /// Writes recovery points, log start offsets and high watermarks of every online directory, where they changed.
    pub fn checkpoint(&self) {
        for dir in self.dirs.iter().filter(|dir| !dir.state.is_offline()) {
            let mut recovery_points = BTreeMap::new();
            let mut high_watermarks = BTreeMap::new();
            for log in self.logs_of(dir) {
                let partition = log.partition();
                let recovery_point = if mutation::on(Mutation::RecoveryPointEarly) {
                    log.log_end_offset()
                } else {
                    log.recovery_point_to_note()
                };
                recovery_points.insert(partition.clone(), recovery_point);
                high_watermarks.insert(partition.clone(), log.high_watermark());
            }
            let result = dir
                .recovery_points
                .write(&recovery_points)
                .and_then(|()| dir.log_starts.write(&self.log_starts(dir)))
                .and_then(|()| dir.high_watermarks.write(&high_watermarks));
            if let Err(error) = result
                && !is_shortage(&error)
            {
                dir.state.fail("Error while writing checkpoints", &error);
            }
        }
    }

    /// Makes the logs with the most bytes that are not durable durable, until each directory is below its limit.
    pub(super) fn bound_unflushed(&self, now_ms: i64) {
        for dir in self.dirs.iter().filter(|dir| !dir.state.is_offline()) {
            let mut logs: Vec<(u64, Arc<Log>)> =
                self.logs_of(dir).into_iter().map(|log| (log.unflushed_bytes(), log)).collect();
            let mut total: u64 = logs.iter().map(|(bytes, _)| bytes).sum();
            logs.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
            for (bytes, log) in logs {
                if total <= self.options.max_unflushed_bytes_per_dir {
                    break;
                }
                if let Err(error) = log.flush(now_ms) {
                    tracing::warn!(%error, "a log cannot be made durable");
                }
                total -= bytes;
            }
        }
    }

    /// Makes the directories of some new logs durable, before their first roll or flush would have to wait for it: all of
    /// them with one sync of what they are in.
    pub(super) fn settle_new(&self) {
        for dir in self.dirs.iter().filter(|dir| !dir.state.is_offline()) {
            let new = |log: &Arc<Log>| !log.is_dir_durable() && log.log_end_offset() > log.log_start_offset();
            let mut logs = self.logs_of(dir);
            logs.retain(new);
            logs.truncate(MAX_SETTLED);
            logs.retain(|log| match log.sync_dir() {
                Ok(()) => true,
                Err(error) => {
                    // What failed to be synced may never be durable; a log that was deleted or a full disk is no failure.
                    if error.kind() != io::ErrorKind::NotFound && !is_shortage(&error) {
                        dir.state.fail("Error while making a new log durable", &error);
                    }
                    false
                }
            });
            if logs.is_empty() {
                continue;
            }
            let synced = match mutation::on(Mutation::SkipPartitionDirFsync) {
                true => Ok(()),
                false => self.disk.fsync_dir(dir.state.path()),
            };
            match synced {
                Ok(()) => logs.iter().for_each(|log| log.dir_was_made_durable()),
                Err(error) => dir.state.fail("Error while making new logs durable", &error),
            }
        }
    }

    /// [`Log::truncate_to`] of a partition. The recovery point is taken back in the checkpoint first: records that
    /// take the place of those that go are not to be taken for durable.
    ///
    /// # Errors
    /// As [`Log::truncate_to`]; [`LogError::DirOffline`] when the checkpoint cannot be written.
    pub(super) fn truncate_noted(&self, log: &Log, offset: i64, now_ms: i64) -> Result<bool, LogError> {
        self.note_recovery_point_below(log, offset)?;
        let truncated = log.truncate_to(offset, now_ms)?;
        // A flush that ran meanwhile may have brought the old point back.
        self.note_recovery_point_below(log, offset)?;
        Ok(truncated)
    }

    /// [`Log::truncate_fully_and_start_at`] of a partition, as [`LogDirs::truncate_noted`] does it.
    ///
    /// # Errors
    /// As [`LogDirs::truncate_noted`].
    pub(super) fn truncate_fully_noted(
        &self,
        log: &Log,
        offset: i64,
        log_start_offset: Option<i64>,
        now_ms: i64,
    ) -> Result<(), LogError> {
        self.note_recovery_point_below(log, offset.min(log.log_start_offset()))?;
        self.forget_log_start(log)?;
        log.truncate_fully_and_start_at(offset, log_start_offset, now_ms)
    }

    fn note_recovery_point_below(&self, log: &Log, offset: i64) -> Result<(), LogError> {
        // Before the last record that stays: its segment may be closed there, see `Log::recovery_point_to_note`.
        log.lower_recovery_point((offset - 1).max(0));
        let Some(dir) = self.dirs.iter().find(|dir| Arc::ptr_eq(&dir.state, log.dir_state())) else {
            return Ok(());
        };
        self.note_recovery_points(dir).map_err(|error| {
            if !crate::error::is_shortage(&error) {
                dir.state.fail("Error while writing checkpoints", &error);
            }
            LogError::Storage {
                operation: "Error while writing the recovery point",
                partition: log.partition().clone(),
                dir: dir.state.path().to_path_buf(),
                source: error,
            }
        })
    }

    /// A start that is noted must not outlive a truncation to below it.
    fn forget_log_start(&self, log: &Log) -> Result<(), LogError> {
        let Some(dir) = self.dirs.iter().find(|dir| Arc::ptr_eq(&dir.state, log.dir_state())) else {
            return Ok(());
        };
        let mut starts = self.log_starts(dir);
        starts.remove(log.partition());
        dir.log_starts.write(&starts).map_err(|error| {
            if !crate::error::is_shortage(&error) {
                dir.state.fail("Error while writing checkpoints", &error);
            }
            LogError::Storage {
                operation: "Error while writing the log start",
                partition: log.partition().clone(),
                dir: dir.state.path().to_path_buf(),
                source: error,
            }
        })
    }

    /// The starts of the logs of a directory, where their first segments do not say them.
    fn log_starts(&self, dir: &LogDir) -> BTreeMap<TopicPartition, i64> {
        let mut starts = BTreeMap::new();
        for log in self.logs_of(dir) {
            let start = log.log_start_offset();
            if log.segment_sizes().first().is_some_and(|(base_offset, _)| start > *base_offset)
                && !mutation::on(Mutation::LogStartNotNoted)
            {
                starts.insert(log.partition().clone(), start);
            }
        }
        starts
    }

    pub(super) fn note_recovery_points(&self, dir: &LogDir) -> io::Result<()> {
        let logs = self.logs_of(dir);
        let points = logs.iter().map(|log| (log.partition().clone(), log.recovery_point_to_note())).collect();
        dir.recovery_points.write(&points)
    }
}
