//! Walking the batches of a `.log` file, header by header or whole.

use std::io;
use std::path::Path;

use ottla_protocol::records::{Batch, BatchHeader, RecordsError, layout};

use crate::disk::{DiskFile, read_full};
use crate::error::CorruptFile;
use crate::reading::CachedReads;

/// Bytes read at once where only headers are wanted: two index intervals.
pub(crate) const HEADER_CHUNK: usize = 8 * 1024;
/// Bytes read at once where every batch is wanted.
pub(crate) const BATCH_CHUNK: usize = 1 << 20;

/// Why a walk ended before the end.
#[derive(Debug)]
pub(crate) enum ScanError {
    Io(io::Error),
    /// What is at a position is no batch.
    Corrupt {
        position: u64,
        error: RecordsError,
    },
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> Self {
        ScanError::Io(error)
    }
}

impl ScanError {
    pub(crate) fn into_io(self, path: &Path) -> io::Error {
        match self {
            ScanError::Io(error) => error,
            ScanError::Corrupt { position, error } => CorruptFile::error(path, Some(position), error),
        }
    }
}

/// A walk over the batches of a file from one position to another.
pub(crate) struct Scan<'f> {
    file: &'f dyn DiskFile,
    /// Where the next batch starts.
    position: u64,
    end: u64,
    buffer: Vec<u8>,
    buffer_start: u64,
    chunk: usize,
    /// Only what is in memory is read.
    cached: Option<CachedReads<'f>>,
}

impl<'f> Scan<'f> {
    pub(crate) fn new(file: &'f dyn DiskFile, position: u64, end: u64, chunk: usize) -> Self {
        Scan { file, position, end, buffer: Vec::new(), buffer_start: position, chunk, cached: None }
    }

    /// Lets the walk end with [`io::ErrorKind::WouldBlock`] where it would wait for the device.
    pub(crate) fn cached(self, reads: Option<CachedReads<'f>>) -> Self {
        Scan { cached: reads, ..self }
    }

    /// The bytes from `position` on, `wanted` of them or fewer at the end of the file.
    fn fill(&mut self, position: u64, wanted: usize) -> io::Result<&[u8]> {
        let have = self.buffer_start + self.buffer.len() as u64;
        if position < self.buffer_start || position + wanted as u64 > have {
            let left = self.end.saturating_sub(position);
            let size = (wanted.max(self.chunk) as u64).min(left) as usize;
            self.buffer.resize(size, 0);
            let read = match &self.cached {
                None => read_full(self.file, &mut self.buffer, position)?,
                Some(reads) => reads.read(self.file, &mut self.buffer, position, wanted)?,
            };
            self.buffer.truncate(read);
            self.buffer_start = position;
        }
        let start = (position - self.buffer_start) as usize;
        let bytes = self.buffer.get(start..).unwrap_or_default();
        Ok(&bytes[..bytes.len().min(wanted)])
    }

    /// The header of the next batch and where it starts; none at the end or before an incomplete batch.
    pub(crate) fn next_header(&mut self) -> Result<Option<(u64, BatchHeader)>, ScanError> {
        let position = self.position;
        let left = self.end.saturating_sub(position);
        let bytes = self.fill(position, layout::RECORD_BATCH_OVERHEAD)?;
        if bytes.len() < layout::HEADER_SIZE_UP_TO_MAGIC {
            return Ok(None);
        }
        let header = match BatchHeader::parse(bytes) {
            Ok(header) => header,
            // The file ends within the header of a batch that says it is longer.
            Err(RecordsError::BatchTooSmall { .. }) if bytes.len() < layout::RECORD_BATCH_OVERHEAD => {
                return Ok(None);
            }
            Err(error) => return Err(ScanError::Corrupt { position, error }),
        };
        if header.size as u64 > left {
            return Ok(None);
        }
        self.position = position + header.size as u64;
        Ok(Some((position, header)))
    }

    /// The next batch, whole. The file bounds what is read: a batch that is longer than what is left is incomplete.
    pub(crate) fn next_batch(&mut self) -> Result<Option<(u64, Batch<'_>)>, ScanError> {
        let Some((position, header)) = self.next_header()? else { return Ok(None) };
        let bytes = self.fill(position, header.size)?;
        let batch = Batch::parse(bytes).map_err(|error| ScanError::Corrupt { position, error })?;
        Ok(Some((position, batch)))
    }
}
