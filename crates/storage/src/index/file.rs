//! The file of an index. It can be read whenever it is needed, so that what was read may go at any time.
//!
//! No descriptor is kept: a node with ten thousand partitions has two such files for each, and descriptors are few.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::memory::IndexMemory;
use crate::disk::{Disk, DiskFile, OpenMode, read_full};
use crate::error::CorruptFile;

/// The largest index that is read into memory. `segment.index.bytes` is 10 MiB by default; a file that claims more than
/// this, perhaps with holes, is none of ours.
const MAX_INDEX_BYTES: u64 = 1 << 30;

/// An index file of which perhaps the content is in memory. Who changes the file calls [`IndexFile::take`] or
/// [`IndexFile::forget`] first, and lets nobody read until its own entries are what counts.
#[derive(Debug)]
pub(crate) struct IndexFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    memory: Arc<IndexMemory>,
    id: u64,
}

impl IndexFile {
    pub(crate) fn new(disk: Arc<dyn Disk>, memory: &Arc<IndexMemory>, path: PathBuf) -> Self {
        let id = memory.new_id();
        IndexFile { disk, path, memory: Arc::clone(memory), id }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn exists(&self) -> io::Result<bool> {
        Ok(self.disk.metadata(&self.path)?.is_some())
    }

    /// Opens the file for writing, making it when it is not there.
    pub(super) fn open(&self) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(&self.path, OpenMode::ReadWrite)
    }

    /// The content: as it is kept, or read now and kept. Nothing when there is no file.
    pub(super) fn read(&self) -> io::Result<Bytes> {
        if let Some(bytes) = self.cached() {
            return Ok(bytes);
        }
        let bytes = self.read_from_disk()?;
        self.memory.put(self.id, bytes.clone());
        Ok(bytes)
    }

    /// The content, when it is kept.
    pub(super) fn cached(&self) -> Option<Bytes> {
        self.memory.get(self.id)
    }

    /// The content, for an owner who keeps it.
    pub(super) fn take(&self) -> io::Result<Bytes> {
        let bytes = match self.cached() {
            Some(bytes) => bytes,
            None => self.read_from_disk()?,
        };
        self.forget();
        Ok(bytes)
    }

    /// Lets go of the content.
    pub(super) fn forget(&self) {
        self.memory.remove(self.id);
    }

    fn read_from_disk(&self) -> io::Result<Bytes> {
        if !self.exists()? {
            return Ok(Bytes::new());
        }
        let file = self.disk.open(&self.path, OpenMode::Read)?;
        let mut bytes = match file.len()? {
            len @ 0..=MAX_INDEX_BYTES => vec![0; len as usize],
            len => return Err(CorruptFile::error(&self.path, None, format!("an index of {len} bytes"))),
        };
        let read = read_full(&*file, &mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes.into())
    }
}

impl Drop for IndexFile {
    fn drop(&mut self) {
        self.forget();
    }
}
