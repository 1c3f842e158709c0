//! Records of `__transaction_state`. Source: Kafka `TransactionLog`.

use bytes::Bytes;
use ottla_protocol::messages::coordinator_record::transaction_log_key::TransactionLogKey;
use ottla_protocol::messages::coordinator_record::transaction_log_value::{
    PartitionsSchema, TransactionLogValue,
};
use ottla_protocol::types::Str;
use ottla_protocol::wire::Message;

use super::NO_PRODUCER_EPOCH;
use super::metadata::{TransactionMetadata, TxnPartitions};
use super::state::TransactionState;
use crate::error::ReplayError;
use crate::group::record::{decode_key, decode_value, encode_key, encode_value};

/// The state of one transactional id, or its tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxnRecord {
    pub transactional_id: Str,
    pub metadata: Option<TransactionMetadata>,
    /// Version of the value: 1 from `transaction.version` 1 on.
    pub(super) value_version: i16,
}

impl TxnRecord {
    pub fn key_bytes(&self) -> Bytes {
        encode_key(&TransactionLogKey {
            transactional_id: self.transactional_id.clone(),
            ..Default::default()
        })
    }

    pub fn value_bytes(&self) -> Option<Bytes> {
        let metadata = self.metadata.as_ref()?;
        let partitions = (metadata.state != TransactionState::Empty).then(|| {
            metadata
                .partitions
                .iter()
                .map(|(topic, partitions)| PartitionsSchema {
                    topic: topic.clone(),
                    partition_ids: partitions.iter().copied().collect(),
                    ..Default::default()
                })
                .collect()
        });
        let mut value = TransactionLogValue {
            producer_id: metadata.producer_id,
            producer_epoch: metadata.producer_epoch,
            transaction_timeout_ms: metadata.timeout_ms,
            transaction_status: metadata.state.id(),
            transaction_partitions: partitions,
            transaction_last_update_timestamp_ms: metadata.last_update_timestamp_ms,
            transaction_start_timestamp_ms: metadata.start_timestamp_ms,
            ..Default::default()
        };
        if self.value_version >= 1 {
            value.previous_producer_id = metadata.previous_producer_id;
            value.next_producer_id = metadata.next_producer_id;
            value.client_transaction_version = metadata.client_transaction_version;
        }
        Some(encode_value(&value, self.value_version))
    }

    /// Reads a record of the log; `Ok(None)` for a key of an unknown type, which is skipped as Kafka does.
    ///
    /// # Errors
    /// When key or value are not what their versions say.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<TxnRecord>, ReplayError> {
        let key = Bytes::copy_from_slice(key);
        if key.len() < 2 {
            return Err(ReplayError::ShortKey(key.len()));
        }
        if i16::from_be_bytes([key[0], key[1]]) != TransactionLogKey::KEY {
            return Ok(None);
        }
        let key: TransactionLogKey = decode_key(key.slice(2..))?;
        let value: Option<TransactionLogValue> =
            decode_value(TransactionLogKey::KEY, value.map(Bytes::copy_from_slice))?;
        let metadata = value.map(|value| metadata_of(&key.transactional_id, &value)).transpose()?;
        Ok(Some(TxnRecord { transactional_id: key.transactional_id, metadata, value_version: 1 }))
    }
}

fn metadata_of(
    transactional_id: &Str,
    value: &TransactionLogValue,
) -> Result<TransactionMetadata, ReplayError> {
    let state = TransactionState::from_id(value.transaction_status)
        .ok_or(ReplayError::UnknownTransactionStatus(value.transaction_status))?;
    let mut partitions = TxnPartitions::new();
    if state != TransactionState::Empty {
        for topic in value.transaction_partitions.iter().flatten() {
            partitions.entry(topic.topic.clone()).or_default().extend(&topic.partition_ids);
        }
    }
    Ok(TransactionMetadata {
        transactional_id: transactional_id.clone(),
        producer_id: value.producer_id,
        previous_producer_id: value.previous_producer_id,
        next_producer_id: value.next_producer_id,
        producer_epoch: value.producer_epoch,
        last_producer_epoch: NO_PRODUCER_EPOCH,
        timeout_ms: value.transaction_timeout_ms,
        state,
        partitions,
        start_timestamp_ms: value.transaction_start_timestamp_ms,
        last_update_timestamp_ms: value.transaction_last_update_timestamp_ms,
        client_transaction_version: value.client_transaction_version,
    })
}
