//! One file per API key. This one only knows which handler serves which request.

pub mod add_offsets_to_txn;
pub mod add_partitions_to_txn;
pub mod alter_configs;
pub mod alter_replica_log_dirs;
pub mod api_versions;
pub mod consumer_group_describe;
pub mod consumer_group_heartbeat;
pub mod delete_groups;
pub mod delete_records;
pub mod describe_acls;
pub mod describe_client_quotas;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_topic_partitions;
pub mod describe_transactions;
pub mod describe_user_scram_credentials;
pub mod end_txn;
pub mod fetch;
pub mod find_coordinator;
pub mod get_telemetry_subscriptions;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_transactions;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod push_telemetry;
pub mod sasl_authenticate;
pub mod sasl_handshake;
pub mod sync_group;
pub mod txn_offset_commit;
pub mod write_txn_markers;

use std::sync::Arc;

use bytes::Bytes;
use ottla_net::Reply;
use ottla_protocol::ApiKey;

use crate::request::{Answer, RequestContext, serve};
use crate::state::Broker;

/// Whether a request of this API and version is answered on the broker's listeners.
pub fn is_served(broker: &Broker, ctx: &RequestContext) -> bool {
    served_versions(ctx.api, broker.unstable_api_versions())
        .is_some_and(|(min, max)| (min..=max).contains(&ctx.version))
}

/// The versions of an API that a broker answers; None for an API that it does not serve.
pub fn served_versions(api: ApiKey, unstable: bool) -> Option<(i16, i16)> {
    let info = api.info();
    let served = match api {
        ApiKey::Produce
        | ApiKey::Fetch
        | ApiKey::ListOffsets
        | ApiKey::Metadata
        | ApiKey::OffsetCommit
        | ApiKey::OffsetFetch
        | ApiKey::FindCoordinator
        | ApiKey::JoinGroup
        | ApiKey::Heartbeat
        | ApiKey::LeaveGroup
        | ApiKey::SyncGroup
        | ApiKey::DescribeGroups
        | ApiKey::ListGroups
        | ApiKey::SaslHandshake
        | ApiKey::SaslAuthenticate
        | ApiKey::ApiVersions
        | ApiKey::DeleteRecords
        | ApiKey::InitProducerId
        | ApiKey::OffsetForLeaderEpoch
        | ApiKey::AddPartitionsToTxn
        | ApiKey::AddOffsetsToTxn
        | ApiKey::EndTxn
        | ApiKey::WriteTxnMarkers
        | ApiKey::TxnOffsetCommit
        | ApiKey::DescribeAcls
        | ApiKey::DescribeConfigs
        | ApiKey::AlterConfigs
        | ApiKey::IncrementalAlterConfigs
        | ApiKey::AlterReplicaLogDirs
        | ApiKey::DescribeLogDirs
        | ApiKey::DeleteGroups
        | ApiKey::OffsetDelete
        | ApiKey::DescribeClientQuotas
        | ApiKey::DescribeUserScramCredentials
        | ApiKey::DescribeCluster
        | ApiKey::DescribeProducers
        | ApiKey::DescribeTransactions
        | ApiKey::ListTransactions
        | ApiKey::ConsumerGroupHeartbeat
        | ApiKey::ConsumerGroupDescribe
        | ApiKey::GetTelemetrySubscriptions
        | ApiKey::PushTelemetry
        | ApiKey::ListConfigResources
        | ApiKey::DescribeTopicPartitions => true,
        // Decided by the controller; the broker hands them on.
        ApiKey::CreateTopics
        | ApiKey::DeleteTopics
        | ApiKey::CreatePartitions
        | ApiKey::CreateAcls
        | ApiKey::DeleteAcls
        | ApiKey::ElectLeaders
        | ApiKey::AlterPartitionReassignments
        | ApiKey::ListPartitionReassignments
        | ApiKey::AlterClientQuotas
        | ApiKey::AlterUserScramCredentials
        | ApiKey::DescribeQuorum
        | ApiKey::UpdateFeatures
        | ApiKey::UnregisterBroker => true,
        _ => false,
    };
    let max = if unstable { info.max_version } else { info.latest_stable_version };
    served.then_some((info.min_version, max))
}

