//! Request and response headers around a message.

use bytes::{BufMut, Bytes};

use crate::ApiKey;
use crate::messages::{RequestHeader, ResponseHeader};
use crate::types::Str;
use crate::wire::{DecodeError, EncodeError, Message, Reader, Writer};

/// A request's header, read in the two steps that its layout needs.
#[derive(Debug, Clone, PartialEq)]
pub enum Header {
    /// A key and version that this build knows; the reader stands at the body.
    Known { api: ApiKey, version: i16, correlation_id: i32, client_id: Option<Str> },
    /// A key or version that it does not; only the first fields can be relied on.
    Unknown { api_key: i16, version: i16, correlation_id: i32 },
}

/// Reads the header at the start of a frame (without its length).
///
/// # Errors
/// When the frame is shorter than a header, or a known version's header is malformed.
pub fn read_request_header(r: &mut Reader) -> Result<Header, DecodeError> {
    let mut peek = r.clone();
    let (api_key, version, correlation_id) = (peek.int16()?, peek.int16()?, peek.int32()?);
    let Some(api) = ApiKey::from_code(api_key) else {
        return Ok(Header::Unknown { api_key, version, correlation_id });
    };
    let info = api.info();
    if version < info.min_version || version > info.max_version {
        return Ok(Header::Unknown { api_key, version, correlation_id });
    }
    let header = RequestHeader::decode(r, api.request_header_version(version))?;
    Ok(Header::Known { api, version, correlation_id, client_id: header.client_id })
}

/// A whole request with its length in front.
pub fn request_frame<M: Message>(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    client_id: Option<Str>,
    body: &M,
) -> Result<Bytes, EncodeError> {
    request_frame_of_parts(api, version, correlation_id, client_id, &[body.to_bytes(version)?])
}

/// A whole request around a body that is encoded already.
pub fn request_frame_of_parts(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    client_id: Option<Str>,
    body: &[Bytes],
) -> Result<Bytes, EncodeError> {
    let mut w = Writer::with_capacity(64 + body.iter().map(Bytes::len).sum::<usize>());
    w.int32(0);
    let header = RequestHeader {
        request_api_key: api.code(),
        request_api_version: version,
        correlation_id,
        client_id,
        ..Default::default()
    };
    header.encode(&mut w, api.request_header_version(version))?;
    for part in body {
        w.raw(part);
    }
    Ok(with_length(w))
}

/// A whole response with its length in front.
pub fn response_frame<M: Message>(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    body: &M,
) -> Result<Bytes, EncodeError> {
    let mut w = Writer::with_capacity(128);
    w.int32(0);
    write_response_header(&mut w, api, version, correlation_id)?;
    body.encode(&mut w, version)?;
    Ok(with_length(w))
}

/// Appends the header of a response of this version.
pub fn write_response_header(
    w: &mut Writer,
    api: ApiKey,
    version: i16,
    correlation_id: i32,
) -> Result<(), EncodeError> {
    let header = ResponseHeader { correlation_id, ..Default::default() };
    header.encode(w, api.response_header_version(version))
}

/// Fills in the four bytes that were left for the length.
fn with_length(w: Writer) -> Bytes {
    let mut buf = w.into_buf();
    let length = (buf.len() - 4) as i32;
    (&mut buf[..4]).put_i32(length);
    buf.freeze()
}
