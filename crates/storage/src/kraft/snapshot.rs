//! Metadata snapshots: `<end offset>-<epoch>.checkpoint`, written beside as `.checkpoint.part` and renamed.
//!
//! Source: Kafka `Snapshots`, `FileRawSnapshotWriter`; KIP-630.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, FetchSlice, OpenMode};

const SUFFIX: &str = ".checkpoint";
const PARTIAL_SUFFIX: &str = ".checkpoint.part";
const DELETE_SUFFIX: &str = ".checkpoint.deleted";

/// What a snapshot holds: everything below the end offset, of which the last record has the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId {
    /// Offset after the last record.
    pub end_offset: i64,
    /// Epoch of the last record.
    pub epoch: i32,
}

impl SnapshotId {
    /// The snapshot that a node is formatted with.
    pub const BOOTSTRAP: SnapshotId = SnapshotId { end_offset: 0, epoch: 0 };

    fn stem(self) -> String {
        format!("{:020}-{:010}", self.end_offset, self.epoch)
    }

    /// The name of its file.
    pub fn file_name(self) -> String {
        format!("{}{SUFFIX}", self.stem())
    }

    /// The snapshot of a file name; none for other files, and for those that are not complete or marked as deleted.
    pub fn parse(name: &str) -> Option<Self> {
        Self::parse_stem(name.strip_suffix(SUFFIX)?)
    }

    fn parse_stem(stem: &str) -> Option<Self> {
        let (offset, epoch) = stem.split_at_checked(20)?;
        let epoch = epoch.strip_prefix('-')?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if epoch.len() != 10 || !digits(offset) || !digits(epoch) {
            return None;
        }
        Some(SnapshotId { end_offset: offset.parse().ok()?, epoch: epoch.parse().ok()? })
    }
}

/// The snapshots of a metadata log.
#[derive(Debug, Clone)]
pub struct SnapshotFiles {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl SnapshotFiles {
    /// The snapshots in the metadata log's directory.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path) -> Self {
        SnapshotFiles { disk, dir: dir.to_path_buf() }
    }

    fn path(&self, id: SnapshotId) -> PathBuf {
        self.dir.join(id.file_name())
    }

    /// The complete snapshots, ascending. What an interrupted write or deletion left is removed.
    ///
    /// # Errors
    /// The disk.
    pub fn list(&self) -> io::Result<Vec<SnapshotId>> {
        let mut found = Vec::new();
        for entry in self.disk.list(&self.dir)?.iter().filter(|entry| !entry.is_dir) {
            let leftover = [PARTIAL_SUFFIX, DELETE_SUFFIX]
                .iter()
                .filter_map(|suffix| entry.name.strip_suffix(suffix))
                .any(|stem| SnapshotId::parse_stem(stem.get(..31).unwrap_or(stem)).is_some());
            if leftover {
                self.disk.remove_file(&self.dir.join(&entry.name))?;
            } else {
                found.extend(SnapshotId::parse(&entry.name));
            }
        }
        found.sort();
        Ok(found)
    }

    /// A complete snapshot as a range of a file; none when it is not there.
    ///
    /// # Errors
    /// The disk.
    pub fn open(&self, id: SnapshotId) -> io::Result<Option<FetchSlice>> {
        let path = self.path(id);
        if self.disk.metadata(&path)?.is_none() {
            return Ok(None);
        }
        let file = self.disk.open(&path, OpenMode::Read)?;
        let len = file.len()? as usize;
        Ok(Some(FetchSlice::new(file, 0, len)))
    }

    /// Reads a complete snapshot of at most `max_bytes`; none when it is not there.
    ///
    /// # Errors
    /// The disk.
    pub fn read(&self, id: SnapshotId, max_bytes: u64) -> io::Result<Option<Vec<u8>>> {
        self.disk.read(&self.path(id), max_bytes)
    }

    /// Starts to write a snapshot.
    ///
    /// # Errors
    /// The disk.
    pub fn create(&self, id: SnapshotId) -> io::Result<SnapshotWriter> {
        let partial = self.dir.join(format!("{}{PARTIAL_SUFFIX}", id.stem()));
        let file = self.disk.open(&partial, OpenMode::ReadWrite)?;
        file.truncate(0)?;
        Ok(SnapshotWriter {
            disk: Arc::clone(&self.disk),
            dir: self.dir.clone(),
            partial,
            complete: self.path(id),
            file,
            size: 0,
        })
    }

    /// Removes a snapshot.
    ///
    /// # Errors
    /// The disk.
    pub fn delete(&self, id: SnapshotId) -> io::Result<()> {
        let renamed = self.dir.join(format!("{}{DELETE_SUFFIX}", id.stem()));
        match self.disk.rename(&self.path(id), &renamed) {
            Ok(()) => self.disk.remove_file(&renamed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A snapshot that is being written. It does not exist before [`SnapshotWriter::freeze`].
#[derive(Debug)]
pub struct SnapshotWriter {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    partial: PathBuf,
    complete: PathBuf,
    file: Arc<dyn DiskFile>,
    size: u64,
}

impl SnapshotWriter {
    /// Appends bytes, whole batches or parts of them.
    ///
    /// # Errors
    /// The disk.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.pwrite_all(bytes, self.size)?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Makes the snapshot durable and gives it its name.
    ///
    /// # Errors
    /// The disk; the snapshot is then not there.
    pub fn freeze(self) -> io::Result<()> {
        self.file.sync_all()?;
        self.disk.rename(&self.partial, &self.complete)?;
        self.disk.fsync_dir(&self.dir)
    }

    /// Gives up.
    ///
    /// # Errors
    /// The disk.
    pub fn abort(self) -> io::Result<()> {
        self.disk.remove_file(&self.partial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::OsDisk;

    #[test]
    fn names_are_kafkas() {
        let id = SnapshotId { end_offset: 172, epoch: 1 };
        assert_eq!(id.file_name(), "00000000000000000172-0000000001.checkpoint");
        assert_eq!(SnapshotId::parse(&id.file_name()), Some(id));
        assert_eq!(SnapshotId::parse("bootstrap.checkpoint"), None);
        assert_eq!(SnapshotId::parse("00000000000000000172-0000000001.checkpoint.part"), None);
    }

    #[test]
    fn a_snapshot_is_there_once_it_is_frozen() {
        let dir = tempfile::tempdir().expect("a directory");
        let files = SnapshotFiles::new(Arc::new(OsDisk), dir.path());
        let id = SnapshotId { end_offset: 10, epoch: 2 };
        let mut writer = files.create(id).expect("creates");
        writer.append(b"abc").expect("appends");
        assert_eq!(files.open(id).expect("opens").map(|slice| slice.len), None);
        writer.append(b"def").expect("appends");
        writer.freeze().expect("freezes");
        assert_eq!(files.read(id, 100).expect("reads").as_deref(), Some(&b"abcdef"[..]));
        drop(files.create(SnapshotId { end_offset: 20, epoch: 2 }).expect("creates"));
        assert_eq!(files.list().expect("lists"), [id]);
        files.delete(id).expect("deletes");
        assert_eq!(files.list().expect("lists"), []);
    }
}
