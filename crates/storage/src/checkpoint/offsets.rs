//! Offsets by partition: recovery points, high watermarks, log start offsets.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{CheckpointError, MAX_CHECKPOINT_BYTES, parse};
use crate::disk::Disk;
use crate::error::CorruptFile;
use crate::log::TopicPartition;

/// Up to where each log is synced.
pub const RECOVERY_POINT_CHECKPOINT: &str = "recovery-point-offset-checkpoint";
/// First offset of each log, where records were deleted.
pub const LOG_START_OFFSET_CHECKPOINT: &str = "log-start-offset-checkpoint";
/// High watermark of each replica.
pub const HIGH_WATERMARK_CHECKPOINT: &str = "replication-offset-checkpoint";
/// Up to where each compacted log is clean.
pub const CLEANER_OFFSET_CHECKPOINT: &str = "cleaner-offset-checkpoint";

/// Parses the content of an offset checkpoint.
///
/// # Errors
/// [`CheckpointError`].
pub fn parse_offsets(bytes: &[u8]) -> Result<BTreeMap<TopicPartition, i64>, CheckpointError> {
    let entries = parse(bytes, |line| {
        let mut words = line.split_whitespace();
        let (topic, partition, offset) = (words.next()?, words.next()?, words.next()?);
        let entry = (TopicPartition::new(topic, partition.parse().ok()?), offset.parse().ok()?);
        words.next().is_none().then_some(entry)
    })?;
    Ok(entries.into_iter().collect())
}

/// Writes the content of an offset checkpoint.
pub fn render_offsets(offsets: &BTreeMap<TopicPartition, i64>) -> String {
    let mut text = format!("0\n{}\n", offsets.len());
    for (partition, offset) in offsets {
        let _ = writeln!(text, "{} {} {offset}", partition.topic, partition.partition);
    }
    text
}

/// One checkpoint file of a log directory.
#[derive(Debug)]
pub struct OffsetCheckpoint {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// What was written last, so that an unchanged checkpoint costs nothing.
    last: Mutex<Option<String>>,
}

impl OffsetCheckpoint {
    /// The checkpoint `name` of `dir`.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, name: &str) -> Self {
        OffsetCheckpoint { disk, path: dir.join(name), last: Mutex::new(None) }
    }

    /// Reads the offsets; none when there is no file.
    ///
    /// # Errors
    /// As the disk says; a malformed file is [`io::ErrorKind::InvalidData`].
    pub fn read(&self) -> io::Result<BTreeMap<TopicPartition, i64>> {
        match self.disk.read(&self.path, MAX_CHECKPOINT_BYTES)? {
            Some(bytes) => parse_offsets(&bytes).map_err(|error| CorruptFile::error(&self.path, None, error)),
            None => Ok(BTreeMap::new()),
        }
    }

    /// Writes the offsets durably, unless nothing changed since the last time.
    ///
    /// # Errors
    /// As the disk says.
    pub fn write(&self, offsets: &BTreeMap<TopicPartition, i64>) -> io::Result<()> {
        let text = render_offsets(offsets);
        let mut last = self.last.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if last.as_deref() != Some(&text) {
            self.disk.write_atomic(&self.path, text.as_bytes())?;
            *last = Some(text);
        }
        Ok(())
    }
}
