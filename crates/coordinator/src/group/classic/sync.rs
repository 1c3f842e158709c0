//! SyncGroup: the leader brings the assignment of a generation, the others fetch theirs.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::sync_group_request::SyncGroupRequest;
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;

use super::group::ClassicGroup;
use super::member::Parked;
use super::rebalance::{propagate_assignment, reply_sync_error};
use super::state::ClassicState;
use crate::context::{Env, ReplyToken, RequestContext};
use crate::group::error::GroupError;
use crate::group::{Fx, Group, GroupOutcome, GroupResponse, GroupShard, TimerKey};

/// From this version on a member must say which protocol it was told (KIP-559).
const PROTOCOL_REQUIRED_VERSION: i16 = 5;

impl GroupShard {
    pub(crate) fn sync_group(
        &mut self,
        request: SyncGroupRequest,
        token: ReplyToken,
        ctx: &RequestContext,
        env: &mut Env<'_>,
        out: &mut GroupOutcome,
    ) {
        let parked = Parked { token, api_version: ctx.api_version };
        let mut fx = Fx { timers: &mut self.timers, config: &self.config, now_ms: env.now_ms, out };
        if request.group_id.is_empty() {
            return reply_sync_error(&mut fx, parked, ErrorCode::InvalidGroupId);
        }
        let names_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
        if ctx.api_version >= PROTOCOL_REQUIRED_VERSION && !names_protocol {
            return reply_sync_error(&mut fx, parked, ErrorCode::InconsistentGroupProtocol);
        }
        match self.groups.get_mut(&request.group_id) {
            Some(Group::Classic(group)) if !group.is_empty() => {
                sync_classic_group(group, request, parked, &mut fx)
            }
            Some(Group::Consumer(group)) if !group.is_empty() => {
                match self.sync_classic_member_of_consumer_group(&request, env) {
                    Ok(response) => out.reply(token, GroupResponse::SyncGroup(response)),
                    Err(error) => out.reply(
                        token,
                        GroupResponse::SyncGroup(SyncGroupResponse {
                            error_code: error.code().code(),
                            ..Default::default()
                        }),
                    ),
                }
            }
            _ => reply_sync_error(&mut fx, parked, ErrorCode::UnknownMemberId),
        }
    }
}

fn validate(group: &ClassicGroup, request: &SyncGroupRequest) -> Result<(), GroupError> {
    group.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
    if request.generation_id != group.generation_id {
        return Err(GroupError::IllegalGeneration);
    }
    let differs =
        |received: &Option<_>, own: &Option<_>| received.is_some() && own.is_some() && received != own;
    if differs(&request.protocol_type, &group.protocol_type)
        || differs(&request.protocol_name, &group.protocol_name)
    {
        return Err(GroupError::InconsistentGroupProtocol);
    }
    Ok(())
}

fn sync_classic_group(group: &mut ClassicGroup, request: SyncGroupRequest, parked: Parked, fx: &mut Fx<'_>) {
    if let Err(error) = validate(group, &request) {
        return reply_sync_error(fx, parked, error.code());
    }
    let member_id = &request.member_id;
    match group.state {
        ClassicState::Empty => reply_sync_error(fx, parked, ErrorCode::UnknownMemberId),
        ClassicState::PreparingRebalance => reply_sync_error(fx, parked, ErrorCode::RebalanceInProgress),
        ClassicState::CompletingRebalance => {
            if let Some(replaced) = group.set_awaiting_sync(member_id, parked) {
                reply_sync_error(fx, replaced, ErrorCode::RebalanceInProgress);
            }
            remove_pending_sync(group, member_id, fx);
            if group.is_leader(member_id) {
                let mut assignments: BTreeMap<&str, &Bytes> = BTreeMap::new();
                for entry in &request.assignments {
                    assignments.insert(entry.member_id.as_str(), &entry.assignment);
                }
                for id in group.member_ids() {
                    let assignment = assignments.get(id.as_str()).map(|bytes| Bytes::copy_from_slice(bytes));
                    group.set_assignment(&id, assignment.unwrap_or_default());
                }
                // The record is written before the transition, so it has the timestamp of the join phase's end.
                let record = group.metadata_record();
                fx.out.records.push(record);
                fx.out.applied = true;
                group.transition_to(ClassicState::Stable, fx.now_ms);
                propagate_assignment(group, ErrorCode::None, fx);
            }
        }
        ClassicState::Stable => {
            remove_pending_sync(group, member_id, fx);
            let assignment =
                group.member(member_id).map(|member| member.assignment.clone()).unwrap_or_default();
            fx.out.reply(
                parked.token,
                GroupResponse::SyncGroup(SyncGroupResponse {
                    protocol_type: group.protocol_type.clone(),
                    protocol_name: group.protocol_name.clone(),
                    assignment,
                    ..Default::default()
                }),
            );
        }
    }
}

fn remove_pending_sync(group: &mut ClassicGroup, member_id: &str, fx: &mut Fx<'_>) {
    group.pending_sync.remove(member_id);
    if group.pending_sync.is_empty() {
        fx.timers.cancel(&TimerKey::ClassicSync(group.group_id.clone()));
    }
}
