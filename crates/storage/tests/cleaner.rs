//! Compaction of a log: what stays, what goes and when, against a model and by example.

mod support;
mod workload;

use ottla_protocol::compression::{Codec, Compression};
use ottla_protocol::records::BatchOptions;
use ottla_storage::LogConfig;
use ottla_storage::cleaner::CleanError;
use workload::disk::SteppedDisk;
use workload::{Node, START_MS, Workload, all_records, batch, batches, committed_view, compacted, partition};

fn node(folder: &tempfile::TempDir, config: LogConfig) -> Node {
    Node::open(SteppedDisk::new(), folder.path(), config, START_MS)
}

fn values(node: &Node) -> Vec<(i64, String, Option<String>)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    all_records(&node.log())
        .iter()
        .map(|found| (found.offset, text(&found.key), found.value.as_deref().map(text)))
        .collect()
}

#[test]
fn of_each_key_the_last_record_stays_at_its_offset() {
    let folder = tempfile::tempdir().expect("a directory");
    let mut node = node(&folder, compacted());
    for round in 0..20 {
        for key in ["a", "b", "c"] {
            node.put(key, Some(&format!("{key}{round}")));
        }
    }
    node.clean_all();
    let expected: Vec<_> = [(57, "a"), (58, "b"), (59, "c")]
        .iter()
        .map(|(offset, key)| (*offset, (*key).to_owned(), Some(format!("{key}19"))))
        .collect();
    assert_eq!(values(&node), expected);
    let log = node.log();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (0, 60));
    assert_eq!(node.dirs.cleaner_checkpoint(&partition()), Some(60));
    // What is asked for lies before what is left: the next record that is left answers.
    assert!(
        !log.read(3, 1000, ottla_storage::log::FetchIsolation::HighWatermark, true)
            .expect("reads")
            .slice
            .len
            .eq(&0)
    );
    let text =
        std::fs::read_to_string(folder.path().join("cleaner-offset-checkpoint")).expect("the checkpoint");
    assert_eq!(text, "0\n1\nt 0 60\n");
}

#[test]
fn a_tombstone_stays_for_its_retention_after_the_first_cleaning() {
    let folder = tempfile::tempdir().expect("a directory");
    let mut node = node(&folder, compacted());
    node.put("a", Some("1"));
    node.put("b", Some("1"));
    node.put("a", None);
    node.put("c", Some("1"));
    node.clean_all();
    let with_tombstone = vec![
        (1, "b".to_owned(), Some("1".to_owned())),
        (2, "a".to_owned(), None),
        (3, "c".to_owned(), Some("1".to_owned())),
    ];
    assert_eq!(values(&node), with_tombstone);
    node.pass(999);
    node.put("d", Some("1"));
    node.clean_all();
    assert_eq!(values(&node)[..3], with_tombstone[..]);
    node.pass(1);
    node.put("d", Some("2"));
    node.clean_all();
    let left: Vec<i64> = values(&node).iter().map(|(offset, ..)| *offset).collect();
    assert_eq!(left, [1, 3, 5], "the horizon is over");
}

#[test]
fn nothing_above_the_last_stable_offset_is_cleaned() {
    let folder = tempfile::tempdir().expect("a directory");
    let mut node = node(&folder, compacted());
    let options = BatchOptions {
        producer_id: 9,
        producer_epoch: 0,
        base_sequence: 0,
        transactional: true,
        ..BatchOptions::default()
    };
    node.put("a", Some("1"));
    node.put("a", Some("2"));
    node.log().roll(node.now()).expect("rolls");
    node.append(&mut batch(&options, START_MS, &[("a", Some("open"))])).expect("appends");
    node.put("a", Some("3"));
    node.clean_all();
    let left: Vec<i64> = values(&node).iter().map(|(offset, ..)| *offset).collect();
    assert_eq!(left, [1, 2, 3], "what comes behind the open transaction takes nothing away");
    node.end_transaction(9, 0, false);
    node.clean_all();
    let left: Vec<i64> = values(&node).iter().map(|(offset, ..)| *offset).collect();
    assert_eq!(left, [3]);
}

