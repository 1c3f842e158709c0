//! The files of `__cluster_metadata-0`: log, snapshots and `quorum-state`, as the quorum's core needs them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use ottla_metadata::config::StaticConfig;
use ottla_protocol::types::Uuid;
use ottla_raft::{LogView, OffsetAndEpoch, SnapshotId};
use ottla_storage::dirs::DirState;
use ottla_storage::disk::{Disk, FetchSlice};
use ottla_storage::kraft::{self, SnapshotFiles};
use ottla_storage::log::{AppendOptions, FetchIsolation, LogOptions};
use ottla_storage::producer_state::AppendOrigin;
use ottla_storage::{CleanupPolicy, Log, LogConfig, LogError, TopicPartition};

use crate::state::wall_clock_ms;

pub const METADATA_TOPIC: &str = "__cluster_metadata";
/// A snapshot that is larger than this is refused.
const MAX_SNAPSHOT_BYTES: u64 = 4 << 30;
const MAX_QUORUM_STATE_BYTES: u64 = 1 << 20;
/// No batch is larger (8 MiB), and a reader always gets whole batches.
const READ_BYTES: usize = 1 << 20;

pub struct MetadataLog {
    log: Arc<Log>,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    snapshots: SnapshotFiles,
    known: RwLock<Vec<kraft::SnapshotId>>,
}

/// Why the metadata log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MetadataLogError {
    #[error("the metadata log: {0}")]
    Log(#[from] LogError),
    #[error("the metadata log in {dir}: {source}", dir = .dir.display())]
    Io { dir: PathBuf, source: io::Error },
}

