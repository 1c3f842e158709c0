//! The log of one partition.
//!
//! One lock for appends; readers take no lock that is held while the disk works. Offsets are published as atomics
//! after the bytes are written.
//!
//! Source: Kafka `UnifiedLog`, `LocalLog`, `LogLoader`.

mod append;
mod delete;
mod lookup;
mod offsets;
mod open;
mod partition;
mod producers;
mod read;
mod recovery;
mod replace;
mod roll;
mod truncate;

pub(crate) use append::Incoming;
pub use append::{AppendInfo, AppendOptions};
pub use delete::SegmentDeletion;
pub use lookup::OffsetAndEpoch;
pub use offsets::LogOffsetMetadata;
pub use open::{DEFAULT_PRODUCER_ID_EXPIRATION_MS, LogOptions};
pub use partition::TopicPartition;
pub use producers::ActiveProducer;
pub use read::{AbortedTransaction, FetchIsolation, ReadResult};
pub(crate) use replace::{Cleaned, Snapshot};

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arc_swap::ArcSwap;
use ottla_protocol::records::{
    DEFAULT_DECOMPRESSION_BUDGET_BYTES, DEFAULT_MAX_RECORD_BYTES, RecordsError, Scratch,
};
use ottla_protocol::types::Uuid;

use crate::checkpoint::LeaderEpochCache;
use crate::config::LogConfig;
use crate::dirs::DirState;
use crate::disk::Disk;
use crate::error::{CorruptFile, LogError, is_shortage};
use crate::mutation::{self, Mutation};
use crate::producer_state::Producers;
use crate::segment::Segment;
use offsets::Marks;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
}

/// Lends the thread's decompression buffer.
pub(crate) fn with_scratch<R>(f: impl FnOnce(&mut Scratch) -> R) -> R {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => {
            // The last user may have had a topic with limits of its own.
            scratch.set_max_record_bytes(DEFAULT_MAX_RECORD_BYTES);
            scratch.set_budget(DEFAULT_DECOMPRESSION_BUDGET_BYTES);
            let result = f(&mut scratch);
            scratch.trim();
            result
        }
        Err(_) => f(&mut Scratch::default()),
    })
}

/// The log of one partition. Every method may be called from any thread.
#[derive(Debug)]
pub struct Log {
    partition: TopicPartition,
    disk: Arc<dyn Disk>,
    dir_state: Arc<DirState>,
    /// The partition's own directory; it changes when the partition is deleted.
    dir: RwLock<PathBuf>,
    topic_id: RwLock<Option<Uuid>>,
    config: ArcSwap<LogConfig>,
    /// Ascending by base offset, never empty.
    segments: ArcSwap<Vec<Arc<Segment>>>,
    /// What appends change besides segments. Held for the length of an append.
    writer: Mutex<Writer>,
    /// Held by whoever removes or replaces segments or their directory; taken before `writer`. Appends do not take it.
    structure: Mutex<()>,
    /// How often the end was taken back; changes with `structure` held.
    truncations: AtomicU64,
    epochs: RwLock<LeaderEpochCache>,
    marks: RwLock<Marks>,
    log_start_offset: AtomicI64,
    log_end_offset: AtomicI64,
    high_watermark: AtomicI64,
    last_stable_offset: AtomicI64,
    recovery_point: AtomicI64,
    last_flush_ms: AtomicI64,
    /// Whether the directory and what names it are durable.
    dir_is_durable: AtomicBool,
    /// Bytes that were ever appended, and how many of them are durable; only the difference has a meaning.
    appended_bytes: AtomicU64,
    flushed_bytes: AtomicU64,
    /// [`Log::appended_bytes`] when the device was last told to begin writing.
    writeback_bytes: AtomicU64,
    /// Somebody was asked to make the log durable because too many bytes are not.
    flush_asked: AtomicBool,
    /// Bytes of all segments but the active one.
    closed_size: AtomicU64,
    /// One flush at a time.
    flush_lock: Mutex<()>,
    /// Renamed files that wait for their removal.
    pending_deletes: Mutex<Vec<PendingDelete>>,
    closed: AtomicBool,
    transaction_verification: AtomicBool,
}

#[derive(Debug)]
struct Writer {
    producers: Producers,
}

#[derive(Debug)]
struct PendingDelete {
    due_ms: i64,
    path: PathBuf,
}

