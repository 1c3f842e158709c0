//! Bringing a log back: interrupted renames, segments that were not synced, producer state.
//!
//! Source: Kafka `LogLoader`, `UnifiedLog.rebuildProducerState`, `LogSegment.recover`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::records::{Batch, NO_TIMESTAMP, Scratch};

use super::offsets::LogOffsetMetadata;
use super::{TopicPartition, with_scratch};
use crate::checkpoint::LeaderEpochCache;
use crate::config::LogConfig;
use crate::disk::{DirEntry, Disk};
use crate::error::{CorruptFile, LogError};
use crate::index::{AbortedTxn, IndexFile, IndexMemory, OffsetIndex, TimestampOffset};
use crate::mutation::{self, Mutation};
use crate::producer_state::{AppendOrigin, Producers, TRANSACTION_VERSION_UNKNOWN};
use crate::segment::Segment;
use crate::segment::names::{self, CLEANED_SUFFIX, DELETED_SUFFIX, LOG_SUFFIX, SWAP_SUFFIX};
use crate::segment::runway::Runway;
use crate::segment::scan::{BATCH_CHUNK, Scan, ScanError};

/// Removal mark of a metadata snapshot, which is not ours to clean.
const CHECKPOINT_DELETED: &str = ".checkpoint.deleted";

/// Why recovery of a segment or of producer state stopped.
#[derive(Debug)]
pub(super) enum RecoveryError {
    Io(io::Error),
    Log(LogError),
}

impl From<io::Error> for RecoveryError {
    fn from(error: io::Error) -> Self {
        RecoveryError::Io(error)
    }
}

impl RecoveryError {
    pub(super) fn into_io(self) -> io::Error {
        match self {
            RecoveryError::Io(error) => error,
            RecoveryError::Log(error) => io::Error::new(io::ErrorKind::InvalidData, error),
        }
    }
}

/// Applies a batch of the log to the producers; its transaction's end goes to `on_abort`.
fn replay(
    producers: &mut Producers,
    batch: &Batch<'_>,
    partition: &TopicPartition,
    scratch: &mut Scratch,
    mut on_abort: impl FnMut(AbortedTxn) -> io::Result<()>,
) -> Result<(), RecoveryError> {
    let header = batch.header();
    if header.has_producer_id() {
        let mut append = producers.prepare(header.producer_id, AppendOrigin::Replication);
        let first = LogOffsetMetadata::offset_only(header.base_offset);
        let completed = append
            .append(batch, first, TRANSACTION_VERSION_UNKNOWN, partition, scratch)
            .map_err(RecoveryError::Log)?;
        producers.update(&append);
        if let Some(completed) = completed {
            if completed.aborted {
                on_abort(AbortedTxn {
                    producer_id: completed.producer_id,
                    first_offset: completed.first_offset,
                    last_offset: completed.last_offset,
                    last_stable_offset: producers.last_stable_offset(&completed),
                })?;
            }
            producers.complete(&completed);
        }
    }
    Ok(())
}

/// Brings the producers to `last_offset`: from the newest snapshot below it, and from the log behind that.
pub(super) fn rebuild_producers(
    producers: &mut Producers,
    segments: &[Arc<Segment>],
    log_start_offset: i64,
    last_offset: i64,
    clean: bool,
    now_ms: i64,
    partition: &TopicPartition,
) -> Result<(), RecoveryError> {
    let mut to_snapshot: Vec<i64> =
        segments.iter().rev().take(2).rev().map(|segment| segment.base_offset()).collect();
    to_snapshot.push(last_offset);
    if producers.latest_snapshot_offset().is_none() && clean {
        // After a clean stop the absence of snapshots means that there is no state to be had.
        for offset in to_snapshot {
            producers.set_map_end_offset(offset);
            producers.take_snapshot(true)?;
        }
        return Ok(());
    }
    let empty_before = producers.is_empty() && producers.map_end_offset() >= last_offset;
    producers.truncate_and_reload(log_start_offset, last_offset, now_ms)?;
    if last_offset > producers.map_end_offset() && !empty_before {
        let from = producers.map_end_offset();
        let floor = segments.partition_point(|segment| segment.base_offset() <= from).saturating_sub(1);
        let last_floor = segments.partition_point(|segment| segment.base_offset() <= last_offset);
        for (index, segment) in segments.iter().enumerate().skip(floor) {
            if segment.base_offset() >= last_offset {
                break;
            }
            let start = segment.base_offset().max(producers.map_end_offset()).max(log_start_offset);
            producers.set_map_end_offset(start);
            if to_snapshot.contains(&segment.base_offset()) {
                producers.take_snapshot(true)?;
            }
            let end = if index + 1 == last_floor {
                segment.translate_offset(last_offset)?.map_or(segment.size(), |found| found.position)
            } else {
                segment.size()
            };
            let Some(first) = segment.translate_offset(start)? else { continue };
            let mut scan = Scan::new(&**segment.file(), first.position, end, BATCH_CHUNK);
            with_scratch(|scratch| -> Result<(), RecoveryError> {
                loop {
                    match scan.next_batch() {
                        Ok(Some((position, batch))) => {
                            replay(producers, &batch, partition, scratch, |_| Ok(())).map_err(|error| {
                                let path = segment.log_path();
                                RecoveryError::Io(CorruptFile::error(&path, Some(position), error.into_io()))
                            })?;
                        }
                        Ok(None) => return Ok(()),
                        Err(error) => return Err(RecoveryError::Io(segment.scan_error(error))),
                    }
                }
            })?;
        }
    }
    producers.set_map_end_offset(last_offset);
    producers.take_snapshot(true)?;
    Ok(())
}

