//! HOT: reads the partitions of a fetch up to its limits. No payload is touched here: a read is a place in a file.

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_replication::fetch_session::{FetchTarget, PartitionOutcome};
use ottla_storage::disk::FetchSlice;
use ottla_storage::log::{AbortedTransaction, FetchIsolation};

use crate::partition::Partition;
use crate::state::Broker;

/// How much one fetch may return.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    pub max_bytes: usize,
    pub min_bytes: usize,
}

/// What was found for one partition.
#[derive(Debug, Clone, Default)]
pub struct PartitionData {
    pub error: ErrorCode,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    /// None unless the fetch is read_committed.
    pub aborted: Option<Vec<AbortedTransaction>>,
    pub records: Option<FetchSlice>,
    /// Leader and its epoch, to spare the client a metadata request (KIP-951).
    pub current_leader: Option<(i32, i32)>,
    /// The bound below which records could be read; a later one means there is more.
    pub bound: i64,
    pub partition: Option<Arc<Partition>>,
}

impl PartitionData {
    fn failed(error: ErrorCode) -> PartitionData {
        PartitionData {
            error,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            // Kafka's errors have an empty list, not none.
            aborted: Some(Vec::new()),
            ..Default::default()
        }
    }

    pub fn records_bytes(&self) -> usize {
        self.records.as_ref().map_or(0, |r| r.len)
    }

    pub fn outcome(&self) -> PartitionOutcome {
        PartitionOutcome {
            error: self.error,
            records_bytes: self.records_bytes(),
            high_watermark: self.high_watermark,
            log_start_offset: self.log_start_offset,
            has_preferred_replica: false,
            has_diverging_epoch: false,
        }
    }
}

/// Reads every target in order until the limits are used up.
pub fn read_all(
    broker: &Broker,
    targets: &[FetchTarget],
    by_id: bool,
    isolation: FetchIsolation,
    limits: ReadLimits,
) -> Vec<PartitionData> {
    let image = broker.image.load();
    let mut left = limits.max_bytes;
    // The first batch is returned even when it is larger than what was asked for, so that clients get on (KIP-74).
    let mut min_one = true;
    targets
        .iter()
        .map(|target| {
            let id = if by_id { Some(target.key.topic_id) } else { image.topics.id_of(&target.key.topic) };
            let known = id.and_then(|id| image.topics.partition(&id, target.key.partition).map(|p| (id, p)));
            let Some((id, registration)) = known else {
                let unknown_id = by_id && image.topics.by_id(&target.key.topic_id).is_none();
                let code =
                    if unknown_id { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
                return PartitionData::failed(code);
            };
            let mut data = match broker.partitions.get(&id, target.key.partition) {
                Some(partition) => {
                    let max = (target.max_bytes.max(0) as usize).min(left);
                    read_one(&partition, target, isolation, max, min_one)
                }
                None if broker.partitions.is_offline(&id, target.key.partition) => {
                    PartitionData::failed(ErrorCode::KafkaStorageError)
                }
                None => PartitionData::failed(ErrorCode::NotLeaderOrFollower),
            };
            if matches!(data.error, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch) {
                data.current_leader = Some((registration.leader, registration.leader_epoch));
            }
            let bytes = data.records_bytes();
            if bytes > 0 {
                min_one = false;
                left = left.saturating_sub(bytes);
            }
            data
        })
        .collect()
}

fn read_one(
    partition: &Arc<Partition>,
    target: &FetchTarget,
    isolation: FetchIsolation,
    max_bytes: usize,
    min_one: bool,
) -> PartitionData {
    if let Err(code) = partition.check_leader_epoch(target.current_leader_epoch) {
        return PartitionData::failed(code);
    }
    let read = match partition.read(target.fetch_offset, max_bytes, isolation, min_one) {
        Ok(read) => read,
        Err(error) => {
            let code = error.error_code();
            if code == ErrorCode::KafkaStorageError {
                tracing::error!(%partition, offset = target.fetch_offset, %error, "cannot read");
            }
            return PartitionData { partition: Some(Arc::clone(partition)), ..PartitionData::failed(code) };
        }
    };
    PartitionData {
        error: ErrorCode::None,
        high_watermark: read.high_watermark,
        last_stable_offset: read.last_stable_offset,
        log_start_offset: read.log_start_offset,
        bound: match isolation {
            FetchIsolation::TxnCommitted => read.last_stable_offset,
            FetchIsolation::HighWatermark => read.high_watermark,
            FetchIsolation::LogEnd => read.log_end_offset,
        },
        aborted: read.aborted_transactions,
        records: Some(read.slice).filter(|s| s.len > 0),
        current_leader: None,
        partition: Some(Arc::clone(partition)),
    }
}
