//! `kafka-console-consumer`: records become lines. Source: Kafka `ConsoleConsumer`.

mod coordinator;
mod formatter;

use std::time::{Duration, Instant};

use ottla_client::admin::OffsetSpec;
use ottla_client::consumer::ConsumerRecord;
use ottla_client::{ClientConfig, Consumer, TopicPartition};
use serde_json::{Map, Value, json};

use crate::args::{Parsed, Parser};
use crate::connect::{block_on, key_values, load_properties};
use crate::error::{ToolError, ToolResult};
use crate::output::{self, Progress};
use formatter::Formatter;

fn parser() -> Parser {
    const FORMATTER: &str = "The properties to initialize the message formatter. Default properties include: \
        print.timestamp=true|false print.key=true|false print.offset=true|false print.delivery=true|false \
        print.epoch=true|false print.partition=true|false print.headers=true|false print.value=true|false \
        key.separator=<key.separator> line.separator=<line.separator> headers.separator=<headers.separator> \
        null.literal=<null.literal> key.deserializer=<key.deserializer> value.deserializer=<value.deserializer> \
        headers.deserializer=<headers.deserializer>";
    Parser::new("This tool helps to read data from Kafka topics and outputs it to standard output.")
        .text("topic", "topic", "The topic to consume from.")
        .text("include", "Java regex (String)", "Regular expression specifying list of topics to include for consumption.")
        .int("partition", "partition", "The partition to consume from. Consumption starts from the end of the partition unless '--offset' is specified.")
        .text("offset", "consume offset", "The offset to consume from (a non-negative number), or 'earliest' which means from beginning, or 'latest' which means from end (default: latest)")
        .text("consumer-property", "consumer_prop", "(DEPRECATED) Use --command-property instead.")
        .text("command-property", "consumer_prop", "Consumer config properties in the form key=value.")
        .text("consumer.config", "config file", "(DEPRECATED) Use --command-config instead.")
        .text("command-config", "config file", "Consumer config properties file. Note that [command-property] takes precedence over this config.")
        .text("formatter", "class", "The name of a class to use for formatting kafka messages for display. (default: org.apache.kafka.tools.consumer.DefaultMessageFormatter)")
        .text("property", "prop", "(DEPRECATED) Use --formatter-property instead.")
        .text("formatter-property", "prop", FORMATTER)
        .text("formatter-config", "config file", "Config properties file to initialize the message formatter. Note that [formatter-property] takes precedence over this config.")
        .flag("from-beginning", "If the consumer does not already have an established offset to consume from, start with the earliest message present in the log rather than the latest message.")
        .int("max-messages", "num_messages", "The maximum number of messages to consume before exiting. If not set, consumption is continual.")
        .long("timeout-ms", "timeout_ms", "If specified, exit if no message is available for consumption for the specified interval.")
        .flag("skip-message-on-error", "If there is an error when processing a message, skip it instead of halt.")
        .text("bootstrap-server", "server to connect to", "REQUIRED: The server(s) to connect to.")
        .text("key-deserializer", "deserializer for keys", "The name of the class to use for deserializing keys.")
        .text("value-deserializer", "deserializer for values", "The name of the class to use for deserializing values.")
        .flag("enable-systest-events", "Log lifecycle events of the consumer in addition to logging consumed messages. (This is specific for system tests.)")
        .text("isolation-level", "String", "Set to read_committed in order to filter out transactional messages which are not committed. Set to read_uncommitted to read all messages. (default: read_uncommitted)")
        .text("group", "consumer group id", "The consumer group id of the consumer.")
        .removed("whitelist", "Use --include instead.")
}

pub fn main(args: &[String]) -> ToolResult {
    output::stream();
    let parser = parser();
    let options = match parser.parse(args) {
        Err(ToolError::Message(message)) => return Err(parser.usage(message)),
        other => other?,
    };
    check(&parser, &options)?;
    let config = consumer_config(&parser, &options)?;
    let start = start_offset(&parser, &options)?;
    let formatter = Formatter::new(&formatter_class(&options), &formatter_properties(&parser, &options)?)
        .map_err(|e| parser.usage(e.text()))?;
    if !options.has("partition")
        && config.get("group.protocol").is_none_or(|p| p.eq_ignore_ascii_case("classic"))
    {
        output::notice(
            "The consumer rebalance protocol (KIP-848) is production-ready! Set group.protocol=consumer to try it \
             out. See https://kafka.apache.org/documentation/#consumer_rebalance_protocol",
        );
    }
    block_on(consume(&options, &config, start, formatter))
}

