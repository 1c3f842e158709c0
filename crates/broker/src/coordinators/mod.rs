//! The shells around the group and transaction coordinators.
//!
//! One task owns one shard, which is one partition of `__consumer_offsets` or `__transaction_state`: it loads
//! the shard from the log, drains its mailbox, lets the shard decide, appends what it decided as one batch, and
//! answers once the batch is committed.

mod batch;
mod config;
mod group;
mod load;
mod topics_view;
mod transaction;

pub use group::GroupCoordinator;
pub use topics_view::ImageTopics;
pub use transaction::TransactionCoordinator;

use ottla_protocol::ErrorCode;

/// What clients of a coordinator are told when its partition cannot be written. Source: Kafka `CoordinatorOperationExceptionHelper`.
pub(crate) fn append_error(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::RequestTimedOut => {
            ErrorCode::CoordinatorNotAvailable
        }
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
            ErrorCode::UnknownServerError
        }
        other => other,
    }
}
