//! Opening and closing a log.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use arc_swap::ArcSwap;
use ottla_protocol::types::Uuid;

use super::offsets::{LogOffsetMetadata, Marks};
use super::recovery::{Loader, RecoveryError, rebuild_producers};
use super::{Log, TopicPartition, Writer};
use crate::checkpoint::LeaderEpochCache;
use crate::config::LogConfig;
use crate::dirs::{DirState, PartitionMetadata};
use crate::disk::Disk;
use crate::error::LogError;
use crate::mutation::{self, Mutation};
use crate::producer_state::Producers;
use crate::segment::Segment;
use crate::segment::names::DELETED_SUFFIX;

/// `producer.id.expiration.ms` by default: a day.
pub const DEFAULT_PRODUCER_ID_EXPIRATION_MS: i64 = 86_400_000;

/// What a log is opened with.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Topic and partition.
    pub partition: TopicPartition,
    /// The partition's directory; it is made when it is not there.
    pub dir: PathBuf,
    /// The topic's settings.
    pub config: LogConfig,
    /// The topic's id, to be noted in a new directory.
    pub topic_id: Option<Uuid>,
    /// From `log-start-offset-checkpoint`, or 0.
    pub log_start_offset: i64,
    /// From `recovery-point-offset-checkpoint`, or 0.
    pub recovery_point: i64,
    /// Whether the directory was closed in order, so that nothing needs recovery.
    pub had_clean_shutdown: bool,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i64,
    /// `transaction.partition.verification.enable`.
    pub transaction_verification: bool,
    /// Wall clock, milliseconds since the epoch.
    pub now_ms: i64,
}

impl LogOptions {
    /// The options of a new, empty log.
    pub fn new(partition: TopicPartition, dir: PathBuf, now_ms: i64) -> Self {
        LogOptions {
            partition,
            dir,
            config: LogConfig::default(),
            topic_id: None,
            log_start_offset: 0,
            recovery_point: 0,
            had_clean_shutdown: true,
            producer_id_expiration_ms: DEFAULT_PRODUCER_ID_EXPIRATION_MS,
            transaction_verification: true,
            now_ms,
        }
    }
}

impl Log {
    /// Opens a log, bringing it back to a sound state first: interrupted renames are finished; without a clean stop,
    /// segments from the recovery point on are scanned and cut at the first bad batch, and their indexes are built
    /// anew; producer state is loaded from the newest snapshot and the log behind it. The high watermark starts at
    /// the log's start.
    ///
    /// # Errors
    /// The disk; the directory is then offline unless it is only full.
    pub fn open(
        disk: &Arc<dyn Disk>,
        dir_state: &Arc<DirState>,
        options: LogOptions,
    ) -> Result<Arc<Log>, LogError> {
        let partition = options.partition.clone();
        Self::load(disk, dir_state, options).map_err(|error| {
            let source = error.into_io();
            if !crate::error::is_shortage(&source) {
                dir_state.fail("Error while loading log", &source);
            }
            LogError::Storage {
                operation: "Error while loading log",
                partition,
                dir: dir_state.path().to_path_buf(),
                source,
            }
        })
    }

