//! HOT: records of a batch, borrowed. No allocation per record, no copy of keys, values or headers.

use super::header::{BatchHeader, TimestampType};
use super::legacy::LegacyIter;
use super::varint::{VarintError, varint, varlong};
use super::{NO_SEQUENCE, RecordsError, increment_sequence, varint_size};

/// One record. Key, value and headers borrow from the batch or from the decompression buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Absolute offset.
    pub offset: i64,
    /// Milliseconds since the epoch, -1 for none.
    pub timestamp: i64,
    /// Sequence of its producer, -1 for none.
    pub sequence: i32,
    /// Attribute bits, of no meaning in magic 2.
    pub attributes: u8,
    /// Bytes of the record as stored, with its length.
    pub size_in_bytes: usize,
    /// The key, if any.
    pub key: Option<&'a [u8]>,
    /// The value; none is a tombstone in compacted topics.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: Headers<'a>,
}

/// The headers of a record, already checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Headers<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The headers in order.
    pub fn iter(&self) -> HeaderIter<'a> {
        HeaderIter { rest: self.bytes, left: self.count }
    }

    /// The headers as they are stored, without their count.
    pub fn raw(&self) -> &'a [u8] {
        self.bytes
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = Header<'a>;
    type IntoIter = HeaderIter<'a>;

    fn into_iter(self) -> HeaderIter<'a> {
        self.iter()
    }
}

/// The headers of a record, one after the other.
#[derive(Debug, Clone)]
pub struct HeaderIter<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.left = self.left.checked_sub(1)?;
        let key_size = varint(&mut self.rest).ok()?;
        let key = take(&mut self.rest, key_size).ok()??;
        let value_size = varint(&mut self.rest).ok()?;
        let value = take(&mut self.rest, value_size).ok()?;
        Some(Header { key, value })
    }
}

/// A header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// The key, UTF-8 by convention and not checked.
    pub key: &'a [u8],
    /// The value, if any.
    pub value: Option<&'a [u8]>,
}

/// The records of a batch, in order. After an error there is no more.
#[derive(Debug)]
pub enum RecordIter<'a> {
    /// Magic 2.
    Default(DefaultIter<'a>),
    /// Magic 0 and 1.
    Legacy(LegacyIter<'a>),
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, RecordsError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            RecordIter::Default(iter) => iter.next(),
            RecordIter::Legacy(iter) => iter.next(),
        }
    }
}

/// The records of a magic 2 batch.
#[derive(Debug, Clone)]
pub struct DefaultIter<'a> {
    rest: &'a [u8],
    left: i32,
    base_offset: i64,
    base_timestamp: i64,
    base_sequence: i32,
    log_append_time: Option<i64>,
    compressed: bool,
    max_record_bytes: i32,
}

impl<'a> DefaultIter<'a> {
    pub(super) fn new(
        header: &BatchHeader,
        content: &'a [u8],
        max_record_bytes: i32,
    ) -> Result<Self, RecordsError> {
        if header.records_count < 0 {
            return Err(RecordsError::InvalidCount { count: header.records_count, magic: header.magic });
        }
        Ok(DefaultIter {
            rest: content,
            left: header.records_count,
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            base_sequence: header.base_sequence,
            log_append_time: (header.timestamp_type() == TimestampType::LogAppendTime)
                .then_some(header.max_timestamp),
            compressed: header.is_compressed(),
            max_record_bytes,
        })
    }

