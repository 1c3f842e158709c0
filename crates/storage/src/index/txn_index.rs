//! `.txnindex`: the aborted transactions of a segment. The file is there once a transaction was aborted.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, RwLock, TryLockError};

use super::entries::{index_len, int32, int64};
use crate::disk::{Disk, DiskFile, OpenMode, read_full};
use crate::error::{CorruptFile, is_shortage};

const ENTRY: usize = 34;
const VERSION: i16 = 0;

/// A transaction that was aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTxn {
    /// Its producer.
    pub producer_id: i64,
    /// Its first offset in the partition.
    pub first_offset: i64,
    /// The offset of its marker.
    pub last_offset: i64,
    /// The last stable offset when the marker was appended.
    pub last_stable_offset: i64,
}

impl AbortedTxn {
    pub(crate) fn parse(entry: &[u8; ENTRY]) -> Option<Self> {
        let version = (int32(entry, 0) >> 16) as i16;
        (version == VERSION).then(|| AbortedTxn {
            producer_id: int64(entry, 2),
            first_offset: int64(entry, 10),
            last_offset: int64(entry, 18),
            last_stable_offset: int64(entry, 26),
        })
    }

    fn to_bytes(self) -> [u8; ENTRY] {
        let mut entry = [0; ENTRY];
        entry[..2].copy_from_slice(&VERSION.to_be_bytes());
        entry[2..10].copy_from_slice(&self.producer_id.to_be_bytes());
        entry[10..18].copy_from_slice(&self.first_offset.to_be_bytes());
        entry[18..26].copy_from_slice(&self.last_offset.to_be_bytes());
        entry[26..].copy_from_slice(&self.last_stable_offset.to_be_bytes());
        entry
    }
}

/// The transaction index of a segment. Its entries are in memory once it was read: a busy partition aborts few.
#[derive(Debug)]
pub struct TransactionIndex {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    loaded: Option<Vec<AbortedTxn>>,
    file: Option<Arc<dyn DiskFile>>,
    /// How many of the entries the file holds; the others wait for space on the disk.
    written: usize,
    /// The file no longer belongs to these entries: only memory counts from now on.
    detached: bool,
}

impl TransactionIndex {
    pub(crate) fn new(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        TransactionIndex { disk, path, inner: RwLock::new(Inner::default()) }
    }

    fn with<R>(&self, f: impl FnOnce(&[AbortedTxn]) -> R) -> io::Result<R> {
        if let Some(entries) = &self.inner.read().unwrap_or_else(|poisoned| poisoned.into_inner()).loaded {
            return Ok(f(entries));
        }
        let mut inner = self.inner.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        Ok(f(self.load(&mut inner)?))
    }

    fn with_cached<R>(&self, f: impl FnOnce(&[AbortedTxn]) -> R) -> io::Result<R> {
        let inner = match self.inner.try_read() {
            Ok(inner) => inner,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
        };
        match &inner.loaded {
            Some(entries) => Ok(f(entries)),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn load<'i>(&self, inner: &'i mut Inner) -> io::Result<&'i mut Vec<AbortedTxn>> {
        if inner.loaded.is_none() {
            let mut entries = Vec::new();
            if self.disk.metadata(&self.path)?.is_some() {
                let file = self.disk.open(&self.path, OpenMode::Read)?;
                let mut bytes = vec![0; index_len(&*file, &self.path)?];
                let read = read_full(&*file, &mut bytes, 0)?;
                for (index, entry) in bytes[..read].as_chunks::<ENTRY>().0.iter().enumerate() {
                    let entry = AbortedTxn::parse(entry).ok_or_else(|| {
                        let position = Some((index * ENTRY) as u64);
                        CorruptFile::error(&self.path, position, "unknown version in a transaction index")
                    })?;
                    entries.push(entry);
                }
            }
            inner.written = entries.len();
            inner.loaded = Some(entries);
        }
        Ok(inner.loaded.get_or_insert_default())
    }

    /// Appends a transaction; the file is made when it is the first. On a full disk the entry waits in memory for
    /// the next append or [`TransactionIndex::write_out`].
    pub(crate) fn append(&self, txn: AbortedTxn) -> io::Result<()> {
        let mut inner = self.inner.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        self.load(&mut inner)?.push(txn);
        match self.write_waiting(&mut inner) {
            Err(error) if is_shortage(&error) => Ok(()),
            other => other,
        }
    }

