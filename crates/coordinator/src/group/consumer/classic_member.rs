//! Members of a consumer group that still use the classic protocol: their JoinGroup, SyncGroup, Heartbeat and
//! LeaveGroup. A join is their heartbeat with a subscription, a sync fetches what the coordinator assigned.

use std::collections::BTreeSet;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::join_group_request::JoinGroupRequest;
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::leave_group_response::MemberResponse;
use ottla_protocol::messages::sync_group_request::SyncGroupRequest;
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;
use ottla_protocol::types::Str;

use super::consumer_protocol::{decode_subscription, encode_assignment, owned_partitions, version_of};
use super::group::ConsumerGroup;
use super::heartbeat::{
    StaticSender, find_static_member, record_subscription, throw_if_fenced, throw_if_full,
};
use super::member::{ClassicFacts, ConsumerMember, MemberState};
use super::reconcile::maybe_reconcile;
use super::regex::maybe_update_regexes;
use super::target::{
    METADATA_REFRESH_INTERVAL_MS, maybe_update_target_assignment, update_subscription_metadata,
};
use super::{Assignment, Decision};
use crate::context::{Env, RequestContext};
use crate::group::classic::{MEMBER_ID_REQUIRED_VERSION, Parked, own_protocols, response_for};
use crate::group::config::MigrationPolicy;
use crate::group::error::GroupError;
use crate::group::{Group, GroupOutcome, GroupResponse, GroupShard, TimerKey, TimerTask};

impl GroupShard {
    pub(crate) fn join_classic_to_consumer_group(
        &mut self,
        request: &JoinGroupRequest,
        parked: Parked,
        ctx: &RequestContext,
        env: &mut Env<'_>,
        out: &mut GroupOutcome,
    ) -> Result<(), GroupError> {
        let result = self.decide_classic_join(request, parked, ctx, env, out);
        if result.is_err() {
            out.records.clear();
        }
        result
    }

