//! The offsets of a log with their places in its files, and how they move.

use std::fmt;
use std::sync::atomic::Ordering;

use super::{Log, Writer};
use crate::error::LogError;

/// An offset and, where it is known, the place in the log that it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOffsetMetadata {
    /// The offset.
    pub offset: i64,
    /// Base offset of the segment, -1 when not known.
    pub segment_base_offset: i64,
    /// Position in the segment, -1 when not known.
    pub position: i64,
}

impl LogOffsetMetadata {
    pub(crate) const fn offset_only(offset: i64) -> Self {
        LogOffsetMetadata { offset, segment_base_offset: -1, position: -1 }
    }

    /// Whether only the offset is known.
    pub const fn is_offset_only(&self) -> bool {
        self.segment_base_offset < 0
    }
}

impl fmt::Display for LogOffsetMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(offset={}, segment=[{}:{}])", self.offset, self.segment_base_offset, self.position)
    }
}

/// The places that bound reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marks {
    pub(super) end: LogOffsetMetadata,
    pub(super) high_watermark: LogOffsetMetadata,
    pub(super) first_unstable: Option<LogOffsetMetadata>,
}

impl Log {
    /// Publishes the end of the log.
    pub(super) fn publish_end(&self, offset: i64) {
        let segment = self.active_segment();
        let end = LogOffsetMetadata {
            offset,
            segment_base_offset: segment.base_offset(),
            position: segment.size() as i64,
        };
        let mut marks = self.marks_mut();
        marks.end = end;
        if marks.high_watermark.offset >= offset {
            marks.high_watermark = end;
            self.high_watermark.store(offset, Ordering::Release);
        }
        self.recovery_point.fetch_min(offset, Ordering::AcqRel);
        self.log_end_offset.store(offset, Ordering::Release);
        self.dir_state.note_room();
    }

    /// Computes the last stable offset anew, after the high watermark or a transaction moved.
    pub(super) fn publish_last_stable_offset(&self, writer: &Writer) {
        let log_start_offset = self.log_start_offset();
        let first = writer.producers.first_unstable_offset().map(|first| {
            if first.offset < log_start_offset {
                LogOffsetMetadata::offset_only(log_start_offset)
            } else {
                first
            }
        });
        let mut marks = self.marks_mut();
        marks.first_unstable = first;
        let high_watermark = marks.high_watermark.offset;
        let stable = first.map_or(high_watermark, |first| first.offset.min(high_watermark));
        self.last_stable_offset.store(stable, Ordering::Release);
    }

    /// Sets the high watermark, kept between the log's start and its end. Returns what it is then.
    pub fn update_high_watermark(&self, offset: i64) -> i64 {
        let mut writer = self.writer();
        self.set_high_watermark(&mut writer, offset)
    }

    pub(super) fn set_high_watermark(&self, writer: &mut Writer, offset: i64) -> i64 {
        let log_start_offset = self.log_start_offset();
        let new = {
            let mut marks = self.marks_mut();
            let new = offset.clamp(log_start_offset.min(marks.end.offset), marks.end.offset);
            marks.high_watermark =
                if new == marks.end.offset { marks.end } else { LogOffsetMetadata::offset_only(new) };
            self.high_watermark.store(new, Ordering::Release);
            new
        };
        writer.producers.on_high_watermark_updated(new);
        self.publish_last_stable_offset(writer);
        new
    }

    /// Raises the high watermark to `offset`, which is at most the log's end. Returns the old one when it moved.
    pub fn maybe_increment_high_watermark(&self, offset: i64) -> Option<i64> {
        if offset <= self.high_watermark() {
            return None;
        }
        let mut writer = self.writer();
        let old = self.high_watermark();
        if offset <= old {
            return None;
        }
        self.set_high_watermark(&mut writer, offset);
        Some(old)
    }

    /// Raises the log's start, without touching files: DeleteRecords and the start of a deletion. Returns whether it
    /// moved.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`] above the high watermark; the disk, when epochs cannot be noted.
    pub fn maybe_increment_log_start_offset(&self, offset: i64) -> Result<bool, LogError> {
        self.check_open()?;
        let mut writer = self.writer();
        self.increment_log_start_offset(&mut writer, offset)
    }

    pub(super) fn increment_log_start_offset(
        &self,
        writer: &mut Writer,
        offset: i64,
    ) -> Result<bool, LogError> {
        let high_watermark = self.high_watermark();
        if offset > high_watermark {
            return Err(LogError::OffsetOutOfRange {
                text: format!(
                    "Cannot increment the log start offset to {offset} of partition {} since it is larger than the \
                     high watermark {high_watermark}",
                    self.partition
                ),
            });
        }
        if offset <= self.log_start_offset() {
            return Ok(false);
        }
        // First what can fail: on a full disk nothing has moved.
        self.epochs_mut()
            .truncate_from_start(offset)
            .map_err(|error| self.storage_error("Exception while increasing log start offset", error))?;
        self.log_start_offset.store(offset, Ordering::Release);
        writer.producers.on_log_start_offset_incremented(offset);
        self.publish_last_stable_offset(writer);
        Ok(true)
    }

    /// Deletes the records before `offset`; -1 stands for the high watermark. Returns the log's start then. Segments
    /// that fall wholly below it go with the next [`Log::delete_old_segments`].
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`] above the high watermark or below -1.
    pub fn delete_records(&self, offset: i64) -> Result<i64, LogError> {
        let target = if offset == -1 { self.high_watermark() } else { offset };
        if target < 0 {
            return Err(LogError::OffsetOutOfRange {
                text: format!("The offset {target} for partition {} is not valid", self.partition),
            });
        }
        self.maybe_increment_log_start_offset(target)?;
        Ok(self.log_start_offset())
    }
}
