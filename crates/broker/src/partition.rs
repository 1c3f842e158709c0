//! One partition that this broker leads: its log, its place in the cluster, and who waits for it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ottla_protocol::ErrorCode;
use ottla_protocol::compression::Compression;
use ottla_protocol::records::control::EndTxnMarker;
use ottla_protocol::types::{Str, Uuid};
use ottla_storage::log::{AppendInfo, AppendOptions, FetchIsolation, ReadResult};
use ottla_storage::producer_state::{AppendOrigin, VerificationGuard};
use ottla_storage::{CompressionType, Log, LogError};
use tokio::sync::{Notify, oneshot};

use crate::metrics::TopicMetrics;

/// Bytes of an internal topic that are read into memory when a single batch is larger than the chunk asked for.
const NO_LIMIT_BELOW: usize = 1;

/// Says that an append is durable, or why it never will be.
pub type Commit = oneshot::Receiver<Result<(), LogError>>;

/// Waits until an append is durable.
///
/// # Errors
/// KAFKA_STORAGE_ERROR: the log directory is offline.
pub async fn committed(commit: Commit) -> Result<(), ErrorCode> {
    match commit.await {
        Ok(Ok(())) => Ok(()),
        _ => Err(ErrorCode::KafkaStorageError),
    }
}

/// Waits until all of these appends are durable, and leaves none.
///
/// # Errors
/// As [`committed`].
pub async fn all_committed(commits: &mut Vec<Commit>) -> Result<(), ErrorCode> {
    let mut result = Ok(());
    for commit in commits.drain(..) {
        result = result.and(committed(commit).await);
    }
    result
}

/// A partition of a topic on this broker.
pub struct Partition {
    pub topic: Str,
    pub topic_id: Uuid,
    pub index: i32,
    pub log: Arc<Log>,
    /// Shared by all partitions of the topic on this broker; gone with the last of them.
    pub topic_metrics: Arc<TopicMetrics>,
    leader_epoch: AtomicI32,
    /// Deleted, or led by another broker: whoever waits must look again.
    gone: AtomicBool,
    waiters: Mutex<Vec<Arc<FetchWaiter>>>,
    waiting: AtomicUsize,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Partition({self})")
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.index)
    }
}

/// Why records of an internal topic cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("cannot read the log: {0}")]
    Io(#[from] std::io::Error),
}

impl Partition {
    pub fn new(
        topic: Str,
        topic_id: Uuid,
        index: i32,
        log: Arc<Log>,
        topic_metrics: Arc<TopicMetrics>,
        leader_epoch: i32,
    ) -> Partition {
        // One replica: everything in the log is committed.
        log.update_high_watermark(log.log_end_offset());
        Partition {
            topic,
            topic_id,
            index,
            log,
            topic_metrics,
            leader_epoch: AtomicI32::new(leader_epoch),
            gone: AtomicBool::new(false),
            waiters: Mutex::default(),
            waiting: AtomicUsize::new(0),
        }
    }

    pub fn leader_epoch(&self) -> i32 {
        self.leader_epoch.load(Ordering::Acquire)
    }

    pub fn set_leader_epoch(&self, epoch: i32) {
        self.leader_epoch.store(epoch, Ordering::Release);
    }

