//! Producers over real sockets, and a reader that checks what they were promised.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::{
    FetchRequest, FetchResponse, InitProducerIdRequest, InitProducerIdResponse, ProduceRequest,
    ProduceResponse, ResponseHeader,
};
use ottla_protocol::records::{BatchBuilder, BatchIter, BatchOptions, Scratch};
use ottla_protocol::wire::{Message, Reader};
use ottla_protocol::{ApiKey, ErrorCode, frame};

const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;
const INIT_PRODUCER_ID_VERSION: i16 = 4;
const TIMEOUT: Duration = Duration::from_secs(20);
/// Frames that a broker sends are not larger.
const MAX_FRAME: usize = 64 << 20;

fn other(error: impl std::fmt::Debug) -> io::Error {
    io::Error::other(format!("{error:?}"))
}

/// A connection to a broker.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    next_id: i32,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(address: &str) -> io::Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Connection { stream, next_id: 0 })
    }

    fn send<M: Message>(&mut self, api: ApiKey, version: i16, body: &M) -> io::Result<()> {
        self.next_id += 1;
        let bytes =
            frame::request_frame(api, version, self.next_id, Some("sim".into()), body).map_err(other)?;
        self.stream.write_all(&bytes)
    }

    fn receive<R: Message>(&mut self, api: ApiKey, version: i16) -> io::Result<R> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_FRAME {
            return Err(other("a frame that is too long"));
        }
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        let mut reader = Reader::new(Bytes::from(bytes));
        ResponseHeader::decode(&mut reader, api.response_header_version(version)).map_err(other)?;
        R::decode(&mut reader, version).map_err(other)
    }
}

/// What one producer wrote, kept over reconnects.
#[derive(Debug)]
pub struct Producer {
    /// Its number; part of each value.
    pub number: u32,
    topic: String,
    partition: i32,
    acks: i16,
    producer_id: i64,
    producer_epoch: i16,
    /// Sent and not answered, oldest first.
    in_flight: VecDeque<i32>,
    next: i32,
    /// Values below were acknowledged.
    pub acked: i32,
}

impl Producer {
    /// A producer that writes to one partition.
    pub fn new(number: u32, topic: &str, partition: i32, acks: i16) -> Producer {
        Producer {
            number,
            topic: topic.to_owned(),
            partition,
            acks,
            producer_id: -1,
            producer_epoch: -1,
            in_flight: VecDeque::new(),
            next: 0,
            acked: 0,
        }
    }

    fn batch(&self, sequence: i32, value_bytes: usize) -> Bytes {
        let mut builder = BatchBuilder::new(BatchOptions {
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: if self.producer_id < 0 { -1 } else { sequence },
            ..BatchOptions::default()
        });
        let mut value = vec![b'.'; value_bytes.max(8)];
        value[..4].copy_from_slice(&self.number.to_be_bytes());
        value[4..8].copy_from_slice(&sequence.to_be_bytes());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        builder.append(now.as_millis() as i64, None, Some(&value), []);
        builder.build().expect("a batch without compression")
    }

    fn send(&mut self, connection: &mut Connection, sequence: i32, value_bytes: usize) -> io::Result<()> {
        let records = self.batch(sequence, value_bytes);
        let request = ProduceRequest {
            acks: self.acks,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: self.topic.as_str().into(),
                partition_data: vec![PartitionProduceData {
                    index: self.partition,
                    records: Some(records),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        connection.send(ApiKey::Produce, PRODUCE_VERSION, &request)
    }

    /// Asks for a producer id, so that what is sent again is stored once.
    ///
    /// # Errors
    /// The connection; the broker.
    pub fn make_idempotent(&mut self, connection: &mut Connection) -> io::Result<()> {
        if self.producer_id >= 0 {
            return Ok(());
        }
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        connection.send(ApiKey::InitProducerId, INIT_PRODUCER_ID_VERSION, &request)?;
        let response: InitProducerIdResponse =
            connection.receive(ApiKey::InitProducerId, INIT_PRODUCER_ID_VERSION)?;
        if response.error_code != 0 {
            return Err(other(ErrorCode::from_code(response.error_code)));
        }
        self.producer_id = response.producer_id;
        self.producer_epoch = response.producer_epoch;
        Ok(())
    }

    /// Writes with `depth` requests in flight until `stop`, beginning with what was not answered before. Counts the
    /// answers in `answered`. What arrives once `blow` is set counts for nothing: a client of a machine without power
    /// would not have heard it.
    ///
    /// # Errors
    /// The connection, or an error code that is not a passing one.
    pub fn run(
        &mut self,
        connection: &mut Connection,
        depth: usize,
        value_bytes: usize,
        stop: &AtomicBool,
        blow: &AtomicBool,
        answered: &AtomicU64,
    ) -> io::Result<()> {
        for sequence in self.in_flight.clone() {
            self.send(connection, sequence, value_bytes)?;
        }
        loop {
            while self.in_flight.len() < depth && !stop.load(Ordering::Relaxed) {
                let sequence = self.next;
                self.next += 1;
                self.in_flight.push_back(sequence);
                self.send(connection, sequence, value_bytes)?;
            }
            let Some(&oldest) = self.in_flight.front() else { return Ok(()) };
            let response: ProduceResponse = connection.receive(ApiKey::Produce, PRODUCE_VERSION)?;
            if blow.load(Ordering::SeqCst) {
                return Err(other("the power is gone"));
            }
            let partition = response
                .responses
                .first()
                .and_then(|topic| topic.partition_responses.first())
                .ok_or_else(|| other("a response without a partition"))?;
            match ErrorCode::from_code(partition.error_code) {
                ErrorCode::None | ErrorCode::DuplicateSequenceNumber => {
                    self.in_flight.pop_front();
                    self.acked = oldest + 1;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                code => return Err(other(code)),
            }
        }
    }
}

/// How much was acknowledged, and how fast.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Acknowledged requests.
    pub acked: u64,
    /// Time that it took.
    pub elapsed: Duration,
}

impl Rate {
    /// Requests a second.
    pub fn per_second(&self) -> f64 {
        self.acked as f64 / self.elapsed.as_secs_f64()
    }
}

/// Lets `connections` producers write for some time, each with `depth` requests in flight.
///
/// # Errors
/// The first connection that failed.
pub fn measure(
    address: &str,
    topic: &str,
    partitions: i32,
    connections: u32,
    depth: usize,
    value_bytes: usize,
    time: Duration,
) -> io::Result<Rate> {
    let stop = AtomicBool::new(false);
    let answered = AtomicU64::new(0);
    let failure = Mutex::new(None);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..connections {
            let (stop, answered, failure) = (&stop, &answered, &failure);
            scope.spawn(move || {
                let mut producer = Producer::new(number, topic, number as i32 % partitions, -1);
                let result = Connection::open(address).and_then(|mut connection| {
                    producer.run(&mut connection, depth, value_bytes, stop, &AtomicBool::new(false), answered)
                });
                if let Err(error) = result {
                    failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(error);
                }
            });
        }
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
    });
    let rate = Rate { acked: answered.load(Ordering::Relaxed), elapsed: begun.elapsed() };
    match failure.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        Some(error) => Err(error),
        None => Ok(rate),
    }
}

