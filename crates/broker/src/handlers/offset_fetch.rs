//! OffsetFetch: one group up to version 7, several from version 8, topics by id from version 10. Source: KIP-709, KIP-848.

use std::sync::Arc;

use ottla_coordinator::group::{GroupRequest, GroupResponse};
use ottla_metadata::image::MetadataImage;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use ottla_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};
use ottla_protocol::types::Str;

use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    request: OffsetFetchRequest,
) -> Answer<OffsetFetchResponse> {
    let version = ctx.version;
    let groups = if version >= 8 { request.groups } else { vec![single_group(&request)] };
    let image = b.image.load_full();
    let waiting: Vec<_> = groups
        .into_iter()
        .map(|mut group| {
            let unknown = if version >= 10 { name_topics(&image, &mut group) } else { Vec::new() };
            let group_id = group.group_id.clone();
            let request = GroupRequest::OffsetFetch { group, require_stable: request.require_stable };
            (group_id.clone(), unknown, b.groups.request(b, &group_id, request, ctx.for_coordinator()))
        })
        .collect();
    Answer::later(async move {
        let mut groups = Vec::with_capacity(waiting.len());
        for (group_id, unknown, waiting) in waiting {
            let mut group = match waiting.await {
                GroupResponse::OffsetFetch(group) => group,
                _ => OffsetFetchResponseGroup {
                    group_id,
                    error_code: ErrorCode::UnknownServerError.code(),
                    ..Default::default()
                },
            };
            if version >= 10 && group.error_code == 0 {
                by_id(&image, &mut group, unknown);
            }
            groups.push(group);
        }
        if version >= 8 {
            OffsetFetchResponse { groups, ..Default::default() }
        } else {
            single(groups, version)
        }
    })
}

fn single_group(request: &OffsetFetchRequest) -> OffsetFetchRequestGroup {
    OffsetFetchRequestGroup {
        group_id: request.group_id.clone(),
        topics: request.topics.as_ref().map(|topics| {
            topics
                .iter()
                .map(|t| OffsetFetchRequestTopics {
                    name: t.name.clone(),
                    partition_indexes: t.partition_indexes.clone(),
                    ..Default::default()
                })
                .collect()
        }),
        ..Default::default()
    }
}

/// Fills in the names of topics; those whose id is unknown are taken out and answered here.
fn name_topics(image: &MetadataImage, group: &mut OffsetFetchRequestGroup) -> Vec<OffsetFetchResponseTopics> {
    let mut unknown = Vec::new();
    if let Some(topics) = &mut group.topics {
        topics.retain_mut(|topic| match image.topics.name_of(&topic.topic_id) {
            Some(name) => {
                topic.name = name.clone();
                true
            }
            None => {
                unknown.push(OffsetFetchResponseTopics {
                    topic_id: topic.topic_id,
                    partitions: topic
                        .partition_indexes
                        .iter()
                        .map(|index| OffsetFetchResponsePartitions {
                            partition_index: *index,
                            committed_offset: -1,
                            metadata: Some(Str::EMPTY),
                            error_code: ErrorCode::UnknownTopicId.code(),
                            ..Default::default()
                        })
                        .collect(),
                    ..Default::default()
                });
                false
            }
        });
    }
    unknown
}

/// Version 10 speaks of topics by id alone; offsets of topics that are gone are left out.
fn by_id(
    image: &MetadataImage,
    group: &mut OffsetFetchResponseGroup,
    unknown: Vec<OffsetFetchResponseTopics>,
) {
    group.topics.retain_mut(|topic| {
        if topic.topic_id.is_zero() {
            topic.topic_id = image.topics.id_of(&topic.name).unwrap_or_default();
        }
        topic.name = Str::EMPTY;
        !topic.topic_id.is_zero()
    });
    group.topics.extend(unknown);
}

/// The form of versions 1 to 7: one group, its error at the top (or, before version 2, in each partition).
fn single(groups: Vec<OffsetFetchResponseGroup>, version: i16) -> OffsetFetchResponse {
    let group = groups.into_iter().next().unwrap_or_default();
    OffsetFetchResponse {
        error_code: if version >= 2 { group.error_code } else { 0 },
        topics: group
            .topics
            .into_iter()
            .map(|t| OffsetFetchResponseTopic {
                name: t.name,
                partitions: t
                    .partitions
                    .into_iter()
                    .map(|p| OffsetFetchResponsePartition {
                        partition_index: p.partition_index,
                        committed_offset: p.committed_offset,
                        committed_leader_epoch: p.committed_leader_epoch,
                        metadata: p.metadata,
                        error_code: if group.error_code != 0 { group.error_code } else { p.error_code },
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}
