//! Incremental fetch sessions: a client names its partitions once and afterwards only what changes; the
//! answer has only the partitions with something new. Source: KIP-227, KIP-516, Kafka `FetchSession`.

mod cache;
mod session;

#[cfg(test)]
mod tests;

pub use cache::{Begun, FetchSessionCache, SessionLimits, SessionRequest};
pub use session::{FetchSession, FetchTarget, PartitionOutcome};

use ottla_protocol::types::{Str, Uuid};

/// Session id of a request or response without a session.
pub const INVALID_SESSION_ID: i32 = 0;
/// Epoch that asks for a new session.
pub const INITIAL_EPOCH: i32 = 0;
/// Epoch that closes the session, or asks for no session.
pub const FINAL_EPOCH: i32 = -1;

/// The partition of a fetch request: by id from version 13 on, by name before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionKey {
    pub topic_id: Uuid,
    pub topic: Str,
    pub partition: i32,
}

/// The epoch that follows `epoch` in a session; 0 is never used again.
pub fn next_epoch(epoch: i32) -> i32 {
    if epoch < 0 {
        FINAL_EPOCH
    } else if epoch == i32::MAX {
        1
    } else {
        epoch + 1
    }
}
