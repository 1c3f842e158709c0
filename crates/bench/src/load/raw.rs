//! Requests straight onto sockets, with an exact number in flight on each of many connections. Stock clients decide that
//! number themselves, and are busier than the broker with requests this small.

use std::io::{BufReader, ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_protocol::messages::metadata_request::MetadataRequestTopic;
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::{MetadataRequest, ProduceRequest, ProduceResponse};
use ottla_protocol::records::{BatchBuilder, BatchOptions};
use ottla_protocol::{ApiKey, frame};

use super::rpc;

/// What every peer speaks; topics are named, no ids given.
const PRODUCE_VERSION: i16 = 11;
const METADATA_VERSION: i16 = 12;
const MAX_RESPONSE_BYTES: usize = 64 << 20;

/// Produce requests of one record each.
#[derive(Debug, Clone, Copy)]
pub struct SmallRequests<'a> {
    pub port: u16,
    pub topic: &'a str,
    pub partitions: i32,
    pub connections: usize,
    pub in_flight: usize,
    pub requests: u64,
    /// Ends after so long even if not all requests were sent.
    pub at_most: Duration,
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

/// Milliseconds since the epoch.
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| d.as_millis() as i64)
}

/// A batch of `count` times the same record.
pub fn batch(options: BatchOptions, timestamp: i64, value: &[u8], count: usize) -> Result<Bytes, String> {
    let mut batch = BatchBuilder::new(options);
    for _ in 0..count {
        batch.append(timestamp, None, Some(value), std::iter::empty());
    }
    batch.build().map_err(|e| e.to_string())
}

/// One record to each of `partitions` in one Produce request.
pub fn produce_frame(topics: &[(&str, Vec<i32>)], record_bytes: usize, acks: i16) -> Result<Vec<u8>, String> {
    let value = &super::payloads(record_bytes, 1)[0];
    frame_of(topics, &batch(BatchOptions::default(), now_ms(), value, 1)?, acks)
}

/// The same batch to each of `partitions` in one Produce request.
pub fn frame_of(topics: &[(&str, Vec<i32>)], records: &Bytes, acks: i16) -> Result<Vec<u8>, String> {
    let topic_data = topics
        .iter()
        .map(|(name, partitions)| TopicProduceData {
            name: (*name).into(),
            partition_data: partitions
                .iter()
                .map(|index| PartitionProduceData {
                    index: *index,
                    records: Some(records.clone()),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        })
        .collect();
    let request =
        ProduceRequest { transactional_id: None, acks, timeout_ms: 30_000, topic_data, ..Default::default() };
    frame::request_frame(ApiKey::Produce, PRODUCE_VERSION, 1, Some("bench".into()), &request)
        .map(|f| f.to_vec())
        .map_err(|e| e.to_string())
}

/// A Produce response that says no.
pub fn check_produced(response: Vec<u8>) -> Result<(), String> {
    let answer: ProduceResponse = rpc::decode(ApiKey::Produce, PRODUCE_VERSION, response)?;
    match answer.responses.iter().flat_map(|t| &t.partition_responses).find(|p| p.error_code != 0) {
        Some(p) => Err(format!("produce: error {} {:?}", p.error_code, p.error_message)),
        None => Ok(()),
    }
}

fn read_response(stream: &mut impl Read, buffer: &mut Vec<u8>) -> Result<(), String> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).map_err(|e| e.to_string())?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_RESPONSE_BYTES {
        return Err(format!("a response of {length} bytes"));
    }
    buffer.resize(length, 0);
    stream.read_exact(buffer).map_err(|e| e.to_string())
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
        read_response(&mut stream, &mut Vec::new())?;
    }
    Ok(stream)
}

/// Sends one-record Produce requests; see [`pipeline`].
pub fn small_requests(load: &SmallRequests<'_>) -> Result<Answered, String> {
    send_small(load, connect_small(load)?)
}

/// What [`small_requests`] does over connections that are there.
pub fn send_small(load: &SmallRequests<'_>, connections: Loaded) -> Result<Answered, String> {
    pipeline(connections, load.in_flight, load.requests, load.at_most, &check_produced)
}

/// The connections of [`small_requests`], which have asked for metadata.
pub fn connect_small(load: &SmallRequests<'_>) -> Result<Loaded, String> {
    let mut connections = Vec::new();
    for i in 0..load.connections {
        let partition = i as i32 % load.partitions;
        let frame = produce_frame(&[(load.topic, vec![partition])], load.record_bytes, load.acks)?;
        connections.push((connect(load.port, Some(load.topic))?, vec![frame]));
    }
    Ok(connections)
}

/// A request as it is sent: what is its own, and behind it what it may share with others.
#[derive(Debug, Clone)]
pub struct Frame {
    own: Vec<u8>,
    shared: Bytes,
}

impl From<Vec<u8>> for Frame {
    fn from(own: Vec<u8>) -> Self {
        Frame { own, shared: Bytes::new() }
    }
}

