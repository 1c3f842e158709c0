//! Magic 0 and 1: a message is a record, or a wrapper around a compressed set of messages.
//!
//! Source: Kafka `AbstractLegacyRecordBatch`, `LegacyRecord`; KIP-31 (relative offsets), KIP-32 (timestamps).

use super::batch::Scratch;
use super::header::{BatchHeader, TimestampType, int32, int64, layout};
use super::record::{Headers, Record};
use super::{NO_SEQUENCE, NO_TIMESTAMP, RecordsError, crc32};
use crate::compression::Codec;

/// The records of a magic 0 or 1 message.
#[derive(Debug)]
pub struct LegacyIter<'a> {
    rest: &'a [u8],
    /// The outer message itself, when it is not compressed.
    single: bool,
    /// Added to inner offsets; magic 0 has absolute ones.
    base_offset: i64,
    wrapper_magic: i8,
    log_append_time: Option<i64>,
}

impl<'a> LegacyIter<'a> {
    pub(super) fn new<'s>(
        header: &BatchHeader,
        bytes: &'s [u8],
        codec: Codec,
        scratch: &'s mut Scratch,
    ) -> Result<LegacyIter<'s>, RecordsError> {
        let magic = header.magic;
        let log_append_time =
            (header.timestamp_type() == TimestampType::LogAppendTime).then_some(header.max_timestamp);
        if codec == Codec::None {
            return Ok(LegacyIter {
                rest: bytes,
                single: true,
                base_offset: 0,
                wrapper_magic: magic,
                log_append_time,
            });
        }
        if codec == Codec::Zstd {
            return Err(RecordsError::InvalidWrapperCompression { magic });
        }
        let (_, value) = key_and_value(bytes, magic)?;
        let value = value.ok_or(RecordsError::NullWrapperValue { magic })?;
        let content = scratch.decompress(codec, magic, value)?;
        let mut rest = content;
        let mut last = None;
        while let Some((message, after)) = inner_message(rest)? {
            last = int64(message, layout::BASE_OFFSET);
            rest = after;
        }
        let inner = last.ok_or(RecordsError::NoInnerRecords)?;
        // The outer offset may be 0 in what some versions of librdkafka produced.
        let base_offset = if magic == 0 || header.base_offset == 0 {
            0
        } else if header.base_offset < inner {
            return Err(RecordsError::InvalidWrapperOffset { wrapper: header.base_offset, inner });
        } else {
            header.base_offset.wrapping_sub(inner)
        };
        Ok(LegacyIter { rest: content, single: false, base_offset, wrapper_magic: magic, log_append_time })
    }

    fn read(&mut self) -> Result<Option<Record<'a>>, RecordsError> {
        let Some((message, rest)) = inner_message(self.rest)? else {
            return Ok(None);
        };
        self.rest = rest;
        let size = message.len();
        let offset = int64(message, layout::BASE_OFFSET).ok_or(RecordsError::MessageTooSmall { size })?;
        let attributes =
            *message.get(layout::LEGACY_ATTRIBUTES).ok_or(RecordsError::MessageTooSmall { size })?;
        let magic = message.get(layout::MAGIC).map_or(0, |&magic| magic as i8);
        if !(0..=1).contains(&magic) {
            return Err(RecordsError::InvalidMagic { magic });
        }
        if !self.single && attributes & 0x07 != 0 {
            return Err(RecordsError::NestedCompression);
        }
        let crc = int32(message, layout::LEGACY_CRC).ok_or(RecordsError::MessageTooSmall { size })? as u32;
        let computed = crc32(&message[layout::MAGIC..]);
        if crc != computed {
            return Err(RecordsError::CrcMismatch { stored: crc, computed });
        }
        let (key, value) = key_and_value(message, magic)?;
        let timestamp = if magic == 0 {
            NO_TIMESTAMP
        } else {
            match self.log_append_time {
                Some(time) => time,
                None => {
                    int64(message, layout::LEGACY_TIMESTAMP).ok_or(RecordsError::MessageTooSmall { size })?
                }
            }
        };
        Ok(Some(Record {
            offset: if self.wrapper_magic == 1 { self.base_offset.wrapping_add(offset) } else { offset },
            timestamp,
            sequence: NO_SEQUENCE,
            attributes,
            size_in_bytes: message.len(),
            key,
            value,
            headers: Headers::default(),
        }))
    }
}

impl<'a> Iterator for LegacyIter<'a> {
    type Item = Result<Record<'a>, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.read();
        if record.is_err() {
            self.rest = &[];
        }
        record.transpose()
    }
}

/// The message at the front of `bytes` and what follows, or none at the end or within an incomplete one.
fn inner_message(bytes: &[u8]) -> Result<Option<(&[u8], &[u8])>, RecordsError> {
    let Some(size) = int32(bytes, layout::LENGTH) else {
        return Ok(None);
    };
    if size < layout::LEGACY_RECORD_OVERHEAD_V0 as i32 {
        return Err(RecordsError::SizeTooSmall { size });
    }
    Ok(bytes.split_at_checked(layout::LOG_OVERHEAD + size as usize))
}

type KeyAndValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

fn key_and_value(message: &[u8], magic: i8) -> Result<KeyAndValue<'_>, RecordsError> {
    let start = if magic == 0 { layout::LEGACY_ATTRIBUTES + 1 } else { layout::LEGACY_TIMESTAMP + 8 };
    let mut rest = message.get(start..).ok_or(RecordsError::InvalidRecordStructure)?;
    let key = sized(&mut rest)?;
    let value = sized(&mut rest)?;
    Ok((key, value))
}

fn sized<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordsError> {
    let size = int32(bytes, 0).ok_or(RecordsError::InvalidRecordStructure)?;
    let rest = &bytes[4..];
    let Ok(size) = usize::try_from(size) else {
        *bytes = rest;
        return Ok(None);
    };
    let (head, rest) = rest.split_at_checked(size).ok_or(RecordsError::InvalidRecordStructure)?;
    *bytes = rest;
    Ok(Some(head))
}
