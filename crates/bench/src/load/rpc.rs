//! One connection, one request at a time: what librdkafka has no call for, or does with more threads than a measurement wants.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ottla_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_protocol::messages::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, ListOffsetsRequest, ListOffsetsResponse,
    ResponseHeader,
};
use ottla_protocol::wire::{Message, Reader};
use ottla_protocol::{ApiKey, ErrorCode, frame};

/// No answer that a scenario asks for is longer.
const MAX_RESPONSE_BYTES: usize = 256 << 20;
/// As new as Nisshi knows.
const LIST_OFFSETS_VERSION: i16 = 6;
/// Requests that [`Rpc::ask_all`] has on their way at a time.
const WINDOW: usize = 50;
/// How long [`Rpc::ask_all`] asks again.
const PATIENCE: Duration = Duration::from_secs(60);
const TOPIC_RESOURCE: i8 = 2;
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// A connection that waits for each answer.
#[derive(Debug)]
pub struct Rpc {
    stream: TcpStream,
    correlation_id: i32,
    patience: Duration,
}

impl Rpc {
    pub fn connect(port: u16) -> Result<Rpc, String> {
        Rpc::patient(port, Duration::from_secs(120))
    }

    /// Waits at most `patience` for each answer.
    pub fn patient(port: u16, patience: Duration) -> Result<Rpc, String> {
        let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        stream.set_read_timeout(Some(patience)).map_err(|e| e.to_string())?;
        Ok(Rpc { stream, correlation_id: 0, patience })
    }

    /// Sends a request and decodes its answer.
    pub fn call<Q: Message, A: Message>(
        &mut self,
        api: ApiKey,
        version: i16,
        request: &Q,
    ) -> Result<A, String> {
        self.send(api, version, request)?;
        self.receive(api, version)
    }

    pub fn send<Q: Message>(&mut self, api: ApiKey, version: i16, request: &Q) -> Result<(), String> {
        self.correlation_id += 1;
        let bytes = frame::request_frame(api, version, self.correlation_id, Some("bench".into()), request)
            .map_err(|e| e.to_string())?;
        self.stream.write_all(&bytes).map_err(|e| e.to_string())
    }

    pub fn receive<A: Message>(&mut self, api: ApiKey, version: i16) -> Result<A, String> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).map_err(|e| match e.kind() {
            ErrorKind::UnexpectedEof => format!("the connection was closed instead of an answer to {api}"),
            ErrorKind::WouldBlock => format!("no answer to {api} within {:?}", self.patience),
            _ => format!("{api}: {e}"),
        })?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_RESPONSE_BYTES {
            return Err(format!("a response of {length} bytes to {api}"));
        }
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).map_err(|e| e.to_string())?;
        decode(api, version, bytes)
    }
}

/// Which records a reader is shown, as requests say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    ReadUncommitted = 0,
    ReadCommitted = 1,
}

impl Rpc {
    /// Asks once for each of `count` with many requests on their way. `take` looks at an answer and says its error; what
    /// may be tried again is.
    pub fn ask_all<Q: Message, A: Message>(
        &mut self,
        api: ApiKey,
        version: i16,
        count: usize,
        make: impl Fn(usize) -> Result<Q, String>,
        mut take: impl FnMut(usize, A) -> i16,
    ) -> Result<(), String> {
        let began = Instant::now();
        let mut left: Vec<usize> = (0..count).collect();
        while !left.is_empty() {
            let mut again = Vec::new();
            for window in left.chunks(WINDOW) {
                for which in window {
                    self.send(api, version, &make(*which)?)?;
                }
                for which in window {
                    let error = ErrorCode::from_code(take(*which, self.receive(api, version)?));
                    match error {
                        ErrorCode::None => {}
                        e if e.is_retriable() && began.elapsed() < PATIENCE => again.push(*which),
                        e => return Err(format!("{api}: {}", e.name())),
                    }
                }
            }
            left = again;
            if !left.is_empty() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(())
    }
}

/// A response with its header, without its length.
pub fn decode<A: Message>(api: ApiKey, version: i16, bytes: Vec<u8>) -> Result<A, String> {
    let mut reader = Reader::new(bytes.into());
    ResponseHeader::decode(&mut reader, api.response_header_version(version)).map_err(|e| e.to_string())?;
    A::decode(&mut reader, version).map_err(|e| format!("{api}: {e}"))
}

/// Sets keys of a topic.
pub fn alter_topic(port: u16, topic: &str, settings: &[(&str, &str)]) -> Result<(), String> {
    let configs = settings
        .iter()
        .map(|(k, v)| AlterableConfig {
            name: (*k).into(),
            config_operation: 0,
            value: Some((*v).into()),
            ..Default::default()
        })
        .collect();
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: TOPIC_RESOURCE,
            resource_name: topic.into(),
            configs,
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer: IncrementalAlterConfigsResponse =
        Rpc::connect(port)?.call(ApiKey::IncrementalAlterConfigs, 1, &request)?;
    match answer.responses.iter().find(|r| r.error_code != 0) {
        Some(bad) => Err(format!("{topic}: error {} {:?}", bad.error_code, bad.error_message)),
        None => Ok(()),
    }
}

/// How many partitions of `topics` a node serves: those of which it tells the end.
pub fn served(rpc: &mut Rpc, topics: &[String], partitions: i32) -> Result<usize, String> {
    let answer = list(rpc, topics, partitions, LATEST, Isolation::ReadUncommitted)?;
    Ok(answer.topics.iter().flat_map(|t| &t.partitions).filter(|p| p.error_code == 0).count())
}

/// First offset and end of one partition.
pub fn range(rpc: &mut Rpc, topic: &str, partition: i32) -> Result<(i64, i64), String> {
    let first = one(rpc, topic, partition, EARLIEST, Isolation::ReadUncommitted)?;
    Ok((first, one(rpc, topic, partition, LATEST, Isolation::ReadUncommitted)?))
}

/// The last stable offset of one partition: where its oldest open transaction begins, or its end.
pub fn last_stable_offset(rpc: &mut Rpc, topic: &str, partition: i32) -> Result<i64, String> {
    one(rpc, topic, partition, LATEST, Isolation::ReadCommitted)
}

fn one(
    rpc: &mut Rpc,
    topic: &str,
    partition: i32,
    timestamp: i64,
    isolation: Isolation,
) -> Result<i64, String> {
    let answer = list(rpc, &[topic.to_owned()], partition + 1, timestamp, isolation)?;
    let found = answer.topics.iter().flat_map(|t| &t.partitions).find(|p| p.partition_index == partition);
    match found {
        Some(p) if p.error_code == 0 => Ok(p.offset),
        Some(p) => Err(format!("error {}", p.error_code)),
        None => Err("no such partition in the answer".to_owned()),
    }
}

fn list(
    rpc: &mut Rpc,
    topics: &[String],
    partitions: i32,
    timestamp: i64,
    isolation: Isolation,
) -> Result<ListOffsetsResponse, String> {
    let partitions: Vec<ListOffsetsPartition> = (0..partitions)
        .map(|partition_index| ListOffsetsPartition { partition_index, timestamp, ..Default::default() })
        .collect();
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: isolation as i8,
        topics: topics
            .iter()
            .map(|name| ListOffsetsTopic {
                name: name.as_str().into(),
                partitions: partitions.clone(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    rpc.call(ApiKey::ListOffsets, LIST_OFFSETS_VERSION, &request)
}
