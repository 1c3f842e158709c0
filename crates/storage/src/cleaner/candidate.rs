//! What of a log may be cleaned, how dirty it is, and whether it has to be cleaned now.
//!
//! Source: Kafka `LogCleanerManager`, `LogToClean`, `PreCleanStats`; KIP-58, KIP-354.

use std::io;
use std::sync::Arc;

use crate::log::Log;
use crate::segment::Segment;

/// What is seen of all logs before one is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PreCleanStats {
    /// How long, at most, a log waits beyond its `max.compaction.lag.ms`, in milliseconds.
    pub max_compaction_delay_ms: i64,
    /// Logs that wait beyond it.
    pub delayed_partitions: usize,
    /// Logs that could be cleaned.
    pub cleanable_partitions: usize,
}

/// The dirty part of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetsToClean {
    /// The first offset that may have records of keys that come again.
    pub(crate) first_dirty_offset: i64,
    /// Where cleaning has to stop.
    pub(crate) first_uncleanable_offset: i64,
    /// Whether the checkpoint was wrong, so that it has to be written again.
    pub(crate) force_update_checkpoint: bool,
}

/// A log that may be cleaned.
#[derive(Debug, Clone)]
pub(crate) struct LogToClean {
    pub(crate) log: Arc<Log>,
    pub(crate) first_dirty_offset: i64,
    /// Base offset of the first segment that is left alone.
    pub(crate) first_uncleanable_offset: i64,
    pub(crate) needs_compaction_now: bool,
    pub(crate) clean_bytes: u64,
    pub(crate) cleanable_bytes: u64,
}

impl LogToClean {
    pub(crate) fn new(log: Arc<Log>, offsets: OffsetsToClean, needs_compaction_now: bool) -> Self {
        let first_dirty_offset = offsets.first_dirty_offset;
        let clean_bytes = segments_between(&log.segments(), -1, first_dirty_offset)
            .iter()
            .map(|segment| segment.size())
            .sum();
        let (first_uncleanable_offset, cleanable_bytes) =
            cleanable_bytes(&log, first_dirty_offset, offsets.first_uncleanable_offset);
        LogToClean {
            log,
            first_dirty_offset,
            first_uncleanable_offset,
            needs_compaction_now,
            clean_bytes,
            cleanable_bytes,
        }
    }

    pub(crate) fn total_bytes(&self) -> u64 {
        self.clean_bytes + self.cleanable_bytes
    }

    pub(crate) fn cleanable_ratio(&self) -> f64 {
        self.cleanable_bytes as f64 / (self.total_bytes() as f64).max(1.0)
    }

    pub(crate) fn is_due(&self) -> bool {
        (self.needs_compaction_now && self.cleanable_bytes > 0)
            || self.cleanable_ratio() > self.log.config().min_cleanable_dirty_ratio
    }
}

/// The segments from the one that holds `from` to the last that starts below `to`.
pub(super) fn segments_between(segments: &[Arc<Segment>], from: i64, to: i64) -> &[Arc<Segment>] {
    let start = segments.partition_point(|segment| segment.base_offset() <= from).saturating_sub(1);
    let end = segments.partition_point(|segment| segment.base_offset() < to);
    segments.get(start..end.max(start)).unwrap_or_default()
}

/// The closed segments from the one that holds `from` on.
fn closed_segments_from(segments: &[Arc<Segment>], from: i64) -> &[Arc<Segment>] {
    match segments.last() {
        Some(active) if from <= active.base_offset() => {
            segments_between(segments, from, active.base_offset())
        }
        _ => &[],
    }
}

/// The range of dirty offsets that can be cleaned. `last_clean_offset` is that of the checkpoint.
pub(crate) fn cleanable_offsets(
    log: &Log,
    last_clean_offset: Option<i64>,
    now_ms: i64,
) -> io::Result<OffsetsToClean> {
    let log_start_offset = log.log_start_offset();
    let checkpoint = last_clean_offset.unwrap_or(log_start_offset);
    let config = log.config();
    let valid = (log_start_offset..=log.log_end_offset()).contains(&checkpoint);
    // Retention that takes what was compacted is no surprise.
    let expected = config.cleanup_policy.delete && checkpoint < log_start_offset;
    if !valid && !expected {
        tracing::warn!(
            partition = %log.partition(),
            checkpoint,
            log_start_offset,
            log_end_offset = log.log_end_offset(),
            "the cleaner's checkpoint is outside of the log; the log counts as dirty from its start"
        );
    }
    let first_dirty_offset = if valid { checkpoint } else { log_start_offset };

    let segments = log.segments();
    let active = segments.last().map_or(0, |segment| segment.base_offset());
    let mut first_uncleanable_offset = log.last_stable_offset().min(active);
    if config.min_compaction_lag_ms > 0 {
        for segment in closed_segments_from(&segments, first_dirty_offset) {
            if segment.largest_timestamp(&**log.disk())? > now_ms.saturating_sub(config.min_compaction_lag_ms)
            {
                first_uncleanable_offset = first_uncleanable_offset.min(segment.base_offset());
                break;
            }
        }
    }
    Ok(OffsetsToClean {
        first_dirty_offset,
        first_uncleanable_offset: first_dirty_offset.max(first_uncleanable_offset),
        force_update_checkpoint: !valid,
    })
}

/// Base offset of the first segment that holds uncleanable offsets, and the dirty bytes before it.
pub(crate) fn cleanable_bytes(log: &Log, first_dirty_offset: i64, uncleanable_offset: i64) -> (i64, u64) {
    let segments = log.segments();
    let first_uncleanable = closed_segments_from(&segments, uncleanable_offset).first().or(segments.last());
    let first_uncleanable_offset = first_uncleanable.map_or(0, |segment| segment.base_offset());
    let from = first_dirty_offset.min(first_uncleanable_offset);
    let bytes = if from < first_uncleanable_offset {
        segments_between(&segments, from, first_uncleanable_offset).iter().map(|segment| segment.size()).sum()
    } else {
        0
    };
    (first_uncleanable_offset, bytes)
}

/// For how long the log has been due by `max.compaction.lag.ms`; 0 when it is not.
pub(crate) fn max_compaction_delay(log: &Log, first_dirty_offset: i64, now_ms: i64) -> io::Result<i64> {
    let segments = log.segments();
    let mut earliest = i64::MAX;
    for segment in closed_segments_from(&segments, first_dirty_offset) {
        if let Some(timestamp) = segment.first_batch_timestamp()?.filter(|timestamp| *timestamp > 0) {
            earliest = earliest.min(timestamp);
        }
    }
    let clean_until_ms = now_ms.saturating_sub(log.config().max_compaction_lag_ms.max(0));
    Ok(if earliest < clean_until_ms { clean_until_ms - earliest } else { 0 })
}
