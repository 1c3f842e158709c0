//! The batches of a segment, each checked: what is not as it was written must neither decide what goes nor be copied.

use std::io;

use ottla_protocol::records::Batch;

use super::error::{CleanError, CorruptBatch};
use crate::segment::Segment;
use crate::segment::scan::{Scan, ScanError};

/// What a batch has to fit: the checksum covers neither its offset nor its leader epoch.
#[derive(Debug, Clone, Copy)]
struct Place {
    next_offset: i64,
    upper_bound_offset: i64,
    last_epoch: i32,
}

impl Place {
    fn check(&self, batch: &Batch<'_>) -> Result<Place, CorruptBatch> {
        batch.ensure_valid()?;
        let header = batch.header();
        let (base_offset, last_offset) = (header.base_offset, header.last_offset());
        // The offset of magic 0 and 1 is that of the last message within.
        let first_offset = if header.magic >= 2 { base_offset } else { last_offset };
        let in_place = first_offset >= self.next_offset
            && last_offset >= first_offset
            && last_offset < self.upper_bound_offset;
        if !in_place {
            let (from, to) = (self.next_offset, self.upper_bound_offset);
            return Err(CorruptBatch::Offset { base_offset, last_offset, from, to });
        }
        let epoch = header.partition_leader_epoch;
        if epoch >= 0 && epoch < self.last_epoch {
            return Err(CorruptBatch::Epoch { epoch, before: self.last_epoch });
        }
        Ok(Place { next_offset: last_offset + 1, last_epoch: epoch.max(self.last_epoch), ..*self })
    }
}

/// A walk over the checked batches of a segment.
pub(super) struct CheckedScan<'s> {
    segment: &'s Segment,
    scan: Scan<'s>,
    place: Place,
    position: u64,
    end: u64,
}

impl<'s> CheckedScan<'s> {
    /// A walk from `position` to the end of the segment, whose offsets are below `upper_bound_offset`.
    pub(super) fn new(segment: &'s Segment, position: u64, upper_bound_offset: i64, chunk: usize) -> Self {
        let end = segment.size();
        CheckedScan {
            segment,
            scan: Scan::new(&**segment.file(), position, end, chunk),
            place: Place { next_offset: segment.base_offset(), upper_bound_offset, last_epoch: -1 },
            position,
            end,
        }
    }

    /// The next batch and where it starts; none at the end.
    pub(super) fn next(
        &mut self,
        io_error: &dyn Fn(io::Error) -> CleanError,
    ) -> Result<Option<(u64, Batch<'_>)>, CleanError> {
        let position = self.position;
        let segment = self.segment;
        let corrupt =
            |offset, source| CleanError::Corrupt { path: segment.log_path(), position, offset, source };
        match self.scan.next_batch() {
            Ok(Some((position, batch))) => {
                self.place =
                    self.place.check(&batch).map_err(|error| corrupt(batch.header().base_offset, error))?;
                self.position = position + batch.size() as u64;
                Ok(Some((position, batch)))
            }
            Ok(None) if position >= self.end => Ok(None),
            Ok(None) => {
                let left = self.end - position;
                Err(corrupt(self.place.next_offset, CorruptBatch::Incomplete { left }))
            }
            Err(ScanError::Io(error)) => Err(io_error(error)),
            Err(ScanError::Corrupt { error, .. }) => Err(corrupt(self.place.next_offset, error.into())),
        }
    }

    /// What is wrong with the batch at `position`, whose structure, content or checksum is not right.
    pub(super) fn corrupt(segment: &Segment, position: u64, offset: i64, source: CorruptBatch) -> CleanError {
        CleanError::Corrupt { path: segment.log_path(), position, offset, source }
    }
}
