//! Bad input costs its own connection, and nothing else.

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

use bytes::Bytes;
use ottla_protocol::compression::{Codec, Compression};
use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, CreateTopicsResponse, MetadataRequest,
    MetadataResponse, ProduceRequest, ProduceResponse,
};
use ottla_protocol::records::{BatchBuilder, BatchOptions, layout};
use ottla_protocol::{ApiKey, ErrorCode};
use support::{Node, Wire};

const MALFORMED: &str = "ottla_net_malformed_requests_total";
const CLOSING: &str = "closing the connection";

/// The connections of the largest test, and descriptors that it needs on top.
const CONNECTIONS: usize = 10_000;
const OTHER_DESCRIPTORS: usize = 500;
const ANNOUNCED_BYTES: i32 = 100 * 1024 * 1024;
const SENT_BYTES: usize = 1024;
const MAX_GROWTH_BYTES: u64 = 256 * 1024 * 1024;

/// Raises the limit on open files of this process, which the node inherits.
fn allow_descriptors(count: usize) {
    let done = Command::new("prlimit")
        .args(["--pid", &std::process::id().to_string(), &format!("--nofile={count}:")])
        .output()
        .expect("prlimit, of util-linux");
    assert!(done.status.success(), "the limit on open files is below {count}: {done:?}");
}

#[test]
fn ten_thousand_announced_frames_take_no_memory() {
    allow_descriptors(CONNECTIONS + OTHER_DESCRIPTORS);
    // With Kafka's backlog of 50 most connections would wait for a second try of TCP.
    let node = Node::start(&[("socket.listen.backlog.size", "4096")]);
    let in_total = |samples: &support::prometheus::Samples| {
        samples
            .get("kafka_server_socket_server_metrics_incoming_byte_total", "listener=PLAINTEXT")
            .unwrap_or(0.0)
    };
    let (before, bytes_before) = (node.rss_bytes(), in_total(&node.metrics()));
    let mut open: Vec<TcpStream> =
        (0..CONNECTIONS).map(|_| TcpStream::connect(&node.bootstrap).expect("a connection")).collect();
    for stream in &mut open {
        stream.write_all(&ANNOUNCED_BYTES.to_be_bytes()).expect("room for four bytes");
    }
    // The lengths are read before anything follows, so that the node knows what it is in for.
    let announced = bytes_before + (CONNECTIONS * 4) as f64;
    node.metrics_until("reading all lengths", |samples| in_total(samples) >= announced);
    for stream in &mut open {
        stream.write_all(&[0; SENT_BYTES]).expect("room for a kilobyte");
    }
    let all = announced + (CONNECTIONS * SENT_BYTES) as f64;
    let page = node.metrics_until("reading all bytes", |samples| in_total(samples) >= all);
    let connections = page.sum("kafka_server_socket_server_metrics_connection_count");
    assert!(connections >= CONNECTIONS as f64, "{connections}");
    let growth = node.rss_bytes().saturating_sub(before);
    println!("RSS grew by {} KiB with {CONNECTIONS} announced frames", growth / 1024);
    assert!(growth <= MAX_GROWTH_BYTES, "{growth} bytes");

    let versions: ApiVersionsResponse =
        node.connect().call(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default());
    assert_eq!(versions.error_code, 0);
    drop(open);
    node.metrics_until("the end of the connections", |samples| {
        samples.get("kafka_server_socket_server_metrics_connection_count", "listener=PLAINTEXT") <= Some(1.0)
    });
}

fn frame(body: &[u8]) -> Vec<u8> {
    let mut frame = i32::try_from(body.len()).expect("a length").to_be_bytes().to_vec();
    frame.extend_from_slice(body);
    frame
}

/// Key, version, correlation id, client id `c`, and what follows.
fn request(key: i16, version: i16, rest: &[u8]) -> Vec<u8> {
    let mut body = key.to_be_bytes().to_vec();
    body.extend_from_slice(&version.to_be_bytes());
    body.extend_from_slice(&[0, 0, 0, 7, 0, 1, b'c']);
    body.extend_from_slice(rest);
    frame(&body)
}