    fn decide_classic_join(
        &mut self,
        request: &JoinGroupRequest,
        parked: Parked,
        ctx: &RequestContext,
        env: &mut Env<'_>,
        out: &mut GroupOutcome,
    ) -> Result<(), GroupError> {
        let group_id = request.group_id.detached();
        if self.config.group_consumer_migration_policy == MigrationPolicy::Disabled {
            return Err(GroupError::MigrationDisabled(group_id));
        }
        let is_unknown = request.member_id.is_empty();
        let member_id =
            if is_unknown { Str::from((env.new_uuid)().to_string()) } else { request.member_id.detached() };
        let instance_id = request.group_instance_id.as_ref().map(Str::detached);
        let protocols = own_protocols(&request.protocols);
        let Some(Group::Consumer(group)) = self.groups.get(&group_id) else {
            return Err(GroupError::NotConsumerGroup(group_id));
        };
        throw_if_full(group, &member_id, instance_id.as_ref(), &self.config)?;
        let names = protocols.iter().map(|(name, _)| name.as_str());
        if !group.supports_classic_protocols(&request.protocol_type, names) {
            return Err(GroupError::ProtocolsNotSupported(member_id));
        }
        if instance_id.is_none() && is_unknown && ctx.api_version >= MEMBER_ID_REQUIRED_VERSION {
            let response = JoinGroupResponse {
                member_id,
                error_code: ErrorCode::MemberIdRequired.code(),
                protocol_name: (ctx.api_version < 7).then_some(Str::EMPTY),
                ..Default::default()
            };
            out.reply(parked.token, GroupResponse::JoinGroup(response));
            return Ok(());
        }
        let replaced = instance_id.as_ref().and_then(|id| group.static_member(id)).cloned();
        let downgrade =
            replaced.as_ref().is_some_and(|replaced| self.may_downgrade_by_replacing(group, replaced));

        let mut decision = Decision {
            config: &self.config,
            topics: env.topics,
            topic_hashes: &mut self.topic_hashes,
            timers: &mut self.timers,
            last_version_with_new_topics: self.last_version_with_new_topics,
            now_ms: env.now_ms,
            records: &mut out.records,
        };
        let member = match &instance_id {
            None => {
                group.member(&member_id).cloned().unwrap_or_else(|| ConsumerMember::new(member_id.clone()))
            }
            Some(instance_id) => {
                let sender = StaticSender { member_id: &member_id, instance_id, is_join: is_unknown };
                find_static_member(group, &sender, true, &mut decision)?
            }
        };
        let subscription = protocols
            .first()
            .and_then(|(_, metadata)| decode_subscription(metadata))
            .ok_or(GroupError::MalformedSubscription)?;
        let mut updated = member.clone();
        if instance_id.is_some() {
            updated.instance_id = instance_id;
        }
        if let Some(rack_id) = subscription.rack_id.as_ref().filter(|rack| !rack.is_empty()) {
            updated.rack_id = Some(rack_id.detached());
        }
        if request.rebalance_timeout_ms != -1 {
            updated.rebalance_timeout_ms = request.rebalance_timeout_ms;
        }
        updated.subscribed_topic_names = subscription.topics.iter().map(Str::detached).collect();
        updated.subscribed_topic_regex = Some(Str::EMPTY);
        updated.client_id = ctx.client_id.detached();
        updated.client_host = ctx.client_host.detached();
        updated.classic = Some(ClassicFacts { session_timeout_ms: request.session_timeout_ms, protocols });

        let names_changed = record_subscription(group, &member, &updated, &mut decision);
        let regex_status = maybe_update_regexes(ctx, group, &member, &updated, &mut decision)?;
        let bump = names_changed || regex_status.is_updated();
        let mut group_epoch = group.group_epoch();
        let mut subscription_type = None;
        let mut refreshed = None;
        if bump || group.has_metadata_expired(decision.now_ms) {
            let new = update_subscription_metadata(group, bump, Some(&member), &updated, &mut decision);
            group_epoch = new.group_epoch;
            subscription_type = Some(new.subscription_type);
            refreshed = Some(group_epoch);
        }
        let owned = owned_partitions(&subscription, decision.topics);
        // A stale assignment cannot be reconciled before a downgrade: the rebalance that follows it will.
        let rebalance = downgrade && group.assignment_epoch() < group_epoch;
        if !downgrade {
            let (target_epoch, target) = maybe_update_target_assignment(
                group,
                group_epoch,
                Some(&member),
                &updated,
                subscription_type,
                &mut decision,
            )?;
            updated =
                maybe_reconcile(group, updated, target_epoch, &target, bump, Some(&owned), &mut decision)?;
        } else if !rebalance {
            let target = group.target_of(&updated.member_id, updated.instance_id.as_deref());
            let target_epoch = group.assignment_epoch();
            updated =
                maybe_reconcile(group, updated, target_epoch, &target, bump, Some(&owned), &mut decision)?;
        }
        let protocol_name = updated
            .classic
            .as_ref()
            .and_then(|classic| classic.protocols.first())
            .map(|(name, _)| name.clone());
        let response = JoinGroupResponse {
            member_id: updated.member_id.clone(),
            generation_id: updated.member_epoch,
            protocol_type: Some(Str::from_static("consumer")),
            protocol_name,
            ..Default::default()
        };
        let key = |group: &Str, member: &Str| (group.clone(), member.clone());
        let (group_key, member_key) = key(&group_id, &updated.member_id);
        self.timers.cancel(&TimerKey::ConsumerJoin(group_key, member_key));
        match replaced.filter(|_| downgrade) {
            Some(replaced) => {
                self.downgrade_by_replacing(&group_id, &replaced.member_id, &updated, rebalance, env, out)?;
            }
            None => {
                if let Some(group_epoch) = refreshed
                    && let Some(Group::Consumer(group)) = self.groups.get_mut(&group_id)
                {
                    group.set_refresh_deadline(env.now_ms + METADATA_REFRESH_INTERVAL_MS, group_epoch);
                }
                let (group_key, member_key) = key(&group_id, &updated.member_id);
                self.timers.schedule(
                    TimerKey::ConsumerSession(group_key, member_key),
                    env.now_ms + i64::from(request.session_timeout_ms),
                    TimerTask::FenceConsumerMember,
                );
                let (group_key, member_key) = key(&group_id, &updated.member_id);
                self.timers.schedule(
                    TimerKey::ConsumerSync(group_key, member_key),
                    env.now_ms + i64::from(request.rebalance_timeout_ms),
                    TimerTask::FenceConsumerMember,
                );
            }
        }
        out.reply(parked.token, GroupResponse::JoinGroup(response));
        Ok(())
    }

    pub(crate) fn sync_classic_member_of_consumer_group(
        &mut self,
        request: &SyncGroupRequest,
        env: &mut Env<'_>,
    ) -> Result<SyncGroupResponse, GroupError> {
        let group_id = request.group_id.detached();
        let group = self.existing_consumer_group(&group_id)?;
        let member = find_member(group, &request.member_id, request.group_instance_id.as_ref())?.clone();
        let classic = member
            .classic
            .as_ref()
            .ok_or_else(|| GroupError::NotUsingClassicProtocol(member.member_id.clone()))?;
        check_generation(&member, request.generation_id)?;
        let (protocol_name, metadata) =
            classic.protocols.first().ok_or(GroupError::InconsistentGroupProtocol)?;
        if let Some(received) = request.protocol_type.as_ref().filter(|name| name.as_str() != "consumer") {
            return Err(GroupError::ProtocolTypeMismatch {
                received: received.clone(),
                member_id: member.member_id.clone(),
            });
        }
        if let Some(received) = request.protocol_name.as_ref().filter(|name| *name != protocol_name) {
            return Err(GroupError::ProtocolNameMismatch {
                received: received.clone(),
                member_id: member.member_id.clone(),
                expected: protocol_name.clone(),
            });
        }
        if group.assignment_epoch() > member.member_epoch && member.state != MemberState::UnrevokedPartitions
        {
            self.schedule_join_timeout(&group_id, &member, env.now_ms);
            return Err(GroupError::MemberMustRejoin { group_id, member_id: member.member_id });
        }
        let version = version_of(metadata).ok_or(GroupError::MalformedSubscription)?;
        let assigned: Assignment = member
            .assigned
            .iter()
            .map(|(topic_id, partitions)| (*topic_id, partitions.keys().copied().collect()))
            .collect();
        let assignment = encode_assignment(&assigned, version, env.topics);
        self.timers.cancel(&TimerKey::ConsumerSync(group_id.clone(), member.member_id.clone()));
        self.schedule_classic_session(&group_id, &member, env.now_ms);
        Ok(SyncGroupResponse {
            protocol_type: request.protocol_type.clone(),
            protocol_name: request.protocol_name.clone(),
            assignment,
            ..Default::default()
        })
    }

