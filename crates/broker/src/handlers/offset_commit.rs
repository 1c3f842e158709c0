//! OffsetCommit: topics are checked here, members and offsets by the shard of the group. Source: KIP-848, KIP-848 topic ids of version 10.

use std::sync::Arc;

use ottla_coordinator::group::messages::offset_commit_error;
use ottla_coordinator::group::{GroupRequest, GroupResponse};
use ottla_metadata::image::MetadataImage;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use ottla_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use ottla_protocol::types::Str;

use super::now;
use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    mut request: OffsetCommitRequest,
) -> Answer<OffsetCommitResponse> {
    let by_id = ctx.version >= 10;
    let image = b.image.load_full();
    let mut refused = Vec::new();
    let mut accepted: Vec<OffsetCommitRequestTopic> = Vec::new();
    for mut topic in std::mem::take(&mut request.topics) {
        if by_id {
            match image.topics.name_of(&topic.topic_id) {
                Some(name) => topic.name = name.clone(),
                None => {
                    refused.push(fail_topic(&topic, ErrorCode::UnknownTopicId));
                    continue;
                }
            }
        } else {
            topic.topic_id = image.topics.id_of(&topic.name).unwrap_or_default();
        }
        let (known, unknown) = split_known(&image, topic);
        if let Some(unknown) = unknown {
            refused.push(fail_topic(&unknown, ErrorCode::UnknownTopicOrPartition));
        }
        accepted.extend(known);
    }
    if accepted.is_empty() {
        return now(finish(OffsetCommitResponse::default(), refused, by_id));
    }
    request.topics = accepted;
    let group_id = request.group_id.clone();
    let fallback = offset_commit_error(&request, ErrorCode::UnknownServerError);
    let waiting = b.groups.request(b, &group_id, GroupRequest::OffsetCommit(request), ctx.for_coordinator());
    Answer::later(async move {
        let response = match waiting.await {
            GroupResponse::OffsetCommit(response) => response,
            _ => fallback,
        };
        finish(response, refused, by_id)
    })
}

/// Splits a topic into the partitions that exist and those that do not.
fn split_known(
    image: &MetadataImage,
    topic: OffsetCommitRequestTopic,
) -> (Option<OffsetCommitRequestTopic>, Option<OffsetCommitRequestTopic>) {
    let count = image.topics.by_name(&topic.name).map_or(0, |t| t.partitions.len() as i32);
    let (known, unknown): (Vec<_>, Vec<_>) =
        topic.partitions.iter().cloned().partition(|p| (0..count).contains(&p.partition_index));
    let with = |partitions: Vec<_>| {
        (!partitions.is_empty()).then(|| OffsetCommitRequestTopic { partitions, ..topic.clone() })
    };
    (with(known), with(unknown))
}

fn fail_topic(topic: &OffsetCommitRequestTopic, code: ErrorCode) -> OffsetCommitResponseTopic {
    OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|p| OffsetCommitResponsePartition {
                partition_index: p.partition_index,
                error_code: code.code(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

/// Puts refused partitions beside the decided ones of their topic.
fn finish(
    mut response: OffsetCommitResponse,
    refused: Vec<OffsetCommitResponseTopic>,
    by_id: bool,
) -> OffsetCommitResponse {
    for topic in refused {
        match response.topics.iter_mut().find(|t| t.name == topic.name && t.topic_id == topic.topic_id) {
            Some(known) => known.partitions.extend(topic.partitions),
            None => response.topics.push(topic),
        }
    }
    for topic in &mut response.topics {
        if by_id {
            topic.name = Str::EMPTY;
        } else {
            topic.topic_id = Default::default();
        }
    }
    response
}
