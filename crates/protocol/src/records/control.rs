//! Control records: transaction markers and the records of KRaft.
//!
//! A control batch holds one record whose key is int16 version and int16 type. Values other than that of a
//! transaction marker are generated messages; here they are bytes.
//!
//! Source: Kafka `ControlRecordType`, `EndTransactionMarker`; KIP-98, KIP-595, KIP-630, KIP-853.

use bytes::Bytes;

use super::{BatchBuilder, BatchOptions, NO_SEQUENCE, Record, RecordsError, TimestampType};
use crate::compression::Compression;

/// The kind of a control record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ControlRecordType {
    /// A transaction is aborted.
    Abort,
    /// A transaction is committed.
    Commit,
    /// A KRaft leader starts its epoch.
    LeaderChange,
    /// First record of a KRaft snapshot.
    SnapshotHeader,
    /// Last record of a KRaft snapshot.
    SnapshotFooter,
    /// `kraft.version`.
    KRaftVersion,
    /// The voters of the quorum.
    KRaftVoters,
    /// A type that this version does not know; readers pass over it.
    Unknown(i16),
}

impl ControlRecordType {
    /// The type with this id.
    pub const fn from_id(id: i16) -> Self {
        match id {
            0 => ControlRecordType::Abort,
            1 => ControlRecordType::Commit,
            2 => ControlRecordType::LeaderChange,
            3 => ControlRecordType::SnapshotHeader,
            4 => ControlRecordType::SnapshotFooter,
            5 => ControlRecordType::KRaftVersion,
            6 => ControlRecordType::KRaftVoters,
            _ => ControlRecordType::Unknown(id),
        }
    }

    /// The id in the key.
    pub const fn id(self) -> i16 {
        match self {
            ControlRecordType::Abort => 0,
            ControlRecordType::Commit => 1,
            ControlRecordType::LeaderChange => 2,
            ControlRecordType::SnapshotHeader => 3,
            ControlRecordType::SnapshotFooter => 4,
            ControlRecordType::KRaftVersion => 5,
            ControlRecordType::KRaftVoters => 6,
            ControlRecordType::Unknown(id) => id,
        }
    }

    /// The type that a control record's key names.
    ///
    /// # Errors
    /// A key that is missing, too short or of a negative version.
    pub fn parse_key(key: Option<&[u8]>) -> Result<Self, RecordsError> {
        let key = key.unwrap_or_default();
        let Some([v0, v1, t0, t1]) = key.first_chunk::<4>() else {
            return Err(RecordsError::ControlKeyTooShort { size: key.len() });
        };
        let version = i16::from_be_bytes([*v0, *v1]);
        if version < 0 {
            return Err(RecordsError::InvalidControlKeyVersion { version });
        }
        Ok(ControlRecordType::from_id(i16::from_be_bytes([*t0, *t1])))
    }

    /// The key of a control record of this type.
    pub const fn key(self) -> [u8; 4] {
        let id = self.id().to_be_bytes();
        [0, 0, id[0], id[1]]
    }
}

/// The end of a transaction in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTxnMarker {
    /// Committed, or else aborted.
    pub commit: bool,
    /// Epoch of the transaction coordinator that wrote it.
    pub coordinator_epoch: i32,
}

impl EndTxnMarker {
    /// The marker that a control record holds; none when it is a control record of another type.
    ///
    /// # Errors
    /// A key or value that is too short or of a negative version.
    pub fn parse(record: &Record<'_>) -> Result<Option<Self>, RecordsError> {
        let commit = match ControlRecordType::parse_key(record.key)? {
            ControlRecordType::Commit => true,
            ControlRecordType::Abort => false,
            _ => return Ok(None),
        };
        let value = record.value.unwrap_or_default();
        let Some([v0, v1, epoch @ ..]) = value.first_chunk::<6>() else {
            return Err(RecordsError::EndTxnTooShort { size: value.len() });
        };
        let version = i16::from_be_bytes([*v0, *v1]);
        if version < 0 {
            return Err(RecordsError::InvalidEndTxnVersion { version });
        }
        Ok(Some(EndTxnMarker { commit, coordinator_epoch: i32::from_be_bytes(*epoch) }))
    }

    /// The value of the control record.
    pub const fn value(&self) -> [u8; 6] {
        let epoch = self.coordinator_epoch.to_be_bytes();
        [0, 0, epoch[0], epoch[1], epoch[2], epoch[3]]
    }

    /// The control batch of this marker.
    pub fn batch(
        &self,
        base_offset: i64,
        timestamp: i64,
        partition_leader_epoch: i32,
        producer_id: i64,
        producer_epoch: i16,
    ) -> Bytes {
        let record_type = if self.commit { ControlRecordType::Commit } else { ControlRecordType::Abort };
        let options = BatchOptions {
            base_offset,
            partition_leader_epoch,
            producer_id,
            producer_epoch,
            base_sequence: NO_SEQUENCE,
            transactional: true,
            ..BatchOptions::default()
        };
        control_batch(options, timestamp, [(record_type, &self.value()[..])])
    }
}

/// A control batch of KRaft: not transactional, no producer.
pub fn kraft_control_batch(
    base_offset: i64,
    timestamp: i64,
    partition_leader_epoch: i32,
    record_type: ControlRecordType,
    value: &Bytes,
) -> Bytes {
    let options = BatchOptions { base_offset, partition_leader_epoch, ..BatchOptions::default() };
    control_batch(options, timestamp, [(record_type, &value[..])])
}

/// A control batch of several records, such as a bootstrap snapshot's `kraft.version` and voters.
pub fn control_batch<'v>(
    options: BatchOptions,
    timestamp: i64,
    records: impl IntoIterator<Item = (ControlRecordType, &'v [u8])>,
) -> Bytes {
    let options = BatchOptions {
        compression: Compression::NONE,
        timestamp_type: TimestampType::CreateTime,
        control: true,
        delete_horizon_ms: None,
        ..options
    };
    let mut builder = BatchBuilder::new(options);
    for (record_type, value) in records {
        builder.append(timestamp, Some(&record_type.key()), Some(value), []);
    }
    let mut out = Vec::new();
    match builder.write_to(&mut out) {
        Ok(()) => Bytes::from(out),
        Err(_) => unreachable!("nothing is compressed"),
    }
}
