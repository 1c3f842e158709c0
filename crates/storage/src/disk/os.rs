//! The real file system.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::{DirEntry, DirLock, Disk, DiskFile, Metadata, OpenMode};

#[cfg(target_os = "linux")]
mod linux;

/// The file system of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDisk;

#[derive(Debug)]
struct OsFile(File);

#[derive(Debug)]
struct OsLock(#[expect(dead_code, reason = "the lock lives as long as the descriptor")] File);

impl DirLock for OsLock {}

fn ignore_not_found(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

impl Disk for OsDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        if mode == OpenMode::ReadWrite {
            options.write(true).create(true).truncate(false);
        }
        Ok(Arc::new(OsFile(options.open(path)?)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn fsync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        ignore_not_found(fs::remove_file(path))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        ignore_not_found(fs::remove_dir_all(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Removed since the directory was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            entries.push(DirEntry {
                name: entry.file_name().to_string_lossy().into_owned(),
                is_dir: metadata.is_dir(),
                len: metadata.len(),
            });
        }
        entries.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(entries)
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(Metadata {
                is_dir: metadata.is_dir(),
                len: metadata.len(),
                modified_ms: metadata
                    .modified()?
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |elapsed| elapsed.as_millis() as i64),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        // Kafka locks with `FileChannel.tryLock`, which is a POSIX record lock; taking the same kind keeps a Java
        // broker out of a directory that is in use, and `flock` beside it keeps out other files of this process.
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
        // SAFETY: an all-zero `flock` is a valid value of this plain C struct.
        let mut region: libc::flock = unsafe { std::mem::zeroed() };
        region.l_type = libc::F_WRLCK as libc::c_short;
        region.l_whence = libc::SEEK_SET as libc::c_short;
        // SAFETY: the descriptor is open for the whole call, and `region` is a valid `flock` that outlives it.
        let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &region) };
        if result != 0 {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::EACCES | libc::EAGAIN) => Ok(None),
                _ => Err(error),
            };
        }
        Ok(Some(Box::new(OsLock(file))))
    }

    fn space(&self, path: &Path) -> io::Result<Option<(u64, u64)>> {
        let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: an all-zero `statvfs` is a valid value of this plain C struct.
        let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
        // SAFETY: `path` is a C string and `stat` a valid place to write to; both outlive the call.
        if unsafe { libc::statvfs(path.as_ptr(), &mut stat) } != 0 {
            return Err(io::Error::last_os_error());
        }
        #[expect(clippy::useless_conversion, reason = "the width differs between systems")]
        let (unit, total, usable): (u64, u64, u64) =
            (stat.f_frsize.into(), stat.f_blocks.into(), stat.f_bavail.into());
        Ok(Some((unit.saturating_mul(total), unit.saturating_mul(usable))))
    }
}

impl DiskFile for OsFile {
    fn pread(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buffer, position) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    #[cfg(target_os = "linux")]
    fn pread_cached(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        linux::pread_with(&self.0, buffer, position, libc::RWF_NOWAIT)
    }

    #[cfg(target_os = "linux")]
    fn cached_bytes(&self, position: u64, len: u64) -> io::Result<u64> {
        linux::cached_bytes(&self.0, position, len)
    }

    #[cfg(target_os = "linux")]
    fn pread_once(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        linux::pread_with(&self.0, buffer, position, libc::RWF_DONTCACHE)
    }

    fn pwrite_all(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, position)
    }

    fn pwrite_all_of_two(&self, parts: [&[u8]; 2], position: u64) -> io::Result<()> {
        let [first, second] = parts;
        let Ok(offset) = libc::off_t::try_from(position) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let buffers = [io::IoSlice::new(first), io::IoSlice::new(second)];
        let count = buffers.len() as libc::c_int;
        // SAFETY: an `IoSlice` has the layout of an `iovec` and points to bytes that live longer than the call, and the
        // descriptor is open for all of it.
        let written = unsafe { libc::pwritev(self.0.as_raw_fd(), buffers.as_ptr().cast(), count, offset) };
        // What is left after an interruption or a short write is seldom: it goes the plain way.
        let written = match usize::try_from(written) {
            Ok(written) => written,
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => 0,
                error => return Err(error),
            },
        };
        let after_first = written.saturating_sub(first.len());
        let rest_of_first = first.get(written..).unwrap_or_default();
        if !rest_of_first.is_empty() {
            self.0.write_all_at(rest_of_first, position + written as u64)?;
        }
        let rest_of_second = second.get(after_first..).unwrap_or_default();
        if rest_of_second.is_empty() {
            return Ok(());
        }
        self.0.write_all_at(rest_of_second, position + (first.len() + after_first) as u64)
    }

    #[cfg(target_os = "linux")]
    fn start_writeback(&self, position: u64, len: u64) {
        linux::start_writeback(&self.0, position, len);
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        let size = libc::off_t::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: the descriptor is open for the whole call, which takes no pointers.
        let code = unsafe { libc::posix_fallocate(self.0.as_raw_fd(), 0, size) };
        match code {
            0 => Ok(()),
            // Some file systems cannot reserve; a longer file serves as well.
            libc::EOPNOTSUPP | libc::EINVAL => self.0.set_len(len),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }

    fn set_modified_ms(&self, modified_ms: i64) -> io::Result<()> {
        let since = Duration::from_millis(u64::try_from(modified_ms).unwrap_or(0));
        self.0.set_modified(UNIX_EPOCH + since)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn raw_fd(&self) -> Option<RawFd> {
        Some(self.0.as_raw_fd())
    }
}
