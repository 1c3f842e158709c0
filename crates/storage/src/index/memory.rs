//! What was read of the indexes of closed segments and is kept for the next lookup: as much as a limit allows, the least
//! recently used goes first.
//!
//! A node may hold terabytes, of which each gigabyte has 2 MB of offset index. Indexes that are appended to are no part of
//! this: their owner keeps them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;

/// Bytes of indexes of closed segments that a log directory keeps in memory: the offset indexes of 8 GB of log.
pub const INDEX_MEMORY_BYTES: usize = 16 << 20;

/// What keeping a file costs beside its bytes, so that ten thousand empty ones are bounded too.
const FILE_COST: usize = 128;

/// The indexes of closed segments of a log directory that are in memory.
#[derive(Debug)]
pub(crate) struct IndexMemory(Mutex<Held>);

#[derive(Debug)]
struct Held {
    limit: usize,
    /// As counted against the limit.
    bytes: usize,
    files: HashMap<u64, File>,
    /// Which file was used when, the least recently used first.
    by_use: BTreeMap<u64, u64>,
    uses: u64,
    next_id: u64,
}

#[derive(Debug)]
struct File {
    bytes: Bytes,
    used: u64,
}

impl Default for IndexMemory {
    fn default() -> Self {
        IndexMemory(Mutex::new(Held {
            limit: INDEX_MEMORY_BYTES,
            bytes: 0,
            files: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            next_id: 0,
        }))
    }
}

impl IndexMemory {
    /// Never held while the disk works or another lock is taken.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A name for a file.
    pub(super) fn new_id(&self) -> u64 {
        let mut held = self.held();
        held.next_id += 1;
        held.next_id
    }

    pub(super) fn get(&self, id: u64) -> Option<Bytes> {
        let mut held = self.held();
        let Held { files, by_use, uses, .. } = &mut *held;
        let file = files.get_mut(&id)?;
        if file.used != *uses {
            by_use.remove(&file.used);
            *uses += 1;
            file.used = *uses;
            by_use.insert(*uses, id);
        }
        Some(file.bytes.clone())
    }

    /// Keeps the bytes of a file as those that were used last. Others are let go of where they are too many; a file that
    /// is larger than the limit is kept alone.
    pub(super) fn put(&self, id: u64, bytes: Bytes) {
        let mut held = self.held();
        held.remove(id);
        held.uses += 1;
        let used = held.uses;
        held.bytes += bytes.len() + FILE_COST;
        held.files.insert(id, File { bytes, used });
        held.by_use.insert(used, id);
        held.shrink();
    }

    pub(super) fn remove(&self, id: u64) {
        self.held().remove(id);
    }

    /// Bytes that are kept, with what keeping them costs.
    pub(crate) fn bytes(&self) -> usize {
        self.held().bytes
    }

    pub(crate) fn set_limit(&self, bytes: usize) {
        let mut held = self.held();
        held.limit = bytes;
        held.shrink();
    }
}

impl Held {
    fn remove(&mut self, id: u64) {
        if let Some(file) = self.files.remove(&id) {
            self.by_use.remove(&file.used);
            self.bytes -= file.bytes.len() + FILE_COST;
        }
    }

    fn shrink(&mut self) {
        while self.bytes > self.limit && self.files.len() > 1 {
            let Some((_, &oldest)) = self.by_use.first_key_value() else { return };
            self.remove(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(memory: &IndexMemory, ids: std::ops::RangeInclusive<u64>) -> Vec<u64> {
        let held = memory.held();
        ids.filter(|id| held.files.contains_key(id)).collect()
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let memory = IndexMemory::default();
        memory.set_limit(3 * (1000 + FILE_COST));
        for id in 1..=3 {
            memory.put(id, vec![id as u8; 1000].into());
        }
        assert_eq!(kept(&memory, 1..=3), [1, 2, 3]);
        assert_eq!(memory.get(1), Some(vec![1; 1000].into()));
        memory.put(4, vec![4; 1000].into());
        assert_eq!(kept(&memory, 1..=4), [1, 3, 4]);
        assert_eq!(memory.get(2), None);
        // A file in its own place counts once.
        memory.put(3, vec![5; 1000].into());
        assert_eq!(kept(&memory, 1..=4), [1, 3, 4]);
        assert_eq!(memory.bytes(), 3 * (1000 + FILE_COST));
        // One that fills the limit leaves nothing beside it.
        memory.put(5, vec![0; 3 * 1000].into());
        assert_eq!(kept(&memory, 1..=5), [5]);
        memory.remove(5);
        memory.remove(5);
        assert_eq!(memory.bytes(), 0);
    }

    #[test]
    fn a_file_above_the_limit_is_kept_until_the_next() {
        let memory = IndexMemory::default();
        memory.set_limit(100);
        memory.put(1, vec![1; 1000].into());
        assert_eq!(memory.get(1), Some(vec![1; 1000].into()));
        memory.put(2, Bytes::new());
        assert_eq!(kept(&memory, 1..=2), [2]);
        assert_eq!(memory.bytes(), FILE_COST);
    }

    #[test]
    fn empty_files_are_bounded() {
        let memory = IndexMemory::default();
        memory.set_limit(10 * FILE_COST);
        for id in 0..1000 {
            memory.put(id, Bytes::new());
        }
        assert_eq!(kept(&memory, 0..=1000), (990..1000).collect::<Vec<_>>());
        let held = memory.held();
        assert_eq!((held.files.len(), held.by_use.len()), (10, 10));
    }
}