#[test]
fn an_aborted_transaction_leaves_its_marker_for_a_while_and_its_producers_last_batch() {
    let folder = tempfile::tempdir().expect("a directory");
    let mut node = node(&folder, compacted());
    let options = BatchOptions {
        producer_id: 9,
        producer_epoch: 0,
        base_sequence: 0,
        transactional: true,
        ..BatchOptions::default()
    };
    node.append(&mut batch(&options, START_MS, &[("a", Some("x")), ("b", Some("x"))])).expect("appends");
    node.end_transaction(9, 0, false);
    node.put("a", Some("1"));
    node.clean_all();
    let log = node.log();
    assert_eq!(
        batches(&log),
        [(0, 1, 0, false), (2, 2, 1, true), (3, 3, 1, false)],
        "an empty batch keeps the sequence, the marker stays"
    );
    assert_eq!(log.collect_aborted_transactions(0, 4).expect("reads").len(), 1);
    // The data is gone, so the marker gets its horizon now, and goes when that is over.
    node.put("b", Some("1"));
    node.clean_all();
    node.pass(1001);
    node.put("b", Some("2"));
    node.clean_all();
    assert!(batches(&log).contains(&(0, 1, 0, false)));
    assert_eq!(log.producer_entries()[0].last_sequence(), 1);
    drop(log);
    drop(node);
    // A start without a snapshot finds the producer in what compaction left.
    for file in std::fs::read_dir(folder.path().join("t-0")).expect("lists") {
        let file = file.expect("a file").path();
        if file.extension().is_some_and(|extension| extension == "snapshot") {
            std::fs::remove_file(file).expect("removes");
        }
    }
    let node = Node::open(SteppedDisk::new(), folder.path(), compacted(), START_MS);
    let entries = node.log().producer_entries();
    assert_eq!((entries[0].producer_id, entries[0].last_sequence()), (9, 1));
}

#[test]
fn markers_of_committed_transactions_go_after_their_data() {
    let folder = tempfile::tempdir().expect("a directory");
    let mut node = node(&folder, compacted());
    let transaction = |node: &Node, id: i64, sequence: i32| {
        let options = BatchOptions {
            producer_id: id,
            producer_epoch: 0,
            base_sequence: sequence,
            transactional: true,
            ..BatchOptions::default()
        };
        node.append(&mut batch(&options, START_MS, &[("a", Some("x"))])).expect("appends");
        node.end_transaction(id, 0, true);
    };
    transaction(&node, 9, 0);
    transaction(&node, 9, 1);
    node.put("a", Some("1"));
    node.clean_all();
    // Offset 0 went with this cleaning; its marker at 1 may go once a consumer that saw 0 must have seen it.
    assert_eq!(batches(&node.log()), [(1, 1, 1, true), (2, 2, 0, false), (3, 3, 1, true), (4, 4, 1, false)]);
    node.put("a", Some("2"));
    node.clean_all();
    assert!(batches(&node.log()).contains(&(1, 1, 1, true)), "the horizon only starts now");
    node.pass(1001);
    node.put("a", Some("3"));
    node.clean_all();
    let left = batches(&node.log());
    assert!(!left.contains(&(1, 1, 1, true)), "{left:?}");
    assert!(left.contains(&(2, 2, 0, false)), "the producer's last batch: {left:?}");
}

