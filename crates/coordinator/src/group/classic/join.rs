//! JoinGroup: the checks, which protocol the group is of, and members nobody knows yet.

use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::join_group_request::JoinGroupRequest;
use ottla_protocol::types::{Str, Uuid};

use super::group::ClassicGroup;
use super::join_existing::{join_existing_member, update_static_member};
use super::member::{ClassicMember, Parked, own_protocols};
use super::rebalance::{maybe_prepare_rebalance_or_complete_join, reply_join_error, schedule_heartbeat};
use super::state::ClassicState;
use crate::context::{Env, ReplyToken, RequestContext};
use crate::group::{Fx, Group, GroupOutcome, GroupShard};
use crate::java::uuid_text;

/// How long a new member may wait for its first generation before its session counts as expired.
/// Source: `GroupCoordinatorConfig.CLASSIC_GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS`.
const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 5 * 60 * 1000;

/// From this version on a dynamic member first gets its id, then joins with it (KIP-394).
pub(crate) const MEMBER_ID_REQUIRED_VERSION: i16 = 4;

impl GroupShard {
    pub(crate) fn join_group(
        &mut self,
        mut request: JoinGroupRequest,
        token: ReplyToken,
        ctx: &RequestContext,
        env: &mut Env<'_>,
        out: &mut GroupOutcome,
    ) {
        let parked = Parked { token, api_version: ctx.api_version };
        if ctx.api_version == 0 {
            request.rebalance_timeout_ms = request.session_timeout_ms;
        }
        let mut fx = Fx { timers: &mut self.timers, config: &self.config, now_ms: env.now_ms, out };
        if request.group_id.is_empty() {
            return reply_join_error(&mut fx, parked, &request.member_id, ErrorCode::InvalidGroupId);
        }
        let allowed = fx.config.group_min_session_timeout_ms..=fx.config.group_max_session_timeout_ms;
        if !allowed.contains(&request.session_timeout_ms) {
            return reply_join_error(&mut fx, parked, &request.member_id, ErrorCode::InvalidSessionTimeout);
        }
        match self.groups.get(&request.group_id) {
            Some(Group::Consumer(group)) if !group.is_empty() => {
                if let Err(error) = self.join_classic_to_consumer_group(&request, parked, ctx, env, out) {
                    let mut fx =
                        Fx { timers: &mut self.timers, config: &self.config, now_ms: env.now_ms, out };
                    reply_join_error(&mut fx, parked, &Str::EMPTY, error.code());
                }
            }
            Some(Group::Foreign(_)) => {
                reply_join_error(&mut fx, parked, &Str::EMPTY, ErrorCode::InconsistentGroupProtocol);
            }
            Some(Group::Consumer(_) | Group::Classic(_)) | None => {
                self.join_classic_group(&request, parked, ctx, env, out);
            }
        }
    }

    fn join_classic_group(
        &mut self,
        request: &JoinGroupRequest,
        parked: Parked,
        ctx: &RequestContext,
        env: &mut Env<'_>,
        out: &mut GroupOutcome,
    ) {
        let group_id = request.group_id.detached();
        out.applied = true;
        if let Some(Group::Consumer(group)) = self.groups.get(&group_id) {
            // Empty: the id is free for a group of the other protocol.
            group.tombstones(&mut out.records, None);
            self.remove_group(&group_id);
        }
        let is_unknown_member = request.member_id.is_empty();
        let is_new_group = !self.groups.contains_key(&group_id);
        let mut fx = Fx { timers: &mut self.timers, config: &self.config, now_ms: env.now_ms, out };
        if is_new_group && !is_unknown_member {
            return reply_join_error(&mut fx, parked, &request.member_id, ErrorCode::UnknownMemberId);
        }
        let group = self
            .groups
            .entry(group_id.clone())
            .or_insert_with(|| Group::Classic(ClassicGroup::new(group_id, Some(env.now_ms))));
        let Group::Classic(group) = group else { return };
        let records_before = fx.out.records.len();
        if !accepts_joining_member(group, &request.member_id, fx.config.group_max_size) {
            group.remove_member(&request.member_id);
            reply_join_error(&mut fx, parked, &Str::EMPTY, ErrorCode::GroupMaxSizeReached);
        } else if is_unknown_member {
            let uuid = (env.new_uuid)();
            join_new_member(group, request, parked, ctx, uuid, &mut fx);
        } else {
            join_existing_member(group, request, parked, ctx, &mut fx);
        }
        if is_new_group && fx.out.records.len() == records_before {
            let record = group.empty_record();
            fx.out.records.push(record);
        }
    }
}

