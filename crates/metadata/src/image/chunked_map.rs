//! A sorted map that is cheap to clone and to change while clones live: sorted chunks behind `Arc`s,
//! of which a change copies one.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;

/// A full chunk is split in two.
const CHUNK_ENTRIES_MAX: usize = 64;

/// See the module. No chunk is ever empty.
#[derive(Debug, Clone)]
pub struct ChunkedMap<K, V> {
    chunks: Arc<Vec<Arc<Vec<(K, V)>>>>,
    len: usize,
}

impl<K, V> Default for ChunkedMap<K, V> {
    fn default() -> Self {
        ChunkedMap { chunks: Arc::default(), len: 0 }
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for ChunkedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K, V> ChunkedMap<K, V> {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// In order of keys.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|c| c.iter()).map(|(k, v)| (k, v))
    }

    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.iter().map(|(k, _)| k)
    }

    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.iter().map(|(_, v)| v)
    }

    fn locate<Q: Ord + ?Sized>(&self, key: &Q) -> Result<(usize, usize), (usize, usize)>
    where
        K: Borrow<Q>,
    {
        // The last chunk that starts at or before the key.
        let chunk = self
            .chunks
            .partition_point(|c| c.first().is_some_and(|(k, _)| k.borrow() <= key))
            .saturating_sub(1);
        let Some(entries) = self.chunks.get(chunk) else {
            return Err((0, 0));
        };
        match entries.binary_search_by(|(k, _)| k.borrow().cmp(key)) {
            Ok(i) => Ok((chunk, i)),
            Err(i) => Err((chunk, i)),
        }
    }

    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let (chunk, i) = self.locate(key).ok()?;
        Some(&self.chunks[chunk][i].1)
    }

    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.locate(key).is_ok()
    }

    /// Entries from `key` on, in order.
    pub fn range_from<'a, Q: Ord + ?Sized>(
        &'a self,
        key: &Q,
    ) -> impl Iterator<Item = (&'a K, &'a V)> + use<'a, K, V, Q>
    where
        K: Borrow<Q>,
    {
        let (chunk, i) = self.locate(key).unwrap_or_else(|at| at);
        let first = self.chunks.get(chunk).map_or(&[][..], |c| &c[i..]);
        let rest = self.chunks.get(chunk + 1..).unwrap_or(&[]);
        first.iter().chain(rest.iter().flat_map(|c| c.iter())).map(|(k, v)| (k, v))
    }
}

impl<K: Clone + Ord, V: Clone> ChunkedMap<K, V> {
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.locate(&key) {
            Ok((chunk, i)) => {
                let entries = Arc::make_mut(&mut Arc::make_mut(&mut self.chunks)[chunk]);
                Some(std::mem::replace(&mut entries[i].1, value))
            }
            Err((chunk, i)) => {
                let chunks = Arc::make_mut(&mut self.chunks);
                self.len += 1;
                if chunks.is_empty() {
                    chunks.push(Arc::new(vec![(key, value)]));
                    return None;
                }
                let entries = Arc::make_mut(&mut chunks[chunk]);
                entries.insert(i, (key, value));
                if entries.len() > CHUNK_ENTRIES_MAX {
                    // Keys that arrive in order leave full chunks behind them.
                    let at = if i + 1 == entries.len() { entries.len() - 1 } else { entries.len() / 2 };
                    let tail = entries.split_off(at);
                    chunks.insert(chunk + 1, Arc::new(tail));
                }
                None
            }
        }
    }

    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (chunk, i) = self.locate(key).ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let entries = Arc::make_mut(&mut chunks[chunk]);
        let (_, value) = entries.remove(i);
        if entries.is_empty() {
            chunks.remove(chunk);
        }
        self.len -= 1;
        Some(value)
    }

    /// The value of a key, for a change. Copies its chunk if a clone shares it.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let (chunk, i) = self.locate(key).ok()?;
        let entries = Arc::make_mut(&mut Arc::make_mut(&mut self.chunks)[chunk]);
        Some(&mut entries[i].1)
    }
}

