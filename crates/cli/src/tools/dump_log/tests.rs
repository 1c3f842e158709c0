//! What Apache Kafka's tool printed for files of real brokers, line by line; and damaged files.

use std::fs;
use std::path::{Path, PathBuf};

use ottla_protocol::compression::{self, Codec};

use super::*;

/// Directories of brokers, packed with the tests of the storage crate.
fn unpack(name: &str) -> tempfile::TempDir {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../storage/tests/data");
    let packed = fs::read(folder.join(format!("{name}.tar.zst"))).expect("the archive");
    let tar = compression::decompress(Codec::Zstd, &packed, 1 << 30).expect("zstd");
    let root = tempfile::tempdir().expect("a directory");
    untar(&tar, root.path());
    root
}

fn untar(mut tar: &[u8], root: &Path) {
    let text = |field: &[u8]| {
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
        String::from_utf8_lossy(&field[..end]).into_owned()
    };
    let mut long_name = None;
    while tar.len() >= 512 && tar[0] != 0 {
        let (header, rest) = tar.split_at(512);
        let size = usize::from_str_radix(text(&header[124..136]).trim(), 8).expect("a size");
        let content = &rest[..size];
        tar = &rest[size.div_ceil(512) * 512..];
        let name = long_name.take().unwrap_or_else(|| text(&header[..100]));
        match header[156] {
            b'L' => long_name = Some(text(content)),
            b'5' => fs::create_dir_all(root.join(name)).expect("a directory"),
            _ => {
                let path = root.join(name);
                fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
                fs::write(path, content).expect("a file");
            }
        }
    }
}

fn run(args: &[String]) -> (Result<(), String>, String, String) {
    let options = parser().parse(args).expect("good arguments");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut lines = Lines { writer: &mut out, json: false };
    let result = dump(&options, &mut lines, &mut err).map_err(|e| e.text());
    (result, String::from_utf8_lossy(&out).into_owned(), String::from_utf8_lossy(&err).into_owned())
}

fn run_words(words: &[&str]) -> (Result<(), String>, String, String) {
    run(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>())
}

/// Compares every run of a scenario; gives how many there were.
fn check(name: &str) -> usize {
    let root = unpack(name);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/{name}.dump.txt.zst"));
    let packed = fs::read(file).expect("the expectation");
    let text = compression::decompress(Codec::Zstd, &packed, 64 << 20).expect("zstd");
    let text = String::from_utf8(text).expect("text");
    let prefix = format!("{}/", root.path().display());
    let mut runs = 0;
    for part in text.split("$ kafka-dump-log ").skip(1) {
        let (command, expected) = part.split_once('\n').expect("a command line");
        let expected = expected.trim_end().strip_suffix("exit 0").expect("a good end").replace("/DATA/", "");
        let args: Vec<String> = command
            .split(' ')
            .map(|word| match word.starts_with("node") {
                true => word.split(',').map(|f| format!("{prefix}{f}")).collect::<Vec<_>>().join(","),
                false => word.to_owned(),
            })
            .collect();
        let (result, out, _) = run(&args);
        assert_eq!(result, Ok(()), "{name}: {command}");
        let out = out.replace(&prefix, "");
        for (ours, theirs) in out.lines().zip(expected.lines()) {
            assert_eq!(ours, theirs, "{name}: {command}");
        }
        assert_eq!(out.lines().count(), expected.lines().count(), "{name}: {command}");
        runs += 1;
    }
    runs
}

#[test]
fn compacted_logs_print_as_kafka_prints_them() {
    assert_eq!(check("compact-clean"), 9);
}

#[test]
fn group_and_share_state_prints_as_kafka_prints_it() {
    assert_eq!(check("groups-clean") + check("groups-kill"), 16);
}

#[test]
fn moved_replicas_print_as_kafka_prints_them() {
    assert_eq!(check("jbod-kill"), 6);
}

#[test]
fn cluster_metadata_prints_as_kafka_prints_it() {
    assert_eq!(check("metadata-clean") + check("metadata-kill"), 8);
}

#[test]
fn transactions_print_as_kafka_prints_them() {
    assert_eq!(check("txn-clean") + check("txn-kill"), 20);
}