    fn write_waiting(&self, inner: &mut Inner) -> io::Result<()> {
        let waiting = match &inner.loaded {
            Some(entries) if entries.len() > inner.written && !inner.detached => &entries[inner.written..],
            _ => return Ok(()),
        };
        let bytes: Vec<u8> = waiting.iter().flat_map(|txn| txn.to_bytes()).collect();
        let file = match &inner.file {
            Some(file) => Arc::clone(file),
            None => {
                let file = self.disk.open(&self.path, OpenMode::ReadWrite)?;
                inner.file = Some(Arc::clone(&file));
                file
            }
        };
        file.pwrite_all(&bytes, (inner.written * ENTRY) as u64)?;
        inner.written += bytes.len() / ENTRY;
        Ok(())
    }

    /// Writes what waits for space.
    pub(crate) fn write_out(&self) -> io::Result<()> {
        let mut inner = self.inner.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        self.write_waiting(&mut inner)
    }

    /// Every aborted transaction, in order.
    ///
    /// # Errors
    /// As the disk says; an entry of an unknown version is [`io::ErrorKind::InvalidData`].
    pub fn all(&self) -> io::Result<Vec<AbortedTxn>> {
        self.with(<[AbortedTxn]>::to_vec)
    }

    /// Adds to `out` the aborted transactions that reach into `fetch_offset..upper_bound_offset`. Returns whether no
    /// later segment can hold another one. With `only_cached`, [`io::ErrorKind::WouldBlock`] when the entries are not in
    /// memory.
    pub(crate) fn collect(
        &self,
        fetch_offset: i64,
        upper_bound_offset: i64,
        only_cached: bool,
        out: &mut Vec<AbortedTxn>,
    ) -> io::Result<bool> {
        let collect = |entries: &[AbortedTxn]| {
            for txn in entries {
                if txn.last_offset >= fetch_offset && txn.first_offset < upper_bound_offset {
                    out.push(*txn);
                }
                if txn.last_stable_offset >= upper_bound_offset {
                    return true;
                }
            }
            false
        };
        if only_cached { self.with_cached(collect) } else { self.with(collect) }
    }

    /// Whether every entry can belong to a segment that starts at `base_offset`.
    pub(crate) fn is_sane(&self, base_offset: i64) -> bool {
        self.with(|entries| entries.iter().all(|txn| txn.last_offset >= base_offset)).unwrap_or(false)
    }

    /// Forgets every entry; a file that is there is emptied.
    pub(crate) fn reset(&self) -> io::Result<()> {
        let mut inner = self.inner.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if self.disk.metadata(&self.path)?.is_some() {
            let file = self.disk.open(&self.path, OpenMode::ReadWrite)?;
            file.truncate(0)?;
            inner.file = Some(file);
        }
        inner.loaded = Some(Vec::new());
        inner.written = 0;
        Ok(())
    }

    /// Keeps the transactions whose marker is below `offset`.
    pub(crate) fn truncate_to(&self, offset: i64) -> io::Result<()> {
        let mut inner = self.inner.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let entries = self.load(&mut inner)?;
        let keep = entries.iter().position(|txn| txn.last_offset >= offset).unwrap_or(entries.len());
        if keep < entries.len() {
            entries.truncate(keep);
            inner.written = inner.written.min(keep);
            // It stays open, so that the next sync makes the cut durable too.
            let file = self.disk.open(&self.path, OpenMode::ReadWrite)?;
            file.truncate((inner.written * ENTRY) as u64)?;
            inner.file = Some(file);
        }
        Ok(())
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.write_out()?;
        let file = self.inner.read().unwrap_or_else(|poisoned| poisoned.into_inner()).file.clone();
        file.map_or(Ok(()), |file| file.sync_data())
    }

    pub(crate) fn close(&self) {
        let mut inner = self.inner.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        inner.file = None;
        if !inner.detached {
            inner.loaded = None;
            inner.written = 0;
        }
    }

    /// Reads the entries into memory for good: the file is about to go or to be another segment's, and readers may
    /// still hold this one.
    pub(crate) fn detach(&self) -> io::Result<()> {
        let mut inner = self.inner.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        self.load(&mut inner)?;
        inner.file = None;
        inner.detached = true;
        Ok(())
    }
}
