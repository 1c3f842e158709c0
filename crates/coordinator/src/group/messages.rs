//! Requests a group shard takes and what it answers, and the answer that carries only an error.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_group_describe_response::DescribedGroup as DescribedConsumerGroup;
use ottla_protocol::messages::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use ottla_protocol::messages::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;
use ottla_protocol::messages::delete_groups_response::DeletableGroupResult;
use ottla_protocol::messages::describe_groups_response::DescribedGroup;
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::heartbeat_response::HeartbeatResponse;
use ottla_protocol::messages::join_group_request::JoinGroupRequest;
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_protocol::messages::leave_group_request::LeaveGroupRequest;
use ottla_protocol::messages::leave_group_response::LeaveGroupResponse;
use ottla_protocol::messages::list_groups_response::ListedGroup;
use ottla_protocol::messages::offset_commit_request::OffsetCommitRequest;
use ottla_protocol::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_protocol::messages::offset_delete_request::OffsetDeleteRequest;
use ottla_protocol::messages::offset_delete_response::OffsetDeleteResponse;
use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ottla_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use ottla_protocol::messages::sync_group_request::SyncGroupRequest;
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;
use ottla_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequest;
use ottla_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use ottla_protocol::types::Str;

/// One request to one shard. What concerns several groups is split by the caller with
/// [`crate::partition_for`]; it also resolves topic ids and leaves out what the principal may not see.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupRequest {
    JoinGroup(JoinGroupRequest),
    SyncGroup(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    LeaveGroup(LeaveGroupRequest),
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatRequest),
    /// Topics carry their name, and from version 10 on their id as well.
    OffsetCommit(OffsetCommitRequest),
    /// As `OffsetCommit`; ids from version 6 on. The producer was verified by the caller.
    TxnOffsetCommit(TxnOffsetCommitRequest),
    OffsetDelete(OffsetDeleteRequest),
    /// One group; `topics` of `None` asks for all. Topics carry their name.
    OffsetFetch {
        group: OffsetFetchRequestGroup,
        require_stable: bool,
    },
    DescribeGroups {
        group_ids: Vec<Str>,
    },
    ConsumerGroupDescribe {
        group_ids: Vec<Str>,
    },
    ListGroups {
        states_filter: Vec<Str>,
        types_filter: Vec<Str>,
    },
    DeleteGroups {
        group_ids: Vec<Str>,
    },
}

/// The answer to a [`GroupRequest`], of the same name.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupResponse {
    JoinGroup(JoinGroupResponse),
    SyncGroup(SyncGroupResponse),
    Heartbeat(HeartbeatResponse),
    LeaveGroup(LeaveGroupResponse),
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatResponse),
    OffsetCommit(OffsetCommitResponse),
    TxnOffsetCommit(TxnOffsetCommitResponse),
    OffsetDelete(OffsetDeleteResponse),
    OffsetFetch(OffsetFetchResponseGroup),
    DescribeGroups(Vec<DescribedGroup>),
    ConsumerGroupDescribe(Vec<DescribedConsumerGroup>),
    ListGroups { error: ErrorCode, groups: Vec<ListedGroup> },
    DeleteGroups(Vec<DeletableGroupResult>),
}

impl GroupRequest {
    /// The group the request is about, where it is one.
    pub fn group_id(&self) -> Option<&Str> {
        match self {
            GroupRequest::JoinGroup(request) => Some(&request.group_id),
            GroupRequest::SyncGroup(request) => Some(&request.group_id),
            GroupRequest::Heartbeat(request) => Some(&request.group_id),
            GroupRequest::LeaveGroup(request) => Some(&request.group_id),
            GroupRequest::ConsumerGroupHeartbeat(request) => Some(&request.group_id),
            GroupRequest::OffsetCommit(request) => Some(&request.group_id),
            GroupRequest::TxnOffsetCommit(request) => Some(&request.group_id),
            GroupRequest::OffsetDelete(request) => Some(&request.group_id),
            GroupRequest::OffsetFetch { group, .. } => Some(&group.group_id),
            GroupRequest::DescribeGroups { .. }
            | GroupRequest::ConsumerGroupDescribe { .. }
            | GroupRequest::ListGroups { .. }
            | GroupRequest::DeleteGroups { .. } => None,
        }
    }

