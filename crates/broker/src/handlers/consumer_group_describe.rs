//! ConsumerGroupDescribe: state and members of consumer groups. Source: KIP-848.

use std::sync::Arc;

use ottla_coordinator::group::{GroupRequest, GroupResponse};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_group_describe_response::DescribedGroup;
use ottla_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};

use super::now;
use crate::features::consumer_protocol_enabled;
use crate::request::{Answer, RequestContext};
use crate::state::Broker;
use crate::topics::operations;

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    request: ConsumerGroupDescribeRequest,
) -> Answer<ConsumerGroupDescribeResponse> {
    if !consumer_protocol_enabled(b) {
        let refuse = |group_id| DescribedGroup {
            group_id,
            error_code: ErrorCode::UnsupportedVersion.code(),
            ..Default::default()
        };
        let groups = request.group_ids.into_iter().map(refuse).collect();
        return now(ConsumerGroupDescribeResponse { groups, ..Default::default() });
    }
    let with_operations = request.include_authorized_operations;
    let waiting = b.groups.request_by_shard(b, request.group_ids, &ctx.for_coordinator(), |group_ids| {
        GroupRequest::ConsumerGroupDescribe { group_ids }
    });
    Answer::later(async move {
        let mut response = ConsumerGroupDescribeResponse::default();
        for part in waiting.await {
            if let GroupResponse::ConsumerGroupDescribe(groups) = part {
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
