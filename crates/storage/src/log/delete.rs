//! Removing old segments, and the delayed removal of renamed files.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{Log, PendingDelete, Writer};
use crate::error::LogError;
use crate::segment::Segment;
use crate::segment::names::DELETED_SUFFIX;

/// Why segments were removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentDeletion {
    /// They are wholly below the log's start.
    LogStartOffset,
    /// `retention.bytes`.
    RetentionSize,
    /// `retention.ms`.
    RetentionMs,
}

impl Log {
    /// Removes the segments that the topic's settings do not keep, in Kafka's order: below the log's start, above
    /// `retention.bytes`, older than `retention.ms`. Never one that reaches to the high watermark. Returns how many.
    ///
    /// # Errors
    /// The disk.
    pub fn delete_old_segments(&self, now_ms: i64) -> Result<usize, LogError> {
        self.check_open()?;
        let config = self.config();
        let mut deleted = self.delete_matching(SegmentDeletion::LogStartOffset, now_ms, |log, _, next| {
            Ok(next.is_some_and(|next| next.base_offset() <= log.log_start_offset()))
        })?;
        if !config.cleanup_policy.delete {
            self.sync_deletions(deleted)?;
            return Ok(deleted);
        }
        let size = self.size() as i64;
        if config.retention_bytes >= 0 && size >= config.retention_bytes {
            let mut excess = size - config.retention_bytes;
            deleted += self.delete_matching(SegmentDeletion::RetentionSize, now_ms, |_, segment, _| {
                let fits = excess >= segment.size() as i64;
                if fits {
                    excess -= segment.size() as i64;
                }
                Ok(fits)
            })?;
        }
        if config.retention_ms >= 0 {
            deleted += self.delete_matching(SegmentDeletion::RetentionMs, now_ms, |log, segment, _| {
                let largest = segment.largest_timestamp(&*log.disk)?;
                if now_ms < largest {
                    tracing::warn!(
                        partition = %log.partition,
                        segment = segment.base_offset(),
                        "contains future timestamp(s), making it ineligible to be deleted"
                    );
                }
                Ok(now_ms.saturating_sub(largest) > config.retention_ms)
            })?;
        }
        self.sync_deletions(deleted)?;
        Ok(deleted)
    }

    /// What is deleted does not come back, and never leaves a hole between segments that do.
    fn sync_deletions(&self, deleted: usize) -> Result<(), LogError> {
        if deleted == 0 {
            return Ok(());
        }
        self.disk
            .fsync_dir(&self.dir())
            .map_err(|error| self.storage_error("Error while deleting segments", error))
    }

    fn delete_matching(
        &self,
        reason: SegmentDeletion,
        now_ms: i64,
        mut matches: impl FnMut(&Log, &Segment, Option<&Arc<Segment>>) -> io::Result<bool>,
    ) -> Result<usize, LogError> {
        let error = |error| self.read_error("Error while deleting segments", error);
        let _structure = self.structure();
        let mut writer = self.writer();
        let segments = self.segments.load_full();
        let mut count = 0;
        for (index, segment) in segments.iter().enumerate() {
            let next = segments.get(index + 1);
            let upper_bound = next.map_or_else(|| self.log_end_offset(), |next| next.base_offset());
            let empty_last = next.is_none() && segment.size() == 0;
            if empty_last
                || self.high_watermark() < upper_bound
                || !matches(self, segment, next).map_err(error)?
            {
                break;
            }
            count += 1;
        }
        if count == 0 {
            return Ok(0);
        }
        if count == segments.len() {
            self.roll_locked(&mut writer, None, now_ms)?;
        }
        self.remove_first(&mut writer, count, now_ms)?;
        tracing::info!(partition = %self.partition, ?reason, count, "deleted segments");
        Ok(count)
    }

    fn remove_first(&self, writer: &mut Writer, count: usize, now_ms: i64) -> Result<(), LogError> {
        let error = |error| self.storage_error("Error while deleting segments", error);
        let segments = self.segments.load_full();
        let (removed, kept) = segments.split_at(count.min(segments.len() - 1));
        if let Some(first) = kept.first() {
            self.increment_log_start_offset(writer, first.base_offset())?;
        }
        self.set_segments(kept.to_vec());
        for segment in removed {
            if let Some(path) = writer.producers.forget_snapshot(segment.base_offset()) {
                self.delete_later(&path, now_ms).map_err(error)?;
            }
        }
        self.delete_segment_files(removed, now_ms).map_err(error)
    }

    /// Renames the files of segments that nobody finds any more; they go after `file.delete.delay.ms`.
    ///
    /// Each is durably gone before the next goes: after a power cut those that come back join those that are kept.
    pub(super) fn delete_segment_files(&self, segments: &[Arc<Segment>], now_ms: i64) -> io::Result<()> {
        for segment in segments {
            // Readers may still hold the segment, look for its indexes while they are renamed, and find those of another
            // under the names.
            segment.orphan_indexes();
            let [log, indexes @ ..] = segment.files();
            self.delete_later(&log, now_ms)?;
            // A segment that comes back after a power cut must have its indexes still: nothing would tell that the one
            // of its aborted transactions is missing.
            self.disk.fsync_dir(&self.dir())?;
            for path in indexes {
                self.delete_later(&path, now_ms)?;
            }
        }
        Ok(())
    }

    pub(super) fn delete_later(&self, path: &Path, now_ms: i64) -> io::Result<()> {
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(DELETED_SUFFIX);
        let renamed = path.with_file_name(name);
        match self.disk.rename(path, &renamed) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        let due_ms = now_ms.saturating_add(self.config.load().file_delete_delay_ms);
        self.pending_deletes
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .push(PendingDelete { due_ms, path: renamed });
        Ok(())
    }

    /// Does what has waited: makes closed segments durable, removes files whose delay is over, syncs by `flush.ms`,
    /// forgets silent producers. To be called every second or so from a background thread.
    ///
    /// # Errors
    /// The disk.
    pub fn maintain(&self, now_ms: i64) -> Result<(), LogError> {
        self.check_open()?;
        let error = |error| self.storage_error("Error while removing deleted files", error);
        let due: Vec<PendingDelete> = {
            let mut pending = self.pending_deletes.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let (due, later) = pending.drain(..).partition(|entry| entry.due_ms <= now_ms);
            *pending = later;
            due
        };
        for entry in due {
            self.disk.remove_file(&entry.path).map_err(error)?;
        }
        let config = self.config();
        let active = self.active_segment();
        if active.base_offset() > self.recovery_point() {
            self.flush_up_to(active.base_offset(), now_ms)?;
        }
        if self.unflushed_messages() > 0 && now_ms.saturating_sub(self.last_flush_ms()) >= config.flush_ms {
            self.flush(now_ms)?;
        }
        Ok(())
    }
}
