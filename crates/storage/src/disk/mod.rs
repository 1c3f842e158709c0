//! The seam between storage and the machine: every byte that storage keeps goes through [`Disk`] and [`DiskFile`],
//! so that a simulated disk can take their place.

mod os;

pub use crate::reading::{FetchSlice, Loaded, ReadAhead};
pub use os::OsDisk;

use std::fmt::Debug;
use std::io;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::Arc;

use crate::mutation::{self, Mutation};

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading; the file must be there.
    Read,
    /// For reading and writing; the file is made when it is not there.
    ReadWrite,
}

/// What is known of a file or directory without opening it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Bytes of a file.
    pub len: u64,
    /// Time of the last change, milliseconds since the epoch.
    pub modified_ms: i64,
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Name within the directory.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Bytes of a file.
    pub len: u64,
}

/// An exclusive lock on a directory; it is given up when the value goes.
pub trait DirLock: Send + Sync + Debug {}

/// A file system.
pub trait Disk: Send + Sync + Debug {
    /// Opens a file.
    ///
    /// # Errors
    /// As the system says.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;

    /// Makes a directory and those above it.
    ///
    /// # Errors
    /// As the system says.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Makes the entries of a directory durable.
    ///
    /// # Errors
    /// As the system says.
    fn fsync_dir(&self, path: &Path) -> io::Result<()>;

    /// Renames a file or directory, replacing a file that has the new name.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Nothing happens when it is not there.
    ///
    /// # Errors
    /// As the system says.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory with all that is in it. Nothing happens when it is not there.
    ///
    /// # Errors
    /// As the system says.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// The entries of a directory, by name.
    ///
    /// # Errors
    /// As the system says.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;

    /// What a path is, or none when there is nothing.
    ///
    /// # Errors
    /// As the system says, except for a path that is not there.
    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>>;

    /// Takes the exclusive lock of a lock file, making the file when it is not there; none when another has it.
    ///
    /// # Errors
    /// As the system says.
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>>;

    /// Total and usable bytes of the file system that holds `path`, where that is known.
    ///
    /// # Errors
    /// As the system says.
    fn space(&self, path: &Path) -> io::Result<Option<(u64, u64)>>;

    /// Reads a whole file of at most `max_bytes`; none when it is not there.
    ///
    /// # Errors
    /// As the system says; a larger file is [`io::ErrorKind::FileTooLarge`].
    fn read(&self, path: &Path, max_bytes: u64) -> io::Result<Option<Vec<u8>>> {
        if self.metadata(path)?.is_none() {
            return Ok(None);
        }
        let file = self.open(path, OpenMode::Read)?;
        let len = file.len()?;
        if len > max_bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = vec![0; len as usize];
        let read = read_full(&*file, &mut bytes, 0)?;
        bytes.truncate(read);
        Ok(Some(bytes))
    }

    /// Puts `bytes` in the place of a file, durably and all at once: written beside it with the suffix `.tmp`,
    /// synced, renamed, and the directory synced.
    ///
    /// # Errors
    /// As the system says; the old file is then still there.
    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".tmp");
        let temporary = path.with_file_name(name);
        let file = self.open(&temporary, OpenMode::ReadWrite)?;
        file.truncate(0)?;
        file.pwrite_all(bytes, 0)?;
        if !mutation::on(Mutation::RenameBeforeSync) {
            file.sync_all()?;
        }
        drop(file);
        self.rename(&temporary, path)?;
        match path.parent() {
            Some(parent) => self.fsync_dir(parent),
            None => Ok(()),
        }
    }
}

/// An open file. Reads and writes say where, so one value serves any number of threads.
pub trait DiskFile: Send + Sync + Debug {
    /// Reads at most `buffer.len()` bytes at `position`; 0 at the end.
    ///
    /// # Errors
    /// As the system says.
    fn pread(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// As [`DiskFile::pread`], without waiting for the device: what is in memory of the range, from its start on.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when its first byte is not in memory; [`io::ErrorKind::Unsupported`] from a file
    /// system that does not tell; as the system says.
    fn pread_cached(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let _ = (buffer, position);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// How many bytes of a range are in memory, by pages: `len` when all of them are.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] from a file system that does not tell; as the system says.
    fn cached_bytes(&self, position: u64, len: u64) -> io::Result<u64> {
        let _ = (position, len);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// As [`DiskFile::pread`], for bytes that nobody will want again soon: what was not in memory is not kept there.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] from a file system that cannot; as the system says.
    fn pread_once(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let _ = (buffer, position);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Writes all of `bytes` at `position`.
    ///
    /// # Errors
    /// As the system says; some of the bytes may then be written.
    fn pwrite_all(&self, bytes: &[u8], position: u64) -> io::Result<()>;

    /// Writes all of both parts, one behind the other, from `position` on.
    ///
    /// # Errors
    /// As [`DiskFile::pwrite_all`].
    fn pwrite_all_of_two(&self, parts: [&[u8]; 2], position: u64) -> io::Result<()> {
        match parts {
            [bytes, []] => self.pwrite_all(bytes, position),
            parts => self.pwrite_all(&parts.concat(), position),
        }
    }

    /// Has the device begin to write a range, so that a sync that follows finds less to do; makes nothing durable, and
    /// waits only where the queue of the device is full. A disk that cannot does nothing.
    fn start_writeback(&self, position: u64, len: u64) {
        let _ = (position, len);
    }

    /// Makes the content durable, and what is needed to find it.
    ///
    /// # Errors
    /// As the system says. After an error nothing may be assumed about what is durable.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes content and metadata durable.
    ///
    /// # Errors
    /// As [`DiskFile::sync_data`].
    fn sync_all(&self) -> io::Result<()>;

    /// Sets the length; bytes that are added are zero and take no space.
    ///
    /// # Errors
    /// As the system says.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Reserves space up to `len`, and makes the file as long.
    ///
    /// # Errors
    /// As the system says.
    fn preallocate(&self, len: u64) -> io::Result<()>;

    /// Sets the time of the last change, milliseconds since the epoch. A disk without such times does nothing.
    ///
    /// # Errors
    /// As the system says.
    fn set_modified_ms(&self, modified_ms: i64) -> io::Result<()> {
        let _ = modified_ms;
        Ok(())
    }

    /// Bytes of the file.
    ///
    /// # Errors
    /// As the system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// As the system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// The descriptor of a real file, for `sendfile`; it lives as long as this value.
    fn raw_fd(&self) -> Option<RawFd>;
}

/// Reads until `buffer` is full or the file ends; returns how many bytes there were.
///
/// # Errors
/// As [`DiskFile::pread`].
pub fn read_full(file: &dyn DiskFile, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.pread(&mut buffer[read..], position + read as u64)? {
            0 => break,
            count => read += count,
        }
    }
    Ok(read)
}
