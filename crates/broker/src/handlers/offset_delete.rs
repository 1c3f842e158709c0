//! OffsetDelete, decided by the shard of the group. Source: KIP-496.

use std::sync::Arc;

use ottla_coordinator::group::{GroupRequest, GroupResponse};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    request: OffsetDeleteRequest,
) -> Answer<OffsetDeleteResponse> {
    let group_id = request.group_id.clone();
    let waiting = b.groups.request(b, &group_id, GroupRequest::OffsetDelete(request), ctx.for_coordinator());
    Answer::later(async move {
        match waiting.await {
            GroupResponse::OffsetDelete(response) => response,
            _ => OffsetDeleteResponse {
                error_code: ErrorCode::UnknownServerError.code(),
                ..Default::default()
            },
        }
    })
}
