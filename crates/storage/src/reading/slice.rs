//! A range of a file: what a read of a log returns instead of bytes.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::ahead::{ReadAhead, STEP_BYTES};
use super::{CachedReads, DirReads};
use crate::dirs::DirState;
use crate::disk::{DiskFile, read_full};

/// Slices of fewer bytes are read into memory; longer ones are sent from their file, when that is a real one. The system
/// call costs less than a copy only from about here on.
pub const SENDFILE_MIN_BYTES: usize = 64 * 1024;
/// The most that is brought into memory at once for one slice, its first batch excepted.
const MAX_COLD_BYTES: usize = 4 << 20;
/// Bytes read at once to bring a range into the page cache.
const WARM_BYTES: usize = 256 * 1024;

/// A range of a file.
#[derive(Debug, Clone)]
pub struct FetchSlice {
    /// The file; it stays readable while this value lives, even when the segment is deleted.
    pub file: Arc<dyn DiskFile>,
    /// Where the range starts.
    pub position: u64,
    /// Bytes of the range.
    pub len: usize,
    origin: Option<Origin>,
}

/// Where in its log a slice is.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) dir: Arc<DirState>,
    pub(crate) segment: u64,
    /// Up to where the file can be read.
    pub(crate) segment_bytes: u64,
    /// Bytes of the batch at its start: less is of no use to anybody.
    pub(crate) first_batch: usize,
    pub(crate) hot_from: u64,
    /// Far behind the end of the log.
    pub(crate) catch_up: bool,
}

/// The bytes of a slice, or of its start.
#[derive(Debug, Clone)]
pub enum Loaded {
    /// In memory.
    Bytes(Bytes),
    /// So many bytes of the file, which are in the page cache: to be sent from there.
    File(usize),
}

impl Loaded {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Loaded::Bytes(bytes) => bytes.len(),
            Loaded::File(len) => *len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "file ends early")
}

impl FetchSlice {
    /// A range of any file.
    pub fn new(file: Arc<dyn DiskFile>, position: u64, len: usize) -> Self {
        FetchSlice { file, position, len, origin: None }
    }

    pub(crate) fn of_segment(file: Arc<dyn DiskFile>, position: u64, len: usize, origin: Origin) -> Self {
        FetchSlice { file, position, len, origin: Some(origin) }
    }

    /// Whether it is so far behind the end of its log that [`FetchSlice::load`] reads a large piece past the page cache.
    pub fn is_catch_up(&self) -> bool {
        self.origin.as_ref().is_some_and(|origin| origin.catch_up)
    }

    fn is_sent_from_file(&self) -> bool {
        self.len >= SENDFILE_MIN_BYTES && self.file.raw_fd().is_some()
    }

