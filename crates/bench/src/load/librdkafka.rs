//! Producing and consuming as fast as librdkafka can.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::payloads;

const FLUSH: Duration = Duration::from_secs(300);

#[derive(Debug, Default, Clone)]
struct Deliveries {
    good: Arc<AtomicU64>,
    bad: Arc<AtomicU64>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let counter = if result.is_ok() { &self.good } else { &self.bad };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// What to produce.
#[derive(Debug, Clone)]
pub struct Produce<'a> {
    pub bootstrap: &'a str,
    pub topics: &'a [String],
    /// Of each topic; records go round robin when `spread`, else as the client likes.
    pub partitions: i32,
    pub spread: bool,
    /// How many different keys records have; 0 for none.
    pub keys: u64,
    pub records: u64,
    pub record_bytes: usize,
    /// Of the client: `acks`, `linger.ms`, `compression.type`, ...
    pub settings: &'a [(&'a str, &'a str)],
    /// Stop after so long, delivered or not; for systems that would take for ever.
    pub at_most: Duration,
}

/// Numbers without an order, the same in every run.
fn scattered(i: u64) -> u64 {
    i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 17
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub struct Produced {
    pub bytes: u64,
    pub elapsed: Duration,
}

impl Produced {
    pub fn mb_per_s(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.elapsed.as_secs_f64()
    }

    pub fn gb(&self) -> f64 {
        self.bytes as f64 / 1e9
    }
}

pub fn produce(load: &Produce<'_>) -> Result<Produced, String> {
    let deliveries = Deliveries::default();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", load.bootstrap).set("queue.buffering.max.messages", "500000");
    config.set("queue.buffering.max.kbytes", "262144").set("message.timeout.ms", "300000");
    for (key, value) in load.settings {
        config.set(*key, *value);
    }
    let producer: ThreadedProducer<Deliveries> =
        config.create_with_context(deliveries.clone()).map_err(|e| e.to_string())?;
    let values = payloads(load.record_bytes, 64);
    let began = Instant::now();
    let mut sent = 0;
    for i in 0..load.records {
        let at = i as usize;
        let topic = &load.topics[at % load.topics.len()];
        let key = scattered(i) % load.keys.max(1);
        let key = key.to_be_bytes();
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).payload(&values[at % values.len()]);
        if load.keys > 0 {
            record = record.key(&key);
        }
        if load.spread {
            record = record.partition(((at / load.topics.len()) % load.partitions as usize) as i32);
        }
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(Duration::from_micros(200));
                }
                Err((e, _)) => return Err(e.to_string()),
            }
        }
        sent += 1;
        if i % 1024 == 0 && began.elapsed() > load.at_most {
            break;
        }
    }
    let left = load.at_most.saturating_sub(began.elapsed()).max(Duration::from_secs(30)).min(FLUSH);
    let flushed = producer.flush(left);
    let elapsed = began.elapsed();
    let good = deliveries.good.load(Ordering::Relaxed);
    if deliveries.bad.load(Ordering::Relaxed) > 0 || good == 0 || (flushed.is_err() && good < sent / 100) {
        return Err(format!("{good} of {sent} records were delivered: {flushed:?}"));
    }
    Ok(Produced { bytes: good * load.record_bytes as u64, elapsed })
}

/// Reads `records` records of a topic from its beginning, or for so long.
pub fn consume(
    bootstrap: &str,
    topic: &str,
    partitions: i32,
    records: u64,
    settings: &[(&str, &str)],
    at_most: Duration,
) -> Result<Produced, String> {
    let consumer = consumer(bootstrap, &[topic.to_owned()], partitions, settings)?;
    let began = Instant::now();
    let (mut seen, mut bytes) = (0, 0);
    let mut last = Instant::now();
    while seen < records && began.elapsed() < at_most {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                seen += 1;
                bytes += message.payload_len() as u64;
                last = Instant::now();
            }
            Some(Err(e)) => return Err(e.to_string()),
            None if last.elapsed() > Duration::from_secs(30) => {
                return Err(format!("only {seen} of {records} records came"));
            }
            None => {}
        }
    }
    if bytes == 0 {
        return Err("nothing was consumed".to_owned());
    }
    Ok(Produced { bytes, elapsed: began.elapsed() })
}

/// Reads topics from their beginning to the ends of all their partitions, or for so long.
pub fn consume_all(
    bootstrap: &str,
    topics: &[String],
    partitions: i32,
    at_most: Duration,
) -> Result<Produced, String> {
    let consumer = consumer(bootstrap, topics, partitions, &[("enable.partition.eof", "true")])?;
    let (began, mut bytes, mut ended) = (Instant::now(), 0, 0);
    while ended < topics.len() * partitions as usize && began.elapsed() < at_most {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => bytes += message.payload_len() as u64,
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(e)) => return Err(e.to_string()),
            None => {}
        }
    }
    if bytes == 0 {
        return Err("nothing was consumed".to_owned());
    }
    Ok(Produced { bytes, elapsed: began.elapsed() })
}

fn consumer(
    bootstrap: &str,
    topics: &[String],
    partitions: i32,
    settings: &[(&str, &str)],
) -> Result<BaseConsumer, String> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", "bench").set("enable.auto.commit", "false");
    config.set("queued.max.messages.kbytes", "131072").set("fetch.wait.max.ms", "100");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    let consumer: BaseConsumer = config.create().map_err(|e| e.to_string())?;
    let mut list = TopicPartitionList::new();
    for topic in topics {
        for p in 0..partitions {
            list.add_partition_offset(topic, p, Offset::Beginning).map_err(|e| e.to_string())?;
        }
    }
    consumer.assign(&list).map_err(|e| e.to_string())?;
    Ok(consumer)
}
