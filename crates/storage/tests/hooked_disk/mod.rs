//! The machine's disk with a test in between: what a test does not care for passes.
#![allow(dead_code)]

use std::fmt::Debug;
use std::io;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_storage::disk::{DirEntry, DirLock, Disk, DiskFile, Metadata, OpenMode, OsDisk};

/// What a test does on the way to the disk.
pub trait Hooks: Debug + Send + Sync + 'static {
    /// Before a file is opened.
    fn opening(&self, path: &Path) -> io::Result<()> {
        let _ = path;
        Ok(())
    }

    /// Before a file is synced, with its metadata or without.
    fn syncing(&self, path: &Path) -> io::Result<()> {
        let _ = path;
        Ok(())
    }

    fn pread(&self, file: &dyn DiskFile, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        file.pread(buffer, position)
    }

    fn pread_cached(&self, file: &dyn DiskFile, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        file.pread_cached(buffer, position)
    }

    fn cached_bytes(&self, file: &dyn DiskFile, position: u64, len: u64) -> io::Result<u64> {
        file.cached_bytes(position, len)
    }

    fn pread_once(&self, file: &dyn DiskFile, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        file.pread_once(buffer, position)
    }

    fn pwrite_all(&self, file: &dyn DiskFile, bytes: &[u8], position: u64) -> io::Result<()> {
        file.pwrite_all(bytes, position)
    }

    fn start_writeback(&self, file: &dyn DiskFile, position: u64, len: u64) {
        file.start_writeback(position, len);
    }
}

#[derive(Debug)]
pub struct HookedDisk<H>(pub Arc<H>);

#[derive(Debug)]
struct HookedFile<H> {
    inner: Arc<dyn DiskFile>,
    path: PathBuf,
    hooks: Arc<H>,
}

impl<H: Hooks> Disk for HookedDisk<H> {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.0.opening(path)?;
        let inner = OsDisk.open(path, mode)?;
        Ok(Arc::new(HookedFile { inner, path: path.to_path_buf(), hooks: Arc::clone(&self.0) }))
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        OsDisk.create_dir_all(path)
    }
    fn fsync_dir(&self, path: &Path) -> io::Result<()> {
        OsDisk.fsync_dir(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove_dir_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        OsDisk.list(path)
    }
    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        OsDisk.metadata(path)
    }
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        OsDisk.try_lock(path)
    }
    fn space(&self, path: &Path) -> io::Result<Option<(u64, u64)>> {
        OsDisk.space(path)
    }
}

impl<H: Hooks> DiskFile for HookedFile<H> {
    fn pread(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.hooks.pread(&*self.inner, buffer, position)
    }
    fn pread_cached(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.hooks.pread_cached(&*self.inner, buffer, position)
    }
    fn cached_bytes(&self, position: u64, len: u64) -> io::Result<u64> {
        self.hooks.cached_bytes(&*self.inner, position, len)
    }
    fn pread_once(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.hooks.pread_once(&*self.inner, buffer, position)
    }
    fn pwrite_all(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.hooks.pwrite_all(&*self.inner, bytes, position)
    }
    fn start_writeback(&self, position: u64, len: u64) {
        self.hooks.start_writeback(&*self.inner, position, len);
    }
    fn sync_data(&self) -> io::Result<()> {
        self.hooks.syncing(&self.path)?;
        self.inner.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.hooks.syncing(&self.path)?;
        self.inner.sync_all()
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.inner.truncate(len)
    }
    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.inner.preallocate(len)
    }
    fn set_modified_ms(&self, modified_ms: i64) -> io::Result<()> {
        self.inner.set_modified_ms(modified_ms)
    }
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn raw_fd(&self) -> Option<RawFd> {
        self.inner.raw_fd()
    }
}