/// What a recovery cut off a segment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cut {
    pub(super) bytes: u64,
    /// They were zeros that were written ahead.
    pub(super) was_runway: bool,
}

/// What is the same for every segment of a log that is being opened.
pub(super) struct Loader<'l> {
    pub(super) disk: &'l Arc<dyn Disk>,
    pub(super) memory: &'l Arc<IndexMemory>,
    pub(super) dir: &'l Path,
    pub(super) partition: &'l TopicPartition,
    pub(super) config: &'l LogConfig,
    pub(super) expiration_ms: i64,
    pub(super) log_start_offset: i64,
    pub(super) now_ms: i64,
}

impl Loader<'_> {
    /// Removes what interrupted operations left: `.deleted` and `.cleaned` files, and finishes `.swap` ones.
    pub(super) fn finish_interrupted(&self) -> io::Result<()> {
        let files = self.disk.list(self.dir)?;
        let mut swaps = Vec::new();
        let mut min_cleaned = i64::MAX;
        let mut cleaned: Vec<PathBuf> = Vec::new();
        for file in files.iter().filter(|file| !file.is_dir) {
            let path = self.dir.join(&file.name);
            if file.name.ends_with(DELETED_SUFFIX) && !file.name.ends_with(CHECKPOINT_DELETED) {
                self.disk.remove_file(&path)?;
            } else if file.name.ends_with(CLEANED_SUFFIX) {
                min_cleaned = min_cleaned.min(names::offset_of(&file.name).unwrap_or(i64::MAX));
                cleaned.push(path);
            } else if file.name.ends_with(SWAP_SUFFIX) {
                swaps.push((names::offset_of(&file.name).unwrap_or(i64::MAX), file.name.clone()));
            }
        }
        // A swap at or behind a `.cleaned` file is half of one that did not come to its end. The swaps go first: without
        // the `.cleaned` file they would look complete.
        let (invalid, swaps): (Vec<_>, Vec<_>) =
            swaps.into_iter().partition(|(offset, _)| *offset >= min_cleaned);
        for (_, name) in &invalid {
            self.disk.remove_file(&self.dir.join(name))?;
        }
        if !invalid.is_empty() {
            self.disk.fsync_dir(self.dir)?;
        }
        for path in &cleaned {
            self.disk.remove_file(path)?;
        }
        self.finish_swaps(&swaps, &files)
    }

    /// Puts `.swap` files in the place of what they were made from. While a `.log.swap` is there, no index of it is in
    /// place; see [`crate::log::Log::replace_segments`].
    fn finish_swaps(&self, swaps: &[(i64, String)], files: &[DirEntry]) -> io::Result<()> {
        if swaps.is_empty() {
            return Ok(());
        }
        let (logs, indexes): (Vec<_>, Vec<_>) =
            swaps.iter().partition(|(_, name)| name.ends_with(".log.swap"));
        let mut range: Option<(i64, i64)> = None;
        for (offset, name) in &logs {
            let next = self.end_of_swap(name, *offset)?.max(*offset + 1);
            range = Some(range.map_or((*offset, next), |(min, max)| (min.min(*offset), max.max(next))));
        }
        if let Some((min, max)) = range.filter(|_| !mutation::on(Mutation::SwapBesideOldSegments)) {
            let of_segments =
                [LOG_SUFFIX, names::INDEX_SUFFIX, names::TIME_INDEX_SUFFIX, names::TXN_INDEX_SUFFIX];
            for file in files.iter().filter(|file| !file.is_dir) {
                if of_segments.iter().any(|suffix| file.name.ends_with(suffix))
                    && names::offset_of(&file.name).is_some_and(|offset| offset >= min && offset < max)
                {
                    self.disk.remove_file(&self.dir.join(&file.name))?;
                }
            }
            // The swap files are what says that the old segments must go: they keep their names until those are gone.
            self.disk.fsync_dir(self.dir)?;
        }
        for names in [logs, indexes] {
            for (_, name) in names {
                let Some(plain) = name.strip_suffix(SWAP_SUFFIX) else { continue };
                self.disk.rename(&self.dir.join(name), &self.dir.join(plain))?;
            }
            self.disk.fsync_dir(self.dir)?;
        }
        Ok(())
    }

    fn end_of_swap(&self, name: &str, base_offset: i64) -> io::Result<i64> {
        let file = self.disk.open(&self.dir.join(name), crate::disk::OpenMode::Read)?;
        let mut scan = Scan::new(&*file, 0, file.len()?, 64 * 1024);
        let mut next = base_offset;
        while let Ok(Some((_, header))) = scan.next_header() {
            next = header.next_offset();
        }
        Ok(next)
    }

    /// Opens every segment. Returns also which of them have indexes that are missing or cannot be right.
    pub(super) fn load_segments(&self) -> Result<(Vec<Arc<Segment>>, Vec<usize>), RecoveryError> {
        let files = self.disk.list(self.dir)?;
        let has = |offset: i64, suffix: &str| {
            let name = format!("{}{suffix}", names::offset_name(offset));
            files.binary_search_by(|file| file.name.cmp(&name)).is_ok()
        };
        let mut segments: Vec<Arc<Segment>> = Vec::new();
        let mut without_indexes = Vec::new();
        for file in files.iter().filter(|file| !file.is_dir) {
            let Some(offset) = names::offset_of(&file.name) else { continue };
            let is_index = [names::INDEX_SUFFIX, names::TIME_INDEX_SUFFIX, names::TXN_INDEX_SUFFIX]
                .iter()
                .any(|suffix| file.name.ends_with(suffix));
            if is_index && !has(offset, LOG_SUFFIX) {
                tracing::warn!(file = file.name, "removing an index without a log");
                self.disk.remove_file(&self.dir.join(&file.name))?;
            } else if file.name.ends_with(LOG_SUFFIX) {
                let segment =
                    Segment::open(self.disk, self.memory, self.dir, offset, self.config, self.now_ms)?;
                let segment = Arc::new(segment);
                let sane = segment.offset_index.exists(&**self.disk)?
                    && (segment.time_index.exists(&**self.disk)? || segment.size() == 0)
                    && segment.txn_index.is_sane(segment.base_offset());
                if segment.size() == 0
                    && let Some(before) = segments.last()
                    && before.scan_next_offset()? > offset
                {
                    // A roll that a full disk stopped: the log went on in the segment before.
                    tracing::warn!(partition = %self.partition, segment = offset, "removing an empty segment");
                    for path in segment.files() {
                        self.disk.remove_file(&path)?;
                    }
                    continue;
                }
                if !sane {
                    without_indexes.push(segments.len());
                }
                segments.push(segment);
            }
        }
        Ok((segments, without_indexes))
    }

    /// Builds the indexes of a segment anew that no later recovery will look at. They are durable before the offset
    /// index has its name: one that is there is complete.
    pub(super) fn rebuild_indexes(
        &self,
        segment: &Arc<Segment>,
        before: &[Arc<Segment>],
        epochs: &mut LeaderEpochCache,
    ) -> Result<(), RecoveryError> {
        let base_offset = segment.base_offset();
        let path = names::file(self.dir, base_offset, names::INDEX_SUFFIX);
        let unfinished =
            names::file(self.dir, base_offset, &format!("{}{CLEANED_SUFFIX}", names::INDEX_SUFFIX));
        self.disk.remove_file(&path)?;
        self.disk.fsync_dir(self.dir)?;
        let file = IndexFile::new(Arc::clone(self.disk), self.memory, unfinished.clone());
        let index = OffsetIndex::new(file, base_offset);
        self.scan_segment(segment, &index, before, epochs)?;
        index.sync()?;
        segment.time_index.sync()?;
        segment.txn_index.sync()?;
        self.disk.fsync_dir(self.dir)?;
        self.disk.rename(&unfinished, &path)?;
        self.disk.fsync_dir(self.dir)?;
        Ok(())
    }

    /// Scans a segment, cuts it at its first bad batch and builds its indexes anew.
    pub(super) fn recover_segment(
        &self,
        segment: &Arc<Segment>,
        before: &[Arc<Segment>],
        epochs: &mut LeaderEpochCache,
    ) -> Result<Cut, RecoveryError> {
        self.scan_segment(segment, &segment.offset_index, before, epochs)
    }

    fn scan_segment(
        &self,
        segment: &Arc<Segment>,
        offset_index: &OffsetIndex,
        before: &[Arc<Segment>],
        epochs: &mut LeaderEpochCache,
    ) -> Result<Cut, RecoveryError> {
        let mut producers = Producers::open(Arc::clone(self.disk), self.dir, self.expiration_ms)?;
        rebuild_producers(
            &mut producers,
            before,
            self.log_start_offset,
            segment.base_offset(),
            false,
            self.now_ms,
            self.partition,
        )?;
        if !mutation::on(Mutation::OffsetIndexNotRebuilt) {
            offset_index.reset()?;
        }
        segment.time_index.reset()?;
        segment.txn_index.reset()?;
        let size = segment.size();
        let mut valid = 0u64;
        let mut was_runway = false;
        let mut last_entry = 0u64;
        let mut last_offset = segment.base_offset() - 1;
        let mut largest = TimestampOffset { timestamp: NO_TIMESTAMP, offset: segment.base_offset() };
        let mut scan = Scan::new(&**segment.file(), 0, size, BATCH_CHUNK);
        with_scratch(|scratch| -> Result<(), RecoveryError> {
            loop {
                let (position, batch) = match scan.next_batch() {
                    Ok(Some(found)) => found,
                    Ok(None) => return Ok(()),
                    Err(ScanError::Io(error)) => return Err(error.into()),
                    Err(ScanError::Corrupt { .. })
                        if self.config.flush_messages == 1
                            && Runway::is_left_between(&**segment.file(), valid, size)? =>
                    {
                        was_runway = true;
                        return Ok(());
                    }
                    Err(ScanError::Corrupt { error, .. }) => {
                        tracing::warn!(partition = %self.partition, position = valid, %error, "found invalid messages");
                        return Ok(());
                    }
                };
                let header = *batch.header();
                if let Err(error) = batch.ensure_valid()
                    && !mutation::on(Mutation::SkipRecoveryCrc)
                {
                    tracing::warn!(partition = %self.partition, position, %error, "found invalid messages");
                    return Ok(());
                }
                // The checksum does not cover the base offset.
                let in_segment = offset_index.can_append_offset(header.last_offset());
                if !in_segment || header.last_offset() <= last_offset {
                    tracing::warn!(partition = %self.partition, position, "an offset does not belong to its place");
                    return Ok(());
                }
                if header.max_timestamp > largest.timestamp {
                    largest =
                        TimestampOffset { timestamp: header.max_timestamp, offset: header.last_offset() };
                }
                if position - last_entry > u64::from(self.config.index_interval_bytes) {
                    if !mutation::on(Mutation::OffsetIndexNotRebuilt) {
                        offset_index.append(header.last_offset(), position as u32)?;
                    }
                    if !mutation::on(Mutation::TimeIndexNotRebuilt) {
                        segment.time_index.maybe_append(largest)?;
                    }
                    last_entry = position;
                }
                if header.magic >= 2 {
                    let epoch = header.partition_leader_epoch;
                    if epoch >= 0 && epochs.latest_epoch().is_none_or(|latest| epoch > latest) {
                        epochs.assign(epoch, header.base_offset);
                    }
                    match replay(&mut producers, &batch, self.partition, scratch, |txn| {
                        if mutation::on(Mutation::AbortNotIndexed) {
                            return Ok(());
                        }
                        segment.txn_index.append(txn)
                    }) {
                        Ok(()) => {}
                        Err(RecoveryError::Io(error)) => return Err(error.into()),
                        // A marker that cannot be read is as bad as a wrong checksum.
                        Err(RecoveryError::Log(error)) => {
                            tracing::warn!(partition = %self.partition, position, %error, "found invalid messages");
                            return Ok(());
                        }
                    }
                    producers.set_map_end_offset(header.next_offset());
                }
                valid = position + header.size as u64;
                last_offset = header.last_offset();
            }
        })?;
        if !mutation::on(Mutation::TimeIndexNotRebuilt) {
            segment.time_index.maybe_append(largest)?;
        }
        offset_index.close()?;
        segment.time_index.close()?;
        segment.txn_index.deactivate();
        segment.set_recovered(valid, largest)?;
        // A start with thousands of partitions would wait for as many syncs; until the recovery point moves, the next one
        // would find the same.
        producers.take_snapshot(false)?;
        Ok(Cut { bytes: size - valid, was_runway })
    }
}