#[test]
fn segments_are_merged_and_old_files_go_with_delay() {
    let folder = tempfile::tempdir().expect("a directory");
    let config = LogConfig { file_delete_delay_ms: 500, ..compacted() };
    let mut node = node(&folder, config);
    for round in 0..300 {
        node.put(&format!("key {}", round % 7), Some("some value that takes a little room"));
    }
    let before = node.log().segment_count();
    assert!(before > 5);
    node.clean_all();
    assert_eq!(node.log().segment_count(), before + 1, "what is grouped is counted before it is cleaned");
    node.put("key 0", Some("again"));
    node.clean_all();
    assert_eq!(node.log().segment_count(), 2, "one segment of what is left, and the active one");
    let names = |suffix: &str| {
        std::fs::read_dir(folder.path().join("t-0"))
            .expect("lists")
            .filter(|file| {
                file.as_ref().is_ok_and(|file| file.file_name().to_string_lossy().ends_with(suffix))
            })
            .count()
    };
    assert!(names(".log.deleted") >= before);
    assert_eq!((names(".swap"), names(".cleaned")), (0, 0));
    node.dirs.maintain(node.now());
    assert!(names(".log.deleted") >= before);
    node.dirs.maintain(node.now() + 500);
    assert_eq!(names(".deleted"), 0);
}

#[test]
fn a_flipped_bit_is_not_copied_and_sets_the_partition_aside() {
    let reference = tempfile::tempdir().expect("a directory");
    let prepare = |folder: &tempfile::TempDir| {
        let node = node(folder, compacted());
        let zstd = BatchOptions { compression: Compression::of(Codec::Zstd), ..BatchOptions::default() };
        node.append(&mut batch(&BatchOptions::default(), START_MS, &[("a", Some("1")), ("b", None)]))
            .expect("appends");
        node.append(&mut batch(&zstd, START_MS, &[("a", Some("2")), ("c", Some("3"))])).expect("appends");
        node.log().roll(START_MS).expect("rolls");
        node.put("d", Some("1"));
        node
    };
    prepare(&reference);
    let path = |folder: &tempfile::TempDir| folder.path().join("t-0/00000000000000000000.log");
    let good = std::fs::read(path(&reference)).expect("the log");
    let mut spared = Vec::new();
    // Each byte, with another bit each time.
    for bit in (0..good.len() * 8).step_by(7) {
        let folder = tempfile::tempdir().expect("a directory");
        let mut node = prepare(&folder);
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(path(&folder), &bytes).expect("writes");
        let cleaning = node.clean().expect("a cleaning");
        match cleaning.result {
            Err(CleanError::Corrupt { path: found, .. }) => assert_eq!(found, path(&folder)),
            // The leader epoch and the offset are outside of the checksum: larger ones cannot all be told from right ones.
            Ok(_) => spared.push(bit / 8),
            Err(error) => panic!("{error} at bit {bit}"),
        }
        if spared.last() != Some(&(bit / 8)) {
            assert_eq!(std::fs::read(path(&folder)).expect("the log"), bytes, "the log is left alone");
            assert!(node.clean().is_none(), "not tried again");
            let status = node.dirs.cleaner_status(node.now());
            assert_eq!(status.uncleanable[0].partitions, [partition()]);
            assert_eq!(status.uncleanable[0].bytes, good.len() as u64);
            assert!(
                !std::fs::read_dir(folder.path().join("t-0")).expect("lists").any(|file| {
                    file.expect("a file").file_name().to_string_lossy().ends_with(".cleaned")
                })
            );
        }
    }
    spared.dedup();
    let first = u32::from_be_bytes([good[8], good[9], good[10], good[11]]) as usize + 12;
    let allowed: Vec<usize> = (12..16).chain(first + 12..first + 16).collect();
    assert!(spared.iter().all(|byte| allowed.contains(byte)), "{spared:?}");
}