    /// The bytes, if that takes no waiting for the device; none if it does. Of a reader that catches up, also what is to
    /// be read ahead of it.
    ///
    /// # Errors
    /// As [`DiskFile::pread`]; a file that was truncated since is [`io::ErrorKind::UnexpectedEof`].
    pub fn load_cached(&self) -> io::Result<Option<(Loaded, Option<ReadAhead>)>> {
        let Some(origin) = &self.origin else { return Ok(Some((self.load()?, None))) };
        let reads = origin.dir.reads();
        if let Some(found) = self.ahead(origin, reads) {
            return Ok(Some(found));
        }
        let cached = CachedReads { dir: reads, segment: origin.segment, hot_from: origin.hot_from };
        if self.is_sent_from_file() {
            let len = self.len as u64;
            let is_cached = cached.cached_bytes(&*self.file, self.position, len)? == len;
            return Ok(is_cached.then_some((Loaded::File(self.len), None)));
        }
        let mut bytes = vec![0; self.len];
        match cached.read(&*self.file, &mut bytes, self.position, self.len) {
            Ok(read) if read == self.len => Ok(Some((Loaded::Bytes(bytes.into()), None))),
            Ok(_) => Err(ended()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn ahead(&self, origin: &Origin, reads: &DirReads) -> Option<(Loaded, Option<ReadAhead>)> {
        let least = origin.first_batch.min(self.len).max(1);
        let hit = reads.ahead.get(origin.segment, self.position, least, self.len, origin.segment_bytes)?;
        let next = hit.next.map(|position| ReadAhead {
            file: Arc::clone(&self.file),
            dir: Arc::clone(&origin.dir),
            segment: origin.segment,
            position,
            segment_bytes: origin.segment_bytes,
        });
        Some((Loaded::Bytes(hit.bytes), next))
    }

    /// The bytes, whatever it takes; of a long slice that is not in memory perhaps only the start.
    ///
    /// # Errors
    /// As [`FetchSlice::load_cached`].
    pub fn load(&self) -> io::Result<Loaded> {
        let first_batch = self.origin.as_ref().map_or(self.len, |origin| origin.first_batch);
        let len = self.len.min(MAX_COLD_BYTES.max(first_batch));
        if let Some(origin) = &self.origin {
            let reads = origin.dir.reads();
            if origin.catch_up
                && let Some(bytes) = self.load_once(origin, reads, len)?
            {
                return Ok(Loaded::Bytes(bytes));
            }
            reads.count_cold(len);
        }
        if self.is_sent_from_file() && self.origin.is_some() {
            self.warm(len)?;
            return Ok(Loaded::File(len));
        }
        if self.is_sent_from_file() {
            return Ok(Loaded::File(self.len));
        }
        let mut bytes = vec![0; len];
        match read_full(&*self.file, &mut bytes, self.position)? {
            read if read == len => Ok(Loaded::Bytes(bytes.into())),
            _ => Err(ended()),
        }
    }

    /// Whether so much is in the page cache that the rest goes there as well: whoever catches up through what was evicted
    /// here and there is served from the cache, and not from a copy of all of it.
    fn is_mostly_cached(&self, origin: &Origin, reads: &DirReads, len: usize) -> bool {
        let cached = CachedReads { dir: reads, segment: origin.segment, hot_from: origin.hot_from };
        cached.is_mostly_cached(&*self.file, self.position, len as u64)
    }

    /// Reads a large piece past the page cache; none when there is no memory for it, or the page cache has most of it.
    fn load_once(&self, origin: &Origin, reads: &DirReads, len: usize) -> io::Result<Option<Bytes>> {
        let least = origin.first_batch.min(self.len).max(1);
        if reads.ahead.wait(origin.segment, self.position, least)
            && let Some((Loaded::Bytes(bytes), _)) = self.ahead(origin, reads)
        {
            return Ok(Some(bytes));
        }
        // Not before: the pages of a piece that is being read are in the page cache for as long as that takes.
        if self.is_mostly_cached(origin, reads, len) {
            return Ok(None);
        }
        let left = origin.segment_bytes.saturating_sub(self.position);
        let piece = STEP_BYTES.max(len as u64).min(left) as usize;
        if piece < len || !reads.ahead.reserve(piece) {
            return Ok(None);
        }
        let mut bytes = reads.ahead.buffer(piece);
        let read = reads.read_once(&*self.file, &mut bytes, self.position);
        match read {
            Ok(read) if read >= len => {
                bytes.truncate(read);
                reads.count_cold(read);
                let bytes = reads.ahead.insert(origin.segment, self.position, bytes, piece);
                Ok(Some(bytes.slice(..len)))
            }
            other => {
                reads.ahead.give_back(piece);
                other.and_then(|_| Err(ended()))
            }
        }
    }

    /// Brings the range into the page cache.
    fn warm(&self, len: usize) -> io::Result<()> {
        let mut scratch = vec![0; WARM_BYTES.min(len)];
        let mut done = 0;
        while done < len {
            let want = scratch.len().min(len - done);
            match self.file.pread(&mut scratch[..want], self.position + done as u64)? {
                0 => return Err(ended()),
                read => done += read,
            }
        }
        Ok(())
    }

    /// Appends the range to `out`. Bytes that are gone by a truncation since are left out.
    ///
    /// # Errors
    /// As [`DiskFile::pread`].
    pub fn read_into(&self, out: &mut Vec<u8>) -> io::Result<usize> {
        let start = out.len();
        out.resize(start + self.len, 0);
        let read = read_full(&*self.file, &mut out[start..], self.position);
        out.truncate(start + *read.as_ref().unwrap_or(&0));
        read
    }

    /// The range as bytes.
    ///
    /// # Errors
    /// As [`DiskFile::pread`].
    pub fn to_vec(&self) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(self.len);
        self.read_into(&mut out)?;
        Ok(out)
    }
}
