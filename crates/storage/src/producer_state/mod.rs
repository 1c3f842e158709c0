//! What a log knows of its producers: the last batches of each, for duplicates and gaps, and open transactions.
//!
//! Source: Kafka `ProducerStateManager`, `ProducerStateEntry`, `ProducerAppendInfo`; KIP-98, KIP-360, KIP-890.

mod append;
mod entry;
mod producers;
mod snapshot;

pub(crate) use entry::LastRecord;
pub use entry::{BatchMetadata, ProducerEntry};
pub use snapshot::{SnapshotError, parse_snapshot, render_snapshot};

pub(crate) use append::{CompletedTxn, ProducerAppend};
pub(crate) use producers::Producers;

/// Where an append comes from. It decides what is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOrigin {
    /// A producer.
    Client,
    /// A group, transaction or share coordinator of this node.
    Coordinator,
    /// The leader of the metadata quorum.
    RaftLeader,
    /// The leader of the partition, whose log is copied.
    Replication,
}

/// Proof that the transaction coordinator knows of a transaction's partition (KIP-890 part 1). Made by
/// [`crate::log::Log::maybe_start_transaction_verification`] and given back with the append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerificationGuard(pub(crate) u64);

impl VerificationGuard {
    /// No verification took place, because none was needed.
    pub const SENTINEL: VerificationGuard = VerificationGuard(0);
}

/// The transaction version of an append that is not a marker, or whose version is not known.
pub const TRANSACTION_VERSION_UNKNOWN: i16 = -1;