    pub(crate) fn heartbeat_classic_member_of_consumer_group(
        &mut self,
        request: &HeartbeatRequest,
        env: &mut Env<'_>,
    ) -> Result<ErrorCode, GroupError> {
        let group_id = request.group_id.detached();
        let group = self.existing_consumer_group(&group_id)?;
        let member = find_member(group, &request.member_id, request.group_instance_id.as_ref())?.clone();
        if !member.uses_classic_protocol() {
            return Err(GroupError::NotUsingClassicProtocol(member.member_id));
        }
        check_generation(&member, request.generation_id)?;
        let must_rejoin = member.member_epoch < group.assignment_epoch()
            || member.state == MemberState::UnrevokedPartitions
            || (member.state == MemberState::UnreleasedPartitions
                && !group.is_waiting_on_unreleased_partition(&member));
        self.schedule_classic_session(&group_id, &member, env.now_ms);
        if must_rejoin {
            self.schedule_join_timeout(&group_id, &member, env.now_ms);
            return Ok(ErrorCode::RebalanceInProgress);
        }
        Ok(ErrorCode::None)
    }

    pub(crate) fn leave_consumer_group(
        &mut self,
        group_id: &Str,
        leaving: &[MemberIdentity],
        env: &mut Env<'_>,
        out: &mut GroupOutcome,
    ) -> Result<Vec<MemberResponse>, GroupError> {
        let group = self.existing_consumer_group(group_id)?;
        let mut members = BTreeSet::new();
        let mut responses = Vec::with_capacity(leaving.len());
        for identity in leaving {
            let error = match find_leaving_member(group, identity) {
                Ok(member) => {
                    members.insert(member.member_id.clone());
                    ErrorCode::None
                }
                Err(error) => error.code(),
            };
            responses.push(response_for(identity, error));
        }
        self.fence_consumer_members(group_id, &members, env, out)?;
        Ok(responses)
    }

    fn schedule_classic_session(&mut self, group_id: &Str, member: &ConsumerMember, now_ms: i64) {
        let timeout_ms = member.classic.as_ref().map_or(0, |classic| classic.session_timeout_ms);
        self.timers.schedule(
            TimerKey::ConsumerSession(group_id.clone(), member.member_id.clone()),
            now_ms + i64::from(timeout_ms),
            TimerTask::FenceConsumerMember,
        );
    }

    /// Told to rejoin, the member has its rebalance timeout to do so, counted from the first time.
    fn schedule_join_timeout(&mut self, group_id: &Str, member: &ConsumerMember, now_ms: i64) {
        self.timers.schedule_if_absent(
            TimerKey::ConsumerJoin(group_id.clone(), member.member_id.clone()),
            now_ms + i64::from(member.rebalance_timeout_ms),
            TimerTask::FenceConsumerMember,
        );
    }
}

fn find_member<'a>(
    group: &'a ConsumerGroup,
    member_id: &Str,
    instance_id: Option<&Str>,
) -> Result<&'a ConsumerMember, GroupError> {
    let Some(instance_id) = instance_id else {
        return group.member(member_id).ok_or_else(|| GroupError::NotAMember {
            member_id: member_id.clone(),
            group_id: group.group_id.clone(),
        });
    };
    let member = group.static_member(instance_id).ok_or_else(|| GroupError::InstanceNotAMember {
        instance_id: instance_id.clone(),
        group_id: group.group_id.clone(),
    })?;
    throw_if_fenced(member, member_id, instance_id)?;
    Ok(member)
}

fn find_leaving_member<'a>(
    group: &'a ConsumerGroup,
    identity: &MemberIdentity,
) -> Result<&'a ConsumerMember, GroupError> {
    let Some(instance_id) = &identity.group_instance_id else {
        return group.member(&identity.member_id).ok_or(GroupError::UnknownMemberId);
    };
    let member =
        group.static_member(instance_id).ok_or_else(|| GroupError::UnknownInstanceId(instance_id.clone()))?;
    if !identity.member_id.is_empty() {
        throw_if_fenced(member, &identity.member_id, instance_id)?;
    }
    Ok(member)
}

fn check_generation(member: &ConsumerMember, received: i32) -> Result<(), GroupError> {
    if member.member_epoch == received {
        return Ok(());
    }
    Err(GroupError::GenerationMismatch {
        received,
        expected: member.member_epoch,
        member_id: member.member_id.clone(),
    })
}