/// The same frames with the bytes in which all of them end kept once. Sending the frames of a hundred topics then costs
/// the generator what those of one cost: a copy of each of its own would come from memory and not from its caches, and
/// one could not tell whether the generator or the broker is slower with many.
pub fn with_shared_end(frames: Vec<Vec<u8>>) -> Vec<Frame> {
    let Some(first) = frames.first() else { return Vec::new() };
    let same =
        |frame: &Vec<u8>| frame.iter().rev().zip(first.iter().rev()).take_while(|(a, b)| a == b).count();
    let length = frames.iter().map(same).min().unwrap_or(0);
    let shared = Bytes::copy_from_slice(&first[first.len() - length..]);
    frames
        .into_iter()
        .map(|mut own| {
            own.truncate(own.len() - length);
            own.shrink_to_fit();
            Frame { own, shared: shared.clone() }
        })
        .collect()
}

/// Connections, each with the frames that it sends in turn.
pub type Loaded<F = Vec<u8>> = Vec<(TcpStream, Vec<F>)>;

struct Connection {
    /// Answers that came together are read together, as clients do: or the generator is slower than what it measures.
    stream: BufReader<TcpStream>,
    frames: Vec<Frame>,
    next: usize,
    length: usize,
    burst: Vec<u8>,
}

impl Connection {
    fn send(&mut self, count: u64) -> Result<(), String> {
        self.burst.clear();
        for _ in 0..count {
            let frame = &self.frames[self.next];
            self.burst.extend_from_slice(&frame.own);
            if !frame.shared.is_empty() {
                write_both(self.stream.get_mut(), &self.burst, &frame.shared).map_err(|e| e.to_string())?;
                self.burst.clear();
            }
            self.next = (self.next + 1) % self.frames.len();
        }
        self.stream.get_mut().write_all(&self.burst).map_err(|e| e.to_string())
    }

    /// The first answer is decoded, and so is each of another length: decoding all would cost more than the broker spends.
    fn receive(&mut self, buffer: &mut Vec<u8>, check: Check<'_>) -> Result<(), String> {
        read_response(&mut self.stream, buffer)?;
        if buffer.len() != self.length {
            self.length = buffer.len();
            check(buffer.clone())?;
        }
        Ok(())
    }
}

fn write_both(stream: &mut TcpStream, first: &[u8], second: &[u8]) -> std::io::Result<()> {
    let mut parts = &mut [IoSlice::new(first), IoSlice::new(second)][..];
    while !parts.is_empty() {
        match stream.write_vectored(parts) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut parts, written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Says what is wrong with a response.
pub type Check<'a> = &'a (dyn Fn(Vec<u8>) -> Result<(), String> + Sync);

/// Sends `requests` requests over the connections, `in_flight` at a time on each, from at most four threads, and ends early
/// after `at_most`. An answer that `check` refuses ends it with an error.
pub fn pipeline<F: Into<Frame>>(
    connections: Loaded<F>,
    in_flight: usize,
    requests: u64,
    at_most: Duration,
    check: Check<'_>,
) -> Result<Answered, String> {
    let threads = connections.len().clamp(1, 4);
    let per_connection = (requests / connections.len().max(1) as u64).max(1);
    let mut groups: Vec<Vec<Connection>> = (0..threads).map(|_| Vec::new()).collect();
    for (i, (stream, frames)) in connections.into_iter().enumerate() {
        let frames = frames.into_iter().map(Into::into).collect();
        let stream = BufReader::new(stream);
        groups[i % threads].push(Connection { stream, frames, next: 0, length: 0, burst: Vec::new() });
    }
    let window = (in_flight as u64).min(per_connection);
    let began = Instant::now();
    std::thread::scope(|scope| {
        let running: Vec<_> = groups
            .into_iter()
            .map(|mut group| {
                scope.spawn(move || -> Result<u64, String> {
                    let mut buffer = Vec::new();
                    let mut answered = 0;
                    for connection in &mut group {
                        connection.send(window)?;
                    }
                    let mut left = per_connection - window;
                    while left > 0 && began.elapsed() < at_most {
                        // A small window is refilled one by one, as clients do; a large one by halves, which costs less and
                        // still keeps requests and answers on their way at the same time.
                        let step = if window <= 8 { 1 } else { window / 2 }.min(left);
                        for connection in &mut group {
                            for _ in 0..step {
                                connection.receive(&mut buffer, check)?;
                                answered += 1;
                            }
                            connection.send(step)?;
                        }
                        left -= step;
                    }
                    for connection in &mut group {
                        for _ in 0..window {
                            connection.receive(&mut buffer, check)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_share_their_end_are_the_same_bytes() {
        let frames: Vec<Vec<u8>> = ["a", "bb", "b"].map(produce_frame_at).into();
        let shared = with_shared_end(frames.clone());
        let length = shared[0].shared.len();
        assert!(length > 3 * 100 && shared.iter().all(|f| f.shared.len() == length && f.own.len() < 100));
        let whole = |f: &Frame| [f.own.as_slice(), f.shared.as_ref()].concat();
        assert_eq!(shared.iter().map(whole).collect::<Vec<_>>(), frames);
        assert!(with_shared_end(Vec::new()).is_empty());
    }

    fn produce_frame_at(topic: &str) -> Vec<u8> {
        let records = batch(BatchOptions::default(), 0, &[7; 100], 1).expect("a batch");
        frame_of(&[(topic, vec![0, 1, 2])], &records, 1).expect("a frame")
    }
}
