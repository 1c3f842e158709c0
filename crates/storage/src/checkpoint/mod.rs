//! The small text files of checkpoints: version, count, one entry a line.
//!
//! Source: Kafka `CheckpointFile`, `OffsetCheckpointFile`, `LeaderEpochCheckpointFile`.

mod leader_epoch;
mod offsets;

pub use leader_epoch::{EpochEntry, LEADER_EPOCH_CHECKPOINT, LeaderEpochCache, UNDEFINED_EPOCH};
pub use offsets::{
    CLEANER_OFFSET_CHECKPOINT, HIGH_WATERMARK_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT, OffsetCheckpoint,
    RECOVERY_POINT_CHECKPOINT, parse_offsets, render_offsets,
};

use thiserror::Error;

/// The largest checkpoint that is read: a million partitions with long names.
pub(crate) const MAX_CHECKPOINT_BYTES: u64 = 512 << 20;

/// Why a checkpoint cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// The file is no text, or misses its first lines.
    #[error("malformed checkpoint file")]
    Malformed,
    /// A version that is not 0.
    #[error("unrecognized version of the checkpoint file: {version}")]
    UnknownVersion {
        /// The version line.
        version: i32,
    },
    /// A line that is no entry.
    #[error("malformed line in checkpoint file: '{line}'")]
    MalformedLine {
        /// The line.
        line: String,
    },
    /// Not as many entries as the second line says.
    #[error("expected {expected} entries in checkpoint file, but found only {found}")]
    WrongCount {
        /// What the file says.
        expected: usize,
        /// What it holds.
        found: usize,
    },
}

/// The lines of the entries of a checkpoint.
pub(crate) fn parse<T>(
    bytes: &[u8],
    mut entry: impl FnMut(&str) -> Option<T>,
) -> Result<Vec<T>, CheckpointError> {
    let text = std::str::from_utf8(bytes).map_err(|_| CheckpointError::Malformed)?;
    let mut lines = text.lines();
    let Some(version) = lines.next() else { return Ok(Vec::new()) };
    let version: i32 = version.trim().parse().map_err(|_| CheckpointError::Malformed)?;
    if version != 0 {
        return Err(CheckpointError::UnknownVersion { version });
    }
    let Some(count) = lines.next() else { return Ok(Vec::new()) };
    let expected: usize = count.trim().parse().map_err(|_| CheckpointError::Malformed)?;
    let mut entries = Vec::new();
    for line in lines {
        let parsed = entry(line).ok_or_else(|| CheckpointError::MalformedLine { line: line.to_owned() })?;
        entries.push(parsed);
    }
    if entries.len() != expected {
        return Err(CheckpointError::WrongCount { expected, found: entries.len() });
    }
    Ok(entries)
}
