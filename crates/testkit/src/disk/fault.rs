//! What goes wrong, and when.

use std::path::{Path, PathBuf};

/// Kinds of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// Opening or making a file.
    Open,
    /// Making a directory.
    CreateDir,
    /// Syncing a directory.
    SyncDir,
    /// Renaming.
    Rename,
    /// Removing.
    Remove,
    /// Listing a directory.
    List,
    /// Asking for metadata.
    Stat,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Syncing a file.
    Sync,
    /// Setting a file's length.
    Truncate,
}

impl FaultKind {
    /// Whether it changes what is on the disk, or makes it durable.
    pub const fn changes(self) -> bool {
        !matches!(self, FaultKind::List | FaultKind::Stat | FaultKind::Read)
    }
}

/// Something that goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The machine goes down at the operation that changes the disk and comes after `after` others. It does not happen,
    /// except that a part of a write may.
    Crash {
        /// Operations before it.
        after: u64,
    },
    /// One operation below `dir` fails with an I/O error.
    Error {
        /// Where.
        dir: PathBuf,
        /// Which kind; none for any.
        kind: Option<FaultKind>,
        /// Operations of that kind before it.
        after: u64,
    },
    /// Every operation below `dir` fails from some time on.
    Dead {
        /// Where.
        dir: PathBuf,
        /// Operations before it.
        after: u64,
    },
    /// A write seems to succeed and is written elsewhere in its file, or nowhere.
    Misdirect {
        /// Writes below `dir` before it.
        after: u64,
        /// Where.
        dir: PathBuf,
    },
    /// The device is full from some time on.
    Full {
        /// Operations that change the disk before it.
        after: u64,
    },
}

pub(super) enum Strike {
    No,
    Yes { again: bool },
}

fn countdown(after: &mut u64) -> bool {
    if *after == 0 {
        return true;
    }
    *after -= 1;
    false
}

impl Fault {
    pub(super) fn strikes(&mut self, kind: FaultKind, path: &Path) -> Strike {
        let (hit, again) = match self {
            Fault::Crash { after } | Fault::Full { after } => (kind.changes() && countdown(after), false),
            Fault::Error { dir, kind: wanted, after } => {
                (wanted.is_none_or(|w| w == kind) && path.starts_with(&*dir) && countdown(after), false)
            }
            Fault::Misdirect { dir, after } => {
                (kind == FaultKind::Write && path.starts_with(&*dir) && countdown(after), false)
            }
            Fault::Dead { dir, after } => (path.starts_with(&*dir) && countdown(after), true),
        };
        if hit { Strike::Yes { again } } else { Strike::No }
    }
}
