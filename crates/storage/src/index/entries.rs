//! Entries of `N` bytes: in memory as long as they are appended to, read from their file when they are not.
//!
//! The file is opened for every [`WRITE_BEHIND`] entries, which is once in hundreds of kilobytes of records.

use std::io;
use std::path::Path;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use super::file::IndexFile;

/// Entries that may wait in memory before they are written.
const WRITE_BEHIND: usize = 64;

#[derive(Debug)]
pub(super) struct Entries<const N: usize> {
    file: IndexFile,
    inner: RwLock<Inner<N>>,
}

#[derive(Debug)]
struct Inner<const N: usize> {
    /// None when they are what the file holds: each reader asks it.
    entries: Option<Vec<[u8; N]>>,
    /// How many of `entries` the file holds.
    written: usize,
    /// Whether the index is appended to: the file is then as long as it may become.
    active: bool,
    max_entries: usize,
    /// The file no longer belongs to these entries: only memory counts from now on.
    detached: bool,
}

impl<const N: usize> Entries<N> {
    pub(super) fn new(file: IndexFile) -> Self {
        let inner =
            Inner { entries: None, written: 0, active: false, max_entries: usize::MAX, detached: false };
        Entries { file, inner: RwLock::new(inner) }
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner<N>> {
        self.inner.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner<N>> {
        self.inner.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Calls `f` with the entries, which may read the file.
    pub(super) fn with<R>(&self, f: impl FnOnce(&[[u8; N]]) -> R) -> io::Result<R> {
        // Held until the file is read: nobody changes it meanwhile.
        let inner = self.read();
        match &inner.entries {
            Some(entries) => Ok(f(entries)),
            None => Ok(f(self.file.read()?.as_chunks::<N>().0)),
        }
    }

    /// As [`Entries::with`]; [`io::ErrorKind::WouldBlock`] when they are not in memory or are being changed.
    pub(super) fn with_cached<R>(&self, f: impl FnOnce(&[[u8; N]]) -> R) -> io::Result<R> {
        let inner = match self.inner.try_read() {
            Ok(inner) => inner,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
        };
        match &inner.entries {
            Some(entries) => Ok(f(entries)),
            None => Ok(f(self.file.cached().ok_or(io::ErrorKind::WouldBlock)?.as_chunks::<N>().0)),
        }
    }

    /// Takes the entries into memory, to change them or the file.
    fn load(&self, inner: &mut Inner<N>) -> io::Result<()> {
        if inner.entries.is_none() {
            let entries = self.file.take()?.as_chunks::<N>().0.to_vec();
            inner.written = entries.len();
            inner.entries = Some(entries);
        }
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

    /// As [`Entries::detach`], without reading anything: where the entries are not in memory there are none from now on.
    pub(super) fn orphan(&self) {
        let mut inner = self.write();
        if inner.entries.is_none() {
            let bytes = self.file.cached().unwrap_or_default();
            inner.entries = Some(bytes.as_chunks::<N>().0.to_vec());
        }
        self.file.forget();
        inner.active = false;
        inner.detached = true;
    }

    /// Makes the index ready to be appended to: loaded, and its file as long as `max_bytes`.
    pub(super) fn activate(&self, max_bytes: u32) -> io::Result<()> {
        let mut inner = self.write();
        self.load(&mut inner)?;
        let file = self.file.open()?;
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
        self.file.forget();
        self.file.open()?.truncate(0)?;
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
        self.file.open()?.pwrite_all(&bytes, position)?;
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

    /// Writes what waits, cuts the file to its entries and lets go of them.
    pub(super) fn close(&self) -> io::Result<()> {
        self.write_out()?;
        let mut inner = self.write();
        if inner.active {
            let count = inner.entries.as_ref().map_or(inner.written, Vec::len);
            self.file.open()?.truncate((count * N) as u64)?;
            inner.active = false;
        }
        if !inner.detached {
            inner.entries = None;
            inner.written = 0;
        }
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.write_out()?;
        let file = {
            // Held until the file is open: opening it makes it anew where it has just been renamed.
            let inner = self.read();
            if inner.detached || !self.file.exists()? {
                return Ok(());
            }
            self.file.open()?
        };
        file.sync_data()
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
