//! Records of `__consumer_offsets`: typed, and to and from the bytes of a log.
//!
//! A key is its type (int16) and body, a value its version (int16) and body. Source: `CoordinatorRecordSerde`,
//! `GroupCoordinatorRecordHelpers`.

use bytes::{BufMut, Bytes, BytesMut};
use ottla_protocol::messages::coordinator_record::*;
use ottla_protocol::types::Str;
use ottla_protocol::wire::{Message, Reader, Writer};

use super::kind::GroupKind;
use crate::error::ReplayError;

use self::consumer_group_current_member_assignment_key::ConsumerGroupCurrentMemberAssignmentKey;
use self::consumer_group_current_member_assignment_value::ConsumerGroupCurrentMemberAssignmentValue;
use self::consumer_group_member_metadata_key::ConsumerGroupMemberMetadataKey;
use self::consumer_group_member_metadata_value::ConsumerGroupMemberMetadataValue;
use self::consumer_group_metadata_key::ConsumerGroupMetadataKey;
use self::consumer_group_metadata_value::ConsumerGroupMetadataValue;
use self::consumer_group_partition_metadata_key::ConsumerGroupPartitionMetadataKey;
use self::consumer_group_regular_expression_key::ConsumerGroupRegularExpressionKey;
use self::consumer_group_regular_expression_value::ConsumerGroupRegularExpressionValue;
use self::consumer_group_target_assignment_member_key::ConsumerGroupTargetAssignmentMemberKey;
use self::consumer_group_target_assignment_member_value::ConsumerGroupTargetAssignmentMemberValue;
use self::consumer_group_target_assignment_metadata_key::ConsumerGroupTargetAssignmentMetadataKey;
use self::consumer_group_target_assignment_metadata_value::ConsumerGroupTargetAssignmentMetadataValue;
use self::group_metadata_key::GroupMetadataKey;
use self::group_metadata_value::GroupMetadataValue;
use self::legacy_offset_commit_key::LegacyOffsetCommitKey;
use self::legacy_offset_commit_value::LegacyOffsetCommitValue;
use self::offset_commit_key::OffsetCommitKey;
use self::offset_commit_value::OffsetCommitValue;

/// GroupMetadataValue stays at version 3 (4 is flexible and not written by Kafka 4.4).
const GROUP_METADATA_VALUE_VERSION: i16 = 3;

/// One record; `value` of `None` is a tombstone.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupRecord {
    OffsetCommit {
        group: Str,
        topic: Str,
        partition: i32,
        value: Option<OffsetCommitValue>,
    },
    GroupMetadata {
        group: Str,
        value: Option<GroupMetadataValue>,
    },
    ConsumerGroupMetadata {
        group: Str,
        value: Option<ConsumerGroupMetadataValue>,
    },
    /// Written by versions before 4.0 only; its presence is all that counts, and it is only ever deleted.
    ConsumerGroupPartitionMetadata {
        group: Str,
        present: bool,
    },
    ConsumerGroupMemberMetadata {
        group: Str,
        member: Str,
        value: Option<ConsumerGroupMemberMetadataValue>,
    },
    ConsumerGroupTargetAssignmentMetadata {
        group: Str,
        value: Option<ConsumerGroupTargetAssignmentMetadataValue>,
    },
    ConsumerGroupTargetAssignmentMember {
        group: Str,
        member: Str,
        value: Option<ConsumerGroupTargetAssignmentMemberValue>,
    },
    ConsumerGroupCurrentMemberAssignment {
        group: Str,
        member: Str,
        value: Option<ConsumerGroupCurrentMemberAssignmentValue>,
    },
    ConsumerGroupRegularExpression {
        group: Str,
        regex: Str,
        value: Option<ConsumerGroupRegularExpressionValue>,
    },
    /// A record of a share or streams group. Read, never written.
    Foreign {
        kind: GroupKind,
        group: Str,
        member: Option<Str>,
        /// The record that makes the group exist, as opposed to a part of it.
        is_group: bool,
        /// The record that makes the member exist.
        is_member: bool,
        present: bool,
    },
}

