//! Keyed deadlines: at most one per key, popped in order of time. Soft state, never logged.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone)]
struct Entry<T> {
    deadline_ms: i64,
    sequence: u64,
    task: T,
}

/// A set of deadlines by key. Scheduling a key again moves it.
#[derive(Debug, Clone)]
pub(crate) struct Timers<K, T> {
    by_key: BTreeMap<K, Entry<T>>,
    by_time: BTreeSet<(i64, u64, K)>,
    next_sequence: u64,
}

impl<K: Ord + Clone, T> Timers<K, T> {
    pub(crate) fn new() -> Self {
        Timers { by_key: BTreeMap::new(), by_time: BTreeSet::new(), next_sequence: 0 }
    }

    pub(crate) fn schedule(&mut self, key: K, deadline_ms: i64, task: T) {
        self.cancel(&key);
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.by_time.insert((deadline_ms, sequence, key.clone()));
        self.by_key.insert(key, Entry { deadline_ms, sequence, task });
    }

    pub(crate) fn schedule_if_absent(&mut self, key: K, deadline_ms: i64, task: T) {
        if !self.by_key.contains_key(&key) {
            self.schedule(key, deadline_ms, task);
        }
    }

    pub(crate) fn cancel(&mut self, key: &K) {
        if let Some(entry) = self.by_key.remove(key) {
            self.by_time.remove(&(entry.deadline_ms, entry.sequence, key.clone()));
        }
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.by_key.contains_key(key)
    }

    pub(crate) fn next_deadline_ms(&self) -> Option<i64> {
        self.by_time.first().map(|(deadline_ms, _, _)| *deadline_ms)
    }

    /// Removes and gives the earliest entry that is due.
    pub(crate) fn pop_due(&mut self, now_ms: i64) -> Option<(K, T)> {
        if self.next_deadline_ms()? > now_ms {
            return None;
        }
        let (_, _, key) = self.by_time.pop_first()?;
        let entry = self.by_key.remove(&key)?;
        Some((key, entry.task))
    }

    pub(crate) fn clear(&mut self) {
        self.by_key.clear();
        self.by_time.clear();
    }
}
