//! DeleteGroups: groups without members go, with their offsets. Source: KIP-229.

use std::sync::Arc;

use ottla_coordinator::group::{GroupRequest, GroupResponse};
use ottla_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    request: DeleteGroupsRequest,
) -> Answer<DeleteGroupsResponse> {
    let waiting = b.groups.request_by_shard(b, request.groups_names, &ctx.for_coordinator(), |group_ids| {
        GroupRequest::DeleteGroups { group_ids }
    });
    Answer::later(async move {
        let mut response = DeleteGroupsResponse::default();
        for part in waiting.await {
            if let GroupResponse::DeleteGroups(results) = part {
                response.results.extend(results);
            }
        }
        response
    })
}