impl GroupRecord {
    /// The type, first in the key.
    pub fn record_type(&self) -> i16 {
        match self {
            GroupRecord::OffsetCommit { .. } => OffsetCommitKey::KEY,
            GroupRecord::GroupMetadata { .. } => GroupMetadataKey::KEY,
            GroupRecord::ConsumerGroupMetadata { .. } => ConsumerGroupMetadataKey::KEY,
            GroupRecord::ConsumerGroupPartitionMetadata { .. } => ConsumerGroupPartitionMetadataKey::KEY,
            GroupRecord::ConsumerGroupMemberMetadata { .. } => ConsumerGroupMemberMetadataKey::KEY,
            GroupRecord::ConsumerGroupTargetAssignmentMetadata { .. } => {
                ConsumerGroupTargetAssignmentMetadataKey::KEY
            }
            GroupRecord::ConsumerGroupTargetAssignmentMember { .. } => {
                ConsumerGroupTargetAssignmentMemberKey::KEY
            }
            GroupRecord::ConsumerGroupCurrentMemberAssignment { .. } => {
                ConsumerGroupCurrentMemberAssignmentKey::KEY
            }
            GroupRecord::ConsumerGroupRegularExpression { .. } => ConsumerGroupRegularExpressionKey::KEY,
            GroupRecord::Foreign { .. } => -1,
        }
    }

    /// The group the record belongs to.
    pub fn group(&self) -> &Str {
        match self {
            GroupRecord::OffsetCommit { group, .. }
            | GroupRecord::GroupMetadata { group, .. }
            | GroupRecord::ConsumerGroupMetadata { group, .. }
            | GroupRecord::ConsumerGroupPartitionMetadata { group, .. }
            | GroupRecord::ConsumerGroupMemberMetadata { group, .. }
            | GroupRecord::ConsumerGroupTargetAssignmentMetadata { group, .. }
            | GroupRecord::ConsumerGroupTargetAssignmentMember { group, .. }
            | GroupRecord::ConsumerGroupCurrentMemberAssignment { group, .. }
            | GroupRecord::ConsumerGroupRegularExpression { group, .. }
            | GroupRecord::Foreign { group, .. } => group,
        }
    }

    /// The record's key as it stands in the log.
    ///
    /// # Panics
    /// For a `Foreign` record, which no shard produces.
    pub fn key_bytes(&self) -> Bytes {
        match self {
            GroupRecord::OffsetCommit { group, topic, partition, .. } => encode_key(&OffsetCommitKey {
                group: group.clone(),
                topic: topic.clone(),
                partition: *partition,
                ..Default::default()
            }),
            GroupRecord::GroupMetadata { group, .. } => {
                encode_key(&GroupMetadataKey { group: group.clone(), ..Default::default() })
            }
            GroupRecord::ConsumerGroupMetadata { group, .. } => {
                encode_key(&ConsumerGroupMetadataKey { group_id: group.clone(), ..Default::default() })
            }
            GroupRecord::ConsumerGroupPartitionMetadata { group, .. } => {
                encode_key(&ConsumerGroupPartitionMetadataKey {
                    group_id: group.clone(),
                    ..Default::default()
                })
            }
            GroupRecord::ConsumerGroupMemberMetadata { group, member, .. } => {
                encode_key(&ConsumerGroupMemberMetadataKey {
                    group_id: group.clone(),
                    member_id: member.clone(),
                    ..Default::default()
                })
            }
            GroupRecord::ConsumerGroupTargetAssignmentMetadata { group, .. } => {
                encode_key(&ConsumerGroupTargetAssignmentMetadataKey {
                    group_id: group.clone(),
                    ..Default::default()
                })
            }
            GroupRecord::ConsumerGroupTargetAssignmentMember { group, member, .. } => {
                encode_key(&ConsumerGroupTargetAssignmentMemberKey {
                    group_id: group.clone(),
                    member_id: member.clone(),
                    ..Default::default()
                })
            }
            GroupRecord::ConsumerGroupCurrentMemberAssignment { group, member, .. } => {
                encode_key(&ConsumerGroupCurrentMemberAssignmentKey {
                    group_id: group.clone(),
                    member_id: member.clone(),
                    ..Default::default()
                })
            }
            GroupRecord::ConsumerGroupRegularExpression { group, regex, .. } => {
                encode_key(&ConsumerGroupRegularExpressionKey {
                    group_id: group.clone(),
                    regular_expression: regex.clone(),
                    ..Default::default()
                })
            }
            GroupRecord::Foreign { .. } => panic!("share and streams groups are never written here"),
        }
    }