/// Reads a partition from its start: number and sequence of each value, in order. Every batch must be sound, and
/// offsets must follow one another.
///
/// # Errors
/// The connection, an error code, a batch that is corrupt, a gap between offsets.
pub fn read_all(connection: &mut Connection, topic: &str, partition: i32) -> io::Result<Vec<(u32, i32)>> {
    let mut found = Vec::new();
    let mut next = 0;
    let mut scratch = Scratch::default();
    loop {
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms: 100,
            min_bytes: 1,
            max_bytes: 32 << 20,
            session_epoch: -1,
            topics: vec![FetchTopic {
                topic: topic.into(),
                partitions: vec![FetchPartition {
                    partition,
                    current_leader_epoch: -1,
                    fetch_offset: next,
                    last_fetched_epoch: -1,
                    partition_max_bytes: 32 << 20,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        connection.send(ApiKey::Fetch, FETCH_VERSION, &request)?;
        let response: FetchResponse = connection.receive(ApiKey::Fetch, FETCH_VERSION)?;
        let data = response
            .responses
            .first()
            .and_then(|topic| topic.partitions.first())
            .ok_or_else(|| other("a response without a partition"))?;
        if data.error_code != 0 {
            return Err(other(ErrorCode::from_code(data.error_code)));
        }
        let bytes = data.records.clone().unwrap_or_default();
        let before = next;
        for batch in BatchIter::new(&bytes).flatten() {
            batch.ensure_valid().map_err(other)?;
            for record in batch.records(&mut scratch).map_err(other)? {
                let record = record.map_err(other)?;
                if record.offset != next {
                    return Err(other(format!("offset {} where {next} should be", record.offset)));
                }
                next += 1;
                let Some((number, rest)) = record.value.unwrap_or_default().split_first_chunk::<4>() else {
                    return Err(other("a value that nobody wrote"));
                };
                let sequence = rest.first_chunk::<4>().copied().unwrap_or_default();
                found.push((u32::from_be_bytes(*number), i32::from_be_bytes(sequence)));
            }
        }
        if next == before && next >= data.high_watermark {
            return Ok(found);
        }
    }
}

/// Compares what is in the log with what producers were told.
pub fn verify(found: &[(u32, i32)], producers: &[Arc<Mutex<Producer>>]) -> Result<u64, String> {
    let mut total = 0;
    for producer in producers {
        let producer = producer.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut mine: Vec<i32> = found
            .iter()
            .filter(|(number, _)| *number == producer.number)
            .map(|(_, sequence)| *sequence)
            .collect();
        if !mine.is_sorted() {
            return Err(format!("producer {}: values out of order", producer.number));
        }
        let with_duplicates = mine.len();
        mine.dedup();
        if mine.len() != with_duplicates {
            return Err(format!("producer {}: {} duplicates", producer.number, with_duplicates - mine.len()));
        }
        let there = mine.iter().filter(|sequence| **sequence < producer.acked).count();
        if there as i32 != producer.acked {
            let lost = (0..producer.acked).find(|sequence| mine.binary_search(sequence).is_err());
            return Err(format!(
                "producer {}: {} of {} acknowledged values are lost, the first is {lost:?}",
                producer.number,
                producer.acked - there as i32,
                producer.acked
            ));
        }
        total += producer.acked as u64;
    }
    Ok(total)
}