impl MetadataLog {
    /// Opens or makes the log below `metadata_dir`.
    pub fn open(
        disk: Arc<dyn Disk>,
        metadata_dir: &Path,
        config: &StaticConfig,
    ) -> Result<Self, MetadataLogError> {
        let dir = metadata_dir.join(format!("{METADATA_TOPIC}-0"));
        let partition = TopicPartition::new(METADATA_TOPIC, 0);
        let io_error = |source| MetadataLogError::Io { dir: dir.clone(), source };
        let snapshots = SnapshotFiles::new(Arc::clone(&disk), &dir);
        disk.create_dir_all(&dir).map_err(io_error)?;
        let known = snapshots.list().map_err(io_error)?;
        let newest = known.last().copied();
        let mut options = LogOptions::new(partition, dir.clone(), wall_clock_ms());
        options.config = LogConfig {
            segment_bytes: config.get_int("metadata.log.segment.bytes").max(1) as u32,
            segment_ms: config.get_long("metadata.log.segment.ms"),
            // What is not in a snapshot is never deleted; the quorum decides, not a clock.
            retention_ms: -1,
            retention_bytes: -1,
            cleanup_policy: CleanupPolicy { delete: true, compact: false },
            max_message_bytes: 8 * 1024 * 1024,
            message_timestamp_after_max_ms: i64::MAX,
            ..LogConfig::default()
        };
        options.topic_id = Some(Uuid::ONE);
        // The log is small and must be right: it is checked from its start at every opening.
        options.had_clean_shutdown = false;
        let state = Arc::new(DirState::new(metadata_dir.to_path_buf()));
        let log = Log::open(&disk, &state, options)?;
        let this = MetadataLog { log, disk, dir, snapshots, known: RwLock::new(known) };
        // A log that ends before the newest snapshot was lost: it starts again behind it.
        if let Some(newest) = newest
            && this.log.log_end_offset() < newest.end_offset
        {
            this.log.truncate_fully_and_start_at(newest.end_offset, None, wall_clock_ms())?;
        }
        if let Some(oldest) = this.earliest_snapshot()
            && oldest.offset > this.log.log_start_offset()
        {
            this.log.update_high_watermark(this.log.log_end_offset());
            let _ = this.log.maybe_increment_log_start_offset(oldest.offset);
        }
        Ok(this)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Appends batches whose offsets and epochs the leader has assigned, durably.
    pub fn append_as_leader(&self, batches: &[u8], epoch: i32) -> Result<(), LogError> {
        let options = AppendOptions::new(AppendOrigin::RaftLeader, epoch, wall_clock_ms());
        self.log.append_as_leader(batches, &options)?;
        self.log.flush(wall_clock_ms())
    }

    /// Appends batches that were fetched from the leader. An observer's copy counts for nobody's majority, so that it
    /// need not be durable before it is used.
    pub fn append_as_follower(&self, batches: &[u8], epoch: i32, durable: bool) -> Result<(), LogError> {
        self.log.append_as_follower(batches, epoch, wall_clock_ms())?;
        if durable { self.log.flush(wall_clock_ms()) } else { Ok(()) }
    }

    pub fn truncate_to(&self, offset: i64) -> Result<(), LogError> {
        self.log.truncate_to(offset, wall_clock_ms()).map(|_| ())
    }

    /// Throws the log away; it goes on behind a snapshot.
    pub fn start_after_snapshot(&self, id: SnapshotId) -> Result<(), MetadataLogError> {
        self.log.truncate_fully_and_start_at(id.offset, None, wall_clock_ms())?;
        self.refresh()
    }

    pub fn set_high_watermark(&self, offset: i64) {
        self.log.update_high_watermark(offset);
    }

    /// Whole batches from `offset` on, up to the log's end; empty at the end.
    pub fn read(&self, offset: i64) -> Result<Vec<u8>, MetadataLogError> {
        let read = self.log.read(offset, READ_BYTES, FetchIsolation::LogEnd, true)?;
        read.slice.to_vec().map_err(|source| MetadataLogError::Io { dir: self.dir.clone(), source })
    }

    /// For a follower or observer: what it can have from `offset` on, without reading it.
    pub fn read_slice(&self, offset: i64, max_bytes: usize) -> Result<FetchSlice, LogError> {
        Ok(self.log.read(offset, max_bytes, FetchIsolation::LogEnd, true)?.slice)
    }

    pub fn read_snapshot(&self, id: SnapshotId) -> Result<Option<Vec<u8>>, MetadataLogError> {
        self.snapshots
            .read(kraft::SnapshotId { end_offset: id.offset, epoch: id.epoch }, MAX_SNAPSHOT_BYTES)
            .map_err(|source| MetadataLogError::Io { dir: self.dir.clone(), source })
    }

    pub fn open_snapshot(&self, id: SnapshotId) -> Option<FetchSlice> {
        self.snapshots.open(kraft::SnapshotId { end_offset: id.offset, epoch: id.epoch }).ok().flatten()
    }

    /// Writes a complete snapshot, durably.
    pub fn write_snapshot(&self, id: SnapshotId, bytes: &[u8]) -> Result<(), MetadataLogError> {
        let id = kraft::SnapshotId { end_offset: id.offset, epoch: id.epoch };
        let write = || {
            let mut writer = self.snapshots.create(id)?;
            writer.append(bytes)?;
            writer.freeze()
        };
        write().map_err(|source| MetadataLogError::Io { dir: self.dir.clone(), source })?;
        self.refresh()
    }

    pub fn delete_snapshot(&self, id: SnapshotId) -> Result<(), MetadataLogError> {
        self.snapshots
            .delete(kraft::SnapshotId { end_offset: id.offset, epoch: id.epoch })
            .map_err(|source| MetadataLogError::Io { dir: self.dir.clone(), source })?;
        self.refresh()
    }

    /// Drops the log up to an offset that a snapshot covers.
    pub fn delete_before(&self, offset: i64) -> Result<(), LogError> {
        self.log.maybe_increment_log_start_offset(offset)?;
        self.log.delete_old_segments(wall_clock_ms()).map(|_| ())
    }

    /// Snapshots with their sizes, oldest first.
    pub fn snapshots(&self) -> Vec<(SnapshotId, u64)> {
        self.known()
            .into_iter()
            .filter_map(|id| {
                let slice = self.snapshots.open(id).ok().flatten()?;
                Some((SnapshotId::new(id.end_offset, id.epoch), slice.len as u64))
            })
            .collect()
    }

    fn known(&self) -> Vec<kraft::SnapshotId> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn refresh(&self) -> Result<(), MetadataLogError> {
        let known =
            self.snapshots.list().map_err(|source| MetadataLogError::Io { dir: self.dir.clone(), source })?;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(())
    }

    pub fn read_quorum_state_text(&self) -> io::Result<Option<String>> {
        let bytes = self.disk.read(&self.dir.join(kraft::QUORUM_STATE_FILE), MAX_QUORUM_STATE_BYTES)?;
        bytes
            .map(|b| String::from_utf8(b).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e)))
            .transpose()
    }

    /// Replaces the file, durably.
    pub fn write_quorum_state_text(&self, json: &str) -> io::Result<()> {
        self.disk.write_atomic(&self.dir.join(kraft::QUORUM_STATE_FILE), json.as_bytes())
    }

    /// When a snapshot's file was written.
    pub fn snapshot_modified_ms(&self, id: SnapshotId) -> Option<i64> {
        let name = kraft::SnapshotId { end_offset: id.offset, epoch: id.epoch }.file_name();
        self.disk.metadata(&self.dir.join(name)).ok().flatten().map(|m| m.modified_ms)
    }

    pub fn maintain(&self) {
        if let Err(error) = self.log.maintain(wall_clock_ms()) {
            tracing::error!(%error, "maintenance of the metadata log");
        }
    }

    pub fn close(&self) {
        if let Err(error) = self.log.close(wall_clock_ms()) {
            tracing::error!(%error, "cannot close the metadata log");
        }
    }
}

impl LogView for MetadataLog {
    fn start_offset(&self) -> i64 {
        self.log.log_start_offset()
    }

    fn end(&self) -> OffsetAndEpoch {
        let epoch = self.log.latest_epoch().or_else(|| self.known().last().map(|s| s.epoch)).unwrap_or(0);
        OffsetAndEpoch::new(self.log.log_end_offset(), epoch)
    }

    fn flushed_offset(&self) -> i64 {
        self.log.recovery_point()
    }

    fn end_of_epoch(&self, epoch: i32) -> OffsetAndEpoch {
        let from_log =
            self.log.end_offset_for_epoch(epoch).filter(|e| e.offset >= self.log.log_start_offset());
        if let Some(end) = from_log {
            return OffsetAndEpoch::new(end.offset, end.leader_epoch);
        }
        // Before the log's start only the oldest snapshot says how far an epoch went.
        match self.earliest_snapshot() {
            Some(s) if s.offset == self.start_offset() && s.epoch <= epoch => s,
            _ => OffsetAndEpoch::new(self.start_offset(), 0),
        }
    }

    fn latest_snapshot(&self) -> Option<SnapshotId> {
        self.known().last().map(|s| SnapshotId::new(s.end_offset, s.epoch))
    }

    fn earliest_snapshot(&self) -> Option<SnapshotId> {
        self.known().first().map(|s| SnapshotId::new(s.end_offset, s.epoch))
    }

    fn snapshot_size(&self, id: SnapshotId) -> Option<u64> {
        self.open_snapshot(id).map(|s| s.len as u64)
    }
}
