//! `kafka-consumer-perf-test`: how fast records come in. Source: Kafka `ConsumerPerformance`.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ottla_client::{ClientConfig, Consumer};

use crate::args::{Parsed, Parser};
use crate::connect::{block_on, key_values, load_properties};
use crate::error::{ToolError, ToolResult};
use crate::java::date_text;
use crate::output::{self, Entry, Progress};

const MEGABYTE: f64 = 1024.0 * 1024.0;

fn parser() -> Parser {
    Parser::new("This tool is used to verify the consumer performance.")
        .text("bootstrap-server", "server to connect to", "REQUIRED: The server(s) to connect to.")
        .text("topic", "topic", "The topic to consume from.")
        .text("include", "Java regex (String)", "Regular expression specifying list of topics to include for consumption.")
        .text("group", "gid", "The group id to consume on.")
        .int("fetch-size", "size", "The maximum amount of data to fetch from a single partition per request. (default: 1048576)")
        .text("command-property", "prop1=val1", "Kafka consumer related configuration properties like client.id. These configs take precedence over those passed via --command-config.")
        .flag("from-latest", "If the consumer does not already have an established offset to consume from, start with the latest record present in the log rather than the earliest record.")
        .int("socket-buffer-size", "size", "The size of the tcp RECV size. (default: 2097152)")
        .text("consumer.config", "config file", "(DEPRECATED) Use --command-config instead.")
        .text("command-config", "config file", "Config properties file.")
        .flag("print-metrics", "Print out the metrics.")
        .flag("show-detailed-stats", "If set, stats are reported for each reporting interval as configured by reporting-interval.")
        .long("timeout", "milliseconds", "The maximum allowed time in milliseconds between returned records. (default: 10000)")
        .long("messages", "count", "(DEPRECATED) Use --num-records instead.")
        .long("num-records", "count", "REQUIRED: The number of records to consume.")
        .long("reporting-interval", "interval_ms", "Interval in milliseconds at which to print progress info. (default: 5000)")
        .text("date-format", "date format", "The date format to use for formatting the time field. See java.text.SimpleDateFormat for options. (default: yyyy-MM-dd HH:mm:ss:SSS)")
        .flag("hide-header", "If set, skips printing the header for the stats.")
        .removed("threads", "One thread reads.")
        .removed("broker-list", "Use --bootstrap-server instead.")
}

pub fn main(args: &[String]) -> ToolResult {
    let parser = parser();
    let options = match parser.parse(args) {
        Err(ToolError::Message(message)) => return Err(parser.usage(message)),
        other => other?,
    };
    parser.require(&options, &["bootstrap-server"])?;
    parser.exactly_one(&options, &["topic", "include"])?;
    parser.exactly_one(&options, &["messages", "num-records"])?;
    parser.forbid(&options, "consumer.config", &["command-config"])?;
    for (old, new) in [("messages", "num-records"), ("consumer.config", "command-config")] {
        if options.has(old) {
            output::notice_on_output(format!("Warning: --{old} is deprecated. Use --{new} instead."));
        }
    }
    let config = consumer_config(&options)?;
    if options.long("reporting-interval").is_some_and(|n| n <= 0) {
        return Err(ToolError::message("Reporting interval must be greater than 0."));
    }
    if !options.has("hide-header") {
        let first =
            if options.has("show-detailed-stats") { "time, threadId" } else { "start.time, end.time" };
        output::remark(format!(
            "{first}, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, \
             fetch.MB.sec, fetch.nMsg.sec"
        ));
    }
    block_on(consume(&options, &config))
}

