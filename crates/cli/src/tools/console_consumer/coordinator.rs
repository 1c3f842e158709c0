//! Records of `__consumer_offsets` and `__transaction_state` as JSON. Source: Kafka
//! `CoordinatorRecordMessageFormatter` and its three subclasses.

use bytes::Bytes;
use ottla_client::consumer::ConsumerRecord;
use ottla_protocol::messages::{
    GroupMetadataKey, GroupMetadataValue, LegacyOffsetCommitKey, LegacyOffsetCommitValue, OffsetCommitKey,
    OffsetCommitValue, TransactionLogKey, TransactionLogValue,
};
use ottla_protocol::wire::{DecodeError, Message};

use crate::error::ToolError;

/// Which records are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Offsets,
    GroupMetadata,
    TransactionLog,
}

/// The record as JSON, without a line break; nothing for records of other types.
pub fn write(kind: Kind, record: &ConsumerRecord) -> Result<Vec<u8>, ToolError> {
    let Some(key) = &record.key else { return Ok(Vec::new()) };
    let text = match (kind, version(key)) {
        (Kind::Offsets, Some(0)) => json::<LegacyOffsetCommitKey, LegacyOffsetCommitValue>(record, key),
        (Kind::Offsets, Some(1)) => json::<OffsetCommitKey, OffsetCommitValue>(record, key),
        (Kind::GroupMetadata, Some(2)) => json::<GroupMetadataKey, GroupMetadataValue>(record, key),
        (Kind::TransactionLog, Some(0)) => transaction(record, key),
        _ => return Ok(Vec::new()),
    };
    text.map(String::into_bytes).map_err(|e| {
        ToolError::message(format!("Could not read record at offset {} due to: {e}", record.offset))
    })
}

fn version(bytes: &Bytes) -> Option<i16> {
    bytes.first_chunk::<2>().map(|b| i16::from_be_bytes(*b))
}

/// Keys are written in version 0 behind their type, values behind their version.
fn json<K: Message, V: Message>(record: &ConsumerRecord, key: &Bytes) -> Result<String, DecodeError> {
    let value = match &record.value {
        Some(value) => {
            let (version, value) = versioned::<V>(value)?;
            format!("{{\"version\":{version},\"data\":{}}}", value.to_json(version))
        }
        None => "null".to_owned(),
    };
    with_key::<K>(key, &value)
}

fn with_key<K: Message>(key: &Bytes, value: &str) -> Result<String, DecodeError> {
    let record_type = version(key).unwrap_or_default();
    let key = K::from_bytes(key.slice(2..), 0)?.to_json(0);
    Ok(format!("{{\"key\":{{\"type\":{record_type},\"data\":{key}}},\"value\":{value}}}"))
}

fn versioned<V: Message>(bytes: &Bytes) -> Result<(i16, V), DecodeError> {
    let version = version(bytes).unwrap_or(-1);
    let body = if bytes.len() >= 2 { bytes.slice(2..) } else { Bytes::new() };
    Ok((version, V::decode(&mut ottla_protocol::wire::Reader::new(body), version)?))
}

/// As the others, with the state by its name.
fn transaction(record: &ConsumerRecord, key: &Bytes) -> Result<String, DecodeError> {
    let Some(value) = &record.value else { return with_key::<TransactionLogKey>(key, "null") };
    let (version, value) = versioned::<TransactionLogValue>(value)?;
    let number = format!("\"transactionStatus\":{}", value.transaction_status);
    let name = match value.transaction_status {
        0 => "Empty",
        1 => "Ongoing",
        2 => "PrepareCommit",
        3 => "PrepareAbort",
        4 => "CompleteCommit",
        5 => "CompleteAbort",
        6 => "Dead",
        7 => "PrepareEpochFence",
        _ => "",
    };
    let name = if name.is_empty() { value.transaction_status.to_string() } else { name.to_owned() };
    let data = value.to_json(version).replacen(&number, &format!("\"transactionStatus\":\"{name}\""), 1);
    with_key::<TransactionLogKey>(key, &format!("{{\"version\":{version},\"data\":{data}}}"))
}
