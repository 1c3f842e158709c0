//! Reading a partition with bare Fetch requests, one at a time: the cheapest reader there is, which looks at nothing but
//! the headers of batches. It leaves the processor to what is measured beside it.

use std::time::{Duration, Instant};

use ottla_protocol::ApiKey;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::fetch_response::PartitionData;
use ottla_protocol::messages::{FetchRequest, FetchResponse};
use ottla_protocol::records::BatchIter;

use super::rpc::{Isolation, Rpc};

/// The newest version that names topics instead of giving their ids.
const VERSION: i16 = 12;
const MAX_BYTES: i32 = 4 << 20;

/// Fetches once from `offset`; returns the bytes that came and the offset after them.
pub fn fetch_once(
    rpc: &mut Rpc,
    topic: &str,
    partition: i32,
    offset: i64,
    max_bytes: i32,
) -> Result<(u64, i64), String> {
    let part = fetch(rpc, topic, partition, offset, max_bytes, Isolation::ReadUncommitted)?;
    let records = part.records.as_deref().unwrap_or_default();
    let mut next = offset;
    // The last batch may be cut short: the one before it is where the next fetch begins.
    for batch in BatchIter::new(records) {
        let Ok(batch) = batch else { break };
        next = batch.header().next_offset();
    }
    Ok((records.len() as u64, next))
}

/// Fetches once from `offset`.
pub fn fetch(
    rpc: &mut Rpc,
    topic: &str,
    partition: i32,
    offset: i64,
    max_bytes: i32,
    isolation: Isolation,
) -> Result<PartitionData, String> {
    let request = FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes,
        isolation_level: isolation as i8,
        topics: vec![FetchTopic {
            topic: topic.into(),
            partitions: vec![FetchPartition {
                partition,
                fetch_offset: offset,
                partition_max_bytes: max_bytes,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut answer: FetchResponse = rpc.call(ApiKey::Fetch, VERSION, &request)?;
    let part = answer.responses.first_mut().and_then(|t| t.partitions.first_mut()).map(std::mem::take);
    match part {
        Some(part) if answer.error_code == 0 && part.error_code == 0 => Ok(part),
        part => Err(format!(
            "fetch of {topic}-{partition} at {offset}: error {} / {:?}",
            answer.error_code,
            part.map(|p| p.error_code)
        )),
    }
}

/// What was read, and how long it took.
#[derive(Debug, Clone, Copy)]
pub struct Read {
    pub bytes: u64,
    pub elapsed: Duration,
}

impl Read {
    pub fn mb_per_s(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.elapsed.as_secs_f64()
    }
}

/// Reads partition after partition from `from` to its end, at most `mb_per_s`, until `stop` says so or all is read.
pub fn read_all(
    port: u16,
    topic: &str,
    partitions: i32,
    mb_per_s: f64,
    stop: &dyn Fn() -> bool,
) -> Result<Read, String> {
    let mut rpc = Rpc::connect(port)?;
    let began = Instant::now();
    let mut bytes = 0;
    for partition in 0..partitions {
        let (mut offset, end) = super::rpc::range(&mut rpc, topic, partition)?;
        while offset < end && !stop() {
            let (got, next) = fetch_once(&mut rpc, topic, partition, offset, MAX_BYTES)?;
            bytes += got;
            offset = next;
            let due = Duration::from_secs_f64(bytes as f64 / 1e6 / mb_per_s);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
    }
    Ok(Read { bytes, elapsed: began.elapsed() })
}
