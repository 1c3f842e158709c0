//! `kafka-producer-perf-test`: how fast records go out. Source: Kafka `ProducerPerformance`.

mod payload;
mod stats;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ottla_client::producer::{Delivery, ProducerRecord};
use ottla_client::{ClientConfig, Producer};
use tokio::sync::mpsc;

use crate::args::{Parsed, Parser, Style};
use crate::connect::{block_on, load_properties};
use crate::error::{ToolError, ToolResult};
use crate::output::{self, Entry, Progress};
use payload::{Payload, Random};
use stats::Stats;

/// Records whose answer has not been looked at yet.
const WATCHED: usize = 1 << 16;
const DEFAULT_TRANSACTION_DURATION_MS: i64 = 3000;
/// How often the clock is looked at to hold the rate.
const MIN_SLEEP: Duration = Duration::from_millis(2);

fn parser() -> Parser {
    Parser::new("This tool is used to verify the producer performance. To enable transactions, you can specify a transactional id or set a transaction duration using --transaction-duration-ms.")
        .style(Style::Argparse)
        .text("bootstrap-server", "BOOTSTRAP-SERVER", "The server(s) to connect to. This config takes precedence over bootstrap.servers specified via --command-property or --command-config.")
        .text("topic", "TOPIC", "Produce records to this topic.")
        .long("num-records", "NUM-RECORDS", "Number of records to produce.")
        .int("record-size", "RECORD-SIZE", "Record size in bytes. Note that you must provide exactly one of --record-size, --payload-file or --payload-monotonic.")
        .text("payload-file", "PAYLOAD-FILE", "File to read the record payloads from. This works only for UTF-8 encoded text files. Payloads will be read from this file and a payload will be randomly selected when sending records.")
        .flag("payload-monotonic", "Payload is a monotonically increasing integer.")
        .text("payload-delimiter", "PAYLOAD-DELIMITER", "Provides the delimiter to be used when --payload-file is provided. Defaults to new line.")
        .double("throughput", "THROUGHPUT", "Throttle maximum record throughput to *approximately* THROUGHPUT records/sec. Set this to -1 to disable throttling.")
        .texts("producer-props", "PROP-NAME=PROP-VALUE", "(DEPRECATED) Use --command-property instead.")
        .texts("command-property", "PROP-NAME=PROP-VALUE", "Kafka producer related configuration properties like client.id. These configs take precedence over those passed via --command-config.")
        .text("producer.config", "CONFIG-FILE", "(DEPRECATED) Use --command-config instead.")
        .text("command-config", "CONFIG-FILE", "Producer config properties file.")
        .flag("print-metrics", "Print out metrics at the end of the test.")
        .text("transactional-id", "TRANSACTIONAL-ID", "The transactional id to use.")
        .long("transaction-duration-ms", "TRANSACTION-DURATION", "The maximum duration of each transaction. The commitTransaction will be called after this time has elapsed. (default: 3000)")
        .long("warmup-records", "WARMUP-RECORDS", "The number of records to treat as warmup. These initial records will not be included in steady-state statistics. (default: 0)")
        .long("reporting-interval", "INTERVAL-MS", "Interval in milliseconds at which to print progress info. (default: 5000)")
        .int("record-key-range", "KEY-RANGE", "The range of keys to use when --key-distribution is 'range' or 'random'.")
        .text("key-distribution", "KEY-DISTRIBUTION", "'none' for null keys, 'range' for round-robin keys in [0, KEY-RANGE), or 'random' for random keys in [0, KEY-RANGE). (default: none)")
        .long("random-seed", "RANDOM-SEED", "Seed of keys and payloads. (default: 0)")
}

#[derive(Debug, Clone, Copy)]
enum Keys {
    None,
    Range(i64),
    Random(u64),
}

#[derive(Debug)]
struct Plan {
    topic: String,
    records: i64,
    warmup: i64,
    throughput: f64,
    interval: Duration,
    payload: Payload,
    keys: Keys,
    random: Random,
    transaction: Option<Duration>,
}

