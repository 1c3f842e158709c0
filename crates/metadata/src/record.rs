//! Metadata records: the values of `__cluster_metadata`, each with its frame (KRaft `MetadataRecordSerde`).

use bytes::Bytes;
use ottla_protocol::messages::metadata_record as m;
use ottla_protocol::wire::{DecodeError, EncodeError, Message, Reader, Writer};

/// The only frame version there is.
const FRAME_VERSION: u32 = 1;

/// Why the value of a record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("metadata record with frame version {0}, expected 1")]
    FrameVersion(u32),
    #[error("unknown metadata record type {0}")]
    UnknownType(u32),
    #[error("metadata record type {kind} has no version {version}")]
    UnknownVersion { kind: i16, version: u32 },
    #[error("malformed metadata record")]
    Malformed(#[source] DecodeError),
}

impl From<DecodeError> for RecordError {
    fn from(e: DecodeError) -> Self {
        RecordError::Malformed(e)
    }
}

macro_rules! records {
    ($($variant:ident = $module:ident :: $ty:ident,)*) => {
        /// Every type of metadata record.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Record {
            $($variant(m::$module::$ty),)*
        }

        impl Record {
            /// The record's type, Kafka's api key of it.
            pub fn kind(&self) -> i16 {
                match self {
                    $(Record::$variant(_) => <m::$module::$ty as Message>::KEY,)*
                }
            }

            /// The name of the record's type.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Record::$variant(_) => <m::$module::$ty as Message>::NAME,)*
                }
            }

            /// The record's fields as Kafka's tools print them.
            pub fn to_json(&self, version: i16) -> String {
                match self {
                    $(Record::$variant(r) => r.to_json(version),)*
                }
            }

            fn encode_body(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
                match self {
                    $(Record::$variant(r) => r.encode(w, version),)*
                }
            }

            fn decode_body(kind: u32, version: u32, r: &mut Reader) -> Result<(Record, i16), RecordError> {
                match i16::try_from(kind) {
                    $(Ok(<m::$module::$ty as Message>::KEY) => {
                        type R = m::$module::$ty;
                        let known = i16::try_from(version)
                            .ok()
                            .filter(|v| (R::MIN_VERSION..=R::MAX_VERSION).contains(v))
                            .ok_or(RecordError::UnknownVersion { kind: R::KEY, version })?;
                        Ok((Record::$variant(R::decode(r, known)?), known))
                    })*
                    _ => Err(RecordError::UnknownType(kind)),
                }
            }
        }

        $(impl From<m::$module::$ty> for Record {
            fn from(r: m::$module::$ty) -> Record {
                Record::$variant(r)
            }
        })*
    };
}

records! {
    RegisterBroker = register_broker_record::RegisterBrokerRecord,
    UnregisterBroker = unregister_broker_record::UnregisterBrokerRecord,
    Topic = topic_record::TopicRecord,
    Partition = partition_record::PartitionRecord,
    Config = config_record::ConfigRecord,
    PartitionChange = partition_change_record::PartitionChangeRecord,
    FenceBroker = fence_broker_record::FenceBrokerRecord,
    UnfenceBroker = unfence_broker_record::UnfenceBrokerRecord,
    RemoveTopic = remove_topic_record::RemoveTopicRecord,
    DelegationToken = delegation_token_record::DelegationTokenRecord,
    UserScramCredential = user_scram_credential_record::UserScramCredentialRecord,
    FeatureLevel = feature_level_record::FeatureLevelRecord,
    ClientQuota = client_quota_record::ClientQuotaRecord,
    ProducerIds = producer_ids_record::ProducerIdsRecord,
    BrokerRegistrationChange = broker_registration_change_record::BrokerRegistrationChangeRecord,
    AccessControlEntry = access_control_entry_record::AccessControlEntryRecord,
    RemoveAccessControlEntry = remove_access_control_entry_record::RemoveAccessControlEntryRecord,
    NoOp = no_op_record::NoOpRecord,
    ZkMigrationState = zk_migration_state_record::ZkMigrationStateRecord,
    RemoveUserScramCredential = remove_user_scram_credential_record::RemoveUserScramCredentialRecord,
    BeginTransaction = begin_transaction_record::BeginTransactionRecord,
    EndTransaction = end_transaction_record::EndTransactionRecord,
    AbortTransaction = abort_transaction_record::AbortTransactionRecord,
    RemoveDelegationToken = remove_delegation_token_record::RemoveDelegationTokenRecord,
    RegisterController = register_controller_record::RegisterControllerRecord,
    ClearElr = clear_elr_record::ClearElrRecord,
    UnregisterController = unregister_controller_record::UnregisterControllerRecord,
}

/// A record with the version it is written in.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionedRecord {
    pub record: Record,
    pub version: i16,
}

impl VersionedRecord {
    pub fn new(record: impl Into<Record>, version: i16) -> Self {
        VersionedRecord { record: record.into(), version }
    }

    /// A record in its version 0.
    pub fn v0(record: impl Into<Record>) -> Self {
        Self::new(record, 0)
    }

    /// Reads the value of a record of the metadata log. The result keeps nothing of `value` alive:
    /// what goes into an image must not hold on to a whole batch.
    pub fn decode(value: &[u8]) -> Result<Self, RecordError> {
        let mut r = Reader::new(Bytes::copy_from_slice(value));
        let frame = r.unsigned_varint()?;
        if frame != FRAME_VERSION {
            return Err(RecordError::FrameVersion(frame));
        }
        let kind = r.unsigned_varint()?;
        let version = r.unsigned_varint()?;
        let (record, version) = Record::decode_body(kind, version, &mut r)?;
        r.finish()?;
        Ok(VersionedRecord { record, version })
    }

    /// Writes the value of a record of the metadata log. Fails if a field cannot be said in the
    /// record's version.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        let mut w = Writer::new();
        w.unsigned_varint(FRAME_VERSION);
        w.unsigned_varint(self.record.kind() as u32);
        w.unsigned_varint(self.version as u32);
        self.record.encode_body(&mut w, self.version)?;
        Ok(w.into_bytes())
    }
}
