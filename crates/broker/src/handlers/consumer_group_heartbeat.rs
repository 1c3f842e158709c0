//! ConsumerGroupHeartbeat, decided by the shard of the group. Source: KIP-848.

use std::sync::Arc;

use ottla_coordinator::group::{GroupRequest, GroupResponse};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::now;
use crate::features::consumer_protocol_enabled;
use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    request: ConsumerGroupHeartbeatRequest,
) -> Answer<ConsumerGroupHeartbeatResponse> {
    if !consumer_protocol_enabled(b) {
        return now(ConsumerGroupHeartbeatResponse {
            error_code: ErrorCode::UnsupportedVersion.code(),
            ..Default::default()
        });
    }
    let group_id = request.group_id.clone();
    let waiting =
        b.groups.request(b, &group_id, GroupRequest::ConsumerGroupHeartbeat(request), ctx.for_coordinator());
    Answer::later(async move {
        match waiting.await {
            GroupResponse::ConsumerGroupHeartbeat(response) => response,
            _ => ConsumerGroupHeartbeatResponse {
                error_code: ErrorCode::UnknownServerError.code(),
                ..Default::default()
            },
        }
    })
}
