//! LeaveGroup, decided by the shard of the group. Source: KIP-345.

use std::sync::Arc;

use ottla_coordinator::group::{GroupRequest, GroupResponse};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    request: LeaveGroupRequest,
) -> Answer<LeaveGroupResponse> {
    let group_id = request.group_id.clone();
    let waiting = b.groups.request(b, &group_id, GroupRequest::LeaveGroup(request), ctx.for_coordinator());
    let version = ctx.version;
    Answer::later(async move {
        match waiting.await {
            GroupResponse::LeaveGroup(mut response) => {
                if version < 3 {
                    // One member a request: its error is the error of the response.
                    if response.error_code == 0 {
                        response.error_code = response.members.first().map_or(0, |m| m.error_code);
                    }
                    response.members.clear();
                }
                response
            }
            _ => {
                LeaveGroupResponse { error_code: ErrorCode::UnknownServerError.code(), ..Default::default() }
            }
        }
    })
}
