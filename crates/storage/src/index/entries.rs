//! A file of entries of `N` bytes, with the entries in memory once they are needed.
//!
//! No descriptor is kept: a node with ten thousand partitions has two such files for each, and descriptors are few.
//! The file is opened for every [`WRITE_BEHIND`] entries, which is once in hundreds of kilobytes of records.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock, RwLockReadGuard, TryLockError};

use crate::disk::{Disk, DiskFile, OpenMode, read_full};
use crate::error::CorruptFile;

/// Entries that may wait in memory before they are written.
const WRITE_BEHIND: usize = 64;

/// The largest index that is read into memory. `segment.index.bytes` is 10 MiB by default; a file that claims more than
/// this, perhaps with holes, is none of ours.
const MAX_INDEX_BYTES: u64 = 1 << 30;

/// The length of an index file, if it can be one.
pub(super) fn index_len(file: &dyn DiskFile, path: &Path) -> io::Result<usize> {
    match file.len()? {
        len @ 0..=MAX_INDEX_BYTES => Ok(len as usize),
        len => Err(CorruptFile::error(path, None, format!("an index of {len} bytes"))),
    }
}

#[derive(Debug)]
pub(super) struct Entries<const N: usize> {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    inner: RwLock<Inner<N>>,
}

#[derive(Debug)]
struct Inner<const N: usize> {
    /// None until something reads them.
    entries: Option<Vec<[u8; N]>>,
    /// How many of them the file holds.
    written: usize,
    /// Whether the index is appended to: the file is then as long as it may become.
    active: bool,
    max_entries: usize,
    /// The file no longer belongs to these entries: only memory counts from now on.
    detached: bool,
}

