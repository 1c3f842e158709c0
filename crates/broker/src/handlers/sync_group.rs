//! SyncGroup, decided by the shard of the group. Source: KIP-345, KIP-559.

use std::sync::Arc;

use ottla_coordinator::group::{GroupRequest, GroupResponse};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(b: &Arc<Broker>, ctx: &RequestContext, request: SyncGroupRequest) -> Answer<SyncGroupResponse> {
    let group_id = request.group_id.clone();
    let waiting = b.groups.request(b, &group_id, GroupRequest::SyncGroup(request), ctx.for_coordinator());
    Answer::later(async move {
        match waiting.await {
            GroupResponse::SyncGroup(response) => response,
            _ => SyncGroupResponse { error_code: ErrorCode::UnknownServerError.code(), ..Default::default() },
        }
    })
}
