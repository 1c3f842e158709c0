//! JoinGroup of members the group knows: rejoining, and a static member under a new member id (KIP-345, KIP-814).

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::join_group_request::JoinGroupRequest;
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;
use ottla_protocol::types::Str;

use super::group::ClassicGroup;
use super::join::{add_member, protocol_names};
use super::member::{Parked, own_protocols};
use super::rebalance::{
    generation_response, maybe_complete_join_phase, maybe_prepare_rebalance_or_complete_join,
    prepare_rebalance, reply_join, reply_join_error, reply_sync_error, reschedule_heartbeat,
};
use super::state::ClassicState;
use crate::context::RequestContext;
use crate::group::{Fx, GroupResponse};

/// From this version on a leader can be told to skip assigning (KIP-814).
const SKIP_ASSIGNMENT_VERSION: i16 = 9;

pub(super) fn join_existing_member(
    group: &mut ClassicGroup,
    request: &JoinGroupRequest,
    parked: Parked,
    ctx: &RequestContext,
    fx: &mut Fx<'_>,
) {
    let member_id = request.member_id.detached();
    if !group.supports_protocols(&request.protocol_type, protocol_names(request)) {
        return reply_join_error(fx, parked, &member_id, ErrorCode::InconsistentGroupProtocol);
    }
    if group.pending_join.contains(&member_id) {
        if request.group_instance_id.is_some() {
            // A pending id is only ever handed to a dynamic member.
            return reply_join_error(fx, parked, &member_id, ErrorCode::UnknownServerError);
        }
        return add_member(group, request, member_id, ctx, parked, fx);
    }
    if let Err(error) = group.validate_member(&member_id, request.group_instance_id.as_deref()) {
        let response = JoinGroupResponse {
            member_id,
            error_code: error.code().code(),
            protocol_name: None,
            ..Default::default()
        };
        return reply_join(fx, parked, response);
    }
    let protocols = own_protocols(&request.protocols);
    let same_metadata = group.member(&member_id).is_some_and(|member| member.protocols == protocols);
    let is_leader = group.is_leader(&member_id);
    let rejoins = match group.state {
        ClassicState::PreparingRebalance => true,
        ClassicState::CompletingRebalance => !same_metadata,
        // A leader that joins again asks for a rebalance, whatever changed outside of the group.
        ClassicState::Stable => is_leader || !same_metadata,
        ClassicState::Empty => {
            return reply_join_error(fx, parked, &member_id, ErrorCode::UnknownMemberId);
        }
    };
    if !rejoins {
        // The answer to an earlier join was lost: give it again.
        let with_members = is_leader && group.state == ClassicState::CompletingRebalance;
        let response = generation_response(group, &member_id, with_members);
        return reply_join(fx, parked, response);
    }
    let replaced = group.update_member(
        &member_id,
        protocols,
        request.rebalance_timeout_ms,
        request.session_timeout_ms,
        Some(parked),
    );
    if let Some(replaced) = replaced {
        // Kafka forgets the older request; here every request gets an answer.
        reply_join_error(fx, replaced, &member_id, ErrorCode::RebalanceInProgress);
    }
    maybe_prepare_rebalance_or_complete_join(group, fx);
}

/// A static member is back without its member id: it gets a new one and the old one is fenced.
pub(super) fn update_static_member(
    group: &mut ClassicGroup,
    request: &JoinGroupRequest,
    instance_id: &Str,
    old_member_id: Str,
    new_member_id: Str,
    parked: Parked,
    fx: &mut Fx<'_>,
) {
    let current_leader = group.leader_id.clone();
    let (waiting_join, waiting_sync) =
        group.replace_static_member(instance_id, &old_member_id, &new_member_id);
    if let Some(waiting) = waiting_join {
        reply_join(
            fx,
            waiting,
            JoinGroupResponse {
                member_id: old_member_id.clone(),
                error_code: ErrorCode::FencedInstanceId.code(),
                protocol_name: None,
                ..Default::default()
            },
        );
    }
    if let Some(waiting) = waiting_sync {
        fx.out.reply(
            waiting.token,
            GroupResponse::SyncGroup(SyncGroupResponse {
                error_code: ErrorCode::FencedInstanceId.code(),
                ..Default::default()
            }),
        );
    }
    super::rebalance::cancel_heartbeat(&group.group_id, &old_member_id, fx);
    reschedule_heartbeat(group, &new_member_id, fx);
    group.update_member(
        &new_member_id,
        own_protocols(&request.protocols),
        request.rebalance_timeout_ms,
        request.session_timeout_ms,
        Some(parked),
    );
    match group.state {
        ClassicState::Stable => {
            let next_protocol = group.select_protocol();
            if group.protocol_name != next_protocol {
                return maybe_prepare_rebalance_or_complete_join(group, fx);
            }
            // Nothing changes for the others: the member takes over where it left, without a rebalance.
            let record = group.metadata_record();
            fx.out.records.push(record);
            group.take_awaiting_join(&new_member_id);
            let response = if parked.api_version >= SKIP_ASSIGNMENT_VERSION {
                let is_leader = group.is_leader(&new_member_id);
                JoinGroupResponse {
                    skip_assignment: is_leader,
                    ..generation_response(group, &new_member_id, is_leader)
                }
            } else {
                // An older client would assign again if it found itself the leader: name the old one.
                JoinGroupResponse {
                    leader: current_leader.unwrap_or_default(),
                    ..generation_response(group, &new_member_id, false)
                }
            };
            reply_join(fx, parked, response);
        }
        ClassicState::CompletingRebalance => prepare_rebalance(group, fx),
        ClassicState::PreparingRebalance => maybe_complete_join_phase(group, fx),
        ClassicState::Empty => {
            group.take_awaiting_join(&new_member_id);
            reply_join_error(fx, parked, &new_member_id, ErrorCode::UnknownMemberId);
        }
    }
}

/// Answers whatever waits in a group that stops to exist.
pub(crate) fn fail_parked(group: &mut ClassicGroup, error: ErrorCode, fx: &mut Fx<'_>) {
    for (member_id, join, sync) in group.drain_parked() {
        if let Some(parked) = join {
            reply_join_error(fx, parked, &member_id, error);
        }
        if let Some(parked) = sync {
            reply_sync_error(fx, parked, error);
        }
    }
}
