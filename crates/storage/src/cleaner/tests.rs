//! The parts of a cleaning that decide without a log.

use std::collections::BTreeMap;

use super::grouping::{SegmentSize, group_segments};
use super::offset_map::sip128;
use super::{OffsetMap, Throttle};

fn segment(base_offset: i64, log_bytes: u64) -> SegmentSize {
    SegmentSize { base_offset, log_bytes, index_bytes: 8, time_index_bytes: 12 }
}

#[test]
fn the_map_keeps_the_last_offset_of_each_key() {
    let mut map = OffsetMap::new(10_000 * 24, 0.9, 5);
    map.reset(100_000);
    let mut model = BTreeMap::new();
    for offset in 0..40_000i64 {
        let key = (offset.wrapping_mul(2_654_435_761) % 8999).to_be_bytes();
        assert!(map.put(&key, offset), "there is room for 9000 keys");
        model.insert(key, offset);
    }
    assert_eq!(map.len(), model.len());
    assert_eq!(map.latest_offset(), 39_999);
    for (key, offset) in &model {
        assert_eq!(map.get(key), *offset);
    }
    assert_eq!(map.get(b"another key"), -1);
    assert!(map.utilization() > 0.85 && map.utilization() <= 0.9, "{}", map.utilization());
}

#[test]
fn a_full_map_takes_no_new_key_but_later_offsets() {
    let mut map = OffsetMap::new(0, 0.5, 5);
    map.reset(u64::MAX);
    let mut taken = 0i64;
    while map.put(&taken.to_be_bytes(), taken) {
        taken += 1;
    }
    assert_eq!(taken, 32, "half of the smallest table");
    assert_eq!(map.latest_offset(), 31);
    assert!(map.put(&3i64.to_be_bytes(), 900));
    assert_eq!((map.get(&3i64.to_be_bytes()), map.get(&32i64.to_be_bytes())), (900, -1));
    map.reset(10);
    assert!(map.is_empty());
    assert_eq!(map.get(&3i64.to_be_bytes()), -1);
}

#[test]
fn hashes_depend_on_every_byte_the_length_and_the_key() {
    let mut seen = std::collections::HashSet::new();
    for length in 0..40usize {
        let zeros = vec![0u8; length];
        assert!(seen.insert(sip128((1, 2), &zeros)));
        for at in 0..length {
            let mut bytes = zeros.clone();
            bytes[at] = 1;
            assert!(seen.insert(sip128((1, 2), &bytes)), "byte {at} of {length}");
        }
    }
    assert!(seen.insert(sip128((1, 3), b"")) && seen.insert(sip128((2, 2), b"")));
}

#[test]
fn segments_are_grouped_by_bytes_of_log_and_index_and_by_offsets() {
    let check = |segments: &[SegmentSize], max_log: u64, max_index: u64, end: i64, expected: &[&[i64]]| {
        let groups = group_segments(segments, max_log, max_index, end);
        let bases: Vec<Vec<i64>> = groups
            .into_iter()
            .map(|group| segments[group].iter().map(|segment| segment.base_offset).collect())
            .collect();
        assert_eq!(bases, expected);
    };
    let four: Vec<SegmentSize> = (0..4).map(|number| segment(number * 10, 100)).collect();
    check(&four, u64::MAX, u64::MAX, 40, &[&[0, 10, 20, 30]]);
    check(&four, 200, u64::MAX, 40, &[&[0, 10], &[20, 30]]);
    check(&four, 50, u64::MAX, 40, &[&[0], &[10], &[20], &[30]]);
    check(&four, u64::MAX, 25, 40, &[&[0, 10], &[20, 30]]);
    check(&[], 10, 10, 0, &[]);
    // Relative offsets have 31 bits; a segment without records needs none.
    let limit = i64::from(i32::MAX);
    check(&[segment(0, 1), segment(10, 1)], 9, 99, limit + 1, &[&[0, 10]]);
    check(&[segment(0, 1), segment(10, 1)], 9, 99, limit + 2, &[&[0], &[10]]);
    check(
        &[segment(0, 1), segment(10, 1), segment(limit + 2, 1)],
        9,
        99,
        limit + 9,
        &[&[0], &[10, limit + 2]],
    );
    check(&[segment(0, 0), segment(limit + 5, 0)], 9, 99, limit + 9, &[&[0, limit + 5]]);
}

