//! A damaged batch in a running node's log: who reads it is told, and nothing else suffers.

mod support;

use std::os::unix::fs::FileExt;

use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::{
    FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, ProduceRequest, ProduceResponse,
};
use ottla_protocol::records::{BatchBuilder, BatchOptions};
use ottla_protocol::{ApiKey, ErrorCode};
use support::{Node, Wire};

const TIMESTAMP: i64 = 1_700_000_000_000;
/// More than a log keeps in mind the places of: a batch at its end is sent without a look at it, and the client finds the
/// damage.
const BATCHES: i64 = 20;

/// Appends a batch of one record; returns its size.
fn produce(wire: &mut Wire, topic: &str, timestamp: i64) -> usize {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(timestamp, None, Some(&[7; 5000]), std::iter::empty());
    let records = builder.build().expect("a batch");
    let size = records.len();
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData { records: Some(records), ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response: ProduceResponse = wire.call(ApiKey::Produce, 9, &request);
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0, "{topic}");
    size
}

/// Fetches one partition; returns error, high watermark and bytes.
fn fetch(wire: &mut Wire, topic: &str, offset: i64) -> (ErrorCode, i64, usize) {
    let request = FetchRequest {
        max_wait_ms: 100,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: topic.into(),
            partitions: vec![FetchPartition {
                current_leader_epoch: -1,
                fetch_offset: offset,
                partition_max_bytes: 1,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response: FetchResponse = wire.call(ApiKey::Fetch, 12, &request);
    let p = &response.responses[0].partitions[0];
    (
        ErrorCode::from_code(p.error_code),
        p.high_watermark,
        p.records.as_ref().map_or(0, |records| records.len()),
    )
}

#[test]
fn a_damaged_batch_fails_its_readers_and_nobody_else() {
    let node = Node::start(&[]);
    node.create_topic("bad", &["--partitions", "1"]);
    node.create_topic("good", &["--partitions", "1"]);
    let mut wire = node.connect();
    let mut size = 0;
    for n in 0..BATCHES {
        size = produce(&mut wire, "bad", TIMESTAMP + n);
        produce(&mut wire, "good", TIMESTAMP);
    }
    let segment = std::fs::read_dir(node.dir.path().join("data"))
        .expect("the data directory")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.ends_with("bad-0"))
        .expect("the partition")
        .join("00000000000000000000.log");
    let file = std::fs::OpenOptions::new().write(true).open(&segment).expect("the segment");
    // The length of the fourth batch.
    let position = 3 * size as u64;
    file.write_all_at(&[0; 4], position + 8).expect("written");

    for _ in 0..3 {
        assert_eq!(fetch(&mut wire, "bad", 3), (ErrorCode::CorruptMessage, -1, 0));
    }
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: "bad".into(),
            partitions: vec![ListOffsetsPartition {
                current_leader_epoch: -1,
                timestamp: TIMESTAMP + 3,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response: ListOffsetsResponse = wire.call(ApiKey::ListOffsets, 7, &request);
    let code = ErrorCode::from_code(response.topics[0].partitions[0].error_code);
    assert_eq!(code, ErrorCode::CorruptMessage);
    // Other offsets, other partitions, and appends go on.
    assert_eq!(fetch(&mut wire, "bad", 1), (ErrorCode::None, BATCHES, size));
    produce(&mut wire, "bad", TIMESTAMP + BATCHES);
    assert_eq!(fetch(&mut wire, "bad", BATCHES), (ErrorCode::None, BATCHES + 1, size));
    assert_eq!(fetch(&mut wire, "good", 0), (ErrorCode::None, BATCHES, size));
    let page = node.metrics();
    assert_eq!(page.sum("ottla_log_damaged_places_total"), 1.0);
    assert_eq!(page.get("kafka_log_logmanager_offlinelogdirectorycount", ""), Some(0.0));
    let lines: Vec<String> =
        node.log_lines().into_iter().filter(|line| line.contains("the file is damaged")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("00000000000000000000.log"), "{}", lines[0]);
    assert!(lines[0].contains(&format!("position={position}")), "{}", lines[0]);
}
