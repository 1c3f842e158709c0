//! When to write a snapshot, and what may be deleted after one.

use crate::log::SnapshotId;

/// Counts what was committed since the last snapshot.
#[derive(Debug, Clone)]
pub struct SnapshotPolicy {
    /// `metadata.log.max.record.bytes.between.snapshots`.
    max_bytes: u64,
    /// `metadata.log.max.snapshot.interval.ms`; 0 for no limit by time.
    max_interval_ms: i64,
    bytes: u64,
    last_snapshot_ms: i64,
    has_records: bool,
}

/// Why a snapshot is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotReason {
    /// Enough bytes of records.
    Bytes,
    /// Enough time.
    Time,
}

impl SnapshotPolicy {
    pub fn new(max_bytes: u64, max_interval_ms: i64, now_ms: i64) -> Self {
        SnapshotPolicy { max_bytes, max_interval_ms, bytes: 0, last_snapshot_ms: now_ms, has_records: false }
    }

    /// A committed batch was applied.
    pub fn on_committed(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.has_records = true;
    }

    /// A snapshot was written or loaded.
    pub fn on_snapshot(&mut self, now_ms: i64) {
        self.bytes = 0;
        self.has_records = false;
        self.last_snapshot_ms = now_ms;
    }

    /// Whether to write a snapshot now.
    pub fn due(&self, now_ms: i64) -> Option<SnapshotReason> {
        if self.bytes >= self.max_bytes {
            return Some(SnapshotReason::Bytes);
        }
        let old = self.max_interval_ms > 0
            && self.has_records
            && now_ms - self.last_snapshot_ms >= self.max_interval_ms;
        old.then_some(SnapshotReason::Time)
    }

    /// When a snapshot becomes due by time.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        (self.max_interval_ms > 0 && self.has_records).then(|| self.last_snapshot_ms + self.max_interval_ms)
    }
}

/// A snapshot on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredSnapshot {
    pub id: SnapshotId,
    pub size_bytes: u64,
    pub last_contained_log_timestamp_ms: i64,
}

/// The snapshots to delete, oldest first, by `metadata.max.retention.bytes` and `.ms` (negative for no
/// limit). The newest one always stays. `log_size_bytes` is the size of the log's segments. The log
/// may then start at the oldest snapshot that is left. Source: Kafka `KafkaRaftLog.cleanSnapshots`.
pub fn snapshots_to_delete(
    snapshots: &[StoredSnapshot],
    log_size_bytes: u64,
    retention_bytes: i64,
    retention_ms: i64,
    now_ms: i64,
) -> Vec<SnapshotId> {
    let mut total = log_size_bytes + snapshots.iter().map(|s| s.size_bytes).sum::<u64>();
    let mut out = Vec::new();
    let Some((_, older)) = snapshots.split_last() else {
        return out;
    };
    for s in older {
        let too_large = u64::try_from(retention_bytes).is_ok_and(|max| total > max);
        let too_old = retention_ms >= 0 && now_ms - s.last_contained_log_timestamp_ms > retention_ms;
        if !too_large && !too_old {
            break;
        }
        total -= s.size_bytes;
        out.push(s.id);
    }
    out
}
