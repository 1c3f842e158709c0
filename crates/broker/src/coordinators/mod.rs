//! The shells around the group and transaction coordinators.
//!
//! One task owns one shard, which is one partition of `__consumer_offsets` or `__transaction_state`: it loads
//! the shard from the log, drains its mailbox, lets the shard decide, appends what it decided as one batch, and
//! answers once the batch is committed.

mod batch;
mod config;
mod group;
mod load;
mod markers;
mod producer_ids;
mod topics_view;
mod transaction;
mod verification;

pub use group::GroupCoordinator;
pub use producer_ids::Source as ProducerIdBlocks;
pub use topics_view::ImageTopics;
pub use transaction::TransactionCoordinator;
pub use verification::{Support, Verification};