    /// The record's value as it stands in the log; `None` for a tombstone.
    pub fn value_bytes(&self) -> Option<Bytes> {
        match self {
            GroupRecord::OffsetCommit { value, .. } => value.as_ref().map(|value| {
                // Only version 1 has an expiry of its own.
                let version = if value.expire_timestamp == -1 { 4 } else { 1 };
                encode_value(value, version)
            }),
            GroupRecord::GroupMetadata { value, .. } => {
                value.as_ref().map(|value| encode_value(value, GROUP_METADATA_VALUE_VERSION))
            }
            GroupRecord::ConsumerGroupMetadata { value, .. } => {
                value.as_ref().map(|value| encode_value(value, 0))
            }
            GroupRecord::ConsumerGroupPartitionMetadata { .. } => None,
            GroupRecord::ConsumerGroupMemberMetadata { value, .. } => {
                value.as_ref().map(|value| encode_value(value, 0))
            }
            GroupRecord::ConsumerGroupTargetAssignmentMetadata { value, .. } => {
                value.as_ref().map(|value| encode_value(value, 0))
            }
            GroupRecord::ConsumerGroupTargetAssignmentMember { value, .. } => {
                value.as_ref().map(|value| encode_value(value, 0))
            }
            GroupRecord::ConsumerGroupCurrentMemberAssignment { value, .. } => {
                value.as_ref().map(|value| encode_value(value, 0))
            }
            GroupRecord::ConsumerGroupRegularExpression { value, .. } => {
                value.as_ref().map(|value| encode_value(value, 0))
            }
            GroupRecord::Foreign { .. } => None,
        }
    }

    /// Reads a record of the log. `Ok(None)` is a type this version does not know, which is skipped as Kafka does.
    ///
    /// # Errors
    /// When key or value are not what their type and version say.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<GroupRecord>, ReplayError> {
        // Copied, so that the state does not keep whole batches alive.
        let key = Bytes::copy_from_slice(key);
        if key.len() < 2 {
            return Err(ReplayError::ShortKey(key.len()));
        }
        let record_type = i16::from_be_bytes([key[0], key[1]]);
        let body = key.slice(2..);
        let value = value.map(Bytes::copy_from_slice);
        let record = match record_type {
            LegacyOffsetCommitKey::KEY => {
                let key: LegacyOffsetCommitKey = decode_key(body)?;
                let value: Option<LegacyOffsetCommitValue> = decode_value(record_type, value)?;
                GroupRecord::OffsetCommit {
                    group: key.group,
                    topic: key.topic,
                    partition: key.partition,
                    value: value.map(|value| OffsetCommitValue {
                        offset: value.offset,
                        metadata: value.metadata,
                        commit_timestamp: value.commit_timestamp,
                        ..Default::default()
                    }),
                }
            }
            OffsetCommitKey::KEY => {
                let key: OffsetCommitKey = decode_key(body)?;
                GroupRecord::OffsetCommit {
                    group: key.group,
                    topic: key.topic,
                    partition: key.partition,
                    value: decode_value(record_type, value)?,
                }
            }
            GroupMetadataKey::KEY => {
                let key: GroupMetadataKey = decode_key(body)?;
                GroupRecord::GroupMetadata { group: key.group, value: decode_value(record_type, value)? }
            }
            ConsumerGroupMetadataKey::KEY => {
                let key: ConsumerGroupMetadataKey = decode_key(body)?;
                GroupRecord::ConsumerGroupMetadata {
                    group: key.group_id,
                    value: decode_value(record_type, value)?,
                }
            }
            ConsumerGroupPartitionMetadataKey::KEY => {
                let key: ConsumerGroupPartitionMetadataKey = decode_key(body)?;
                GroupRecord::ConsumerGroupPartitionMetadata { group: key.group_id, present: value.is_some() }
            }
            ConsumerGroupMemberMetadataKey::KEY => {
                let key: ConsumerGroupMemberMetadataKey = decode_key(body)?;
                GroupRecord::ConsumerGroupMemberMetadata {
                    group: key.group_id,
                    member: key.member_id,
                    value: decode_value(record_type, value)?,
                }
            }
            ConsumerGroupTargetAssignmentMetadataKey::KEY => {
                let key: ConsumerGroupTargetAssignmentMetadataKey = decode_key(body)?;
                GroupRecord::ConsumerGroupTargetAssignmentMetadata {
                    group: key.group_id,
                    value: decode_value(record_type, value)?,
                }
            }
            ConsumerGroupTargetAssignmentMemberKey::KEY => {
                let key: ConsumerGroupTargetAssignmentMemberKey = decode_key(body)?;
                GroupRecord::ConsumerGroupTargetAssignmentMember {
                    group: key.group_id,
                    member: key.member_id,
                    value: decode_value(record_type, value)?,
                }
            }
            ConsumerGroupCurrentMemberAssignmentKey::KEY => {
                let key: ConsumerGroupCurrentMemberAssignmentKey = decode_key(body)?;
                GroupRecord::ConsumerGroupCurrentMemberAssignment {
                    group: key.group_id,
                    member: key.member_id,
                    value: decode_value(record_type, value)?,
                }
            }
            ConsumerGroupRegularExpressionKey::KEY => {
                let key: ConsumerGroupRegularExpressionKey = decode_key(body)?;
                GroupRecord::ConsumerGroupRegularExpression {
                    group: key.group_id,
                    regex: key.regular_expression,
                    value: decode_value(record_type, value)?,
                }
            }
            other => match foreign_shape(other) {
                Some((kind, has_member)) => decode_foreign(other, kind, has_member, body, value.is_some())?,
                None => return Ok(None),
            },
        };
        Ok(Some(record))
    }
}

