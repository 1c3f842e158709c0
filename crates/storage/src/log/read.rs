//! HOT: reading. The result is a range of a file, so that a caller can hand it to `sendfile`.

use std::io;
use std::sync::Arc;

use super::{Log, LogOffsetMetadata};
use crate::disk::FetchSlice;
use crate::error::LogError;
use crate::index::AbortedTxn;
use crate::reading::{CachedReads, HOT_TAIL_BYTES, Origin};
use crate::segment::Segment;

/// Up to where a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchIsolation {
    /// Replicas: everything.
    LogEnd,
    /// Consumers that read uncommitted records.
    HighWatermark,
    /// Consumers that read committed records only.
    TxnCommitted,
}

/// A transaction whose records in a fetched range are to be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Its producer.
    pub producer_id: i64,
    /// Its first offset in the partition.
    pub first_offset: i64,
}

/// What a read found.
#[derive(Debug, Clone)]
pub struct ReadResult {
    /// The batches; they may start below the fetch offset and end within a batch. Empty where nothing can be read.
    pub slice: FetchSlice,
    /// The fetch offset with the place of its batch.
    pub fetch_offset_metadata: LogOffsetMetadata,
    /// Whether the first batch is longer than the limit, and so not whole.
    pub first_entry_incomplete: bool,
    /// For [`FetchIsolation::TxnCommitted`]: what is to be left out.
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// The log's offsets when the read began.
    pub log_start_offset: i64,
    /// As above.
    pub log_end_offset: i64,
    /// As above.
    pub high_watermark: i64,
    /// As above.
    pub last_stable_offset: i64,
}

/// Why a read found nothing.
enum Failure {
    Log(LogError),
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Io(error)
    }
}