#[test]
fn a_log_that_is_deleted_or_truncated_meanwhile_is_let_go() {
    struct Interrupt<'a>(&'a Node, std::cell::Cell<bool>, fn(&Node));
    impl ottla_storage::cleaner::CleanerControl for Interrupt<'_> {
        fn now_ms(&self) -> i64 {
            self.0.now()
        }
        fn io(&self, _: usize, _: &dyn Fn() -> bool) -> bool {
            if !self.1.replace(true) {
                (self.2)(self.0);
            }
            true
        }
    }
    let steps: [fn(&Node); 2] = [
        |node| {
            node.log().truncate_to(10, node.now()).expect("truncates");
        },
        |node| {
            node.log().delete_records(45).expect("deletes");
            node.log().delete_old_segments(node.now()).expect("deletes");
        },
    ];
    for step in steps {
        let folder = tempfile::tempdir().expect("a directory");
        let mut node = node(&folder, compacted());
        for round in 0..60 {
            node.put("k", Some(&format!("{round} some value that takes room")));
        }
        node.log().roll(node.now()).expect("rolls");
        let mut cleaner = std::mem::replace(
            &mut node.cleaner,
            ottla_storage::cleaner::Cleaner::new(&workload::cleaner_config(), 1),
        );
        let control = Interrupt(&node, std::cell::Cell::new(false), step);
        let (cleaning, _) = node.dirs.clean_filthiest(&mut cleaner, &control);
        let result = cleaning.expect("a cleaning").result;
        assert!(matches!(result, Err(CleanError::Aborted)), "{result:?}");
        let log = node.log();
        let (start, end) = (log.log_start_offset(), log.log_end_offset());
        let offsets: Vec<i64> = all_records(&log).iter().map(|found| found.offset).collect();
        assert_eq!(offsets, (start..end).collect::<Vec<_>>(), "nothing was swapped in");
        // The next attempt finds a log as it is then.
        node.put("k", Some("last"));
        node.clean_all();
        assert_eq!(committed_view(&node.log()).get(&b"k"[..]).map(Vec::as_slice), Some(&b"last"[..]));
    }
}

#[test]
fn a_full_map_cleans_in_several_rounds() {
    let folder = tempfile::tempdir().expect("a directory");
    let mut node = node(&folder, compacted());
    let tiny =
        ottla_storage::cleaner::CleanerConfig { dedupe_buffer_size: 64 * 24, ..workload::cleaner_config() };
    node.cleaner = ottla_storage::cleaner::Cleaner::new(&tiny, 1);
    for round in 0..400 {
        node.put(&format!("key {}", round % 130), Some(&format!("{round}")));
    }
    node.log().roll(node.now()).expect("rolls");
    let mut rounds = 0;
    let mut before = 0;
    while let Some(cleaning) = node.clean() {
        let (end, _) = cleaning.result.expect("cleans");
        assert!(end > before, "each round comes further");
        before = end;
        rounds += 1;
    }
    assert!(rounds > 3, "{rounds}");
    let offsets: Vec<i64> = all_records(&node.log()).iter().map(|found| found.offset).collect();
    assert_eq!(offsets, (270..400).collect::<Vec<_>>());
}

#[test]
fn min_compaction_lag_keeps_young_segments_dirty_and_max_lag_makes_old_ones_due() {
    let folder = tempfile::tempdir().expect("a directory");
    let config = LogConfig { min_compaction_lag_ms: 1000, ..compacted() };
    let mut young = node(&folder, config.clone());
    young.put("a", Some("1"));
    young.put("a", Some("2"));
    young.log().roll(young.now()).expect("rolls");
    young.put("a", Some("3"));
    assert!(young.clean().is_none());
    young.pass(1001);
    assert!(young.clean().is_some());

    let folder = tempfile::tempdir().expect("a directory");
    let config = LogConfig { min_cleanable_dirty_ratio: 0.99, max_compaction_lag_ms: 5000, ..compacted() };
    let mut old = node(&folder, config);
    for _ in 0..50 {
        old.put("a", Some("1"));
    }
    old.clean_all();
    old.put("a", Some("2"));
    old.log().roll(old.now()).expect("rolls");
    assert!(old.clean().is_none(), "too few bytes are dirty");
    old.pass(5001);
    assert!(old.clean().is_some(), "but they have waited long enough");
}

