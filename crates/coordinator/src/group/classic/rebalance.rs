//! From one generation of a classic group to the next: preparing, waiting for members, completing, and the
//! timeouts of it.

use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;
use ottla_protocol::types::Str;

use super::group::ClassicGroup;
use super::member::Parked;
use super::state::ClassicState;
use crate::group::{Fx, GroupResponse, TimerKey, TimerTask};

/// Answers a JoinGroup; before version 7 the protocol name was not nullable.
pub(super) fn reply_join(fx: &mut Fx<'_>, parked: Parked, mut response: JoinGroupResponse) {
    if parked.api_version < 7 && response.protocol_name.is_none() {
        response.protocol_name = Some(Str::EMPTY);
    }
    fx.out.reply(parked.token, GroupResponse::JoinGroup(response));
}

/// Answers a JoinGroup with an error and the member id it is about.
pub(super) fn reply_join_error(fx: &mut Fx<'_>, parked: Parked, member_id: &Str, error: ErrorCode) {
    reply_join(
        fx,
        parked,
        JoinGroupResponse {
            member_id: member_id.clone(),
            error_code: error.code(),
            protocol_name: None,
            ..Default::default()
        },
    );
}

pub(super) fn reply_sync_error(fx: &mut Fx<'_>, parked: Parked, error: ErrorCode) {
    fx.out.reply(
        parked.token,
        GroupResponse::SyncGroup(SyncGroupResponse { error_code: error.code(), ..Default::default() }),
    );
}

/// The successful answer to a member of the current generation.
pub(super) fn generation_response(
    group: &ClassicGroup,
    member_id: &Str,
    with_members: bool,
) -> JoinGroupResponse {
    JoinGroupResponse {
        members: if with_members { group.join_response_members() } else { Vec::new() },
        member_id: member_id.clone(),
        generation_id: group.generation_id,
        protocol_name: group.protocol_name.clone(),
        protocol_type: group.protocol_type.clone(),
        leader: group.leader_id.clone().unwrap_or_default(),
        ..Default::default()
    }
}

/// (Re)starts a member's session.
pub(crate) fn reschedule_heartbeat(group: &ClassicGroup, member_id: &Str, fx: &mut Fx<'_>) {
    if let Some(member) = group.member(member_id) {
        let timeout_ms = i64::from(member.session_timeout_ms);
        schedule_heartbeat(&group.group_id, member_id, timeout_ms, fx);
    }
}

pub(super) fn schedule_heartbeat(group_id: &Str, member_id: &Str, timeout_ms: i64, fx: &mut Fx<'_>) {
    fx.timers.schedule(
        TimerKey::ClassicHeartbeat(group_id.clone(), member_id.clone()),
        fx.now_ms + timeout_ms,
        TimerTask::ClassicHeartbeat,
    );
}

pub(super) fn cancel_heartbeat(group_id: &Str, member_id: &Str, fx: &mut Fx<'_>) {
    fx.timers.cancel(&TimerKey::ClassicHeartbeat(group_id.clone(), member_id.clone()));
}

/// Starts a rebalance if the state allows one, else sees whether the running one can end.
pub(super) fn maybe_prepare_rebalance_or_complete_join(group: &mut ClassicGroup, fx: &mut Fx<'_>) {
    if group.can_rebalance() {
        prepare_rebalance(group, fx);
    } else {
        maybe_complete_join_phase(group, fx);
    }
}

/// Ends the join phase when everybody is there; never the one that waits out the initial delay.
pub(super) fn maybe_complete_join_phase(group: &mut ClassicGroup, fx: &mut Fx<'_>) {
    if group.state == ClassicState::PreparingRebalance
        && group.previous_state != ClassicState::Empty
        && group.has_all_members_joined()
    {
        complete_join(group, fx);
    }
}

/// Sends every member back to JoinGroup.
pub(crate) fn prepare_rebalance(group: &mut ClassicGroup, fx: &mut Fx<'_>) {
    if group.state == ClassicState::CompletingRebalance {
        for member_id in group.member_ids() {
            group.set_assignment(&member_id, Bytes::new());
        }
        propagate_assignment(group, ErrorCode::RebalanceInProgress, fx);
    }
    group.pending_sync.clear();
    fx.timers.cancel(&TimerKey::ClassicSync(group.group_id.clone()));

    let is_initial = group.state == ClassicState::Empty;
    if is_initial {
        let delay_ms = i64::from(fx.config.group_initial_rebalance_delay_ms);
        let remaining_ms = (group.rebalance_timeout_ms() - delay_ms).max(0);
        schedule_initial_join(group, delay_ms, remaining_ms, fx);
    }
    group.transition_to(ClassicState::PreparingRebalance, fx.now_ms);
    if is_initial {
        return;
    }
    if group.has_all_members_joined() {
        complete_join(group, fx);
    } else {
        schedule_join(group, fx);
    }
}

fn schedule_join(group: &ClassicGroup, fx: &mut Fx<'_>) {
    fx.timers.schedule(
        TimerKey::ClassicJoin(group.group_id.clone()),
        fx.now_ms + group.rebalance_timeout_ms(),
        TimerTask::ClassicJoin,
    );
}

fn schedule_initial_join(group: &ClassicGroup, delay_ms: i64, remaining_ms: i64, fx: &mut Fx<'_>) {
    fx.timers.schedule(
        TimerKey::ClassicJoin(group.group_id.clone()),
        fx.now_ms + delay_ms,
        TimerTask::ClassicInitialJoin { delay_ms, remaining_ms },
    );
}

