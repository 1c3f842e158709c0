//! Heartbeat, decided by the shard of the group. Source: KIP-345.

use std::sync::Arc;

use ottla_coordinator::group::{GroupRequest, GroupResponse};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(b: &Arc<Broker>, ctx: &RequestContext, request: HeartbeatRequest) -> Answer<HeartbeatResponse> {
    let group_id = request.group_id.clone();
    let waiting = b.groups.request(b, &group_id, GroupRequest::Heartbeat(request), ctx.for_coordinator());
    Answer::later(async move {
        match waiting.await {
            GroupResponse::Heartbeat(response) => response,
            _ => HeartbeatResponse { error_code: ErrorCode::UnknownServerError.code(), ..Default::default() },
        }
    })
}
