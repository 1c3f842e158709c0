//! Why a cleaning did not come to its end.

use std::path::PathBuf;

use ottla_protocol::records::RecordsError;
use thiserror::Error;

use crate::error::LogError;

/// Why a cleaning did not come to its end. The log is as it was, but for groups that were swapped in before.
#[derive(Debug, Error)]
pub enum CleanError {
    /// The log is being truncated, deleted or moved.
    #[error("the cleaning was aborted")]
    Aborted,
    /// The thread is to stop.
    #[error("the cleaner stops")]
    Stopped,
    /// What the log holds is not what was written to it.
    #[error("corrupt batch in {path} at position {position}, offset {offset}: {source}", path = .path.display())]
    Corrupt {
        /// The segment.
        path: PathBuf,
        /// Where the batch starts.
        position: u64,
        /// The offset that its header says; the last good one and one more where there is no header.
        offset: i64,
        /// What is wrong.
        source: CorruptBatch,
    },
    /// The log or its disk.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl CleanError {
    /// Whether it says something of the log, and so of the next attempt.
    pub(crate) fn is_uncleanable(&self) -> bool {
        match self {
            CleanError::Corrupt { .. } => true,
            CleanError::Log(error) => !matches!(
                error,
                LogError::Storage { .. } | LogError::DirOffline { .. } | LogError::Closed { .. }
            ),
            CleanError::Aborted | CleanError::Stopped => false,
        }
    }
}

/// What is wrong with a batch.
#[derive(Debug, Clone, Error)]
pub enum CorruptBatch {
    /// Structure, checksum or content.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// The checksum does not cover offset and epoch.
    #[error(
        "offsets {base_offset} to {last_offset} do not belong to their place, which is from {from} to {to}"
    )]
    Offset {
        /// What the header says.
        base_offset: i64,
        /// As above.
        last_offset: i64,
        /// The first that may be.
        from: i64,
        /// The first that may not be again.
        to: i64,
    },
    /// As above.
    #[error("leader epoch {epoch} is behind {before}")]
    Epoch {
        /// What the header says.
        epoch: i32,
        /// That of the batch before.
        before: i32,
    },
    /// The file goes on, but what is there is shorter than it says.
    #[error("the batch does not end within the file, which has {left} bytes left")]
    Incomplete {
        /// Bytes from the start of the batch to the end of the file.
        left: u64,
    },
    /// The codec's library does not compress.
    #[error("what is kept of the batch cannot be compressed: {text}")]
    Compression {
        /// Its text.
        text: String,
    },
}