fn consumer_config(options: &Parsed) -> Result<ClientConfig, ToolError> {
    let mut config = ClientConfig::new();
    for option in ["consumer.config", "command-config"] {
        if let Some(path) = options.text(option) {
            config.extend(load_properties(path)?);
        }
    }
    config.extend(key_values(&options.texts("command-property")));
    config.set("bootstrap.servers", options.text("bootstrap-server").unwrap_or_default());
    let mut random = [0u8; 4];
    let _ = getrandom::fill(&mut random);
    let group = format!("perf-consumer-{}", u32::from_le_bytes(random) % 100_000);
    config.set("group.id", options.text("group").unwrap_or(&group));
    config.set("max.partition.fetch.bytes", options.int("fetch-size").unwrap_or(1024 * 1024).to_string());
    config.set("auto.offset.reset", if options.has("from-latest") { "latest" } else { "earliest" });
    config.set("check.crcs", "false");
    config.set_default("client.id", "perf-consumer-client");
    Ok(config)
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

#[derive(Debug, Default, Clone, Copy)]
struct Read {
    records: i64,
    bytes: i64,
}

async fn consume(options: &Parsed, config: &ClientConfig) -> ToolResult {
    let wanted = options.long("messages").or(options.long("num-records")).unwrap_or_default();
    let timeout = Duration::from_millis(options.long("timeout").unwrap_or(10_000).unsigned_abs());
    let interval = Duration::from_millis(options.long("reporting-interval").unwrap_or(5_000).unsigned_abs());
    let pattern = options.text("date-format").unwrap_or("yyyy-MM-dd HH:mm:ss:SSS");
    let detailed = options.has("show-detailed-stats");
    let mut consumer = Consumer::new(config)?;
    let (started, started_ms) = (Instant::now(), now_ms());
    match options.text("topic") {
        Some(topic) => consumer.subscribe(&[topic]).await?,
        None => consumer.subscribe_pattern(options.text("include").unwrap_or_default()).await?,
    }
    let mut join: Option<Duration> = None;
    let mut join_in_round = Duration::ZERO;
    let mut read = Read::default();
    let mut last = Read::default();
    let (mut last_record, mut last_report) = (Instant::now(), Instant::now());
    let mut progress = Progress::new("records", u64::try_from(wanted).ok());
    while read.records < wanted && last_record.elapsed() <= timeout {
        let records = consumer.poll(Duration::from_millis(100)).await?;
        if join.is_none() && !consumer.assignment().is_empty() {
            join = Some(started.elapsed());
            join_in_round = started.elapsed();
        }
        if !records.is_empty() {
            last_record = Instant::now();
        }
        for record in &records {
            read.records += 1;
            read.bytes += (record.key.as_ref().map_or(0, |k| k.len())
                + record.value.as_ref().map_or(0, |v| v.len())) as i64;
        }
        progress.set(read.records.unsigned_abs());
        if !records.is_empty() && last_report.elapsed() >= interval {
            if detailed {
                output::show("windows", window(pattern, read, last, last_report.elapsed(), join_in_round));
                output::flush();
            }
            join_in_round = Duration::ZERO;
            last_report = Instant::now();
            last = read;
        }
    }
    drop(progress);
    if read.records < wanted {
        output::notice_on_output(format!(
            "WARNING: Exiting before consuming the expected number of records: timeout ({} ms) exceeded. You can use \
             the --timeout option to increase the timeout.",
            timeout.as_millis()
        ));
    }
    let (elapsed, ended_ms) = (started.elapsed(), now_ms());
    if !detailed {
        let times = (started_ms, ended_ms);
        output::show("results", summary(pattern, times, read, elapsed, join.unwrap_or_default()));
    }
    if options.has("print-metrics") {
        output::notice("metrics are not kept by this consumer");
    }
    consumer.close().await?;
    Ok(())
}

fn millis(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}

fn summary(pattern: &str, times: (i64, i64), read: Read, elapsed: Duration, join: Duration) -> Entry {
    let megabytes = read.bytes as f64 / MEGABYTE;
    let seconds = millis(elapsed) as f64 / 1000.0;
    let fetch_ms = millis(elapsed) - millis(join);
    let fetch_seconds = fetch_ms as f64 / 1000.0;
    let text = format!(
        "{}, {}, {megabytes:.4}, {:.4}, {}, {:.4}, {}, {fetch_ms}, {:.4}, {:.4}",
        date_text(times.0, pattern),
        date_text(times.1, pattern),
        megabytes / seconds,
        read.records,
        read.records as f64 / seconds,
        millis(join),
        megabytes / fetch_seconds,
        read.records as f64 / fetch_seconds,
    );
    Entry::new(text)
        .with("startTimeMs", times.0)
        .with("endTimeMs", times.1)
        .with("megabytes", megabytes)
        .with("megabytesPerSecond", megabytes / seconds)
        .with("records", read.records)
        .with("recordsPerSecond", read.records as f64 / seconds)
        .with("rebalanceTimeMs", millis(join))
        .with("fetchTimeMs", fetch_ms)
        .with("fetchMegabytesPerSecond", megabytes / fetch_seconds)
        .with("fetchRecordsPerSecond", read.records as f64 / fetch_seconds)
}

fn window(pattern: &str, read: Read, last: Read, elapsed: Duration, join: Duration) -> Entry {
    let elapsed_ms = millis(elapsed) as f64;
    let total = read.bytes as f64 / MEGABYTE;
    let megabytes = (read.bytes - last.bytes) as f64 / MEGABYTE;
    let records = (read.records - last.records) as f64;
    let fetch_ms = millis(elapsed) - millis(join);
    let per_fetch = |n: f64| if fetch_ms <= 0 { 0.0 } else { 1000.0 * n / fetch_ms as f64 };
    let now = now_ms();
    let text = format!(
        "{}, 0, {total:.4}, {:.4}, {}, {:.4}, {}, {fetch_ms}, {:.4}, {:.4}",
        date_text(now, pattern),
        1000.0 * megabytes / elapsed_ms,
        read.records,
        1000.0 * records / elapsed_ms,
        millis(join),
        per_fetch(megabytes),
        per_fetch(records),
    );
    Entry::new(text)
        .with("timeMs", now)
        .with("megabytes", total)
        .with("megabytesPerSecond", 1000.0 * megabytes / elapsed_ms)
        .with("records", read.records)
        .with("recordsPerSecond", 1000.0 * records / elapsed_ms)
        .with("rebalanceTimeMs", millis(join))
        .with("fetchTimeMs", fetch_ms)
}
