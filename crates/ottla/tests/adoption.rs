//! Directories that Apache Kafka wrote, taken over by a node; and those that it must refuse, with what it says then.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ottla_protocol::compression::{self, Codec};
use ottla_protocol::messages::FeatureLevelRecord;
use ottla_protocol::records::{BatchBuilder, BatchIter, BatchOptions, crc32};
use ottla_protocol::wire::Message;
use serde_json::Value;
use support::Node;

const LOG: &str = "__cluster_metadata-0/00000000000000000000.log";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../storage/tests/data")
}

fn unpacked(name: &str) -> Vec<u8> {
    let packed = fs::read(fixtures().join(name)).expect("the file");
    compression::decompress(Codec::Zstd, &packed, 1 << 30).expect("zstd")
}

/// Unpacks what Kafka left below `root`; gives the log directory.
fn unpack(name: &str, root: &Path) -> PathBuf {
    let tar = root.join("packed.tar");
    fs::write(&tar, unpacked(&format!("{name}.tar.zst"))).expect("a file");
    let status = Command::new("tar").arg("-C").arg(root).arg("-xf").arg(&tar).status().expect("tar");
    assert!(status.success());
    root.join("node1/data")
}

fn expected(name: &str) -> Value {
    serde_json::from_slice(&unpacked(&format!("{name}.json.zst"))).expect("json")
}

/// Starts a node on a directory.
fn adopt(dir: &Path) -> Node {
    let dir = dir.display().to_string();
    let settings = [
        ("log.dirs", dir.as_str()),
        ("log.index.size.max.bytes", "65536"),
        ("offsets.retention.minutes", "5256000"),
        ("log.retention.ms", "-1"),
    ];
    Node::start(&settings)
}

/// Starts a node that does not start; gives what it says.
fn refused(dirs: &[&Path], metadata_dir: &Path) -> String {
    let folder = tempfile::tempdir().expect("a directory");
    let properties = folder.path().join("server.properties");
    let dirs: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    let text = format!(
        "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0\n\
         controller.listener.names=CONTROLLER\ncontroller.quorum.voters=1@127.0.0.1:0\nlog.dirs={}\nmetadata.log.dir={}\n",
        dirs.join(","),
        metadata_dir.display()
    );
    fs::write(&properties, text).expect("a file");
    let output =
        Command::new(env!("CARGO_BIN_EXE_ottla")).arg("server").arg(&properties).output().expect("a node");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).expect("text")
}

/// Records that a read_committed consumer finds in a partition.
fn count(node: &Node, topic: &str, partition: i64) -> u64 {
    let text = node.tool_ok(
        "kafka-console-consumer",
        &[
            "--topic",
            topic,
            "--partition",
            &partition.to_string(),
            "--offset",
            "earliest",
            "--timeout-ms",
            "1500",
            "--isolation-level",
            "read_committed",
            "--output",
            "json",
        ],
    );
    text.lines().count() as u64
}

#[test]
fn a_node_goes_on_where_kafka_3_9_was_killed() {
    for name in ["txn-39-kill", "groups-39-kill"] {
        let folder = tempfile::tempdir().expect("a directory");
        let dir = unpack(name, folder.path());
        let expected = expected(name);
        let node = adopt(&dir);
        let topics = expected["expect"]["topics"].as_object().expect("topics");
        for (topic, value) in topics.iter().filter(|(topic, _)| !topic.starts_with("__")) {
            for partition in value["partitions"].as_array().expect("partitions") {
                let number = partition["partition"].as_i64().expect("a number");
                let wanted = partition["readCommitted"]["count"].as_u64().expect("a count");
                assert_eq!(count(&node, topic, number), wanted, "{name}: {topic}-{number}");
            }
        }
        let groups = expected["expect"]["groups"].as_object().expect("groups");
        for (group, value) in groups {
            let Some(offsets) = value["offsets"].as_object() else { continue };
            let text = node.tool_ok(
                "kafka-consumer-groups",
                &["--describe", "--offsets", "--group", group, "--output", "json"],
            );
            let found: Value = serde_json::from_str(&text).expect("json");
            for (partition, offset) in offsets {
                let (topic, number) = partition.rsplit_once('-').expect("a partition");
                let wanted = offset["offset"].as_i64().expect("an offset");
                let told = text.contains(&format!("\"currentOffset\":{wanted}"))
                    && text.contains(topic)
                    && text.contains(&format!("\"partition\":{number}"));
                assert!(told, "{name}: {group} {partition} {offset}: {found}");
            }
        }
        // It takes new records.
        let (topic, _) = topics.iter().find(|(topic, _)| !topic.starts_with("__")).expect("a topic");
        let before = count(&node, topic, 0);
        let args = ["--topic", topic, "--property", "parse.key=false"];
        let produced = node.tool_with_input("kafka-console-producer", &args, "one\ntwo\nthree\n");
        assert!(produced.status.success(), "{produced:?}");
        assert!(count(&node, topic, 0) >= before, "{name}");
    }
}

