//! Committed offsets of a group.

use std::collections::BTreeMap;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ottla_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
};
use ottla_protocol::types::Str;

use super::group::Member;
use crate::{Client, ClientError, Target, TopicPartition};

/// Newer versions name topics by id.
const MAX_VERSION: i16 = 9;
/// From this version on a request can ask for several groups.
const FIRST_VERSION_OF_GROUPS: i16 = 8;

/// A committed offset: that of the next record to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: String,
}

/// Commits offsets as a member, or for a group without members when `member` is none.
pub(super) async fn commit(
    client: &Client,
    group: &str,
    member: Option<&Member>,
    offsets: &BTreeMap<TopicPartition, i64>,
) -> Result<(), ClientError> {
    if offsets.is_empty() {
        return Ok(());
    }
    let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
    for (partition, offset) in offsets {
        topics.entry(&partition.topic).or_default().push(OffsetCommitRequestPartition {
            partition_index: partition.partition,
            committed_offset: *offset,
            committed_leader_epoch: -1,
            committed_metadata: Some(Str::EMPTY),
            ..Default::default()
        });
    }
    let request = OffsetCommitRequest {
        group_id: Str::from(group),
        generation_id_or_member_epoch: member.map_or(-1, |m| m.epoch),
        member_id: member.map_or(Str::EMPTY, |m| Str::from(m.id.as_str())),
        group_instance_id: member.and_then(|m| m.instance_id.as_deref()).map(Str::from),
        topics: topics
            .into_iter()
            .map(|(name, partitions)| OffsetCommitRequestTopic {
                name: Str::from(name),
                partitions,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let first_error = |r: &OffsetCommitResponse| {
        let mut codes = r.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code);
        ErrorCode::from_code(codes.find(|c| *c != 0).unwrap_or(0))
    };
    let target = Target::Group(group.to_owned());
    let response =
        client.call_capped(&target, &request, MAX_VERSION, client.api_timeout(), first_error).await?;
    ClientError::check(first_error(&response).code(), None)
}

/// Committed offsets of partitions; those without one are left out.
pub(super) async fn fetch(
    client: &Client,
    group: &str,
    partitions: &[TopicPartition],
    require_stable: bool,
) -> Result<BTreeMap<TopicPartition, CommittedOffset>, ClientError> {
    let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for p in partitions {
        by_topic.entry(&p.topic).or_default().push(p.partition);
    }
    let coordinator = client.group_coordinator(group).await;
    let target = Target::Group(group.to_owned());
    let groups = match coordinator {
        Ok(node) => {
            let versions = client.api_versions(node).await?;
            let key = ottla_protocol::ApiKey::OffsetFetch.code();
            versions.api_keys.iter().any(|k| k.api_key == key && k.max_version >= FIRST_VERSION_OF_GROUPS)
        }
        Err(_) => true,
    };
    let mut request = OffsetFetchRequest { require_stable, ..Default::default() };
    if groups {
        request.groups = vec![OffsetFetchRequestGroup {
            group_id: Str::from(group),
            member_epoch: -1,
            topics: Some(
                by_topic
                    .into_iter()
                    .map(|(name, partition_indexes)| OffsetFetchRequestTopics {
                        name: Str::from(name),
                        partition_indexes,
                        ..Default::default()
                    })
                    .collect(),
            ),
            ..Default::default()
        }];
    } else {
        request.group_id = Str::from(group);
        request.topics = Some(
            by_topic
                .into_iter()
                .map(|(name, partition_indexes)| OffsetFetchRequestTopic {
                    name: Str::from(name),
                    partition_indexes,
                    ..Default::default()
                })
                .collect(),
        );
    }
    let first_error = |r: &OffsetFetchResponse| {
        let of_groups = r.groups.iter().flat_map(|g| {
            let partitions = g.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code);
            std::iter::once(g.error_code).chain(partitions)
        });
        let of_topics = r.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code);
        let mut codes = std::iter::once(r.error_code).chain(of_groups).chain(of_topics);
        ErrorCode::from_code(codes.find(|c| *c != 0).unwrap_or(0))
    };
    let response =
        client.call_capped(&target, &request, MAX_VERSION, client.api_timeout(), first_error).await?;
    ClientError::check(first_error(&response).code(), None)?;
    let mut found = BTreeMap::new();
    let mut add = |topic: &Str, partition: i32, offset: i64, leader_epoch: i32, metadata: &Option<Str>| {
        if offset >= 0 {
            let metadata = metadata.as_deref().unwrap_or_default().to_owned();
            let committed = CommittedOffset { offset, leader_epoch, metadata };
            found.insert(TopicPartition::new(topic.as_str(), partition), committed);
        }
    };
    for topic in response.groups.iter().flat_map(|g| &g.topics) {
        for p in &topic.partitions {
            add(&topic.name, p.partition_index, p.committed_offset, p.committed_leader_epoch, &p.metadata);
        }
    }
    for topic in &response.topics {
        for p in &topic.partitions {
            add(&topic.name, p.partition_index, p.committed_offset, p.committed_leader_epoch, &p.metadata);
        }
    }
    Ok(found)
}
