//! Data directories of Apache Kafka 4.4, after a kill and after a clean stop, opened and read.

mod support;

use std::path::Path;

use ottla_storage::kraft::{QuorumState, SnapshotFiles};
use ottla_storage::log::{FetchIsolation, Log, LogOptions};
use ottla_storage::{LogConfig, TopicPartition};
use serde_json::{Value, json};
use support::{Fixture, digest};

fn check(fixture: &Fixture) {
    let dirs = fixture.load();
    let partitions = fixture.partitions(&dirs);
    assert!(dirs.dirs().iter().all(|dir| !dir.offline), "{}", fixture.name);
    for (log, expected) in &partitions {
        let name = format!("{} {}", fixture.name, log.partition());
        let integer = |field: &str| expected[field].as_i64().unwrap_or_else(|| panic!("{name}: {field}"));
        let end = integer("highWatermark");
        if log.partition().topic.starts_with("__") && fixture.name.ends_with("clean") {
            // Coordinators went on writing after the expectation was noted.
            assert!(log.log_end_offset() >= end, "{name}: log end offset");
        } else {
            assert_eq!(log.log_end_offset(), end, "{name}: log end offset");
        }
        assert_eq!(log.log_start_offset(), integer("logStartOffset"), "{name}: log start offset");
        log.update_high_watermark(end);
        assert_eq!(log.last_stable_offset(), integer("lastStableOffset"), "{name}: last stable offset");
        if log.log_end_offset() != end {
            continue;
        }
        let largest = log.max_timestamp_offset().expect("a lookup");
        let (timestamp, offset) = largest.map_or((-1, -1), |found| (found.timestamp, found.offset));
        assert_eq!(
            (timestamp, offset),
            (integer("maxTimestamp"), integer("maxTimestampOffset")),
            "{name}: largest timestamp"
        );
        for (field, isolation) in [
            ("readUncommitted", FetchIsolation::HighWatermark),
            ("readCommitted", FetchIsolation::TxnCommitted),
        ] {
            let Some(wanted) = expected.get(field) else { continue };
            for max_bytes in [1, 1000, 1 << 20] {
                let (count, sha256) = digest(log, isolation, max_bytes);
                assert_eq!(count, wanted["count"], "{name}: records {field} in fetches of {max_bytes}");
                assert_eq!(sha256, wanted["sha256"], "{name}: digest {field} in fetches of {max_bytes}");
            }
        }
        let wanted = expected["producers"].as_array().cloned().unwrap_or_default();
        let producers: Vec<Value> = log
            .active_producers()
            .iter()
            .map(|producer| {
                json!({
                    "producerId": producer.producer_id,
                    "producerEpoch": producer.producer_epoch,
                    "lastSequence": producer.last_sequence,
                    "lastTimestamp": producer.last_timestamp,
                    "coordinatorEpoch": producer.coordinator_epoch,
                    "currentTransactionStartOffset": producer.current_txn_start_offset,
                })
            })
            .collect();
        // Of a producer whose records were all deleted nothing is left to load.
        if log.log_start_offset() < log.log_end_offset() {
            assert_eq!(producers, wanted, "{name}: producers");
        }
    }
}

#[test]
fn a_killed_broker_with_every_codec_and_many_segments() {
    check(&Fixture::open("plain-kill"));
}

#[test]
fn transactions_after_a_kill() {
    check(&Fixture::open("txn-kill"));
}

#[test]
fn transactions_after_a_clean_stop() {
    check(&Fixture::open("txn-clean"));
}

#[test]
fn compacted_topics_after_a_kill() {
    check(&Fixture::open("compact-kill"));
}

#[test]
fn compacted_topics_after_a_clean_stop() {
    check(&Fixture::open("compact-clean"));
}

#[test]
fn groups_after_a_kill() {
    check(&Fixture::open("groups-kill"));
}

#[test]
fn groups_after_a_clean_stop() {
    check(&Fixture::open("groups-clean"));
}

#[test]
fn many_topics_after_a_kill() {
    check(&Fixture::open("metadata-kill"));
}

#[test]
fn many_topics_after_a_clean_stop() {
    check(&Fixture::open("metadata-clean"));
}

#[test]
fn two_directories_of_one_broker() {
    check(&Fixture::open("jbod-kill"));
}

#[test]
fn two_directories_after_a_clean_stop() {
    check(&Fixture::open("jbod-clean"));
}

