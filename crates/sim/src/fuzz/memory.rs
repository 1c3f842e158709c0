//! A disk that keeps nothing but the bytes: no faults, no crashes, no trace. Damaged files need none of them, and an
//! execution costs half of what it costs on the simulated disk.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use ottla_storage::disk::{DirEntry, DirLock, Disk, DiskFile, Metadata, OpenMode};

type Content = Arc<Mutex<Vec<u8>>>;

#[derive(Debug, Clone)]
enum Node {
    Dir,
    File(Content),
}

/// Paths as bytes: comparing them as paths is what costs most otherwise.
type Nodes = BTreeMap<Vec<u8>, Node>;

/// Files in memory. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Nodes>>);

fn key(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

fn under(dir: &Path) -> Vec<u8> {
    let mut prefix = key(dir);
    prefix.push(b'/');
    prefix
}

fn bytes_of(content: &Content) -> MutexGuard<'_, Vec<u8>> {
    content.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn metadata(node: &Node) -> Metadata {
    match node {
        Node::Dir => Metadata { is_dir: true, len: 0, modified_ms: 0 },
        Node::File(content) => {
            Metadata { is_dir: false, len: bytes_of(content).len() as u64, modified_ms: 0 }
        }
    }
}

impl MemoryDisk {
    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Puts a file on the disk.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        self.nodes().insert(key(path), Node::File(Arc::new(Mutex::new(bytes.to_vec()))));
    }

    /// The files of a directory with their content, by name.
    pub fn files(&self, dir: &Path) -> Vec<(String, Vec<u8>)> {
        let prefix = under(dir);
        let nodes = self.nodes();
        let inside = nodes.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        inside
            .filter_map(|(path, node)| match node {
                Node::Dir => None,
                Node::File(content) => {
                    let name =
                        String::from_utf8_lossy(path.get(prefix.len()..).unwrap_or_default()).into_owned();
                    Some((name, bytes_of(content).clone()))
                }
            })
            .collect()
    }
}

#[derive(Debug)]
struct Unlocked;

impl DirLock for Unlocked {}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut nodes = self.nodes();
        let key = key(path);
        match nodes.get(&key) {
            Some(Node::File(content)) => return Ok(Arc::new(MemoryFile(Arc::clone(content)))),
            Some(Node::Dir) => return Err(io::ErrorKind::IsADirectory.into()),
            None if mode == OpenMode::Read => return Err(io::ErrorKind::NotFound.into()),
            None => {}
        }
        let content = Content::default();
        nodes.insert(key, Node::File(Arc::clone(&content)));
        Ok(Arc::new(MemoryFile(content)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut nodes = self.nodes();
        for dir in path.ancestors().filter(|dir| dir.as_os_str().len() > 1) {
            nodes.entry(key(dir)).or_insert(Node::Dir);
        }
        Ok(())
    }

    fn fsync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut nodes = self.nodes();
        let node = nodes.remove(&key(from)).ok_or(io::ErrorKind::NotFound)?;
        if matches!(node, Node::Dir) {
            let (old, new) = (under(from), under(to));
            let inside = nodes.range(old.clone()..).take_while(|(path, _)| path.starts_with(&old));
            let inside: Vec<Vec<u8>> = inside.map(|(path, _)| path.clone()).collect();
            for path in inside {
                if let (Some(node), Some(name)) = (nodes.remove(&path), path.get(old.len()..)) {
                    nodes.insert([&new, name].concat(), node);
                }
            }
        }
        nodes.insert(key(to), node);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.nodes().remove(&key(path));
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let (dir, prefix) = (key(path), under(path));
        self.nodes().retain(|path, _| *path != dir && !path.starts_with(&prefix));
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let nodes = self.nodes();
        let prefix = under(path);
        let inside = nodes.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        let mut entries = Vec::new();
        for (path, node) in inside {
            let name = path.get(prefix.len()..).unwrap_or_default();
            if !name.contains(&b'/') {
                let name = OsString::from_vec(name.to_vec()).to_string_lossy().into_owned();
                let Metadata { is_dir, len, .. } = metadata(node);
                entries.push(DirEntry { name, is_dir, len });
            }
        }
        if entries.is_empty() && !nodes.contains_key(&key(path)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(entries)
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        Ok(self.nodes().get(&key(path)).map(metadata))
    }

    fn try_lock(&self, _path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        Ok(Some(Box::new(Unlocked)))
    }

    fn space(&self, _path: &Path) -> io::Result<Option<(u64, u64)>> {
        Ok(None)
    }
}

#[derive(Debug)]
struct MemoryFile(Content);

impl DiskFile for MemoryFile {
    fn pread(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let bytes = bytes_of(&self.0);
        let from = usize::try_from(position).unwrap_or(usize::MAX).min(bytes.len());
        let count = buffer.len().min(bytes.len() - from);
        buffer[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    fn pwrite_all(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let mut content = bytes_of(&self.0);
        let from = position as usize;
        if content.len() < from + bytes.len() {
            content.resize(from + bytes.len(), 0);
        }
        content[from..from + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        bytes_of(&self.0).resize(len as usize, 0);
        Ok(())
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.truncate(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(bytes_of(&self.0).len() as u64)
    }

    fn raw_fd(&self) -> Option<RawFd> {
        None
    }
}