pub fn main(args: &[String]) -> ToolResult {
    let parser = parser();
    if args.is_empty() {
        output::line(parser.help());
        return Ok(());
    }
    let options = match parser.parse(args) {
        Err(ToolError::Message(message)) => return Err(parser.usage(message)),
        other => other?,
    };
    check(&parser, &options)?;
    let payload = Payload::new(&options)?;
    let config = producer_config(&options)?;
    let keys = match (options.text("key-distribution"), options.int("record-key-range")) {
        (Some("range"), Some(range)) => Keys::Range(i64::from(range)),
        (Some("random"), Some(range)) => Keys::Random(range.unsigned_abs().into()),
        _ => Keys::None,
    };
    let duration = options.long("transaction-duration-ms").unwrap_or(DEFAULT_TRANSACTION_DURATION_MS);
    let plan = Plan {
        topic: options.text("topic").unwrap_or_default().to_owned(),
        records: options.long("num-records").unwrap_or_default(),
        warmup: options.long("warmup-records").unwrap_or(0).max(0),
        throughput: options.double("throughput").unwrap_or(-1.0),
        interval: Duration::from_millis(options.long("reporting-interval").unwrap_or(5000).unsigned_abs()),
        payload,
        keys,
        random: Random::new(options.long("random-seed").unwrap_or(0)),
        transaction: config
            .contains("transactional.id")
            .then(|| Duration::from_millis(duration.unsigned_abs())),
    };
    let print_metrics = options.has("print-metrics");
    block_on(async move {
        let result = produce(&config, plan).await;
        if print_metrics {
            output::notice("metrics are not kept by this producer");
        }
        result
    })
}

fn check(parser: &Parser, options: &Parsed) -> ToolResult {
    for name in ["topic", "num-records", "throughput"] {
        if !options.has(name) {
            return Err(parser.usage(format!("argument --{name} is required")));
        }
    }
    let payloads = ["record-size", "payload-file", "payload-monotonic"];
    match payloads.iter().filter(|p| options.has(p)).count() {
        1 => {}
        0 => {
            return Err(parser
                .usage("one of the arguments --record-size --payload-file --payload-monotonic is required"));
        }
        _ => return Err(parser.usage("argument --payload-file: not allowed with argument --record-size")),
    }
    let fail = |text: &str| Err(parser.usage(text));
    let records = options.long("num-records").unwrap_or_default();
    if records <= 0 {
        return fail("--num-records should be greater than zero.");
    }
    if options.long("warmup-records").unwrap_or(0) >= records {
        return fail(
            "The value for --warmup-records must be strictly fewer than the number of records in the test, --num-records.",
        );
    }
    if options.int("record-size").is_some_and(|n| n <= 0) {
        return fail("--record-size should be greater than zero.");
    }
    let sources =
        ["bootstrap-server", "command-property", "producer-props", "producer.config", "command-config"];
    if !sources.iter().any(|s| options.has(s)) {
        return fail(
            "At least one of --bootstrap-server, --command-property, --producer-props, --producer.config or --command-config must be specified.",
        );
    }
    if options.has("command-property") && options.has("producer-props") {
        return fail("--command-property and --producer-props cannot be specified together.");
    }
    if options.has("command-config") && options.has("producer.config") {
        return fail("--command-config and --producer.config cannot be specified together.");
    }
    if options.long("transaction-duration-ms").is_some_and(|n| n <= 0) {
        return fail("--transaction-duration-ms should be greater than zero.");
    }
    if options.long("reporting-interval").is_some_and(|n| n <= 0) {
        return fail("--reporting-interval should be greater than zero.");
    }
    if options.int("record-key-range").is_some_and(|n| n <= 0) {
        return fail("--record-key-range should be greater than zero.");
    }
    match (options.text("key-distribution").unwrap_or("none"), options.has("record-key-range")) {
        ("range" | "random", true) | ("none", false) => Ok(()),
        ("range" | "random", false) => {
            fail("--record-key-range is required when --key-distribution is 'range' or 'random'.")
        }
        ("none", true) => {
            fail("--key-distribution must be 'range' or 'random' when --record-key-range is specified.")
        }
        (other, _) => Err(parser.usage(format!(
            "argument --key-distribution: invalid choice: '{other}' (choose from 'none','range','random')"
        ))),
    }
}