/// One key that two maps disagree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference<'a, K, V> {
    Added(&'a K, &'a V),
    Removed(&'a K, &'a V),
    /// Old value, then new.
    Changed(&'a K, &'a V, &'a V),
}

impl<K: Ord, V: PartialEq> ChunkedMap<K, V> {
    /// What has changed from `self` to `new`, in order of keys. Chunks that both share cost nothing.
    pub fn differences<'a>(&'a self, new: &'a Self) -> Vec<Difference<'a, K, V>> {
        let mut out = Vec::new();
        if Arc::ptr_eq(&self.chunks, &new.chunks) {
            return out;
        }
        let (mut a, mut b) = (Cursor::new(&self.chunks), Cursor::new(&new.chunks));
        loop {
            while let (Some(x), Some(y)) = (a.whole_chunk(), b.whole_chunk()) {
                if !Arc::ptr_eq(x, y) {
                    break;
                }
                a.skip_chunk();
                b.skip_chunk();
            }
            let order = match (a.peek(), b.peek()) {
                (None, None) => return out,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((x, _)), Some((y, _))) => x.cmp(y),
            };
            match (order, a.peek(), b.peek()) {
                (Ordering::Less, Some((k, v)), _) => {
                    out.push(Difference::Removed(k, v));
                    a.advance();
                }
                (Ordering::Greater, _, Some((k, v))) => {
                    out.push(Difference::Added(k, v));
                    b.advance();
                }
                (Ordering::Equal, Some((k, old)), Some((_, new))) => {
                    if old != new {
                        out.push(Difference::Changed(k, old, new));
                    }
                    a.advance();
                    b.advance();
                }
                _ => return out,
            }
        }
    }
}

struct Cursor<'a, K, V> {
    chunks: &'a [Arc<Vec<(K, V)>>],
    index: usize,
}

impl<'a, K, V> Cursor<'a, K, V> {
    fn new(chunks: &'a [Arc<Vec<(K, V)>>]) -> Self {
        Cursor { chunks, index: 0 }
    }

    /// The current chunk, if none of it has been passed yet.
    fn whole_chunk(&self) -> Option<&'a Arc<Vec<(K, V)>>> {
        self.chunks.first().filter(|_| self.index == 0)
    }

    fn skip_chunk(&mut self) {
        self.chunks = &self.chunks[1..];
    }

    fn peek(&self) -> Option<&'a (K, V)> {
        self.chunks.first().and_then(|c| c.get(self.index))
    }

    fn advance(&mut self) {
        self.index += 1;
        if self.chunks.first().is_some_and(|c| c.len() == self.index) {
            self.index = 0;
            self.skip_chunk();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_as_a_sorted_map(ops in prop::collection::vec((0u16..300, any::<bool>(), 0u8..4), 0..900)) {
            let (mut ours, mut model) = (ChunkedMap::new(), BTreeMap::new());
            let mut old = (ours.clone(), model.clone());
            for (i, (k, insert, v)) in ops.iter().enumerate() {
                if i == ops.len() / 2 {
                    old = (ours.clone(), model.clone());
                }
                if *insert {
                    prop_assert_eq!(ours.insert(*k, *v), model.insert(*k, *v));
                } else {
                    prop_assert_eq!(ours.remove(k), model.remove(k));
                }
                prop_assert_eq!(ours.get(k), model.get(k));
            }
            prop_assert_eq!(ours.len(), model.len());
            prop_assert!(ours.iter().eq(model.iter()));
            prop_assert!(ours.range_from(&100).eq(model.range(100..)));
            prop_assert!(old.0.iter().eq(old.1.iter()));
            let mut patched = old.1.clone();
            for d in old.0.differences(&ours) {
                match d {
                    Difference::Added(k, v) => prop_assert!(patched.insert(*k, *v).is_none()),
                    Difference::Removed(k, _) => prop_assert!(patched.remove(k).is_some()),
                    Difference::Changed(k, a, b) => prop_assert_eq!(patched.insert(*k, *b), Some(*a)),
                }
            }
            prop_assert_eq!(patched, model);
        }
    }
}
