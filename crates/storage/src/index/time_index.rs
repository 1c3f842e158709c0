//! `.timeindex`: from a timestamp to the offset of the batch that first reached it.

use std::io;

use ottla_protocol::records::NO_TIMESTAMP;

use super::entries::{Entries, int32, int64};
use super::file::IndexFile;
use crate::disk::Disk;

const ENTRY: usize = 12;

/// The largest timestamp up to an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    /// Milliseconds since the epoch, -1 for none.
    pub timestamp: i64,
    /// The last offset of the batch with that timestamp.
    pub offset: i64,
}

/// The time index of a segment.
#[derive(Debug)]
pub struct TimeIndex {
    base_offset: i64,
    entries: Entries<ENTRY>,
}

impl TimeIndex {
    pub(crate) fn new(file: IndexFile, base_offset: i64) -> Self {
        TimeIndex { base_offset, entries: Entries::new(file) }
    }

    fn parse(&self, entry: &[u8; ENTRY]) -> TimestampOffset {
        TimestampOffset { timestamp: int64(entry, 0), offset: self.base_offset + i64::from(int32(entry, 8)) }
    }

    fn none(&self) -> TimestampOffset {
        TimestampOffset { timestamp: NO_TIMESTAMP, offset: self.base_offset }
    }

    pub(crate) fn last_entry(&self) -> io::Result<TimestampOffset> {
        Ok(self.entries.last()?.map_or(self.none(), |entry| self.parse(&entry)))
    }

    /// The largest entry whose timestamp is not above `timestamp`, or the start of the segment.
    pub(crate) fn lookup(&self, timestamp: i64) -> io::Result<TimestampOffset> {
        self.entries.with(|entries| {
            let above = entries.partition_point(|entry| int64(entry, 0) <= timestamp);
            above
                .checked_sub(1)
                .and_then(|slot| entries.get(slot))
                .map_or(self.none(), |entry| self.parse(entry))
        })
    }

    /// Adds an entry unless the timestamp is not above that of the last one.
    pub(crate) fn maybe_append(&self, entry: TimestampOffset) -> io::Result<()> {
        if entry.timestamp <= self.last_entry()?.timestamp {
            return Ok(());
        }
        let relative = (entry.offset - self.base_offset) as i32;
        let mut raw = [0; ENTRY];
        raw[..8].copy_from_slice(&entry.timestamp.to_be_bytes());
        raw[8..].copy_from_slice(&relative.to_be_bytes());
        self.entries.push(raw)
    }

    /// Full but for the one slot that is kept for the entry at closing.
    pub(crate) fn is_full(&self) -> io::Result<bool> {
        Ok(self.entries.len()? >= self.entries.max_entries().saturating_sub(1))
    }

    /// Keeps the entries below `offset`.
    pub(crate) fn truncate_to(&self, offset: i64) -> io::Result<()> {
        let relative = offset - self.base_offset;
        let keep = self
            .entries
            .with(|entries| entries.partition_point(|entry| i64::from(int32(entry, 8)) < relative))?;
        self.entries.truncate(keep)
    }

    /// Entries, in order.
    ///
    /// # Errors
    /// As the disk says.
    pub fn all(&self) -> io::Result<Vec<TimestampOffset>> {
        self.entries.with(|entries| entries.iter().map(|entry| self.parse(entry)).collect())
    }

    pub(crate) fn detach(&self) -> io::Result<()> {
        self.entries.detach()
    }

    pub(crate) fn orphan(&self) {
        self.entries.orphan();
    }

    /// Bytes of the file, without reading it into memory.
    pub(crate) fn file_bytes(&self, disk: &dyn Disk) -> io::Result<u64> {
        Ok(disk.metadata(self.entries.path())?.map_or(0, |metadata| metadata.len))
    }

    pub(crate) fn exists(&self, disk: &dyn Disk) -> io::Result<bool> {
        Ok(disk.metadata(self.entries.path())?.is_some())
    }

    pub(crate) fn activate(&self, max_bytes: u32) -> io::Result<()> {
        self.entries.activate(max_bytes)
    }

    pub(crate) fn reset(&self) -> io::Result<()> {
        self.entries.reset()
    }

    pub(crate) fn close(&self) -> io::Result<()> {
        self.entries.close()
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.entries.sync()
    }
}
