//! Offsets by timestamp and by leader epoch.

use ottla_protocol::records::{NO_TIMESTAMP, Scratch};

use super::{Log, with_scratch};
use crate::checkpoint::EpochEntry;
use crate::error::LogError;
use crate::segment::TimestampAndOffset;

/// An offset with the leader epoch that it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetAndEpoch {
    /// The offset.
    pub offset: i64,
    /// The epoch.
    pub leader_epoch: i32,
}

impl Log {
    /// ListOffsets -2: the log's start.
    pub fn earliest_offset(&self) -> TimestampAndOffset {
        let log_start_offset = self.log_start_offset();
        // The first known epoch can start behind the log's start when older batches had none.
        let first = self.epochs().earliest_entry().filter(|entry| entry.start_offset <= log_start_offset);
        TimestampAndOffset {
            timestamp: NO_TIMESTAMP,
            offset: log_start_offset,
            leader_epoch: first.map(|entry| entry.epoch),
        }
    }

    /// ListOffsets -1 without a bound: the log's end.
    pub fn latest_offset(&self) -> TimestampAndOffset {
        TimestampAndOffset {
            timestamp: NO_TIMESTAMP,
            offset: self.log_end_offset(),
            leader_epoch: self.latest_epoch(),
        }
    }

    /// ListOffsets -3: the record with the largest timestamp; none in an empty log. O(one batch).
    ///
    /// # Errors
    /// The disk; a batch that cannot be read, or is larger than the topic lets it be when decompressed.
    pub fn max_timestamp_offset(&self) -> Result<Option<TimestampAndOffset>, LogError> {
        self.check_open()?;
        let segments = self.segments.load();
        let error = |error| self.read_error("Error while fetching offset by timestamp", error);
        let mut best = None;
        for segment in segments.iter() {
            let timestamp = segment.max_timestamp_so_far().map_err(error)?.timestamp;
            if best.as_ref().is_none_or(|(largest, _)| timestamp > *largest) {
                best = Some((timestamp, segment));
            }
        }
        match best {
            Some((_, segment)) => {
                self.with_limited_scratch(|scratch| segment.find_max_timestamp(scratch)).map_err(error)
            }
            None => Ok(None),
        }
    }

    /// ListOffsets with a timestamp: the first record at or behind the log's start whose timestamp is not below
    /// `timestamp`.
    ///
    /// # Errors
    /// The disk; a batch that cannot be read, or is larger than the topic lets it be when decompressed.
    pub fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<TimestampAndOffset>, LogError> {
        self.check_open()?;
        let segments = self.segments.load();
        let error = |error| self.read_error("Error while fetching offset by timestamp", error);
        let log_start_offset = self.log_start_offset();
        // What is deleted but still in files is passed over.
        let first =
            segments.partition_point(|segment| segment.base_offset() <= log_start_offset).saturating_sub(1);
        for segment in segments.iter().skip(first) {
            if segment.largest_timestamp(&*self.disk).map_err(error)? >= timestamp {
                return self
                    .with_limited_scratch(|scratch| {
                        segment.find_offset_by_timestamp(timestamp, log_start_offset, scratch)
                    })
                    .map_err(error);
            }
        }
        Ok(None)
    }

    fn with_limited_scratch<R>(&self, f: impl FnOnce(&mut Scratch) -> R) -> R {
        with_scratch(|scratch| {
            self.config.load().limit_decompression(scratch);
            f(scratch)
        })
    }

    /// The largest leader epoch that the log has seen.
    pub fn latest_epoch(&self) -> Option<i32> {
        self.epochs().latest_epoch()
    }

    /// The leader epochs of the log and where each starts, ascending.
    pub fn epoch_entries(&self) -> Vec<EpochEntry> {
        self.epochs().entries().to_vec()
    }

    /// The leader epoch of the record at `offset`.
    pub fn epoch_for_offset(&self, offset: i64) -> Option<i32> {
        self.epochs().epoch_for_offset(offset)
    }

    /// OffsetForLeaderEpoch: the largest epoch that is not above `leader_epoch`, and the offset at which it ends; none
    /// when the log knows no such epoch.
    pub fn end_offset_for_epoch(&self, leader_epoch: i32) -> Option<OffsetAndEpoch> {
        let (leader_epoch, offset) = self.epochs().end_offset_for(leader_epoch, self.log_end_offset())?;
        Some(OffsetAndEpoch { offset, leader_epoch })
    }

    /// Notes that a leader epoch starts at `start_offset`, which a new leader does before its first append. Durable
    /// on return.
    ///
    /// # Errors
    /// The disk.
    pub fn assign_epoch_start_offset(&self, epoch: i32, start_offset: i64) -> Result<(), LogError> {
        if !self.epochs().needs(epoch, start_offset) {
            return Ok(());
        }
        self.check_open()?;
        self.epochs_mut().assign(epoch, start_offset);
        Ok(())
    }
}
