//! A file system in memory that keeps apart what is durable and what is only written.
//!
//! A write changes what readers see at once, and is noted as pending until the file is synced. Creating, renaming and
//! removing an entry of a directory is pending until the directory is synced. [`SimDisk::cut_power`] lets a subset of
//! what is pending happen: writes split at sectors, and entries so that those of one name keep their order.
//! After a sync that failed nothing of what was pending is ever made durable again, as on Linux.

mod crash;
mod fault;
mod node;

pub use crash::CrashMode;
pub use fault::{Fault, FaultKind};

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::rng::{Rng, mix, mix_bytes};
use node::{DirNode, DirOp, FileNode, FileOp, Node};

/// Bytes that a disk writes all at once.
pub const SECTOR: usize = 512;

/// Why an operation did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimError {
    /// There is nothing of that name.
    NotFound,
    /// A directory where a file is expected, or the other way round.
    WrongKind,
    /// The device said no.
    Io,
    /// The device is full. A write may have happened in part.
    NoSpace,
    /// The machine is down, or went down since the file was opened.
    Down,
}

/// An open file. It is good until the next crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle {
    node: usize,
    boot: u64,
}

/// What is known of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Bytes of a file.
    pub len: u64,
    /// Time of the last change by the disk's own clock.
    pub modified_ms: i64,
}

/// The disk. Everything that it does depends on its seed and on what was asked of it.
#[derive(Debug)]
pub struct SimDisk {
    nodes: Vec<Node>,
    rng: Rng,
    /// Crashes so far.
    boot: u64,
    now_ms: i64,
    /// Numbers pending operations, so that a crash can keep a prefix of them.
    sequence: u64,
    faults: Vec<Fault>,
    /// No space is left; what does not grow still works.
    full: bool,
    down: bool,
    /// The write that begins now goes elsewhere.
    misdirect: bool,
    locks: BTreeSet<PathBuf>,
    trace: u64,
    operations: u64,
    /// Faults that happened.
    injected: u64,
}

type Result<T> = std::result::Result<T, SimError>;

