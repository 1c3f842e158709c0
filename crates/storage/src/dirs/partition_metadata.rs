//! `partition.metadata`: the id of the topic that a partition's directory belongs to.

use std::io;
use std::path::Path;

use ottla_protocol::types::Uuid;

use crate::disk::{Disk, OpenMode};
use crate::error::CorruptFile;

/// Name of the file in a partition's directory.
pub const PARTITION_METADATA_FILE: &str = "partition.metadata";
const MAX_BYTES: u64 = 4096;

/// The content of `partition.metadata`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// The topic's id.
    pub topic_id: Uuid,
}

impl PartitionMetadata {
    /// The text of the file.
    pub fn render(&self) -> String {
        format!("version: 0\ntopic_id: {}", self.topic_id)
    }

    /// Parses the text of the file.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()?.split_once(':')?.1.trim() != "0" {
            return None;
        }
        let (key, value) = lines.next()?.split_once(':')?;
        let topic_id: Uuid = value.trim().parse().ok()?;
        (key.trim() == "topic_id" && !topic_id.is_zero()).then_some(PartitionMetadata { topic_id })
    }

    /// Reads the file of a partition's directory; none when there is none.
    ///
    /// # Errors
    /// The disk; [`io::ErrorKind::InvalidData`] for another format.
    pub fn read(disk: &dyn Disk, dir: &Path) -> io::Result<Option<Self>> {
        let Some(bytes) = disk.read(&dir.join(PARTITION_METADATA_FILE), MAX_BYTES)? else { return Ok(None) };
        let parsed = std::str::from_utf8(&bytes).ok().and_then(Self::parse);
        if parsed.is_none() && Self::is_unfinished(&bytes) {
            // The power went before a new file was durable; what the controller says will be written again.
            return Ok(None);
        }
        parsed.map(Some).ok_or_else(|| {
            CorruptFile::error(&dir.join(PARTITION_METADATA_FILE), None, "malformed partition.metadata")
        })
    }

    /// Whether the bytes are a file of which the end, or the content of some sectors, never reached the disk.
    fn is_unfinished(bytes: &[u8]) -> bool {
        let whole = PartitionMetadata { topic_id: Uuid::ZERO }.render().len();
        bytes.len() < whole || bytes.contains(&0)
    }

    /// Writes the file of a directory that is new. It is durable once [`PartitionMetadata::write`] has run; until then
    /// nothing in the directory is.
    ///
    /// # Errors
    /// The disk.
    pub fn write_first(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        let file = disk.open(&dir.join(PARTITION_METADATA_FILE), OpenMode::ReadWrite)?;
        file.truncate(0)?;
        file.pwrite_all(self.render().as_bytes(), 0)
    }

    /// Writes the file, durably.
    ///
    /// # Errors
    /// The disk.
    pub fn write(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        disk.write_atomic(&dir.join(PARTITION_METADATA_FILE), self.render().as_bytes())
    }
}