    fn load(
        disk: &Arc<dyn Disk>,
        dir_state: &Arc<DirState>,
        options: LogOptions,
    ) -> Result<Arc<Log>, RecoveryError> {
        let LogOptions { partition, dir, config, now_ms, .. } = options;
        // A new directory is made durable by the first flush: thousands of topics are not to wait for the disk one by one.
        let is_new = disk.metadata(&dir)?.is_none();
        if is_new {
            disk.create_dir_all(&dir)?;
        }
        let known_id = PartitionMetadata::read(&**disk, &dir)?.map(|metadata| metadata.topic_id);
        let topic_id = match (known_id, options.topic_id) {
            (Some(known), Some(given)) if known != given => {
                let text = format!(
                    "Tried to assign topic ID {given} to log for topic partition {partition}, but log already \
                     contained topic ID {known}"
                );
                return Err(RecoveryError::Log(LogError::InvalidArgument { text }));
            }
            (None, Some(given)) if !given.is_zero() => {
                let metadata = PartitionMetadata { topic_id: given };
                if is_new {
                    metadata.write_first(&**disk, &dir)?
                } else {
                    metadata.write(&**disk, &dir)?
                }
                Some(given)
            }
            (known, _) => known,
        };

        let mut loader = Loader {
            disk,
            memory: dir_state.index_memory(),
            dir: &dir,
            partition: &partition,
            config: &config,
            expiration_ms: options.producer_id_expiration_ms,
            log_start_offset: options.log_start_offset,
            now_ms,
        };
        loader.finish_interrupted()?;
        let mut epochs = LeaderEpochCache::open(Arc::clone(disk), &dir)?;
        let (mut segments, without_indexes) = loader.load_segments()?;
        if let Some(first) = segments.first() {
            // Producer snapshots from before the first segment know nothing of what lay between.
            loader.log_start_offset = loader.log_start_offset.max(first.base_offset());
        }
        // From where on everything is scanned. What is not scanned was durable, so that nothing is wrong but indexes.
        let from = if options.had_clean_shutdown {
            segments.len()
        } else {
            segments
                .partition_point(|segment| segment.base_offset() <= options.recovery_point)
                .saturating_sub(1)
        };
        let noted = epochs.entries().to_vec();
        let mut snapshots_hold = options.had_clean_shutdown;
        for index in without_indexes.into_iter().filter(|index| *index < from) {
            let (before, rest) = segments.split_at(index);
            loader.rebuild_indexes(&rest[0], before, &mut epochs)?;
            snapshots_hold = false;
        }
        if epochs.entries() != noted {
            epochs.persist()?;
        }
        if !options.had_clean_shutdown {
            // What the scanned segments say of epochs takes the place of what was noted: records whose deletion was
            // not durable have come back without their epochs.
            if let Some(first) = segments.get(from) {
                epochs.forget_from(first.base_offset());
            }
            for index in from..segments.len() {
                let (before, rest) = segments.split_at(index);
                let cut = loader.recover_segment(&rest[0], before, &mut epochs)?;
                // A segment may end before the next begins: compaction took its last batches, perhaps long ago, or a
                // power cut took the end of a closed segment that was not durable. Nothing in the files tells the two
                // apart, and what is behind the gap is good: it stays, as in Kafka (docs/decisions/0007).
                if cut.bytes == 0
                    && !config.cleanup_policy.compact
                    && let Some(next) = segments.get(index + 1)
                    && let end = segments[index].read_next_offset()?
                    && end != next.base_offset()
                {
                    tracing::warn!(
                        %partition,
                        from = end,
                        to = next.base_offset(),
                        "no records between two segments: they were compacted away, or lost before they were durable"
                    );
                }
                if cut.bytes > 0 && !mutation::on(Mutation::LaterSegmentsKept) {
                    let segment = segments[index].base_offset();
                    if cut.was_runway && index + 1 == segments.len() {
                        tracing::info!(%partition, segment, bytes = cut.bytes, "zeros written ahead are cut off");
                    } else {
                        tracing::warn!(%partition, segment, bytes = cut.bytes, "corruption found, the log ends here");
                    }
                    let removed = segments.split_off(index + 1);
                    Self::remove_now(&**disk, &removed)?;
                    // They must not come back between the records that take their place.
                    disk.fsync_dir(&dir)?;
                    break;
                }
            }
            epochs.persist_later();
        }

        let mut next_offset = None;
        if let Some((last, before)) = segments.split_last() {
            let end = match last.read_next_offset() {
                // An index that leads astray is built anew; a log that is damaged itself is not cut after a clean stop.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    if last.scan_to_end()?.is_none() {
                        return Err(error.into());
                    }
                    tracing::warn!(%partition, segment = last.base_offset(), %error, "building the indexes anew");
                    loader.rebuild_indexes(last, before, &mut epochs)?;
                    snapshots_hold = false;
                    last.read_next_offset()?
                }
                other => other?,
            };
            if end >= options.log_start_offset {
                next_offset = Some(end);
            } else {
                tracing::warn!(
                    %partition,
                    end,
                    log_start_offset = options.log_start_offset,
                    "the log ends before its start; deleting all segments"
                );
                Self::remove_now(&**disk, &segments)?;
                disk.fsync_dir(&dir)?;
                segments.clear();
                epochs.clear()?;
                Producers::open(Arc::clone(disk), &dir, options.producer_id_expiration_ms)?
                    .truncate_fully_and_start_at(options.log_start_offset)?;
            }
        }
        if segments.is_empty() {
            let memory = dir_state.index_memory();
            let start = options.log_start_offset;
            segments.push(Self::create_segment(disk, memory, &dir, start, &config, now_ms)?);
            if options.log_start_offset > 0 {
                // The segment's name is from now on what says where the log starts.
                disk.fsync_dir(&dir)?;
            }
        }
        let active = Arc::clone(&segments[segments.len() - 1]);
        active.activate(&config)?;
        let end = match next_offset {
            Some(end) => end,
            None => active.read_next_offset()?,
        };
        let recovery_point = match next_offset {
            Some(end) if options.had_clean_shutdown => end,
            _ => options.recovery_point.min(end),
        };
        epochs.truncate_from_end(end)?;
        let log_start_offset = options.log_start_offset.max(segments[0].base_offset());
        epochs.truncate_from_start(options.log_start_offset)?;

        let mut producers = Producers::open(Arc::clone(disk), &dir, options.producer_id_expiration_ms)?;
        let base_offsets: Vec<i64> = segments.iter().map(|segment| segment.base_offset()).collect();
        producers.remove_stray_snapshots(&base_offsets)?;
        rebuild_producers(
            &mut producers,
            &segments,
            log_start_offset,
            end,
            snapshots_hold,
            now_ms,
            &partition,
        )?;
        if !snapshots_hold {
            producers.snapshot_may_not_be_durable();
        }

        let end_mark = LogOffsetMetadata {
            offset: end,
            segment_base_offset: active.base_offset(),
            position: active.size() as i64,
        };
        let start_mark =
            if log_start_offset == end { end_mark } else { LogOffsetMetadata::offset_only(log_start_offset) };
        let log = Arc::new(Log {
            partition,
            disk: Arc::clone(disk),
            dir_state: Arc::clone(dir_state),
            dir: RwLock::new(dir),
            topic_id: RwLock::new(topic_id),
            config: ArcSwap::from_pointee(config),
            segments: ArcSwap::from_pointee(vec![active]),
            writer: Mutex::new(Writer { producers }),
            structure: Mutex::new(()),
            truncations: AtomicU64::new(0),
            epochs: RwLock::new(epochs),
            marks: RwLock::new(Marks { end: end_mark, high_watermark: start_mark, first_unstable: None }),
            log_start_offset: AtomicI64::new(log_start_offset),
            log_end_offset: AtomicI64::new(end),
            high_watermark: AtomicI64::new(log_start_offset),
            last_stable_offset: AtomicI64::new(log_start_offset),
            recovery_point: AtomicI64::new(recovery_point),
            last_flush_ms: AtomicI64::new(now_ms),
            // A recovery point is noted only after a flush, which made the directory durable.
            dir_is_durable: AtomicBool::new(!is_new && options.recovery_point > 0),
            appended_bytes: AtomicU64::new(0),
            flushed_bytes: AtomicU64::new(0),
            writeback_bytes: AtomicU64::new(0),
            flush_asked: AtomicBool::new(false),
            closed_size: AtomicU64::new(0),
            flush_lock: Mutex::new(()),
            pending_deletes: Mutex::new(Vec::new()),
            closed: AtomicBool::new(false),
            transaction_verification: AtomicBool::new(options.transaction_verification),
        });
        log.set_segments(segments);
        log.publish_last_stable_offset(&log.writer());
        Ok(log)
    }

    /// Removes segments of which recovery found that they are behind the end.
    fn remove_now(disk: &dyn Disk, segments: &[Arc<Segment>]) -> io::Result<()> {
        for segment in segments {
            for path in segment.files() {
                let mut name = path.file_name().unwrap_or_default().to_os_string();
                name.push(DELETED_SUFFIX);
                let renamed = path.with_file_name(name);
                if disk.metadata(&path)?.is_some() {
                    disk.rename(&path, &renamed)?;
                    disk.remove_file(&renamed)?;
                }
            }
        }
        Ok(())
    }

    /// Notes the topic's id in a log that has none.
    ///
    /// # Errors
    /// Another id; the disk.
    pub fn assign_topic_id(&self, topic_id: Uuid) -> Result<(), LogError> {
        let mut known = self.topic_id.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        match *known {
            Some(id) if id == topic_id => Ok(()),
            Some(id) => Err(LogError::InvalidArgument {
                text: format!(
                    "Tried to assign topic ID {topic_id} to log for topic partition {}, but log already contained \
                     topic ID {id}",
                    self.partition
                ),
            }),
            None => {
                PartitionMetadata { topic_id }
                    .write(&*self.disk, &self.dir())
                    .map_err(|error| self.storage_error("Error while writing partition metadata", error))?;
                *known = Some(topic_id);
                Ok(())
            }
        }
    }

    /// Closes the log in order: producer snapshot at its end, everything durable, indexes trimmed. Appends and reads
    /// fail from now on; slices that readers hold stay readable.
    ///
    /// # Errors
    /// The disk.
    pub fn close(&self, now_ms: i64) -> Result<(), LogError> {
        if self.closed.load(Ordering::Acquire) {
            return Ok(());
        }
        self.check_open()?;
        let error = |error| self.storage_error("Error while closing log", error);
        let mut writer = self.writer();
        writer.producers.take_snapshot(true).map_err(error)?;
        self.epochs_mut().persist_below(self.log_end_offset()).map_err(error)?;
        self.flush(now_ms)?;
        // The closed segments are trimmed and durable; only the active one is left to close.
        self.active_segment().close().map_err(error)?;
        // The snapshot and a first transaction index are new files.
        self.disk.fsync_dir(&self.dir()).map_err(error)?;
        self.closed.store(true, Ordering::Release);
        Ok(())
    }

    /// Closes the log without writing anything: it is about to be deleted, or its directory is offline.
    pub fn abandon(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Lets appends fail from now on, as after [`Log::abandon`], once the one that is under way is done.
    pub(crate) fn freeze(&self) {
        let _writer = self.writer();
        self.closed.store(true, Ordering::Release);
    }

    /// Takes a [`Log::freeze`] back.
    pub(crate) fn thaw(&self) {
        self.closed.store(false, Ordering::Release);
    }

    /// Moves the log's directory, which is then no longer to be appended to.
    ///
    /// # Errors
    /// The disk.
    pub(crate) fn rename_dir(&self, to: PathBuf) -> Result<(), LogError> {
        self.abandon();
        let _structure = self.structure();
        let _writer = self.writer();
        // One that is under way has to find the directory under its name.
        let _no_flush = self.flush_lock.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // Readers may still hold the log, look for its indexes while it is renamed, and find those of another of the name.
        self.segments.load().iter().for_each(|segment| segment.orphan_indexes());
        let mut dir = self.dir.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        self.disk
            .rename(&dir, &to)
            .and_then(|()| match to.parent() {
                Some(parent) if !mutation::on(Mutation::DeleteNotSynced) => self.disk.fsync_dir(parent),
                _ => Ok(()),
            })
            .map_err(|error| self.storage_error("Error while renaming dir", error))?;
        *dir = to;
        Ok(())
    }
}
