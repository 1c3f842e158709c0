//! OffsetFetch of one group.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ottla_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use ottla_protocol::types::{Str, Uuid};

use super::store::OffsetAndMetadata;
use crate::group::error::GroupError;
use crate::group::{Group, GroupShard};

const INVALID_OFFSET: i64 = -1;

impl GroupShard {
    pub(crate) fn offset_fetch(
        &self,
        request: &OffsetFetchRequestGroup,
        require_stable: bool,
    ) -> Result<OffsetFetchResponseGroup, GroupError> {
        // The empty group id is allowed here and in OffsetCommit, as old clients use it.
        let exists = match self.groups.get(&request.group_id) {
            Some(Group::Consumer(group)) => {
                group.validate_offset_fetch(request.member_id.as_ref(), request.member_epoch)?;
                true
            }
            Some(Group::Classic(_)) => true,
            // No such group is no error here: it has no offsets.
            Some(Group::Foreign(_)) | None => false,
        };
        let topics = match &request.topics {
            Some(topics) => topics
                .iter()
                .map(|topic| OffsetFetchResponseTopics {
                    name: topic.name.clone(),
                    topic_id: topic.topic_id,
                    partitions: topic
                        .partition_indexes
                        .iter()
                        .map(|partition| {
                            let offset = self
                                .offsets
                                .get(&request.group_id, &topic.name, *partition)
                                .filter(|offset| exists && !other_topic(offset.topic_id, topic.topic_id));
                            self.partition(request, &topic.name, *partition, offset, require_stable)
                        })
                        .collect(),
                    ..Default::default()
                })
                .collect(),
            None if exists => self
                .offsets
                .of_group(&request.group_id)
                .into_iter()
                .flatten()
                .map(|(topic, partitions)| OffsetFetchResponseTopics {
                    name: topic.clone(),
                    partitions: partitions
                        .iter()
                        .map(|(partition, offset)| {
                            self.partition(request, topic, *partition, Some(offset), require_stable)
                        })
                        .collect(),
                    ..Default::default()
                })
                .collect(),
            None => Vec::new(),
        };
        Ok(OffsetFetchResponseGroup { group_id: request.group_id.clone(), topics, ..Default::default() })
    }

    fn partition(
        &self,
        request: &OffsetFetchRequestGroup,
        topic: &str,
        partition_index: i32,
        offset: Option<&OffsetAndMetadata>,
        require_stable: bool,
    ) -> OffsetFetchResponsePartitions {
        let unstable = require_stable && self.offsets.has_pending(&request.group_id, topic, partition_index);
        match offset.filter(|_| !unstable) {
            Some(offset) => OffsetFetchResponsePartitions {
                partition_index,
                committed_offset: offset.offset,
                committed_leader_epoch: offset.leader_epoch.unwrap_or(-1),
                metadata: Some(offset.metadata.clone()),
                ..Default::default()
            },
            None => OffsetFetchResponsePartitions {
                partition_index,
                committed_offset: INVALID_OFFSET,
                committed_leader_epoch: -1,
                metadata: Some(Str::EMPTY),
                error_code: if unstable { ErrorCode::UnstableOffsetCommit.code() } else { 0 },
                ..Default::default()
            },
        }
    }
}

/// The offset is of an earlier topic of the same name.
fn other_topic(committed: Uuid, expected: Uuid) -> bool {
    !committed.is_zero() && !expected.is_zero() && committed != expected
}