/// The initial delay has passed: wait on if somebody joined meanwhile, within the rebalance timeout.
pub(crate) fn try_complete_initial_rebalance(
    group: &mut ClassicGroup,
    delay_ms: i64,
    remaining_ms: i64,
    fx: &mut Fx<'_>,
) {
    if group.new_member_added && remaining_ms != 0 {
        group.new_member_added = false;
        let new_delay_ms = i64::from(fx.config.group_initial_rebalance_delay_ms).min(remaining_ms);
        let new_remaining_ms = (remaining_ms - delay_ms).max(0);
        schedule_initial_join(group, new_delay_ms, new_remaining_ms, fx);
    } else {
        complete_join(group, fx);
    }
}

/// Ends the join phase: dynamic members who have not come are dropped, the others form the next generation.
pub(crate) fn complete_join(group: &mut ClassicGroup, fx: &mut Fx<'_>) {
    if group.state != ClassicState::PreparingRebalance {
        return;
    }
    fx.timers.cancel(&TimerKey::ClassicJoin(group.group_id.clone()));
    let absent: Vec<Str> = group
        .members()
        .values()
        .filter(|member| member.awaiting_join.is_none() && !member.is_static())
        .map(|member| member.member_id.clone())
        .collect();
    for member_id in &absent {
        group.remove_member(member_id);
        cancel_heartbeat(&group.group_id, member_id, fx);
    }
    if !group.maybe_elect_new_joined_leader() && !group.members().is_empty() {
        // Only static members are left and none is back: give them another round.
        schedule_join(group, fx);
        return;
    }
    group.init_next_generation(fx.now_ms);
    if group.state == ClassicState::Empty {
        fx.out.records.push(group.metadata_record());
        fx.out.applied = true;
        return;
    }
    for member_id in group.member_ids() {
        if let Some(parked) = group.take_awaiting_join(&member_id) {
            let response = generation_response(group, &member_id, group.is_leader(&member_id));
            reply_join(fx, parked, response);
        }
        reschedule_heartbeat(group, &member_id, fx);
        group.mark_not_new(&member_id);
        group.pending_sync.insert(member_id);
    }
    fx.timers.schedule(
        TimerKey::ClassicSync(group.group_id.clone()),
        fx.now_ms + group.rebalance_timeout_ms(),
        TimerTask::ClassicSync { generation_id: group.generation_id },
    );
}

/// Members of the generation never asked for their assignment: they are out.
pub(crate) fn expire_pending_sync(group: &mut ClassicGroup, generation_id: i32, fx: &mut Fx<'_>) {
    let waits_for_sync = matches!(group.state, ClassicState::CompletingRebalance | ClassicState::Stable);
    if generation_id != group.generation_id || !waits_for_sync || group.pending_sync.is_empty() {
        return;
    }
    for member_id in std::mem::take(&mut group.pending_sync) {
        group.remove_member(&member_id);
        cancel_heartbeat(&group.group_id, &member_id, fx);
    }
    prepare_rebalance(group, fx);
}

/// A session ran out without a heartbeat.
pub(crate) fn expire_heartbeat(group: &mut ClassicGroup, member_id: &Str, fx: &mut Fx<'_>) {
    if group.pending_join.contains(member_id) {
        group.remove_member(member_id);
        if group.state == ClassicState::PreparingRebalance && group.has_all_members_joined() {
            complete_join(group, fx);
        }
        return;
    }
    let Some(member) = group.member(member_id) else { return };
    if !member.has_satisfied_heartbeat() {
        remove_member_and_update(group, member_id, fx);
    }
}

fn remove_member_and_update(group: &mut ClassicGroup, member_id: &Str, fx: &mut Fx<'_>) {
    if let Some(parked) = group.take_awaiting_join(member_id) {
        reply_join_error(fx, parked, &Str::EMPTY, ErrorCode::UnknownMemberId);
    }
    if let Some(parked) = group.take_awaiting_sync(member_id) {
        reply_sync_error(fx, parked, ErrorCode::UnknownMemberId);
    }
    group.remove_member(member_id);
    match group.state {
        ClassicState::Stable | ClassicState::CompletingRebalance => {
            maybe_prepare_rebalance_or_complete_join(group, fx);
        }
        ClassicState::PreparingRebalance if group.has_all_members_joined() => complete_join(group, fx),
        ClassicState::PreparingRebalance | ClassicState::Empty => {}
    }
}

/// Answers every waiting SyncGroup with the member's assignment, or with `error`.
pub(super) fn propagate_assignment(group: &mut ClassicGroup, error: ErrorCode, fx: &mut Fx<'_>) {
    let ok = error == ErrorCode::None;
    let protocol_name = group.protocol_name.clone().filter(|_| ok);
    let protocol_type = group.protocol_type.clone().filter(|_| ok);
    for member_id in group.member_ids() {
        let Some(parked) = group.take_awaiting_sync(&member_id) else { continue };
        let assignment = group.member(&member_id).map(|member| member.assignment.clone()).unwrap_or_default();
        fx.out.reply(
            parked.token,
            GroupResponse::SyncGroup(SyncGroupResponse {
                error_code: error.code(),
                protocol_name: protocol_name.clone(),
                protocol_type: protocol_type.clone(),
                assignment,
                ..Default::default()
            }),
        );
        reschedule_heartbeat(group, &member_id, fx);
    }
}
