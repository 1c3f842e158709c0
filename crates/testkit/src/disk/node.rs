//! Files and directories: what readers see, what is durable, and what lies between.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::rng::Rng;

#[derive(Debug)]
pub(super) enum Node {
    File(FileNode),
    Dir(DirNode),
}

/// A change of a file that is not durable.
#[derive(Debug, Clone)]
pub(super) enum FileOp {
    Write { position: usize, bytes: Vec<u8> },
    Truncate { len: usize },
}

impl FileOp {
    pub(super) fn apply(&self, content: &mut Vec<u8>) {
        match self {
            FileOp::Truncate { len } => content.resize(*len, 0),
            FileOp::Write { position, bytes } => {
                let end = position + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*position..end].copy_from_slice(bytes);
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct FileNode {
    pub(super) path: PathBuf,
    pub(super) durable: Vec<u8>,
    pub(super) content: Vec<u8>,
    pub(super) pending: Vec<(u64, FileOp)>,
    pub(super) modified_ms: i64,
}

impl FileNode {
    pub(super) fn new(path: PathBuf, modified_ms: i64) -> Self {
        FileNode { path, durable: Vec::new(), content: Vec::new(), pending: Vec::new(), modified_ms }
    }

    pub(super) fn apply(&mut self, op: FileOp, sequence: u64) {
        op.apply(&mut self.content);
        self.pending.push((sequence, op));
    }

    pub(super) fn sync(&mut self) {
        for (_, op) in self.pending.drain(..) {
            op.apply(&mut self.durable);
        }
    }

    /// Some of what was pending reached the disk, the rest never will.
    pub(super) fn fail_sync(&mut self, rng: &mut Rng) {
        for (_, op) in self.pending.drain(..) {
            if rng.chance(1, 3) {
                op.apply(&mut self.durable);
            }
        }
    }
}

/// A change of a directory that is not durable.
#[derive(Debug, Clone)]
pub(super) enum DirOp {
    Link { name: String, node: usize },
    Unlink { name: String },
    Rename { from: String, to: String, node: usize },
}

impl DirOp {
    pub(super) fn apply(&self, entries: &mut BTreeMap<String, usize>) {
        match self {
            DirOp::Link { name, node } => {
                entries.insert(name.clone(), *node);
            }
            DirOp::Unlink { name } => {
                entries.remove(name);
            }
            DirOp::Rename { from, to, node } => {
                entries.remove(from);
                entries.insert(to.clone(), *node);
            }
        }
    }

    pub(super) fn names(&self) -> [Option<&str>; 2] {
        match self {
            DirOp::Link { name, .. } | DirOp::Unlink { name } => [Some(name), None],
            DirOp::Rename { from, to, .. } => [Some(from), Some(to)],
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct DirNode {
    pub(super) durable: BTreeMap<String, usize>,
    pub(super) entries: BTreeMap<String, usize>,
    pub(super) pending: Vec<(u64, DirOp)>,
}

impl DirNode {
    pub(super) fn apply(&mut self, op: DirOp, sequence: u64) {
        op.apply(&mut self.entries);
        self.pending.push((sequence, op));
    }

    pub(super) fn sync(&mut self) {
        self.pending.clear();
        self.durable.clone_from(&self.entries);
    }
}
