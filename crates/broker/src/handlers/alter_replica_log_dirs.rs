//! AlterReplicaLogDirs: begins moves of replicas to other directories of this broker. Source: KIP-113, Kafka `ReplicaManager.alterReplicaLogDirs`.

use std::path::Path;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use ottla_protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};
use ottla_storage::dirs::LogDirs;
use ottla_storage::{LogError, TopicPartition};

use super::now;
use crate::request::{Answer, RequestContext};
use crate::state::{Broker, wall_clock_ms};

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
                .map(|index| {
                    let partition = TopicPartition::new(&*topic.name, *index);
                    AlterReplicaLogDirPartitionResult {
                        partition_index: *index,
                        error_code: alter(b, Path::new(&*dir.path), &partition).code(),
                        ..Default::default()
                    }
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
    b.mover.wake(b);
    now(AlterReplicaLogDirsResponse { results, ..Default::default() })
}

fn alter(b: &Arc<Broker>, path: &Path, partition: &TopicPartition) -> ErrorCode {
    if !LogDirs::can_be_moved(partition) {
        return ErrorCode::InvalidTopicException;
    }
    let log_dirs = b.partitions.log_dirs();
    let dirs = log_dirs.dirs();
    let Some(dir) = dirs.iter().find(|d| path.is_absolute() && d.path == path) else {
        return ErrorCode::LogDirNotFound;
    };
    if dir.offline {
        return ErrorCode::KafkaStorageError;
    }
    if dir.cordoned {
        return ErrorCode::InvalidReplicaAssignment;
    }
    let Some(log) = log_dirs.get(partition) else {
        // Remembered for when the replica comes.
        log_dirs.prefer(partition, path);
        return ErrorCode::ReplicaNotAvailable;
    };
    if log.dir_state().is_offline() {
        return ErrorCode::KafkaStorageError;
    }
    // With a directory that failed, another copy of the replica may be there.
    if log.dir_state().path() != path && dirs.iter().any(|d| d.offline) {
        return ErrorCode::KafkaStorageError;
    }
    match log_dirs.begin_move(partition, path, wall_clock_ms()) {
        Ok(_) => ErrorCode::None,
        Err(LogError::Closed { .. }) => ErrorCode::ReplicaNotAvailable,
        Err(error) => {
            tracing::warn!(%partition, dir = %path.display(), %error, "cannot move a replica");
            error.error_code()
        }
    }
}
