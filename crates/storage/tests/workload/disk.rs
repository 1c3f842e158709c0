//! The real file system without waiting for it, which ends at a given step as a process does that is killed.

use std::io;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla_storage::disk::{DirEntry, DirLock, Disk, DiskFile, Metadata, OpenMode, OsDisk};

/// What is wrong with a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Writes fail with an I/O error.
    Write,
    /// Syncs do.
    Sync,
    /// Reads do.
    Read,
    /// Nothing can be changed.
    ReadOnly,
    /// Writes find no space.
    Full,
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            Fault::Write | Fault::Sync | Fault::Read => io::Error::other("input/output error"),
            Fault::ReadOnly => io::ErrorKind::ReadOnlyFilesystem.into(),
            Fault::Full => io::ErrorKind::StorageFull.into(),
        }
    }
}

/// Steps that change something, and the one from which on nothing works any more.
#[derive(Debug)]
pub struct Steps {
    taken: AtomicU64,
    last: AtomicU64,
    fault: Mutex<Option<(PathBuf, Fault)>>,
    slow: Mutex<Option<(&'static str, Duration)>>,
}

impl Steps {
    /// Lets a directory have a fault, or none again.
    pub fn set_fault(&self, fault: Option<(&Path, Fault)>) {
        *self.fault.lock().expect("a lock") = fault.map(|(path, fault)| (path.to_path_buf(), fault));
    }

    /// Lets whoever is about to open a file of this suffix for reading wait, or to sync such a directory.
    pub fn slow_down(&self, suffix: &'static str, delay: Duration) {
        *self.slow.lock().expect("a lock") = Some((suffix, delay));
    }

    fn wait(&self, path: &Path) {
        let slow = *self.slow.lock().expect("a lock");
        if let Some((_, delay)) = slow.filter(|(suffix, _)| path.to_string_lossy().ends_with(suffix)) {
            std::thread::sleep(delay);
        }
    }

    fn check(&self, path: &Path, faults: &[Fault]) -> io::Result<()> {
        match &*self.fault.lock().expect("a lock") {
            Some((dir, fault)) if path.starts_with(dir) && faults.contains(fault) => Err(fault.error()),
            _ => Ok(()),
        }
    }

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
struct SteppedFile(Arc<dyn DiskFile>, Arc<Steps>, PathBuf);

impl SteppedDisk {
    pub fn new() -> Arc<Self> {
        let steps = Steps {
            taken: AtomicU64::new(0),
            last: AtomicU64::new(u64::MAX),
            fault: Mutex::default(),
            slow: Mutex::default(),
        };
        Arc::new(SteppedDisk { disk: OsDisk, steps: Arc::new(steps) })
    }
}

impl Disk for SteppedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        if mode == OpenMode::ReadWrite && self.disk.metadata(path)?.is_none() {
            self.steps.take()?;
        }
        if mode == OpenMode::ReadWrite {
            self.steps.check(path, &[Fault::ReadOnly])?;
        }
        if mode == OpenMode::Read {
            self.steps.wait(path);
        }
        let file = self.disk.open(path, mode)?;
        Ok(Arc::new(SteppedFile(file, Arc::clone(&self.steps), path.to_path_buf())))
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.steps.check(path, &[Fault::ReadOnly, Fault::Full])?;
        self.disk.create_dir_all(path)
    }
    fn fsync_dir(&self, path: &Path) -> io::Result<()> {
        self.steps.check(path, &[Fault::Sync])?;
        self.steps.wait(path);
        self.disk.metadata(path)?.ok_or(io::ErrorKind::NotFound)?;
        self.steps.take()
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.steps.check(from, &[Fault::ReadOnly, Fault::Write])?;
        self.steps.take()?;
        self.disk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        if self.disk.metadata(path)?.is_some() {
            self.steps.check(path, &[Fault::ReadOnly])?;
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
        self.1.check(&self.2, &[Fault::Read])?;
        self.0.pread(buffer, position)
    }
    fn pwrite_all(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        if self.1.check(&self.2, &[Fault::Full]).is_err() {
            self.0.pwrite_all(&bytes[..bytes.len() / 2], position)?;
        }
        self.1.check(&self.2, &[Fault::Write, Fault::ReadOnly, Fault::Full])?;
        self.1.take()?;
        self.0.pwrite_all(bytes, position)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.1.check(&self.2, &[Fault::Sync])?;
        self.1.take()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.1.check(&self.2, &[Fault::Sync])?;
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
