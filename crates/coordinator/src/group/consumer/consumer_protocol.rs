//! The protocol embedded in classic members' metadata and assignments, which the coordinator speaks for members of
//! consumer groups. Source: Kafka `ConsumerProtocol`.

use bytes::{BufMut, Bytes, BytesMut};
use ottla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_protocol::messages::consumer_protocol_assignment::{ConsumerProtocolAssignment, TopicPartition};
use ottla_protocol::messages::consumer_protocol_subscription::ConsumerProtocolSubscription;
use ottla_protocol::wire::{Message, Reader, Writer};

use super::Assignment;
use crate::topics::TopicsView;

/// The version in front of a subscription or assignment.
pub(super) fn version_of(bytes: &Bytes) -> Option<i16> {
    Reader::new(bytes.clone()).int16().ok()
}

pub(super) fn decode_subscription(bytes: &Bytes) -> Option<ConsumerProtocolSubscription> {
    decode(bytes)
}

pub(super) fn decode_assignment(bytes: &Bytes) -> Option<ConsumerProtocolAssignment> {
    decode(bytes)
}

/// A later version than the latest is read as the latest.
fn decode<M: Message>(bytes: &Bytes) -> Option<M> {
    let mut reader = Reader::new(bytes.clone());
    let version = reader.int16().ok()?;
    if version < M::MIN_VERSION {
        return None;
    }
    M::decode(&mut reader, version.min(M::MAX_VERSION)).ok()
}

/// An assignment as a classic member expects it, in the version of its subscription.
pub(super) fn encode_assignment(assignment: &Assignment, version: i16, topics: &dyn TopicsView) -> Bytes {
    let version =
        version.clamp(ConsumerProtocolAssignment::MIN_VERSION, ConsumerProtocolAssignment::MAX_VERSION);
    let message = ConsumerProtocolAssignment {
        assigned_partitions: assignment
            .iter()
            .filter_map(|(topic_id, partitions)| {
                Some(TopicPartition {
                    topic: topics.topic_name(*topic_id)?,
                    partitions: partitions.iter().copied().collect(),
                    ..Default::default()
                })
            })
            .collect(),
        ..Default::default()
    };
    let mut buffer = BytesMut::new();
    buffer.put_i16(version);
    let mut writer = Writer::from_buf(buffer);
    message.encode(&mut writer, version).expect("an assignment of topic names fits every version");
    writer.into_bytes()
}

/// The partitions of an assignment, of topics that exist.
pub(super) fn to_assignment(message: &ConsumerProtocolAssignment, topics: &dyn TopicsView) -> Assignment {
    message
        .assigned_partitions
        .iter()
        .filter_map(|entry| {
            Some((topics.topic_id(&entry.topic)?, entry.partitions.iter().copied().collect()))
        })
        .collect()
}

/// What a classic member says it owns, of topics that exist.
pub(super) fn owned_partitions(
    subscription: &ConsumerProtocolSubscription,
    topics: &dyn TopicsView,
) -> Vec<TopicPartitions> {
    subscription
        .owned_partitions
        .iter()
        .filter_map(|entry| {
            Some(TopicPartitions {
                topic_id: topics.topic_id(&entry.topic)?,
                partitions: entry.partitions.clone(),
                ..Default::default()
            })
        })
        .collect()
}
