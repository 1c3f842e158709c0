//! `kafka-e2e-latency`: from a record's send to its poll, one at a time. Source: Kafka `EndToEndLatency`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_client::admin::OffsetSpec;
use ottla_client::consumer::ConsumerRecord;
use ottla_client::producer::ProducerRecord;
use ottla_client::{Admin, ClientConfig, Consumer, Producer, TopicPartition};
use ottla_protocol::messages::create_topics_request::CreatableTopic;
use ottla_protocol::types::Str;
use serde_json::{Map, Value};

use crate::args::{Parsed, Parser};
use crate::connect::{block_on, load_properties};
use crate::error::{ToolError, ToolResult};
use crate::java::double_text;
use crate::output::{self, Entry, Progress};

const POLL_TIMEOUT: Duration = Duration::from_secs(60);

fn parser() -> Parser {
    Parser::new(
        "This tool measures end-to-end latency in Kafka by sending messages and timing their reception.",
    )
    .text(
        "bootstrap-server",
        "bootstrap-server",
        "REQUIRED: The Kafka broker list string in the form HOST1:PORT1,HOST2:PORT2.",
    )
    .text("topic", "topic-name", "REQUIRED: The topic to use for the test.")
    .int("num-records", "count", "REQUIRED: The number of messages to send.")
    .text("producer-acks", "producer-acks", "REQUIRED: Producer acknowledgements. Must be '1' or 'all'.")
    .int("record-size", "bytes", "REQUIRED: The size of each message payload in bytes.")
    .int(
        "record-key-size",
        "bytes",
        "Optional: The size of the message key in bytes. If not set, messages are sent without a key.",
    )
    .int(
        "record-header-key-size",
        "bytes",
        "Optional: The size of the message header key in bytes. Used together with record-header-size.",
    )
    .int(
        "record-header-size",
        "bytes",
        "Optional: The size of message header value in bytes. Use -1 for null header value.",
    )
    .int("num-headers", "count", "Optional: The number of headers to include in each message.")
    .text(
        "command-config",
        "config-file",
        "Optional: A property file for Kafka producer/consumer/admin client configuration.",
    )
}

pub fn main(args: &[String]) -> ToolResult {
    let parser = parser();
    let args = named(args)?;
    let options = match parser.parse(&args) {
        Err(ToolError::Message(message)) => return Err(parser.usage(message)),
        other => other?,
    };
    check(&parser, &options)?;
    block_on(measure(&options))
}

/// Arguments by position, as before 4.2, as options.
fn named(args: &[String]) -> Result<Vec<String>, ToolError> {
    const NAMES: [&str; 6] = [
        "--bootstrap-server",
        "--topic",
        "--num-records",
        "--producer-acks",
        "--record-size",
        "--command-config",
    ];
    let is_named = |arg: &String| NAMES[..5].contains(&arg.as_str()) || arg == "--help" || arg == "--version";
    if args.is_empty() || args.iter().any(is_named) {
        return Ok(args.to_vec());
    }
    if args.len() != 5 && args.len() != 6 {
        return Err(ToolError::message(format!(
            "Invalid number of arguments. Expected 5 or 6 positional arguments, but got {}. Usage: bootstrap-server \
             topic num-records producer-acks record-size [optional] command-config",
            args.len()
        )));
    }
    output::notice_on_output(
        "WARNING: Positional argument usage is deprecated and will be removed in Apache Kafka 5.0. Please use named \
         arguments instead: --bootstrap-server, --topic, --num-records, --producer-acks, --record-size, \
         --command-config",
    );
    Ok(NAMES.iter().zip(args).flat_map(|(name, arg)| [(*name).to_owned(), arg.clone()]).collect())
}

fn check(parser: &Parser, options: &Parsed) -> ToolResult {
    parser.require(options, &["bootstrap-server", "topic", "num-records", "producer-acks", "record-size"])?;
    if !matches!(options.text("producer-acks"), Some("1" | "all")) {
        return Err(parser.usage(
            "Invalid value for --producer-acks. Latency testing requires synchronous acknowledgement. Please use '1' \
             or 'all'.",
        ));
    }
    if options.int("num-records").is_some_and(|n| n <= 0) {
        return Err(parser.usage("Value for --num-records must be a positive integer."));
    }
    for name in ["record-size", "record-key-size", "record-header-key-size", "num-headers"] {
        if options.int(name).is_some_and(|n| n < 0) {
            return Err(parser.usage(format!("Value for --{name} must be a non-negative integer.")));
        }
    }
    if options.int("record-header-size").is_some_and(|n| n < -1) {
        return Err(parser.usage(
            "Value for --record-header-size must be a non-negative integer or -1 for null header value.",
        ));
    }
    Ok(())
}

fn config(options: &Parsed) -> Result<ClientConfig, ToolError> {
    let mut config = ClientConfig::new();
    if let Some(path) = options.text("command-config") {
        config.extend(load_properties(path)?);
    }
    config.set("bootstrap.servers", options.text("bootstrap-server").unwrap_or_default());
    Ok(config)
}

/// A letter, repeated.
fn filler(length: i32, random: &mut u64) -> Bytes {
    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let letter = b'A' + ((*random >> 33) % 26) as u8;
    Bytes::from(vec![letter; usize::try_from(length).unwrap_or(0)])
}

