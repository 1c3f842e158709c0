//! A disk that fills up under a running node, and gets room again.
//!
//! The disk is a small tmpfs in a mount namespace of the node's own, which `unshare` makes without privileges where the
//! kernel allows it. Where it does not, the test says so and proves nothing.

mod support;

use std::path::PathBuf;
use std::process::Command;

use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::{ProduceRequest, ProduceResponse};
use ottla_protocol::records::{BatchBuilder, BatchOptions};
use ottla_protocol::{ApiKey, ErrorCode};
use support::{Node, Wire};

const DISK: &str = "32m";
const VALUE_BYTES: usize = 100_000;
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
    std::fs::remove_file(&ballast).expect("the ballast");
    let after = produce(&mut wire, &value);
    assert_eq!(after, (ErrorCode::None, written), "room is back:\n{}", node.log_text());
    // Metadata is written again as well.
    node.create_topic("u", &["--partitions", "1"]);
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
