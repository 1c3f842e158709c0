//! Changing a magic 2 batch in its buffer: what a leader does to the batches of a producer.
//!
//! Every function takes a slice that starts with the batch and is at least as long as it; a slice that is too short
//! for the field is left as it is.

use super::batch::Batch;
use super::crc::{crc32c, crc32c_of_two};
use super::error::RecordsError;
use super::header::{Attributes, BatchHeader, TimestampType, layout};

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
    let changed = put_max_timestamp(batch, timestamp_type, max_timestamp);
    if changed {
        refresh_crc(batch);
    }
    changed
}

/// As [`set_max_timestamp`], without the checksum.
fn put_max_timestamp(batch: &mut [u8], timestamp_type: TimestampType, max_timestamp: i64) -> bool {
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
    true
}

/// Computes the checksum anew. `batch` is exactly the batch. O(size).
pub fn refresh_crc(batch: &mut [u8]) {
    if let Some(covered) = batch.get(layout::ATTRIBUTES..) {
        let crc = crc32c(covered);
        put(batch, layout::CRC, &crc.to_be_bytes());
    }
}

/// A magic 2 batch as a log stores it: with a header of its own, and the records where the producer's request has them.
/// So a leader changes the batch of a request without a copy of its records.
#[derive(Debug, Clone, Copy)]
pub struct PatchedBatch<'a> {
    header: [u8; layout::RECORD_BATCH_OVERHEAD],
    original: Batch<'a>,
}

impl<'a> PatchedBatch<'a> {
    /// The batch with a header that is not changed yet; none for magic 0 and 1.
    pub fn new(original: Batch<'a>) -> Option<Self> {
        let header = (original.header().magic >= 2).then(|| original.bytes().first_chunk().copied())??;
        Some(PatchedBatch { header, original })
    }

    /// As [`set_base_offset`].
    pub fn set_base_offset(&mut self, base_offset: i64) {
        set_base_offset(&mut self.header, base_offset);
    }

    /// As [`set_partition_leader_epoch`].
    pub fn set_partition_leader_epoch(&mut self, epoch: i32) {
        set_partition_leader_epoch(&mut self.header, epoch);
    }

    /// As [`set_max_timestamp`].
    pub fn set_max_timestamp(&mut self, timestamp_type: TimestampType, max_timestamp: i64) -> bool {
        let changed = put_max_timestamp(&mut self.header, timestamp_type, max_timestamp);
        if changed {
            let crc = crc32c_of_two(&self.header[layout::ATTRIBUTES..], self.original.payload());
            put(&mut self.header, layout::CRC, &crc.to_be_bytes());
        }
        changed
    }

    /// The batch as it is now. Only [`Batch::bytes`] of it still has the old header.
    ///
    /// # Errors
    /// None that a batch has which was read before.
    pub fn batch(&self) -> Result<Batch<'a>, RecordsError> {
        Ok(Batch { header: BatchHeader::parse(&self.header)?, ..self.original })
    }

    /// Header and records: what is to be written, one behind the other.
    pub fn parts(&self) -> [&[u8]; 2] {
        [&self.header, self.original.payload()]
    }
}
