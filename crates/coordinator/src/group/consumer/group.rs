//! The state of one consumer group, and what is derived from its members.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::messages::coordinator_record::consumer_group_target_assignment_member_value::ConsumerGroupTargetAssignmentMemberValue;
use ottla_protocol::types::{Str, Uuid};

use super::member::{ConsumerMember, EpochAssignment, MemberState};
use super::subscription::{SubscriptionCount, SubscriptionCounts};
use super::{Assignment, records};
use crate::group::record::GroupRecord;
use crate::java::hash_map_bucket;

/// Source: Kafka `ConsumerGroup.ConsumerGroupState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConsumerGroupState {
    Empty,
    /// A new target assignment is due.
    Assigning,
    /// Some members have not reached their target.
    Reconciling,
    Stable,
}

impl ConsumerGroupState {
    pub fn name(self) -> &'static str {
        match self {
            ConsumerGroupState::Empty => "Empty",
            ConsumerGroupState::Assigning => "Assigning",
            ConsumerGroupState::Reconciling => "Reconciling",
            ConsumerGroupState::Stable => "Stable",
        }
    }
}

/// The topics a regular expression matched, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResolvedRegex {
    pub(crate) topics: BTreeSet<Str>,
    /// Of the metadata image it was resolved with.
    pub(crate) version: i64,
    pub(crate) timestamp_ms: i64,
}

/// Source: Kafka `ConsumerGroup`, `ModernGroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConsumerGroup {
    pub(crate) group_id: Str,
    group_epoch: i32,
    metadata_hash: i64,
    assignment_epoch: i32,
    assignment_timestamp_ms: i64,
    members: BTreeMap<Str, ConsumerMember>,
    /// Instance id to member id.
    static_members: BTreeMap<Str, Str>,
    target: BTreeMap<Str, Assignment>,
    /// Whom a partition is meant for.
    inverted_target: BTreeMap<Uuid, BTreeMap<i32, Str>>,
    pub(super) topic_counts: SubscriptionCounts,
    /// How many members subscribe with a regular expression.
    regex_counts: BTreeMap<Str, usize>,
    resolved_regexes: BTreeMap<Str, ResolvedRegex>,
    assignor_counts: BTreeMap<Str, usize>,
    /// The member epoch at which a partition is owned now.
    partition_epochs: EpochAssignment,
    classic_member_count: usize,
    /// How many classic members support a protocol.
    classic_protocol_counts: BTreeMap<Str, usize>,
    pub(crate) has_subscription_metadata_record: bool,
    /// Topics that became subscribed (true) or not (false) since the index was told.
    topic_changes: BTreeMap<Str, bool>,
    /// Soft: metadata is looked at again from this time on, or before this group epoch is reached.
    refresh_deadline: (i64, i32),
}

fn increment(counts: &mut BTreeMap<Str, usize>, key: &Str) {
    *counts.entry(key.clone()).or_default() += 1;
}

