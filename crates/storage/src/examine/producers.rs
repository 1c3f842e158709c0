//! Producer snapshots.

use std::path::Path;

use super::Examiner;
use super::finding::{Effect, Finding, Problem};
use crate::producer_state::parse_snapshot;

/// A larger snapshot is none of Kafka's: it would have 20 million producers.
const MAX_SNAPSHOT_BYTES: u64 = 1 << 30;
/// Bytes of an entry, and of what comes before the first.
const ENTRY: u64 = 46;
const HEADER: u64 = 10;

/// Looks at a snapshot of the producers as of `offset` in a log that ends at `end`.
pub(super) fn snapshot(examiner: &mut Examiner<'_>, path: &Path, offset: i64, end: Option<i64>) {
    let bytes = match examiner.disk.read(path, MAX_SNAPSHOT_BYTES) {
        Ok(bytes) => bytes.unwrap_or_default(),
        Err(error) => return examiner.unreadable(path, error, Effect::Rebuilt),
    };
    let producers = match parse_snapshot(&bytes) {
        Ok(producers) => producers,
        Err(error) => {
            let problem = Problem::Malformed { reason: error.to_string() };
            examiner.found(Finding::problem(path, problem, Effect::Rebuilt).at(0).of_offset(offset));
            return;
        }
    };
    if let Some(end) = end
        && offset > end
    {
        let problem = Problem::SnapshotBeyondEnd { offset, end };
        examiner.found(Finding::problem(path, problem, Effect::CleanedUp).of_offset(offset));
    }
    for (slot, producer) in producers.iter().enumerate() {
        let at = HEADER + slot as u64 * ENTRY;
        let last = producer.last_data_offset().max(producer.current_txn_first_offset.unwrap_or(-1));
        if last >= offset {
            let problem = Problem::SnapshotBeyondEnd { offset: last, end: offset };
            examiner.found(Finding::problem(path, problem, Effect::ProducersUnsure).at(at).of_offset(offset));
        }
    }
}
