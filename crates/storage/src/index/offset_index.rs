//! `.index`: from an offset to a position in the log that is not behind it.

use std::io;

use super::entries::{Entries, int32};
use super::file::IndexFile;
use crate::disk::Disk;

const ENTRY: usize = 8;

/// An offset and where its batch starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetPosition {
    /// The last offset of a batch, as Kafka stores it.
    pub offset: i64,
    /// Where that batch starts in the `.log`.
    pub position: u32,
}

/// The offset index of a segment.
#[derive(Debug)]
pub struct OffsetIndex {
    base_offset: i64,
    entries: Entries<ENTRY>,
}

impl OffsetIndex {
    pub(crate) fn new(file: IndexFile, base_offset: i64) -> Self {
        OffsetIndex { base_offset, entries: Entries::new(file) }
    }

    fn parse(&self, entry: &[u8; ENTRY]) -> OffsetPosition {
        OffsetPosition {
            offset: self.base_offset + i64::from(int32(entry, 0)),
            position: int32(entry, 4) as u32,
        }
    }

    /// The largest entry whose offset is not above `offset`, or the start of the segment.
    pub(crate) fn lookup(&self, offset: i64) -> io::Result<OffsetPosition> {
        self.entries.with(|entries| self.find(entries, offset))
    }

    /// As [`OffsetIndex::lookup`]; [`io::ErrorKind::WouldBlock`] when the entries are not in memory.
    pub(crate) fn lookup_cached(&self, offset: i64) -> io::Result<OffsetPosition> {
        self.entries.with_cached(|entries| self.find(entries, offset))
    }

    fn find(&self, entries: &[[u8; ENTRY]], offset: i64) -> OffsetPosition {
        let relative = offset - self.base_offset;
        let above = entries.partition_point(|entry| i64::from(int32(entry, 0)) <= relative);
        match above.checked_sub(1).and_then(|slot| entries.get(slot)) {
            Some(entry) => self.parse(entry),
            None => OffsetPosition { offset: self.base_offset, position: 0 },
        }
    }

    /// The first entry whose position is at or behind `position + size`: offsets of a slice are below it. With
    /// `only_cached`, [`io::ErrorKind::WouldBlock`] when the entries are not in memory.
    pub(crate) fn fetch_upper_bound_offset(
        &self,
        position: u32,
        size: usize,
        only_cached: bool,
    ) -> io::Result<Option<i64>> {
        let end = u64::from(position) + size as u64;
        let find = |entries: &[[u8; ENTRY]]| {
            let slot = entries.partition_point(|entry| u64::from(int32(entry, 4) as u32) < end);
            entries.get(slot).map(|entry| self.parse(entry).offset)
        };
        if only_cached { self.entries.with_cached(find) } else { self.entries.with(find) }
    }

    pub(crate) fn append(&self, offset: i64, position: u32) -> io::Result<()> {
        let relative = (offset - self.base_offset) as i32;
        let mut entry = [0; ENTRY];
        entry[..4].copy_from_slice(&relative.to_be_bytes());
        entry[4..].copy_from_slice(&position.to_be_bytes());
        self.entries.push(entry)
    }

    /// Whether an offset can be stored relative to the segment.
    pub(crate) fn can_append_offset(&self, offset: i64) -> bool {
        (0..=i64::from(i32::MAX)).contains(&offset.wrapping_sub(self.base_offset))
    }

    pub(crate) fn is_full(&self) -> io::Result<bool> {
        Ok(self.entries.len()? >= self.entries.max_entries())
    }

    pub(crate) fn last_offset(&self) -> io::Result<i64> {
        Ok(self.entries.last()?.map_or(self.base_offset, |entry| self.parse(&entry).offset))
    }

    /// Keeps the entries below `offset`.
    pub(crate) fn truncate_to(&self, offset: i64) -> io::Result<()> {
        let relative = offset - self.base_offset;
        let keep = self
            .entries
            .with(|entries| entries.partition_point(|entry| i64::from(int32(entry, 0)) < relative))?;
        self.entries.truncate(keep)
    }

    /// Entries, in order.
    ///
    /// # Errors
    /// As the disk says.
    pub fn all(&self) -> io::Result<Vec<OffsetPosition>> {
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
