//! `.txnindex`: the aborted transactions of a segment. The file is there once a transaction was aborted.

use std::io;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use super::entries::{int32, int64};
use super::file::IndexFile;
use crate::disk::DiskFile;
use crate::error::{CorruptFile, is_shortage};
use crate::mutation::{self, Mutation};

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
    /// The last stable offset when the marker was appended, as the file tells it.
    pub last_stable_offset: i64,
}

impl AbortedTxn {
    /// The last stable offset behind the marker: transactions that are not in the index up to here begin at it or later.
    ///
    /// Kafka's followers write the start of a later transaction when that came in the same append. There was no open one
    /// at the marker then, and the log was stable up to it.
    pub fn stable_offset_behind(&self) -> i64 {
        if mutation::on(Mutation::LaterTransactionsCount) {
            return self.last_stable_offset;
        }
        self.last_stable_offset.min(self.last_offset.saturating_add(1))
    }

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

/// The transaction index of a segment: in memory as long as it is appended to, read from its file when it is not.
#[derive(Debug)]
pub struct TransactionIndex {
    file: IndexFile,
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// None when they are what the file holds: each reader asks it.
    entries: Option<Vec<AbortedTxn>>,
    /// What was opened to append, until the index is closed.
    appended: Option<Arc<dyn DiskFile>>,
    /// How many of `entries` the file holds; the others wait for space on the disk.
    written: usize,
    /// The file no longer belongs to these entries: only memory counts from now on.
    detached: bool,
}

impl TransactionIndex {
    pub(crate) fn new(file: IndexFile) -> Self {
        TransactionIndex { file, inner: RwLock::new(Inner::default()) }
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn with<R>(&self, f: impl FnOnce(&[AbortedTxn]) -> R) -> io::Result<R> {
        // Held until the file is read: nobody changes it meanwhile.
        let inner = self.read();
        match &inner.entries {
            Some(entries) => Ok(f(entries)),
            None if inner.detached => Err(self.lost()),
            None => Ok(f(&self.parse(&self.file.read()?)?)),
        }
    }

    fn with_cached<R>(&self, f: impl FnOnce(&[AbortedTxn]) -> R) -> io::Result<R> {
        let inner = match self.inner.try_read() {
            Ok(inner) => inner,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
        };
        match &inner.entries {
            Some(entries) => Ok(f(entries)),
            None => Ok(f(&self.parse(&self.file.cached().ok_or(io::ErrorKind::WouldBlock)?)?)),
        }
    }

    /// What readers of a segment that went are told when its entries could not be read before.
    fn lost(&self) -> io::Error {
        CorruptFile::error(self.file.path(), None, "could not be read when its segment was deleted")
    }

    fn parse(&self, bytes: &[u8]) -> io::Result<Vec<AbortedTxn>> {
        let entries = bytes.as_chunks::<ENTRY>().0.iter().enumerate();
        entries
            .map(|(index, entry)| {
                AbortedTxn::parse(entry).ok_or_else(|| {
                    let position = Some((index * ENTRY) as u64);
                    CorruptFile::error(self.file.path(), position, "unknown version in a transaction index")
                })
            })
            .collect()
    }

    /// Takes the entries into memory, to change them or the file.
    fn load<'i>(&self, inner: &'i mut Inner) -> io::Result<&'i mut Vec<AbortedTxn>> {
        if inner.entries.is_none() {
            let entries = self.parse(&self.file.take()?)?;
            inner.written = entries.len();
            inner.entries = Some(entries);
        }
        Ok(inner.entries.get_or_insert_default())
    }

    /// Makes the index ready to be appended to: it stays in memory.
    pub(crate) fn activate(&self) -> io::Result<()> {
        self.load(&mut self.write()).map(|_| ())
    }

    /// Lets go of the entries, unless some are nowhere else. The file stays open for the next sync.
    pub(crate) fn deactivate(&self) {
        let mut inner = self.write();
        let waiting = inner.entries.as_ref().map_or(0, Vec::len) > inner.written;
        if !inner.detached && !waiting {
            inner.entries = None;
            inner.written = 0;
        }
    }

    /// Appends a transaction; the file is made when it is the first. On a full disk the entry waits in memory for
    /// the next append or [`TransactionIndex::write_out`].
    pub(crate) fn append(&self, txn: AbortedTxn) -> io::Result<()> {
        let mut inner = self.write();
        self.load(&mut inner)?.push(txn);
        match self.write_waiting(&mut inner) {
            Err(error) if is_shortage(&error) => Ok(()),
            other => other,
        }
    }

    fn write_waiting(&self, inner: &mut Inner) -> io::Result<()> {
        let waiting = match &inner.entries {
            Some(entries) if entries.len() > inner.written && !inner.detached => &entries[inner.written..],
            _ => return Ok(()),
        };
        let bytes: Vec<u8> = waiting.iter().flat_map(|txn| txn.to_bytes()).collect();
        let file = match &inner.appended {
            Some(file) => Arc::clone(file),
            None => {
                let file = self.file.open()?;
                inner.appended = Some(Arc::clone(&file));
                file
            }
        };
        file.pwrite_all(&bytes, (inner.written * ENTRY) as u64)?;
        inner.written += bytes.len() / ENTRY;
        Ok(())
    }

    /// Writes what waits for space.
    pub(crate) fn write_out(&self) -> io::Result<()> {
        let mut inner = self.write();
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
                if txn.stable_offset_behind() >= upper_bound_offset {
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
        let mut inner = self.write();
        self.file.forget();
        if self.file.exists()? {
            let file = self.file.open()?;
            file.truncate(0)?;
            inner.appended = Some(file);
        }
        inner.entries = Some(Vec::new());
        inner.written = 0;
        Ok(())
    }

    /// Keeps the transactions whose marker is below `offset`.
    pub(crate) fn truncate_to(&self, offset: i64) -> io::Result<()> {
        let mut inner = self.write();
        let entries = self.load(&mut inner)?;
        let keep = entries.iter().position(|txn| txn.last_offset >= offset).unwrap_or(entries.len());
        if keep < entries.len() {
            entries.truncate(keep);
            inner.written = inner.written.min(keep);
            // It stays open, so that the next sync makes the cut durable too.
            let file = self.file.open()?;
            file.truncate((inner.written * ENTRY) as u64)?;
            inner.appended = Some(file);
        }
        Ok(())
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.write_out()?;
        let file = self.read().appended.clone();
        file.map_or(Ok(()), |file| file.sync_data())
    }

    pub(crate) fn close(&self) {
        let mut inner = self.write();
        inner.appended = None;
        if !inner.detached {
            inner.entries = None;
            inner.written = 0;
        }
    }

    /// As [`TransactionIndex::detach`], for a file that goes for good. Entries that cannot be read are an error to who
    /// needs them: they are not taken for none, which would show records of aborted transactions.
    pub(crate) fn orphan(&self) {
        let mut inner = self.write();
        if let Err(error) = self.load(&mut inner) {
            tracing::debug!(path = %self.file.path().display(), %error, "goes without having been read");
        }
        inner.appended = None;
        inner.detached = true;
    }

    /// Reads the entries into memory for good: the file is about to be another segment's, and readers may still hold
    /// this one.
    pub(crate) fn detach(&self) -> io::Result<()> {
        let mut inner = self.write();
        self.load(&mut inner)?;
        inner.appended = None;
        inner.detached = true;
        Ok(())
    }
}
