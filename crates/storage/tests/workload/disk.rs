//! The real file system without waiting for it, which ends at a given step as a process does that is killed.

use std::io;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_storage::disk::{DirEntry, DirLock, Disk, DiskFile, Metadata, OpenMode, OsDisk};

/// Steps that change something, and the one from which on nothing works any more.
#[derive(Debug)]
pub struct Steps {
    taken: AtomicU64,
    last: AtomicU64,
}

impl Steps {
    fn take(&self) -> io::Result<()> {
        let step = self.taken.fetch_add(1, Ordering::SeqCst);
        if step < self.last.load(Ordering::SeqCst) { Ok(()) } else { Err(io::Error::other("killed")) }
    }

    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::SeqCst)
    }

    /// Lets `count` more steps happen.
    pub fn end_after(&self, count: u64) {
        self.last.store(self.taken().saturating_add(count), Ordering::SeqCst);
    }
}

#[derive(Debug)]
pub struct SteppedDisk {
    disk: OsDisk,
    pub steps: Arc<Steps>,
}

#[derive(Debug)]
struct SteppedFile(Arc<dyn DiskFile>, Arc<Steps>);

impl SteppedDisk {
    pub fn new() -> Arc<Self> {
        let steps = Steps { taken: AtomicU64::new(0), last: AtomicU64::new(u64::MAX) };
        Arc::new(SteppedDisk { disk: OsDisk, steps: Arc::new(steps) })
    }
}

impl Disk for SteppedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        if mode == OpenMode::ReadWrite && self.disk.metadata(path)?.is_none() {
            self.steps.take()?;
        }
        Ok(Arc::new(SteppedFile(self.disk.open(path, mode)?, Arc::clone(&self.steps))))
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }
    fn fsync_dir(&self, _: &Path) -> io::Result<()> {
        self.steps.take()
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.steps.take()?;
        self.disk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        if self.disk.metadata(path)?.is_some() {
            self.steps.take()?;
        }
        self.disk.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.steps.take()?;
        self.disk.remove_dir_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.list(path)
    }
    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        self.disk.metadata(path)
    }
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        self.disk.try_lock(path)
    }
    fn space(&self, path: &Path) -> io::Result<Option<(u64, u64)>> {
        self.disk.space(path)
    }
}

impl DiskFile for SteppedFile {
    fn pread(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.pread(buffer, position)
    }
    fn pwrite_all(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.1.take()?;
        self.0.pwrite_all(bytes, position)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.1.take()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.1.take()
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.1.take()?;
        self.0.truncate(len)
    }
    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.0.preallocate(len)
    }
    fn set_modified_ms(&self, modified_ms: i64) -> io::Result<()> {
        self.0.set_modified_ms(modified_ms)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn raw_fd(&self) -> Option<RawFd> {
        self.0.raw_fd()
    }
}