impl<const N: usize> Entries<N> {
    pub(super) fn new(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        let inner =
            Inner { entries: None, written: 0, active: false, max_entries: usize::MAX, detached: false };
        Entries { disk, path, inner: RwLock::new(inner) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner<N>> {
        self.inner.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner<N>> {
        self.inner.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Calls `f` with the entries, reading them from the file first when that has not happened.
    pub(super) fn with<R>(&self, f: impl FnOnce(&[[u8; N]]) -> R) -> io::Result<R> {
        if let Some(entries) = &self.read().entries {
            return Ok(f(entries));
        }
        let mut inner = self.write();
        self.load(&mut inner)?;
        Ok(f(inner.entries.as_deref().unwrap_or_default()))
    }

    /// As [`Entries::with`]; [`io::ErrorKind::WouldBlock`] when they are not in memory or are being read.
    pub(super) fn with_cached<R>(&self, f: impl FnOnce(&[[u8; N]]) -> R) -> io::Result<R> {
        let inner = match self.inner.try_read() {
            Ok(inner) => inner,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
        };
        match &inner.entries {
            Some(entries) => Ok(f(entries)),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn load(&self, inner: &mut Inner<N>) -> io::Result<()> {
        if inner.entries.is_some() {
            return Ok(());
        }
        let mut entries = Vec::new();
        if self.disk.metadata(&self.path)?.is_some() {
            let file = self.disk.open(&self.path, OpenMode::Read)?;
            let mut bytes = vec![0; index_len(&*file, &self.path)?];
            let read = read_full(&*file, &mut bytes, 0)?;
            entries = bytes[..read].as_chunks::<N>().0.to_vec();
        }
        inner.written = entries.len();
        inner.entries = Some(entries);
        Ok(())
    }

    /// Reads the entries into memory for good: another file is about to take the place of this one, and readers may
    /// still hold the segment.
    pub(super) fn detach(&self) -> io::Result<()> {
        let mut inner = self.write();
        self.load(&mut inner)?;
        inner.active = false;
        inner.detached = true;
        Ok(())
    }

    /// Makes the index ready to be appended to: loaded, and its file as long as `max_bytes`.
    pub(super) fn activate(&self, max_bytes: u32) -> io::Result<()> {
        let mut inner = self.write();
        self.load(&mut inner)?;
        let file = self.disk.open(&self.path, OpenMode::ReadWrite)?;
        let max_entries = max_bytes as usize / N;
        inner.max_entries = max_entries;
        let count = inner.entries.as_ref().map_or(0, Vec::len);
        file.truncate((max_entries.max(count) * N) as u64)?;
        inner.active = true;
        Ok(())
    }

    /// Forgets every entry. The file is kept.
    pub(super) fn reset(&self) -> io::Result<()> {
        let mut inner = self.write();
        self.disk.open(&self.path, OpenMode::ReadWrite)?.truncate(0)?;
        inner.active = true;
        inner.entries = Some(Vec::new());
        inner.written = 0;
        inner.max_entries = usize::MAX;
        Ok(())
    }

    /// Adds an entry. It is in the file after the next write behind or [`Entries::write_out`].
    pub(super) fn push(&self, entry: [u8; N]) -> io::Result<()> {
        let waiting = {
            let mut inner = self.write();
            self.load(&mut inner)?;
            let inner = &mut *inner;
            let entries = inner.entries.get_or_insert_default();
            entries.push(entry);
            entries.len() - inner.written
        };
        if waiting >= WRITE_BEHIND { self.write_out() } else { Ok(()) }
    }

    /// Writes the entries that are not in the file. Only the one writer of the log calls this, so the lock is not
    /// held while the disk works.
    pub(super) fn write_out(&self) -> io::Result<()> {
        let (bytes, position, count) = {
            let inner = self.read();
            let Some(entries) = &inner.entries else { return Ok(()) };
            if entries.len() <= inner.written || inner.detached {
                return Ok(());
            }
            let bytes = entries[inner.written..].concat();
            (bytes, (inner.written * N) as u64, entries.len())
        };
        self.disk.open(&self.path, OpenMode::ReadWrite)?.pwrite_all(&bytes, position)?;
        let mut inner = self.write();
        if inner.entries.as_ref().is_some_and(|entries| entries.len() >= count) {
            inner.written = inner.written.max(count);
        }
        Ok(())
    }

    /// Keeps the first `count` entries.
    pub(super) fn truncate(&self, count: usize) -> io::Result<()> {
        let mut inner = self.write();
        self.load(&mut inner)?;
        if let Some(entries) = &mut inner.entries {
            entries.truncate(count);
        }
        inner.written = inner.written.min(count);
        Ok(())
    }

    /// Writes what waits, cuts the file to its entries and lets go of the memory.
    pub(super) fn close(&self) -> io::Result<()> {
        self.write_out()?;
        let mut inner = self.write();
        if std::mem::take(&mut inner.active) {
            let count = inner.entries.as_ref().map_or(inner.written, Vec::len);
            self.disk.open(&self.path, OpenMode::ReadWrite)?.truncate((count * N) as u64)?;
        }
        if !inner.detached {
            inner.entries = None;
            inner.written = 0;
        }
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.write_out()?;
        if self.read().detached {
            return Ok(());
        }
        match self.disk.metadata(&self.path)? {
            Some(_) => self.disk.open(&self.path, OpenMode::ReadWrite)?.sync_data(),
            None => Ok(()),
        }
    }

    pub(super) fn len(&self) -> io::Result<usize> {
        self.with(<[_]>::len)
    }

    pub(super) fn last(&self) -> io::Result<Option<[u8; N]>> {
        self.with(|entries| entries.last().copied())
    }

    pub(super) fn max_entries(&self) -> usize {
        self.read().max_entries
    }
}

/// The four bytes at `at` as a number.
pub(super) fn int32(entry: &[u8], at: usize) -> i32 {
    entry.get(at..).and_then(<[u8]>::first_chunk::<4>).map_or(0, |raw| i32::from_be_bytes(*raw))
}

/// The eight bytes at `at` as a number.
pub(super) fn int64(entry: &[u8], at: usize) -> i64 {
    entry.get(at..).and_then(<[u8]>::first_chunk::<8>).map_or(0, |raw| i64::from_be_bytes(*raw))
}