fn producer_config(options: &Parsed) -> Result<ClientConfig, ToolError> {
    if options.has("producer-props") {
        output::notice_on_output(
            "Option --producer-props has been deprecated and will be removed in a future version. Use --command-property instead.",
        );
    }
    if options.has("producer.config") {
        output::notice_on_output(
            "Option --producer.config has been deprecated and will be removed in a future version. Use --command-config instead.",
        );
    }
    let mut config = ClientConfig::new();
    for option in ["producer.config", "command-config"] {
        if let Some(path) = options.text(option) {
            config.extend(load_properties(path)?);
        }
    }
    for option in ["producer-props", "command-property"] {
        for text in options.texts(option) {
            match text.split_once('=') {
                Some((key, value)) if !value.is_empty() && !value.contains('=') => config.set(key, value),
                _ => return Err(ToolError::message(format!("Invalid property: {text}"))),
            };
        }
    }
    config.set_default("client.id", "perf-producer-client");
    if let Some(servers) = options.text("bootstrap-server") {
        config.set("bootstrap.servers", servers);
    }
    if let Some(id) = options.text("transactional-id") {
        config.set("transactional.id", id);
    } else if options.has("transaction-duration-ms") && !config.contains("transactional.id") {
        let mut random = [0u8; 16];
        let _ = getrandom::fill(&mut random);
        let id = ottla_protocol::types::Uuid::from_random(random);
        config.set("transactional.id", format!("performance-producer-{id}"));
    }
    Ok(config)
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

/// A record under way.
struct Sent {
    delivery: Delivery,
    at: Instant,
    bytes: usize,
    /// Counts in the statistics behind the warm-up.
    steady: bool,
}

async fn produce(config: &ClientConfig, mut plan: Plan) -> ToolResult {
    let producer = Producer::new(config)?;
    if plan.transaction.is_some() {
        producer.init_transactions().await?;
    }
    let (sender, receiver) = mpsc::channel(WATCHED);
    let watcher = tokio::spawn(watch(receiver, plan.records, plan.warmup, plan.interval));
    let started = Instant::now();
    let started_ms = now_ms();
    let mut transaction_started: Option<Instant> = None;
    let mut deficit = Duration::ZERO;
    let mut progress = Progress::new("records", u64::try_from(plan.records).ok());
    for i in 0..plan.records {
        progress.add(1);
        if plan.transaction.is_some() && transaction_started.is_none() {
            producer.begin_transaction()?;
            transaction_started = Some(Instant::now());
        }
        let value = plan.payload.next(i, &mut plan.random);
        let key = match plan.keys {
            Keys::None => None,
            Keys::Range(range) => Some(Bytes::from((i % range).to_string())),
            Keys::Random(range) => Some(Bytes::from(plan.random.below(range).to_string())),
        };
        let bytes = value.len();
        let at = Instant::now();
        let record =
            ProducerRecord { topic: plan.topic.clone(), key, value: Some(value), ..Default::default() };
        let delivery = producer.send(record).await?;
        let steady = plan.warmup > 0 && i >= plan.warmup;
        if sender.send(Sent { delivery, at, bytes, steady }).await.is_err() {
            break;
        }
        if let (Some(duration), Some(begun)) = (plan.transaction, transaction_started)
            && begun.elapsed() >= duration
        {
            producer.commit_transaction().await?;
            transaction_started = None;
        }
        throttle(&plan, i, started, started_ms, &mut deficit).await;
    }
    if transaction_started.is_some() {
        producer.commit_transaction().await?;
    }
    drop((sender, progress));
    producer.close().await;
    if let Ok(lines) = watcher.await {
        lines.into_iter().for_each(|entry| output::show("results", entry));
    }
    Ok(())
}

/// Sleeps now and then so that on average `throughput` records go out per second.
async fn throttle(plan: &Plan, sent: i64, started: Instant, started_ms: i64, deficit: &mut Duration) {
    if plan.throughput < 0.0 {
        return;
    }
    if plan.throughput == 0.0 {
        return std::future::pending().await;
    }
    let elapsed = started.elapsed().as_secs_f64();
    if now_ms() == started_ms || sent as f64 / elapsed <= plan.throughput {
        return;
    }
    *deficit += Duration::from_secs_f64(1.0 / plan.throughput);
    if *deficit >= MIN_SLEEP {
        tokio::time::sleep(*deficit).await;
        *deficit = Duration::ZERO;
    }
}

/// Looks at the answers in the order of sending; gives the summary.
async fn watch(mut sent: mpsc::Receiver<Sent>, records: i64, warmup: i64, interval: Duration) -> Vec<Entry> {
    let mut stats = Stats::new(interval, false);
    let mut steady: Option<Stats> = None;
    let _ = records;
    while let Some(next) = sent.recv().await {
        if next.steady && steady.is_none() {
            steady = Some(Stats::new(interval, true));
            stats.be_quiet();
        }
        match next.delivery.await {
            Ok(_) => {
                let latency = next.at.elapsed();
                stats.record(latency, next.bytes);
                if let Some(steady) = &mut steady {
                    steady.record(latency, next.bytes);
                }
            }
            Err(error) => output::notice(error.to_string()),
        }
    }
    let mut lines = vec![stats.total()];
    lines.extend(steady.filter(|_| warmup > 0).map(|s| s.total()));
    lines
}