#[test]
fn random_loads_keep_the_last_value_of_each_key() {
    for seed in 0..25 {
        let folder = tempfile::tempdir().expect("a directory");
        let mut node = node(&folder, compacted());
        let mut load = Workload::new(seed);
        for _ in 0..6 {
            for _ in 0..load.dice.roll(60) {
                load.step(&node);
            }
            if load.dice.roll(2) == 0 {
                load.settle(&node);
            }
            let now = load.dice.roll(1500) as i64;
            node.pass(now);
            node.log().roll(node.now()).expect("rolls");
            let producers = node.log().producer_entries();
            while let Some(cleaning) = node.clean() {
                cleaning.result.expect("cleans");
            }
            load.check(&node.log());
            if load.dice.roll(2) == 0 {
                let (end, now) = (node.log().log_end_offset(), node.now());
                if load.dice.roll(2) == 0 {
                    node.dirs.shutdown(now, 1);
                }
                drop(node);
                node = Node::open(SteppedDisk::new(), folder.path(), compacted(), now);
                assert_eq!(node.log().log_end_offset(), end, "seed {seed}");
                let high_watermark = node.log().log_end_offset();
                node.log().update_high_watermark(high_watermark);
                load.check(&node.log());
                let sequences = |entries: &[ottla_storage::producer_state::ProducerEntry]| {
                    entries
                        .iter()
                        .map(|entry| (entry.producer_id, entry.producer_epoch, entry.last_sequence()))
                        .collect::<Vec<_>>()
                };
                assert_eq!(sequences(&node.log().producer_entries()), sequences(&producers), "seed {seed}");
            }
        }
    }
}

#[test]
fn logs_that_kafka_wrote_and_compacted_are_compacted_further() {
    for name in ["compact-kill", "compact-clean", "txn-clean", "groups-kill"] {
        let fixture = support::Fixture::open(name);
        let dirs = fixture.load();
        let clock = workload::Clock(std::sync::atomic::AtomicI64::new(1_795_330_000_000));
        let mut cleaner = ottla_storage::cleaner::Cleaner::new(&workload::cleaner_config(), 9);
        let mut views = Vec::new();
        for (log, expected) in fixture.partitions(&dirs) {
            log.update_high_watermark(expected["highWatermark"].as_i64().expect("a number"));
            let config = log.config();
            if !config.cleanup_policy.compact {
                continue;
            }
            log.update_config(LogConfig { min_cleanable_dirty_ratio: 0.0, ..(*config).clone() });
            if log.log_end_offset() == log.high_watermark() {
                log.roll(START_MS).expect("rolls");
                log.update_high_watermark(log.log_end_offset());
            }
            views.push((std::sync::Arc::clone(&log), committed_view(&log), log.segment_sizes()));
        }
        let mut cleaned = 0;
        while let (Some(cleaning), _) = dirs.clean_filthiest(&mut cleaner, &clock) {
            cleaning.result.unwrap_or_else(|error| panic!("{name} {}: {error}", cleaning.partition));
            cleaned += 1;
        }
        assert!(cleaned > 0 || views.is_empty(), "{name}");
        for (log, view, sizes) in views {
            assert_eq!(committed_view(&log), view, "{name} {}", log.partition());
            let bytes = |sizes: &[(i64, u64)]| sizes.iter().map(|(_, bytes)| bytes).sum::<u64>();
            assert!(bytes(&log.segment_sizes()) <= bytes(&sizes) + 200, "{name} {}", log.partition());
        }
    }
}

/// A message of magic 1.
fn legacy(offset: i64, timestamp: i64, key: &[u8], value: Option<&[u8]>) -> Vec<u8> {
    let mut body = vec![1u8, 0];
    body.extend(timestamp.to_be_bytes());
    body.extend((key.len() as i32).to_be_bytes());
    body.extend(key);
    body.extend(value.map_or(-1, |value| value.len() as i32).to_be_bytes());
    body.extend(value.unwrap_or_default());
    let mut message = offset.to_be_bytes().to_vec();
    message.extend((body.len() as i32 + 4).to_be_bytes());
    message.extend(ottla_protocol::records::crc32(&body).to_be_bytes());
    message.extend(body);
    message
}

