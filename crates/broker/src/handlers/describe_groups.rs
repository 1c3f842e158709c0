//! DescribeGroups: state and members of classic groups. Source: KIP-1043.

use std::sync::Arc;

use ottla_coordinator::group::{GroupRequest, GroupResponse};
use ottla_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};

use crate::request::{Answer, RequestContext};
use crate::state::Broker;
use crate::topics::operations;

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    request: DescribeGroupsRequest,
) -> Answer<DescribeGroupsResponse> {
    let with_operations = request.include_authorized_operations;
    let waiting = b.groups.request_by_shard(b, request.groups, &ctx.for_coordinator(), |group_ids| {
        GroupRequest::DescribeGroups { group_ids }
    });
    Answer::later(async move {
        let mut response = DescribeGroupsResponse::default();
        for part in waiting.await {
            if let GroupResponse::DescribeGroups(groups) = part {
                response.groups.extend(groups);
            }
        }
        for group in &mut response.groups {
            if with_operations && group.error_code == 0 {
                group.authorized_operations = operations::GROUP;
            }
        }
        response
    })
}
