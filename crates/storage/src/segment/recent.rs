//! The last batches of a segment, in memory: consumers at the end of a log find theirs without a read of the file.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use ottla_protocol::records::BatchHeader;

use super::BatchPosition;

/// Batches that are remembered. A node may have many thousands of segments that are appended to.
const RECENT_BATCHES: usize = 8;

#[derive(Debug, Clone, Copy)]
struct Entry {
    base_offset: i64,
    last_offset: i64,
    at: BatchPosition,
}

/// The last batches that were appended, oldest first. Empty until something is.
#[derive(Debug, Default)]
pub(super) struct RecentBatches(Mutex<VecDeque<Entry>>);

impl RecentBatches {
    fn entries(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn add(&self, header: &BatchHeader, position: u64) {
        let mut entries = self.entries();
        if entries.len() == RECENT_BATCHES {
            entries.pop_front();
        }
        entries.push_back(Entry {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            at: BatchPosition { position, size: header.size },
        });
    }

    /// Forgets all of them: the file was changed.
    pub(super) fn clear(&self) {
        self.entries().clear();
    }

    /// The first batch at or behind `offset`, when it is among them: from the first that is remembered on they follow one
    /// another in the file.
    pub(super) fn find(&self, offset: i64) -> Option<BatchPosition> {
        let entries = self.entries();
        if offset < entries.front()?.base_offset {
            return None;
        }
        let slot = entries.partition_point(|entry| entry.last_offset < offset);
        entries.get(slot).map(|entry| entry.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::records::{BatchBuilder, BatchOptions};

    fn header(base_offset: i64, records: usize) -> BatchHeader {
        let mut builder = BatchBuilder::new(BatchOptions { base_offset, ..BatchOptions::default() });
        for _ in 0..records {
            builder.append(0, None, None, []);
        }
        BatchHeader::parse(&builder.build().expect("builds")).expect("a header")
    }

    #[test]
    fn only_the_last_ones_are_found_and_gaps_lead_to_the_batch_behind_them() {
        let recent = RecentBatches::default();
        assert_eq!(recent.find(0), None);
        // Offsets 0..2, 10..12, 20..22 and so on.
        for index in 0..20 {
            recent.add(&header(index * 10, 2), index as u64 * 100);
        }
        let first = 20 - RECENT_BATCHES as i64;
        assert_eq!(recent.find(first * 10 - 1), None, "a batch that is forgotten may hold it");
        for index in first..20 {
            for offset in [index * 10, index * 10 + 1] {
                assert_eq!(recent.find(offset).map(|at| at.position), Some(index as u64 * 100));
            }
        }
        assert_eq!(recent.find(185).map(|at| at.position), Some(1900));
        assert_eq!(recent.find(192), None);
        recent.clear();
        assert_eq!(recent.find(190), None);
    }
}