async fn measure(options: &Parsed) -> ToolResult {
    let base = config(options)?;
    let topic = options.text("topic").unwrap_or_default();
    let admin = Admin::new(&base)?;
    if !admin.list_topics().await?.iter().any(|t| t.name == topic) {
        output::line(format!(
            "Topic \"{topic}\" does not exist. Will create topic with 1 partition(s) and replication factor = 1"
        ));
        let new = CreatableTopic {
            name: Str::from(topic),
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        };
        if let Err(error) = admin.create_topic(new, false).await {
            output::complain(format!("Creation of topic {topic} failed"));
            return Err(error.into());
        }
    }
    let mut consumer_config = base.clone();
    consumer_config
        .set("group.id", format!("test-group-{}", std::process::id()))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "latest")
        .set("fetch.max.wait.ms", "0");
    let mut consumer = Consumer::new(&consumer_config)?;
    let view = consumer.client().refresh(Some(&[topic])).await?;
    let partitions: Vec<TopicPartition> = match view.topics.get(topic) {
        Some(found) => found.partitions.keys().map(|p| TopicPartition::new(topic, *p)).collect(),
        None => Vec::new(),
    };
    consumer.assign(partitions.iter().cloned());
    // The ends are fixed before the first record is sent.
    let specs: Vec<_> = partitions.iter().map(|p| (p.clone(), OffsetSpec::Latest)).collect();
    for (partition, offset) in consumer.list_offsets(&specs).await? {
        consumer.seek(&partition, offset)?;
    }
    let mut producer_config = base;
    producer_config
        .set("linger.ms", "0")
        .set("max.block.ms", i64::MAX.to_string())
        .set("acks", options.text("producer-acks").unwrap_or("all"));
    let producer = Producer::new(&producer_config)?;
    let count = options.int("num-records").unwrap_or_default();
    let mut random = 0u64;
    let mut total = Duration::ZERO;
    let mut latencies_ms = Vec::new();
    let mut progress = Progress::new("records", u64::try_from(count).ok());
    for i in 0..count {
        let record = record(options, topic, &mut random);
        let begin = Instant::now();
        producer.send(record.clone()).await?.await?;
        let records = consumer.poll(POLL_TIMEOUT).await?;
        let elapsed = begin.elapsed();
        if let Err(text) = validate(&record, &records) {
            consumer.commit().await?;
            return Err(ToolError::Message(text));
        }
        if i % 1000 == 0 {
            let latency_ms = elapsed.as_nanos() as f64 / 1_000_000.0;
            let entry = Entry::new(format!("{i}\t{}", double_text(latency_ms)));
            output::show("samples", entry.with("record", i).with("latencyMs", latency_ms));
        }
        total += elapsed;
        latencies_ms.push(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
        progress.add(1);
    }
    drop(progress);
    let latency_ms = total.as_nanos() as f64 / f64::from(count) / 1_000_000.0;
    output::fact("latencyMsAvg", latency_ms, format!("Avg latency: {latency_ms:.4} ms"));
    latencies_ms.sort_unstable();
    let percentile = |p: f64| {
        let at = (latencies_ms.len() as f64 * p) as usize;
        latencies_ms.get(at).copied().unwrap_or(0)
    };
    let text = format!(
        "Percentiles: 50th = {}, 99th = {}, 99.9th = {}",
        percentile(0.5),
        percentile(0.99),
        percentile(0.999)
    );
    let percentiles = [("50", 0.5), ("99", 0.99), ("99.9", 0.999)]
        .map(|(name, p)| (name.to_owned(), Value::from(percentile(p))));
    output::fact("latencyMsPercentiles", Map::from_iter(percentiles), text);
    consumer.commit().await?;
    producer.close().await;
    consumer.close().await?;
    Ok(())
}

fn record(options: &Parsed, topic: &str, random: &mut u64) -> ProducerRecord {
    let size = |name: &str| options.int(name).unwrap_or(0);
    // Kafka's tool sends an empty key, not none, without --record-key-size.
    let key = filler(size("record-key-size"), random);
    let value = filler(size("record-size"), random);
    let headers = (0..size("num-headers"))
        .map(|_| {
            let key = filler(size("record-header-key-size"), random);
            let value = (size("record-header-size") >= 0).then(|| filler(size("record-header-size"), random));
            (String::from_utf8_lossy(&key).into_owned(), value)
        })
        .collect();
    ProducerRecord {
        topic: topic.to_owned(),
        key: Some(key),
        value: Some(value),
        headers,
        ..Default::default()
    }
}

fn validate(sent: &ProducerRecord, records: &[ConsumerRecord]) -> Result<(), String> {
    let Some(read) = records.first() else {
        return Err("poll() timed out before finding a result (timeout:[60000ms])".to_owned());
    };
    let text = |b: &Option<Bytes>| String::from_utf8_lossy(b.as_deref().unwrap_or_default()).into_owned();
    if read.value != sent.value {
        return Err(format!(
            "The message value read [{}] did not match the message value sent [{}]",
            text(&read.value),
            text(&sent.value)
        ));
    }
    if read.key != sent.key {
        return Err(format!(
            "The message key read [{}] did not match the message key sent [{}]",
            text(&read.key),
            text(&sent.key)
        ));
    }
    if read.headers != sent.headers {
        return Err("The message headers read did not match those sent".to_owned());
    }
    match records.len() {
        1 => Ok(()),
        n => Err(format!("Only one result was expected during this test. We found [{n}]")),
    }
}