/// A message as brokers wrote them before Kafka 0.10 (magic 0) and 0.11 (magic 1).
fn old_message(magic: u8, offset: i64, key: &str, value: &str) -> Vec<u8> {
    let mut body = vec![magic, 0];
    if magic == 1 {
        body.extend_from_slice(&(1_400_000_000_000 + offset).to_be_bytes());
    }
    for text in [key, value] {
        body.extend_from_slice(&(text.len() as i32).to_be_bytes());
        body.extend_from_slice(text.as_bytes());
    }
    let mut message = offset.to_be_bytes().to_vec();
    message.extend_from_slice(&(body.len() as i32 + 4).to_be_bytes());
    message.extend_from_slice(&crc32(&body).to_be_bytes());
    message.extend(body);
    message
}

#[test]
fn segments_from_before_kafka_0_11_are_read() {
    const MESSAGES: i64 = 40;
    let folder = tempfile::tempdir().expect("a directory");
    let dir = unpack("txn-39-clean", folder.path());
    let partition = dir.join("t2-0");
    for entry in fs::read_dir(&partition).expect("lists") {
        let path = entry.expect("an entry").path();
        if !path.ends_with("partition.metadata") {
            fs::remove_file(path).expect("removes");
        }
    }
    let text = |offset: i64| (format!("key-{offset}"), format!("value-{offset}"));
    let log: Vec<u8> = (0..MESSAGES)
        .flat_map(|offset| {
            let (key, value) = text(offset);
            old_message(u8::from(offset >= MESSAGES / 2), offset, &key, &value)
        })
        .collect();
    fs::write(partition.join("00000000000000000000.log"), log).expect("a file");
    fs::remove_file(dir.join(".kafka_cleanshutdown")).expect("removes");
    let node = adopt(&dir);
    let args = [
        "--topic",
        "t2",
        "--partition",
        "0",
        "--offset",
        "earliest",
        "--max-messages",
        &MESSAGES.to_string(),
        "--formatter-property",
        "print.key=true",
        "--formatter-property",
        "print.timestamp=true",
    ];
    let found = node.tool_ok("kafka-console-consumer", &args);
    let wanted: Vec<String> = (0..MESSAGES)
        .map(|offset| {
            let (key, value) = text(offset);
            match offset >= MESSAGES / 2 {
                true => format!("CreateTime:{}\t{key}\t{value}", 1_400_000_000_000 + offset),
                false => format!("NO_TIMESTAMP\t{key}\t{value}"),
            }
        })
        .collect();
    assert_eq!(found.lines().collect::<Vec<_>>(), wanted);
    // New records follow the old ones.
    let produced = node.tool_with_input("kafka-console-producer", &["--topic", "t2"], "new\n");
    assert!(produced.status.success(), "{produced:?}");
    let args = ["--topic", "t2", "--partition", "0", "--offset", "40", "--max-messages", "1"];
    assert_eq!(node.tool_ok("kafka-console-consumer", &args), "new\n");
    drop(node);
    let checked = Command::new(env!("CARGO_BIN_EXE_ottla"))
        .args(["storage", "check", "--quiet"])
        .arg(&dir)
        .output()
        .expect("the tool");
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
}

