//! HOT: the cursor that decodes a message out of one frame.
//!
//! Every length is checked against what is left before it is used; nothing is allocated for elements that
//! the remaining bytes cannot hold.

use bytes::Bytes;

use crate::types::{Str, Uuid};

/// No array of a message has more elements. Source: Kafka 4.4 message readers.
pub const MAX_ARRAY_ELEMENTS: usize = 1_000_000;
/// No struct has more tagged fields. Source: Kafka 4.4 message readers.
pub const MAX_TAGGED_FIELDS: u32 = 10_000;
/// Elements for which room is made before the first one has been read.
const INITIAL_CAPACITY: usize = 1_000;

/// Why bytes are not the message they claim to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("needed {needed} bytes at position {position} but only {remaining} remain")]
    Truncated { position: usize, needed: usize, remaining: usize },
    #[error("invalid length {length} at position {position}")]
    InvalidLength { position: usize, length: i64 },
    #[error("an array of {count} elements at position {position} does not fit into {remaining} bytes")]
    ArrayTooLong { position: usize, count: u64, remaining: usize },
    #[error("a variable-length number at position {position} is too long")]
    InvalidVarint { position: usize },
    #[error("text at position {position} is not valid UTF-8")]
    InvalidUtf8 { position: usize },
    #[error("non-nullable field {0} was serialized as null")]
    UnexpectedNull(&'static str),
    #[error("{count} tagged fields at position {position} are too many")]
    TooManyTaggedFields { position: usize, count: u32 },
    #[error("invalid or out-of-order tag {tag} after {previous}")]
    TagOrder { tag: u32, previous: u32 },
    #[error("{remaining} bytes left over at position {position}")]
    TrailingBytes { position: usize, remaining: usize },
    #[error("can't read version {version} of {message}")]
    UnsupportedVersion { message: &'static str, version: i16 },
}

/// Where the tagged fields of one struct stand in the input.
#[derive(Debug)]
pub struct TagCursor {
    left: u32,
    previous: Option<u32>,
}

/// A cursor over one frame.
#[derive(Debug, Clone)]
pub struct Reader {
    buf: Bytes,
    pos: usize,
}

macro_rules! fixed {
    ($name:ident, $ty:ty, $size:expr) => {
        pub fn $name(&mut self) -> Result<$ty, DecodeError> {
            Ok(<$ty>::from_be_bytes(self.fixed::<$size>()?))
        }
    };
}

impl Reader {
    pub fn new(buf: Bytes) -> Reader {
        Reader { buf, pos: 0 }
    }

    pub fn position(&self) -> usize {
        self.pos
    }

    pub fn remaining(&self) -> usize {
        self.buf.len() - self.pos
    }

    /// All bytes that have not been read, as a slice of the frame.
    pub fn take_rest(&mut self) -> Bytes {
        let rest = self.buf.slice(self.pos..);
        self.pos = self.buf.len();
        rest
    }

    /// Fails when bytes are left over: a message must use its whole frame.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            remaining => Err(DecodeError::TrailingBytes { position: self.pos, remaining }),
        }
    }

    fn truncated(&self, needed: usize) -> DecodeError {
        DecodeError::Truncated { position: self.pos, needed, remaining: self.remaining() }
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some(bytes) = self.buf[self.pos..].first_chunk::<N>() else {
            return Err(self.truncated(N));
        };
        self.pos += N;
        Ok(*bytes)
    }

    /// The next `len` bytes as a slice of the frame; nothing is copied.
    pub fn take(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        if len > self.remaining() {
            return Err(self.truncated(len));
        }
        let out = self.buf.slice(self.pos..self.pos + len);
        self.pos += len;
        Ok(out)
    }

    fixed!(int8, i8, 1);
    fixed!(int16, i16, 2);
    fixed!(int32, i32, 4);
    fixed!(int64, i64, 8);
    fixed!(uint16, u16, 2);
    fixed!(uint32, u32, 4);
    fixed!(float64, f64, 8);

    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.int8()? != 0)
    }

    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        Ok(Uuid(self.fixed::<16>()?))
    }

    /// An unsigned number of at most 32 bits, 7 bits a byte, lowest first.
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let position = self.pos;
        let mut value: u32 = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.fixed::<1>()?[0];
            if shift == 28 && byte > 0x0f {
                return Err(DecodeError::InvalidVarint { position });
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::InvalidVarint { position })
    }

    /// A length or count: `None` for null. `width` is the size of the fixed form.
    fn length(&mut self, flexible: bool, short: bool) -> Result<Option<usize>, DecodeError> {
        let position = self.pos;
        if flexible {
            let n = self.unsigned_varint()?;
            return Ok((n as usize).checked_sub(1));
        }
        let n = if short { i64::from(self.int16()?) } else { i64::from(self.int32()?) };
        match n {
            -1 => Ok(None),
            n if n < 0 => Err(DecodeError::InvalidLength { position, length: n }),
            n => Ok(Some(n as usize)),
        }
    }

    /// A string, or None for null.
    pub fn string(&mut self, flexible: bool) -> Result<Option<Str>, DecodeError> {
        let position = self.pos;
        let Some(len) = self.length(flexible, true)? else { return Ok(None) };
        if len > i16::MAX as usize {
            return Err(DecodeError::InvalidLength { position, length: len as i64 });
        }
        let bytes = self.take(len)?;
        Str::from_utf8(bytes).map(Some).map_err(|_| DecodeError::InvalidUtf8 { position })
    }

    /// Bytes or records, or None for null; a slice of the frame.
    pub fn bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, DecodeError> {
        match self.length(flexible, false)? {
            None => Ok(None),
            Some(len) => self.take(len).map(Some),
        }
    }

    /// An array, or None for null. `min_size` is the fewest bytes that one element takes.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        min_size: usize,
        mut element: impl FnMut(&mut Reader) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let position = self.pos;
        let Some(count) = self.length(flexible, false)? else { return Ok(None) };
        let remaining = self.remaining();
        if count > MAX_ARRAY_ELEMENTS || count.saturating_mul(min_size) > remaining {
            return Err(DecodeError::ArrayTooLong { position, count: count as u64, remaining });
        }
        let mut out = Vec::with_capacity(count.min(INITIAL_CAPACITY));
        for _ in 0..count {
            out.push(element(self)?);
        }
        Ok(Some(out))
    }

    /// Starts the tagged fields of a struct.
    pub fn tagged_fields(&mut self) -> Result<TagCursor, DecodeError> {
        let position = self.pos;
        let count = self.unsigned_varint()?;
        if count > MAX_TAGGED_FIELDS || count as usize * 2 > self.remaining() {
            return Err(DecodeError::TooManyTaggedFields { position, count });
        }
        Ok(TagCursor { left: count, previous: None })
    }

    /// The next tagged field with a reader over just its bytes.
    pub fn next_tag(&mut self, cursor: &mut TagCursor) -> Result<Option<(u32, Reader)>, DecodeError> {
        if cursor.left == 0 {
            return Ok(None);
        }
        cursor.left -= 1;
        let tag = self.unsigned_varint()?;
        if let Some(previous) = cursor.previous.filter(|p| tag <= *p) {
            return Err(DecodeError::TagOrder { tag, previous });
        }
        cursor.previous = Some(tag);
        let size = self.unsigned_varint()? as usize;
        Ok(Some((tag, Reader::new(self.take(size)?))))
    }
}
