//! Cleaning and retention over all logs of a node.

use std::sync::Arc;

use super::LogDirs;
use crate::cleaner::{CleanError, Cleaner, CleanerControl, CleanerStats, PreCleanStats, UncleanableLogs};
use crate::error::LogError;
use crate::log::{Log, TopicPartition};
use crate::mutation::{self, Mutation};

/// A log that was cleaned, or was to be.
#[derive(Debug)]
pub struct Cleaning {
    /// The partition.
    pub partition: TopicPartition,
    /// Where its dirty part began.
    pub first_dirty_offset: i64,
    /// Where it begins since, and what was done; or why nothing was.
    pub result: Result<(i64, CleanerStats), CleanError>,
}

/// What the cleaner shows of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct CleanerStatus {
    /// Share of dirty bytes of the dirtiest log at the last search, from 0 to 1.
    pub dirtiest_ratio: f64,
    /// When that was, milliseconds since the epoch; 0 before the first.
    pub last_run_ms: i64,
    /// The logs that are set aside, for every directory.
    pub uncleanable: Vec<UncleanableLogs>,
}

impl LogDirs {
    /// Cleans the log that needs it most, if any is due. Any number of threads may call this, each with its own
    /// `cleaner`.
    ///
    /// A log whose content is not what was written is set aside until the next start.
    pub fn clean_filthiest(
        &self,
        cleaner: &mut Cleaner,
        control: &dyn CleanerControl,
    ) -> (Option<Cleaning>, PreCleanStats) {
        let (target, stats) = self.cleaner.grab_filthiest(&self.all(), control.now_ms());
        self.cleaner.maintain_uncleanable(|partition| self.get(partition).is_some());
        let Some(target) = target else { return (None, stats) };
        let log = Arc::clone(&target.log);
        let cancelled = || self.cleaner.is_aborted(log.partition());
        // A record may go only when the one that takes its place, or the marker that aborts it, outlives a power cut.
        let synced = if mutation::on(Mutation::CleanedBeforeSync) {
            Ok(())
        } else {
            log.prepare_flush().and_then(|()| log.flush(control.now_ms()))
        };
        let result =
            synced.map_err(CleanError::Log).and_then(|()| cleaner.clean(&target, control, &cancelled));
        if let Err(error) = &result
            && error.is_uncleanable()
        {
            self.cleaner.mark_uncleanable(&log, error);
        }
        self.cleaner.done(&log, result.as_ref().ok().map(|(end, _)| *end));
        let cleaning = Cleaning {
            partition: log.partition().clone(),
            first_dirty_offset: target.first_dirty_offset,
            result,
        };
        (Some(cleaning), stats)
    }

    /// [`Log::delete_old_segments`] of every log that is not compacted. Returns the number of segments.
    pub fn delete_old_segments(&self, now_ms: i64) -> usize {
        self.delete_old(now_ms, false)
    }

    /// [`Log::delete_old_segments`] of every compacted log that nobody cleans, which a cleaner thread does between two
    /// cleanings. Returns the number of segments.
    pub fn delete_old_segments_of_compacted(&self, now_ms: i64) -> usize {
        self.delete_old(now_ms, true)
    }

    fn delete_old(&self, now_ms: i64, compacted: bool) -> usize {
        let grabbed = self.cleaner.grab_for_deletion(&self.all(), compacted);
        let mut count = 0;
        for log in grabbed {
            match log.delete_old_segments(now_ms) {
                Ok(deleted) => count += deleted,
                Err(LogError::Closed { .. } | LogError::DirOffline { .. }) => {}
                Err(error) => tracing::warn!(%error, "old segments cannot be deleted"),
            }
            self.cleaner.done(&log, None);
        }
        count
    }

    /// Stops the cleaning of a log, and keeps it from being cleaned until [`LogDirs::resume_cleaning`]. Returns when no
    /// thread is at it any more, which takes the time of one piece of input or output.
    pub fn abort_and_pause_cleaning(&self, partition: &TopicPartition) {
        self.cleaner.abort_and_pause(partition);
    }

    /// Takes back one [`LogDirs::abort_and_pause_cleaning`].
    pub fn resume_cleaning(&self, partition: &TopicPartition) {
        self.cleaner.resume(partition);
    }

    /// [`Log::truncate_to`], with cleaning kept away meanwhile. What is appended from there on counts as dirty.
    ///
    /// # Errors
    /// As [`Log::truncate_to`].
    pub fn truncate_to(
        &self,
        partition: &TopicPartition,
        offset: i64,
        now_ms: i64,
    ) -> Result<bool, LogError> {
        let Some(log) = self.get(partition) else {
            return Err(LogError::Closed { partition: partition.clone() });
        };
        self.while_paused(&log, || {
            self.truncate_cleaner_checkpoint(&log, offset)?;
            self.truncate_noted(&log, offset, now_ms)
        })
    }

    /// [`Log::truncate_fully_and_start_at`], with cleaning kept away meanwhile.
    ///
    /// # Errors
    /// As [`Log::truncate_fully_and_start_at`].
    pub fn truncate_fully_and_start_at(
        &self,
        partition: &TopicPartition,
        offset: i64,
        log_start_offset: Option<i64>,
        now_ms: i64,
    ) -> Result<(), LogError> {
        let Some(log) = self.get(partition) else {
            return Err(LogError::Closed { partition: partition.clone() });
        };
        self.while_paused(&log, || {
            self.truncate_cleaner_checkpoint(&log, offset)?;
            self.truncate_fully_noted(&log, offset, log_start_offset, now_ms)
        })
    }

    pub(super) fn while_paused<R>(&self, log: &Log, f: impl FnOnce() -> R) -> R {
        self.cleaner.abort_and_pause(log.partition());
        let result = f();
        self.cleaner.resume(log.partition());
        result
    }

    pub(super) fn truncate_cleaner_checkpoint(&self, log: &Log, offset: i64) -> Result<(), LogError> {
        self.cleaner
            .truncate_checkpoint(log.dir_state().path(), log.partition(), offset)
            .map_err(|error| log.storage_error("Error while truncating the cleaner's checkpoint", error))
    }

    /// The first dirty offset of a log, as the checkpoint says.
    pub fn cleaner_checkpoint(&self, partition: &TopicPartition) -> Option<i64> {
        let log = self.get(partition)?;
        self.cleaner.checkpoint(log.dir_state().path(), partition)
    }

    /// What the cleaner shows of itself.
    pub fn cleaner_status(&self, now_ms: i64) -> CleanerStatus {
        let (dirtiest_ratio, last_run_ms) = self.cleaner.last_run();
        let uncleanable = self.cleaner.uncleanable(|partition| self.get(partition), now_ms);
        CleanerStatus { dirtiest_ratio, last_run_ms, uncleanable }
    }
}
