//! Records of several decisions gathered into one batch.

use bytes::Bytes;
use ottla_protocol::compression::{Compression, CompressionError};
use ottla_protocol::records::{BatchBuilder, BatchOptions};

/// Keys and values that go into the log together.
#[derive(Debug, Default)]
pub struct PendingBatch {
    records: Vec<(Bytes, Option<Bytes>)>,
    bytes: usize,
}

impl PendingBatch {
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// An upper bound of the batch's size before compression.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn push(&mut self, key: Bytes, value: Option<Bytes>) {
        // A record of format 2 has at most 7 varints of 5 bytes around key and value.
        self.bytes += 36 + key.len() + value.as_ref().map_or(0, Bytes::len);
        self.records.push((key, value));
    }

    pub fn extend(&mut self, other: PendingBatch) {
        self.bytes += other.bytes;
        self.records.extend(other.records);
    }

    /// Builds the batch and empties this.
    pub fn build(
        &mut self,
        now_ms: i64,
        compression: Compression,
        producer: Option<(i64, i16)>,
    ) -> Result<Bytes, CompressionError> {
        let (producer_id, producer_epoch) = producer.unwrap_or((-1, -1));
        let mut builder = BatchBuilder::new(BatchOptions {
            compression,
            producer_id,
            producer_epoch,
            transactional: producer.is_some(),
            ..Default::default()
        });
        self.bytes = 0;
        for (key, value) in self.records.drain(..) {
            builder.append(now_ms, Some(&key), value.as_deref(), std::iter::empty());
        }
        builder.build()
    }
}
