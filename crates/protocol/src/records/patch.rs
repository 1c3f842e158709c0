//! Changing a magic 2 batch in its buffer: what a leader does to the batches of a producer.
//!
//! Every function takes a slice that starts with the batch and is at least as long as it; a slice that is too short
//! for the field is left as it is.

use super::crc32c;
use super::header::{Attributes, TimestampType, layout};

fn put(batch: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(field) = batch.get_mut(at..at + bytes.len()) {
        field.copy_from_slice(bytes);
    }
}

/// Sets the offset of the first record. Not covered by the checksum.
pub fn set_base_offset(batch: &mut [u8], base_offset: i64) {
    put(batch, layout::BASE_OFFSET, &base_offset.to_be_bytes());
}

/// Sets the leader epoch. Not covered by the checksum.
pub fn set_partition_leader_epoch(batch: &mut [u8], epoch: i32) {
    put(batch, layout::PARTITION_LEADER_EPOCH, &epoch.to_be_bytes());
}

/// Sets the type of the timestamps and the largest of them, and the checksum where that changes anything. Unused
/// attribute bits are then cleared, as Kafka does. `batch` is exactly the batch. O(size) when something changes.
///
/// Returns whether anything changed.
pub fn set_max_timestamp(batch: &mut [u8], timestamp_type: TimestampType, max_timestamp: i64) -> bool {
    let Some(header) = batch.get(..layout::RECORD_BATCH_OVERHEAD) else {
        return false;
    };
    let attributes = header[layout::ATTRIBUTES + 1];
    let is_append_time = attributes & Attributes::LOG_APPEND_TIME != 0;
    let append_time = timestamp_type == TimestampType::LogAppendTime;
    if is_append_time == append_time
        && header[layout::MAX_TIMESTAMP..layout::MAX_TIMESTAMP + 8] == max_timestamp.to_be_bytes()
    {
        return false;
    }
    let known =
        Attributes::CODEC_MASK | Attributes::TRANSACTIONAL | Attributes::CONTROL | Attributes::DELETE_HORIZON;
    let attributes = attributes & known | if append_time { Attributes::LOG_APPEND_TIME } else { 0 };
    put(batch, layout::ATTRIBUTES, &[0, attributes]);
    put(batch, layout::MAX_TIMESTAMP, &max_timestamp.to_be_bytes());
    refresh_crc(batch);
    true
}

/// Computes the checksum anew. `batch` is exactly the batch. O(size).
pub fn refresh_crc(batch: &mut [u8]) {
    if let Some(covered) = batch.get(layout::ATTRIBUTES..) {
        let crc = crc32c(covered);
        put(batch, layout::CRC, &crc.to_be_bytes());
    }
}
