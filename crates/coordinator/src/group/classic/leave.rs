//! LeaveGroup: one or several members go, by member id or instance id.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ottla_protocol::messages::leave_group_response::{LeaveGroupResponse, MemberResponse};
use ottla_protocol::types::Str;

use super::group::ClassicGroup;
use super::rebalance::{
    cancel_heartbeat, maybe_complete_join_phase, maybe_prepare_rebalance_or_complete_join, reply_join_error,
    reply_sync_error,
};
use super::state::ClassicState;
use crate::context::Env;
use crate::group::error::GroupError;
use crate::group::{Fx, Group, GroupOutcome, GroupShard};

/// Before this version one member leaves, named at the top, and its error is the response's (KIP-345).
const BATCH_VERSION: i16 = 3;

impl GroupShard {
    pub(crate) fn leave_group(
        &mut self,
        request: &LeaveGroupRequest,
        api_version: i16,
        env: &mut Env<'_>,
        out: &mut GroupOutcome,
    ) -> LeaveGroupResponse {
        if request.group_id.is_empty() {
            return LeaveGroupResponse { error_code: ErrorCode::InvalidGroupId.code(), ..Default::default() };
        }
        let single;
        let leaving = if api_version < BATCH_VERSION && request.members.is_empty() {
            single = [MemberIdentity { member_id: request.member_id.clone(), ..Default::default() }];
            &single[..]
        } else {
            &request.members[..]
        };
        let members = match self.groups.get_mut(&request.group_id) {
            Some(Group::Classic(group)) => {
                let mut fx = Fx { timers: &mut self.timers, config: &self.config, now_ms: env.now_ms, out };
                leave_classic_group(group, leaving, &mut fx)
            }
            Some(Group::Consumer(_)) => {
                match self.leave_consumer_group(&request.group_id.detached(), leaving, env, out) {
                    Ok(members) => members,
                    Err(error) => {
                        return LeaveGroupResponse { error_code: error.code().code(), ..Default::default() };
                    }
                }
            }
            Some(Group::Foreign(_)) | None => {
                leaving.iter().map(|member| response_for(member, ErrorCode::UnknownMemberId)).collect()
            }
        };
        if api_version < BATCH_VERSION {
            let error_code = members.first().map_or(0, |member| member.error_code);
            return LeaveGroupResponse { error_code, ..Default::default() };
        }
        LeaveGroupResponse { members, ..Default::default() }
    }
}

pub(crate) fn response_for(member: &MemberIdentity, error: ErrorCode) -> MemberResponse {
    MemberResponse {
        member_id: member.member_id.clone(),
        group_instance_id: member.group_instance_id.clone(),
        error_code: error.code(),
        ..Default::default()
    }
}

fn leave_classic_group(
    group: &mut ClassicGroup,
    leaving: &[MemberIdentity],
    fx: &mut Fx<'_>,
) -> Vec<MemberResponse> {
    let mut responses = Vec::with_capacity(leaving.len());
    let mut any_left = false;
    for member in leaving {
        let result = leave_one(group, member, fx);
        any_left |= result.is_ok();
        responses.push(response_for(member, result.map_or_else(|error| error.code(), |()| ErrorCode::None)));
    }
    if any_left {
        match group.state {
            ClassicState::Stable | ClassicState::CompletingRebalance => {
                maybe_prepare_rebalance_or_complete_join(group, fx);
            }
            ClassicState::PreparingRebalance => maybe_complete_join_phase(group, fx),
            ClassicState::Empty => {}
        }
    }
    responses
}

fn leave_one(group: &mut ClassicGroup, member: &MemberIdentity, fx: &mut Fx<'_>) -> Result<(), GroupError> {
    let member_id = if member.member_id.is_empty() {
        let instance_id = member.group_instance_id.as_deref().ok_or(GroupError::UnknownMemberId)?;
        group.static_member_id(instance_id).cloned().ok_or(GroupError::UnknownMemberId)?
    } else if group.pending_join.contains(&member.member_id) {
        member.member_id.detached()
    } else {
        group.validate_member(&member.member_id, member.group_instance_id.as_deref())?;
        member.member_id.detached()
    };
    cancel_heartbeat(&group.group_id, &member_id, fx);
    if let Some(parked) = group.take_awaiting_join(&member_id) {
        reply_join_error(fx, parked, &Str::EMPTY, ErrorCode::UnknownMemberId);
    }
    if let Some(parked) = group.take_awaiting_sync(&member_id) {
        reply_sync_error(fx, parked, ErrorCode::UnknownMemberId);
    }
    group.remove_member(&member_id);
    Ok(())
}
