//! AlterReplicaLogDirs: refuses what cannot be; a replica that lies where it is asked to lie has moved already. Source: KIP-113.

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use ottla_protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};
use ottla_protocol::types::Str;

use super::now;
use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(
    b: &Arc<Broker>,
    _: &RequestContext,
    request: AlterReplicaLogDirsRequest,
) -> Answer<AlterReplicaLogDirsResponse> {
    let mut results: Vec<AlterReplicaLogDirTopicResult> = Vec::new();
    for dir in request.dirs {
        for topic in dir.topics {
            let partitions = topic
                .partitions
                .iter()
                .map(|index| AlterReplicaLogDirPartitionResult {
                    partition_index: *index,
                    error_code: check(b, &dir.path, &topic.name, *index).code(),
                    ..Default::default()
                })
                .collect::<Vec<_>>();
            match results.iter_mut().find(|r| r.topic_name == topic.name) {
                Some(known) => known.partitions.extend(partitions),
                None => results.push(AlterReplicaLogDirTopicResult {
                    topic_name: topic.name,
                    partitions,
                    ..Default::default()
                }),
            }
        }
    }
    now(AlterReplicaLogDirsResponse { results, ..Default::default() })
}

fn check(b: &Broker, path: &Str, topic: &Str, index: i32) -> ErrorCode {
    if !path.starts_with('/') {
        return ErrorCode::LogDirNotFound;
    }
    let Some(dir) = b.partitions.dirs().into_iter().find(|d| d.path.display().to_string() == **path) else {
        return ErrorCode::LogDirNotFound;
    };
    if dir.offline {
        return ErrorCode::KafkaStorageError;
    }
    match b.partitions.leader(&b.image.load(), topic, index) {
        Err(_) => ErrorCode::ReplicaNotAvailable,
        Ok(p) if p.log.dir_state().path() == dir.path => ErrorCode::None,
        // Moving a replica needs a second copy that catches up, which this broker does not keep.
        Ok(_) => ErrorCode::ReplicaNotAvailable,
    }
}
