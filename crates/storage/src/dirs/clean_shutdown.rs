//! `.kafka_cleanshutdown`: there when the node stopped in order.

use std::io;
use std::path::Path;

use crate::disk::Disk;

/// Name of the file in a log directory.
pub const CLEAN_SHUTDOWN_FILE: &str = ".kafka_cleanshutdown";
const MAX_BYTES: u64 = 64 * 1024;

/// The mark of a clean stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanShutdown {
    /// The broker's epoch when it stopped; -1 from brokers that did not note it.
    pub broker_epoch: i64,
}

impl CleanShutdown {
    /// Reads the mark; none when the directory was not left in order.
    ///
    /// # Errors
    /// The disk.
    pub fn read(disk: &dyn Disk, dir: &Path) -> io::Result<Option<Self>> {
        let Some(bytes) = disk.read(&dir.join(CLEAN_SHUTDOWN_FILE), MAX_BYTES)? else { return Ok(None) };
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(Some(CleanShutdown {
            broker_epoch: json.get("brokerEpoch").and_then(|v| v.as_i64()).unwrap_or(-1),
        }))
    }

    /// Writes the mark, durably.
    ///
    /// # Errors
    /// The disk.
    pub fn write(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        let text = format!("{{\"version\":0,\"brokerEpoch\":{}}}", self.broker_epoch);
        disk.write_atomic(&dir.join(CLEAN_SHUTDOWN_FILE), text.as_bytes())
    }

    /// Removes the mark, durably, which has to happen before anything is written to the directory.
    ///
    /// # Errors
    /// The disk.
    pub fn remove(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        disk.remove_file(&dir.join(CLEAN_SHUTDOWN_FILE))?;
        disk.fsync_dir(dir)
    }
}