    /// Goes on in another part of the content: the records that are left, from the start of `window`.
    pub(super) fn in_window<'w>(&self, window: &'w [u8]) -> DefaultIter<'w> {
        DefaultIter { rest: window, ..self.clone() }
    }

    /// How many records are left, and the bytes that have not been read.
    pub(super) fn left(&self) -> (i32, &'a [u8]) {
        (self.left, self.rest)
    }

    pub(super) fn set_left(&mut self, left: i32) {
        self.left = left;
    }

    /// Whether the next record is there as a whole, or wrong whatever may follow.
    pub(super) fn can_read(&self) -> bool {
        let mut rest = self.rest;
        match varint(&mut rest) {
            Err(VarintError::End) => false,
            Err(VarintError::TooLong(_)) => true,
            Ok(size) if size > self.max_record_bytes => true,
            Ok(size) => usize::try_from(size).map_or(true, |size| size <= rest.len()),
        }
    }

    fn read(&mut self) -> Result<Record<'a>, RecordsError> {
        let expected = varint(&mut self.rest).map_err(|error| match error {
            VarintError::TooLong(value) if !self.compressed => RecordsError::VarintTooLong { value },
            VarintError::End | VarintError::TooLong(_) => RecordsError::PrematureEnd,
        })?;
        // An uncompressed record is read from what is left of the batch and checked at its end; a decompressed one
        // from its own bytes. That only shows in the error.
        if self.compressed && expected > self.max_record_bytes {
            return Err(RecordsError::RecordTooLarge { size: expected, max: self.max_record_bytes });
        }
        let available = match usize::try_from(expected) {
            Ok(size) if size > self.rest.len() => {
                return Err(if self.compressed {
                    RecordsError::RecordPastContent { expected }
                } else {
                    RecordsError::RecordPastBatch { expected, remaining: self.rest.len() }
                });
            }
            Ok(size) if self.compressed => &self.rest[..size],
            Ok(_) => self.rest,
            Err(_) if self.compressed => return Err(RecordsError::NegativeRecordSize { size: expected }),
            Err(_) => self.rest,
        };
        let mut body = available;
        let structure = |_| RecordsError::InvalidRecordStructure;
        let (&attributes, after) = body.split_first().ok_or(RecordsError::InvalidRecordStructure)?;
        body = after;
        let timestamp_delta = varlong(&mut body).map_err(structure)?;
        let offset_delta = varint(&mut body).map_err(structure)?;
        let key_size = varint(&mut body).map_err(structure)?;
        let key = take(&mut body, key_size)?;
        let value_size = varint(&mut body).map_err(structure)?;
        let value = take(&mut body, value_size)?;
        let count = varint(&mut body).map_err(structure)?;
        let headers = match usize::try_from(count) {
            Err(_) => return Err(RecordsError::NegativeHeaderCount { count }),
            Ok(headers) if headers > body.len() => {
                return Err(RecordsError::TooManyHeaders { count });
            }
            Ok(headers) => skip_headers(&mut body, headers)?,
        };
        let read = available.len() - body.len();
        if i64::from(expected) != read as i64 {
            return Err(RecordsError::RecordSizeMismatch { expected, read });
        }
        self.rest = &self.rest[read..];
        Ok(Record {
            offset: self.base_offset.wrapping_add(i64::from(offset_delta)),
            timestamp: self.log_append_time.unwrap_or(self.base_timestamp.wrapping_add(timestamp_delta)),
            sequence: if self.base_sequence >= 0 {
                increment_sequence(self.base_sequence, offset_delta)
            } else {
                NO_SEQUENCE
            },
            attributes,
            size_in_bytes: varint_size(expected) + read,
            key,
            value,
            headers,
        })
    }
}

impl<'a> Iterator for DefaultIter<'a> {
    type Item = Result<Record<'a>, RecordsError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        let mut record = self.read();
        if record.is_ok() && self.left == 0 && !self.rest.is_empty() {
            record = Err(RecordsError::RecordsRemaining);
        }
        if record.is_err() {
            self.left = 0;
        }
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // The count is not trusted: a record has at least seven bytes.
        (0, Some((self.left.max(0) as usize).min(self.rest.len() / 7 + 1)))
    }
}

#[inline]
fn take<'a>(bytes: &mut &'a [u8], size: i32) -> Result<Option<&'a [u8]>, RecordsError> {
    let Ok(size) = usize::try_from(size) else {
        return Ok(None);
    };
    let (head, rest) = bytes.split_at_checked(size).ok_or(RecordsError::InvalidRecordStructure)?;
    *bytes = rest;
    Ok(Some(head))
}

#[inline]
fn skip_headers<'a>(bytes: &mut &'a [u8], count: usize) -> Result<Headers<'a>, RecordsError> {
    let start = *bytes;
    for _ in 0..count {
        let size = varint(bytes).map_err(|_| RecordsError::InvalidRecordStructure)?;
        if take(bytes, size)?.is_none() {
            return Err(RecordsError::NegativeHeaderKeySize { size });
        }
        let size = varint(bytes).map_err(|_| RecordsError::InvalidRecordStructure)?;
        take(bytes, size)?;
    }
    Ok(Headers { count, bytes: &start[..start.len() - bytes.len()] })
}