fn check(parser: &Parser, options: &Parsed) -> ToolResult {
    parser.exactly_one(options, &["topic", "include"])?;
    if options.has("partition") {
        if !options.has("topic") {
            return Err(parser.usage("The topic is required when partition is specified."));
        }
        if options.has("from-beginning") && options.has("offset") {
            return Err(parser.usage("Options from-beginning and offset cannot be specified together."));
        }
    } else if options.has("offset") {
        return Err(parser.usage("The partition is required when offset is specified."));
    }
    parser.require(options, &["bootstrap-server"])?;
    for (old, new) in [("consumer-property", "command-property"), ("consumer.config", "command-config")] {
        if options.has(old) && options.has(new) {
            return Err(parser.usage(format!("Options --{old} and --{new} cannot be specified together.")));
        }
    }
    for (old, new) in [("consumer-property", "command-property"), ("consumer.config", "command-config")] {
        if options.has(old) {
            output::notice_on_output(format!(
                "Option --{old} is deprecated and will be removed in a future version. Use --{new} instead."
            ));
        }
    }
    Ok(())
}

fn consumer_config(parser: &Parser, options: &Parsed) -> Result<ClientConfig, ToolError> {
    let mut from_file = ClientConfig::new();
    for option in ["command-config", "consumer.config"] {
        if let Some(path) = options.text(option) {
            from_file.extend(load_properties(path)?);
        }
    }
    let mut extra = ClientConfig::new();
    for option in ["command-property", "consumer-property"] {
        extra.extend(key_values(&options.texts(option)));
    }
    let mut groups: Vec<&str> = [options.text("group"), from_file.get("group.id"), extra.get("group.id")]
        .into_iter()
        .flatten()
        .collect();
    groups.sort_unstable();
    groups.dedup();
    if groups.len() > 1 {
        let groups: Vec<String> = groups.iter().map(|g| format!("'{g}'")).collect();
        return Err(parser.usage(format!(
            "The group ids provided in different places (directly using '--group', via '--consumer-property', or via \
             '--consumer.config') do not match. Detected group ids: {}",
            groups.join(", ")
        )));
    }
    let group = groups.first().map(|g| (*g).to_owned());
    if group.is_some() && options.has("partition") {
        return Err(parser.usage("Options group and partition cannot be specified together."));
    }
    let mut config = from_file.clone();
    config.extend(extra.iter().map(|(k, v)| (k.to_owned(), v.to_owned())));
    match config.get("auto.offset.reset") {
        Some(reset) if options.has("from-beginning") && reset != "earliest" => {
            return Err(ToolError::message(format!(
                "Can't simultaneously specify --from-beginning and 'auto.offset.reset={reset}', please remove one \
                 option"
            )));
        }
        Some(_) => {}
        None => {
            let reset = if options.has("from-beginning") { "earliest" } else { "latest" };
            config.set("auto.offset.reset", reset);
        }
    }
    config.set("bootstrap.servers", options.text("bootstrap-server").unwrap_or_default());
    config.set_default("client.id", "console-consumer");
    match options.text("isolation-level") {
        Some(level) => config.set("isolation.level", level),
        None => config.set_default("isolation.level", "read_uncommitted"),
    };
    match group {
        Some(group) => {
            config.set("group.id", group);
        }
        None => {
            let mut random = [0u8; 4];
            let _ = getrandom::fill(&mut random);
            config.set("group.id", format!("console-consumer-{}", u32::from_le_bytes(random) % 100_000));
            config.set_default("enable.auto.commit", "false");
        }
    }
    Ok(config)
}

fn start_offset(parser: &Parser, options: &Parsed) -> Result<Result<i64, OffsetSpec>, ToolError> {
    let Some(text) = options.text("offset") else {
        return Ok(Err(if options.has("from-beginning") {
            OffsetSpec::Earliest
        } else {
            OffsetSpec::Latest
        }));
    };
    match text.to_ascii_lowercase().as_str() {
        "earliest" => Ok(Err(OffsetSpec::Earliest)),
        "latest" => Ok(Err(OffsetSpec::Latest)),
        other => match other.parse::<i64>() {
            Ok(offset) if offset >= 0 => Ok(Ok(offset)),
            _ => Err(parser.usage(format!(
                "The provided offset value '{text}' is incorrect. Valid values are 'earliest', 'latest', or a \
                 non-negative long."
            ))),
        },
    }
}

fn formatter_class(options: &Parsed) -> String {
    options.text("formatter").unwrap_or("org.apache.kafka.tools.consumer.DefaultMessageFormatter").to_owned()
}

fn formatter_properties(parser: &Parser, options: &Parsed) -> Result<Vec<(String, String)>, ToolError> {
    let mut properties = Vec::new();
    if let Some(path) = options.text("formatter-config") {
        properties.extend(load_properties(path)?);
    }
    for (option, key) in
        [("key-deserializer", "key.deserializer"), ("value-deserializer", "value.deserializer")]
    {
        if let Some(class) = options.text(option).filter(|c| !c.is_empty()) {
            properties.push((key.to_owned(), class.to_owned()));
        }
    }
    if options.has("property") {
        if options.has("formatter-property") {
            return Err(
                parser.usage("Options --property and --formatter-property cannot be specified together.")
            );
        }
        output::notice_on_output(
            "Option --property is deprecated and will be removed in a future version. Use --formatter-property instead.",
        );
    }
    properties.extend(key_values(&options.texts("property")));
    properties.extend(key_values(&options.texts("formatter-property")));
    Ok(properties)
}

