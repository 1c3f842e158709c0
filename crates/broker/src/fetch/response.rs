//! HOT: the Fetch response: headers in one buffer, small slices read into it, large ones sent from their files.
//!
//! Follows `schemas/data/fetch_response.schema`; a test holds it against the generated encoder.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use ottla_net::{FileRange, Response, Segment};
use ottla_protocol::messages::fetch_response::NodeEndpoint;
use ottla_protocol::types::{Str, Uuid};
use ottla_protocol::wire::{EncodeError, Writer};
use ottla_protocol::{ApiKey, ErrorCode, frame};
use ottla_replication::fetch_session::PartitionKey;
use ottla_storage::disk::{DiskFile, FetchSlice};

use super::{PartitionData, Records};

/// Records up to this many bytes are copied behind their header; longer ones go out from where they are.
const COPY_MAX_BYTES: usize = 16 * 1024;

/// The head of a response.
#[derive(Debug)]
pub struct FetchHead {
    pub version: i16,
    pub correlation_id: i32,
    pub error: ErrorCode,
    pub session_id: i32,
}

/// A storage file as something that sendfile can read.
struct SendFile {
    fd: RawFd,
    /// Keeps the descriptor open.
    _file: Arc<dyn DiskFile>,
}

impl AsRawFd for SendFile {
    fn as_raw_fd(&self) -> RawFd {
        self.fd
    }
}

/// Encodes a whole response. `entries` are grouped by topic where they follow each other.
pub fn encode(
    head: &FetchHead,
    entries: &mut [(PartitionKey, PartitionData)],
    node_endpoints: &[NodeEndpoint],
) -> Result<Response, EncodeError> {
    let version = head.version;
    let flexible = version >= 12;
    let mut parts: Vec<Segment> = Vec::new();
    let mut total = 0usize;
    let mut w = Writer::with_capacity(64 + entries.len() * 96);
    w.int32(0);
    frame::write_response_header(&mut w, ApiKey::Fetch, version, head.correlation_id)?;
    w.int32(0);
    if version >= 7 {
        w.int16(head.error.code());
        w.int32(head.session_id);
    }
    let groups = group_by_topic(entries);
    w.array_length(Some(groups.len()), flexible);
    for range in groups {
        let key = &entries[range.start].0;
        if version >= 13 {
            w.uuid(key.topic_id);
        } else {
            w.string(Some(&key.topic), flexible)?;
        }
        w.array_length(Some(range.len()), flexible);
        for (key, data) in &mut entries[range] {
            if let Some(records) = write_partition(&mut w, key, data, version)? {
                let bytes = w.into_buf();
                total += bytes.len();
                parts.push(Segment::Bytes(bytes.freeze()));
                total += match &records {
                    Segment::Bytes(bytes) => bytes.len(),
                    Segment::File(range) => range.len,
                };
                parts.push(records);
                w = Writer::with_capacity(256);
            }
            if flexible {
                write_partition_tags(&mut w, data)?;
            }
        }
        if flexible {
            w.unsigned_varint(0);
        }
    }
    if flexible {
        if node_endpoints.is_empty() || version < 16 {
            w.unsigned_varint(0);
        } else {
            w.unsigned_varint(1);
            w.tagged(0, |w| {
                w.array(Some(node_endpoints), true, |w, e| {
                    w.int32(e.node_id);
                    w.string(Some(&e.host), true)?;
                    w.int32(e.port);
                    w.string(e.rack.as_ref(), true)?;
                    w.unsigned_varint(0);
                    Ok(())
                })
            })?;
        }
    }
    let tail = w.into_buf();
    total += tail.len();
    parts.push(Segment::Bytes(tail.freeze()));
    set_length(&mut parts, total - 4);
    Ok(Response { segments: parts, ..Default::default() })
}

/// Puts the length into the first four bytes.
fn set_length(parts: &mut [Segment], length: usize) {
    if let Some(Segment::Bytes(first)) = parts.first_mut() {
        let mut buf = match std::mem::take(first).try_into_mut() {
            Ok(buf) => buf,
            Err(shared) => BytesMut::from(&shared[..]),
        };
        (&mut buf[..4]).put_i32(length as i32);
        *first = buf.freeze();
    }
}

fn group_by_topic(entries: &[(PartitionKey, PartitionData)]) -> Vec<std::ops::Range<usize>> {
    let topic = |i: usize| -> (Uuid, &Str) { (entries[i].0.topic_id, &entries[i].0.topic) };
    let mut groups: Vec<std::ops::Range<usize>> = Vec::new();
    for i in 0..entries.len() {
        match groups.last_mut() {
            Some(last) if topic(last.start) == topic(i) => last.end = i + 1,
            _ => groups.push(i..i + 1),
        }
    }
    groups
}

/// Writes a partition up to its records, and short ones as well; those that are returned must be sent right after what
/// was written.
fn write_partition(
    w: &mut Writer,
    key: &PartitionKey,
    data: &mut PartitionData,
    version: i16,
) -> Result<Option<Segment>, EncodeError> {
    let flexible = version >= 12;
    w.int32(key.partition);
    w.int16(data.error.code());
    w.int64(data.high_watermark);
    w.int64(data.last_stable_offset);
    if version >= 5 {
        w.int64(data.log_start_offset);
    }
    w.array(data.aborted.as_deref(), flexible, |w, t| {
        w.int64(t.producer_id);
        w.int64(t.first_offset);
        if flexible {
            w.unsigned_varint(0);
        }
        Ok(())
    })?;
    if version >= 11 {
        w.int32(-1);
    }
    w.bytes_length(Some(data.records_bytes()), flexible);
    Ok(match std::mem::take(&mut data.records) {
        Records::None => None,
        Records::Bytes(bytes) if bytes.len() <= COPY_MAX_BYTES => {
            w.raw(&bytes);
            None
        }
        Records::Bytes(bytes) => Some(Segment::Bytes(bytes)),
        Records::Found(slice) | Records::File(slice) => Some(file_segment(slice)),
    })
}

fn write_partition_tags(w: &mut Writer, data: &PartitionData) -> Result<(), EncodeError> {
    match data.current_leader {
        None => w.unsigned_varint(0),
        Some((leader_id, leader_epoch)) => {
            w.unsigned_varint(1);
            w.tagged(1, |w| {
                w.int32(leader_id);
                w.int32(leader_epoch);
                w.unsigned_varint(0);
                Ok(())
            })?;
        }
    }
    Ok(())
}

fn file_segment(slice: FetchSlice) -> Segment {
    let fd = slice.file.raw_fd().unwrap_or(-1);
    Segment::File(FileRange {
        file: Arc::new(SendFile { fd, _file: slice.file }),
        position: slice.position,
        len: slice.len,
    })
}