#[test]
fn messages_of_old_formats_are_converted() {
    let folder = tempfile::tempdir().expect("a directory");
    let dir = folder.path().join("t-0");
    std::fs::create_dir_all(&dir).expect("makes");
    let mut bytes = Vec::new();
    for (offset, key, value) in
        [(3, "a", Some("1")), (4, "b", None), (6, "a", Some("2")), (7, "c", Some("3"))]
    {
        bytes.extend(legacy(offset, START_MS + offset, key.as_bytes(), value.map(str::as_bytes)));
    }
    std::fs::write(dir.join("00000000000000000000.log"), bytes).expect("writes");
    let mut node = node(&folder, compacted());
    let log = node.log();
    log.update_high_watermark(log.log_end_offset());
    node.clean_all();
    let expected = [
        (4, "b".to_owned(), None),
        (6, "a".to_owned(), Some("2".to_owned())),
        (7, "c".to_owned(), Some("3".to_owned())),
    ];
    assert_eq!(values(&node), expected);
    let timestamps: Vec<i64> = all_records(&log).iter().map(|found| found.timestamp - START_MS).collect();
    assert_eq!(timestamps, [4, 6, 7]);
    assert_eq!(batches(&log), [(4, 4, 1, false), (6, 6, 1, false), (7, 7, 1, false)], "now with counts");
    node.pass(1001);
    node.put("c", Some("4"));
    node.clean_all();
    assert_eq!(values(&node).len(), 2, "the tombstone had its horizon");
}

#[test]
fn timestamps_sequences_headers_and_codecs_stay_as_they_are() {
    use ottla_protocol::records::{BatchBuilder, BatchIter, Header, Scratch, TimestampType};
    for codec in Codec::ALL {
        for timestamp_type in [TimestampType::CreateTime, TimestampType::LogAppendTime] {
            let folder = tempfile::tempdir().expect("a directory");
            let config = LogConfig { message_timestamp_type: timestamp_type, ..compacted() };
            let mut node = node(&folder, config);
            let mut builder = BatchBuilder::new(BatchOptions {
                compression: Compression::of(codec),
                producer_id: 4,
                producer_epoch: 2,
                base_sequence: 0,
                ..BatchOptions::default()
            });
            let headers = [Header { key: b"h", value: Some(b"x") }, Header { key: b"h", value: None }];
            for (index, key) in ["a", "b", "a", "c", "d"].iter().enumerate() {
                let value = (*key != "c").then_some(&b"value"[..]);
                builder.append(START_MS - 50 + index as i64, Some(key.as_bytes()), value, headers);
            }
            let mut bytes = builder.build().expect("builds").to_vec();
            node.append(&mut bytes).expect("appends");
            node.put("d", Some("later"));
            node.clean_all();
            let log = node.log();
            let read = log.read(0, 4096, ottla_storage::log::FetchIsolation::LogEnd, true).expect("reads");
            let bytes = read.slice.to_vec().expect("bytes");
            let batch = BatchIter::new(&bytes).next().expect("a batch").expect("a batch");
            let header = *batch.header();
            assert_eq!(header.codec().expect("a codec"), codec);
            assert_eq!((header.base_offset, header.last_offset(), header.records_count), (0, 4, 3));
            assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (4, 2, 0));
            assert_eq!(header.last_sequence(), 4, "the sequence of the record that is gone");
            assert_eq!(header.timestamp_type(), timestamp_type);
            assert_eq!(header.delete_horizon_ms(), Some(node.now() + 1000), "it has a tombstone");
            let mut scratch = Scratch::default();
            let found: Vec<_> = batch
                .records(&mut scratch)
                .expect("records")
                .map(|record| {
                    let record = record.expect("a record");
                    assert_eq!(record.headers.iter().collect::<Vec<_>>(), headers);
                    (record.offset, record.sequence, record.timestamp - START_MS)
                })
                .collect();
            let expected = match timestamp_type {
                TimestampType::LogAppendTime => [(1, 1, 0), (2, 2, 0), (3, 3, 0)],
                _ => [(1, 1, -49), (2, 2, -48), (3, 3, -47)],
            };
            assert_eq!(found, expected, "{codec} {timestamp_type:?}");
        }
    }
}
