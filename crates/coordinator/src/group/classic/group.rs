//! The state of one classic group.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ottla_protocol::messages::consumer_protocol_subscription::ConsumerProtocolSubscription;
use ottla_protocol::messages::coordinator_record::group_metadata_value::{
    GroupMetadataValue, MemberMetadata,
};
use ottla_protocol::messages::join_group_response::JoinGroupResponseMember;
use ottla_protocol::types::Str;
use ottla_protocol::wire::{Message, Reader};

use super::member::{ClassicMember, Parked};
use super::state::ClassicState;
use crate::context::ReplyToken;
use crate::group::error::GroupError;
use crate::group::record::GroupRecord;
use crate::java::hash_map_bucket;
use crate::offsets::ExpirationBase;

/// The protocol type whose metadata the coordinator understands: subscriptions of topics.
pub(crate) const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// Source: Kafka `ClassicGroup`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClassicGroup {
    pub(crate) group_id: Str,
    pub(crate) state: ClassicState,
    /// Soft.
    pub(crate) previous_state: ClassicState,
    pub(crate) generation_id: i32,
    pub(crate) protocol_type: Option<Str>,
    pub(crate) protocol_name: Option<Str>,
    pub(crate) leader_id: Option<Str>,
    pub(crate) current_state_timestamp_ms: Option<i64>,
    members: BTreeMap<Str, ClassicMember>,
    /// Instance id to member id.
    static_members: BTreeMap<Str, Str>,
    /// Soft: member ids handed out and not used yet.
    pub(crate) pending_join: BTreeSet<Str>,
    /// Soft: members of the generation that have not asked for their assignment.
    pub(crate) pending_sync: BTreeSet<Str>,
    /// Soft: how many members wait in JoinGroup.
    awaiting_join_count: usize,
    /// Soft: somebody joined during the initial delay.
    pub(crate) new_member_added: bool,
    /// How many members support a protocol.
    protocol_counts: BTreeMap<Str, usize>,
    /// What the generation's members subscribe to; `None` when it is not known.
    subscribed_topics: Option<BTreeSet<Str>>,
}

impl ClassicGroup {
    /// An empty group; `created_ms` is absent for one that offsets alone brought into being.
    pub(crate) fn new(group_id: Str, created_ms: Option<i64>) -> ClassicGroup {
        ClassicGroup {
            group_id,
            state: ClassicState::Empty,
            previous_state: ClassicState::Empty,
            generation_id: 0,
            protocol_type: None,
            protocol_name: None,
            leader_id: None,
            current_state_timestamp_ms: created_ms,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_join: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            awaiting_join_count: 0,
            new_member_added: false,
            protocol_counts: BTreeMap::new(),
            subscribed_topics: None,
        }
    }

    /// The group that a GroupMetadata record describes.
    pub(crate) fn from_record(group_id: Str, value: &GroupMetadataValue) -> ClassicGroup {
        let mut group = ClassicGroup::new(group_id, None);
        group.state = if value.members.is_empty() { ClassicState::Empty } else { ClassicState::Stable };
        group.previous_state = group.state;
        group.generation_id = value.generation;
        group.protocol_type = (!value.protocol_type.is_empty()).then(|| value.protocol_type.clone());
        group.protocol_name = value.protocol.clone();
        group.leader_id = value.leader.clone();
        group.current_state_timestamp_ms =
            (value.current_state_timestamp != -1).then_some(value.current_state_timestamp);
        for member in &value.members {
            let rebalance_timeout_ms = if member.rebalance_timeout == -1 {
                member.session_timeout
            } else {
                member.rebalance_timeout
            };
            group.insert_member(ClassicMember {
                member_id: member.member_id.clone(),
                instance_id: member.group_instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout_ms,
                session_timeout_ms: member.session_timeout,
                protocols: vec![(value.protocol.clone().unwrap_or_default(), member.subscription.clone())],
                assignment: member.assignment.clone(),
                is_new: false,
                awaiting_join: None,
                awaiting_sync: None,
            });
        }
        group.update_subscribed_topics();
        group
    }

    // --- members

    pub(crate) fn members(&self) -> &BTreeMap<Str, ClassicMember> {
        &self.members
    }

    pub(crate) fn member(&self, member_id: &str) -> Option<&ClassicMember> {
        self.members.get(member_id)
    }

    pub(crate) fn has_member(&self, member_id: &str) -> bool {
        self.members.contains_key(member_id)
    }

    pub(crate) fn member_ids(&self) -> Vec<Str> {
        self.members.keys().cloned().collect()
    }

    pub(crate) fn static_member_id(&self, instance_id: &str) -> Option<&Str> {
        self.static_members.get(instance_id)
    }

