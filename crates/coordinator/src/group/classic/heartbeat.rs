//! Heartbeat of classic members.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;

use super::group::ClassicGroup;
use super::rebalance::reschedule_heartbeat;
use super::state::ClassicState;
use crate::context::Env;
use crate::group::error::GroupError;
use crate::group::{Fx, Group, GroupOutcome, GroupShard};

impl GroupShard {
    /// `Ok` carries what the response says, which may be an error a member is told in passing.
    pub(crate) fn heartbeat(
        &mut self,
        request: &HeartbeatRequest,
        env: &mut Env<'_>,
        out: &mut GroupOutcome,
    ) -> Result<ErrorCode, GroupError> {
        if request.group_id.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        match self.groups.get_mut(&request.group_id) {
            Some(Group::Classic(group)) => {
                let mut fx = Fx { timers: &mut self.timers, config: &self.config, now_ms: env.now_ms, out };
                heartbeat_classic_group(group, request, &mut fx)
            }
            Some(Group::Consumer(_)) => self.heartbeat_classic_member_of_consumer_group(request, env),
            Some(Group::Foreign(_)) | None => {
                Err(GroupError::GroupOfMemberNotFound(request.group_id.clone()))
            }
        }
    }
}

fn heartbeat_classic_group(
    group: &ClassicGroup,
    request: &HeartbeatRequest,
    fx: &mut Fx<'_>,
) -> Result<ErrorCode, GroupError> {
    group.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
    if request.generation_id != group.generation_id {
        return Err(GroupError::IllegalGeneration);
    }
    match group.state {
        ClassicState::Empty => Ok(ErrorCode::UnknownMemberId),
        ClassicState::PreparingRebalance => {
            reschedule_heartbeat(group, &request.member_id.detached(), fx);
            Ok(ErrorCode::RebalanceInProgress)
        }
        ClassicState::CompletingRebalance | ClassicState::Stable => {
            reschedule_heartbeat(group, &request.member_id.detached(), fx);
            Ok(ErrorCode::None)
        }
    }
}
