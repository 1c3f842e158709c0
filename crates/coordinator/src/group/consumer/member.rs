//! A member of a consumer group.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ottla_protocol::messages::coordinator_record::consumer_group_current_member_assignment_value::{
    ConsumerGroupCurrentMemberAssignmentValue, TopicPartitions,
};
use ottla_protocol::messages::coordinator_record::consumer_group_member_metadata_value::ConsumerGroupMemberMetadataValue;
use ottla_protocol::types::{Str, Uuid};

/// Partitions by topic id, with the epoch at which each was assigned.
pub(crate) type EpochAssignment = BTreeMap<Uuid, BTreeMap<i32, i32>>;

/// How far a member is from its target assignment. Source: Kafka `MemberState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberState {
    /// Has what it should have.
    Stable,
    /// Must give up partitions before it can move to the next epoch.
    UnrevokedPartitions,
    /// Waits for partitions that their owners have not given up yet.
    UnreleasedPartitions,
    /// Written by a version that knows more states.
    Unknown,
}

impl MemberState {
    pub(crate) fn from_code(code: i8) -> MemberState {
        match code {
            0 => MemberState::Stable,
            1 => MemberState::UnrevokedPartitions,
            2 => MemberState::UnreleasedPartitions,
            _ => MemberState::Unknown,
        }
    }

    pub(crate) fn code(self) -> i8 {
        match self {
            MemberState::Stable => 0,
            MemberState::UnrevokedPartitions => 1,
            MemberState::UnreleasedPartitions => 2,
            MemberState::Unknown => 127,
        }
    }
}

/// What a member that speaks the classic protocol said when it joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClassicFacts {
    pub(crate) session_timeout_ms: i32,
    /// In the order of preference, at least one unless a log says otherwise.
    pub(crate) protocols: Vec<(Str, Bytes)>,
}

/// Source: Kafka `ConsumerGroupMember`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConsumerMember {
    pub(crate) member_id: Str,
    pub(crate) member_epoch: i32,
    pub(crate) previous_member_epoch: i32,
    pub(crate) instance_id: Option<Str>,
    pub(crate) rack_id: Option<Str>,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) client_id: Str,
    pub(crate) client_host: Str,
    pub(crate) subscribed_topic_names: BTreeSet<Str>,
    pub(crate) subscribed_topic_regex: Option<Str>,
    pub(crate) server_assignor: Option<Str>,
    pub(crate) state: MemberState,
    pub(crate) assigned: EpochAssignment,
    pub(crate) pending_revocation: EpochAssignment,
    /// Set for members of the classic protocol.
    pub(crate) classic: Option<ClassicFacts>,
}

impl ConsumerMember {
    pub(crate) fn new(member_id: Str) -> ConsumerMember {
        ConsumerMember {
            member_id,
            member_epoch: 0,
            previous_member_epoch: -1,
            instance_id: None,
            rack_id: None,
            rebalance_timeout_ms: -1,
            client_id: Str::EMPTY,
            client_host: Str::EMPTY,
            subscribed_topic_names: BTreeSet::new(),
            subscribed_topic_regex: Some(Str::EMPTY),
            server_assignor: None,
            state: MemberState::Stable,
            assigned: EpochAssignment::new(),
            pending_revocation: EpochAssignment::new(),
            classic: None,
        }
    }

    pub(crate) fn uses_classic_protocol(&self) -> bool {
        self.classic.is_some()
    }

    /// The regular expression it subscribes with, if any.
    pub(crate) fn regex(&self) -> Option<&Str> {
        self.subscribed_topic_regex.as_ref().filter(|regex| !regex.is_empty())
    }

    pub(crate) fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.member_epoch == target_epoch
    }

    pub(crate) fn move_to_epoch(&mut self, member_epoch: i32) {
        self.previous_member_epoch = self.member_epoch;
        self.member_epoch = member_epoch;
    }

    pub(crate) fn update_with(&mut self, value: &ConsumerGroupMemberMetadataValue) {
        self.instance_id = value.instance_id.clone();
        self.rack_id = value.rack_id.clone();
        self.client_id = value.client_id.clone();
        self.client_host = value.client_host.clone();
        self.subscribed_topic_names = value.subscribed_topic_names.iter().cloned().collect();
        self.subscribed_topic_regex = value.subscribed_topic_regex.clone();
        self.rebalance_timeout_ms = value.rebalance_timeout_ms;
        self.server_assignor = value.server_assignor.clone();
        self.classic = value.classic_member_metadata.as_ref().map(|classic| ClassicFacts {
            session_timeout_ms: classic.session_timeout_ms,
            protocols: classic
                .supported_protocols
                .iter()
                .map(|protocol| (protocol.name.clone(), protocol.metadata.clone()))
                .collect(),
        });
    }

    pub(crate) fn update_current(&mut self, value: &ConsumerGroupCurrentMemberAssignmentValue) {
        self.member_epoch = value.member_epoch;
        self.previous_member_epoch = value.previous_member_epoch;
        self.state = MemberState::from_code(value.state);
        self.assigned = assignment_with_epochs(&value.assigned_partitions, value.member_epoch);
        self.pending_revocation =
            assignment_with_epochs(&value.partitions_pending_revocation, value.member_epoch);
    }
}

fn assignment_with_epochs(topics: &[TopicPartitions], member_epoch: i32) -> EpochAssignment {
    // Records before assignment epochs existed: the member's epoch stands for all. It may be -2 of a static member.
    let default_epoch = member_epoch.max(0);
    let mut assignment = EpochAssignment::new();
    for topic in topics {
        let epochs = topic.assignment_epochs.as_ref().filter(|epochs| epochs.len() == topic.partitions.len());
        let with_epochs = topic.partitions.iter().enumerate().map(|(index, partition)| {
            let epoch = epochs.and_then(|epochs| epochs.get(index)).copied().unwrap_or(default_epoch);
            (*partition, epoch)
        });
        assignment.insert(topic.topic_id, with_epochs.collect());
    }
    assignment
}