#[test]
fn bad_requests_cost_their_connection_and_are_told_once() {
    let node = Node::start(&[]);
    let mut healthy = node.connect();
    let max = node.metrics();
    assert_eq!(max.get(MALFORMED, ""), Some(0.0));
    let good = healthy.frame(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default());
    let after_good = |bad: Vec<u8>| [good.clone(), bad].concat();
    let metadata = i16::from_be_bytes([0, 3]);
    // Name, bytes, and how many good answers come before the connection is closed.
    let cases: Vec<(&str, Vec<u8>, usize)> = vec![
        ("negative length", (-1i32).to_be_bytes().to_vec(), 0),
        ("no length", 0i32.to_be_bytes().to_vec(), 0),
        ("shorter than a header", frame(&[0, 3, 0, 1]), 0),
        ("larger than socket.request.max.bytes", (ANNOUNCED_BYTES + 1).to_be_bytes().to_vec(), 0),
        ("text", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), 0),
        ("unknown key", request(9999, 0, &[]), 0),
        ("negative key", request(-1, 0, &[]), 0),
        ("version too new", request(metadata, 99, &[0; 16]), 0),
        ("version too old", request(0, 0, &[0; 16]), 0),
        ("negative version", request(metadata, -1, &[0; 16]), 0),
        ("a key for controllers only", request(52, 0, &[0; 32]), 0),
        ("a response", frame(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 0]), 0),
        ("client id past the frame", frame(&[0, 3, 0, 1, 0, 0, 0, 7, 0x7f, 0xff, b'c']), 0),
        ("truncated body", request(metadata, 1, &[0, 0, 0]), 0),
        ("count past the frame", request(metadata, 1, &[0x7f, 0xff, 0xff, 0xff, 0, 1]), 0),
        ("negative string length", request(metadata, 1, &[0, 0, 0, 1, 0xff, 0xfe]), 0),
        ("invalid UTF-8", request(metadata, 1, &[0, 0, 0, 1, 0, 2, 0xc3, 0x28]), 0),
        ("endless varint", request(metadata, 9, &[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), 0),
        ("bad header behind a good request", after_good(frame(&[0xff; 12])), 1),
        ("bad body behind a good request", after_good(request(metadata, 1, &[0, 0])), 1),
        ("many bad requests at once", frame(&[0xff; 12]).repeat(50), 0),
    ];
    for (n, (name, bytes, answers)) in cases.iter().enumerate() {
        let mut wire = node.connect();
        wire.send_bytes(bytes);
        for _ in 0..*answers {
            assert!(wire.read_frame().is_some(), "{name}: the good request is answered");
        }
        assert!(wire.is_closed_without_answer(), "{name}: the connection is closed");
        // The page is rendered behind the closing, so the numbers are final.
        assert_eq!(node.metrics().get(MALFORMED, ""), Some((n + 1) as f64), "{name} is counted once");
        let told = node.wait_for_lines(n + 1, |line| line.contains(CLOSING));
        assert_eq!(told.len(), n + 1, "{name} is told once:\n{}", told.join("\n"));
        let response: MetadataResponse =
            healthy.call(ApiKey::Metadata, 1, &MetadataRequest { topics: None, ..Default::default() });
        assert_eq!(response.brokers.len(), 1, "{name}: other connections go on");
    }
    // What ends in the middle of a frame is a client that went away.
    let mut wire = node.connect();
    wire.send_bytes(&frame(&[0; 100])[..50]);
    wire.end();
    assert!(wire.is_closed_without_answer());
    // ApiVersions is answered in every version (KIP-511).
    let mut wire = node.connect();
    wire.send_bytes(&request(18, 99, &[0; 8]));
    let answer = wire.read_frame().expect("an answer");
    assert_eq!(answer[4..6], ErrorCode::UnsupportedVersion.code().to_be_bytes());
    let versions: ApiVersionsResponse = wire.call(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default());
    assert_eq!(versions.error_code, 0);
    assert_eq!(node.metrics().get(MALFORMED, ""), Some(cases.len() as f64));
    let told = node.log_lines().iter().filter(|line| line.contains(CLOSING)).count();
    assert_eq!(told, cases.len(), "{}", node.log_text());
}

fn create(wire: &mut Wire, topic: &str, configs: &[(&str, &str)]) {
    let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: (*name).into(),
        value: Some((*value).into()),
        ..Default::default()
    });
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: topic.into(),
            num_partitions: 1,
            replication_factor: 1,
            configs: configs.collect(),
            ..Default::default()
        }],
        timeout_ms: 30_000,
        ..Default::default()
    };
    let response: CreateTopicsResponse = wire.call(ApiKey::CreateTopics, 5, &request);
    assert_eq!(response.topics[0].error_code, 0, "{response:?}");
}