/// `group.max.size` counts those who wait while a rebalance runs, and all members otherwise.
fn accepts_joining_member(group: &ClassicGroup, member_id: &str, max_size: i32) -> bool {
    let max_size = usize::try_from(max_size).unwrap_or(0);
    match group.state {
        ClassicState::Empty => true,
        ClassicState::PreparingRebalance => {
            group.member(member_id).is_some_and(|member| member.awaiting_join.is_some())
                || group.awaiting_join_count() < max_size
        }
        ClassicState::CompletingRebalance | ClassicState::Stable => {
            group.has_member(member_id) || group.members().len() < max_size
        }
    }
}

pub(super) fn protocol_names(request: &JoinGroupRequest) -> impl Iterator<Item = &str> {
    request.protocols.iter().map(|protocol| protocol.name.as_str())
}

fn join_new_member(
    group: &mut ClassicGroup,
    request: &JoinGroupRequest,
    parked: Parked,
    ctx: &RequestContext,
    uuid: Uuid,
    fx: &mut Fx<'_>,
) {
    if !group.supports_protocols(&request.protocol_type, protocol_names(request)) {
        return reply_join_error(fx, parked, &Str::EMPTY, ErrorCode::InconsistentGroupProtocol);
    }
    let prefix = request.group_instance_id.as_ref().unwrap_or(&ctx.client_id);
    let new_member_id = Str::from(format!("{prefix}-{}", uuid_text(uuid)));
    match &request.group_instance_id {
        Some(instance_id) => match group.static_member_id(instance_id).cloned() {
            Some(old_member_id) => {
                update_static_member(group, request, instance_id, old_member_id, new_member_id, parked, fx);
            }
            None => add_member(group, request, new_member_id, ctx, parked, fx),
        },
        None if ctx.api_version >= MEMBER_ID_REQUIRED_VERSION => {
            group.pending_join.insert(new_member_id.clone());
            schedule_heartbeat(&group.group_id, &new_member_id, i64::from(request.session_timeout_ms), fx);
            reply_join_error(fx, parked, &new_member_id, ErrorCode::MemberIdRequired);
        }
        None => add_member(group, request, new_member_id, ctx, parked, fx),
    }
}

/// Adds a member that joins for the first time and rebalances for it.
pub(super) fn add_member(
    group: &mut ClassicGroup,
    request: &JoinGroupRequest,
    member_id: Str,
    ctx: &RequestContext,
    parked: Parked,
    fx: &mut Fx<'_>,
) {
    let member = ClassicMember {
        member_id: member_id.clone(),
        instance_id: request.group_instance_id.as_ref().map(Str::detached),
        client_id: ctx.client_id.detached(),
        client_host: ctx.client_host.detached(),
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        session_timeout_ms: request.session_timeout_ms,
        protocols: own_protocols(&request.protocols),
        assignment: Bytes::new(),
        is_new: true,
        awaiting_join: Some(parked),
        awaiting_sync: None,
    };
    if group.state == ClassicState::PreparingRebalance && group.previous_state == ClassicState::Empty {
        group.new_member_added = true;
    }
    group.add_member(member, &request.protocol_type);
    schedule_heartbeat(&group.group_id, &member_id, NEW_MEMBER_JOIN_TIMEOUT_MS, fx);
    maybe_prepare_rebalance_or_complete_join(group, fx);
}
