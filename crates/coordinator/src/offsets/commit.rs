//! OffsetCommit and TxnOffsetCommit.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::coordinator_record::offset_commit_value::OffsetCommitValue;
use ottla_protocol::messages::offset_commit_request::OffsetCommitRequest;
use ottla_protocol::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequest;
use ottla_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use ottla_protocol::types::{Str, Uuid};

use crate::context::{Env, ProducerIdAndEpoch, RequestContext};
use crate::group::classic::{ClassicState, reschedule_heartbeat};
use crate::group::consumer::CommitCheck;
use crate::group::error::GroupError;
use crate::group::{Fx, Group, GroupOutcome, GroupRecord, GroupShard};
use crate::java::string_length;

/// From this version on OffsetCommit may say that the group does not exist.
const GROUP_NOT_FOUND_VERSION: i16 = 9;
/// From this version on TxnOffsetCommit may say so, or that the member epoch is stale (KIP-1319).
const TXN_NEW_ERRORS_VERSION: i16 = 6;

/// Who commits: what both requests say about the member.
struct Committer<'a> {
    group_id: &'a Str,
    member_id: &'a Str,
    instance_id: Option<&'a str>,
    generation_id_or_member_epoch: i32,
    transactional: bool,
    api_version: i16,
}

impl GroupShard {
    pub(crate) fn offset_commit(
        &mut self,
        request: &OffsetCommitRequest,
        ctx: &RequestContext,
        env: &Env<'_>,
        out: &mut GroupOutcome,
    ) -> Result<OffsetCommitResponse, GroupError> {
        let committer = Committer {
            group_id: &request.group_id,
            member_id: &request.member_id,
            instance_id: request.group_instance_id.as_deref(),
            generation_id_or_member_epoch: request.generation_id_or_member_epoch,
            transactional: false,
            api_version: ctx.api_version,
        };
        let check = match self.check_commit(&committer) {
            Err(GroupError::GroupNotFound(_)) if ctx.api_version < GROUP_NOT_FOUND_VERSION => {
                return Err(GroupError::IllegalGeneration);
            }
            other => other?,
        };
        let expire_timestamp_ms = if request.retention_time_ms == -1 {
            -1
        } else {
            env.now_ms.saturating_add(request.retention_time_ms)
        };
        let group_id = request.group_id.detached();
        let mut records = Vec::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let topic_id = resolve_topic_id(topic.topic_id, &topic.name, env);
            let name = topic.name.detached();
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let mut error = ErrorCode::None;
                if self.is_metadata_too_large(partition.committed_metadata.as_ref()) {
                    error = ErrorCode::OffsetMetadataTooLarge;
                } else {
                    check.validate(&topic.name, topic_id, partition.partition_index)?;
                    records.push(GroupRecord::OffsetCommit {
                        group: group_id.clone(),
                        topic: name.clone(),
                        partition: partition.partition_index,
                        value: Some(OffsetCommitValue {
                            offset: partition.committed_offset,
                            leader_epoch: partition.committed_leader_epoch,
                            metadata: partition
                                .committed_metadata
                                .as_ref()
                                .map(Str::detached)
                                .unwrap_or_default(),
                            commit_timestamp: env.now_ms,
                            expire_timestamp: expire_timestamp_ms,
                            // The only version with an expiry has no topic id.
                            topic_id: if expire_timestamp_ms == -1 { topic_id } else { Uuid::ZERO },
                            ..Default::default()
                        }),
                    });
                }
                partitions.push(OffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: error.code(),
                    ..Default::default()
                });
            }
            topics.push(OffsetCommitResponseTopic {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                partitions,
                ..Default::default()
            });
        }
        // A commit is a sign of life of a classic member.
        if let Some(Group::Classic(group)) = self.groups.get(&request.group_id)
            && matches!(group.state, ClassicState::Stable | ClassicState::PreparingRebalance)
        {
            let mut fx = Fx { timers: &mut self.timers, config: &self.config, now_ms: env.now_ms, out };
            reschedule_heartbeat(group, &request.member_id.detached(), &mut fx);
        }
        out.records = records;
        Ok(OffsetCommitResponse { topics, ..Default::default() })
    }

    pub(crate) fn txn_offset_commit(
        &self,
        request: &TxnOffsetCommitRequest,
        ctx: &RequestContext,
        env: &Env<'_>,
        out: &mut GroupOutcome,
    ) -> Result<TxnOffsetCommitResponse, GroupError> {
        if request.group_id.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        let committer = Committer {
            group_id: &request.group_id,
            member_id: &request.member_id,
            instance_id: request.group_instance_id.as_deref(),
            generation_id_or_member_epoch: request.generation_id_or_member_epoch,
            transactional: true,
            api_version: ctx.api_version,
        };
        // Older clients know neither a missing group nor a stale member epoch.
        let for_version = |error: GroupError| match error.code() {
            ErrorCode::GroupIdNotFound | ErrorCode::StaleMemberEpoch
                if ctx.api_version < TXN_NEW_ERRORS_VERSION =>
            {
                GroupError::IllegalGeneration
            }
            _ => error,
        };
        let check = self.check_commit(&committer).map_err(for_version)?;
        let group_id = request.group_id.detached();
        let mut records = Vec::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let topic_id = resolve_topic_id(topic.topic_id, &topic.name, env);
            let name = topic.name.detached();
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let mut error = ErrorCode::None;
                if self.is_metadata_too_large(partition.committed_metadata.as_ref()) {
                    error = ErrorCode::OffsetMetadataTooLarge;
                } else {
                    check.validate(&topic.name, topic_id, partition.partition_index).map_err(for_version)?;
                    records.push(GroupRecord::OffsetCommit {
                        group: group_id.clone(),
                        topic: name.clone(),
                        partition: partition.partition_index,
                        value: Some(OffsetCommitValue {
                            offset: partition.committed_offset,
                            leader_epoch: partition.committed_leader_epoch,
                            metadata: partition
                                .committed_metadata
                                .as_ref()
                                .map(Str::detached)
                                .unwrap_or_default(),
                            commit_timestamp: env.now_ms,
                            topic_id,
                            ..Default::default()
                        }),
                    });
                }
                partitions.push(TxnOffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: error.code(),
                    ..Default::default()
                });
            }
            topics.push(TxnOffsetCommitResponseTopic {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                partitions,
                ..Default::default()
            });
        }
        if !records.is_empty() {
            out.producer = Some(ProducerIdAndEpoch {
                producer_id: request.producer_id,
                producer_epoch: request.producer_epoch,
            });
        }
        out.records = records;
        Ok(TxnOffsetCommitResponse { topics, ..Default::default() })
    }

    fn is_metadata_too_large(&self, metadata: Option<&Str>) -> bool {
        let limit = usize::try_from(self.config.offset_metadata_max_bytes).unwrap_or(0);
        // Kafka counts UTF-16 units, the config's name notwithstanding.
        metadata.is_some_and(|metadata| metadata.len() > limit && string_length(metadata) > limit)
    }

    fn check_commit(&self, committer: &Committer<'_>) -> Result<CommitCheck, GroupError> {
        let epoch = committer.generation_id_or_member_epoch;
        match self.groups.get(committer.group_id) {
            // Somebody manages offsets without a group: the first commit makes one.
            None if epoch < 0 => Ok(CommitCheck::Any),
            None => Err(GroupError::GroupNotFound(committer.group_id.clone())),
            Some(Group::Classic(group)) => group
                .validate_offset_commit(
                    committer.member_id,
                    committer.instance_id,
                    epoch,
                    committer.transactional,
                )
                .map(|()| CommitCheck::Any),
            Some(Group::Consumer(group)) => group.validate_offset_commit(
                committer.member_id,
                committer.instance_id,
                epoch,
                committer.transactional,
                committer.api_version,
            ),
            Some(Group::Foreign(_)) => Err(GroupError::NotConsumerGroup(committer.group_id.clone())),
        }
    }
}

fn resolve_topic_id(topic_id: Uuid, name: &str, env: &Env<'_>) -> Uuid {
    if topic_id.is_zero() { env.topics.topic_id(name).unwrap_or(Uuid::ZERO) } else { topic_id }
}
