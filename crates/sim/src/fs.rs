//! The simulated disk behind the seam that storage uses.

use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use ottla_storage::disk::{DirEntry, DirLock, Disk, DiskFile, Metadata, OpenMode};
use ottla_testkit::disk::{Handle, SimDisk, SimError, Stat};

/// A file system in memory. Clones share it.
#[derive(Clone)]
pub struct SimFs(Arc<Mutex<SimDisk>>);

impl fmt::Debug for SimFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimFs")
    }
}

fn error(error: SimError) -> io::Error {
    match error {
        SimError::NotFound => io::ErrorKind::NotFound.into(),
        SimError::WrongKind => io::Error::other("a directory where a file should be, or the other way round"),
        SimError::Io => io::Error::other("input/output error"),
        SimError::NoSpace => io::ErrorKind::StorageFull.into(),
        SimError::Down => io::Error::other("the machine is down"),
    }
}

impl SimFs {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        SimFs(Arc::new(Mutex::new(SimDisk::new(seed))))
    }

    /// The disk itself.
    pub fn disk(&self) -> MutexGuard<'_, SimDisk> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[derive(Debug)]
struct SimFile {
    fs: SimFs,
    handle: Handle,
}

#[derive(Debug)]
struct SimLock {
    fs: SimFs,
    path: PathBuf,
    boot: u64,
}

impl DirLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.fs.disk().unlock(&self.path, self.boot);
    }
}

fn metadata(stat: Stat) -> Metadata {
    Metadata { is_dir: stat.is_dir, len: stat.len, modified_ms: stat.modified_ms }
}

impl Disk for SimFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let handle = self.disk().open(path, mode == OpenMode::ReadWrite).map_err(error)?;
        Ok(Arc::new(SimFile { fs: self.clone(), handle }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk().create_dir_all(path).map_err(error)
    }

    fn fsync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk().sync_dir(path).map_err(error)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk().rename(from, to).map_err(error)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk().remove_file(path).map_err(error)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk().remove_dir_all(path).map_err(error)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let entries = self.disk().list(path).map_err(error)?;
        Ok(entries
            .into_iter()
            .map(|(name, stat)| DirEntry { name, is_dir: stat.is_dir, len: stat.len })
            .collect())
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        Ok(self.disk().metadata(path).map_err(error)?.map(metadata))
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        let mut disk = self.disk();
        let taken = disk.lock(path).map_err(error)?;
        let boot = disk.boot();
        drop(disk);
        let lock = || SimLock { fs: self.clone(), path: path.to_path_buf(), boot };
        Ok(taken.then(|| Box::new(lock()) as Box<dyn DirLock>))
    }

    fn space(&self, _path: &Path) -> io::Result<Option<(u64, u64)>> {
        Ok(None)
    }
}

impl DiskFile for SimFile {
    fn pread(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.fs.disk().read(self.handle, buffer, position).map_err(error)
    }

    fn pread_cached(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let read = self.fs.disk().read_cached(self.handle, buffer, position).map_err(error)?;
        read.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    fn cached_bytes(&self, _position: u64, len: u64) -> io::Result<u64> {
        Ok(self.fs.disk().cached_bytes(len))
    }

    fn pread_once(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.pread(buffer, position)
    }

    fn pwrite_all(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.fs.disk().write(self.handle, bytes, position).map_err(error)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.fs.disk().sync(self.handle).map_err(error)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.fs.disk().sync(self.handle).map_err(error)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.fs.disk().truncate(self.handle, len).map_err(error)
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.truncate(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.fs.disk().len(self.handle).map_err(error)
    }

    fn raw_fd(&self) -> Option<RawFd> {
        None
    }
}
