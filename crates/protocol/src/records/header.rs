//! The header of a batch, of any magic, as plain numbers.

use super::{
    NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, RecordsError,
    increment_sequence,
};
use crate::compression::Codec;

/// Positions of the fields of a batch.
pub mod layout {
    /// int64.
    pub const BASE_OFFSET: usize = 0;
    /// int32, the bytes after this field.
    pub const LENGTH: usize = 8;
    /// Bytes before those that the length counts.
    pub const LOG_OVERHEAD: usize = 12;
    /// int32, not covered by the checksum.
    pub const PARTITION_LEADER_EPOCH: usize = 12;
    /// int8.
    pub const MAGIC: usize = 16;
    /// Bytes up to and with the magic.
    pub const HEADER_SIZE_UP_TO_MAGIC: usize = 17;
    /// uint32, CRC-32C of all that follows.
    pub const CRC: usize = 17;
    /// int16.
    pub const ATTRIBUTES: usize = 21;
    /// int32.
    pub const LAST_OFFSET_DELTA: usize = 23;
    /// int64, or the delete horizon.
    pub const BASE_TIMESTAMP: usize = 27;
    /// int64.
    pub const MAX_TIMESTAMP: usize = 35;
    /// int64.
    pub const PRODUCER_ID: usize = 43;
    /// int16.
    pub const PRODUCER_EPOCH: usize = 51;
    /// int32.
    pub const BASE_SEQUENCE: usize = 53;
    /// int32.
    pub const RECORDS_COUNT: usize = 57;
    /// Bytes of the header; the records follow.
    pub const RECORD_BATCH_OVERHEAD: usize = 61;

    /// uint32 of magic 0 and 1: CRC-32 of all that follows.
    pub const LEGACY_CRC: usize = 12;
    /// int8 of magic 0 and 1.
    pub const LEGACY_ATTRIBUTES: usize = 17;
    /// int64 of magic 1.
    pub const LEGACY_TIMESTAMP: usize = 18;
    /// The smallest length field: an empty magic 0 message.
    pub const LEGACY_RECORD_OVERHEAD_V0: usize = 14;
    /// The smallest length field of magic 1.
    pub const LEGACY_RECORD_OVERHEAD_V1: usize = 22;
}

/// Where the timestamps of a batch come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// Magic 0 has no timestamps.
    NoTimestampType,
    /// The producer's clock.
    CreateTime,
    /// The broker's clock: every record has the batch's maximal timestamp.
    LogAppendTime,
}

/// The attribute bits of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Attributes(pub u8);

impl Attributes {
    /// Bits of the codec.
    pub const CODEC_MASK: u8 = 0x07;
    /// Timestamps are the broker's.
    pub const LOG_APPEND_TIME: u8 = 0x08;
    /// The batch is part of a transaction.
    pub const TRANSACTIONAL: u8 = 0x10;
    /// The batch has a control record.
    pub const CONTROL: u8 = 0x20;
    /// The base timestamp is the delete horizon.
    pub const DELETE_HORIZON: u8 = 0x40;

    /// Whether any bit of `mask` is set.
    pub const fn has(self, mask: u8) -> bool {
        self.0 & mask != 0
    }
}

/// The header of a batch. For magic 0 and 1 the fields that those lack have the values that stand for "none".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record; of magic 0 and 1 the offset of the message, which is the last one within it.
    pub base_offset: i64,
    /// Bytes of the whole batch, with offset and length.
    pub size: usize,
    /// Epoch of the leader that appended the batch, -1 before that.
    pub partition_leader_epoch: i32,
    /// Format.
    pub magic: i8,
    /// Stored checksum.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: Attributes,
    /// Offset of the last record minus the base offset.
    pub last_offset_delta: i32,
    /// Timestamp of the first record, or the delete horizon.
    pub base_timestamp: i64,
    /// Largest timestamp, or the time of append.
    pub max_timestamp: i64,
    /// Producer id, -1 for none.
    pub producer_id: i64,
    /// Producer epoch, -1 for none.
    pub producer_epoch: i16,
    /// Sequence of the first record, -1 for none.
    pub base_sequence: i32,
    /// Number of records; -1 for magic 0 and 1, which do not say.
    pub records_count: i32,
}

pub(super) fn int32(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..)?.first_chunk::<4>().map(|raw| i32::from_be_bytes(*raw))
}

pub(super) fn int64(bytes: &[u8], at: usize) -> Option<i64> {
    bytes.get(at..)?.first_chunk::<8>().map(|raw| i64::from_be_bytes(*raw))
}

fn int16(bytes: &[u8], at: usize) -> Option<i16> {
    bytes.get(at..)?.first_chunk::<2>().map(|raw| i16::from_be_bytes(*raw))
}

