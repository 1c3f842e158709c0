//! What a cleaning read, wrote and took.
//!
//! Source: Kafka `CleanerStats`.

/// What one cleaning did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CleanerStats {
    /// Bytes that were read to be copied.
    pub bytes_read: u64,
    /// Bytes that were kept.
    pub bytes_written: u64,
    /// Bytes that were read for the map.
    pub map_bytes_read: u64,
    /// Records that were read to be copied.
    pub messages_read: u64,
    /// Records without a key, which are dropped.
    pub invalid_messages_read: u64,
    /// Records that were kept.
    pub messages_written: u64,
    /// Records that were read for the map.
    pub map_messages_read: u64,
    /// Share of the map's memory that was in use, from 0 to 1.
    pub buffer_utilization: f64,
    /// When it began, milliseconds since the epoch.
    pub start_ms: i64,
    /// When the map was there.
    pub map_complete_ms: i64,
    /// When it ended.
    pub end_ms: i64,
}

impl CleanerStats {
    /// Seconds that the cleaning took.
    pub fn elapsed_secs(&self) -> f64 {
        (self.end_ms - self.start_ms) as f64 / 1000.0
    }

    /// Seconds that the map took.
    pub fn elapsed_index_secs(&self) -> f64 {
        (self.map_complete_ms - self.start_ms) as f64 / 1000.0
    }
}
