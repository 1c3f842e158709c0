//! Writing magic 2 batches.

use bytes::Bytes;

use super::header::{Attributes, TimestampType, layout};
use super::record::Header;
use super::varint::{put_varint, put_varlong, varint_size, varlong_size};
use super::{NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, patch};
use crate::compression::{Compression, CompressionError, compress};

/// Everything about a batch that is not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Epoch of the leader, -1 for none.
    pub partition_leader_epoch: i32,
    /// Codec and level.
    pub compression: Compression,
    /// Where timestamps come from.
    pub timestamp_type: TimestampType,
    /// The time of append; the largest timestamp of the batch when the type is [`TimestampType::LogAppendTime`].
    pub log_append_time: i64,
    /// Producer id, -1 for none.
    pub producer_id: i64,
    /// Producer epoch, -1 for none.
    pub producer_epoch: i16,
    /// Sequence of the first record, -1 for none.
    pub base_sequence: i32,
    /// Whether the batch is part of a transaction.
    pub transactional: bool,
    /// Whether it holds a control record.
    pub control: bool,
    /// When its tombstones and markers may go (KIP-534); takes the place of the base timestamp.
    pub delete_horizon_ms: Option<i64>,
}

impl Default for BatchOptions {
    fn default() -> Self {
        BatchOptions {
            base_offset: 0,
            partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
            compression: Compression::NONE,
            timestamp_type: TimestampType::CreateTime,
            log_append_time: NO_TIMESTAMP,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            transactional: false,
            control: false,
            delete_horizon_ms: None,
        }
    }
}

impl BatchOptions {
    fn attributes(&self) -> u8 {
        let mut bits = self.compression.codec.id();
        if self.timestamp_type == TimestampType::LogAppendTime {
            bits |= Attributes::LOG_APPEND_TIME;
        }
        if self.transactional {
            bits |= Attributes::TRANSACTIONAL;
        }
        if self.control {
            bits |= Attributes::CONTROL;
        }
        if self.delete_horizon_ms.is_some() {
            bits |= Attributes::DELETE_HORIZON;
        }
        bits
    }
}

/// Builds one batch of magic 2 from records.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    options: BatchOptions,
    /// The header's room, then the records, not compressed.
    buffer: Vec<u8>,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    last_offset_delta: i32,
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new(options: BatchOptions) -> Self {
        BatchBuilder {
            options,
            buffer: vec![0; layout::RECORD_BATCH_OVERHEAD],
            count: 0,
            base_timestamp: options.delete_horizon_ms.unwrap_or(NO_TIMESTAMP),
            max_timestamp: NO_TIMESTAMP,
            last_offset_delta: 0,
        }
    }

    /// Appends a record at the next offset.
    pub fn append<'h>(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = Header<'h>, IntoIter: Clone>,
    ) {
        let delta = if self.count == 0 { 0 } else { self.last_offset_delta.wrapping_add(1) };
        self.append_at_delta(delta, timestamp, key, value, headers);
    }

    /// Appends a record at `base_offset + offset_delta`, which must be larger than that of the record before.
    pub fn append_at_delta<'h>(
        &mut self,
        offset_delta: i32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = Header<'h>, IntoIter: Clone>,
    ) {
        if self.count == 0 && self.options.delete_horizon_ms.is_none() {
            self.base_timestamp = timestamp;
        }
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
        let headers = headers.into_iter();
        let mut size = 1 + varlong_size(timestamp_delta) + varint_size(offset_delta);
        size += bytes_size(key) + bytes_size(value);
        let mut count = 0i32;
        let mut headers_size = 0;
        for header in headers.clone() {
            count += 1;
            headers_size += bytes_size(Some(header.key)) + bytes_size(header.value);
        }
        size += varint_size(count) + headers_size;

        let out = &mut self.buffer;
        put_varint(out, size as i32);
        out.push(0);
        put_varlong(out, timestamp_delta);
        put_varint(out, offset_delta);
        put_bytes(out, key);
        put_bytes(out, value);
        put_varint(out, count);
        for header in headers {
            put_bytes(out, Some(header.key));
            put_bytes(out, header.value);
        }
        self.count += 1;
        self.last_offset_delta = offset_delta;
        self.max_timestamp = self.max_timestamp.max(timestamp);
    }

    /// Lets the batch end at `last_offset` instead of at its last record, which compaction needs to keep what a batch
    /// spanned. Call it after the last record.
    pub fn set_last_offset(&mut self, last_offset: i64) {
        self.last_offset_delta = last_offset.wrapping_sub(self.options.base_offset) as i32;
    }

    /// Number of records so far.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// Whether there is no record yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch so far, before compression.
    pub fn uncompressed_size(&self) -> usize {
        self.buffer.len()
    }

    /// The largest timestamp that the header will have.
    pub fn max_timestamp(&self) -> i64 {
        if self.options.timestamp_type == TimestampType::LogAppendTime {
            self.options.log_append_time
        } else {
            self.max_timestamp
        }
    }

    /// Appends the batch to `out`. Without records it appends nothing.
    ///
    /// # Errors
    /// [`CompressionError::CompressFailed`].
    pub fn write_to(mut self, out: &mut Vec<u8>) -> Result<(), CompressionError> {
        if self.count == 0 {
            return Ok(());
        }
        let fields = HeaderFields {
            last_offset_delta: self.last_offset_delta,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp(),
            records_count: self.count,
        };
        if self.options.compression.codec == crate::compression::Codec::None {
            write_header(&mut self.buffer, &self.options, fields);
            if out.is_empty() {
                *out = self.buffer;
            } else {
                out.extend_from_slice(&self.buffer);
            }
        } else {
            let start = out.len();
            out.extend_from_slice(&[0; layout::RECORD_BATCH_OVERHEAD]);
            compress(self.options.compression, &self.buffer[layout::RECORD_BATCH_OVERHEAD..], out)?;
            write_header(&mut out[start..], &self.options, fields);
        }
        Ok(())
    }

    /// The batch; empty without records.
    ///
    /// # Errors
    /// [`CompressionError::CompressFailed`].
    pub fn build(self) -> Result<Bytes, CompressionError> {
        let mut out = Vec::new();
        self.write_to(&mut out)?;
        Ok(Bytes::from(out))
    }
}