const ROOT: usize = 0;

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        SimDisk {
            nodes: vec![Node::Dir(DirNode::default())],
            rng: Rng::new(seed),
            boot: 0,
            now_ms: 0,
            sequence: 0,
            faults: Vec::new(),
            full: false,
            down: false,
            misdirect: false,
            locks: BTreeSet::new(),
            trace: 0,
            operations: 0,
            injected: 0,
        }
    }

    /// Sets the disk's clock.
    pub fn set_now_ms(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
    }

    /// A hash of every operation so far and of what came of it.
    pub fn trace(&self) -> u64 {
        self.trace
    }

    /// Folds something into the trace that the disk does not see.
    pub fn note(&mut self, value: u64) {
        self.trace = mix(self.trace, value);
    }

    /// Operations so far.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// Faults that happened so far.
    pub fn injected(&self) -> u64 {
        self.injected
    }

    /// Whether the machine went down and has not been started again.
    pub fn is_down(&self) -> bool {
        self.down
    }

    /// Lets something go wrong later.
    pub fn inject(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Forgets the faults that did not happen.
    pub fn clear_faults(&mut self) {
        self.faults.clear();
    }

    /// Fills the device, or makes room.
    pub fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    /// Whether the device is full.
    pub fn is_full(&self) -> bool {
        self.full
    }

    fn components(path: &Path) -> Vec<&str> {
        path.components()
            .filter_map(|component| match component {
                std::path::Component::Normal(name) => name.to_str(),
                _ => None,
            })
            .collect()
    }

    fn find(&self, path: &Path) -> Option<usize> {
        let mut at = ROOT;
        for name in Self::components(path) {
            let Node::Dir(dir) = self.nodes.get(at)? else { return None };
            at = *dir.entries.get(name)?;
        }
        Some(at)
    }

    fn parent_and_name<'p>(&self, path: &'p Path) -> Result<(usize, &'p str)> {
        let mut names = Self::components(path);
        let name = names.pop().ok_or(SimError::WrongKind)?;
        let mut at = ROOT;
        for part in names {
            let Node::Dir(dir) = &self.nodes[at] else { return Err(SimError::WrongKind) };
            at = *dir.entries.get(part).ok_or(SimError::NotFound)?;
        }
        Ok((at, name))
    }

    fn dir(&mut self, at: usize) -> Result<&mut DirNode> {
        match &mut self.nodes[at] {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(SimError::WrongKind),
        }
    }

    fn file(&mut self, handle: Handle) -> Result<&mut FileNode> {
        if handle.boot != self.boot || self.down {
            return Err(SimError::Down);
        }
        match &mut self.nodes[handle.node] {
            Node::File(file) => Ok(file),
            Node::Dir(_) => Err(SimError::WrongKind),
        }
    }

    fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Notes an operation, and says whether it fails.
    fn begin(&mut self, kind: FaultKind, path: &Path, detail: u64) -> Result<()> {
        if self.down {
            return Err(SimError::Down);
        }
        self.operations += 1;
        self.trace = mix(self.trace, kind as u64);
        self.trace = mix_bytes(self.trace, path.as_os_str().as_encoded_bytes());
        self.trace = mix(self.trace, detail);
        let mut outcome = Ok(());
        let mut kept = Vec::with_capacity(self.faults.len());
        for mut fault in std::mem::take(&mut self.faults) {
            match fault.strikes(kind, path) {
                fault::Strike::No => kept.push(fault),
                fault::Strike::Yes { again } => {
                    self.injected += 1;
                    match fault {
                        Fault::Crash { .. } => outcome = Err(SimError::Down),
                        Fault::Error { .. } | Fault::Dead { .. } if outcome.is_ok() => {
                            outcome = Err(SimError::Io);
                        }
                        Fault::Full { .. } => self.full = true,
                        Fault::Misdirect { .. } => self.misdirect = true,
                        _ => {}
                    }
                    if again {
                        kept.push(fault);
                    }
                }
            }
        }
        self.faults = kept;
        if outcome == Err(SimError::Down) {
            self.down = true;
        }
        self.trace = mix(
            self.trace,
            match outcome {
                Ok(()) => 1,
                Err(error) => 2 + error as u64,
            },
        );
        outcome
    }

    fn path_of(&self, handle: Handle) -> PathBuf {
        match self.nodes.get(handle.node) {
            Some(Node::File(file)) => file.path.clone(),
            _ => PathBuf::new(),
        }
    }

    /// Opens a file, making it when `create` says so.
    ///
    /// # Errors
    /// [`SimError`].
    pub fn open(&mut self, path: &Path, create: bool) -> Result<Handle> {
        self.begin(FaultKind::Open, path, u64::from(create))?;
        let boot = self.boot;
        if let Some(node) = self.find(path) {
            return match &self.nodes[node] {
                Node::File(_) => Ok(Handle { node, boot }),
                Node::Dir(_) => Err(SimError::WrongKind),
            };
        }
        if !create {
            return Err(SimError::NotFound);
        }
        if self.full {
            return Err(SimError::NoSpace);
        }
        let (parent, name) = self.parent_and_name(path)?;
        let node = self.nodes.len();
        let sequence = self.next_sequence();
        let now_ms = self.now_ms;
        self.dir(parent)?.apply(DirOp::Link { name: name.to_owned(), node }, sequence);
        self.nodes.push(Node::File(FileNode::new(path.to_path_buf(), now_ms)));
        Ok(Handle { node, boot })
    }

    /// Makes a directory and those above it.
    ///
    /// # Errors
    /// [`SimError`].
    pub fn create_dir_all(&mut self, path: &Path) -> Result<()> {
        self.begin(FaultKind::CreateDir, path, 0)?;
        let mut at = ROOT;
        for name in Self::components(path) {
            let next = self.dir(at)?.entries.get(name).copied();
            at = match next {
                Some(node) => node,
                None if self.full => return Err(SimError::NoSpace),
                None => {
                    let node = self.nodes.len();
                    let sequence = self.next_sequence();
                    self.dir(at)?.apply(DirOp::Link { name: name.to_owned(), node }, sequence);
                    self.nodes.push(Node::Dir(DirNode::default()));
                    node
                }
            };
        }
        self.dir(at).map(|_| ())
    }

    /// Makes the entries of a directory durable.
    ///
    /// # Errors
    /// [`SimError`].
    pub fn sync_dir(&mut self, path: &Path) -> Result<()> {
        self.begin(FaultKind::SyncDir, path, 0)?;
        let at = self.find(path).ok_or(SimError::NotFound)?;
        self.dir(at)?.sync();
        Ok(())
    }

    /// Gives something another name, in the same directory or in another.
    ///
    /// # Errors
    /// [`SimError`].
    pub fn rename(&mut self, from: &Path, to: &Path) -> Result<()> {
        let detail = mix_bytes(0, to.as_os_str().as_encoded_bytes());
        self.begin(FaultKind::Rename, from, detail)?;
        let (from_dir, from_name) = self.parent_and_name(from)?;
        let (to_dir, to_name) = self.parent_and_name(to)?;
        let node = *self.dir(from_dir)?.entries.get(from_name).ok_or(SimError::NotFound)?;
        if let Some(&target) = self.dir(to_dir)?.entries.get(to_name)
            && matches!(self.nodes[target], Node::Dir(_))
        {
            return Err(SimError::WrongKind);
        }
        let sequence = self.next_sequence();
        if from_dir == to_dir {
            let op = DirOp::Rename { from: from_name.to_owned(), to: to_name.to_owned(), node };
            self.dir(from_dir)?.apply(op, sequence);
        } else {
            self.dir(to_dir)?.apply(DirOp::Link { name: to_name.to_owned(), node }, sequence);
            self.dir(from_dir)?.apply(DirOp::Unlink { name: from_name.to_owned() }, sequence);
        }
        self.moved(node, to);
        Ok(())
    }

    /// Files know their path, for faults and traces.
    fn moved(&mut self, node: usize, to: &Path) {
        match &mut self.nodes[node] {
            Node::File(file) => file.path = to.to_path_buf(),
            Node::Dir(dir) => {
                for (name, child) in dir.entries.clone() {
                    self.moved(child, &to.join(name));
                }
            }
        }
    }

    /// Removes a file; nothing happens when it is not there.
    ///
    /// # Errors
    /// [`SimError`].
    pub fn remove_file(&mut self, path: &Path) -> Result<()> {
        self.begin(FaultKind::Remove, path, 0)?;
        match self.find(path).map(|node| &self.nodes[node]) {
            None => return Ok(()),
            Some(Node::Dir(_)) => return Err(SimError::WrongKind),
            Some(Node::File(_)) => {}
        }
        let (parent, name) = self.parent_and_name(path)?;
        let sequence = self.next_sequence();
        self.dir(parent)?.apply(DirOp::Unlink { name: name.to_owned() }, sequence);
        Ok(())
    }

    /// Removes a directory with all that is in it; nothing happens when it is not there.
    ///
    /// # Errors
    /// [`SimError`].
    pub fn remove_dir_all(&mut self, path: &Path) -> Result<()> {
        self.begin(FaultKind::Remove, path, 1)?;
        let Some(node) = self.find(path) else { return Ok(()) };
        self.empty(node);
        let (parent, name) = self.parent_and_name(path)?;
        let sequence = self.next_sequence();
        self.dir(parent)?.apply(DirOp::Unlink { name: name.to_owned() }, sequence);
        Ok(())
    }

    fn empty(&mut self, node: usize) {
        let Node::Dir(dir) = &self.nodes[node] else { return };
        for (name, child) in dir.entries.clone() {
            self.empty(child);
            let sequence = self.next_sequence();
            if let Node::Dir(dir) = &mut self.nodes[node] {
                dir.apply(DirOp::Unlink { name }, sequence);
            }
        }
    }

    /// The entries of a directory, by name.
    ///
    /// # Errors
    /// [`SimError`].
    pub fn list(&mut self, path: &Path) -> Result<Vec<(String, Stat)>> {
        self.begin(FaultKind::List, path, 0)?;
        let at = self.find(path).ok_or(SimError::NotFound)?;
        let entries: BTreeMap<String, usize> = self.dir(at)?.entries.clone();
        Ok(entries.into_iter().map(|(name, node)| (name, self.stat(node))).collect())
    }

    fn stat(&self, node: usize) -> Stat {
        match &self.nodes[node] {
            Node::Dir(_) => Stat { is_dir: true, len: 0, modified_ms: 0 },
            Node::File(file) => {
                Stat { is_dir: false, len: file.content.len() as u64, modified_ms: file.modified_ms }
            }
        }
    }

    /// What a path is; none when there is nothing.
    ///
    /// # Errors
    /// [`SimError`].
    pub fn metadata(&mut self, path: &Path) -> Result<Option<Stat>> {
        self.begin(FaultKind::Stat, path, 0)?;
        Ok(self.find(path).map(|node| self.stat(node)))
    }

    /// Takes a lock; false when it is taken.
    ///
    /// # Errors
    /// [`SimError`].
    pub fn lock(&mut self, path: &Path) -> Result<bool> {
        self.open(path, true)?;
        Ok(self.locks.insert(path.to_path_buf()))
    }

    /// Gives a lock back that was taken since the last crash.
    pub fn unlock(&mut self, path: &Path, boot: u64) {
        if boot == self.boot {
            self.locks.remove(path);
        }
    }

    /// Crashes so far.
    pub fn boot(&self) -> u64 {
        self.boot
    }

    /// Reads at most `buffer.len()` bytes.
    ///
    /// # Errors
    /// [`SimError`].
    pub fn read(&mut self, handle: Handle, buffer: &mut [u8], position: u64) -> Result<usize> {
        let path = self.path_of(handle);
        self.begin(FaultKind::Read, &path, mix(position, buffer.len() as u64))?;
        let file = self.file(handle)?;
        let Some(rest) = file.content.get(position as usize..) else { return Ok(0) };
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    /// As [`SimDisk::read`], of what is in memory: by chance all of it, the start of it, or nothing, which is none.
    ///
    /// # Errors
    /// [`SimError`].
    pub fn read_cached(&mut self, handle: Handle, buffer: &mut [u8], position: u64) -> Result<Option<usize>> {
        let len = match self.rng.below(4) {
            0 => return Ok(None),
            1 => self.rng.index(buffer.len().max(1)) + 1,
            _ => buffer.len(),
        };
        let len = len.min(buffer.len());
        self.read(handle, &mut buffer[..len], position).map(Some)
    }

    /// How much of `len` bytes is in memory, by chance: half of the time all of it.
    pub fn cached_bytes(&mut self, len: u64) -> u64 {
        if self.rng.chance(1, 2) { len } else { self.rng.below(len.max(1)) }
    }

    /// Writes all of `bytes`. After an error a part of them may be written.
    ///
    /// # Errors
    /// [`SimError`].
    pub fn write(&mut self, handle: Handle, bytes: &[u8], position: u64) -> Result<()> {
        let path = self.path_of(handle);
        self.file(handle)?;
        let outcome = self.begin(FaultKind::Write, &path, mix_bytes(position, bytes));
        let grows = (position as usize).saturating_add(bytes.len()) > self.stat(handle.node).len as usize;
        let outcome = if outcome.is_ok() && self.full && grows { Err(SimError::NoSpace) } else { outcome };
        let len = match outcome {
            Ok(()) => bytes.len(),
            Err(_) => self.rng.index(bytes.len().max(1)),
        };
        let sequence = self.next_sequence();
        let now_ms = self.now_ms;
        let mut position = position;
        if std::mem::take(&mut self.misdirect) {
            if self.rng.chance(1, 2) {
                return outcome;
            }
            position = self.rng.below(position + bytes.len() as u64 + 1);
        }
        if let Node::File(file) = &mut self.nodes[handle.node]
            && len > 0
        {
            file.modified_ms = now_ms;
            file.apply(FileOp::Write { position: position as usize, bytes: bytes[..len].to_vec() }, sequence);
        }
        outcome
    }

    /// Makes a file's content durable.
    ///
    /// # Errors
    /// [`SimError`]; what was pending is then lost for good, though readers still see it.
    pub fn sync(&mut self, handle: Handle) -> Result<()> {
        let path = self.path_of(handle);
        self.file(handle)?;
        let outcome = self.begin(FaultKind::Sync, &path, 0);
        let mut rng = self.rng.fork();
        if let Node::File(file) = &mut self.nodes[handle.node] {
            match outcome {
                Ok(()) => file.sync(),
                // Before a crash nothing is known; after any other error the pages are clean and gone.
                Err(SimError::Down) => {}
                Err(_) => file.fail_sync(&mut rng),
            }
        }
        outcome
    }

    /// Sets a file's length.
    ///
    /// # Errors
    /// [`SimError`].
    pub fn truncate(&mut self, handle: Handle, len: u64) -> Result<()> {
        let path = self.path_of(handle);
        self.file(handle)?;
        self.begin(FaultKind::Truncate, &path, len)?;
        let sequence = self.next_sequence();
        let now_ms = self.now_ms;
        let file = self.file(handle)?;
        if file.content.len() as u64 != len {
            file.modified_ms = now_ms;
            file.apply(FileOp::Truncate { len: len as usize }, sequence);
        }
        Ok(())
    }

    /// Bytes of a file.
    ///
    /// # Errors
    /// [`SimError`].
    pub fn len(&mut self, handle: Handle) -> Result<u64> {
        Ok(self.file(handle)?.content.len() as u64)
    }

    /// Flips one bit of a file, as rot does. Returns whether there was such a byte.
    pub fn flip_bit(&mut self, path: &Path, position: usize, bit: u8) -> bool {
        let Some(node) = self.find(path) else { return false };
        let Node::File(file) = &mut self.nodes[node] else { return false };
        let mask = 1 << (bit & 7);
        if let Some(byte) = file.durable.get_mut(position) {
            *byte ^= mask;
        }
        match file.content.get_mut(position) {
            Some(byte) => {
                *byte ^= mask;
                true
            }
            None => false,
        }
    }

    /// The files below a directory with their content, for looking at.
    pub fn files(&self, path: &Path) -> Vec<(PathBuf, &[u8])> {
        let mut out = Vec::new();
        if let Some(node) = self.find(path) {
            self.collect(node, path, &mut out);
        }
        out
    }

    fn collect<'d>(&'d self, node: usize, path: &Path, out: &mut Vec<(PathBuf, &'d [u8])>) {
        match &self.nodes[node] {
            Node::File(file) => out.push((path.to_path_buf(), &file.content)),
            Node::Dir(dir) => {
                for (name, child) in &dir.entries {
                    self.collect(*child, &path.join(name), out);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
