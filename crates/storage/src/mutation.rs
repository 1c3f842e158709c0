//! Bugs that a simulation puts back, one at a time, to show that it would find them.
//!
//! They are compiled in only with the feature `mutations`, which nothing of the product turns on. Without it
//! [`on`] is `false` at compile time and costs nothing.

macro_rules! mutations {
    ($($variant:ident $name:literal $what:literal,)+) => {
        /// A bug that can be put back.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Mutation {
            $(#[doc = $what] $variant,)+
        }

        impl Mutation {
            /// All of them.
            pub const ALL: &'static [Mutation] = &[$(Mutation::$variant,)+];

            /// Its name on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Mutation::$variant => $name,)+ }
            }

            /// What it does wrong.
            pub const fn what(self) -> &'static str {
                match self { $(Mutation::$variant => $what,)+ }
            }
        }
    };
}

mutations! {
    SkipParentFsync "skip-parent-fsync" "A flush syncs new files but not the directory that names them.",
    SkipPartitionDirFsync "skip-partition-dir-fsync" "A new partition's directory is not synced into its parent.",
    SkipRecoveryCrc "skip-recovery-crc" "Recovery believes a batch whatever its checksum.",
    SwapBesideOldSegments "swap-beside-old-segments" "A `.swap` file is put in place while the segments it replaces stay.",
    AppendAfterFailedWrite "append-after-failed-write" "After a failed write the log goes on behind what was left of it.",
    ProducersNotTruncated "producers-not-truncated" "A truncation leaves the state of producers as it was.",
    MarkerDroppedEarly "marker-dropped-early" "A transaction is over for readers before its marker is below the high watermark.",
    AbortNotIndexed "abort-not-indexed" "Recovery forgets aborted transactions when it builds the index anew.",
    IndexNotTruncated "index-not-truncated" "A truncation leaves entries of the offset index behind.",
    AckBeforeFsync "ack-before-fsync" "With flush.messages=1 an append returns before its records are durable.",
    FsyncRetried "fsync-retried" "A sync that failed is tried again, and counts when the second one succeeds.",
    RecoveryPointEarly "recovery-point-early" "The recovery point is checkpointed as the log's end, before the flush.",
    EpochsNotTruncated "epochs-not-truncated" "A truncation leaves leader epochs behind.",
    TimeIndexNotRebuilt "time-index-not-rebuilt" "Recovery leaves the time index empty.",
    OffsetIndexNotRebuilt "offset-index-not-rebuilt" "Recovery keeps the offset index that it finds.",
    CleanMarkKept "clean-mark-kept" "The mark of a clean stop stays while the node runs.",
    TailNotCut "tail-not-cut" "Recovery finds the end of the good batches but leaves the rest of the file.",
    LaterSegmentsKept "later-segments-kept" "Segments behind a corrupt one stay.",
    FutureSnapshotKept "future-snapshot-kept" "Producer snapshots behind the log's end are believed.",
    LogStartNotNoted "log-start-not-noted" "A clean stop does not note the log's start.",
    RenameBeforeSync "rename-before-sync" "A small file is renamed into its place before its content is durable.",
    DeleteNotSynced "delete-not-synced" "A deleted partition's new name is not made durable.",
    UnevenRecoveryPoint "uneven-recovery-point" "The recovery point may be the end of a segment whose indexes are not durable.",
    CleanedBeforeSync "cleaned-before-sync" "A cleaning removes records whose successors are not durable.",
    RecoveredEpochsNotWritten "recovered-epochs-not-written" "What a recovery found of leader epochs never comes to their file.",
    RunwayCutNotSynced "runway-cut-not-synced" "Zeros behind a closed segment's records are cut off, but not durably.",
    LaterTransactionsCount "later-transactions-count" "Transactions that begin behind a marker, in the same append, count as open at it.",
    TruncationNotSynced "truncation-not-synced" "A truncation is not durable before new records take the place of the old.",
}

#[cfg(feature = "mutations")]
mod active {
    use super::Mutation;
    use std::cell::Cell;

    thread_local! {
        static ACTIVE: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    /// Puts a bug back on this thread, or takes all of them out.
    pub fn set(mutation: Option<Mutation>) {
        ACTIVE.set(mutation);
    }

    pub(crate) fn on(mutation: Mutation) -> bool {
        ACTIVE.get() == Some(mutation)
    }
}

#[cfg(feature = "mutations")]
pub(crate) use active::on;
#[cfg(feature = "mutations")]
pub use active::set;

#[cfg(not(feature = "mutations"))]
#[inline(always)]
pub(crate) const fn on(_: Mutation) -> bool {
    false
}
