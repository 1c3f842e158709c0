//! A record as a consumer hands it out.

use std::sync::Arc;

use bytes::Bytes;

/// A record that was read. Key, value and header values are slices of the response, not copies, unless compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerRecord {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since the epoch, -1 for none.
    pub timestamp: i64,
    /// The timestamp is the broker's time of append.
    pub log_append_time: bool,
    pub leader_epoch: i32,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<(String, Option<Bytes>)>,
}