    /// The partition is no longer served here: everybody who waits looks again.
    pub fn retire(&self) {
        self.gone.store(true, Ordering::Release);
        for waiter in self.waiters.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            waiter.wake();
        }
        self.waiting.store(0, Ordering::Release);
    }

    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Compares a client's idea of the leader epoch with ours; -1 is no idea. Source: KIP-320.
    pub fn check_leader_epoch(&self, current: i32) -> Result<(), ErrorCode> {
        let ours = self.leader_epoch();
        if current < 0 || current == ours {
            Ok(())
        } else if current < ours {
            Err(ErrorCode::FencedLeaderEpoch)
        } else {
            Err(ErrorCode::UnknownLeaderEpoch)
        }
    }

    pub fn log_start_offset(&self) -> i64 {
        self.log.log_start_offset()
    }

    pub fn log_end_offset(&self) -> i64 {
        self.log.log_end_offset()
    }

    pub fn max_message_bytes(&self) -> usize {
        self.log.config().max_message_bytes.max(0) as usize
    }

    /// Up to where a client of this isolation can read.
    pub fn bound(&self, isolation: FetchIsolation) -> i64 {
        match isolation {
            FetchIsolation::TxnCommitted => self.log.last_stable_offset(),
            FetchIsolation::HighWatermark => self.log.high_watermark(),
            FetchIsolation::LogEnd => self.log.log_end_offset(),
        }
    }

    /// Appends batches as the leader. Where the topic asks for durable acknowledgements the records are
    /// neither to be acknowledged nor visible before the returned receiver says that they are durable: they share a sync
    /// with everything else that waits in the log directory.
    pub fn append_committed(
        self: &Arc<Self>,
        records: &[u8],
        options: &AppendOptions,
    ) -> Result<(AppendInfo, Option<Commit>), LogError> {
        if self.is_gone() {
            return Err(LogError::Closed { partition: self.log.partition().clone() });
        }
        let before = self.log.last_stable_offset();
        let options = AppendOptions { defer_commit: true, ..*options };
        let info = self.log.append_as_leader(records, &options)?;
        if !info.commit_due {
            self.appended(&info, before);
            return Ok((info, None));
        }
        let (done, commit) = oneshot::channel();
        let partition = Arc::clone(self);
        let committed = move |result: Result<(), LogError>| {
            if result.is_ok() {
                // What others had made stable since the append is none of it.
                partition.appended(&info, partition.log.last_stable_offset());
            }
            // A connection that is closed waits for nothing.
            let _ = done.send(result);
        };
        self.log.dir_state().committer().submit(&self.log, info.last_offset + 1, Some(Box::new(committed)));
        Ok((info, Some(commit)))
    }

    /// Lets readers see what was appended.
    fn appended(&self, info: &AppendInfo, last_stable_before: i64) {
        let committer = self.log.dir_state().committer();
        if info.flush_due && committer.is_running() {
            committer.submit(&self.log, info.last_offset + 1, None);
        } else if info.writeback_due {
            committer.submit_writeback(&self.log);
        }
        if info.duplicate || info.size == 0 {
            return;
        }
        let high_watermark_before = self.log.high_watermark();
        self.log.maybe_increment_high_watermark(info.last_offset + 1);
        // The first of several appends that shared a sync shows the records of all of them.
        let shown = (self.log.high_watermark() - high_watermark_before).max(info.record_count);
        // A marker can make stable what was appended long before: then everybody looks.
        let stable_jumped = self.log.last_stable_offset() - last_stable_before > shown;
        self.announce(if stable_jumped { usize::MAX >> 1 } else { info.size });
    }

    /// Appends a batch that a coordinator built; see [`Partition::append_committed`].
    pub fn append_coordinator(
        self: &Arc<Self>,
        batch: bytes::Bytes,
        now_ms: i64,
        verification_guard: VerificationGuard,
    ) -> Result<Option<Commit>, LogError> {
        let options = AppendOptions {
            verification_guard,
            ..AppendOptions::new(AppendOrigin::Coordinator, self.leader_epoch(), now_ms)
        };
        self.append_committed(&batch, &options).map(|(_, commit)| commit)
    }

    /// Appends the end of a transaction; see [`Partition::append_committed`].
    pub fn append_marker(
        self: &Arc<Self>,
        now_ms: i64,
        producer_id: i64,
        producer_epoch: i16,
        marker: EndTxnMarker,
        transaction_version: i16,
    ) -> Result<Option<Commit>, LogError> {
        let epoch = self.leader_epoch();
        let batch = marker.batch(0, now_ms, epoch, producer_id, producer_epoch);
        let options = AppendOptions {
            transaction_version,
            ..AppendOptions::new(AppendOrigin::Coordinator, epoch, now_ms)
        };
        self.append_committed(&batch, &options).map(|(_, commit)| commit)
    }

    pub fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        isolation: FetchIsolation,
        min_one: bool,
    ) -> Result<ReadResult, LogError> {
        self.log.read(offset, max_bytes, isolation, min_one)
    }

    /// As [`Partition::read`]; none where that would wait for the disk.
    pub fn read_cached(
        &self,
        offset: i64,
        max_bytes: usize,
        isolation: FetchIsolation,
        min_one: bool,
    ) -> Result<Option<ReadResult>, LogError> {
        self.log.read_cached(offset, max_bytes, isolation, min_one)
    }

    /// Reads about `bytes` of whole batches into memory, from the batch that holds `offset` on.
    pub fn read_chunk(&self, offset: i64, bytes: usize) -> Result<Vec<u8>, ReadError> {
        let read = self.log.read(offset, bytes.max(NO_LIMIT_BELOW), FetchIsolation::LogEnd, true)?;
        Ok(read.slice.to_vec()?)
    }

    /// Registers a waiter until the returned value is dropped.
    pub fn watch(self: &Arc<Self>, waiter: &Arc<FetchWaiter>) -> Watch {
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        waiters.push(Arc::clone(waiter));
        self.waiting.store(waiters.len(), Ordering::Release);
        Watch { partition: Arc::clone(self), waiter: Arc::clone(waiter) }
    }

    fn announce(&self, bytes: usize) {
        if self.waiting.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        waiters.retain(|w| !w.arrived(bytes));
        self.waiting.store(waiters.len(), Ordering::Release);
    }
}

/// The registration of a waiter at one partition.
pub struct Watch {
    partition: Arc<Partition>,
    waiter: Arc<FetchWaiter>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut waiters = self.partition.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        waiters.retain(|w| !Arc::ptr_eq(w, &self.waiter));
        self.partition.waiting.store(waiters.len(), Ordering::Release);
    }
}

/// A fetch that waits for bytes in any of several partitions.
#[derive(Debug)]
pub struct FetchWaiter {
    missing: AtomicI64,
    notify: Notify,
}

impl FetchWaiter {
    pub fn new(missing_bytes: usize) -> Arc<FetchWaiter> {
        let missing = missing_bytes.min(i64::MAX as usize) as i64;
        Arc::new(FetchWaiter { missing: AtomicI64::new(missing), notify: Notify::new() })
    }

    /// Completes once as many bytes as were missing have become readable.
    pub async fn enough(&self) {
        self.notify.notified().await;
    }

    fn wake(&self) {
        self.notify.notify_one();
    }

    fn arrived(&self, bytes: usize) -> bool {
        let bytes = bytes as i64;
        let enough = self.missing.fetch_sub(bytes, Ordering::AcqRel) <= bytes;
        if enough {
            self.wake();
        }
        enough
    }
}

/// The codec that a coordinator's batches are written with: that of its topic.
pub fn compression_of(partition: &Partition) -> Compression {
    match partition.log.config().compression_type {
        CompressionType::Producer => Compression::NONE,
        CompressionType::Codec(codec) => partition.log.config().target_compression(codec),
    }
}