/// Hands a request to its handler.
pub fn dispatch(b: &Arc<Broker>, ctx: RequestContext, body: Bytes) -> Reply {
    macro_rules! api {
        ($handler:ident) => {
            serve(&b.metrics, ctx, body, |ctx, request| $handler::handle(b, ctx, request))
        };
    }
    match ctx.api {
        ApiKey::Produce => produce::handle(b, ctx, body),
        ApiKey::Fetch => fetch::handle(b, ctx, body),
        ApiKey::ListOffsets => api!(list_offsets),
        ApiKey::Metadata => api!(metadata),
        ApiKey::OffsetCommit => api!(offset_commit),
        ApiKey::OffsetFetch => api!(offset_fetch),
        ApiKey::FindCoordinator => api!(find_coordinator),
        ApiKey::JoinGroup => api!(join_group),
        ApiKey::Heartbeat => api!(heartbeat),
        ApiKey::LeaveGroup => api!(leave_group),
        ApiKey::SyncGroup => api!(sync_group),
        ApiKey::DescribeGroups => api!(describe_groups),
        ApiKey::ListGroups => api!(list_groups),
        ApiKey::SaslHandshake => api!(sasl_handshake),
        ApiKey::SaslAuthenticate => api!(sasl_authenticate),
        ApiKey::ApiVersions => api!(api_versions),
        ApiKey::DeleteRecords => api!(delete_records),
        ApiKey::InitProducerId => api!(init_producer_id),
        ApiKey::OffsetForLeaderEpoch => api!(offset_for_leader_epoch),
        ApiKey::AddPartitionsToTxn => api!(add_partitions_to_txn),
        ApiKey::AddOffsetsToTxn => api!(add_offsets_to_txn),
        ApiKey::EndTxn => api!(end_txn),
        ApiKey::WriteTxnMarkers => api!(write_txn_markers),
        ApiKey::TxnOffsetCommit => api!(txn_offset_commit),
        ApiKey::DescribeAcls => api!(describe_acls),
        ApiKey::DescribeConfigs => api!(describe_configs),
        ApiKey::AlterConfigs => api!(alter_configs),
        ApiKey::IncrementalAlterConfigs => api!(incremental_alter_configs),
        ApiKey::AlterReplicaLogDirs => api!(alter_replica_log_dirs),
        ApiKey::DescribeLogDirs => api!(describe_log_dirs),
        ApiKey::DeleteGroups => api!(delete_groups),
        ApiKey::OffsetDelete => api!(offset_delete),
        ApiKey::DescribeClientQuotas => api!(describe_client_quotas),
        ApiKey::DescribeUserScramCredentials => api!(describe_user_scram_credentials),
        ApiKey::DescribeCluster => api!(describe_cluster),
        ApiKey::DescribeProducers => api!(describe_producers),
        ApiKey::DescribeTransactions => api!(describe_transactions),
        ApiKey::ListTransactions => api!(list_transactions),
        ApiKey::ConsumerGroupHeartbeat => api!(consumer_group_heartbeat),
        ApiKey::ConsumerGroupDescribe => api!(consumer_group_describe),
        ApiKey::GetTelemetrySubscriptions => api!(get_telemetry_subscriptions),
        ApiKey::PushTelemetry => api!(push_telemetry),
        ApiKey::ListConfigResources => api!(list_config_resources),
        ApiKey::DescribeTopicPartitions => api!(describe_topic_partitions),
        _ => crate::controller::forward(b, ctx, body),
    }
}

/// Shorthand of handlers whose answer is there at once.
pub(crate) fn now<R>(response: R) -> Answer<R> {
    Answer::Now(response)
}
