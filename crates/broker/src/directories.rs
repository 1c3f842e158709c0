//! What the controller is told of this broker's log directories: which replica lies in which one (KIP-858), which failed,
//! which are cordoned (KIP-1066); and what a failure means for the node.
//!
//! Source: Kafka `AssignmentsManager`, `BrokerLifecycleManager`, `LogManager.handleLogDirFailure`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ottla_metadata::config::StaticConfig;
use ottla_protocol::messages::assign_replicas_to_dirs_request::{DirectoryData, PartitionData, TopicData};
use ottla_protocol::messages::{AssignReplicasToDirsRequest, AssignReplicasToDirsResponse};
use ottla_protocol::types::Uuid;
use ottla_protocol::{ApiKey, ErrorCode};
use ottla_storage::dirs::{LogDirs, LogDirsSettings};

use crate::state::Broker;

/// Replicas in one request. Source: Kafka `AssignmentsManager.MAX_ASSIGNMENTS_PER_REQUEST`.
const MAX_PER_REQUEST: usize = 2250;
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Pauses between attempts; they double up to the longest.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// A replica and the directory that it is in: topic id, partition, directory id.
pub type Placement = (Uuid, i32, Uuid);

fn request(b: &Broker, placed: &[Placement]) -> AssignReplicasToDirsRequest {
    let mut by_dir: BTreeMap<Uuid, BTreeMap<Uuid, Vec<i32>>> = BTreeMap::new();
    for (topic_id, partition, dir) in placed {
        by_dir.entry(*dir).or_default().entry(*topic_id).or_default().push(*partition);
    }
    let directories = by_dir
        .into_iter()
        .map(|(id, topics)| DirectoryData {
            id,
            topics: topics
                .into_iter()
                .map(|(topic_id, partitions)| TopicData {
                    topic_id,
                    partitions: partitions
                        .into_iter()
                        .map(|partition_index| PartitionData { partition_index, ..Default::default() })
                        .collect(),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        })
        .collect();
    AssignReplicasToDirsRequest {
        broker_id: b.node_id,
        broker_epoch: b.broker_epoch.load(Ordering::Acquire),
        directories,
        ..Default::default()
    }
}

/// Tells the controller where replicas are, once. Returns those that it did not take.
async fn assign(b: &Broker, placed: &[Placement]) -> Vec<Placement> {
    let answer: Result<AssignReplicasToDirsResponse, _> =
        b.controller.call(ApiKey::AssignReplicasToDirs, 0, &request(b, placed), CALL_TIMEOUT).await;
    let response = match answer {
        Ok(response) if response.error_code == ErrorCode::None.code() => response,
        Ok(response) => {
            let code = ErrorCode::from_code(response.error_code);
            tracing::warn!(%code, "the controller did not take the directories of replicas");
            return placed.to_vec();
        }
        Err(error) => {
            tracing::warn!(%error, "cannot tell the controller the directories of replicas");
            return placed.to_vec();
        }
    };
    let mut left = Vec::new();
    for dir in &response.directories {
        for topic in &dir.topics {
            for partition in &topic.partitions {
                let code = ErrorCode::from_code(partition.error_code);
                if code != ErrorCode::None {
                    tracing::warn!(topic_id = %topic.topic_id, partition = partition.partition_index, %code,
                        "the controller did not take the directory of a replica");
                    left.push((topic.topic_id, partition.partition_index, dir.id));
                }
            }
        }
    }
    left
}

/// Whether what is known of a replica makes it needless to tell where it is.
fn is_settled(b: &Broker, (topic_id, partition, dir): &Placement) -> bool {
    let image = b.image.load();
    let known = image.topics.partition(topic_id, *partition);
    known.is_none_or(|known| known.directory_of(b.node_id).is_none_or(|at| at == *dir))
}

/// Tells the controller where replicas are, until it has taken it, or the replicas are gone or the broker stops. Returns
/// whether all were taken.
pub async fn report(b: &Arc<Broker>, placed: Vec<Placement>) -> bool {
    let mut left = placed;
    let mut pause = FIRST_RETRY;
    loop {
        let mut refused = Vec::new();
        for chunk in left.chunks(MAX_PER_REQUEST) {
            refused.extend(assign(b, chunk).await);
        }
        left = refused;
        if left.is_empty() {
            return true;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_RETRY);
        left.retain(|placement| !is_settled(b, placement));
        if left.is_empty() {
            return true;
        }
        if b.is_stopping() {
            return false;
        }
    }
}

/// Puts the settings of logs in force that are no topic's, and lets the controller know what is cordoned.
pub fn apply_settings(b: &Broker, config: &StaticConfig) {
    let settings = settings(config);
    let log_dirs = b.partitions.log_dirs();
    if settings != log_dirs.settings() {
        log_dirs.update_settings(settings);
        b.directories_changed.notify_one();
    }
}

fn settings(config: &StaticConfig) -> LogDirsSettings {
    let cordoned = config.get_list("cordoned.log.dirs");
    LogDirsSettings {
        file_delete_delay_ms: config.get_long("log.segment.delete.delay.ms"),
        producer_id_expiration_ms: i64::from(config.get_int("producer.id.expiration.ms")),
        transaction_verification: config.get_bool("transaction.partition.verification.enable"),
        all_cordoned: cordoned.iter().any(|dir| dir == "*"),
        cordoned_dirs: cordoned.iter().filter(|dir| *dir != "*").map(PathBuf::from).collect(),
    }
}

/// Ids of the directories that take no new logs.
pub fn cordoned_ids(log_dirs: &LogDirs) -> Vec<Uuid> {
    log_dirs.dirs().into_iter().filter(|dir| dir.cordoned).filter_map(|dir| dir.directory_id).collect()
}

/// Wakes the heartbeat when a directory fails, so that the controller elects other leaders at once.
pub fn watch_failures(b: &Arc<Broker>) {
    for state in b.partitions.log_dirs().states() {
        let broker = Arc::downgrade(b);
        state.on_failure(move |_| {
            if let Some(broker) = broker.upgrade() {
                broker.directories_changed.notify_one();
            }
        });
    }
}

/// Which failures of directories the controller does not know yet, and since when there is something to tell.
///
/// Source: Kafka `BrokerLifecycleManager.propagateDirectoryFailure`.
#[derive(Debug, Default)]
pub struct FailureReports {
    /// None once the controller has heard of it.
    untold_since: BTreeMap<Uuid, Option<Instant>>,
}

impl FailureReports {
    /// Directories that a heartbeat is about to tell.
    pub fn failed(&mut self, dirs: &[Uuid], now: Instant) {
        for dir in dirs {
            self.untold_since.entry(*dir).or_insert(Some(now));
        }
    }

    /// The controller has taken the heartbeat that told of them.
    pub fn told(&mut self, dirs: &[Uuid]) {
        self.untold_since.extend(dirs.iter().map(|dir| (*dir, None)));
    }

    /// Another controller, or one that has forgotten this broker, knows of none.
    pub fn forgotten(&mut self, now: Instant) {
        self.untold_since.values_mut().for_each(|since| *since = Some(now));
    }

    /// A directory of whose failure the controller could not be told for `timeout`: its replicas would stay leaders that
    /// nobody can reach (`log.dir.failure.timeout.ms`).
    pub fn overdue(&self, timeout: Duration, now: Instant) -> Option<Uuid> {
        self.untold_since
            .iter()
            .find(|(_, since)| since.is_some_and(|since| now.duration_since(since) >= timeout))
            .map(|(dir, _)| *dir)
    }
}

/// Ids of the directories that failed.
pub fn offline_ids(log_dirs: &LogDirs) -> Vec<Uuid> {
    log_dirs.dirs().into_iter().filter(|dir| dir.offline).filter_map(|dir| dir.directory_id).collect()
}

/// Why the node cannot go on: no directory is left, or that of the metadata log is gone.
pub fn fatal_failure(config: &StaticConfig, log_dirs: &LogDirs) -> Option<String> {
    let dirs = log_dirs.dirs();
    if dirs.iter().all(|dir| dir.offline) {
        let names: Vec<String> = dirs.iter().map(|dir| dir.path.display().to_string()).collect();
        return Some(format!("Shutdown broker because all log dirs in {} have failed", names.join(", ")));
    }
    let metadata = Path::new(&config.metadata_log_dir);
    dirs.iter()
        .any(|dir| dir.offline && dir.path == metadata)
        .then(|| format!("Shutdown broker because the metadata log dir {} has failed", metadata.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_the_controller_does_not_hear_of_is_overdue_after_the_timeout() {
        let (began, timeout) = (Instant::now(), Duration::from_secs(30));
        let later = |seconds| began + Duration::from_secs(seconds);
        let (first, second) = (Uuid([1; 16]), Uuid([2; 16]));
        let mut reports = FailureReports::default();
        reports.failed(&[first], began);
        reports.failed(&[first, second], later(20));
        assert_eq!(reports.overdue(timeout, later(29)), None);
        assert_eq!(reports.overdue(timeout, later(30)), Some(first));
        reports.told(&[first]);
        reports.failed(&[first, second], later(40));
        assert_eq!(reports.overdue(timeout, later(45)), None);
        assert_eq!(reports.overdue(timeout, later(50)), Some(second));
        reports.told(&[first, second]);
        assert_eq!(reports.overdue(timeout, later(1000)), None);
        reports.forgotten(later(1000));
        assert_eq!(reports.overdue(timeout, later(1029)), None);
        assert_eq!(reports.overdue(timeout, later(1030)), Some(first));
    }
}
