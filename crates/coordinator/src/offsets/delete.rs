//! OffsetDelete, and what deletes offsets along with a group or a topic.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_delete_request::OffsetDeleteRequest;
use ottla_protocol::messages::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use ottla_protocol::types::{Str, Uuid};

use crate::group::error::GroupError;
use crate::group::{GroupOutcome, GroupRecord, GroupShard};

impl GroupShard {
    pub(crate) fn offset_delete(
        &self,
        request: &OffsetDeleteRequest,
        out: &mut GroupOutcome,
    ) -> Result<OffsetDeleteResponse, GroupError> {
        if request.group_id.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        let group_id = request.group_id.detached();
        let group = self.groups.get(&group_id).ok_or_else(|| GroupError::GroupNotFound(group_id.clone()))?;
        group.validate_offset_delete()?;
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let subscribed = group.is_subscribed_to(&topic.name);
            let error = if subscribed { ErrorCode::GroupSubscribedToTopic } else { ErrorCode::None };
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let index = partition.partition_index;
                let exists = self.offsets.get(&group_id, &topic.name, index).is_some()
                    || self.offsets.has_pending(&group_id, &topic.name, index);
                if !subscribed && exists {
                    out.records.push(tombstone(group_id.clone(), topic.name.detached(), index));
                }
                partitions.push(OffsetDeleteResponsePartition {
                    partition_index: index,
                    error_code: error.code(),
                    ..Default::default()
                });
            }
            topics.push(OffsetDeleteResponseTopic {
                name: topic.name.clone(),
                partitions,
                ..Default::default()
            });
        }
        Ok(OffsetDeleteResponse { topics, ..Default::default() })
    }

    /// Tombstones for all offsets of a group.
    pub(crate) fn delete_all_offsets(&self, group_id: &Str, records: &mut Vec<GroupRecord>) {
        for (topic, partitions) in self.offsets.of_group(group_id).into_iter().flatten() {
            for partition in partitions.keys() {
                records.push(tombstone(group_id.clone(), topic.clone(), *partition));
            }
        }
        for (topic, partition) in self.offsets.pending_only(group_id) {
            records.push(tombstone(group_id.clone(), topic, partition));
        }
    }

    /// Tombstones for the offsets all groups have of deleted topics.
    pub(crate) fn delete_offsets_of_topics(&self, deleted: &[(Str, Uuid)], records: &mut Vec<GroupRecord>) {
        for (topic, topic_id) in deleted {
            for (group, partition) in self.offsets.of_topic(topic, *topic_id) {
                records.push(tombstone(group, topic.detached(), partition));
            }
        }
    }
}

pub(super) fn tombstone(group: Str, topic: Str, partition: i32) -> GroupRecord {
    GroupRecord::OffsetCommit { group, topic, partition, value: None }
}
