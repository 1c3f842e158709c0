//! One cleaning of a log: the map of its dirty part, then group after group of segments copied and swapped in.
//!
//! Source: Kafka `Cleaner`.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use super::candidate::segments_between;
use super::checked_scan::CheckedScan;
use super::config::{CleanerConfig, CleanerControl};
use super::destination::{Destination, SegmentLimits};
use super::error::CleanError;
use super::filter::{Buffers, Filter};
use super::grouping::{SegmentSize, group_segments};
use super::stats::CleanerStats;
use super::transactions::CleanedTransactions;
use super::{LogToClean, OffsetMap};
use crate::log::{Log, Snapshot};
use crate::producer_state::LastRecord;
use crate::segment::Segment;
use crate::segment::names::CLEANED_SUFFIX;

/// The smallest piece that is read or written at once.
const MIN_IO_BYTES: usize = 4096;
/// A buffer larger than this is given back after a cleaning.
const BUFFER_KEEP_BYTES: usize = 1 << 20;

/// What a cleaner thread keeps from one cleaning to the next.
#[derive(Debug)]
pub struct Cleaner {
    map: OffsetMap,
    buffers: Buffers,
    io_bytes: usize,
    limits: SegmentLimits,
}

/// What is the same for the whole of a cleaning.
struct Run<'r> {
    log: &'r Log,
    control: &'r dyn CleanerControl,
    cancelled: &'r dyn Fn() -> bool,
    snapshot: Snapshot,
    io_bytes: usize,
    now_ms: i64,
    first_uncleanable_offset: i64,
    /// Segments whose last write is not after it may lose tombstones of magic 0 and 1.
    legacy_delete_horizon_ms: i64,
    producers: HashMap<i64, LastRecord>,
}

impl Run<'_> {
    fn io_error(&self, error: io::Error) -> CleanError {
        CleanError::Log(self.log.read_error("Failed to clean up log", error))
    }

    /// To be called now and then, with the bytes since the last time.
    fn go_on(&self, bytes: usize) -> Result<(), CleanError> {
        let go_on = self.control.io(bytes, self.cancelled);
        if (self.cancelled)() || self.log.snapshot() != self.snapshot {
            return Err(CleanError::Aborted);
        }
        if go_on { Ok(()) } else { Err(CleanError::Stopped) }
    }

    /// The first offset that cannot be in the segment at `index`.
    fn upper_bound(&self, segments: &[Arc<Segment>], index: usize) -> i64 {
        segments.get(index + 1).map_or_else(|| self.log.log_end_offset(), |next| next.base_offset())
    }
}

impl Cleaner {
    /// What one of `config.threads` threads needs. `key` is any random number, which hashes of keys depend on.
    pub fn new(config: &CleanerConfig, key: u128) -> Self {
        let threads = config.threads.max(1);
        Cleaner {
            map: OffsetMap::new(
                config.dedupe_buffer_size / threads as u64,
                config.dedupe_buffer_load_factor,
                key,
            ),
            buffers: Buffers::default(),
            io_bytes: (config.io_buffer_size / threads / 2).max(MIN_IO_BYTES),
            limits: SegmentLimits::default(),
        }
    }

    /// Lets cleaned segments be smaller than files can be.
    #[cfg(test)]
    pub(super) fn limit_segments(&mut self, max_bytes: u64, max_offset_range: i64) {
        self.limits = SegmentLimits { max_bytes, max_offset_range };
    }

