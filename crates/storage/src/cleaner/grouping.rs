//! Which segments become one, so that they do not shrink to nothing from cleaning to cleaning.
//!
//! Source: Kafka `Cleaner.groupSegmentsBySize`.

use std::ops::Range;

/// A segment as far as grouping looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentSize {
    pub(super) base_offset: i64,
    pub(super) log_bytes: u64,
    pub(super) index_bytes: u64,
    pub(super) time_index_bytes: u64,
}

/// Cuts `segments` into runs that fit one segment: by bytes of the log, of each index, and by the span of offsets.
pub(super) fn group_segments(
    segments: &[SegmentSize],
    max_log_bytes: u64,
    max_index_bytes: u64,
    first_uncleanable_offset: i64,
) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut start = 0;
    while let Some(first) = segments.get(start) {
        let mut sum = *first;
        let mut end = start + 1;
        while let Some(next) = segments.get(end) {
            // Where the last record is costs a scan to find out; it is below the next segment.
            let upper_bound =
                segments.get(end + 1).map_or(first_uncleanable_offset, |after| after.base_offset) - 1;
            let offsets_fit =
                next.log_bytes == 0 || upper_bound.saturating_sub(first.base_offset) <= i64::from(i32::MAX);
            let fits = sum.log_bytes + next.log_bytes <= max_log_bytes
                && sum.index_bytes + next.index_bytes <= max_index_bytes
                && sum.time_index_bytes + next.time_index_bytes <= max_index_bytes
                && offsets_fit;
            if !fits {
                break;
            }
            sum.log_bytes += next.log_bytes;
            sum.index_bytes += next.index_bytes;
            sum.time_index_bytes += next.time_index_bytes;
            end += 1;
        }
        groups.push(start..end);
        start = end;
    }
    groups
}
