//! ListGroups: every group whose coordinator is this broker. Source: KIP-518, KIP-848.

use std::sync::Arc;

use ottla_coordinator::group::{GroupRequest, GroupResponse};
use ottla_protocol::messages::{ListGroupsRequest, ListGroupsResponse};

use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    request: ListGroupsRequest,
) -> Answer<ListGroupsResponse> {
    let waiting = b.groups.request_all(&ctx.for_coordinator(), move || GroupRequest::ListGroups {
        states_filter: request.states_filter.clone(),
        types_filter: request.types_filter.clone(),
    });
    let version = ctx.version;
    Answer::later(async move {
        let mut response = ListGroupsResponse::default();
        for part in waiting.await {
            if let GroupResponse::ListGroups { error, groups } = part {
                if !error.is_ok() {
                    response.error_code = error.code();
                }
                response.groups.extend(groups);
            }
        }
        if response.error_code != 0 {
            response.groups.clear();
        }
        for group in &mut response.groups {
            // Kafka's schema marks both fields as ignorable.
            if version < 4 {
                group.group_state = Default::default();
            }
            if version < 5 {
                group.group_type = Default::default();
            }
        }
        response
    })
}
