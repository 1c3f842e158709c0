//! One segment of a log: a `.log` file with its indexes.
//!
//! Source: Kafka `LogSegment`.

pub(crate) mod names;
mod recent;
pub(crate) mod runway;
pub(crate) mod scan;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use ottla_protocol::compression::CompressionError;
use ottla_protocol::records::{NO_TIMESTAMP, RecordsError, Scratch};

use crate::config::LogConfig;
use crate::disk::{Disk, DiskFile, FetchSlice, OpenMode};
use crate::error::{CorruptFile, is_shortage};
use crate::index::{IndexFile, IndexMemory, OffsetIndex, TimeIndex, TimestampOffset, TransactionIndex};
use crate::log::Incoming;
use crate::mutation::{self, Mutation};
use crate::reading::{CachedReads, Origin};
use names::{CLEANED_SUFFIX, INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX};
use recent::RecentBatches;
use runway::Runway;
use scan::{HEADER_CHUNK, Scan, ScanError};

/// The device is told to write whole units of so many bytes, and not the one before the end: the large pages of a page cache
/// that appends still go to stay out of it.
const WRITEBACK_UNIT: u64 = 512 << 10;

/// A segment. Appends come from one writer at a time; everything else is for any thread.
#[derive(Debug)]
pub struct Segment {
    base_offset: i64,
    /// Tells its bytes from those of any other segment, and from what was there before they were truncated.
    id: AtomicU64,
    dir: PathBuf,
    /// What its files have behind their usual names: nothing, or the mark of a segment that is being written.
    mark: &'static str,
    log: Arc<dyn DiskFile>,
    /// Bytes that are written and indexed; the file is longer when it is preallocated or has zeros written ahead.
    size: AtomicU64,
    pub(crate) offset_index: OffsetIndex,
    pub(crate) time_index: TimeIndex,
    pub(crate) txn_index: TransactionIndex,
    state: Mutex<State>,
    recent: RecentBatches,
    /// Whether something was written to the log since it was last synced.
    dirty: AtomicBool,
    /// As above, for the indexes.
    indexes_dirty: AtomicBool,
    preallocated: AtomicBool,
    /// The device was told to write what lies before.
    writeback_to: AtomicU64,
    runway: Runway,
}

#[derive(Debug)]
struct State {
    /// None until it was looked up in the time index.
    max_timestamp: Option<TimestampOffset>,
    bytes_since_last_index_entry: u64,
    /// The largest timestamp of the first batch.
    rolling_based_timestamp: Option<i64>,
    created_ms: i64,
    roll_jitter_ms: i64,
}

/// A batch that a lookup found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchPosition {
    pub(crate) position: u64,
    pub(crate) size: usize,
}

/// A record that a lookup by timestamp found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampAndOffset {
    /// Milliseconds since the epoch, -1 where it is not asked for.
    pub timestamp: i64,
    /// The offset.
    pub offset: i64,
    /// The leader epoch of the batch, where it is known.
    pub leader_epoch: Option<i32>,
}

/// Why the next append goes to a new segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RollParams {
    pub(crate) max_timestamp: i64,
    pub(crate) max_offset: i64,
    pub(crate) size: usize,
    pub(crate) now_ms: i64,
}

