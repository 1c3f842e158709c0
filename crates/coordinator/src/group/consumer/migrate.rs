//! A group changes its protocol while it has members: classic to consumer when the first consumer member joins,
//! consumer to classic when the last one has gone (`group.consumer.migration.policy`).

use std::collections::BTreeSet;

use ottla_protocol::ErrorCode;
use ottla_protocol::types::Str;

use super::consumer_protocol::{
    decode_assignment, decode_subscription, encode_assignment, to_assignment, version_of,
};
use super::group::ConsumerGroup;
use super::member::{ClassicFacts, ConsumerMember};
use super::metadata_hash::group_hash;
use super::{Assignment, records};
use crate::context::Env;
use crate::group::classic::{
    ClassicGroup, ClassicMember, ClassicState, fail_parked, prepare_rebalance, reschedule_heartbeat,
};
use crate::group::error::GroupError;
use crate::group::{Fx, Group, GroupOutcome, GroupShard, TimerKey, TimerTask};

impl GroupShard {
    /// Makes a consumer group of a classic one with members: they stay, as members that use the classic protocol.
    pub(super) fn upgrade_classic_group(
        &mut self,
        group_id: &Str,
        env: &mut Env<'_>,
        out: &mut GroupOutcome,
    ) -> Result<ConsumerGroup, GroupError> {
        let Some(Group::Classic(classic)) = self.groups.get_mut(group_id) else {
            return Err(GroupError::NotConsumerGroup(group_id.clone()));
        };
        let limit = usize::try_from(self.config.group_consumer_max_size).unwrap_or(0);
        if !self.config.group_consumer_migration_policy.allows_upgrade() {
            return Err(GroupError::UpgradeDisabled(group_id.clone()));
        }
        if !classic.uses_consumer_protocol() {
            return Err(GroupError::UpgradeOtherProtocol(group_id.clone()));
        }
        if classic.members().len() > limit {
            return Err(GroupError::UpgradeTooLarge(group_id.clone()));
        }
        let mut group = consumer_group_of(classic, env)?;
        let mut fx = Fx { timers: &mut self.timers, config: &self.config, now_ms: env.now_ms, out };
        fail_parked(classic, ErrorCode::RebalanceInProgress, &mut fx);
        classic.tombstones(&mut out.records);

        let hash = group_hash(&group.topic_counts, &mut self.topic_hashes, env.topics);
        group.set_epoch(group.group_epoch(), hash);
        let members = group.members().values();
        out.records.extend(members.clone().map(|member| records::member(group_id, member)));
        out.records.push(records::epoch(group_id, group.group_epoch(), hash));
        let nothing = Assignment::new();
        out.records.extend(
            members
                .clone()
                .map(|member| &member.member_id)
                .map(|id| records::target(group_id, id, group.target(id).unwrap_or(&nothing))),
        );
        out.records.push(records::target_metadata(group_id, group.assignment_epoch(), 0));
        out.records.extend(members.map(|member| records::current_assignment(group_id, member)));
        for member in group.members().values() {
            let timeout_ms = member.classic.as_ref().map_or(0, |classic| classic.session_timeout_ms);
            self.timers.schedule(
                TimerKey::ConsumerSession(group_id.clone(), member.member_id.clone()),
                env.now_ms + i64::from(timeout_ms),
                TimerTask::FenceConsumerMember,
            );
        }
        Ok(group)
    }

    /// Whether the group should become classic once these members have gone.
    pub(super) fn may_downgrade_without(&self, group: &ConsumerGroup, leaving: &BTreeSet<Str>) -> bool {
        let leaving_classic = leaving
            .iter()
            .filter_map(|member_id| group.member(member_id))
            .filter(|member| member.uses_classic_protocol())
            .count();
        let remaining = group.members().len() - leaving.len();
        group.classic_member_count() - leaving_classic == remaining
            && remaining > 0
            && self.downgrade_fits(remaining)
    }

    /// Whether the group should become classic now that its last consumer member comes back as a classic one.
    pub(super) fn may_downgrade_by_replacing(
        &self,
        group: &ConsumerGroup,
        replaced: &ConsumerMember,
    ) -> bool {
        !replaced.uses_classic_protocol()
            && group.classic_member_count() + 1 == group.members().len()
            && self.downgrade_fits(group.members().len())
    }

    fn downgrade_fits(&self, member_count: usize) -> bool {
        self.config.group_consumer_migration_policy.allows_downgrade()
            && member_count <= usize::try_from(self.config.group_max_size).unwrap_or(0)
    }

    /// Makes a classic group of the members that remain and sends them into a rebalance.
    pub(super) fn downgrade_to_classic_group(
        &mut self,
        group_id: &Str,
        leaving: &BTreeSet<Str>,
        env: &mut Env<'_>,
        out: &mut GroupOutcome,
    ) -> Result<(), GroupError> {
        let group = self.existing_consumer_group(group_id)?;
        let classic = classic_group_of(group, leaving, None, env)?;
        group.tombstones(&mut out.records, None);
        self.install_classic_group(classic, true, env, out);
        Ok(())
    }

    /// The same when a static member replaces the last consumer member; `joining` is it.
    pub(super) fn downgrade_by_replacing(
        &mut self,
        group_id: &Str,
        replaced: &Str,
        joining: &ConsumerMember,
        rebalance: bool,
        env: &mut Env<'_>,
        out: &mut GroupOutcome,
    ) -> Result<(), GroupError> {
        let group = self.existing_consumer_group(group_id)?;
        let classic = classic_group_of(group, &BTreeSet::new(), Some((replaced, joining)), env)?;
        group.tombstones(&mut out.records, Some((replaced, &joining.member_id)));
        self.install_classic_group(classic, rebalance, env, out);
        Ok(())
    }