impl Log {
    /// As [`Log::read`], without waiting for the device: none when the place of the records is not in memory. Costs a few
    /// microseconds.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub fn read_cached(
        &self,
        fetch_offset: i64,
        max_bytes: usize,
        isolation: FetchIsolation,
        min_one_message: bool,
    ) -> Result<Option<ReadResult>, LogError> {
        match self.find(fetch_offset, max_bytes, isolation, min_one_message, true) {
            Ok(found) => Ok(Some(found)),
            Err(Failure::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(failure) => Err(self.read_failure(failure)),
        }
    }

    /// Reads from the batch that holds `fetch_offset` on, `max_bytes` at most: or the whole first batch, when
    /// `min_one_message` says so.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`] outside of the log; the disk.
    pub fn read(
        &self,
        fetch_offset: i64,
        max_bytes: usize,
        isolation: FetchIsolation,
        min_one_message: bool,
    ) -> Result<ReadResult, LogError> {
        self.find(fetch_offset, max_bytes, isolation, min_one_message, false)
            .map_err(|failure| self.read_failure(failure))
    }

    fn read_failure(&self, failure: Failure) -> LogError {
        match failure {
            Failure::Log(error) => error,
            Failure::Io(error) => self.read_error("Exception while reading", error),
        }
    }

    fn find(
        &self,
        fetch_offset: i64,
        max_bytes: usize,
        isolation: FetchIsolation,
        min_one_message: bool,
        only_cached: bool,
    ) -> Result<ReadResult, Failure> {
        self.check_open().map_err(Failure::Log)?;
        let log_start_offset = self.log_start_offset();
        if fetch_offset < log_start_offset {
            return Err(Failure::Log(LogError::OffsetOutOfRange {
                text: format!(
                    "Received request for offset {fetch_offset} for partition {}, but we only have log segments \
                     starting from offset: {log_start_offset}.",
                    self.partition
                ),
            }));
        }
        let marks = *self.marks();
        let segments = self.segments.load();
        let high_watermark = marks.high_watermark;
        let stable = match marks.first_unstable {
            Some(first) if first.offset < high_watermark.offset => first,
            _ => high_watermark,
        };
        let bound = match isolation {
            FetchIsolation::LogEnd => marks.end,
            FetchIsolation::HighWatermark => high_watermark,
            FetchIsolation::TxnCommitted => stable,
        };
        let floor = segments.partition_point(|segment| segment.base_offset() <= fetch_offset);
        let (Some(mut index), true) = (floor.checked_sub(1), fetch_offset <= marks.end.offset) else {
            return Err(Failure::Log(LogError::OffsetOutOfRange {
                text: format!(
                    "Received request for offset {fetch_offset} for partition {}, but we only have log segments upto \
                     {}.",
                    self.partition, marks.end.offset
                ),
            }));
        };
        let committed = isolation == FetchIsolation::TxnCommitted;
        let result = |index: usize, metadata, position, len, first_batch: usize, limit: usize| ReadResult {
            slice: segments[index].slice(position, len, self.origin(&segments, index, position, first_batch)),
            fetch_offset_metadata: metadata,
            first_entry_incomplete: limit < first_batch,
            aborted_transactions: committed.then(Vec::new),
            log_start_offset,
            log_end_offset: marks.end.offset,
            high_watermark: high_watermark.offset,
            last_stable_offset: stable.offset,
        };
        if fetch_offset >= bound.offset {
            let metadata = if fetch_offset == bound.offset {
                bound
            } else {
                LogOffsetMetadata::offset_only(fetch_offset)
            };
            return Ok(result(index, metadata, 0, 0, 0, 0));
        }
        let bound = self.locate(&segments, bound, only_cached)?;
        while let Some(segment) = segments.get(index) {
            let end = if segment.base_offset() < bound.segment_base_offset {
                segment.size()
            } else if segment.base_offset() == bound.segment_base_offset {
                bound.position as u64
            } else {
                break;
            };
            let Some(found) =
                segment.translate_offset_with(fetch_offset, self.cached(&segments, index, only_cached))?
            else {
                index += 1;
                continue;
            };
            let metadata = LogOffsetMetadata {
                offset: fetch_offset,
                segment_base_offset: segment.base_offset(),
                position: found.position as i64,
            };
            let limit = if min_one_message { max_bytes.max(found.size) } else { max_bytes };
            let len = limit.min(end.saturating_sub(found.position) as usize);
            let mut read = result(index, metadata, found.position, len, found.size, limit);
            if committed && len > 0 {
                let aborted = self.aborted_in(
                    &segments,
                    index,
                    fetch_offset,
                    &read.slice,
                    marks.end.offset,
                    only_cached,
                )?;
                read.aborted_transactions = Some(aborted);
            }
            return Ok(read);
        }
        // What is left behind the fetch offset was compacted away.
        let last = segments.len() - 1;
        Ok(result(last, marks.end, 0, 0, 0, 0))
    }

    /// From where on the bytes of a segment were written a moment ago.
    fn hot_from(segments: &[Arc<Segment>], index: usize) -> u64 {
        match index + 1 == segments.len() {
            true => segments[index].size().saturating_sub(HOT_TAIL_BYTES),
            false => u64::MAX,
        }
    }

    fn cached<'r>(
        &'r self,
        segments: &[Arc<Segment>],
        index: usize,
        only_cached: bool,
    ) -> Option<CachedReads<'r>> {
        only_cached.then(|| CachedReads {
            dir: self.dir_state.reads(),
            segment: segments[index].id(),
            hot_from: Self::hot_from(segments, index),
        })
    }

    /// Where a slice is. The segments that follow are counted only until it is known to be far behind the end.
    fn origin(&self, segments: &[Arc<Segment>], index: usize, position: u64, first_batch: usize) -> Origin {
        let size = segments[index].size();
        let catch_up_bytes = self.dir_state.catch_up_bytes();
        let mut behind = size.saturating_sub(position);
        for segment in &segments[index + 1..] {
            if behind > catch_up_bytes {
                break;
            }
            behind += segment.size();
        }
        Origin {
            dir: Arc::clone(&self.dir_state),
            segment: segments[index].id(),
            segment_bytes: size,
            first_batch,
            hot_from: Self::hot_from(segments, index),
            catch_up: behind > catch_up_bytes,
        }
    }

    /// Finds the place of an offset of which only the number is known.
    fn locate(
        &self,
        segments: &[Arc<Segment>],
        mark: LogOffsetMetadata,
        only_cached: bool,
    ) -> io::Result<LogOffsetMetadata> {
        if !mark.is_offset_only() {
            return Ok(mark);
        }
        let floor = segments.partition_point(|segment| segment.base_offset() <= mark.offset);
        for (index, segment) in segments.iter().enumerate().skip(floor.saturating_sub(1)) {
            let cached = self.cached(segments, index, only_cached);
            if let Some(found) = segment.translate_offset_with(mark.offset, cached)? {
                return Ok(LogOffsetMetadata {
                    offset: mark.offset,
                    segment_base_offset: segment.base_offset(),
                    position: found.position as i64,
                });
            }
        }
        // Nothing is at or behind the offset: the end of the last segment bounds as well.
        Ok(match segments.last() {
            Some(segment) => LogOffsetMetadata {
                offset: mark.offset,
                segment_base_offset: segment.base_offset(),
                position: segment.size() as i64,
            },
            None => mark,
        })
    }

    fn aborted_in(
        &self,
        segments: &[Arc<Segment>],
        index: usize,
        fetch_offset: i64,
        slice: &FetchSlice,
        log_end_offset: i64,
        only_cached: bool,
    ) -> io::Result<Vec<AbortedTransaction>> {
        let index_of = &segments[index].offset_index;
        let upper_bound =
            match index_of.fetch_upper_bound_offset(slice.position as u32, slice.len, only_cached)? {
                Some(offset) => offset,
                None => segments.get(index + 1).map_or(log_end_offset, |next| next.base_offset()),
            };
        let found = Self::collect_aborted(segments, index, fetch_offset, upper_bound, only_cached)?;
        Ok(found
            .iter()
            .map(|txn| AbortedTransaction { producer_id: txn.producer_id, first_offset: txn.first_offset })
            .collect())
    }

    fn collect_aborted(
        segments: &[Arc<Segment>],
        index: usize,
        fetch_offset: i64,
        upper_bound: i64,
        only_cached: bool,
    ) -> io::Result<Vec<AbortedTxn>> {
        let mut found = Vec::new();
        for segment in segments.iter().skip(index) {
            if segment.txn_index.collect(fetch_offset, upper_bound, only_cached, &mut found)? {
                break;
            }
        }
        Ok(found)
    }

    /// The aborted transactions that reach into `start_offset..upper_bound_offset`.
    ///
    /// # Errors
    /// The disk.
    pub fn collect_aborted_transactions(
        &self,
        start_offset: i64,
        upper_bound_offset: i64,
    ) -> Result<Vec<AbortedTxn>, LogError> {
        let segments = self.segments.load();
        let floor = segments.partition_point(|segment| segment.base_offset() <= start_offset);
        Self::collect_aborted(&segments, floor.saturating_sub(1), start_offset, upper_bound_offset, false)
            .map_err(|error| self.read_error("Exception while reading", error))
    }
}
