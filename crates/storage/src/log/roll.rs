//! Closing a segment and starting the next; making segments durable.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Log, Writer};
use crate::dirs::PartitionMetadata;
use crate::disk::OpenMode;
use crate::error::LogError;
use crate::mutation::{self, Mutation};
use crate::segment::Segment;

impl Log {
    /// Closes the active segment and starts a new one at the log's end.
    ///
    /// # Errors
    /// The disk.
    pub fn roll(&self, now_ms: i64) -> Result<(), LogError> {
        self.check_open()?;
        let mut writer = self.writer();
        self.roll_locked(&mut writer, None, now_ms)?;
        Ok(())
    }

    pub(super) fn roll_locked(
        &self,
        writer: &mut Writer,
        expected_next_offset: Option<i64>,
        now_ms: i64,
    ) -> Result<Arc<Segment>, LogError> {
        let error = |error| self.storage_error("Error while rolling log segment", error);
        let config = self.config.load();
        let log_end_offset = self.log_end_offset();
        let new_offset = expected_next_offset.unwrap_or(0).max(log_end_offset);
        let active = self.active_segment();
        if active.base_offset() == new_offset {
            // An empty segment whose index is full from the start; there is nothing to close.
            return Ok(active);
        }
        let dir = self.dir();
        // A power cut must not take the first segment and leave the second.
        self.make_dir_durable().map_err(error)?;
        // In this order a full disk leaves the active segment as it is.
        let segment = Self::create_segment(
            &self.disk,
            self.dir_state.index_memory(),
            &dir,
            new_offset,
            &config,
            now_ms,
        )
        .and_then(|segment| active.on_become_inactive().map(|()| segment));
        let segment = match segment {
            Ok(segment) => segment,
            Err(cause) => {
                // The log may go on in the active segment. Should this not be durable, the next start does it.
                for path in Segment::paths(&dir, new_offset, "") {
                    let _ = self.disk.remove_file(&path);
                }
                return Err(error(cause));
            }
        };
        let mut segments = self.segments.load().to_vec();
        segments.push(Arc::clone(&segment));
        self.set_segments(segments);
        self.publish_end(log_end_offset);
        // The closed segment's indexes were not synced with it: the recovery point stays in it until they are.
        self.recovery_point.fetch_min(log_end_offset - 1, Ordering::AcqRel);

        // A snapshot at the start of each segment lets recovery begin there. It is synced with the closed segment.
        writer.producers.set_map_end_offset(new_offset);
        writer.producers.take_snapshot(false).map_err(error)?;
        Ok(segment)
    }

    /// Makes the files of a new segment; left-overs of the same name go first.
    pub(super) fn create_segment(
        disk: &Arc<dyn crate::disk::Disk>,
        memory: &Arc<crate::index::IndexMemory>,
        dir: &std::path::Path,
        base_offset: i64,
        config: &crate::config::LogConfig,
        now_ms: i64,
    ) -> std::io::Result<Arc<Segment>> {
        use crate::segment::names;
        for suffix in
            [names::LOG_SUFFIX, names::INDEX_SUFFIX, names::TIME_INDEX_SUFFIX, names::TXN_INDEX_SUFFIX]
        {
            disk.remove_file(&names::file(dir, base_offset, suffix))?;
        }
        let segment = Segment::open(disk, memory, dir, base_offset, config, now_ms)?;
        segment.activate(config)?;
        Ok(Arc::new(segment))
    }

    /// Makes everything durable up to the log's end. Appends go on meanwhile.
    ///
    /// # Errors
    /// The disk; the directory is then offline, because nothing may be assumed about what is durable.
    pub fn flush(&self, now_ms: i64) -> Result<(), LogError> {
        self.flush_up_to(self.log_end_offset(), now_ms)
    }

    /// Writes the files that a flush of everything needs beside the segments. A full disk is then no trouble yet: what
    /// was appended is not lost, as it is when a sync fails.
    ///
    /// # Errors
    /// The disk.
    pub(crate) fn prepare_flush(&self) -> Result<(), LogError> {
        let end = self.log_end_offset();
        let noted = self.make_dir_durable().and_then(|()| self.epochs_mut().persist_below(end));
        noted.map_err(|error| self.storage_error("Error while flushing log", error))
    }

