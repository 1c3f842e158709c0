//! Where a cleaning writes to: `.cleaned` files, one segment or, when what is kept does not fit, several.

use std::io;

use crate::config::LogConfig;
use crate::index::AbortedTxn;
use crate::log::{Cleaned, Incoming, Log};
use crate::segment::Segment;

/// How large a segment may get. What recompression and merging may make of a group is bounded by nothing else.
#[derive(Debug, Clone, Copy)]
pub(super) struct SegmentLimits {
    pub(super) max_bytes: u64,
    pub(super) max_offset_range: i64,
}

impl Default for SegmentLimits {
    fn default() -> Self {
        SegmentLimits { max_bytes: i32::MAX as u64, max_offset_range: i64::from(i32::MAX) }
    }
}

/// The segments that a group of segments becomes.
#[derive(Debug)]
pub(super) struct Destination<'d> {
    log: &'d Log,
    config: &'d LogConfig,
    limits: SegmentLimits,
    buffer_bytes: usize,
    now_ms: i64,
    done: Vec<Cleaned>,
    current: Cleaned,
    /// Batches that are not in the file yet.
    buffer: Vec<u8>,
}

impl<'d> Destination<'d> {
    pub(super) fn create(
        log: &'d Log,
        base_offset: i64,
        config: &'d LogConfig,
        limits: SegmentLimits,
        buffer_bytes: usize,
        now_ms: i64,
    ) -> io::Result<Self> {
        let segment = Self::new_segment(log, base_offset, config, now_ms)?;
        Ok(Destination {
            log,
            config,
            limits,
            buffer_bytes,
            now_ms,
            done: Vec::new(),
            current: Cleaned { segment, next_offset: base_offset },
            buffer: Vec::with_capacity(buffer_bytes),
        })
    }

    fn new_segment(log: &Log, base_offset: i64, config: &LogConfig, now_ms: i64) -> io::Result<Segment> {
        let memory = log.dir_state().index_memory();
        Segment::create_cleaned(log.disk(), memory, &log.dir(), base_offset, config, now_ms)
    }

    /// Where batches are put before [`Destination::added`].
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Says that the bytes from `start` on are a batch of these offsets, and that `aborted` belongs to it. Returns the
    /// bytes that were written to the file.
    pub(super) fn added(
        &mut self,
        start: usize,
        base_offset: i64,
        next_offset: i64,
        aborted: Option<AbortedTxn>,
        modified_ms: i64,
    ) -> io::Result<usize> {
        let mut written = 0;
        if self.buffer.len() > start {
            let segment = &self.current.segment;
            let bytes = segment.size() + self.buffer.len() as u64;
            let range = next_offset - 1 - segment.base_offset();
            // A batch that is too large by itself has to go somewhere.
            let is_first = segment.size() == 0 && start == 0;
            if !is_first && (bytes > self.limits.max_bytes || range > self.limits.max_offset_range) {
                let batch = self.buffer.split_off(start);
                written += self.flush()?;
                self.next_segment(base_offset, modified_ms)?;
                self.buffer = batch;
            }
            self.current.next_offset = next_offset;
        }
        if let Some(aborted) = aborted {
            self.current.segment.txn_index.append(aborted)?;
        }
        if self.buffer.len() >= self.buffer_bytes {
            written += self.flush()?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<usize> {
        let bytes = self.buffer.len();
        if bytes > 0 {
            self.current.segment.append(Incoming::AsTheyAre(&self.buffer), self.config)?;
            self.buffer.clear();
        }
        Ok(bytes)
    }

    fn next_segment(&mut self, base_offset: i64, modified_ms: i64) -> io::Result<()> {
        let segment = Self::new_segment(self.log, base_offset, self.config, self.now_ms)?;
        let full = std::mem::replace(&mut self.current, Cleaned { segment, next_offset: base_offset });
        Self::complete(&full.segment, modified_ms)?;
        self.done.push(full);
        Ok(())
    }

    /// Makes a segment durable. It keeps the age of what it was made from, which retention goes by when records have no
    /// timestamps.
    fn complete(segment: &Segment, modified_ms: i64) -> io::Result<()> {
        segment.on_become_inactive()?;
        segment.file().set_modified_ms(modified_ms)?;
        segment.flush(true)
    }

    /// Makes everything durable and returns the segments with the bytes that were written last.
    pub(super) fn finish(mut self, modified_ms: i64) -> io::Result<(Vec<Cleaned>, usize)> {
        let written = self.flush()?;
        Self::complete(&self.current.segment, modified_ms)?;
        let mut all = self.done;
        all.push(self.current);
        Ok((all, written))
    }
}
