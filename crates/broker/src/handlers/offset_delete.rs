//! OffsetDelete: partitions are checked here, the rest is decided by the shard of the group. Source: KIP-496.

use std::sync::Arc;

use ottla_coordinator::group::{GroupRequest, GroupResponse};
use ottla_metadata::image::MetadataImage;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use ottla_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use ottla_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    mut request: OffsetDeleteRequest,
) -> Answer<OffsetDeleteResponse> {
    let unknown = take_unknown(&b.image.load(), &mut request.topics);
    let group_id = request.group_id.clone();
    let waiting = b.groups.request(b, &group_id, GroupRequest::OffsetDelete(request), ctx.for_coordinator());
    Answer::later(async move {
        match waiting.await {
            GroupResponse::OffsetDelete(response) => merge(unknown, response),
            _ => OffsetDeleteResponse {
                error_code: ErrorCode::UnknownServerError.code(),
                ..Default::default()
            },
        }
    })
}

/// Takes the partitions that do not exist out of the request, and answers them.
fn take_unknown(
    image: &MetadataImage,
    topics: &mut Vec<OffsetDeleteRequestTopic>,
) -> Vec<OffsetDeleteResponseTopic> {
    let mut unknown = Vec::new();
    topics.retain_mut(|topic| {
        let known = image.topics.by_name(&topic.name);
        let mut partitions = Vec::new();
        topic.partitions.retain(|p| {
            let exists = known.is_some_and(|t| t.partition(p.partition_index).is_some());
            if !exists {
                partitions.push(OffsetDeleteResponsePartition {
                    partition_index: p.partition_index,
                    error_code: ErrorCode::UnknownTopicOrPartition.code(),
                    ..Default::default()
                });
            }
            exists
        });
        if !partitions.is_empty() {
            let name = topic.name.clone();
            unknown.push(OffsetDeleteResponseTopic { name, partitions, ..Default::default() });
        }
        !topic.partitions.is_empty()
    });
    unknown
}

/// An error of the whole request says nothing of partitions.
fn merge(unknown: Vec<OffsetDeleteResponseTopic>, mut decided: OffsetDeleteResponse) -> OffsetDeleteResponse {
    if decided.error_code != ErrorCode::None.code() || unknown.is_empty() {
        return decided;
    }
    let mut topics = unknown;
    for topic in std::mem::take(&mut decided.topics) {
        match topics.iter_mut().find(|t| t.name == topic.name) {
            Some(there) => there.partitions.extend(topic.partitions),
            None => topics.push(topic),
        }
    }
    OffsetDeleteResponse { topics, ..decided }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::offset_delete_request::OffsetDeleteRequestPartition;

    use super::*;

    #[test]
    fn partitions_that_do_not_exist_are_answered_here() {
        let mut topics = vec![OffsetDeleteRequestTopic {
            name: "none".into(),
            partitions: vec![OffsetDeleteRequestPartition { partition_index: 3, ..Default::default() }],
            ..Default::default()
        }];
        let unknown = take_unknown(&MetadataImage::default(), &mut topics);
        assert!(topics.is_empty());
        let response = merge(unknown, OffsetDeleteResponse::default());
        assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::UnknownTopicOrPartition.code());
        let failed =
            OffsetDeleteResponse { error_code: ErrorCode::GroupIdNotFound.code(), ..Default::default() };
        assert!(merge(response.topics, failed).topics.is_empty());
    }
}
