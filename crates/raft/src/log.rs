//! What the core sees of the log and its snapshots.

/// An offset with the epoch that it belongs to: the end of a log, or the name of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct OffsetAndEpoch {
    /// Compared first after the epoch: a later epoch wins whatever the offsets are.
    pub epoch: i32,
    pub offset: i64,
}

impl OffsetAndEpoch {
    pub fn new(offset: i64, epoch: i32) -> Self {
        OffsetAndEpoch { epoch, offset }
    }
}

/// The name of a snapshot: everything before `offset`, the last record of it from `epoch`.
pub type SnapshotId = OffsetAndEpoch;

/// The log as it is when an event is handled. The core never keeps a view.
pub trait LogView {
    /// First offset that the log still has.
    fn start_offset(&self) -> i64;
    /// Offset that the next record gets, and the epoch of the last one (or of the latest snapshot,
    /// or 0).
    fn end(&self) -> OffsetAndEpoch;
    /// Everything before this offset survives a crash.
    fn flushed_offset(&self) -> i64;
    /// The largest epoch not above `epoch` that the log has records of, and where that epoch ends.
    /// The start of the log (or the latest snapshot) where there is none.
    fn end_of_epoch(&self, epoch: i32) -> OffsetAndEpoch;
    /// The newest complete snapshot.
    fn latest_snapshot(&self) -> Option<SnapshotId>;
    /// The oldest complete snapshot. Where the log starts after 0, it starts at the end of this one or
    /// before.
    fn earliest_snapshot(&self) -> Option<SnapshotId>;
    /// Size of a snapshot in bytes, if there is such a one.
    fn snapshot_size(&self, id: SnapshotId) -> Option<u64>;
}

/// What a replica that says how far it is should do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Validity {
    /// Its log is a prefix of this one.
    Valid,
    /// Its log differs from here on: it must truncate.
    Diverging(OffsetAndEpoch),
    /// What it needs is gone from the log: it must fetch the snapshot.
    Snapshot(SnapshotId),
}

/// Source: Kafka `RaftLog.validateOffsetAndEpoch`.
pub(crate) fn validate_position(log: &dyn LogView, at: OffsetAndEpoch) -> Validity {
    let start = log.start_offset();
    if start == 0 && at.offset == 0 && at.epoch == 0 {
        return Validity::Valid;
    }
    if let (Some(earliest), Some(latest)) = (log.earliest_snapshot(), log.latest_snapshot()) {
        let gone = at.offset < start
            || (at.offset == start && earliest.offset == start && start > 0 && at.epoch != earliest.epoch)
            || at.epoch < earliest.epoch;
        if gone {
            return Validity::Snapshot(latest);
        }
    }
    let end = log.end_of_epoch(at.epoch);
    if end.epoch != at.epoch || end.offset < at.offset { Validity::Diverging(end) } else { Validity::Valid }
}
