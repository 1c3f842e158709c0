//! HOT: how the bytes of a read come into memory.
//!
//! What is in the page cache is read where the caller is; what is not would make it wait for the device, and a caller
//! that may not wait is told so ([`std::io::ErrorKind::WouldBlock`]). Readers far behind the end of their log, whose
//! bytes are in nobody's memory, are served from large pieces that are read past the page cache, so that they do not
//! push out what everybody else reads (KAFKA-7504). No thread is started here: who has threads calls what waits.

mod ahead;
mod slice;

#[cfg(test)]
mod tests;

pub use ahead::ReadAhead;
pub use slice::{FetchSlice, Loaded};

pub(crate) use slice::Origin;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::disk::{DiskFile, read_full};
use ahead::Ahead;

/// Where a file system does not tell what is in memory, so much of the end of the active segment counts as if it were:
/// it was written a moment ago.
pub(crate) const HOT_TAIL_BYTES: u64 = 16 << 20;

/// A reader that is more than this behind the end of its log is catching up, unless its bytes are in memory.
pub(crate) const CATCH_UP_BYTES: u64 = 64 << 20;

/// What one log directory knows of its reads.
#[derive(Debug, Default)]
pub(crate) struct DirReads {
    pub(crate) ahead: Ahead,
    /// The file system does not tell what is in memory.
    cannot_tell: AtomicBool,
    /// The file system cannot read without keeping.
    cannot_forget: AtomicBool,
    cold_reads: AtomicU64,
    cold_bytes: AtomicU64,
}

impl DirReads {
    /// Reads that had to wait for the device, and their bytes.
    pub(crate) fn cold(&self) -> (u64, u64) {
        (self.cold_reads.load(Ordering::Relaxed), self.cold_bytes.load(Ordering::Relaxed))
    }

    fn count_cold(&self, bytes: usize) {
        self.cold_reads.fetch_add(1, Ordering::Relaxed);
        self.cold_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Fills `buffer` past the page cache where that can be done. Returns the bytes up to the end of the file.
    fn read_once(&self, file: &dyn DiskFile, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() && !self.cannot_forget.load(Ordering::Relaxed) {
            match file.pread_once(&mut buffer[read..], position + read as u64) {
                Ok(0) => return Ok(read),
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    self.cannot_forget.store(true, Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(read + read_full(file, &mut buffer[read..], position + read as u64)?)
    }
}

/// Reads of one segment that do not wait for the device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CachedReads<'r> {
    pub(crate) dir: &'r DirReads,
    pub(crate) segment: u64,
    /// From here on bytes count as being in memory where the file system does not tell.
    pub(crate) hot_from: u64,
}

impl CachedReads<'_> {
    /// Reads what is in memory of a range, up to the end of the file. Fewer than `least` bytes are
    /// [`io::ErrorKind::WouldBlock`] unless the file ends there.
    pub(crate) fn read(
        &self,
        file: &dyn DiskFile,
        buffer: &mut [u8],
        position: u64,
        least: usize,
    ) -> io::Result<usize> {
        let mut read = self.dir.ahead.copy(self.segment, position, buffer);
        while read < buffer.len() {
            match self.pread(file, &mut buffer[read..], position + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && read >= least => break,
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn pread(&self, file: &dyn DiskFile, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        if !self.dir.cannot_tell.load(Ordering::Relaxed) {
            match file.pread_cached(buffer, position) {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    self.dir.cannot_tell.store(true, Ordering::Relaxed);
                }
                other => return other,
            }
        }
        if position >= self.hot_from {
            file.pread(buffer, position)
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    /// Whether more than half of a range is in memory, as far as can be told.
    fn is_mostly_cached(&self, file: &dyn DiskFile, position: u64, len: u64) -> bool {
        self.cached_bytes(file, position, len).is_ok_and(|cached| cached > len / 2)
    }

    /// How many bytes of a range are in memory, as far as can be told: `len` when all of them are.
    fn cached_bytes(&self, file: &dyn DiskFile, position: u64, len: u64) -> io::Result<u64> {
        if !self.dir.cannot_tell.load(Ordering::Relaxed) {
            match file.cached_bytes(position, len) {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    self.dir.cannot_tell.store(true, Ordering::Relaxed);
                }
                other => return other,
            }
        }
        Ok(if position >= self.hot_from { len } else { 0 })
    }
}
