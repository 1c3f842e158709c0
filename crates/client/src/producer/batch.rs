//! A batch of one partition on its way.

use bytes::Bytes;
use ottla_protocol::compression::CompressionError;
use ottla_protocol::records::{BatchBuilder, BatchOptions, Header, layout, patch, varint_size};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::{ProducerConfig, ProducerRecord, RecordMetadata};
use crate::{ClientError, TopicPartition};

type Reply = oneshot::Sender<Result<RecordMetadata, ClientError>>;

/// The most that a record adds to a batch: lengths, offsets and timestamps as varints, key, value and headers.
pub(super) fn record_size(record: &ProducerRecord) -> usize {
    let length = |bytes: Option<&Bytes>| bytes.map_or(0, Bytes::len);
    let headers: usize = record.headers.iter().map(|(k, v)| k.len() + length(v.as_ref()) + 10).sum();
    let content = length(record.key.as_ref()) + length(record.value.as_ref()) + headers;
    content + 21 + varint_size(i32::try_from(content).unwrap_or(i32::MAX))
}

/// A batch: open while records are added, then encoded, then in flight, possibly more than once.
#[derive(Debug)]
pub(super) struct Batch {
    /// Ascending over the producer's life.
    pub id: u64,
    pub partition: TopicPartition,
    pub created: Instant,
    pub attempts: u32,
    /// Not to be sent again before.
    pub not_before: Option<Instant>,
    pub full: bool,
    /// Set when the batch is sent first.
    pub base_sequence: Option<i32>,
    builder: Option<BatchBuilder>,
    encoded: Option<Vec<u8>>,
    replies: Vec<(i64, Reply)>,
    memory: Option<OwnedSemaphorePermit>,
}

impl Batch {
    pub fn new(id: u64, partition: TopicPartition, config: &ProducerConfig) -> Batch {
        let options = BatchOptions {
            compression: config.compression,
            transactional: config.transactional_id.is_some(),
            ..Default::default()
        };
        Batch {
            id,
            partition,
            created: Instant::now(),
            attempts: 0,
            not_before: None,
            full: false,
            base_sequence: None,
            builder: Some(BatchBuilder::new(options)),
            encoded: None,
            replies: Vec::new(),
            memory: None,
        }
    }

    pub fn has_room(&self, size: usize, batch_size: usize) -> bool {
        !self.full
            && self
                .builder
                .as_ref()
                .is_some_and(|b| b.is_empty() || b.uncompressed_size() + size <= batch_size)
    }

    pub fn append(
        &mut self,
        record: &ProducerRecord,
        timestamp: i64,
        reply: Reply,
        memory: OwnedSemaphorePermit,
        batch_size: usize,
    ) {
        let Some(builder) = &mut self.builder else { return };
        let headers = record.headers.iter().map(|(k, v)| Header { key: k.as_bytes(), value: v.as_deref() });
        builder.append(timestamp, record.key.as_deref(), record.value.as_deref(), headers);
        self.full |= builder.uncompressed_size() >= batch_size;
        self.replies.push((timestamp, reply));
        match &mut self.memory {
            Some(permit) => permit.merge(memory),
            None => self.memory = Some(memory),
        }
    }

    pub fn count(&self) -> i32 {
        i32::try_from(self.replies.len()).unwrap_or(i32::MAX)
    }

    /// The bytes to send under a producer id (-1 for none). No record can be added afterwards.
    pub fn encode(&mut self, producer_id: i64, epoch: i16) -> Result<Bytes, CompressionError> {
        if let Some(builder) = self.builder.take() {
            let mut bytes = Vec::new();
            builder.write_to(&mut bytes)?;
            self.encoded = Some(bytes);
        }
        let bytes = self.encoded.get_or_insert_default();
        if producer_id >= 0 && bytes.len() >= layout::RECORD_BATCH_OVERHEAD {
            let sequence = self.base_sequence.unwrap_or(-1);
            bytes[layout::PRODUCER_ID..layout::PRODUCER_ID + 8].copy_from_slice(&producer_id.to_be_bytes());
            bytes[layout::PRODUCER_EPOCH..layout::PRODUCER_EPOCH + 2].copy_from_slice(&epoch.to_be_bytes());
            bytes[layout::BASE_SEQUENCE..layout::BASE_SEQUENCE + 4].copy_from_slice(&sequence.to_be_bytes());
            patch::refresh_crc(bytes);
        }
        Ok(Bytes::copy_from_slice(bytes))
    }

    /// Bytes on the wire, or a bound while the batch is open.
    pub fn size(&self) -> usize {
        match (&self.encoded, &self.builder) {
            (Some(bytes), _) => bytes.len(),
            (None, Some(builder)) => builder.uncompressed_size(),
            (None, None) => 0,
        }
    }

    /// Tells every record where it went.
    pub fn succeed(self, base_offset: i64, log_append_time: i64) {
        for (i, (timestamp, reply)) in (0i64..).zip(self.replies) {
            let offset = if base_offset < 0 { -1 } else { base_offset + i };
            let timestamp = if log_append_time >= 0 { log_append_time } else { timestamp };
            let _ = reply.send(Ok(RecordMetadata { partition: self.partition.clone(), offset, timestamp }));
        }
    }

    /// Tells every record that it was lost.
    pub fn fail(self, error: &ClientError) {
        for (_, reply) in self.replies {
            let _ = reply.send(Err(copy_of(error)));
        }
    }
}

/// The same error for each record of a batch.
pub(super) fn copy_of(error: &ClientError) -> ClientError {
    match error {
        ClientError::Timeout(text) => ClientError::Timeout(text.clone()),
        ClientError::InvalidState(text) => ClientError::InvalidState(text.clone()),
        ClientError::Api { code, message } => ClientError::Api { code: *code, message: message.clone() },
        other => ClientError::Api { code: other.code(), message: Some(other.to_string()) },
    }
}
