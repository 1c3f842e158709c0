//! JoinGroup, decided by the shard of the group. Source: KIP-394, KIP-345.

use std::sync::Arc;

use ottla_coordinator::group::{GroupRequest, GroupResponse};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(b: &Arc<Broker>, ctx: &RequestContext, request: JoinGroupRequest) -> Answer<JoinGroupResponse> {
    let group_id = request.group_id.clone();
    let waiting = b.groups.request(b, &group_id, GroupRequest::JoinGroup(request), ctx.for_coordinator());
    Answer::later(async move {
        match waiting.await {
            GroupResponse::JoinGroup(response) => response,
            _ => JoinGroupResponse { error_code: ErrorCode::UnknownServerError.code(), ..Default::default() },
        }
    })
}