    fn install_classic_group(
        &mut self,
        mut classic: ClassicGroup,
        rebalance: bool,
        env: &mut Env<'_>,
        out: &mut GroupOutcome,
    ) {
        let group_id = classic.group_id.clone();
        if let Some(Group::Consumer(old)) = self.groups.get(&group_id) {
            for member_id in old.members().keys() {
                super::fence::cancel_timers(&group_id, member_id, &mut self.timers);
            }
        }
        out.records.push(classic.metadata_record());
        out.applied = true;
        self.remove_group(&group_id);
        let mut fx = Fx { timers: &mut self.timers, config: &self.config, now_ms: env.now_ms, out };
        for member_id in classic.member_ids() {
            reschedule_heartbeat(&classic, &member_id, &mut fx);
        }
        if rebalance {
            prepare_rebalance(&mut classic, &mut fx);
        }
        self.groups.insert(group_id, Group::Classic(classic));
    }
}

/// Source: Kafka `ConsumerGroup.fromClassicGroup`.
fn consumer_group_of(classic: &ClassicGroup, env: &Env<'_>) -> Result<ConsumerGroup, GroupError> {
    let malformed = || GroupError::UpgradeMalformed(classic.group_id.clone());
    let generation = classic.generation_id;
    let mut group = ConsumerGroup::new(classic.group_id.clone());
    group.set_epoch(generation, 0);
    group.set_target_metadata(generation, 0);
    for member in classic.members().values() {
        let assignment = if member.assignment.is_empty() {
            Assignment::new()
        } else {
            let decoded = decode_assignment(&member.assignment).ok_or_else(malformed)?;
            if decoded.user_data.as_ref().is_some_and(|data| !data.is_empty()) {
                // What a custom assignor keeps there would be lost.
                return Err(GroupError::UpgradeCustomAssignor(classic.group_id.clone()));
            }
            to_assignment(&decoded, env.topics)
        };
        // Before the first generation no protocol is chosen yet: the member's first choice speaks for it.
        let metadata = classic
            .protocol_name
            .as_deref()
            .and_then(|protocol| member.metadata(protocol))
            .or_else(|| member.protocols.first().map(|(_, metadata)| metadata))
            .ok_or_else(malformed)?;
        let subscription = decode_subscription(metadata).ok_or_else(malformed)?;
        let mut new = ConsumerMember::new(member.member_id.clone());
        new.member_epoch = generation;
        new.previous_member_epoch = generation;
        new.instance_id = member.instance_id.clone();
        new.rack_id = subscription.rack_id.as_ref().filter(|rack| !rack.is_empty()).map(Str::detached);
        new.rebalance_timeout_ms = member.rebalance_timeout_ms;
        new.client_id = member.client_id.clone();
        new.client_host = member.client_host.clone();
        new.subscribed_topic_names = subscription.topics.iter().map(Str::detached).collect();
        new.assigned = assignment
            .iter()
            .map(|(topic_id, partitions)| {
                (*topic_id, partitions.iter().map(|partition| (*partition, generation)).collect())
            })
            .collect();
        new.classic = Some(ClassicFacts {
            session_timeout_ms: member.session_timeout_ms,
            protocols: member.protocols.clone(),
        });
        group.set_target(&member.member_id, assignment);
        group.update_member(new);
    }
    Ok(group)
}

/// Source: Kafka `ClassicGroup.fromConsumerGroup`.
fn classic_group_of(
    group: &ConsumerGroup,
    leaving: &BTreeSet<Str>,
    joining: Option<(&Str, &ConsumerMember)>,
    env: &Env<'_>,
) -> Result<ClassicGroup, GroupError> {
    let malformed = || GroupError::DowngradeMalformed(group.group_id.clone());
    let protocol_type = Str::from_static("consumer");
    let mut classic = ClassicGroup::new(group.group_id.clone(), Some(env.now_ms));
    classic.generation_id = group.group_epoch();
    let replaced = joining.map(|(replaced, _)| replaced);
    let remaining = group
        .members()
        .values()
        .filter(|member| !leaving.contains(&member.member_id) && Some(&member.member_id) != replaced)
        .chain(joining.map(|(_, joining)| joining));
    for member in remaining {
        let facts = member.classic.as_ref().ok_or_else(malformed)?;
        classic.add_member(
            ClassicMember {
                member_id: member.member_id.clone(),
                instance_id: member.instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                session_timeout_ms: facts.session_timeout_ms,
                protocols: facts.protocols.clone(),
                assignment: Default::default(),
                is_new: false,
                awaiting_join: None,
                awaiting_sync: None,
            },
            &protocol_type,
        );
    }
    classic.state = ClassicState::Stable;
    classic.previous_state = ClassicState::Stable;
    classic.protocol_name = classic.select_protocol();
    classic.update_subscribed_topics();
    let protocol = classic.protocol_name.clone().ok_or_else(malformed)?;
    for member_id in classic.member_ids() {
        let metadata = classic.member(&member_id).and_then(|member| member.metadata(&protocol));
        let version = metadata.and_then(version_of).ok_or_else(malformed)?;
        let source = match joining {
            Some((replaced, joining)) if joining.member_id == member_id => replaced,
            _ => &member_id,
        };
        let target = group.target(source).cloned().unwrap_or_default();
        classic.set_assignment(&member_id, encode_assignment(&target, version, env.topics));
    }
    Ok(classic)
}