fn copied(root: &Path, from: &str, to: &str) -> PathBuf {
    let target = root.join(to);
    fs::copy(root.join(from), &target).expect("a copy");
    target
}

#[test]
fn damaged_files_are_told_and_never_break_the_tool() {
    let root = unpack("txn-kill");
    let folder = "node1/data/t1-0";
    let file_of = |name: &str| root.path().join(folder).join(name);
    for (name, options) in [
        ("00000000000000000003.log", &["--print-data-log"][..]),
        ("00000000000000000003.log", &["--offsets-decoder"][..]),
        ("00000000000000000003.log", &["--transaction-log-decoder"][..]),
        ("00000000000000000003.log", &["--cluster-metadata-decoder"][..]),
        ("00000000000000000003.log", &["--remote-log-metadata-decoder"][..]),
        ("00000000000000000003.log", &["--share-group-state-decoder"][..]),
        ("00000000000000000003.index", &[][..]),
        ("00000000000000000003.timeindex", &[][..]),
        ("00000000000000000003.txnindex", &[][..]),
        ("00000000000000000003.snapshot", &[][..]),
    ] {
        let path = file_of(name);
        let good = fs::read(&path).expect("the file");
        let mut state = 7u64;
        for _ in 0..60 {
            let mut bad = good.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = (state >> 33) as usize % bad.len().clamp(1, 4096);
                if let Some(byte) = bad.get_mut(at) {
                    *byte = (state >> 25) as u8;
                }
            }
            bad.truncate(bad.len() - (state >> 60) as usize % bad.len().max(1));
            fs::write(&path, &bad).expect("writes");
            let text = path.display().to_string();
            let mut words = vec!["--files", text.as_str()];
            words.extend(options);
            let (_, out, _) = run_words(&words);
            assert!(out.starts_with("Dumping "), "{out}");
        }
        fs::write(&path, &good).expect("writes");
    }
}

#[test]
fn a_tail_that_is_no_batch_is_counted() {
    let root = unpack("txn-clean");
    let path = copied(root.path(), "node1/data/t2-0/00000000000000000001.log", "00000000000000000001.log");
    let mut bytes = fs::read(&path).expect("reads");
    bytes.extend_from_slice(&[0; 9]);
    fs::write(&path, &bytes).expect("writes");
    let text = path.display().to_string();
    let (result, out, _) = run_words(&["--files", &text]);
    assert_eq!(result, Ok(()));
    let last = out.lines().last().unwrap_or_default();
    assert_eq!(last, "Found 9 invalid bytes at the end of 00000000000000000001.log");
    // With a limit nothing is said of what lies behind it.
    let (_, out, _) = run_words(&["--files", &text, "--max-bytes", "100"]);
    assert!(!out.contains("invalid bytes"), "{out}");
}

#[test]
fn unknown_files_are_passed_over() {
    let (result, out, err) = run_words(&["--files", "nothing,other.txt"]);
    assert_eq!(result, Ok(()));
    assert_eq!(out, "Dumping nothing\nDumping other.txt\n");
    assert_eq!(err, "Ignoring unknown file nothing\nIgnoring unknown file other.txt\n");
}

#[test]
fn remote_log_metadata_prints_as_its_class_does() {
    use ottla_protocol::messages::RemotePartitionDeleteMetadataRecord;
    use ottla_protocol::messages::remote_partition_delete_metadata_record::TopicIdPartitionEntry;
    use ottla_protocol::wire::Message;

    let record = RemotePartitionDeleteMetadataRecord {
        topic_id_partition: TopicIdPartitionEntry { name: "t".into(), partition: 3, ..Default::default() },
        broker_id: 1,
        event_timestamp_ms: 17,
        remote_partition_delete_state: 1,
        ..Default::default()
    };
    let mut value = vec![1, RemotePartitionDeleteMetadataRecord::KEY as u8, 0];
    value.extend_from_slice(&record.to_bytes(0).expect("encodes"));
    assert_eq!(
        remote::decode(&value).as_deref(),
        Ok("RemotePartitionDeleteMetadata{topicPartition=AAAAAAAAAAAAAAAAAAAAAA:t-3, \
            state=DELETE_PARTITION_STARTED, eventTimestampMs=17, brokerId=1}")
    );
}
