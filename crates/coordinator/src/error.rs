//! Errors shared by both coordinators: of replay, and how a failed append is told to clients.

use ottla_protocol::ErrorCode;
use ottla_protocol::wire::DecodeError;

/// A record of an internal topic that cannot become part of the state.
///
/// The partition cannot be served from here until the record is compacted away or the software knows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The key is shorter than its type.
    #[error("record key of {0} bytes is too short for a record type")]
    ShortKey(usize),
    /// The key has a type this version does not know.
    #[error("unknown record type {0}")]
    UnknownRecordType(i16),
    /// The value has a version this software does not know.
    #[error("unknown version {version} of the value of record type {record_type}")]
    UnknownValueVersion { record_type: i16, version: i16 },
    /// Key or value do not decode.
    #[error("record of type {record_type} does not decode")]
    Malformed { record_type: i16, source: DecodeError },
    /// A transaction status outside the known ones.
    #[error("unknown transaction status {0}")]
    UnknownTransactionStatus(i8),
    /// A record of one group kind under the id of a group of another kind.
    #[error("record of type {record_type} for a group of another type")]
    WrongGroupType { record_type: i16 },
    /// A tombstone that arrived before the tombstones it depends on.
    #[error("tombstone of record type {record_type} while the state it closes is not empty")]
    UnexpectedTombstone { record_type: i16 },
}

impl ReplayError {
    /// What clients of the partition are told.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            ReplayError::ShortKey(_)
            | ReplayError::UnknownRecordType(_)
            | ReplayError::UnknownValueVersion { .. }
            | ReplayError::Malformed { .. }
            | ReplayError::UnknownTransactionStatus(_)
            | ReplayError::WrongGroupType { .. }
            | ReplayError::UnexpectedTombstone { .. } => ErrorCode::NotCoordinator,
        }
    }
}

/// Maps the error of an append to an internal topic to the one a client understands.
///
/// Source: `CoordinatorOperationExceptionHelper`, `TransactionStateManager.appendTransactionToLog`.
pub fn append_error_to_coordinator_error(error: ErrorCode) -> ErrorCode {
    match error {
        // Verification of a transaction failed in a way older clients would not retry.
        ErrorCode::NetworkException => ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend
        | ErrorCode::RequestTimedOut => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
            ErrorCode::UnknownServerError
        }
        other => other,
    }
}