impl Log {
    /// Topic and partition.
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// The partition's directory.
    pub fn dir(&self) -> PathBuf {
        self.dir.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// The log directory that it is in.
    pub fn dir_state(&self) -> &Arc<DirState> {
        &self.dir_state
    }

    /// The topic's id, when `partition.metadata` says it.
    pub fn topic_id(&self) -> Option<Uuid> {
        *self.topic_id.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The settings in force.
    pub fn config(&self) -> Arc<LogConfig> {
        self.config.load_full()
    }

    /// Puts other settings in force, for what follows.
    pub fn update_config(&self, config: LogConfig) {
        self.config.store(Arc::new(config));
    }

    /// First offset that may be read.
    pub fn log_start_offset(&self) -> i64 {
        self.log_start_offset.load(Ordering::Acquire)
    }

    /// Offset of the next record.
    pub fn log_end_offset(&self) -> i64 {
        self.log_end_offset.load(Ordering::Acquire)
    }

    /// Offset up to which every in-sync replica has the records.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark.load(Ordering::Acquire)
    }

    /// Offset up to which no transaction is open; never above the high watermark.
    pub fn last_stable_offset(&self) -> i64 {
        self.last_stable_offset.load(Ordering::Acquire)
    }

    /// Offset up to which the log is durable.
    pub fn recovery_point(&self) -> i64 {
        self.recovery_point.load(Ordering::Acquire)
    }

    /// The recovery point as it may be noted in the checkpoint. At the end of the active segment it stays before the
    /// last record: should the segment be closed there, its indexes are durable later than its records, and recovery
    /// has to begin in it.
    pub fn recovery_point_to_note(&self) -> i64 {
        let point = self.recovery_point();
        let active = self.active_segment().base_offset();
        if point > active && !mutation::on(Mutation::UnevenRecoveryPoint) {
            (point - 1).max(active)
        } else {
            point
        }
    }

    /// Bytes that are written and, as far as is known, not durable.
    pub fn unflushed_bytes(&self) -> u64 {
        let flushed = self.flushed_bytes.load(Ordering::Relaxed);
        self.appended_bytes.load(Ordering::Relaxed).saturating_sub(flushed)
    }

    /// What is said of a log in a directory that failed.
    pub(crate) fn offline_error(&self) -> LogError {
        LogError::DirOffline { dir: self.dir_state.path().to_path_buf() }
    }

    /// Takes the recovery point back before a truncation.
    pub(crate) fn lower_recovery_point(&self, offset: i64) {
        self.recovery_point.fetch_min(offset, Ordering::AcqRel);
    }

    /// Bytes of all segments.
    pub fn size(&self) -> u64 {
        self.closed_size.load(Ordering::Relaxed) + self.active_segment().size()
    }

    /// Number of segments.
    pub fn segment_count(&self) -> usize {
        self.segments.load().len()
    }

    /// Base offset and bytes of each segment, ascending.
    pub fn segment_sizes(&self) -> Vec<(i64, u64)> {
        self.segments.load().iter().map(|segment| (segment.base_offset(), segment.size())).collect()
    }

    /// Position and start of the active segment's end, for progress counted in bytes.
    pub fn log_end_offset_metadata(&self) -> LogOffsetMetadata {
        self.marks().end
    }

    pub(crate) fn active_segment(&self) -> Arc<Segment> {
        let segments = self.segments.load();
        // Every change of the list leaves at least one segment in it.
        Arc::clone(segments.last().expect("a log has a segment"))
    }

    fn set_segments(&self, segments: Vec<Arc<Segment>>) {
        assert!(!segments.is_empty(), "a log has a segment");
        let closed = segments.iter().rev().skip(1).map(|segment| segment.size()).sum();
        self.closed_size.store(closed, Ordering::Relaxed);
        self.segments.store(Arc::new(segments));
    }

    fn marks(&self) -> RwLockReadGuard<'_, Marks> {
        self.marks.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn marks_mut(&self) -> RwLockWriteGuard<'_, Marks> {
        self.marks.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn epochs(&self) -> RwLockReadGuard<'_, LeaderEpochCache> {
        self.epochs.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn epochs_mut(&self) -> RwLockWriteGuard<'_, LeaderEpochCache> {
        self.epochs.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn structure(&self) -> MutexGuard<'_, ()> {
        self.structure.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Every segment, ascending by base offset.
    pub(crate) fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        self.segments.load_full()
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Whether the log was closed or deleted.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Fails when the directory is offline or the log is closed.
    fn check_open(&self) -> Result<(), LogError> {
        if self.dir_state.is_offline() {
            return Err(self.offline_error());
        }
        if self.closed.load(Ordering::Acquire) {
            return Err(LogError::Closed { partition: self.partition.clone() });
        }
        Ok(())
    }

    /// As [`Log::storage_error`], for what reads batches and indexes: damaged content is reported, once for each place,
    /// and fails nothing but what met it. Batches that pass a limit of the topic ([`RecordsError`]) are no damage.
    pub(crate) fn read_error(&self, operation: &'static str, source: io::Error) -> LogError {
        let source = match source.downcast::<RecordsError>() {
            Ok(error) => return LogError::Records(error),
            Err(source) => source,
        };
        if source.kind() != io::ErrorKind::InvalidData {
            return self.storage_error(operation, source);
        }
        let source = CorruptFile::from_io(source, &self.dir());
        self.dir_state.report_damage(&self.partition, &source);
        LogError::Damaged { operation, partition: self.partition.clone(), source }
    }

    /// Turns an error of the disk into one of the log. Unless the disk is only full, the directory goes offline.
    pub(crate) fn storage_error(&self, operation: &'static str, source: io::Error) -> LogError {
        if is_shortage(&source) {
            self.dir_state.note_full(operation, &source);
        } else if !mutation::on(Mutation::AppendAfterFailedWrite) {
            self.dir_state.fail(operation, &source);
        }
        LogError::Storage {
            operation,
            partition: self.partition.clone(),
            dir: self.dir_state.path().to_path_buf(),
            source,
        }
    }
}
