//! Records of consumer groups, built from state. Source: Kafka `GroupCoordinatorRecordHelpers`.

use ottla_protocol::messages::coordinator_record::consumer_group_current_member_assignment_value::{
    ConsumerGroupCurrentMemberAssignmentValue, TopicPartitions,
};
use ottla_protocol::messages::coordinator_record::consumer_group_member_metadata_value::{
    ClassicMemberMetadata, ClassicProtocol, ConsumerGroupMemberMetadataValue,
};
use ottla_protocol::messages::coordinator_record::consumer_group_metadata_value::ConsumerGroupMetadataValue;
use ottla_protocol::messages::coordinator_record::consumer_group_regular_expression_value::ConsumerGroupRegularExpressionValue;
use ottla_protocol::messages::coordinator_record::consumer_group_target_assignment_member_value::{
    ConsumerGroupTargetAssignmentMemberValue, TopicPartition,
};
use ottla_protocol::messages::coordinator_record::consumer_group_target_assignment_metadata_value::ConsumerGroupTargetAssignmentMetadataValue;
use ottla_protocol::types::Str;

use super::Assignment;
use super::group::ResolvedRegex;
use super::member::{ConsumerMember, EpochAssignment};
use crate::group::record::GroupRecord;

pub(super) fn member(group: &Str, member: &ConsumerMember) -> GroupRecord {
    GroupRecord::ConsumerGroupMemberMetadata {
        group: group.clone(),
        member: member.member_id.clone(),
        value: Some(ConsumerGroupMemberMetadataValue {
            instance_id: member.instance_id.clone(),
            rack_id: member.rack_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            subscribed_topic_names: member.subscribed_topic_names.iter().cloned().collect(),
            subscribed_topic_regex: member.subscribed_topic_regex.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            server_assignor: member.server_assignor.clone(),
            classic_member_metadata: member.classic.as_ref().map(|classic| ClassicMemberMetadata {
                session_timeout_ms: classic.session_timeout_ms,
                supported_protocols: classic
                    .protocols
                    .iter()
                    .map(|(name, metadata)| ClassicProtocol {
                        name: name.clone(),
                        metadata: metadata.clone(),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            }),
            ..Default::default()
        }),
    }
}

pub(super) fn member_tombstone(group: &Str, member: &Str) -> GroupRecord {
    GroupRecord::ConsumerGroupMemberMetadata { group: group.clone(), member: member.clone(), value: None }
}

pub(super) fn epoch(group: &Str, epoch: i32, metadata_hash: i64) -> GroupRecord {
    GroupRecord::ConsumerGroupMetadata {
        group: group.clone(),
        value: Some(ConsumerGroupMetadataValue { epoch, metadata_hash, ..Default::default() }),
    }
}

pub(super) fn target(group: &Str, member: &Str, assignment: &Assignment) -> GroupRecord {
    GroupRecord::ConsumerGroupTargetAssignmentMember {
        group: group.clone(),
        member: member.clone(),
        value: Some(ConsumerGroupTargetAssignmentMemberValue {
            topic_partitions: assignment
                .iter()
                .map(|(topic_id, partitions)| TopicPartition {
                    topic_id: *topic_id,
                    partitions: partitions.iter().copied().collect(),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }),
    }
}

pub(super) fn target_tombstone(group: &Str, member: &Str) -> GroupRecord {
    GroupRecord::ConsumerGroupTargetAssignmentMember {
        group: group.clone(),
        member: member.clone(),
        value: None,
    }
}

pub(super) fn target_metadata(group: &Str, assignment_epoch: i32, assignment_timestamp: i64) -> GroupRecord {
    GroupRecord::ConsumerGroupTargetAssignmentMetadata {
        group: group.clone(),
        value: Some(ConsumerGroupTargetAssignmentMetadataValue {
            assignment_epoch,
            assignment_timestamp,
            ..Default::default()
        }),
    }
}

pub(super) fn current_assignment(group: &Str, member: &ConsumerMember) -> GroupRecord {
    GroupRecord::ConsumerGroupCurrentMemberAssignment {
        group: group.clone(),
        member: member.member_id.clone(),
        value: Some(ConsumerGroupCurrentMemberAssignmentValue {
            member_epoch: member.member_epoch,
            previous_member_epoch: member.previous_member_epoch,
            state: member.state.code(),
            assigned_partitions: topic_partitions(&member.assigned),
            partitions_pending_revocation: topic_partitions(&member.pending_revocation),
            ..Default::default()
        }),
    }
}

fn topic_partitions(assignment: &EpochAssignment) -> Vec<TopicPartitions> {
    assignment
        .iter()
        .map(|(topic_id, partitions)| TopicPartitions {
            topic_id: *topic_id,
            partitions: partitions.keys().copied().collect(),
            assignment_epochs: Some(partitions.values().copied().collect()),
            ..Default::default()
        })
        .collect()
}

pub(super) fn current_assignment_tombstone(group: &Str, member: &Str) -> GroupRecord {
    GroupRecord::ConsumerGroupCurrentMemberAssignment {
        group: group.clone(),
        member: member.clone(),
        value: None,
    }
}

pub(super) fn regex(group: &Str, regex: &Str, resolved: &ResolvedRegex) -> GroupRecord {
    GroupRecord::ConsumerGroupRegularExpression {
        group: group.clone(),
        regex: regex.clone(),
        value: Some(ConsumerGroupRegularExpressionValue {
            topics: resolved.topics.iter().cloned().collect(),
            version: resolved.version,
            timestamp: resolved.timestamp_ms,
            ..Default::default()
        }),
    }
}

pub(super) fn regex_tombstone(group: &Str, regex: &Str) -> GroupRecord {
    GroupRecord::ConsumerGroupRegularExpression { group: group.clone(), regex: regex.clone(), value: None }
}

/// The three tombstones of a member that goes.
pub(super) fn remove_member(group: &Str, member: &Str, out: &mut Vec<GroupRecord>) {
    out.push(current_assignment_tombstone(group, member));
    out.push(target_tombstone(group, member));
    out.push(member_tombstone(group, member));
}