#[test]
fn a_throttle_sleeps_as_long_as_the_rate_needs() {
    const SECOND: u64 = 1_000_000_000;
    let mut throttle = Throttle::new(1000.0, 0);
    assert_eq!(throttle.observe(500.0, SECOND / 10), 0, "too early to tell");
    // 1500 in half a second: a second is missing.
    assert_eq!(throttle.observe(1000.0, SECOND / 2), SECOND);
    let now = 3 * SECOND / 2;
    assert_eq!(throttle.observe(400.0, now + SECOND / 2), 0, "below the rate");
    let mut free = Throttle::new(f64::MAX, 0);
    assert_eq!(free.observe(1e12, SECOND), 0);
    free.set_rate(0.0);
    assert!(free.observe(1.0, 2 * SECOND) > 1000 * SECOND);
}

#[derive(Debug)]
struct Still;

impl super::CleanerControl for Still {
    fn now_ms(&self) -> i64 {
        1000
    }

    fn io(&self, _: usize, _: &dyn Fn() -> bool) -> bool {
        true
    }
}

#[test]
fn what_does_not_fit_one_segment_goes_into_several() {
    use crate::dirs::{LogDirs, LogDirsOptions};
    use crate::log::{AppendOptions, TopicPartition};
    use crate::producer_state::AppendOrigin;
    use crate::{CleanupPolicy, LogConfig};
    use ottla_protocol::records::{BatchBuilder, BatchOptions};
    use std::sync::Arc;

    // By bytes, and by offsets.
    for (max_bytes, max_offset_range) in [(300, i64::MAX), (u64::MAX, 20)] {
        let folder = tempfile::tempdir().expect("a directory");
        let config = LogConfig {
            cleanup_policy: CleanupPolicy { delete: false, compact: true },
            min_cleanable_dirty_ratio: 0.0,
            ..LogConfig::default()
        };
        let options = LogDirsOptions {
            topic_configs: Arc::new(move |_| config.clone()),
            ..LogDirsOptions::new(vec![folder.path().to_path_buf()])
        };
        let dirs = LogDirs::open(Arc::new(crate::disk::OsDisk), options, 1).expect("opens");
        dirs.load_logs(0, &|_| false);
        let partition = TopicPartition::new("t", 0);
        let log = dirs.get_or_create(&partition, None, None, 0).expect("a log");
        for number in 0..50u8 {
            let mut builder = BatchBuilder::new(BatchOptions::default());
            builder.append(i64::from(number), Some(&[number % 40]), Some(b"some value"), []);
            let bytes = builder.build().expect("builds").to_vec();
            log.append_as_leader(&bytes, &AppendOptions::new(AppendOrigin::Client, 0, 0)).expect("appends");
        }
        log.update_high_watermark(50);
        log.roll(0).expect("rolls");
        let mut cleaner = super::Cleaner::new(&super::CleanerConfig::default(), 1);
        cleaner.limit_segments(max_bytes, max_offset_range);
        let (cleaning, _) = dirs.clean_filthiest(&mut cleaner, &Still);
        let (end, stats) = cleaning.expect("a cleaning").result.expect("cleans");
        assert_eq!((end, stats.messages_read, stats.messages_written), (50, 50, 40));
        let sizes = log.segment_sizes();
        assert!(sizes.len() > 2, "{sizes:?}");
        assert!(sizes.iter().all(|(_, bytes)| *bytes <= max_bytes));
        assert!(sizes.is_sorted());
        for (offset, expected) in [(0, 10), (33, 33), (49, 49)] {
            let read = log.read(offset, 10, crate::log::FetchIsolation::LogEnd, true).expect("reads");
            let bytes = read.slice.to_vec().expect("bytes");
            assert_eq!(i64::from_be_bytes(*bytes.first_chunk().expect("a batch")), expected);
        }
        let count = log.segment_count();
        dirs.shutdown(0, 1);
        drop((log, dirs));
        let options = LogDirsOptions::new(vec![folder.path().to_path_buf()]);
        let dirs = LogDirs::open(Arc::new(crate::disk::OsDisk), options, 1).expect("opens");
        dirs.load_logs(0, &|_| false);
        assert_eq!(dirs.get(&partition).expect("the log").segment_count(), count);
    }
}