fn random_below(bound: i64, seed: i64) -> i64 {
    if bound <= 0 {
        return 0;
    }
    let mut z = (seed as u64).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) % bound as u64) as i64
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Segment {
    /// Opens the segment's files, making the `.log` when it is not there.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        memory: &Arc<IndexMemory>,
        dir: &Path,
        base_offset: i64,
        config: &LogConfig,
        now_ms: i64,
    ) -> io::Result<Self> {
        Self::open_marked(disk, memory, dir, base_offset, "", config, now_ms)
    }

    /// Makes the files of a segment that is to take the place of others: with the suffix `.cleaned`, in the place of
    /// what an earlier attempt left.
    pub(crate) fn create_cleaned(
        disk: &Arc<dyn Disk>,
        memory: &Arc<IndexMemory>,
        dir: &Path,
        base_offset: i64,
        config: &LogConfig,
        now_ms: i64,
    ) -> io::Result<Self> {
        for suffix in [LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX] {
            disk.remove_file(&names::file(dir, base_offset, &format!("{suffix}{CLEANED_SUFFIX}")))?;
        }
        let config = LogConfig { preallocate: false, ..config.clone() };
        let segment = Self::open_marked(disk, memory, dir, base_offset, CLEANED_SUFFIX, &config, now_ms)?;
        segment.activate(&config)?;
        // Without records, too, its files have to be durable: the indexes are not as long as they will be.
        segment.mark_dirty();
        Ok(segment)
    }

    fn open_marked(
        disk: &Arc<dyn Disk>,
        memory: &Arc<IndexMemory>,
        dir: &Path,
        base_offset: i64,
        mark: &'static str,
        config: &LogConfig,
        now_ms: i64,
    ) -> io::Result<Self> {
        let path = |suffix: &str| names::file(dir, base_offset, &format!("{suffix}{mark}"));
        let index = |suffix: &str| IndexFile::new(Arc::clone(disk), memory, path(suffix));
        let path = path(LOG_SUFFIX);
        let existed = disk.metadata(&path)?.is_some();
        let log = disk.open(&path, OpenMode::ReadWrite)?;
        let preallocate = !existed && config.preallocate;
        let size = if preallocate {
            log.preallocate(u64::from(config.segment_bytes))?;
            0
        } else {
            log.len()?
        };
        let jitter = config.segment_jitter_ms.min(config.segment_ms);
        Ok(Segment {
            base_offset,
            id: AtomicU64::new(next_id()),
            dir: dir.to_path_buf(),
            mark,
            log,
            size: AtomicU64::new(size),
            offset_index: OffsetIndex::new(index(INDEX_SUFFIX), base_offset),
            time_index: TimeIndex::new(index(TIME_INDEX_SUFFIX), base_offset),
            txn_index: TransactionIndex::new(index(TXN_INDEX_SUFFIX)),
            recent: RecentBatches::default(),
            state: Mutex::new(State {
                max_timestamp: None,
                bytes_since_last_index_entry: 0,
                rolling_based_timestamp: None,
                created_ms: now_ms,
                roll_jitter_ms: random_below(jitter, now_ms ^ base_offset.rotate_left(17)),
            }),
            dirty: AtomicBool::new(false),
            indexes_dirty: AtomicBool::new(false),
            preallocated: AtomicBool::new(preallocate),
            writeback_to: AtomicU64::new(size / WRITEBACK_UNIT * WRITEBACK_UNIT),
            runway: Runway::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The offset in the names of its files; no record has a smaller one.
    pub fn base_offset(&self) -> i64 {
        self.base_offset
    }

    /// Bytes of its batches.
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// The `.log`.
    pub(crate) fn log_path(&self) -> PathBuf {
        names::file(&self.dir, self.base_offset, &format!("{LOG_SUFFIX}{}", self.mark))
    }

    /// The `.log`, open.
    pub fn file(&self) -> &Arc<dyn DiskFile> {
        &self.log
    }

    /// Opens the indexes for appending, at their full length.
    pub(crate) fn activate(&self, config: &LogConfig) -> io::Result<()> {
        // Their length changes, also when nothing is ever appended.
        self.indexes_dirty.store(true, Ordering::Release);
        self.offset_index.activate(config.segment_index_bytes)?;
        self.time_index.activate(config.segment_index_bytes)?;
        self.txn_index.activate()
    }

    pub(crate) fn should_roll(&self, config: &LogConfig, params: &RollParams) -> io::Result<bool> {
        let size = self.size();
        let waited = self.time_waited_for_roll(params.now_ms, params.max_timestamp)?;
        let reached_roll_ms = waited > config.max_segment_ms() - self.state().roll_jitter_ms;
        Ok(size as i64 > i64::from(config.segment_bytes) - params.size as i64
            || (size > 0 && reached_roll_ms)
            || self.offset_index.is_full()?
            || self.time_index.is_full()?
            || !self.offset_index.can_append_offset(params.max_offset))
    }

    /// Time since the first record: by timestamps where records have them, or else by the clock.
    pub(crate) fn time_waited_for_roll(&self, now_ms: i64, message_timestamp: i64) -> io::Result<i64> {
        self.load_first_batch_timestamp()?;
        let state = self.state();
        Ok(match state.rolling_based_timestamp {
            Some(first) if first >= 0 => message_timestamp.saturating_sub(first),
            _ => now_ms - state.created_ms,
        })
    }

    fn load_first_batch_timestamp(&self) -> io::Result<()> {
        if self.state().rolling_based_timestamp.is_some() || self.size() == 0 {
            return Ok(());
        }
        let mut scan = Scan::new(&*self.log, 0, self.size(), 128);
        if let Some((_, header)) = scan.next_header().map_err(|error| self.scan_error(error))? {
            self.state().rolling_based_timestamp = Some(header.max_timestamp);
        }
        Ok(())
    }

    /// The largest timestamp and the last offset of the batch that has it.
    pub(crate) fn max_timestamp_so_far(&self) -> io::Result<TimestampOffset> {
        if let Some(known) = self.state().max_timestamp {
            return Ok(known);
        }
        let last = self.time_index.last_entry()?;
        Ok(*self.state().max_timestamp.get_or_insert(last))
    }

    /// The largest timestamp of a record, or the time of the last write where there is none.
    pub(crate) fn largest_timestamp(&self, disk: &dyn Disk) -> io::Result<i64> {
        let known = self.max_timestamp_so_far()?.timestamp;
        if known > NO_TIMESTAMP {
            return Ok(known);
        }
        self.last_modified_ms(disk)
    }

    /// Appends batches and their index entries. Only one thread at a time calls this. On an error nothing is added:
    /// what was written of the batches is cut off again.
    pub(crate) fn append(&self, records: Incoming<'_>, config: &LogConfig) -> io::Result<()> {
        let start = self.size();
        let written = self.make_way(start + records.len() as u64, config);
        if let Err(error) = written.and_then(|()| self.log.pwrite_all_of_two(records.parts(), start)) {
            if mutation::on(Mutation::AppendAfterFailedWrite) {
                self.size.store(self.log.len()?, Ordering::Release);
                return Err(error);
            }
            // A torn batch must not stay: what comes next would be written behind it.
            if !self.preallocated.load(Ordering::Relaxed) {
                self.runway.take_behind(start);
                self.log.truncate(start)?;
                self.log.sync_all()?;
            }
            return Err(error);
        }
        self.mark_dirty();
        let mut position = start;
        for batch in records.batches() {
            let header = batch.header();
            let mut largest = self.max_timestamp_so_far()?;
            let mut state = self.state();
            if header.max_timestamp > largest.timestamp {
                largest = TimestampOffset { timestamp: header.max_timestamp, offset: header.last_offset() };
                state.max_timestamp = Some(largest);
            }
            if position == 0 && state.rolling_based_timestamp.is_none() {
                state.rolling_based_timestamp = Some(header.max_timestamp);
            }
            let due = state.bytes_since_last_index_entry > u64::from(config.index_interval_bytes);
            if due {
                state.bytes_since_last_index_entry = 0;
            }
            state.bytes_since_last_index_entry += batch.size() as u64;
            drop(state);
            if due {
                // A full disk leaves entries waiting in memory; the batches are in the log and count.
                Self::unless_shortage(self.offset_index.append(header.last_offset(), position as u32))?;
                Self::unless_shortage(self.time_index.maybe_append(largest))?;
            }
            position += batch.size() as u64;
        }
        self.size.store(position, Ordering::Release);
        let mut position = start;
        for batch in records.batches() {
            self.recent.add(batch.header(), position);
            position += batch.size() as u64;
        }
        Ok(())
    }

    /// Makes the file ready for an append that is going to end at `end`, where every append is synced.
    fn make_way(&self, end: u64, config: &LogConfig) -> io::Result<()> {
        let is_copy = !self.mark.is_empty();
        if config.flush_messages != 1 || is_copy || self.preallocated.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.runway.extend(&*self.log, end, u64::from(config.segment_bytes))
    }

    fn unless_shortage(result: io::Result<()>) -> io::Result<()> {
        match result {
            Err(error) if is_shortage(&error) => Ok(()),
            other => other,
        }
    }

    /// The first batch at or behind `offset`; none when the segment has none.
    pub(crate) fn translate_offset(&self, offset: i64) -> io::Result<Option<BatchPosition>> {
        self.translate_offset_with(offset, None)
    }

    /// As [`Segment::translate_offset`]. With `cached`, [`io::ErrorKind::WouldBlock`] when what it takes is not in memory.
    pub(crate) fn translate_offset_with(
        &self,
        offset: i64,
        cached: Option<CachedReads<'_>>,
    ) -> io::Result<Option<BatchPosition>> {
        if let Some(found) = self.recent.find(offset) {
            return Ok(Some(found));
        }
        let from = match cached {
            Some(_) => self.offset_index.lookup_cached(offset)?,
            None => self.offset_index.lookup(offset)?,
        };
        let position = u64::from(from.position);
        let mut scan = Scan::new(&*self.log, position, self.size(), HEADER_CHUNK).cached(cached);
        while let Some((position, header)) = scan.next_header().map_err(|error| self.scan_error(error))? {
            if header.last_offset() >= offset {
                return Ok(Some(BatchPosition { position, size: header.size }));
            }
        }
        Ok(None)
    }

    /// What reads of its bytes that are in memory are called; it changes when bytes are truncated.
    pub(crate) fn id(&self) -> u64 {
        self.id.load(Ordering::Acquire)
    }

    /// A range of the file.
    pub(crate) fn slice(&self, position: u64, len: usize, origin: Origin) -> FetchSlice {
        FetchSlice::of_segment(Arc::clone(&self.log), position, len, origin)
    }

    pub(crate) fn scan_error(&self, error: ScanError) -> io::Error {
        error.into_io(&self.log_path())
    }

    /// The offset after the last record, found through the index.
    pub(crate) fn read_next_offset(&self) -> io::Result<i64> {
        let last = self.offset_index.last_offset()?;
        let from = self.offset_index.lookup(last)?;
        let mut scan = Scan::new(&*self.log, u64::from(from.position), self.size(), HEADER_CHUNK);
        let mut next = self.base_offset;
        loop {
            match scan.next_header() {
                Ok(Some((_, header))) => next = header.next_offset(),
                Ok(None) => return Ok(next),
                Err(error) => return Err(self.scan_error(error)),
            }
        }
    }

    /// The offset after the last record, found by walking over all of them; an index that is wrong does not matter.
    pub(crate) fn scan_next_offset(&self) -> io::Result<i64> {
        Ok(self.walk()?.0)
    }

    /// As [`Segment::scan_next_offset`]; none when something that is no batch is in the way.
    pub(crate) fn scan_to_end(&self) -> io::Result<Option<i64>> {
        let (next, whole) = self.walk()?;
        Ok(whole.then_some(next))
    }

    fn walk(&self) -> io::Result<(i64, bool)> {
        let mut scan = Scan::new(&*self.log, 0, self.size(), HEADER_CHUNK);
        let mut next = self.base_offset;
        loop {
            match scan.next_header() {
                Ok(Some((_, header))) => next = header.next_offset(),
                Ok(None) => return Ok((next, true)),
                Err(ScanError::Corrupt { .. }) => return Ok((next, false)),
                Err(ScanError::Io(error)) => return Err(error),
            }
        }
    }

    /// The first record at or behind `starting_offset` whose timestamp is not below `timestamp`.
    pub(crate) fn find_offset_by_timestamp(
        &self,
        timestamp: i64,
        starting_offset: i64,
        scratch: &mut Scratch,
    ) -> io::Result<Option<TimestampAndOffset>> {
        let entry = self.time_index.lookup(timestamp)?;
        let from = self.offset_index.lookup(entry.offset.max(starting_offset))?;
        self.search_timestamp(u64::from(from.position), timestamp, starting_offset, scratch)
    }

    fn search_timestamp(
        &self,
        position: u64,
        timestamp: i64,
        starting_offset: i64,
        scratch: &mut Scratch,
    ) -> io::Result<Option<TimestampAndOffset>> {
        let mut headers = Scan::new(&*self.log, position, self.size(), HEADER_CHUNK);
        while let Some((position, header)) = headers.next_header().map_err(|error| self.scan_error(error))? {
            if header.max_timestamp < timestamp || header.last_offset() < starting_offset {
                continue;
            }
            let mut one = Scan::new(&*self.log, position, position + header.size as u64, header.size);
            let Some((_, batch)) = one.next_batch().map_err(|error| self.scan_error(error))? else {
                continue;
            };
            let epoch = header.partition_leader_epoch;
            let unreadable = |error| self.unreadable(position, error);
            let records = batch.records(scratch).map_err(unreadable)?;
            for record in records {
                let record = record.map_err(unreadable)?;
                if record.timestamp >= timestamp && record.offset >= starting_offset {
                    return Ok(Some(TimestampAndOffset {
                        timestamp: record.timestamp,
                        offset: record.offset,
                        leader_epoch: (epoch >= 0).then_some(epoch),
                    }));
                }
            }
        }
        Ok(None)
    }

    /// A batch whose records cannot be had: damaged, or a sound one that passes a limit of its topic.
    fn unreadable(&self, position: u64, error: RecordsError) -> io::Error {
        match error {
            RecordsError::RecordTooLarge { .. }
            | RecordsError::Decompression(CompressionError::BudgetExceeded { .. }) => io::Error::other(error),
            error => CorruptFile::error(&self.log_path(), Some(position), error),
        }
    }

    /// The record with the largest timestamp.
    pub(crate) fn find_max_timestamp(&self, scratch: &mut Scratch) -> io::Result<Option<TimestampAndOffset>> {
        let largest = self.max_timestamp_so_far()?;
        let from = self.offset_index.lookup(largest.offset)?;
        let mut headers = Scan::new(&*self.log, u64::from(from.position), self.size(), HEADER_CHUNK);
        while let Some((position, header)) = headers.next_header().map_err(|error| self.scan_error(error))? {
            if header.max_timestamp == largest.timestamp {
                return self.search_timestamp(position, largest.timestamp, self.base_offset, scratch);
            }
        }
        Ok(None)
    }

    /// Closes the segment for appends: the last entry of the time index is written, files are trimmed.
    pub(crate) fn on_become_inactive(&self) -> io::Result<()> {
        self.indexes_dirty.store(true, Ordering::Release);
        let largest = self.max_timestamp_so_far()?;
        self.time_index.maybe_append(largest)?;
        self.txn_index.write_out()?;
        self.offset_index.close()?;
        self.time_index.close()?;
        let has_runway = self.runway.take_behind(self.size());
        if self.preallocated.swap(false, Ordering::Relaxed) || has_runway {
            self.log.truncate(self.size())?;
            // No recovery looks at a closed segment that is durable: it must not get its zeros back.
            if !mutation::on(Mutation::RunwayCutNotSynced) {
                self.dirty.store(true, Ordering::Release);
            }
        }
        self.txn_index.deactivate();
        self.state().max_timestamp = Some(largest);
        self.recent.clear();
        Ok(())
    }

    /// Removes everything from `offset` on. Returns the bytes that went. The indexes stay open for appends.
    pub(crate) fn truncate_to(&self, offset: i64, config: &LogConfig, now_ms: i64) -> io::Result<u64> {
        let mapping = self.translate_offset(offset)?;
        if !mutation::on(Mutation::IndexNotTruncated) {
            self.offset_index.truncate_to(offset)?;
        }
        self.time_index.truncate_to(offset)?;
        self.txn_index.truncate_to(offset)?;
        self.activate(config)?;
        let removed = match mapping {
            Some(at) => {
                let removed = self.size() - at.position;
                self.recent.clear();
                self.runway.take_behind(at.position);
                self.log.truncate(at.position)?;
                self.writeback_to.fetch_min(at.position / WRITEBACK_UNIT * WRITEBACK_UNIT, Ordering::Relaxed);
                self.id.store(next_id(), Ordering::Release);
                self.size.store(at.position, Ordering::Release);
                // If the cut were lost and later records were not, what was cut off would follow them.
                if !mutation::on(Mutation::TruncationNotSynced) {
                    self.log.sync_all()?;
                }
                removed
            }
            None => 0,
        };
        self.mark_dirty();
        {
            let mut state = self.state();
            if self.size() == 0 {
                state.created_ms = now_ms;
                state.rolling_based_timestamp = None;
            }
            state.bytes_since_last_index_entry = 0;
        }
        let largest = self.read_largest_timestamp()?;
        self.state().max_timestamp = Some(largest);
        Ok(removed)
    }

    /// Sets the size after a recovery, which found that only so many bytes are good.
    pub(crate) fn set_recovered(&self, valid_bytes: u64, largest: TimestampOffset) -> io::Result<()> {
        if valid_bytes < self.size() && !mutation::on(Mutation::TailNotCut) {
            self.log.truncate(valid_bytes)?;
            // As with a truncation: what is cut off must not follow what comes in its place.
            self.log.sync_all()?;
        }
        self.recent.clear();
        self.size.store(valid_bytes, Ordering::Release);
        self.mark_dirty();
        self.state().max_timestamp = Some(largest);
        Ok(())
    }

    fn read_largest_timestamp(&self) -> io::Result<TimestampOffset> {
        let mut largest = self.time_index.last_entry()?;
        let from = self.offset_index.lookup(largest.offset)?;
        let mut scan = Scan::new(&*self.log, u64::from(from.position), self.size(), HEADER_CHUNK);
        while let Some((_, header)) = scan.next_header().map_err(|error| self.scan_error(error))? {
            if header.max_timestamp > largest.timestamp {
                largest = TimestampOffset { timestamp: header.max_timestamp, offset: header.last_offset() };
            }
        }
        Ok(largest)
    }

    /// Makes the log durable when something was written since the last time, and the indexes when `with_indexes` says
    /// so. The indexes of the active segment need not be: a start after an unclean stop scans the segment of the
    /// recovery point, whatever its indexes say.
    pub(crate) fn flush(&self, with_indexes: bool) -> io::Result<()> {
        Self::flush_if(&self.dirty, || self.log.sync_data())?;
        if with_indexes {
            Self::flush_if(&self.indexes_dirty, || {
                self.offset_index.sync()?;
                self.time_index.sync()?;
                self.txn_index.sync()
            })?;
        }
        Ok(())
    }

    /// Has the device begin to write what was appended, but for the end of it, which appends go on in: who writes to a page
    /// that is being written waits.
    pub(crate) fn start_writeback(&self) {
        let end = self.size().saturating_sub(WRITEBACK_UNIT) / WRITEBACK_UNIT * WRITEBACK_UNIT;
        let start = self.writeback_to.fetch_max(end, Ordering::Relaxed);
        if start < end {
            self.log.start_writeback(start, end - start);
        }
    }

    fn flush_if(dirty: &AtomicBool, sync: impl Fn() -> io::Result<()>) -> io::Result<()> {
        if !dirty.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        if mutation::on(Mutation::FsyncRetried) {
            return sync().or_else(|_| sync());
        }
        sync().inspect_err(|_| dirty.store(true, Ordering::Release))
    }

    fn mark_dirty(&self) {
        self.dirty.store(true, Ordering::Release);
        self.indexes_dirty.store(true, Ordering::Release);
    }

    pub(crate) fn close(&self) -> io::Result<()> {
        self.on_become_inactive()?;
        self.flush(true)?;
        self.txn_index.close();
        Ok(())
    }

    /// Its files, by suffix.
    pub(crate) fn files(&self) -> [PathBuf; 4] {
        Self::paths(&self.dir, self.base_offset, self.mark)
    }

    /// The files of a segment.
    pub(crate) fn paths(dir: &Path, base_offset: i64, mark: &str) -> [PathBuf; 4] {
        [LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX]
            .map(|suffix| names::file(dir, base_offset, &format!("{suffix}{mark}")))
    }

    /// Lets readers who hold the segment go on when its files are renamed or replaced: what is read by name is read
    /// into memory.
    pub(crate) fn detach(&self) -> io::Result<()> {
        self.offset_index.detach()?;
        self.time_index.detach()?;
        self.txn_index.detach()
    }

    /// As [`Segment::detach`], for files that go for good. Lookups that need what was not in memory start at the beginning
    /// of the segment.
    pub(crate) fn orphan_indexes(&self) {
        self.offset_index.orphan();
        self.time_index.orphan();
        self.txn_index.orphan();
    }

    /// When the log was last written to, milliseconds since the epoch.
    pub(crate) fn last_modified_ms(&self, disk: &dyn Disk) -> io::Result<i64> {
        Ok(disk.metadata(&self.log_path())?.map_or(0, |metadata| metadata.modified_ms))
    }

    /// The largest timestamp of the first batch, when there is one with a timestamp.
    pub(crate) fn first_batch_timestamp(&self) -> io::Result<Option<i64>> {
        self.load_first_batch_timestamp()?;
        Ok(self.state().rolling_based_timestamp.filter(|timestamp| *timestamp >= 0))
    }
}