#[derive(Clone, Copy)]
struct HeaderFields {
    last_offset_delta: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    records_count: i32,
}

/// Writes the header at the front of `batch`, which is exactly the batch.
fn write_header(batch: &mut [u8], options: &BatchOptions, fields: HeaderFields) {
    let length = (batch.len() - layout::LOG_OVERHEAD) as i32;
    let mut put = |at: usize, bytes: &[u8]| batch[at..at + bytes.len()].copy_from_slice(bytes);
    put(layout::BASE_OFFSET, &options.base_offset.to_be_bytes());
    put(layout::LENGTH, &length.to_be_bytes());
    put(layout::PARTITION_LEADER_EPOCH, &options.partition_leader_epoch.to_be_bytes());
    put(layout::MAGIC, &[2]);
    put(layout::ATTRIBUTES, &[0, options.attributes()]);
    put(layout::LAST_OFFSET_DELTA, &fields.last_offset_delta.to_be_bytes());
    put(layout::BASE_TIMESTAMP, &fields.base_timestamp.to_be_bytes());
    put(layout::MAX_TIMESTAMP, &fields.max_timestamp.to_be_bytes());
    put(layout::PRODUCER_ID, &options.producer_id.to_be_bytes());
    put(layout::PRODUCER_EPOCH, &options.producer_epoch.to_be_bytes());
    put(layout::BASE_SEQUENCE, &options.base_sequence.to_be_bytes());
    put(layout::RECORDS_COUNT, &fields.records_count.to_be_bytes());
    patch::refresh_crc(batch);
}

/// A batch without records that keeps offsets and sequences: what compaction leaves of a producer's last batch.
/// `max_timestamp` is the timestamp of the batch that it stands for.
pub fn empty_batch(options: &BatchOptions, last_offset: i64, max_timestamp: i64) -> Bytes {
    let mut batch = vec![0; layout::RECORD_BATCH_OVERHEAD];
    let fields = HeaderFields {
        last_offset_delta: last_offset.wrapping_sub(options.base_offset) as i32,
        base_timestamp: NO_TIMESTAMP,
        max_timestamp,
        records_count: 0,
    };
    let options = BatchOptions { compression: Compression::NONE, delete_horizon_ms: None, ..*options };
    write_header(&mut batch, &options, fields);
    Bytes::from(batch)
}

fn bytes_size(bytes: Option<&[u8]>) -> usize {
    match bytes {
        None => 1,
        Some(bytes) => varint_size(bytes.len() as i32) + bytes.len(),
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, bytes.len() as i32);
            out.extend_from_slice(bytes);
        }
    }
}
