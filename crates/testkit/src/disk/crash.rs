//! Crashes: of the process, which forgets nothing, and of the power, which may forget all that was not synced.

use std::collections::BTreeSet;

use super::node::{FileOp, Node};
use super::{SECTOR, SimDisk};
use crate::rng::Rng;

/// What a power cut does to what is pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashMode {
    /// Nothing of it is there.
    LoseAll,
    /// All of it is there.
    KeepAll,
    /// What came before some moment is there; the write of that moment may be torn.
    Prefix,
    /// Each operation, and each sector of each write, is there or not.
    Subset,
}

impl SimDisk {
    /// The process dies. What is written stays; nothing more of it is durable than before.
    pub fn kill_process(&mut self) {
        self.boot += 1;
        self.down = false;
        self.full = false;
        self.locks.clear();
        self.faults.clear();
        self.note(0x6b69_6c6c ^ self.boot);
    }

    /// The power fails and returns.
    pub fn cut_power(&mut self, mode: CrashMode) {
        let mut rng = self.rng.fork();
        let oldest = self.oldest_pending();
        let cut = oldest + rng.below(self.sequence.saturating_sub(oldest) + 2);
        let keep = [1, 4, 8, 11, 12][rng.index(5)];
        for node in &mut self.nodes {
            match node {
                Node::File(file) => {
                    let pending = std::mem::take(&mut file.pending);
                    let grown = file.content.len();
                    for (sequence, op) in pending {
                        let kept = match mode {
                            CrashMode::LoseAll => false,
                            CrashMode::KeepAll => true,
                            CrashMode::Prefix => sequence < cut,
                            CrashMode::Subset => rng.chance(keep, 12),
                        };
                        match op {
                            FileOp::Write { position, bytes } if mode == CrashMode::Subset => {
                                write_some(&mut file.durable, position, &bytes, kept, &mut rng);
                            }
                            FileOp::Write { position, bytes }
                                if mode == CrashMode::Prefix && sequence == cut =>
                            {
                                let torn = rng.index(bytes.len() / SECTOR + 1) * SECTOR;
                                let bytes = bytes[..torn.min(bytes.len())].to_vec();
                                FileOp::Write { position, bytes }.apply(&mut file.durable);
                            }
                            op if kept => op.apply(&mut file.durable),
                            _ => {}
                        }
                    }
                    // The length can be durable before the bytes are: what is missing reads as zero.
                    let zeros = mode == CrashMode::Subset && rng.chance(1, 4);
                    if zeros && file.durable.len() < grown {
                        file.durable.resize(grown, 0);
                    }
                    file.content.clone_from(&file.durable);
                }
                Node::Dir(dir) => {
                    let mut lost: BTreeSet<String> = BTreeSet::new();
                    for (sequence, op) in std::mem::take(&mut dir.pending) {
                        let depends = op.names().into_iter().flatten().any(|name| lost.contains(name));
                        let kept = !depends
                            && match mode {
                                CrashMode::LoseAll => false,
                                CrashMode::KeepAll => true,
                                CrashMode::Prefix => sequence < cut,
                                CrashMode::Subset => rng.chance(keep, 12),
                            };
                        if kept {
                            op.apply(&mut dir.durable);
                        } else {
                            lost.extend(op.names().into_iter().flatten().map(str::to_owned));
                        }
                    }
                    dir.entries.clone_from(&dir.durable);
                }
            }
        }
        self.forget_unreachable();
        self.kill_process();
        self.note(mode as u64);
    }

    fn oldest_pending(&self) -> u64 {
        let of = |node: &Node| match node {
            Node::File(file) => file.pending.first().map(|(sequence, _)| *sequence),
            Node::Dir(dir) => dir.pending.first().map(|(sequence, _)| *sequence),
        };
        self.nodes.iter().filter_map(of).min().unwrap_or(self.sequence)
    }

    /// Files that no directory names hold no memory.
    fn forget_unreachable(&mut self) {
        let mut seen = vec![false; self.nodes.len()];
        let mut stack = vec![super::ROOT];
        while let Some(at) = stack.pop() {
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            if let Node::Dir(dir) = &self.nodes[at] {
                stack.extend(dir.entries.values().copied());
            }
        }
        for (node, seen) in self.nodes.iter_mut().zip(seen) {
            if !seen && let Node::File(file) = node {
                file.content = Vec::new();
                file.durable = Vec::new();
            }
        }
    }
}

/// Writes the sectors of a write that made it.
fn write_some(content: &mut Vec<u8>, position: usize, bytes: &[u8], kept: bool, rng: &mut Rng) {
    // Most writes are lost or kept as a whole; the others are torn.
    if !rng.chance(1, 4) {
        if kept {
            FileOp::Write { position, bytes: bytes.to_vec() }.apply(content);
        }
        return;
    }
    let mut at = 0;
    while at < bytes.len() {
        let sector_end = ((position + at) / SECTOR + 1) * SECTOR - position;
        let end = sector_end.min(bytes.len());
        if rng.chance(1, 2) {
            FileOp::Write { position: position + at, bytes: bytes[at..end].to_vec() }.apply(content);
        }
        at = end;
    }
}