fn decrement(counts: &mut BTreeMap<Str, usize>, key: &Str) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl ConsumerGroup {
    pub(crate) fn new(group_id: Str) -> ConsumerGroup {
        ConsumerGroup {
            group_id,
            group_epoch: 1,
            metadata_hash: 0,
            assignment_epoch: 1,
            assignment_timestamp_ms: 0,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            target: BTreeMap::new(),
            inverted_target: BTreeMap::new(),
            topic_counts: SubscriptionCounts::default(),
            regex_counts: BTreeMap::new(),
            resolved_regexes: BTreeMap::new(),
            assignor_counts: BTreeMap::new(),
            partition_epochs: EpochAssignment::new(),
            classic_member_count: 0,
            classic_protocol_counts: BTreeMap::new(),
            has_subscription_metadata_record: false,
            topic_changes: BTreeMap::new(),
            refresh_deadline: (0, 0),
        }
    }

    // --- queries

    pub(crate) fn group_epoch(&self) -> i32 {
        self.group_epoch
    }

    pub(crate) fn assignment_epoch(&self) -> i32 {
        self.assignment_epoch
    }

    pub(crate) fn assignment_timestamp_ms(&self) -> i64 {
        self.assignment_timestamp_ms
    }

    pub(crate) fn metadata_hash(&self) -> i64 {
        self.metadata_hash
    }

    pub(crate) fn members(&self) -> &BTreeMap<Str, ConsumerMember> {
        &self.members
    }

    pub(crate) fn member(&self, member_id: &str) -> Option<&ConsumerMember> {
        self.members.get(member_id)
    }

    pub(crate) fn static_member(&self, instance_id: &str) -> Option<&ConsumerMember> {
        self.members.get(self.static_members.get(instance_id)?)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Costs a look at every member.
    pub(crate) fn state(&self) -> ConsumerGroupState {
        if self.members.is_empty() {
            ConsumerGroupState::Empty
        } else if self.group_epoch > self.assignment_epoch {
            ConsumerGroupState::Assigning
        } else if self.members.values().any(|member| !member.is_reconciled_to(self.assignment_epoch)) {
            ConsumerGroupState::Reconciling
        } else {
            ConsumerGroupState::Stable
        }
    }

    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        self.topic_counts.contains(topic)
    }

    pub(crate) fn subscribed_topics(&self) -> impl Iterator<Item = &Str> {
        self.topic_counts.names()
    }

    pub(crate) fn target(&self, member_id: &str) -> Option<&Assignment> {
        self.target.get(member_id)
    }

    /// The target of a member, or of the one it replaces under its instance id.
    pub(crate) fn target_of(&self, member_id: &str, instance_id: Option<&str>) -> Assignment {
        let owner = match instance_id {
            None => Some(member_id),
            Some(instance_id) => self.static_members.get(instance_id).map(Str::as_str),
        };
        owner.and_then(|owner| self.target.get(owner)).cloned().unwrap_or_default()
    }

    pub(crate) fn targets(&self) -> &BTreeMap<Str, Assignment> {
        &self.target
    }

    pub(crate) fn has_target(&self, member_id: &str) -> bool {
        self.target.contains_key(member_id)
    }

    pub(crate) fn has_targets(&self) -> bool {
        !self.target.is_empty()
    }

    pub(crate) fn inverted_target(&self) -> &BTreeMap<Uuid, BTreeMap<i32, Str>> {
        &self.inverted_target
    }

    pub(crate) fn partition_epoch(&self, topic_id: Uuid, partition: i32) -> Option<i32> {
        self.partition_epochs.get(&topic_id)?.get(&partition).copied()
    }

    pub(crate) fn regex_counts(&self) -> &BTreeMap<Str, usize> {
        &self.regex_counts
    }

    pub(crate) fn regex_member_count(&self, regex: &str) -> usize {
        self.regex_counts.get(regex).copied().unwrap_or(0)
    }

    pub(crate) fn resolved_regexes(&self) -> &BTreeMap<Str, ResolvedRegex> {
        &self.resolved_regexes
    }

    pub(crate) fn classic_member_count(&self) -> usize {
        self.classic_member_count
    }

    /// The server assignor most members ask for, as if `old` had been replaced by `new`.
    pub(crate) fn preferred_assignor(
        &self,
        old: Option<&ConsumerMember>,
        new: Option<&ConsumerMember>,
    ) -> Option<Str> {
        let mut counts = self.assignor_counts.clone();
        if let Some(name) = old.and_then(|member| member.server_assignor.as_ref()) {
            decrement(&mut counts, name);
        }
        if let Some(name) = new.and_then(|member| member.server_assignor.as_ref()) {
            increment(&mut counts, name);
        }
        counts
            .into_iter()
            .max_by_key(|(name, count)| (*count, std::cmp::Reverse(hash_map_bucket(name))))
            .map(|(name, _)| name)
    }

    /// Whether a classic member with these protocols fits in with the other classic members.
    pub(crate) fn supports_classic_protocols<'a>(
        &self,
        protocol_type: &str,
        mut names: impl Iterator<Item = &'a str>,
    ) -> bool {
        protocol_type == "consumer"
            && if self.is_empty() {
                names.next().is_some()
            } else {
                names.any(|name| {
                    self.classic_protocol_counts.get(name).copied().unwrap_or(0) == self.classic_member_count
                })
            }
    }

    /// The member waits for a partition that another one still holds.
    pub(crate) fn is_waiting_on_unreleased_partition(&self, member: &ConsumerMember) -> bool {
        if member.state != MemberState::UnreleasedPartitions {
            return false;
        }
        let Some(target) = self.target.get(&member.member_id) else { return false };
        target.iter().any(|(topic_id, partitions)| {
            let assigned = member.assigned.get(topic_id);
            partitions.iter().any(|partition| {
                !assigned.is_some_and(|assigned| assigned.contains_key(partition))
                    && self.partition_epoch(*topic_id, *partition).is_some()
            })
        })
    }

    // --- soft state

    pub(crate) fn set_refresh_deadline(&mut self, deadline_ms: i64, group_epoch: i32) {
        self.refresh_deadline = (deadline_ms, group_epoch);
    }

    pub(crate) fn request_metadata_refresh(&mut self) {
        self.refresh_deadline = (0, 0);
    }

    pub(crate) fn has_metadata_expired(&self, now_ms: i64) -> bool {
        let (deadline_ms, epoch) = self.refresh_deadline;
        now_ms >= deadline_ms || self.group_epoch < epoch
    }

    /// Topics that became subscribed, and those that no longer are, since the last call.
    pub(crate) fn take_topic_changes(&mut self) -> (Vec<Str>, Vec<Str>) {
        let changes = std::mem::take(&mut self.topic_changes);
        let (added, removed): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(_, added)| *added);
        let names = |list: Vec<(Str, bool)>| list.into_iter().map(|(name, _)| name).collect();
        (names(added), names(removed))
    }

    // --- replay

    pub(crate) fn set_epoch(&mut self, group_epoch: i32, metadata_hash: i64) {
        self.group_epoch = group_epoch;
        self.metadata_hash = metadata_hash;
    }

    pub(crate) fn set_target_metadata(&mut self, assignment_epoch: i32, assignment_timestamp_ms: i64) {
        self.assignment_epoch = assignment_epoch;
        self.assignment_timestamp_ms = assignment_timestamp_ms;
    }

    /// Nothing of the group is left but its epoch.
    pub(crate) fn may_be_removed(&self) -> bool {
        self.members.is_empty() && self.target.is_empty() && self.assignment_epoch == -1
    }

    pub(crate) fn set_target_from_record(
        &mut self,
        member_id: &Str,
        value: &ConsumerGroupTargetAssignmentMemberValue,
    ) {
        let assignment = value
            .topic_partitions
            .iter()
            .map(|topic| (topic.topic_id, topic.partitions.iter().copied().collect()))
            .collect();
        self.set_target(member_id, assignment);
    }

    pub(crate) fn set_target(&mut self, member_id: &Str, assignment: Assignment) {
        self.remove_target(member_id);
        for (topic_id, partitions) in &assignment {
            let owners = self.inverted_target.entry(*topic_id).or_default();
            for partition in partitions {
                owners.insert(*partition, member_id.clone());
            }
        }
        self.target.insert(member_id.clone(), assignment);
    }

    pub(crate) fn remove_target(&mut self, member_id: &str) {
        let Some(old) = self.target.remove(member_id) else { return };
        for (topic_id, partitions) in old {
            let Some(owners) = self.inverted_target.get_mut(&topic_id) else { continue };
            for partition in partitions {
                // Another member may have been given the partition before this one lost it.
                if owners.get(&partition).is_some_and(|owner| owner.as_str() == member_id) {
                    owners.remove(&partition);
                }
            }
            if owners.is_empty() {
                self.inverted_target.remove(&topic_id);
            }
        }
    }

    pub(crate) fn update_member(&mut self, member: ConsumerMember) {
        let old = self.members.remove(&member.member_id);
        if let Some(old) = &old {
            self.forget_member(old);
        }
        for topic in &member.subscribed_topic_names {
            if self.topic_counts.add_name(topic) {
                self.topic_changes.insert(topic.clone(), true);
            }
        }
        if let Some(regex) = member.regex() {
            increment(&mut self.regex_counts, regex);
        }
        if let Some(assignor) = &member.server_assignor {
            increment(&mut self.assignor_counts, assignor);
        }
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), member.member_id.clone());
        }
        if let Some(classic) = &member.classic {
            self.classic_member_count += 1;
            for (name, _) in &classic.protocols {
                increment(&mut self.classic_protocol_counts, name);
            }
        }
        for (topic_id, partitions) in member.assigned.iter().chain(&member.pending_revocation) {
            let epochs = self.partition_epochs.entry(*topic_id).or_default();
            for partition in partitions.keys() {
                let epoch = epochs.entry(*partition).or_insert(member.member_epoch);
                *epoch = (*epoch).max(member.member_epoch);
            }
        }
        self.members.insert(member.member_id.clone(), member);
    }

    pub(crate) fn remove_member(&mut self, member_id: &str) {
        if let Some(old) = self.members.remove(member_id) {
            self.forget_member(&old);
        }
    }

    fn forget_member(&mut self, member: &ConsumerMember) {
        for topic in &member.subscribed_topic_names {
            if self.topic_counts.remove_name(topic) {
                self.topic_changes.insert(topic.clone(), false);
            }
        }
        if let Some(regex) = member.regex() {
            decrement(&mut self.regex_counts, regex);
        }
        if let Some(assignor) = &member.server_assignor {
            decrement(&mut self.assignor_counts, assignor);
        }
        if let Some(instance_id) = &member.instance_id
            && self.static_members.get(instance_id) == Some(&member.member_id)
        {
            self.static_members.remove(instance_id);
        }
        if let Some(classic) = &member.classic {
            self.classic_member_count -= 1;
            for (name, _) in &classic.protocols {
                decrement(&mut self.classic_protocol_counts, name);
            }
        }
        for (topic_id, partitions) in member.assigned.iter().chain(&member.pending_revocation) {
            let Some(epochs) = self.partition_epochs.get_mut(topic_id) else { continue };
            for partition in partitions.keys() {
                if epochs.get(partition) == Some(&member.member_epoch) {
                    epochs.remove(partition);
                }
            }
            if epochs.is_empty() {
                self.partition_epochs.remove(topic_id);
            }
        }
    }

    pub(crate) fn set_resolved_regex(&mut self, regex: &Str, resolved: Option<ResolvedRegex>) {
        if let Some(old) = self.resolved_regexes.remove(regex) {
            for topic in &old.topics {
                if self.topic_counts.remove_regex(topic) {
                    self.topic_changes.insert(topic.clone(), false);
                }
            }
        }
        if let Some(resolved) = resolved {
            for topic in &resolved.topics {
                if self.topic_counts.add_regex(topic) {
                    self.topic_changes.insert(topic.clone(), true);
                }
            }
            self.resolved_regexes.insert(regex.clone(), resolved);
        }
    }

    // --- records

    /// Tombstones for everything of the group. With `replaced`, (leaving member, joining member), records under the
    /// leaving member's id have already been written under the joining one's.
    pub(crate) fn tombstones(&self, out: &mut Vec<GroupRecord>, replaced: Option<(&Str, &Str)>) {
        let group = &self.group_id;
        let ids: Vec<&Str> = self
            .members
            .keys()
            .map(|id| replaced.filter(|(leaving, _)| *leaving == id).map_or(id, |(_, joining)| joining))
            .collect();
        out.extend(ids.iter().map(|id| records::current_assignment_tombstone(group, id)));
        out.extend(ids.iter().map(|id| records::target_tombstone(group, id)));
        out.push(GroupRecord::ConsumerGroupTargetAssignmentMetadata { group: group.clone(), value: None });
        out.extend(ids.iter().map(|id| records::member_tombstone(group, id)));
        out.extend(self.resolved_regexes.keys().map(|regex| records::regex_tombstone(group, regex)));
        out.push(GroupRecord::ConsumerGroupPartitionMetadata { group: group.clone(), present: false });
        out.push(GroupRecord::ConsumerGroupMetadata { group: group.clone(), value: None });
    }

    pub(super) fn topic_count_map(&self) -> BTreeMap<Str, SubscriptionCount> {
        self.topic_counts.to_map()
    }

    /// What must be equal after a reload.
    #[cfg(test)]
    pub(crate) fn normalized(&self) -> ConsumerGroup {
        let mut copy = self.clone();
        copy.refresh_deadline = (0, 0);
        copy.topic_changes.clear();
        copy
    }
}
