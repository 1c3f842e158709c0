//! End-to-end latency under a load that does not wait: each record carries the time at which it was due, so that a stall
//! counts for all that came late (no coordinated omission).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// Latencies in microseconds, up to a minute.
pub type Latencies = Histogram<u64>;

/// Produces `rate` records a second for `lasting` and reads them back in this process. Records of the first fifth are
/// a warm-up and not counted.
pub fn end_to_end(
    bootstrap: &str,
    topic: &str,
    rate: u64,
    record_bytes: usize,
    lasting: Duration,
    settings: &[(&str, &str)],
) -> Result<Latencies, String> {
    let epoch = Instant::now();
    let ready = Arc::new(AtomicBool::new(false));
    let total = (rate as f64 * lasting.as_secs_f64()) as u64;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "bench-e2e")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "500")
        .set("fetch.min.bytes", "1")
        .create()
        .map_err(|e| e.to_string())?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::End).map_err(|e| e.to_string())?;
    consumer.assign(&list).map_err(|e| e.to_string())?;
    let told = Arc::clone(&ready);
    let reader = std::thread::spawn(move || -> Result<Latencies, String> {
        let mut all = Histogram::new_with_bounds(1, 60_000_000, 3).map_err(|e| e.to_string())?;
        let (mut seen, mut last) = (0u64, Instant::now());
        while seen < total {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let now = epoch.elapsed().as_nanos() as u64;
                    let Some(stamp) = message.payload().and_then(|p| p.first_chunk::<8>()) else { continue };
                    let due = u64::from_le_bytes(*stamp);
                    if due == 0 {
                        told.store(true, Ordering::Release);
                        continue;
                    }
                    seen += 1;
                    last = Instant::now();
                    if seen > total / 5 {
                        all.saturating_record(now.saturating_sub(due) / 1000);
                    }
                }
                Some(Err(e)) => return Err(e.to_string()),
                None if last.elapsed() > Duration::from_secs(60) => {
                    return Err(format!("only {seen} of {total} records came"));
                }
                None => {}
            }
        }
        Ok(all)
    });

    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("queue.buffering.max.messages", "1000000");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    let producer: ThreadedProducer<DefaultProducerContext> = config.create().map_err(|e| e.to_string())?;
    let mut payload = vec![b'x'; record_bytes.max(8)];
    // The consumer reads from the end: nothing is counted before it has seen a first record.
    payload[..8].copy_from_slice(&0u64.to_le_bytes());
    let waiting = Instant::now();
    while !ready.load(Ordering::Acquire) {
        let _ = producer.send(BaseRecord::<(), [u8]>::to(topic).partition(0).payload(&payload));
        std::thread::sleep(Duration::from_millis(20));
        if waiting.elapsed() > Duration::from_secs(60) {
            return Err("the consumer sees nothing".to_owned());
        }
    }
    let start = epoch.elapsed() + Duration::from_millis(50);
    let step = Duration::from_secs_f64(1.0 / rate as f64);
    for i in 0..total {
        let due = start + step.mul_f64(i as f64);
        let now = epoch.elapsed();
        if due > now {
            std::thread::sleep(due - now);
        }
        payload[..8].copy_from_slice(&(due.as_nanos() as u64).to_le_bytes());
        while let Err((e, _)) =
            producer.send(BaseRecord::<(), [u8]>::to(topic).partition(0).payload(&payload))
        {
            if e.rdkafka_error_code() != Some(rdkafka::types::RDKafkaErrorCode::QueueFull) {
                return Err(e.to_string());
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    let _ = producer.flush(Duration::from_secs(60));
    reader.join().map_err(|_| "the reader panicked".to_owned())?
}