async fn consume(
    options: &Parsed,
    config: &ClientConfig,
    start: Result<i64, OffsetSpec>,
    mut formatter: Formatter,
) -> ToolResult {
    let mut consumer = Consumer::new(config)?;
    let topic = options.text("topic").unwrap_or_default();
    if let Some(partition) = options.int("partition") {
        let partition = TopicPartition::new(topic, partition);
        consumer.assign([partition.clone()]);
        match start {
            Ok(offset) => consumer.seek(&partition, offset)?,
            Err(spec) => consumer.seek_to(&partition, spec)?,
        }
    } else if options.has("topic") {
        consumer.subscribe(&[topic]).await?;
    } else {
        consumer.subscribe_pattern(options.text("include").unwrap_or_default()).await?;
    }
    let mut count = 0;
    let result = tokio::select! {
        result = print_records(options, &mut consumer, &mut formatter, &mut count) => result,
        () = interrupted() => Ok(()),
    };
    output::flush();
    if let Err(error) = consumer.close().await {
        tracing::warn!("closing failed: {error}");
    }
    if !output::is_json() {
        eprintln!("Processed a total of {count} messages");
    }
    if options.has("enable-systest-events") {
        output::line("shutdown_complete");
    }
    result
}

async fn interrupted() {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        result = tokio::signal::ctrl_c() => if result.is_err() { std::future::pending().await },
        () = terminated => {}
    }
}

/// A record as an object; bytes that are not UTF-8 are replaced, as in the text.
fn record_json(record: &ConsumerRecord) -> Value {
    let text = |bytes: Option<&bytes::Bytes>| bytes.map(|b| String::from_utf8_lossy(b).into_owned());
    let headers =
        record.headers.iter().map(|(key, value)| json!({"key": key, "value": text(value.as_ref())}));
    let mut object = Map::new();
    object.insert("topic".to_owned(), Value::from(&*record.topic));
    object.insert("partition".to_owned(), record.partition.into());
    object.insert("offset".to_owned(), record.offset.into());
    object.insert("timestamp".to_owned(), record.timestamp.into());
    let kind = if record.log_append_time { "LogAppendTime" } else { "CreateTime" };
    object.insert("timestampType".to_owned(), kind.into());
    object.insert("key".to_owned(), text(record.key.as_ref()).into());
    object.insert("value".to_owned(), text(record.value.as_ref()).into());
    object.insert("headers".to_owned(), headers.collect());
    Value::Object(object)
}

async fn print_records(
    options: &Parsed,
    consumer: &mut Consumer,
    formatter: &mut Formatter,
    count: &mut i64,
) -> ToolResult {
    let max = i64::from(options.int("max-messages").unwrap_or(-1));
    let timeout = options.long("timeout-ms").and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
    let mut progress = Progress::new("records", u64::try_from(max).ok());
    let mut started = Instant::now();
    while max == -1 || *count < max {
        let poll = timeout.unwrap_or(Duration::from_secs(3600));
        // What has been read is printed one by one, so that offsets are committed only of records that were.
        let records = match consumer.poll(poll).await {
            Ok(records) => records,
            Err(error) => {
                output::notice(format!("Error processing message, terminating consumer process: {error}"));
                return Ok(());
            }
        };
        if records.is_empty() {
            if timeout.is_some_and(|t| started.elapsed() > t) {
                output::notice(
                    "Error processing message, terminating consumer process: \
                     org.apache.kafka.common.errors.TimeoutException",
                );
                return Ok(());
            }
            continue;
        }
        let mut unread = Vec::new();
        for record in &records {
            if max != -1 && *count >= max {
                let partition = TopicPartition::new(record.topic.to_string(), record.partition);
                if !unread.iter().any(|(p, _)| *p == partition) {
                    unread.push((partition, record.offset));
                }
                continue;
            }
            *count += 1;
            progress.set(count.unsigned_abs());
            if output::is_json() {
                output::json_line(&record_json(record));
                continue;
            }
            match formatter.write(record) {
                Ok(bytes) => output::bytes(&bytes),
                Err(error) if options.has("skip-message-on-error") => {
                    let text = error.text();
                    output::notice(format!("Error processing message, skipping this message: {text}"));
                }
                Err(error) => return Err(error),
            }
        }
        output::flush();
        for (partition, offset) in unread {
            consumer.seek(&partition, offset)?;
        }
        started = Instant::now();
    }
    Ok(())
}