    /// Cleans a log. Returns the first offset that is dirty still, and what was done.
    pub(crate) fn clean(
        &mut self,
        target: &LogToClean,
        control: &dyn CleanerControl,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(i64, CleanerStats), CleanError> {
        let log = &*target.log;
        log.config().limit_decompression(&mut self.buffers.scratch);
        let now_ms = control.now_ms();
        let mut stats = CleanerStats { start_ms: now_ms, ..CleanerStats::default() };
        let mut run = Run {
            log,
            control,
            cancelled,
            snapshot: log.snapshot(),
            io_bytes: self.io_bytes,
            now_ms,
            first_uncleanable_offset: target.first_uncleanable_offset,
            legacy_delete_horizon_ms: 0,
            producers: log.last_records_of_producers(),
        };
        let segments = log.segments();
        if let Some(last_clean) = segments_between(&segments, 0, target.first_dirty_offset).last() {
            let modified_ms = last_clean.last_modified_ms(&**log.disk()).map_err(|e| run.io_error(e))?;
            run.legacy_delete_horizon_ms = modified_ms - log.config().delete_retention_ms;
        }
        let result = self.clean_in(&run, &segments, target, &mut stats);
        self.map.release();
        self.buffers.trim(BUFFER_KEEP_BYTES);
        stats.end_ms = control.now_ms();
        Ok((result?, stats))
    }

    fn clean_in(
        &mut self,
        run: &Run<'_>,
        segments: &[Arc<Segment>],
        target: &LogToClean,
        stats: &mut CleanerStats,
    ) -> Result<i64, CleanError> {
        self.build_map(run, segments, target.first_dirty_offset, stats)?;
        stats.map_complete_ms = run.control.now_ms();
        stats.buffer_utilization = self.map.utilization();
        let end_offset = self.map.latest_offset() + 1;

        let config = run.log.config();
        let disk = &**run.log.disk();
        let to_clean = segments_between(segments, 0, end_offset);
        let sizes: Vec<SegmentSize> = to_clean
            .iter()
            .map(|segment| {
                Ok(SegmentSize {
                    base_offset: segment.base_offset(),
                    log_bytes: segment.size(),
                    index_bytes: segment.offset_index.file_bytes(disk)?,
                    time_index_bytes: segment.time_index.file_bytes(disk)?,
                })
            })
            .collect::<io::Result<_>>()
            .map_err(|error| run.io_error(error))?;
        let groups = group_segments(
            &sizes,
            u64::from(config.segment_bytes),
            u64::from(config.segment_index_bytes),
            run.first_uncleanable_offset,
        );
        let mut transactions = CleanedTransactions::default();
        for group in groups {
            let first = segments.partition_point(|s| s.base_offset() < to_clean[group.start].base_offset());
            self.clean_group(run, segments, first..first + group.len(), &mut transactions, stats)?;
        }
        Ok(end_offset)
    }

    /// Notes the last offset of each key from `start` on, as far as there is room and cleaning may go.
    fn build_map(
        &mut self,
        run: &Run<'_>,
        segments: &[Arc<Segment>],
        start: i64,
        stats: &mut CleanerStats,
    ) -> Result<(), CleanError> {
        let end = run.first_uncleanable_offset;
        // There are no more keys than offsets.
        self.map.reset(end.saturating_sub(start).max(0) as u64);
        self.map.set_latest_offset(start - 1);
        let mut transactions = CleanedTransactions::default();
        transactions.add_aborted(run.log.collect_aborted_transactions(start, end)?);
        let first = segments.partition_point(|segment| segment.base_offset() <= start).saturating_sub(1);
        for (index, segment) in segments.iter().enumerate().skip(first) {
            if segment.base_offset() >= end {
                break;
            }
            run.go_on(0)?;
            let upper_bound = run.upper_bound(segments, index).min(end);
            if !self.map_segment(run, segment, start, upper_bound, &mut transactions, stats)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Returns false when there is no room for more.
    fn map_segment(
        &mut self,
        run: &Run<'_>,
        segment: &Segment,
        start: i64,
        upper_bound_offset: i64,
        transactions: &mut CleanedTransactions,
        stats: &mut CleanerStats,
    ) -> Result<bool, CleanError> {
        let io_error = |error| run.io_error(error);
        let position = u64::from(segment.offset_index.lookup(start).map_err(io_error)?.position);
        let mut scan = CheckedScan::new(segment, position, upper_bound_offset, run.io_bytes);
        let mut pending = 0;
        while let Some((position, batch)) = scan.next(&io_error)? {
            let header = *batch.header();
            let corrupt = |source| CheckedScan::corrupt(segment, position, header.base_offset, source);
            if header.is_control() {
                transactions
                    .on_control_batch(&batch, &mut self.buffers.scratch)
                    .map_err(|error| corrupt(error.into()))?;
                stats.map_messages_read += 1;
            } else if transactions.on_batch(&header) {
                // Nothing of it stays, so it takes nothing else away.
                stats.map_messages_read += u64::from(header.records_count.max(0) as u32);
            } else {
                let records =
                    batch.records(&mut self.buffers.scratch).map_err(|error| corrupt(error.into()))?;
                for record in records {
                    let record = record.map_err(|error| corrupt(error.into()))?;
                    if let Some(key) = record.key
                        && record.offset >= start
                        && !self.map.put(key, record.offset)
                    {
                        return Ok(false);
                    }
                    stats.map_messages_read += 1;
                }
            }
            if header.last_offset() >= start {
                self.map.set_latest_offset(header.last_offset());
            }
            stats.map_bytes_read += batch.size() as u64;
            pending += batch.size();
            if pending >= run.io_bytes {
                run.go_on(std::mem::take(&mut pending))?;
            }
        }
        run.go_on(pending)?;
        // Offsets may be missing at the end of the segment.
        self.map.set_latest_offset(upper_bound_offset - 1);
        Ok(true)
    }

    /// Copies what is kept of some segments into new ones and swaps those in.
    fn clean_group(
        &mut self,
        run: &Run<'_>,
        segments: &[Arc<Segment>],
        group: std::ops::Range<usize>,
        transactions: &mut CleanedTransactions,
        stats: &mut CleanerStats,
    ) -> Result<(), CleanError> {
        let result = self.copy_group(run, segments, group, transactions, stats);
        if result.is_err() && !run.log.dir_state().is_offline() {
            remove_cleaned(run.log);
        }
        result
    }

    fn copy_group(
        &mut self,
        run: &Run<'_>,
        segments: &[Arc<Segment>],
        group: std::ops::Range<usize>,
        transactions: &mut CleanedTransactions,
        stats: &mut CleanerStats,
    ) -> Result<(), CleanError> {
        let io_error = |error| run.io_error(error);
        let disk = run.log.disk();
        let config = run.log.config();
        let old = &segments[group.clone()];
        let mut destination = Destination::create(
            run.log,
            old[0].base_offset(),
            &config,
            self.limits,
            run.io_bytes,
            run.now_ms,
        )
        .map_err(io_error)?;
        let mut modified_ms = 0;
        for (index, segment) in old.iter().enumerate() {
            let upper_bound_offset = run.upper_bound(segments, group.start + index);
            // The index of the new segment needs all that its marker's batches belong to, not only what is dirty.
            transactions.add_aborted(
                run.log.collect_aborted_transactions(segment.base_offset(), upper_bound_offset)?,
            );
            modified_ms = segment.last_modified_ms(&**disk).map_err(io_error)?;
            let filter = Filter {
                map: &self.map,
                producers: &run.producers,
                now_ms: run.now_ms,
                delete_retention_ms: config.delete_retention_ms,
                high_watermark: run.log.high_watermark(),
                retain_legacy_deletes: modified_ms > run.legacy_delete_horizon_ms,
            };
            let mut scan = CheckedScan::new(segment, 0, upper_bound_offset, run.io_bytes);
            let mut pending = 0;
            while let Some((position, batch)) = scan.next(&io_error)? {
                let header = *batch.header();
                let start = destination.buffer().len();
                let aborted = filter
                    .apply(&batch, transactions, &mut self.buffers, destination.buffer(), stats)
                    .map_err(|error| CheckedScan::corrupt(segment, position, header.base_offset, error))?;
                let written = destination
                    .added(start, header.base_offset, header.next_offset(), aborted, modified_ms)
                    .map_err(io_error)?;
                pending += batch.size() + written;
                if pending >= run.io_bytes {
                    run.go_on(std::mem::take(&mut pending))?;
                }
            }
            run.go_on(pending)?;
        }
        let (new, written) = destination.finish(modified_ms).map_err(io_error)?;
        run.go_on(written)?;
        if !run.log.replace_segments(&new, old, run.snapshot, run.now_ms)? {
            return Err(CleanError::Aborted);
        }
        Ok(())
    }
}

/// Removes what an interrupted cleaning has written. What cannot be removed goes at the next start.
fn remove_cleaned(log: &Log) {
    let dir = log.dir();
    let Ok(files) = log.disk().list(&dir) else { return };
    for file in files.iter().filter(|file| file.name.ends_with(CLEANED_SUFFIX)) {
        if let Err(error) = log.disk().remove_file(&dir.join(&file.name)) {
            tracing::warn!(partition = %log.partition(), file = file.name, %error, "cannot remove a cleaned file");
        }
    }
}