fn batch(codec: Codec, values: &[&[u8]]) -> Vec<u8> {
    let options = BatchOptions { compression: Compression::of(codec), ..Default::default() };
    let mut builder = BatchBuilder::new(options);
    for value in values {
        builder.append(1_700_000_000_000, None, Some(value), std::iter::empty());
    }
    builder.build().expect("a batch").to_vec()
}

fn with_crc(mut batch: Vec<u8>) -> Vec<u8> {
    let crc = ottla_protocol::records::crc32c(&batch[layout::ATTRIBUTES..]);
    batch[layout::CRC..layout::CRC + 4].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// Produces to the only partition; gives the error and what is said of it.
fn produce(wire: &mut Wire, topic: &str, records: Vec<u8>) -> (ErrorCode, Option<String>) {
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(Bytes::from(records)),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response: ProduceResponse = wire.call(ApiKey::Produce, 9, &request);
    let p = &response.responses[0].partition_responses[0];
    (ErrorCode::from_code(p.error_code), p.error_message.as_deref().map(str::to_owned))
}

#[test]
fn corrupt_batches_and_bombs_are_refused_and_others_go_on() {
    let node = Node::start(&[]);
    let (mut wire, mut other) = (node.connect(), node.connect());
    create(&mut wire, "t", &[]);
    create(&mut wire, "capped", &[("max.decompressed.message.bytes", "1000")]);
    let good = batch(Codec::None, &[b"value"]);
    let edited = |at: usize, bytes: &[u8]| {
        let mut copy = good.clone();
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        copy
    };
    let flipped = {
        let mut copy = good.clone();
        *copy.last_mut().expect("bytes") ^= 1;
        copy
    };
    // A sound frame around bytes that no codec made.
    let garbled = {
        let mut copy = batch(Codec::Zstd, &[&b"value"[..]; 10]);
        copy[layout::RECORD_BATCH_OVERHEAD..].fill(0xab);
        with_crc(copy)
    };
    let bomb = batch(Codec::Zstd, &[&vec![0; 600 << 20]]);
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    let small_bomb = batch(Codec::Zstd, &[&[0; 2000]]);
    use ErrorCode::{CorruptMessage, InvalidRecord};
    // Codes and texts are Apache Kafka's but for the two marked ones: it answers UNKNOWN_SERVER_ERROR to what no codec
    // made, and takes what is larger than any message may be as long as it only has to be passed over.
    let too_small = Some("Record size 10 is less than the minimum record overhead (14)");
    let cases: Vec<(&str, &str, Vec<u8>, ErrorCode, Option<&str>)> = vec![
        ("a flipped bit", "t", flipped, CorruptMessage, None),
        ("a wrong checksum", "t", edited(layout::CRC, &[1, 2, 3, 4]), CorruptMessage, None),
        (
            "a size below a header's",
            "t",
            edited(layout::LENGTH, &10i32.to_be_bytes()),
            CorruptMessage,
            too_small,
        ),
        (
            "magic 9",
            "t",
            edited(layout::MAGIC, &[9]),
            CorruptMessage,
            Some("Invalid magic found in record: 9"),
        ),
        (
            "a wrong count",
            "t",
            with_crc(edited(layout::RECORDS_COUNT, &2i32.to_be_bytes())),
            InvalidRecord,
            None,
        ),
        ("two batches", "t", good.repeat(2), InvalidRecord, None),
        ("nothing", "t", Vec::new(), InvalidRecord, None),
        ("garbage behind a codec (ours)", "t", garbled, InvalidRecord, None),
        ("a bomb (ours)", "t", bomb, InvalidRecord, None),
        ("a record over the topic's limit", "capped", small_bomb.clone(), InvalidRecord, None),
    ];
    let before = node.rss_bytes();
    for (name, topic, records, expected, text) in cases {
        let (code, message) = produce(&mut wire, topic, records);
        println!("{name}: {code:?} {message:?}");
        assert_eq!((code, message.as_deref()), (expected, text), "{name}");
        let (code, message) = produce(&mut other, "t", good.clone());
        assert_eq!(code, ErrorCode::None, "{name}: another connection goes on: {message:?}");
    }
    assert_eq!(produce(&mut wire, "t", small_bomb).0, ErrorCode::None, "the limit is the other topic's");
    let page = node.metrics_until("giving back what the bomb took", |_| {
        node.rss_bytes().saturating_sub(before) <= MAX_GROWTH_BYTES / 2
    });
    let failed =
        |labels: &str| page.get("kafka_server_brokertopicmetrics_failedproducerequests_total", labels);
    assert_eq!((failed("topic=capped"), failed("topic=t")), (Some(1.0), Some(9.0)));
}
