//! HOT: reads the partitions of a fetch up to its limits. No payload is touched here: a read is a place in a file.

use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_replication::fetch_session::{FetchTarget, PartitionOutcome};
use ottla_storage::LogError;
use ottla_storage::disk::FetchSlice;
use ottla_storage::log::{AbortedTransaction, FetchIsolation, ReadResult};

use crate::partition::Partition;
use crate::state::Broker;

/// How much one fetch may return.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    pub max_bytes: usize,
    pub min_bytes: usize,
}

/// The records of one partition, on their way into a response.
#[derive(Debug, Clone, Default)]
pub enum Records {
    #[default]
    None,
    /// A place in a file; whether its bytes are in memory is not known yet.
    Found(FetchSlice),
    Bytes(Bytes),
    /// To be sent from the file, where they are in the page cache.
    File(FetchSlice),
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
    pub records: Records,
    /// Leader and its epoch, to spare the client a metadata request (KIP-951).
    pub current_leader: Option<(i32, i32)>,
    /// The bound below which records could be read; a later one means there is more.
    pub bound: i64,
    pub partition: Option<Arc<Partition>>,
}

impl PartitionData {
    pub(super) fn failed(error: ErrorCode) -> PartitionData {
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
        match &self.records {
            Records::None => 0,
            Records::Found(slice) | Records::File(slice) => slice.len,
            Records::Bytes(bytes) => bytes.len(),
        }
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

/// Targets that are read in order until the limits are used up.
#[derive(Debug)]
pub struct Reading {
    /// What was found, for as many of the targets as were read.
    pub data: Vec<PartitionData>,
    by_id: bool,
    isolation: FetchIsolation,
    /// Bytes that may still be returned.
    left: usize,
    /// The first batch is returned even when it is larger than what was asked for, so that clients get on (KIP-74).
    min_one: bool,
}

/// One read whose place in the log is not in memory.
struct ColdLookup {
    partition: Arc<Partition>,
    fetch_offset: i64,
    max_bytes: usize,
    isolation: FetchIsolation,
    min_one: bool,
}

impl Reading {
    pub fn new(by_id: bool, isolation: FetchIsolation, limits: ReadLimits) -> Reading {
        Reading { data: Vec::new(), by_id, isolation, left: limits.max_bytes, min_one: true }
    }

    /// Reads on without waiting for a disk. Returns whether all targets are read.
    pub fn read_cached(&mut self, broker: &Broker, targets: &[FetchTarget]) -> bool {
        self.advance(broker, targets).is_none()
    }

    /// Reads the rest; what waits for a disk is done by its threads.
    pub async fn read(&mut self, broker: &Broker, targets: &[FetchTarget]) {
        while let Some(cold) = self.advance(broker, targets) {
            let ColdLookup { partition, fetch_offset, max_bytes, isolation, min_one } = cold;
            let dir = Arc::clone(partition.log.dir_state());
            let reader = Arc::clone(&partition);
            let found = broker
                .cold_readers
                .run(&dir, move || reader.read(fetch_offset, max_bytes, isolation, min_one))
                .await;
            let Ok(found) = found else {
                self.add(PartitionData::failed(ErrorCode::KafkaStorageError));
                continue;
            };
            self.add(describe(&partition, fetch_offset, isolation, found));
        }
    }

    fn advance(&mut self, broker: &Broker, targets: &[FetchTarget]) -> Option<ColdLookup> {
        if self.data.len() == targets.len() {
            return None;
        }
        let image = broker.image.load();
        self.data.reserve(targets.len() - self.data.len());
        while let Some(target) = targets.get(self.data.len()) {
            let id =
                if self.by_id { Some(target.key.topic_id) } else { image.topics.id_of(&target.key.topic) };
            let known = id.and_then(|id| image.topics.partition(&id, target.key.partition).map(|p| (id, p)));
            let Some((id, registration)) = known else {
                let unknown_id = self.by_id && image.topics.by_id(&target.key.topic_id).is_none();
                let code =
                    if unknown_id { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
                self.add(PartitionData::failed(code));
                continue;
            };
            let mut data = match broker.partitions.get(&id, target.key.partition) {
                Some(partition) => match self.read_one(&partition, target) {
                    Ok(data) => data,
                    Err(cold) => return Some(cold),
                },
                None if broker.partitions.is_offline(&id, target.key.partition) => {
                    PartitionData::failed(ErrorCode::KafkaStorageError)
                }
                None => PartitionData::failed(ErrorCode::NotLeaderOrFollower),
            };
            if matches!(data.error, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch) {
                data.current_leader = Some((registration.leader, registration.leader_epoch));
            }
            self.add(data);
        }
        None
    }

    fn read_one(
        &self,
        partition: &Arc<Partition>,
        target: &FetchTarget,
    ) -> Result<PartitionData, ColdLookup> {
        if let Err(code) = partition.check_leader_epoch(target.current_leader_epoch) {
            return Ok(PartitionData::failed(code));
        }
        let (fetch_offset, isolation, min_one) = (target.fetch_offset, self.isolation, self.min_one);
        let max_bytes = (target.max_bytes.max(0) as usize).min(self.left);
        let found = partition.read_cached(fetch_offset, max_bytes, isolation, min_one).transpose();
        match found {
            Some(found) => Ok(describe(partition, fetch_offset, isolation, found)),
            None => Err(ColdLookup {
                partition: Arc::clone(partition),
                fetch_offset,
                max_bytes,
                isolation,
                min_one,
            }),
        }
    }

    fn add(&mut self, data: PartitionData) {
        let bytes = data.records_bytes();
        if bytes > 0 {
            self.min_one = false;
            self.left = self.left.saturating_sub(bytes);
        }
        self.data.push(data);
    }
}

fn describe(
    partition: &Arc<Partition>,
    fetch_offset: i64,
    isolation: FetchIsolation,
    found: Result<ReadResult, LogError>,
) -> PartitionData {
    let read = match found {
        Ok(read) => read,
        Err(error) => {
            let code = error.error_code();
            if code == ErrorCode::KafkaStorageError {
                tracing::error!(%partition, offset = fetch_offset, %error, "cannot read");
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
        records: if read.slice.len > 0 { Records::Found(read.slice) } else { Records::None },
        current_leader: None,
        partition: Some(Arc::clone(partition)),
    }
}