    /// Adds a member that no other has the id or instance id of; the first one leads.
    pub(crate) fn add_member(&mut self, member: ClassicMember, protocol_type: &Str) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.detached());
        }
        if self.leader_id.is_none() {
            self.leader_id = Some(member.member_id.clone());
        }
        self.insert_member(member);
    }

    fn insert_member(&mut self, member: ClassicMember) {
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), member.member_id.clone());
        }
        for (name, _) in &member.protocols {
            *self.protocol_counts.entry(name.clone()).or_default() += 1;
        }
        if member.awaiting_join.is_some() {
            self.awaiting_join_count += 1;
        }
        self.pending_join.remove(&member.member_id);
        self.members.insert(member.member_id.clone(), member);
    }

    fn forget_protocols(&mut self, protocols: &[(Str, Bytes)]) {
        for (name, _) in protocols {
            if let Some(count) = self.protocol_counts.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.protocol_counts.remove(name);
                }
            }
        }
    }

    /// Forgets a member or pending member; what it waits for must have been answered before.
    pub(crate) fn remove_member(&mut self, member_id: &str) -> Option<ClassicMember> {
        let removed = self.members.remove(member_id);
        if let Some(member) = &removed {
            self.forget_protocols(&member.protocols.clone());
            if member.awaiting_join.is_some() {
                self.awaiting_join_count -= 1;
            }
            if let Some(instance_id) = &member.instance_id {
                self.static_members.remove(instance_id);
            }
        }
        if self.is_leader(member_id) {
            self.leader_id = self.members.keys().next().cloned();
        }
        self.pending_join.remove(member_id);
        self.pending_sync.remove(member_id);
        removed
    }

    /// Gives a static member a new member id; gives back the requests that waited under the old one.
    pub(crate) fn replace_static_member(
        &mut self,
        instance_id: &Str,
        old_member_id: &str,
        new_member_id: &Str,
    ) -> (Option<Parked>, Option<Parked>) {
        let Some(mut member) = self.members.remove(old_member_id) else { return (None, None) };
        let waiting = (member.awaiting_join.take(), member.awaiting_sync.take());
        if waiting.0.is_some() {
            self.awaiting_join_count -= 1;
        }
        member.member_id = new_member_id.clone();
        member.is_new = false;
        self.members.insert(new_member_id.clone(), member);
        if self.is_leader(old_member_id) {
            self.leader_id = Some(new_member_id.clone());
        }
        self.pending_sync.remove(old_member_id);
        self.static_members.insert(instance_id.detached(), new_member_id.clone());
        waiting
    }

    /// Takes over what a join says; gives back the token of an earlier join that still waited.
    pub(crate) fn update_member(
        &mut self,
        member_id: &str,
        protocols: Vec<(Str, Bytes)>,
        rebalance_timeout_ms: i32,
        session_timeout_ms: i32,
        waiting: Option<Parked>,
    ) -> Option<Parked> {
        let old_protocols = self.members.get(member_id)?.protocols.clone();
        self.forget_protocols(&old_protocols);
        for (name, _) in &protocols {
            *self.protocol_counts.entry(name.clone()).or_default() += 1;
        }
        let member = self.members.get_mut(member_id)?;
        member.protocols = protocols;
        member.rebalance_timeout_ms = rebalance_timeout_ms;
        member.session_timeout_ms = session_timeout_ms;
        let replaced = std::mem::replace(&mut member.awaiting_join, waiting);
        match (replaced.is_some(), waiting.is_some()) {
            (false, true) => self.awaiting_join_count += 1,
            (true, false) => self.awaiting_join_count -= 1,
            _ => {}
        }
        replaced
    }

    pub(crate) fn take_awaiting_join(&mut self, member_id: &str) -> Option<Parked> {
        let waiting = self.members.get_mut(member_id)?.awaiting_join.take();
        if waiting.is_some() {
            self.awaiting_join_count -= 1;
        }
        waiting
    }

    pub(crate) fn take_awaiting_sync(&mut self, member_id: &str) -> Option<Parked> {
        self.members.get_mut(member_id)?.awaiting_sync.take()
    }

    /// Parks a SyncGroup; gives back the token of an earlier one that still waited.
    pub(crate) fn set_awaiting_sync(&mut self, member_id: &str, waiting: Parked) -> Option<Parked> {
        self.members.get_mut(member_id)?.awaiting_sync.replace(waiting)
    }

    pub(crate) fn set_assignment(&mut self, member_id: &str, assignment: Bytes) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.assignment = assignment;
        }
    }

    pub(crate) fn mark_not_new(&mut self, member_id: &str) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.is_new = false;
        }
    }

    /// Every token that waits in the group, which forgets them.
    pub(crate) fn drain_parked(&mut self) -> Vec<(Str, Option<Parked>, Option<Parked>)> {
        let mut drained = Vec::new();
        for (member_id, member) in &mut self.members {
            let waiting = (member.awaiting_join.take(), member.awaiting_sync.take());
            if waiting.0.is_some() || waiting.1.is_some() {
                drained.push((member_id.clone(), waiting.0, waiting.1));
            }
        }
        self.awaiting_join_count = 0;
        drained
    }

    pub(crate) fn parked_tokens(&self) -> impl Iterator<Item = ReplyToken> + '_ {
        self.members
            .values()
            .flat_map(|member| member.awaiting_join.iter().chain(member.awaiting_sync.iter()))
            .map(|parked| parked.token)
    }

    // --- state

    pub(crate) fn is_empty(&self) -> bool {
        self.state == ClassicState::Empty
    }

    pub(crate) fn is_leader(&self, member_id: &str) -> bool {
        self.leader_id.as_deref() == Some(member_id)
    }

    /// Exists because of committed offsets alone.
    pub(crate) fn is_simple(&self) -> bool {
        self.protocol_type.is_none() && self.is_empty() && self.pending_join.is_empty()
    }

    pub(crate) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE)
    }

    pub(crate) fn awaiting_join_count(&self) -> usize {
        self.awaiting_join_count
    }

    pub(crate) fn has_all_members_joined(&self) -> bool {
        self.members.len() == self.awaiting_join_count && self.pending_join.is_empty()
    }

    pub(crate) fn rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|member| i64::from(member.rebalance_timeout_ms)).max().unwrap_or(0)
    }

    pub(crate) fn can_rebalance(&self) -> bool {
        self.state.may_become(ClassicState::PreparingRebalance)
    }

    pub(crate) fn transition_to(&mut self, state: ClassicState, now_ms: i64) {
        assert!(self.state.may_become(state), "{}: from {:?} to {state:?}", self.group_id, self.state);
        self.previous_state = self.state;
        self.state = state;
        self.current_state_timestamp_ms = Some(now_ms);
    }

    /// Whether a member with these protocols could work with the others.
    pub(crate) fn supports_protocols<'a>(
        &self,
        protocol_type: &str,
        mut names: impl Iterator<Item = &'a str>,
    ) -> bool {
        if self.is_empty() {
            !protocol_type.is_empty() && names.next().is_some()
        } else {
            self.protocol_type.as_deref() == Some(protocol_type)
                && names
                    .any(|name| self.protocol_counts.get(name).copied().unwrap_or(0) == self.members.len())
        }
    }

    /// The protocol most members prefer among those that all support.
    pub(crate) fn select_protocol(&self) -> Option<Str> {
        let all_support = |name: &Str| self.protocol_counts.get(name).copied() == Some(self.members.len());
        let mut votes: BTreeMap<&Str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| all_support(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        // Kafka keeps the first maximum in the order of a HashMap.
        votes
            .into_iter()
            .max_by_key(|(name, count)| (*count, std::cmp::Reverse(hash_map_bucket(name))))
            .map(|(name, _)| name.clone())
    }

    /// When the leader has not come back, makes one of those who have the leader. False when nobody has.
    pub(crate) fn maybe_elect_new_joined_leader(&mut self) -> bool {
        let Some(leader) = self.leader_id.as_ref().and_then(|leader| self.members.get(leader)) else {
            return false;
        };
        if leader.awaiting_join.is_some() {
            return true;
        }
        let Some(joined) = self.members.values().find(|member| member.awaiting_join.is_some()) else {
            return false;
        };
        self.leader_id = Some(joined.member_id.clone());
        true
    }

    pub(crate) fn init_next_generation(&mut self, now_ms: i64) {
        // Wraps only after two billion rebalances; Kafka's int does the same.
        self.generation_id = self.generation_id.wrapping_add(1);
        if self.members.is_empty() {
            self.protocol_name = None;
            self.update_subscribed_topics();
            self.transition_to(ClassicState::Empty, now_ms);
        } else {
            self.protocol_name = self.select_protocol();
            self.update_subscribed_topics();
            self.transition_to(ClassicState::CompletingRebalance, now_ms);
        }
        self.pending_sync.clear();
    }

    // --- subscriptions

    pub(crate) fn update_subscribed_topics(&mut self) {
        self.subscribed_topics = self.compute_subscribed_topics();
    }

    fn compute_subscribed_topics(&self) -> Option<BTreeSet<Str>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol_name.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscribed_topics_of(member.metadata(protocol)?)?);
        }
        Some(topics)
    }

    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed_topics {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    pub(crate) fn expiration_base(&self) -> Option<ExpirationBase> {
        if self.protocol_type.is_none() {
            // Simple: each offset by itself.
            Some(ExpirationBase::Commit)
        } else if self.is_empty() {
            Some(match self.current_state_timestamp_ms {
                Some(since_ms) => ExpirationBase::Fixed(since_ms),
                None => ExpirationBase::Commit,
            })
        } else if self.uses_consumer_protocol()
            && self.subscribed_topics.is_some()
            && self.state == ClassicState::Stable
        {
            Some(ExpirationBase::Commit)
        } else {
            None
        }
    }

    // --- checks

    /// Source: `ClassicGroup.validateMember`.
    pub(crate) fn validate_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), GroupError> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(GroupError::UnknownMemberId),
                Some(existing) if existing.as_str() != member_id => return Err(GroupError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.has_member(member_id) { Ok(()) } else { Err(GroupError::UnknownMemberId) }
    }

    /// Source: `ClassicGroup.validateOffsetCommit`.
    pub(crate) fn validate_offset_commit(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        generation_id: i32,
        transactional: bool,
    ) -> Result<(), GroupError> {
        if generation_id < 0 && self.is_empty() {
            return Ok(());
        }
        if generation_id >= 0 || !member_id.is_empty() || instance_id.is_some() {
            self.validate_member(member_id, instance_id)?;
            if generation_id != self.generation_id {
                return Err(GroupError::IllegalGeneration);
            }
        } else if !transactional && !self.is_empty() {
            return Err(GroupError::UnknownMemberId);
        }
        if !transactional && self.state == ClassicState::CompletingRebalance {
            return Err(GroupError::RebalanceInProgress);
        }
        Ok(())
    }

    pub(crate) fn validate_offset_delete(&self) -> Result<(), GroupError> {
        if self.is_empty() || self.uses_consumer_protocol() { Ok(()) } else { Err(GroupError::NonEmptyGroup) }
    }

    pub(crate) fn validate_delete(&self) -> Result<(), GroupError> {
        if self.is_empty() { Ok(()) } else { Err(GroupError::NonEmptyGroup) }
    }

    // --- views and records

    /// Every member with its metadata, for the leader.
    pub(crate) fn join_response_members(&self) -> Vec<JoinGroupResponseMember> {
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        self.members
            .values()
            .map(|member| JoinGroupResponseMember {
                member_id: member.member_id.clone(),
                group_instance_id: member.instance_id.clone(),
                metadata: member.metadata(protocol).cloned().unwrap_or_default(),
                ..Default::default()
            })
            .collect()
    }

    /// The GroupMetadata record of the group as it stands.
    pub(crate) fn metadata_record(&self) -> GroupRecord {
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        let members = self
            .members
            .values()
            .map(|member| MemberMetadata {
                member_id: member.member_id.clone(),
                group_instance_id: member.instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout: member.rebalance_timeout_ms,
                session_timeout: member.session_timeout_ms,
                subscription: member.metadata(protocol).cloned().unwrap_or_default(),
                assignment: member.assignment.clone(),
                ..Default::default()
            })
            .collect();
        GroupRecord::GroupMetadata {
            group: self.group_id.clone(),
            value: Some(GroupMetadataValue {
                protocol_type: self.protocol_type.clone().unwrap_or_default(),
                generation: self.generation_id,
                protocol: self.protocol_name.clone(),
                leader: self.leader_id.clone(),
                current_state_timestamp: self.current_state_timestamp_ms.unwrap_or(-1),
                members,
                ..Default::default()
            }),
        }
    }

    /// The record that makes a group exist before its first generation.
    pub(crate) fn empty_record(&self) -> GroupRecord {
        GroupRecord::GroupMetadata {
            group: self.group_id.clone(),
            value: Some(GroupMetadataValue {
                protocol: None,
                leader: None,
                current_state_timestamp: self.current_state_timestamp_ms.unwrap_or(-1),
                ..Default::default()
            }),
        }
    }

    pub(crate) fn tombstones(&self, records: &mut Vec<GroupRecord>) {
        records.push(GroupRecord::GroupMetadata { group: self.group_id.clone(), value: None });
    }
}

/// The topics of an embedded subscription, read as version 0; `None` when it is malformed.
pub(crate) fn subscribed_topics_of(metadata: &Bytes) -> Option<Vec<Str>> {
    let mut reader = Reader::new(metadata.clone());
    let version = reader.int16().ok()?;
    if version < 0 {
        return None;
    }
    Some(ConsumerProtocolSubscription::decode(&mut reader, 0).ok()?.topics)
}