#[test]
fn plain_topics_after_a_clean_stop() {
    check(&Fixture::open("plain-clean"));
}

#[test]
fn kafka_3_9_killed_amid_transactions() {
    check(&Fixture::open("txn-39-kill"));
}

#[test]
fn kafka_3_9_with_transactions_after_a_clean_stop() {
    check(&Fixture::open("txn-39-clean"));
}

#[test]
fn kafka_3_9_with_compacted_topics() {
    check(&Fixture::open("compact-39-clean"));
}

#[test]
fn kafka_3_9_killed_with_groups() {
    check(&Fixture::open("groups-39-kill"));
}

fn open_metadata_log(fixture: &Fixture, clean: bool) -> std::sync::Arc<Log> {
    let dir = fixture.dirs()[0].clone();
    let state = std::sync::Arc::new(ottla_storage::dirs::DirState::new(dir.clone()));
    let disk: std::sync::Arc<dyn ottla_storage::disk::Disk> =
        std::sync::Arc::new(ottla_storage::disk::OsDisk);
    let options = LogOptions {
        had_clean_shutdown: clean,
        config: LogConfig { segment_index_bytes: 65_536, ..LogConfig::default() },
        ..LogOptions::new(TopicPartition::new("__cluster_metadata", 0), dir.join("__cluster_metadata-0"), 0)
    };
    Log::open(&disk, &state, options).expect("opens")
}

#[test]
fn the_metadata_log_and_its_snapshots_are_read() {
    for name in ["metadata-kill", "metadata-clean"] {
        let fixture = Fixture::open(name);
        let log = open_metadata_log(&fixture, name.ends_with("clean"));
        let disk = ottla_storage::disk::OsDisk;
        let dir = log.dir();
        let quorum = QuorumState::read(&disk, &dir).expect("reads").expect("is there");
        assert!(quorum.leader_epoch >= log.latest_epoch().expect("an epoch"));
        log.update_high_watermark(log.log_end_offset());
        let (count, _) = digest(&log, FetchIsolation::HighWatermark, 10_000);
        assert!(count > 500, "{name}: {count}");
        let snapshots = SnapshotFiles::new(std::sync::Arc::new(disk), &dir);
        let ids = snapshots.list().expect("lists");
        assert!(ids.len() >= 3);
        for id in ids {
            let bytes = snapshots.read(id, 1 << 20).expect("reads").expect("is there");
            for batch in ottla_protocol::records::BatchIter::new(&bytes) {
                batch.expect("a batch").ensure_valid().expect("a good checksum");
            }
            assert!(id.end_offset <= log.log_end_offset());
            if id.end_offset > log.log_start_offset() {
                let end = log.end_offset_for_epoch(id.epoch).expect("a known epoch");
                assert!(end.offset >= id.end_offset);
            }
        }
    }
}

/// Files of a partition by name, with their bytes.
fn files(dir: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.path().is_file())
        .map(|entry| {
            (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).expect("a file"))
        })
        .collect()
}

#[test]
fn indexes_and_snapshots_that_are_built_anew_have_kafkas_bytes() {
    let mut compared = 0;
    for name in ["txn-clean", "compact-clean"] {
        let fixture = Fixture::open(name);
        let original = Fixture::open(name);
        let dir = &fixture.dirs()[0];
        // Without the mark of a clean stop and without recovery points, every segment is scanned.
        std::fs::remove_file(dir.join(".kafka_cleanshutdown")).expect("the mark");
        std::fs::remove_file(dir.join("recovery-point-offset-checkpoint")).expect("the checkpoint");
        let dirs = fixture.load();
        dirs.shutdown(0, 1);
        for (log, _) in fixture.partitions(&dirs) {
            let dir_name = log.partition().to_string();
            let ours = files(&dir.join(&dir_name));
            let theirs = files(&original.dirs()[0].join(&dir_name));
            for (file, bytes) in &theirs {
                // Compaction takes data away that older snapshots and entries of transactions stand for.
                let of_data = file.ends_with(".txnindex") || file.ends_with(".snapshot");
                if of_data && name.starts_with("compact") {
                    continue;
                }
                let is_index = [".index", ".timeindex", ".txnindex", ".log", ".snapshot"]
                    .iter()
                    .any(|end| file.ends_with(end));
                let found = ours.get(file);
                if is_index {
                    assert_eq!(found, Some(bytes), "{name} {dir_name}/{file}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 60, "{compared}");
}