    /// Makes everything below `offset` durable.
    ///
    /// # Errors
    /// As [`Log::flush`].
    pub fn flush_up_to(&self, offset: i64, now_ms: i64) -> Result<(), LogError> {
        if offset <= self.recovery_point() {
            return Ok(());
        }
        let _one_at_a_time = self.flush_lock.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        self.check_open()?;
        let from = self.recovery_point();
        if offset <= from {
            return Ok(());
        }
        let error = |error| {
            // ENOSPC of a sync is no passing trouble: what was written may be lost.
            self.dir_state.fail("Error while flushing log", &error);
            self.storage_error("Error while flushing log", error)
        };
        self.make_dir_durable().map_err(error)?;
        self.epochs_mut().persist_below(offset).map_err(error)?;
        // Read first: what is appended meanwhile may be durable too, but does not count.
        let appended = self.appended_bytes.load(Ordering::Acquire);
        let reaches_end = offset >= self.log_end_offset();
        let segments = self.segments.load_full();
        let first = segments.partition_point(|segment| segment.base_offset() <= from).saturating_sub(1);
        let mut new_files = false;
        let active = segments.last().map_or(0, |segment| segment.base_offset());
        for segment in segments.iter().skip(first).take_while(|segment| segment.base_offset() < offset) {
            segment.flush(segment.base_offset() < active).map_err(error)?;
            // A closed segment brings the snapshot at its end, and perhaps a first transaction index.
            new_files |= segment.base_offset() >= from || segment.base_offset() < active;
        }
        if new_files {
            for segment in segments.iter().skip(first) {
                let snapshot = crate::segment::names::file(
                    &self.dir(),
                    segment.base_offset(),
                    crate::segment::names::SNAPSHOT_SUFFIX,
                );
                // Its segment may be deleted meanwhile; to open it for writing would make it anew.
                match self.disk.open(&snapshot, OpenMode::Read).and_then(|file| file.sync_all()) {
                    Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(error(cause)),
                    _ => {}
                }
            }
            if !mutation::on(Mutation::SkipParentFsync) {
                self.disk.fsync_dir(&self.dir()).map_err(error)?;
            }
        }
        // A truncation meanwhile may have taken back the end.
        let reached = offset.min(self.log_end_offset());
        self.recovery_point.fetch_max(reached, Ordering::AcqRel);
        if reaches_end {
            self.flushed_bytes.fetch_max(appended, Ordering::Relaxed);
        } else {
            // The closed segments are durable: what is left is at most the active one.
            let left = self.active_segment().size();
            self.flushed_bytes.fetch_max(appended.saturating_sub(left), Ordering::Relaxed);
        }
        self.flush_asked.store(false, Ordering::Relaxed);
        self.last_flush_ms.store(now_ms, Ordering::Relaxed);
        Ok(())
    }

    /// Has the device begin to write what was appended to the active segment. A sync that has hundreds of megabytes to
    /// write keeps the device's queue full, and appends wait for pages that it has locked: tens of milliseconds.
    pub fn start_writeback(&self) {
        self.active_segment().start_writeback();
    }

    /// Once for each log that is new: its directory, and the id of its topic.
    pub(super) fn make_dir_durable(&self) -> io::Result<()> {
        if self.is_dir_durable() {
            return Ok(());
        }
        self.sync_dir()?;
        if let Some(parent) = self.dir().parent()
            && !mutation::on(Mutation::SkipPartitionDirFsync)
        {
            self.disk.fsync_dir(parent)?;
        }
        self.dir_is_durable.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether a power cut leaves the directory of the log.
    pub(crate) fn is_dir_durable(&self) -> bool {
        self.dir_is_durable.load(Ordering::Acquire)
    }

    /// Makes what is in the directory durable, its files' names and the topic's id; the directory's own name is its
    /// parent's matter, which several logs share.
    pub(crate) fn sync_dir(&self) -> io::Result<()> {
        let topic_id = self.topic_id();
        // Held, so that the directory of another log cannot take its place meanwhile.
        let dir = self.dir.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        match topic_id {
            Some(topic_id) => PartitionMetadata { topic_id }.write(&*self.disk, &dir),
            None => self.disk.fsync_dir(&dir),
        }
    }

    /// The parent was synced after [`Log::sync_dir`].
    pub(crate) fn dir_was_made_durable(&self) {
        self.dir_is_durable.store(true, Ordering::Release);
    }

    /// Records that are not durable.
    pub fn unflushed_messages(&self) -> i64 {
        self.log_end_offset() - self.recovery_point()
    }

    /// When the log was last made durable, milliseconds since the epoch.
    pub fn last_flush_ms(&self) -> i64 {
        self.last_flush_ms.load(Ordering::Relaxed)
    }
}