#[test]
fn directories_that_do_not_fit_are_refused_with_the_file_and_what_to_do() {
    let folder = tempfile::tempdir().expect("a directory");
    let dir = unpack("txn-39-clean", folder.path());
    let other = folder.path().join("other");
    fs::create_dir(&other).expect("a directory");
    let meta = fs::read_to_string(dir.join("meta.properties")).expect("the file");

    let line = meta.lines().find(|line| line.starts_with("cluster.id")).expect("a cluster");
    let foreign = meta.replace(line, "cluster.id=AAAAAAAAAAAAAAAAAAAAAg");
    fs::write(other.join("meta.properties"), foreign).expect("a file");
    let said = refused(&[&dir, &other], &dir);
    assert!(said.contains("other/meta.properties belongs to cluster AAAAAAAAAAAAAAAAAAAAAg"), "{said}");
    assert!(said.contains("remove the directory that is not of this cluster from log.dirs"), "{said}");

    fs::write(dir.join("meta.properties"), meta.replace("node.id=1", "node.id=one")).expect("a file");
    let said = refused(&[&dir], &dir);
    assert!(said.contains("data/meta.properties: invalid or missing value for node.id"), "{said}");
    assert!(said.contains("Put the file back as it was"), "{said}");
    fs::write(dir.join("meta.properties"), meta.replace("node.id=1", "node.id=7")).expect("a file");
    assert!(refused(&[&dir], &dir).contains("Stored node id 7 doesn't match previous node id 1"));
    fs::write(dir.join("meta.properties"), &meta).expect("a file");

    let quorum = dir.join("__cluster_metadata-0/quorum-state");
    let good = fs::read(&quorum).expect("the file");
    fs::write(&quorum, &good[..good.len() / 2]).expect("a file");
    let said = refused(&[&dir], &dir);
    assert!(said.contains("__cluster_metadata-0: quorum-state is not a JSON object. Put the file"), "{said}");
    fs::write(&quorum, good).expect("a file");

    let snapshot = dir.join("__cluster_metadata-0/00000000000000000030-0000000001.checkpoint");
    fs::write(&snapshot, [7; 300]).expect("a file");
    let said = refused(&[&dir], &dir);
    assert!(said.contains("00000000000000000030-0000000001.checkpoint: "), "{said}");
    assert!(said.contains("Copy the snapshot from another node"), "{said}");
    fs::remove_file(&snapshot).expect("removes");

    let mut log = fs::read(dir.join(LOG)).expect("the log");
    let last = BatchIter::new(&log).map(|batch| *batch.expect("a batch").header()).last().expect("a batch");
    let record =
        FeatureLevelRecord { name: "metadata.version".into(), feature_level: 999, ..Default::default() };
    let mut value = vec![1, FeatureLevelRecord::KEY as u8, 0];
    value.extend_from_slice(&record.to_bytes(0).expect("encodes"));
    let mut batch = BatchBuilder::new(BatchOptions {
        base_offset: last.next_offset(),
        partition_leader_epoch: last.partition_leader_epoch,
        ..BatchOptions::default()
    });
    batch.append(last.max_timestamp, None, Some(&value), []);
    log.extend_from_slice(&batch.build().expect("builds"));
    fs::write(dir.join(LOG), log).expect("a file");
    let said = refused(&[&dir], &dir);
    assert!(said.contains("__cluster_metadata-0 cannot be used: offset"), "{said}");
    assert!(said.contains("metadata.version 999 is not known"), "{said}");
    let checked = Command::new(env!("CARGO_BIN_EXE_ottla"))
        .args(["storage", "check", "--quiet"])
        .arg(&dir)
        .output()
        .expect("the tool");
    let text = String::from_utf8(checked.stdout).expect("text");
    assert_eq!(checked.status.code(), Some(1), "{text}");
    assert!(text.contains("is of metadata.version 999"), "{text}");
    for wrong in ["/nonexistent", env!("CARGO_MANIFEST_DIR")] {
        let checked = Command::new(env!("CARGO_BIN_EXE_ottla"))
            .args(["storage", "check", wrong])
            .output()
            .expect("the tool");
        assert_eq!(checked.status.code(), Some(2), "{checked:?}");
    }
}
