//! HOT: the buffer that a message is encoded into.

use bytes::{BufMut, Bytes, BytesMut};

use super::UnknownTaggedField;
use crate::types::{Str, Uuid};

/// Why a value has no encoding in the version asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("attempted to write a non-default {field} of {message} at version {version}")]
    FieldNotInVersion { message: &'static str, field: &'static str, version: i16 },
    #[error("field {0} must not be null in this version")]
    UnexpectedNull(&'static str),
    #[error("can't write version {version} of {message}")]
    UnsupportedVersion { message: &'static str, version: i16 },
    #[error("a string of {length} bytes is too long for the protocol")]
    StringTooLong { length: usize },
}

/// A growing buffer with the protocol's primitive types.
#[derive(Debug, Default)]
pub struct Writer {
    buf: BytesMut,
}

macro_rules! fixed {
    ($name:ident, $ty:ty, $put:ident) => {
        pub fn $name(&mut self, value: $ty) {
            self.buf.$put(value);
        }
    };
}

impl Writer {
    pub fn new() -> Writer {
        Writer::default()
    }

    pub fn with_capacity(capacity: usize) -> Writer {
        Writer { buf: BytesMut::with_capacity(capacity) }
    }

    /// Continues at the end of a buffer that may hold something already.
    pub fn from_buf(buf: BytesMut) -> Writer {
        Writer { buf }
    }

    pub fn len(&self) -> usize {
        self.buf.len()
    }

    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    pub fn into_bytes(self) -> Bytes {
        self.buf.freeze()
    }

    pub fn into_buf(self) -> BytesMut {
        self.buf
    }

    pub fn buf_mut(&mut self) -> &mut BytesMut {
        &mut self.buf
    }

    fixed!(int8, i8, put_i8);
    fixed!(int16, i16, put_i16);
    fixed!(int32, i32, put_i32);
    fixed!(int64, i64, put_i64);
    fixed!(uint16, u16, put_u16);
    fixed!(uint32, u32, put_u32);
    fixed!(float64, f64, put_f64);

    pub fn bool(&mut self, value: bool) {
        self.buf.put_u8(u8::from(value));
    }

    pub fn uuid(&mut self, value: Uuid) {
        self.buf.put_slice(&value.0);
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.buf.put_slice(bytes);
    }

    pub fn unsigned_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.buf.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.buf.put_u8(value as u8);
    }

    /// A length or count; None is null.
    fn length(&mut self, len: Option<usize>, flexible: bool, short: bool) {
        match (flexible, len) {
            (true, len) => self.unsigned_varint(len.map_or(0, |n| n as u32 + 1)),
            (false, len) if short => self.int16(len.map_or(-1, |n| n as i16)),
            (false, len) => self.int32(len.map_or(-1, |n| n as i32)),
        }
    }

    pub fn string(&mut self, value: Option<&Str>, flexible: bool) -> Result<(), EncodeError> {
        self.str(value.map(Str::as_str), flexible)
    }

    pub fn str(&mut self, value: Option<&str>, flexible: bool) -> Result<(), EncodeError> {
        if let Some(length) = value.map(str::len).filter(|n| *n > i16::MAX as usize) {
            return Err(EncodeError::StringTooLong { length });
        }
        self.length(value.map(str::len), flexible, true);
        self.buf.put_slice(value.unwrap_or_default().as_bytes());
        Ok(())
    }

    pub fn bytes(&mut self, value: Option<&Bytes>, flexible: bool) -> Result<(), EncodeError> {
        self.bytes_length(value.map(Bytes::len), flexible);
        if let Some(value) = value {
            self.buf.put_slice(value);
        }
        Ok(())
    }

    /// Only the length of a bytes or records field; the caller sends the bytes themselves.
    pub fn bytes_length(&mut self, len: Option<usize>, flexible: bool) {
        self.length(len, flexible, false);
    }

    /// Only the count of an array; the caller writes the elements.
    pub fn array_length(&mut self, len: Option<usize>, flexible: bool) {
        self.length(len, flexible, false);
    }

    pub fn array<T>(
        &mut self,
        value: Option<&[T]>,
        flexible: bool,
        mut element: impl FnMut(&mut Writer, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.array_length(value.map(<[T]>::len), flexible);
        for v in value.unwrap_or_default() {
            element(self, v)?;
        }
        Ok(())
    }

    /// One tagged field; its size is known once it has been written.
    pub fn tagged(
        &mut self,
        tag: u32,
        body: impl FnOnce(&mut Writer) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let mut field = Writer::new();
        body(&mut field)?;
        self.unsigned_varint(tag);
        self.unsigned_varint(field.len() as u32);
        self.raw(&field.buf);
        Ok(())
    }

    /// The count in front of `known` tagged fields and the unknown ones.
    pub fn tag_count(&mut self, known: u32, unknown: &[UnknownTaggedField]) {
        self.unsigned_varint(known + unknown.len() as u32);
    }

    pub fn put_unknown_tags(&mut self, unknown: &[UnknownTaggedField]) {
        for field in unknown {
            self.unsigned_varint(field.tag);
            self.unsigned_varint(field.data.len() as u32);
            self.raw(&field.data);
        }
    }

    /// The whole tagged section of a struct without known tagged fields.
    pub fn unknown_tags(&mut self, unknown: &[UnknownTaggedField], known: u32) {
        self.tag_count(known, unknown);
        self.put_unknown_tags(unknown);
    }
}
