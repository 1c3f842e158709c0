//! Members that go: by their own will, fenced, or timed out.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::messages::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use ottla_protocol::messages::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;
use ottla_protocol::types::Str;

use super::group::ConsumerGroup;
use super::heartbeat::throw_if_fenced;
use super::member::{EpochAssignment, MemberState};
use super::metadata_hash::group_hash;
use super::subscription::SubscriptionCounts;
use super::{LEAVE_GROUP_STATIC_MEMBER_EPOCH, records};
use crate::context::Env;
use crate::group::error::GroupError;
use crate::group::{Group, GroupOutcome, GroupShard, GroupTimers, TimerKey, TimerTask};

impl GroupShard {
    pub(super) fn existing_consumer_group(&self, group_id: &Str) -> Result<&ConsumerGroup, GroupError> {
        match self.groups.get(group_id) {
            Some(Group::Consumer(group)) => Ok(group),
            Some(_) => Err(GroupError::NotConsumerGroup(group_id.clone())),
            None => Err(GroupError::GroupNotFound(group_id.clone())),
        }
    }

    pub(super) fn consumer_group_leave(
        &mut self,
        group_id: &Str,
        request: &ConsumerGroupHeartbeatRequest,
        env: &mut Env<'_>,
        out: &mut GroupOutcome,
    ) -> Result<ConsumerGroupHeartbeatResponse, GroupError> {
        let group = self.existing_consumer_group(group_id)?;
        let response = ConsumerGroupHeartbeatResponse {
            member_id: Some(request.member_id.clone()),
            member_epoch: request.member_epoch,
            ..Default::default()
        };
        let member = match &request.instance_id {
            None => group.member(&request.member_id).ok_or_else(|| GroupError::NotAMember {
                member_id: request.member_id.clone(),
                group_id: group_id.clone(),
            })?,
            Some(instance_id) => {
                let member = group
                    .static_member(instance_id)
                    .ok_or_else(|| GroupError::UnknownInstanceId(instance_id.clone()))?;
                throw_if_fenced(member, &request.member_id, instance_id)?;
                member
            }
        };
        if request.instance_id.is_some() && request.member_epoch == LEAVE_GROUP_STATIC_MEMBER_EPOCH {
            // It keeps its assignment until it is back or its session ends.
            let mut leaving = member.clone();
            leaving.member_epoch = LEAVE_GROUP_STATIC_MEMBER_EPOCH;
            leaving.pending_revocation = EpochAssignment::new();
            for epoch in leaving.assigned.values_mut().flat_map(BTreeMap::values_mut) {
                *epoch = 0;
            }
            out.records.push(records::current_assignment(group_id, &leaving));
            return Ok(ConsumerGroupHeartbeatResponse { member_id: Some(leaving.member_id), ..response });
        }
        let members = BTreeSet::from([member.member_id.clone()]);
        self.fence_consumer_members(group_id, &members, env, out)?;
        Ok(response)
    }

    /// Removes a member whose time is up; nothing happens if it, or the group, is gone.
    pub(crate) fn fence_consumer_member(
        &mut self,
        group_id: &Str,
        member_id: &Str,
        env: &mut Env<'_>,
        out: &mut GroupOutcome,
    ) {
        let is_member =
            self.existing_consumer_group(group_id).is_ok_and(|group| group.member(member_id).is_some());
        if is_member {
            let members = BTreeSet::from([member_id.clone()]);
            // The one error is a downgrade that cannot be: then the member stays until its next timeout.
            if self.fence_consumer_members(group_id, &members, env, out).is_err() {
                self.schedule_consumer_session(group_id, member_id, env.now_ms);
            }
        }
    }

    /// Removes members that exist, or makes the group a classic one if only classic members remain.
    pub(super) fn fence_consumer_members(
        &mut self,
        group_id: &Str,
        leaving: &BTreeSet<Str>,
        env: &mut Env<'_>,
        out: &mut GroupOutcome,
    ) -> Result<(), GroupError> {
        let group = self.existing_consumer_group(group_id)?;
        if leaving.is_empty() {
            return Ok(());
        }
        if self.may_downgrade_without(group, leaving) {
            return self.downgrade_to_classic_group(group_id, leaving, env, out);
        }
        for member_id in leaving {
            records::remove_member(group_id, member_id, &mut out.records);
        }
        let mut counts = SubscriptionCounts::from_map(group.topic_count_map());
        let mut regex_counts: BTreeMap<&Str, usize> = BTreeMap::new();
        for member in leaving.iter().filter_map(|member_id| group.member(member_id)) {
            for topic in &member.subscribed_topic_names {
                counts.remove_name(topic);
            }
            if let Some(regex) = member.regex() {
                *regex_counts.entry(regex).or_default() += 1;
            }
        }
        for (regex, count) in regex_counts {
            if group.regex_member_count(regex) != count {
                continue;
            }
            out.records.push(records::regex_tombstone(group_id, regex));
            for topic in group.resolved_regexes().get(regex).into_iter().flat_map(|resolved| &resolved.topics)
            {
                counts.remove_regex(topic);
            }
        }
        let hash = group_hash(&counts, &mut self.topic_hashes, env.topics);
        let group = self.existing_consumer_group(group_id)?;
        let group_epoch = group.group_epoch() + 1;
        out.records.push(records::epoch(group_id, group_epoch, hash));
        if group.members().len() == leaving.len() {
            // Nobody is left to assign to: the group counts as assigned, so that the next member is served at once.
            out.records.push(records::target_metadata(group_id, group_epoch, 0));
        }
        for member_id in leaving {
            cancel_timers(group_id, member_id, &mut self.timers);
        }
        Ok(())
    }

    pub(crate) fn schedule_consumer_session(&mut self, group_id: &Str, member_id: &Str, now_ms: i64) {
        let timeout_ms = i64::from(self.config.consumer_session_timeout_ms(group_id));
        self.timers.schedule(
            TimerKey::ConsumerSession(group_id.clone(), member_id.clone()),
            now_ms + timeout_ms,
            TimerTask::FenceConsumerMember,
        );
    }

    /// Starts the sessions of all members after a load, and the revocations that were under way.
    pub(crate) fn arm_consumer_timers(&mut self, now_ms: i64) {
        for (group_id, group) in &self.groups {
            let Group::Consumer(group) = group else { continue };
            let timeout_ms = i64::from(self.config.consumer_session_timeout_ms(group_id));
            for (member_id, member) in group.members() {
                self.timers.schedule(
                    TimerKey::ConsumerSession(group_id.clone(), member_id.clone()),
                    now_ms + timeout_ms,
                    TimerTask::FenceConsumerMember,
                );
                if member.state == MemberState::UnrevokedPartitions {
                    self.timers.schedule(
                        TimerKey::ConsumerRebalance(group_id.clone(), member_id.clone()),
                        now_ms + i64::from(member.rebalance_timeout_ms),
                        TimerTask::ConsumerRebalance { member_epoch: member.member_epoch },
                    );
                }
            }
        }
    }
}

pub(super) fn cancel_timers(group_id: &Str, member_id: &Str, timers: &mut GroupTimers) {
    let key = || (group_id.clone(), member_id.clone());
    let (group, member) = key();
    timers.cancel(&TimerKey::ConsumerSession(group, member));
    let (group, member) = key();
    timers.cancel(&TimerKey::ConsumerRebalance(group, member));
    let (group, member) = key();
    timers.cancel(&TimerKey::ConsumerJoin(group, member));
    let (group, member) = key();
    timers.cancel(&TimerKey::ConsumerSync(group, member));
}
