//! Taking back the end of a log, or all of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Log, LogOffsetMetadata, Writer};
use crate::error::LogError;
use crate::log::recovery::rebuild_producers;
use crate::mutation::{self, Mutation};

impl Log {
    /// Removes the records from `offset` on. Returns whether there were any.
    ///
    /// # Errors
    /// A negative offset; the disk.
    pub fn truncate_to(&self, offset: i64, now_ms: i64) -> Result<bool, LogError> {
        self.check_open()?;
        if offset < 0 {
            return Err(LogError::InvalidArgument {
                text: format!(
                    "Cannot truncate partition {} to a negative offset ({offset}).",
                    self.partition
                ),
            });
        }
        let error = |error| self.storage_error("Error while truncating log", error);
        let _structure = self.structure();
        let mut writer = self.writer();
        // A flush that began before must not count records that come in the place of those that go.
        let _no_flush = self.flush_lock.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if offset >= self.log_end_offset() {
            // An epoch can be noted at the end without a record of it.
            self.epochs_mut().truncate_from_end(self.log_end_offset()).map_err(error)?;
            return Ok(false);
        }
        self.truncations.fetch_add(1, Ordering::AcqRel);
        let segments = self.segments.load_full();
        if segments.first().is_some_and(|first| first.base_offset() > offset) {
            self.truncate_fully_locked(&mut writer, offset, None, now_ms)?;
            return Ok(true);
        }
        let (kept, mut removed): (Vec<_>, Vec<_>) =
            segments.iter().cloned().partition(|segment| segment.base_offset() <= offset);
        let config = self.config.load();
        if let Some(active) = kept.last() {
            active.truncate_to(offset, &config, now_ms).map_err(error)?;
        }
        self.set_segments(kept);
        // Readers of a stale end find a shorter file and get less.
        self.set_end_after_truncation(offset);
        for segment in &removed {
            if let Some(path) = writer.producers.forget_snapshot(segment.base_offset()) {
                self.delete_later(&path, now_ms).map_err(error)?;
            }
        }
        removed.reverse();
        self.delete_segment_files(&removed, now_ms).map_err(error)?;
        if !removed.is_empty() {
            self.disk.fsync_dir(&self.dir()).map_err(error)?;
        }
        if !mutation::on(Mutation::EpochsNotTruncated) {
            self.epochs_mut().truncate_from_end(offset).map_err(error)?;
        }
        self.log_start_offset.fetch_min(offset, Ordering::AcqRel);
        if !mutation::on(Mutation::ProducersNotTruncated) {
            self.rebuild(&mut writer, offset, now_ms)?;
        }
        let high_watermark = self.high_watermark().min(offset);
        self.set_high_watermark(&mut writer, high_watermark);
        Ok(true)
    }

    fn set_end_after_truncation(&self, offset: i64) {
        self.publish_end(offset);
    }

    fn rebuild(&self, writer: &mut Writer, offset: i64, now_ms: i64) -> Result<(), LogError> {
        let segments = self.segments.load_full();
        let start = self.log_start_offset();
        rebuild_producers(&mut writer.producers, &segments, start, offset, false, now_ms, &self.partition)
            .map_err(|error| self.storage_error("Error while rebuilding producer state", error.into_io()))
    }

    /// Removes every record and lets the log begin at `offset`, with its start at `log_start_offset` or there.
    ///
    /// # Errors
    /// The disk.
    pub fn truncate_fully_and_start_at(
        &self,
        offset: i64,
        log_start_offset: Option<i64>,
        now_ms: i64,
    ) -> Result<(), LogError> {
        self.check_open()?;
        let _structure = self.structure();
        self.truncations.fetch_add(1, Ordering::AcqRel);
        let mut writer = self.writer();
        let _no_flush = self.flush_lock.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        self.truncate_fully_locked(&mut writer, offset, log_start_offset, now_ms)
    }

    fn truncate_fully_locked(
        &self,
        writer: &mut Writer,
        offset: i64,
        log_start_offset: Option<i64>,
        now_ms: i64,
    ) -> Result<(), LogError> {
        let error = |error| self.storage_error("Error while truncating the entire log", error);
        // That nothing is below `offset` counts as durable from here on.
        self.make_dir_durable().map_err(error)?;
        let config = self.config.load();
        let old = self.segments.load_full();
        self.delete_segment_files(&old, now_ms).map_err(error)?;
        let memory = self.dir_state.index_memory();
        let segment =
            Self::create_segment(&self.disk, memory, &self.dir(), offset, &config, now_ms).map_err(error)?;
        self.disk.fsync_dir(&self.dir()).map_err(error)?;
        let start = LogOffsetMetadata { offset, segment_base_offset: offset, position: 0 };
        self.set_segments(vec![Arc::clone(&segment)]);
        self.publish_end(offset);
        self.recovery_point.store(offset, Ordering::Release);
        self.epochs_mut().clear().map_err(error)?;
        writer.producers.truncate_fully_and_start_at(offset).map_err(error)?;
        self.log_start_offset.store(log_start_offset.unwrap_or(offset), Ordering::Release);
        self.rebuild(writer, offset, now_ms)?;
        self.marks_mut().high_watermark = start;
        self.set_high_watermark(writer, offset);
        Ok(())
    }
}