/// Kind of the group and whether a member id follows the group id in the key.
fn foreign_shape(record_type: i16) -> Option<(GroupKind, bool)> {
    match record_type {
        11 | 12 | 15 => Some((GroupKind::Share, false)),
        10 | 13 | 14 => Some((GroupKind::Share, true)),
        17 | 20 | 23 => Some((GroupKind::Streams, false)),
        19 | 21 | 22 => Some((GroupKind::Streams, true)),
        _ => None,
    }
}

fn decode_foreign(
    record_type: i16,
    kind: GroupKind,
    has_member: bool,
    body: Bytes,
    present: bool,
) -> Result<GroupRecord, ReplayError> {
    let malformed = |source| ReplayError::Malformed { record_type, source };
    let mut reader = Reader::new(body);
    let group = reader.string(false).map_err(malformed)?.unwrap_or_default();
    let member = if has_member { reader.string(false).map_err(malformed)? } else { None };
    Ok(GroupRecord::Foreign {
        kind,
        group,
        member,
        is_group: matches!(record_type, 11 | 17),
        is_member: matches!(record_type, 10 | 19),
        present,
    })
}

pub(crate) fn encode_key<M: Message>(key: &M) -> Bytes {
    encode_prefixed(M::KEY, key, 0)
}

pub(crate) fn encode_value<M: Message>(value: &M, version: i16) -> Bytes {
    encode_prefixed(version, value, version)
}

fn encode_prefixed<M: Message>(prefix: i16, message: &M, version: i16) -> Bytes {
    let mut buffer = BytesMut::with_capacity(64);
    buffer.put_i16(prefix);
    let mut writer = Writer::from_buf(buffer);
    message
        .encode(&mut writer, version)
        .expect("a coordinator record has only fields that its version carries");
    writer.into_bytes()
}

pub(crate) fn decode_key<M: Message>(body: Bytes) -> Result<M, ReplayError> {
    M::from_bytes(body, 0).map_err(|source| ReplayError::Malformed { record_type: M::KEY, source })
}

pub(crate) fn decode_value<M: Message>(
    record_type: i16,
    value: Option<Bytes>,
) -> Result<Option<M>, ReplayError> {
    let Some(value) = value else { return Ok(None) };
    if value.len() < 2 {
        return Err(ReplayError::UnknownValueVersion { record_type, version: -1 });
    }
    let version = i16::from_be_bytes([value[0], value[1]]);
    if !(M::MIN_VERSION..=M::MAX_VERSION).contains(&version) {
        return Err(ReplayError::UnknownValueVersion { record_type, version });
    }
    let mut reader = Reader::new(value.slice(2..));
    M::decode(&mut reader, version).map(Some).map_err(|source| ReplayError::Malformed { record_type, source })
}
