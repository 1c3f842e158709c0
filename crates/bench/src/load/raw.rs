//! Produce requests straight onto sockets, with an exact number in flight on each of many connections. Stock clients
//! decide that number themselves, and are busier than the broker with requests this small.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ottla_protocol::messages::metadata_request::MetadataRequestTopic;
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::{MetadataRequest, ProduceRequest};
use ottla_protocol::records::{BatchBuilder, BatchOptions};
use ottla_protocol::{ApiKey, frame};

/// The newest version that names topics instead of giving their ids.
const PRODUCE_VERSION: i16 = 12;
const METADATA_VERSION: i16 = 12;

/// What to send.
#[derive(Debug, Clone, Copy)]
pub struct SmallRequests<'a> {
    pub port: u16,
    pub topic: &'a str,
    pub partitions: i32,
    pub connections: usize,
    pub in_flight: usize,
    pub requests: u64,
    pub record_bytes: usize,
    pub acks: i16,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    pub requests: u64,
    pub elapsed: Duration,
}

impl Answered {
    pub fn per_s(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }
}

fn produce_frame(load: &SmallRequests<'_>, partition: i32) -> Result<Vec<u8>, String> {
    let mut batch = BatchBuilder::new(BatchOptions::default());
    let now_ms = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as i64);
    let value = &super::payloads(load.record_bytes, 1)[0];
    batch.append(now_ms, None, Some(value), std::iter::empty());
    let mut records = Vec::new();
    batch.write_to(&mut records).map_err(|e| e.to_string())?;
    let request = ProduceRequest {
        transactional_id: None,
        acks: load.acks,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: load.topic.into(),
            partition_data: vec![PartitionProduceData {
                index: partition,
                records: Some(records.into()),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    frame::request_frame(ApiKey::Produce, PRODUCE_VERSION, 1, Some("bench".into()), &request)
        .map(|f| f.to_vec())
        .map_err(|e| e.to_string())
}

/// Reads one response and returns its length.
fn skip_response(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<usize, String> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).map_err(|e| e.to_string())?;
    let length = u32::from_be_bytes(length) as usize;
    if length > 64 << 20 {
        return Err(format!("a response of {length} bytes"));
    }
    buffer.resize(length, 0);
    stream.read_exact(buffer).map_err(|e| e.to_string())?;
    Ok(length)
}

/// Opens a connection and asks for the topic, as every client does.
pub fn connect(port: u16, topic: Option<&str>) -> Result<TcpStream, String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).map_err(|e| e.to_string())?;
    if let Some(topic) = topic {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic { name: Some(topic.into()), ..Default::default() }]),
            ..Default::default()
        };
        let asked =
            frame::request_frame(ApiKey::Metadata, METADATA_VERSION, 0, Some("bench".into()), &request)
                .map_err(|e| e.to_string())?;
        stream.write_all(&asked).map_err(|e| e.to_string())?;
        skip_response(&mut stream, &mut Vec::new())?;
    }
    Ok(stream)
}

/// Sends the requests from as many threads as there are connections, but at most four.
pub fn small_requests(load: &SmallRequests<'_>) -> Result<Answered, String> {
    let threads = load.connections.clamp(1, 4);
    let per_connection = (load.requests / load.connections as u64).max(1);
    let mut groups: Vec<Vec<(TcpStream, Vec<u8>)>> = (0..threads).map(|_| Vec::new()).collect();
    for i in 0..load.connections {
        let stream = connect(load.port, Some(load.topic))?;
        let frame = produce_frame(load, i as i32 % load.partitions)?;
        groups[i % threads].push((stream, frame));
    }
    let began = Instant::now();
    let in_flight = load.in_flight as u64;
    std::thread::scope(|scope| {
        let running: Vec<_> = groups
            .into_iter()
            .map(|mut group| {
                scope.spawn(move || -> Result<u64, String> {
                    let mut buffer = Vec::new();
                    let mut answered = 0;
                    let window = in_flight.min(per_connection);
                    for (stream, frame) in &mut group {
                        let burst = frame.repeat(window as usize);
                        stream.write_all(&burst).map_err(|e| e.to_string())?;
                    }
                    let mut left = per_connection - window;
                    while left > 0 {
                        // A window is refilled by halves, so that requests and answers are on their way at the same time.
                        let step = (window / 2).max(1).min(left);
                        for (stream, frame) in &mut group {
                            for _ in 0..step {
                                skip_response(stream, &mut buffer)?;
                                answered += 1;
                            }
                            stream.write_all(&frame.repeat(step as usize)).map_err(|e| e.to_string())?;
                        }
                        left -= step;
                    }
                    for (stream, _) in &mut group {
                        for _ in 0..window {
                            skip_response(stream, &mut buffer)?;
                            answered += 1;
                        }
                    }
                    Ok(answered)
                })
            })
            .collect();
        let mut requests = 0;
        for thread in running {
            requests += thread.join().map_err(|_| "a thread panicked".to_owned())??;
        }
        Ok(Answered { requests, elapsed: began.elapsed() })
    })
}
