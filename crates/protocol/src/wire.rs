//! Reading and writing the protocol's primitive types, and what every message can do.

mod json;
mod message;
mod reader;
mod writer;

pub use json::JsonWriter;
pub use message::{CodecError, Message, MessageInfo};
pub use reader::{DecodeError, MAX_ARRAY_ELEMENTS, MAX_TAGGED_FIELDS, Reader, TagCursor};
pub use writer::{EncodeError, Writer};

use bytes::Bytes;

/// A tagged field that this version does not know; it is kept and written again. Source: KIP-482.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownTaggedField {
    pub tag: u32,
    pub data: Bytes,
}