/// The size of the batch at the front of `bytes` as its length field says, or `None` when the bytes end before the
/// magic. The batch itself may be longer than `bytes`.
///
/// # Errors
/// [`RecordsError::SizeTooSmall`], [`RecordsError::InvalidMagic`].
pub(super) fn size_of_first(bytes: &[u8]) -> Result<Option<(usize, i8)>, RecordsError> {
    let Some(size) = int32(bytes, layout::LENGTH) else {
        return Ok(None);
    };
    if size < layout::LEGACY_RECORD_OVERHEAD_V0 as i32 {
        return Err(RecordsError::SizeTooSmall { size });
    }
    let Some(&magic) = bytes.get(layout::MAGIC) else {
        return Ok(None);
    };
    let magic = magic as i8;
    if !(0..=super::CURRENT_MAGIC).contains(&magic) {
        return Err(RecordsError::InvalidMagic { magic });
    }
    Ok(Some((layout::LOG_OVERHEAD + size as usize, magic)))
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`, which may end behind it: the records need not be there.
    ///
    /// # Errors
    /// A length or magic that cannot be, or fewer bytes than a header.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, RecordsError> {
        let too_small =
            || RecordsError::BatchTooSmall { size: bytes.len(), overhead: layout::RECORD_BATCH_OVERHEAD };
        let (size, magic) = size_of_first(bytes)?.ok_or_else(too_small)?;
        if magic < 2 {
            return Self::parse_legacy(bytes, size, magic).ok_or(RecordsError::MessageTooSmall { size });
        }
        if size < layout::RECORD_BATCH_OVERHEAD {
            return Err(RecordsError::BatchTooSmall { size, overhead: layout::RECORD_BATCH_OVERHEAD });
        }
        Self::parse_v2(bytes, size).ok_or_else(too_small)
    }

    fn parse_v2(bytes: &[u8], size: usize) -> Option<BatchHeader> {
        let bytes = bytes.first_chunk::<{ layout::RECORD_BATCH_OVERHEAD }>()?;
        Some(BatchHeader {
            base_offset: int64(bytes, layout::BASE_OFFSET)?,
            size,
            partition_leader_epoch: int32(bytes, layout::PARTITION_LEADER_EPOCH)?,
            magic: 2,
            crc: int32(bytes, layout::CRC)? as u32,
            // The first byte of the two has no meaning yet, and Kafka does not look at it.
            attributes: Attributes(bytes[layout::ATTRIBUTES + 1]),
            last_offset_delta: int32(bytes, layout::LAST_OFFSET_DELTA)?,
            base_timestamp: int64(bytes, layout::BASE_TIMESTAMP)?,
            max_timestamp: int64(bytes, layout::MAX_TIMESTAMP)?,
            producer_id: int64(bytes, layout::PRODUCER_ID)?,
            producer_epoch: int16(bytes, layout::PRODUCER_EPOCH)?,
            base_sequence: int32(bytes, layout::BASE_SEQUENCE)?,
            records_count: int32(bytes, layout::RECORDS_COUNT)?,
        })
    }

    fn parse_legacy(bytes: &[u8], size: usize, magic: i8) -> Option<BatchHeader> {
        if magic == 1 && size < layout::LOG_OVERHEAD + layout::LEGACY_RECORD_OVERHEAD_V1 {
            return None;
        }
        let timestamp = if magic == 1 { int64(bytes, layout::LEGACY_TIMESTAMP)? } else { -1 };
        Some(BatchHeader {
            base_offset: int64(bytes, layout::BASE_OFFSET)?,
            size,
            partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
            magic,
            crc: int32(bytes, layout::LEGACY_CRC)? as u32,
            attributes: Attributes(*bytes.get(layout::LEGACY_ATTRIBUTES)? & 0x0f),
            last_offset_delta: 0,
            base_timestamp: timestamp,
            max_timestamp: timestamp,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            records_count: -1,
        })
    }

    /// The codec.
    ///
    /// # Errors
    /// [`RecordsError::UnknownCompression`].
    pub fn codec(&self) -> Result<Codec, RecordsError> {
        let id = self.attributes.0 & Attributes::CODEC_MASK;
        Codec::from_id(id).ok_or(RecordsError::UnknownCompression { id })
    }

    /// Whether the codec bits are not those of "none".
    pub fn is_compressed(&self) -> bool {
        self.attributes.has(Attributes::CODEC_MASK)
    }

    /// Where the timestamps come from.
    pub fn timestamp_type(&self) -> TimestampType {
        if self.magic == 0 {
            TimestampType::NoTimestampType
        } else if self.attributes.has(Attributes::LOG_APPEND_TIME) {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    /// Offset of the last record; of a magic 0 or 1 message its own. Wraps for hostile values.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.wrapping_add(i64::from(self.last_offset_delta))
    }

    /// Offset after the last record.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().wrapping_add(1)
    }

    /// Sequence of the last record, -1 for none.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            NO_SEQUENCE
        } else {
            increment_sequence(self.base_sequence, self.last_offset_delta)
        }
    }

    /// Whether a producer id is set.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// Whether the batch is part of a transaction.
    pub fn is_transactional(&self) -> bool {
        self.magic >= 2 && self.attributes.has(Attributes::TRANSACTIONAL)
    }

    /// Whether the batch has a control record.
    pub fn is_control(&self) -> bool {
        self.magic >= 2 && self.attributes.has(Attributes::CONTROL)
    }

    /// When tombstones and markers of the batch may go, where that is fixed (KIP-534).
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        (self.magic >= 2 && self.attributes.has(Attributes::DELETE_HORIZON)).then_some(self.base_timestamp)
    }
}
