//! A disk that fills up under a running node, and gets room again.
//!
//! The disk is a small tmpfs in a mount namespace of the node's own, which `unshare` makes without privileges where the
//! kernel allows it. Where it does not, the test says so and proves nothing.

mod support;

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::{ProduceRequest, ProduceResponse};
use ottla_protocol::records::{BatchBuilder, BatchOptions};
use ottla_protocol::{ApiKey, ErrorCode};
use support::{Node, Wire};

const DISK: &str = "32m";
const VALUE_BYTES: usize = 100_000;
/// More than the rest of a page of the metadata log holds.
const TOPICS: usize = 40;
/// More than the disk holds.
const MOST_BATCHES: usize = 1_000;

fn can_mount() -> bool {
    let tried =
        Command::new("unshare").args(["-Urm", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt"]).output();
    tried.is_ok_and(|output| output.status.success())
}

fn produce(wire: &mut Wire, value: &[u8]) -> (ErrorCode, i64) {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(1_700_000_000_000, None, Some(value), std::iter::empty());
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: "t".into(),
            partition_data: vec![PartitionProduceData {
                records: Some(builder.build().expect("a batch")),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response: ProduceResponse = wire.call(ApiKey::Produce, 9, &request);
    let p = &response.responses[0].partition_responses[0];
    (ErrorCode::from_code(p.error_code), p.base_offset)
}

/// A node whose directories `log.dirs` and `metadata.log.dir` are these; `{dir}/disk` is the small disk.
fn node(logs: &str, metadata: &str) -> Node {
    let settings =
        [("log.dirs", logs), ("metadata.log.dir", metadata), ("log.index.size.max.bytes", "65536")];
    Node::start_under(&settings, |dir| {
        std::fs::create_dir_all(dir.join("disk")).expect("a directory");
        let script = format!(
            "mount -t tmpfs -o size={DISK} tmpfs \"$1/disk\" && \
             \"$0\" kafka-storage format --ignore-formatted -t b3R0bGEtdGVzdC1ub2RlLQ -c \"$1/server.properties\" && \
             exec \"$0\" server \"$1/server.properties\""
        );
        let mut command = Command::new("unshare");
        command.args(["-Urm", "sh", "-c", &script, env!("CARGO_BIN_EXE_ottla")]).arg(dir);
        command
    })
}

/// Fills the disk through the node itself, frees it from outside, and looks at what the node makes of it.
fn fill_and_recover(logs: &str, metadata: &str) {
    if !can_mount() {
        eprintln!(
            "SKIPPED: this kernel lets nobody mount a tmpfs by `unshare -Urm`: the full disk is not tested"
        );
        return;
    }
    let node = node(logs, metadata);
    node.create_topic("t", &["--partitions", "1"]);
    // The disk as the node sees it.
    let disk = PathBuf::from(format!("/proc/{}/root{}/disk", node.pid(), node.dir.path().display()));
    let ballast = disk.join("ballast");
    std::fs::write(&ballast, vec![1u8; 16 << 20]).expect("room for the ballast");
    let mut wire = node.connect();
    let value = vec![7u8; VALUE_BYTES];
    let mut written = 0;
    let refused = (0..MOST_BATCHES).find_map(|_| match produce(&mut wire, &value) {
        (ErrorCode::None, offset) => {
            assert_eq!(offset, written, "offsets have no gaps");
            written += 1;
            None
        }
        (code, _) => Some(code),
    });
    assert_eq!(refused, Some(ErrorCode::KafkaStorageError), "after {written} batches:\n{}", node.log_text());
    assert!(written > 10, "{written}");
    // It stays so, the connection lives, and what was written can be read.
    assert_eq!(produce(&mut wire, &value).0, ErrorCode::KafkaStorageError);
    let read = node.tool_ok(
        "kafka-console-consumer",
        &["--topic", "t", "--partition", "0", "--offset", "earliest", "--max-messages", &written.to_string()],
    );
    assert_eq!(read.len(), usize::try_from(written).expect("a count") * (VALUE_BYTES + 1));
    // Not a byte is left for anything else that the node writes: metadata, checkpoints.
    let rest = disk.join("rest");
    let mut filler = std::fs::File::create(&rest).expect("a file");
    while filler.write_all(&[1; 512]).is_ok() {}
    // With the metadata log on the same disk topics cannot be made for long; what waits is decided once there is room.
    let properties = node.dir.path().join("impatient.properties");
    std::fs::write(&properties, "default.api.timeout.ms=2000\nrequest.timeout.ms=1000\n").expect("a file");
    let properties = properties.display().to_string();
    let made = (0..TOPICS).take_while(|i| {
        let topic = format!("during-{i}");
        let args = ["--create", "--topic", &topic, "--partitions", "1", "--command-config", &properties];
        node.tool("kafka-topics", &args).status.success()
    });
    let made = made.count();
    assert_eq!(made == TOPICS, logs != metadata, "{made} topics on a full disk:\n{}", node.log_text());
    assert_eq!(produce(&mut wire, &value).0, ErrorCode::KafkaStorageError);
    std::fs::remove_file(&rest).expect("the rest");
    std::fs::remove_file(&ballast).expect("the ballast");
    let after = produce(&mut wire, &value);
    assert_eq!(after, (ErrorCode::None, written), "room is back:\n{}", node.log_text());
    let said = node.log_lines().iter().filter(|line| line.contains("the log directory is full")).count();
    assert!((1..=2).contains(&said), "said {said} times, once for each log directory:\n{}", node.log_text());
    // Metadata is written again as well, and what could not be opened is.
    node.create_topic("u", &["--partitions", "1"]);
    let end = |page: &support::prometheus::Samples, topic: &str| {
        page.get("kafka_log_log_logendoffset", &format!("partition=0,topic={topic}"))
    };
    node.metrics_until("logs of topics made on the full disk", |page| {
        end(page, "u").is_some() && (0..made).all(|i| end(page, &format!("during-{i}")) == Some(0.0))
    });
    assert_eq!(node.metrics().get("kafka_log_logmanager_offlinelogdirectorycount", ""), Some(0.0));
}

#[test]
fn a_full_data_disk_refuses_records_until_there_is_room() {
    fill_and_recover("{dir}/disk/data", "{dir}/metadata");
}

#[test]
fn a_full_only_disk_refuses_records_until_there_is_room() {
    fill_and_recover("{dir}/disk/data", "{dir}/disk/data");
}
