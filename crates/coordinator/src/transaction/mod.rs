//! The transaction coordinator: transactional ids, their producers and transactions, one shard per partition of
//! `__transaction_state` (KIP-98, KIP-360, KIP-890).

mod add_partitions;
mod end_txn;
mod init_producer_id;
mod list;
mod markers;
mod messages;
mod metadata;
mod outcome;
mod record;
mod shard;
mod state;
mod sweep;

pub use markers::MarkerResult;
pub use messages::{TxnRequest, TxnResponse};
pub use metadata::{TransactionMetadata, TxnPartitions};
pub use outcome::{SendMarkers, TxnOutcome};
pub use record::TxnRecord;
pub use shard::{TxnConfig, TxnEnv, TxnShard};
pub use state::TransactionState;

use ottla_protocol::ErrorCode;

/// Where fresh producer ids come from: a block that the controller gave the broker.
pub trait ProducerIdSource {
    /// The next unused producer id.
    ///
    /// # Errors
    /// What the client is told when there is none right now; `COORDINATOR_LOAD_IN_PROGRESS` makes it try again.
    fn next_producer_id(&mut self) -> Result<i64, ErrorCode>;
}

pub(crate) const NO_PRODUCER_ID: i64 = -1;
pub(crate) const NO_PRODUCER_EPOCH: i16 = -1;

/// From this level of `transaction.version` on, ending a transaction bumps the producer epoch.
pub(crate) const EPOCH_BUMP_VERSION: i16 = 2;

#[cfg(test)]
mod tests;