    /// The response that says only that the whole request failed with `error`, and `message` where there is room.
    ///
    /// For the caller's own failures: not the coordinator, still loading, append failed.
    pub fn error_response(&self, error: ErrorCode, message: Option<Str>, api_version: i16) -> GroupResponse {
        let error_code = error.code();
        match self {
            GroupRequest::JoinGroup(_) => GroupResponse::JoinGroup(JoinGroupResponse {
                error_code,
                generation_id: -1,
                protocol_name: (api_version < 7).then_some(Str::EMPTY),
                ..Default::default()
            }),
            GroupRequest::SyncGroup(_) => {
                GroupResponse::SyncGroup(SyncGroupResponse { error_code, ..Default::default() })
            }
            // A loading coordinator does not know the members yet, so it lets them live.
            GroupRequest::Heartbeat(_) => GroupResponse::Heartbeat(HeartbeatResponse {
                error_code: if error == ErrorCode::CoordinatorLoadInProgress { 0 } else { error_code },
                ..Default::default()
            }),
            GroupRequest::LeaveGroup(_) => {
                GroupResponse::LeaveGroup(LeaveGroupResponse { error_code, ..Default::default() })
            }
            GroupRequest::ConsumerGroupHeartbeat(_) => {
                GroupResponse::ConsumerGroupHeartbeat(ConsumerGroupHeartbeatResponse {
                    error_code,
                    error_message: message,
                    ..Default::default()
                })
            }
            GroupRequest::OffsetCommit(request) => {
                GroupResponse::OffsetCommit(offset_commit_error(request, error))
            }
            GroupRequest::TxnOffsetCommit(request) => {
                GroupResponse::TxnOffsetCommit(txn_offset_commit_error(request, error))
            }
            GroupRequest::OffsetDelete(_) => {
                GroupResponse::OffsetDelete(OffsetDeleteResponse { error_code, ..Default::default() })
            }
            GroupRequest::OffsetFetch { group, .. } => GroupResponse::OffsetFetch(OffsetFetchResponseGroup {
                group_id: group.group_id.clone(),
                error_code,
                ..Default::default()
            }),
            GroupRequest::DescribeGroups { group_ids } => GroupResponse::DescribeGroups(
                group_ids
                    .iter()
                    .map(|group_id| DescribedGroup {
                        group_id: group_id.clone(),
                        error_code,
                        ..Default::default()
                    })
                    .collect(),
            ),
            GroupRequest::ConsumerGroupDescribe { group_ids } => GroupResponse::ConsumerGroupDescribe(
                group_ids
                    .iter()
                    .map(|group_id| DescribedConsumerGroup {
                        group_id: group_id.clone(),
                        error_code,
                        error_message: message.clone(),
                        ..Default::default()
                    })
                    .collect(),
            ),
            GroupRequest::ListGroups { .. } => GroupResponse::ListGroups { error, groups: Vec::new() },
            GroupRequest::DeleteGroups { group_ids } => GroupResponse::DeleteGroups(
                group_ids
                    .iter()
                    .map(|group_id| DeletableGroupResult {
                        group_id: group_id.clone(),
                        error_code,
                        ..Default::default()
                    })
                    .collect(),
            ),
        }
    }
}

/// The same error for every partition of the request.
pub fn offset_commit_error(request: &OffsetCommitRequest, error: ErrorCode) -> OffsetCommitResponse {
    OffsetCommitResponse {
        topics: request
            .topics
            .iter()
            .map(|topic| OffsetCommitResponseTopic {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                partitions: topic
                    .partitions
                    .iter()
                    .map(|partition| OffsetCommitResponsePartition {
                        partition_index: partition.partition_index,
                        error_code: error.code(),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

/// The same error for every partition of the request.
pub fn txn_offset_commit_error(
    request: &TxnOffsetCommitRequest,
    error: ErrorCode,
) -> TxnOffsetCommitResponse {
    TxnOffsetCommitResponse {
        topics: request
            .topics
            .iter()
            .map(|topic| TxnOffsetCommitResponseTopic {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                partitions: topic
                    .partitions
                    .iter()
                    .map(|partition| TxnOffsetCommitResponsePartition {
                        partition_index: partition.partition_index,
                        error_code: error.code(),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}
