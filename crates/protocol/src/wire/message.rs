//! What every generated message can do.

use bytes::Bytes;

use super::{DecodeError, EncodeError, JsonWriter, Reader, Writer};

/// One message type of the protocol: a request, a response, or a record.
pub trait Message: Sized + Default {
    const NAME: &'static str;
    /// API key of a request or response, type of a record; -1 where there is none.
    const KEY: i16;
    const MIN_VERSION: i16;
    const MAX_VERSION: i16;
    /// First version with compact lengths and tagged fields; `i16::MAX` when there is none.
    const FIRST_FLEXIBLE_VERSION: i16;

    #[doc(hidden)]
    fn decode_body(r: &mut Reader, version: i16) -> Result<Self, DecodeError>;
    #[doc(hidden)]
    fn encode_body(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError>;
    #[doc(hidden)]
    fn json_body(&self, j: &mut JsonWriter, version: i16);

    /// Reads the message at the cursor; bytes after it are left for the caller.
    ///
    /// # Errors
    /// When the version is outside the message's range or the bytes are not such a message.
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        if !(Self::MIN_VERSION..=Self::MAX_VERSION).contains(&version) {
            return Err(DecodeError::UnsupportedVersion { message: Self::NAME, version });
        }
        Self::decode_body(r, version)
    }

    /// Reads a message that must fill `bytes` exactly.
    fn from_bytes(bytes: Bytes, version: i16) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let message = Self::decode(&mut r, version)?;
        r.finish()?;
        Ok(message)
    }

    /// Appends the message to the writer.
    ///
    /// # Errors
    /// When a field that is not ignorable has a value that the version cannot carry.
    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        if !(Self::MIN_VERSION..=Self::MAX_VERSION).contains(&version) {
            return Err(EncodeError::UnsupportedVersion { message: Self::NAME, version });
        }
        self.encode_body(w, version)
    }

    fn to_bytes(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut w = Writer::new();
        self.encode(&mut w, version)?;
        Ok(w.into_bytes())
    }

    /// The message as Kafka's JSON converters print it.
    fn to_json(&self, version: i16) -> String {
        let mut j = JsonWriter::new();
        self.json_body(&mut j, version);
        j.into_string()
    }
}

/// Either direction of a codec failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// A message type as data, for tools and tests that work on any of them.
#[derive(Debug, Clone, Copy)]
pub struct MessageInfo {
    pub name: &'static str,
    /// `request`, `response`, `header`, `data`, `metadata-record`, `coordinator-key`, `coordinator-value`, `remote-log-record`.
    pub kind: &'static str,
    pub key: i16,
    pub min_version: i16,
    pub max_version: i16,
    /// Decodes the whole input and encodes the value again.
    pub reencode: fn(Bytes, i16) -> Result<Bytes, CodecError>,
    /// Decodes the whole input and prints it.
    pub json: fn(Bytes, i16) -> Result<String, DecodeError>,
    /// The default value's bytes.
    pub default_bytes: fn(i16) -> Result<Bytes, EncodeError>,
}

impl MessageInfo {
    pub const fn of<M: Message>(kind: &'static str) -> MessageInfo {
        MessageInfo {
            name: M::NAME,
            kind,
            key: M::KEY,
            min_version: M::MIN_VERSION,
            max_version: M::MAX_VERSION,
            reencode: |bytes, version| Ok(M::from_bytes(bytes, version)?.to_bytes(version)?),
            json: |bytes, version| Ok(M::from_bytes(bytes, version)?.to_json(version)),
            default_bytes: |version| M::default().to_bytes(version),
        }
    }
}
