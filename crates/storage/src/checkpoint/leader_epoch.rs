//! The leader epochs of a log and the offset that each starts at (KIP-101, KIP-279).
//!
//! Source: Kafka `LeaderEpochFileCache`.

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{MAX_CHECKPOINT_BYTES, parse};
use crate::disk::Disk;
use crate::error::CorruptFile;
use crate::mutation::{self, Mutation};

/// Name of the file in a partition's directory.
pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";
/// The epoch of an answer that knows none.
pub const UNDEFINED_EPOCH: i32 = -1;

/// An epoch and its first offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEntry {
    /// The leader epoch.
    pub epoch: i32,
    /// Offset of its first record.
    pub start_offset: i64,
}

/// The epochs of a log, ascending in epoch and in offset, with their file.
#[derive(Debug)]
pub struct LeaderEpochCache {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    entries: Vec<EpochEntry>,
    /// What the file holds.
    written: Vec<EpochEntry>,
    /// The file says something that the log does not, and is to be written before it is relied on.
    is_wrong: bool,
}

impl LeaderEpochCache {
    /// Reads the file of a partition's directory; no file is no epoch.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: &Path) -> io::Result<Self> {
        let path = dir.join(LEADER_EPOCH_CHECKPOINT);
        let mut entries = Vec::new();
        if let Some(bytes) = disk.read(&path, MAX_CHECKPOINT_BYTES)? {
            entries = parse(&bytes, |line| {
                let (epoch, offset) = line.split_once(' ')?;
                Some(EpochEntry { epoch: epoch.parse().ok()?, start_offset: offset.trim().parse().ok()? })
            })
            .map_err(|error| CorruptFile::error(&path, None, error))?;
            entries.sort_by_key(|entry| entry.epoch);
        }
        let written = entries.clone();
        Ok(LeaderEpochCache { disk, path, entries, written, is_wrong: false })
    }

    fn write(&mut self) -> io::Result<()> {
        let mut text = format!("0\n{}\n", self.entries.len());
        for entry in &self.entries {
            let _ = writeln!(text, "{} {}", entry.epoch, entry.start_offset);
        }
        self.disk.write_atomic(&self.path, text.as_bytes())?;
        self.written.clone_from(&self.entries);
        self.is_wrong = false;
        Ok(())
    }

    /// Writes the file if an epoch that has records below `offset` is not in it. Called before those records count as
    /// durable: what a recovery does not scan it cannot ask for its epoch.
    pub(crate) fn persist_below(&mut self, offset: i64) -> io::Result<()> {
        let missing = |entry: &EpochEntry| entry.start_offset < offset && !self.written.contains(entry);
        if self.is_wrong || self.entries.iter().any(missing) { self.write() } else { Ok(()) }
    }

    /// A recovery found in the log what the entries are now. Until the recovery point moves or the log is closed the next
    /// one would find the same: [`LeaderEpochCache::persist_below`] writes them then.
    pub(crate) fn persist_later(&mut self) {
        self.is_wrong |= self.written != self.entries;
        if mutation::on(Mutation::RecoveredEpochsNotWritten) {
            self.is_wrong = false;
            self.written.clone_from(&self.entries);
        }
    }

    /// Writes the file as the entries are in memory.
    pub(crate) fn persist(&mut self) -> io::Result<()> {
        self.write()
    }

    /// The entries, ascending.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The largest epoch.
    pub fn latest_epoch(&self) -> Option<i32> {
        self.entries.last().map(|entry| entry.epoch)
    }

    /// The first entry.
    pub fn earliest_entry(&self) -> Option<EpochEntry> {
        self.entries.first().copied()
    }

    /// Whether [`LeaderEpochCache::assign`] would change anything.
    pub(crate) fn needs(&self, epoch: i32, start_offset: i64) -> bool {
        self.entries.last().is_none_or(|last| last.epoch != epoch || start_offset < last.start_offset)
    }

    /// Notes that `epoch` starts at `start_offset`; entries that contradict it go. The file follows with
    /// [`LeaderEpochCache::persist_below`], as in Kafka, which writes it in the background. Returns whether anything changed.
    pub(crate) fn assign(&mut self, epoch: i32, start_offset: i64) -> bool {
        if epoch < 0 || start_offset < 0 || !self.needs(epoch, start_offset) {
            return false;
        }
        while self.entries.last().is_some_and(|last| last.epoch >= epoch || last.start_offset >= start_offset)
        {
            self.entries.pop();
        }
        self.entries.push(EpochEntry { epoch, start_offset });
        true
    }

    /// The largest known epoch that is not above `requested`, and where it ends. An epoch below all known ones ends
    /// where the first of those starts.
    pub(crate) fn end_offset_for(&self, requested: i32, log_end_offset: i64) -> Option<(i32, i64)> {
        if requested == UNDEFINED_EPOCH {
            return None;
        }
        if self.latest_epoch() == Some(requested) {
            return Some((requested, log_end_offset));
        }
        let higher = self.entries.partition_point(|entry| entry.epoch <= requested);
        let next = self.entries.get(higher)?;
        Some(match higher.checked_sub(1).and_then(|floor| self.entries.get(floor)) {
            Some(floor) => (floor.epoch, next.start_offset),
            None => (requested, next.start_offset),
        })
    }

    /// The epoch of the record at `offset`.
    pub fn epoch_for_offset(&self, offset: i64) -> Option<i32> {
        let above = self.entries.partition_point(|entry| entry.start_offset <= offset);
        above.checked_sub(1).and_then(|slot| self.entries.get(slot)).map(|entry| entry.epoch)
    }

    /// Removes the epochs that start at or behind `end_offset`, in memory only.
    pub(crate) fn forget_from(&mut self, end_offset: i64) {
        while self.entries.last().is_some_and(|last| last.start_offset >= end_offset) {
            self.entries.pop();
        }
    }

    /// Writes the file when the entries are no longer those of `before`; an error brings those back.
    fn write_change(&mut self, before: Vec<EpochEntry>) -> io::Result<()> {
        if self.entries == before {
            return Ok(());
        }
        self.write().inspect_err(|_| self.entries = before)
    }

    /// Removes the epochs that start at or behind `end_offset`.
    pub(crate) fn truncate_from_end(&mut self, end_offset: i64) -> io::Result<()> {
        let before = self.entries.clone();
        if end_offset >= 0 {
            self.forget_from(end_offset);
        }
        self.write_change(before)
    }

    /// Lets the first epoch start at `start_offset`.
    pub(crate) fn truncate_from_start(&mut self, start_offset: i64) -> io::Result<()> {
        let passed = self.entries.partition_point(|entry| entry.start_offset <= start_offset);
        let Some(last) = passed.checked_sub(1) else { return Ok(()) };
        let before = self.entries.clone();
        self.entries.drain(..last);
        self.entries[0].start_offset = start_offset;
        self.write_change(before)
    }

    /// Removes every epoch.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        let before = std::mem::take(&mut self.entries);
        self.write_change(before)
    }
}
