//! ConsumerGroupDescribe.

use std::collections::BTreeMap;

use ottla_protocol::messages::consumer_group_describe_response::{
    Assignment as DescribedAssignment, DescribedGroup, Member, TopicPartitions,
};
use ottla_protocol::types::{Str, Uuid};

use super::group::ConsumerGroup;
use super::member::ConsumerMember;
use crate::group::assignor::AssignorKind;
use crate::topics::TopicsView;

impl ConsumerGroup {
    pub(crate) fn describe(&self, default_assignor: AssignorKind, topics: &dyn TopicsView) -> DescribedGroup {
        DescribedGroup {
            group_id: self.group_id.clone(),
            group_state: Str::from_static(self.state().name()),
            group_epoch: self.group_epoch(),
            assignment_epoch: self.assignment_epoch(),
            assignor_name: self
                .preferred_assignor(None, None)
                .unwrap_or_else(|| Str::from_static(default_assignor.name())),
            members: self.members().values().map(|member| self.describe_member(member, topics)).collect(),
            ..Default::default()
        }
    }

    fn describe_member(&self, member: &ConsumerMember, topics: &dyn TopicsView) -> Member {
        let mut owned: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
        for (topic_id, partitions) in member.assigned.iter().chain(&member.pending_revocation) {
            owned.entry(*topic_id).or_default().extend(partitions.keys().copied());
        }
        let target = self.target(&member.member_id).map(|target| {
            target
                .iter()
                .map(|(topic_id, partitions)| (*topic_id, partitions.iter().copied().collect()))
                .collect()
        });
        Member {
            member_id: member.member_id.clone(),
            instance_id: member.instance_id.clone(),
            rack_id: member.rack_id.clone(),
            member_epoch: member.member_epoch,
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            subscribed_topic_names: member.subscribed_topic_names.iter().cloned().collect(),
            subscribed_topic_regex: member.subscribed_topic_regex.clone(),
            assignment: described(owned, topics),
            target_assignment: described(target.unwrap_or_default(), topics),
            member_type: if member.uses_classic_protocol() { 0 } else { 1 },
            ..Default::default()
        }
    }
}

/// Topics that do not exist any more are left out.
fn described(assignment: BTreeMap<Uuid, Vec<i32>>, topics: &dyn TopicsView) -> DescribedAssignment {
    DescribedAssignment {
        topic_partitions: assignment
            .into_iter()
            .filter_map(|(topic_id, partitions)| {
                Some(TopicPartitions {
                    topic_id,
                    topic_name: topics.topic_name(topic_id)?,
                    partitions,
                    ..Default::default()
                })
            })
            .collect(),
        ..Default::default()
    }
}
