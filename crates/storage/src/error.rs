//! What can go wrong in a log, with Kafka's error codes and texts.

use std::fmt;
use std::io;
use std::path::PathBuf;

use ottla_protocol::ErrorCode;
use ottla_protocol::records::RecordsError;
use thiserror::Error;

use crate::log::TopicPartition;

/// What is wrong with one record of a batch (KIP-467).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError {
    /// Index of the record within its batch.
    pub batch_index: i32,
    /// Kafka's text.
    pub message: String,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordError(batchIndex={}, message='{}')", self.batch_index, self.message)
    }
}

fn first_three(errors: &[RecordError]) -> String {
    let shown: Vec<String> = errors.iter().take(3).map(ToString::to_string).collect();
    format!("[{}]", shown.join(", "))
}

/// Why an operation on a log did not happen.
#[derive(Debug, Error)]
pub enum LogError {
    /// An offset outside of the log, with Kafka's text.
    #[error("{text}")]
    OffsetOutOfRange {
        /// Kafka's text.
        text: String,
    },
    /// A stored checksum is wrong.
    #[error("Record is corrupt (stored crc = {stored}) in topic partition {partition}.")]
    CorruptRecord {
        /// The checksum in the batch.
        stored: u32,
        /// Where it was to be appended.
        partition: TopicPartition,
    },
    /// The bytes are no batches.
    #[error("{0}")]
    Records(#[from] RecordsError),
    /// A batch that breaks a rule, with Kafka's text.
    #[error("{text}")]
    InvalidRecord {
        /// Kafka's text.
        text: String,
    },
    /// A batch of an old format, or with a codec that its request version does not have.
    #[error("{text}")]
    UnsupportedForRequest {
        /// The error code.
        code: ErrorCode,
        /// Kafka's text.
        text: String,
    },
    /// Records of a batch break a rule.
    #[error(
        "One or more records have been rejected due to {} record errors in total, and only showing the first three \
         errors at most: {}", .errors.len(), first_three(.errors)
    )]
    RecordsRejected {
        /// The records and what is wrong with each.
        errors: Vec<RecordError>,
    },
    /// Records of a batch have timestamps that may not be.
    #[error("One or more records have been rejected due to invalid timestamp")]
    InvalidTimestamp {
        /// The records and what is wrong with each.
        errors: Vec<RecordError>,
    },
    /// A batch above `max.message.bytes`, with Kafka's text.
    #[error("{text}")]
    RecordTooLarge {
        /// Kafka's text.
        text: String,
    },
    /// A batch above `segment.bytes`, with Kafka's text.
    #[error("{text}")]
    RecordBatchTooLarge {
        /// Kafka's text.
        text: String,
    },
    /// A sequence that does not follow, with Kafka's text.
    #[error("{text}")]
    OutOfOrderSequence {
        /// Kafka's text.
        text: String,
    },
    /// A producer epoch that is over, with Kafka's text.
    #[error("{text}")]
    InvalidProducerEpoch {
        /// Kafka's text.
        text: String,
    },
    /// A marker of a coordinator that is over, with Kafka's text.
    #[error("{text}")]
    TransactionCoordinatorFenced {
        /// Kafka's text.
        text: String,
    },
    /// A write that does not fit the state of its transaction, with Kafka's text.
    #[error("{text}")]
    InvalidTxnState {
        /// Kafka's text.
        text: String,
    },
    /// Offsets given to a follower go backwards, with Kafka's text.
    #[error("{text}")]
    UnexpectedAppendOffset {
        /// Kafka's text.
        text: String,
        /// First offset of the append.
        first_offset: i64,
        /// Last offset of the append.
        last_offset: i64,
    },
    /// Offsets within an append are not increasing.
    #[error("Out of order offsets found in append to {partition}")]
    OffsetsOutOfOrder {
        /// Where it was to be appended.
        partition: TopicPartition,
    },
    /// The disk said no. Unless there was no space, the directory is offline from now on.
    #[error("{operation} for {partition} in dir {dir}", dir = .dir.display())]
    Storage {
        /// What was being done.
        operation: &'static str,
        /// The partition.
        partition: TopicPartition,
        /// The log directory.
        dir: PathBuf,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// A file of the log does not hold what was written to it. Only what met the damage fails, as in Kafka, where a
    /// `CorruptRecordException` is no I/O error: the directory goes on.
    #[error("{operation} for {partition}")]
    Damaged {
        /// What was being done.
        operation: &'static str,
        /// The partition.
        partition: TopicPartition,
        /// Where, and what is wrong.
        #[source]
        source: CorruptFile,
    },
    /// The log directory is offline since an earlier error.
    #[error("The log dir {dir} is already offline due to a previous IO exception.", dir = .dir.display())]
    DirOffline {
        /// The log directory.
        dir: PathBuf,
    },
    /// The log is closed or deleted.
    #[error("The log of {partition} is closed.")]
    Closed {
        /// The partition.
        partition: TopicPartition,
    },
    /// The call itself makes no sense, with Kafka's text.
    #[error("{text}")]
    InvalidArgument {
        /// Kafka's text.
        text: String,
    },
}

impl LogError {
    /// What a client is told.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            LogError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            LogError::CorruptRecord { .. } | LogError::Damaged { .. } => ErrorCode::CorruptMessage,
            LogError::Records(error) if error.is_corrupt() => ErrorCode::CorruptMessage,
            LogError::Records(_) | LogError::InvalidRecord { .. } | LogError::RecordsRejected { .. } => {
                ErrorCode::InvalidRecord
            }
            LogError::UnsupportedForRequest { code, .. } => *code,
            LogError::InvalidTimestamp { .. } => ErrorCode::InvalidTimestamp,
            LogError::RecordTooLarge { .. } => ErrorCode::MessageTooLarge,
            LogError::RecordBatchTooLarge { .. } => ErrorCode::RecordListTooLarge,
            LogError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
            LogError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            LogError::TransactionCoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
            LogError::InvalidTxnState { .. } => ErrorCode::InvalidTxnState,
            LogError::UnexpectedAppendOffset { .. }
            | LogError::OffsetsOutOfOrder { .. }
            | LogError::InvalidArgument { .. } => ErrorCode::UnknownServerError,
            LogError::Storage { .. } | LogError::DirOffline { .. } => ErrorCode::KafkaStorageError,
            LogError::Closed { .. } => ErrorCode::NotLeaderOrFollower,
        }
    }

    /// The records that are to blame, as they go into a Produce response.
    pub fn record_errors(&self) -> &[RecordError] {
        match self {
            LogError::RecordsRejected { errors } | LogError::InvalidTimestamp { errors } => errors,
            _ => &[],
        }
    }

    /// Whether something has run out that may return: space on the disk, a quota, file descriptors.
    pub fn is_shortage(&self) -> bool {
        matches!(self, LogError::Storage { source, .. } if is_shortage(source))
    }
}

/// A file that does not hold what it should. It comes as the inner error of an [`io::ErrorKind::InvalidData`].
#[derive(Debug, Error)]
#[error("{path}{}: {source}", .position.map(|at| format!(" at position {at}")).unwrap_or_default(), path = .path.display())]
pub struct CorruptFile {
    /// The file.
    pub path: PathBuf,
    /// Where in it, when that is known.
    pub position: Option<u64>,
    /// What is wrong.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl CorruptFile {
    /// Takes it out of an error; an error without one is said of `path` as a whole.
    pub(crate) fn from_io(error: io::Error, path: &std::path::Path) -> Self {
        error.downcast::<CorruptFile>().unwrap_or_else(|error| CorruptFile {
            path: path.to_path_buf(),
            position: None,
            source: error.into(),
        })
    }

    pub(crate) fn error(
        path: &std::path::Path,
        position: Option<u64>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> io::Error {
        let corrupt = CorruptFile { path: path.to_path_buf(), position, source: source.into() };
        io::Error::new(io::ErrorKind::InvalidData, corrupt)
    }
}

/// Whether an error says that there is no space, no quota or no file descriptor left. A directory is not to blame for
/// any of these, and goes on when there is.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        || matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}
