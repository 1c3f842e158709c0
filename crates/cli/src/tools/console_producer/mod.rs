//! `kafka-console-producer`: lines of standard input become records. Source: Kafka `ConsoleProducer`.

mod reader;

use std::io::IsTerminal;

use ottla_client::{ClientConfig, Producer};

use crate::args::{Parsed, Parser};
use crate::connect::{block_on, key_values, load_properties};
use crate::error::{ToolError, ToolResult};
use crate::output::{self, Progress};
use reader::LineReader;

/// Options that stand for a producer configuration, with the tool's default.
const MERGED: &[(&str, &str, &str)] = &[
    ("linger.ms", "timeout", "1000"),
    ("acks", "request-required-acks", "-1"),
    ("request.timeout.ms", "request-timeout-ms", "1500"),
    ("retries", "message-send-max-retries", "3"),
    ("retry.backoff.ms", "retry-backoff-ms", "100"),
    ("send.buffer.bytes", "socket-buffer-size", "102400"),
    ("buffer.memory", "max-memory-bytes", "33554432"),
    ("batch.size", "batch-size", "16384"),
    ("metadata.max.age.ms", "metadata-expiry-ms", "300000"),
    ("max.block.ms", "max-block-ms", "60000"),
];

fn parser() -> Parser {
    const READER: &str = "A mechanism to pass user-defined properties in the form key=value to the message reader. \
        Default properties include: parse.key=false parse.headers=false ignore.error=false key.separator=\\t \
        headers.delimiter=\\t headers.separator=, headers.key.separator=: null.marker= When set, any fields (key, \
        value and headers) equal to this will be replaced by null";
    Parser::new("This tool helps to read data from standard input and publish it to Kafka.")
        .text("topic", "topic", "REQUIRED: The topic name to produce messages to.")
        .text("bootstrap-server", "server to connect to", "REQUIRED: The server(s) to connect to. The broker list string in the form HOST1:PORT1,HOST2:PORT2.")
        .flag("sync", "If set message send requests to the brokers are synchronously, one at a time as they arrive.")
        .optional_text("compression-codec", "compression-codec", "The compression codec: either 'none', 'gzip', 'snappy', 'lz4', or 'zstd'. If specified without value, then it defaults to 'gzip'")
        .int("batch-size", "size", "Number of bytes to send in a single batch: batch.size in producer configs. (default: 16384)")
        .int("message-send-max-retries", "Integer", "The number of retries before the producer gives up: retries in producer configs. (default: 3)")
        .long("retry-backoff-ms", "Long", "The wait before each retry: retry.backoff.ms in producer configs. (default: 100)")
        .long("timeout", "timeout_ms", "How long a message may wait for others: linger.ms in producer configs. (default: 1000)")
        .text("request-required-acks", "request required acks", "The required `acks` of the producer requests (default: -1)")
        .int("request-timeout-ms", "request timeout ms", "The ack timeout of the producer requests. (default: 1500)")
        .long("metadata-expiry-ms", "metadata expiration interval", "metadata.max.age.ms in producer configs. (default: 300000)")
        .long("max-block-ms", "max block on send", "The max time that the producer will block for during a send request. (default: 60000)")
        .long("max-memory-bytes", "total memory in bytes", "buffer.memory in producer configs. (default: 33554432)")
        .int("max-partition-memory-bytes", "memory in bytes per partition", "(Deprecated) Use --batch-size instead.")
        .text("line-reader", "reader_class", "The class name of the class to use for reading lines from standard in. By default each line is read as a separate message.")
        .int("socket-buffer-size", "size", "send.buffer.bytes in producer configs. (default: 102400)")
        .text("property", "prop", "(DEPRECATED) Use --reader-property instead.")
        .text("reader-property", "prop", READER)
        .text("reader-config", "config file", "Config properties file for the message reader. Note that [reader-property] takes precedence over this config.")
        .text("producer-property", "producer_prop", "(DEPRECATED) Use --command-property instead.")
        .text("command-property", "producer_prop", "Producer config properties in the form key=value.")
        .text("producer.config", "config file", "(DEPRECATED) Use --command-config instead.")
        .text("command-config", "config file", "Producer config properties file. Note that [command-property] takes precedence over this config.")
        .removed("broker-list", "Use --bootstrap-server instead.")
}

pub fn main(args: &[String]) -> ToolResult {
    output::stream();
    let parser = parser();
    let options = match parser.parse(args) {
        Err(ToolError::Message(message)) => return Err(parser.usage(message)),
        other => other?,
    };
    check(&parser, &options)?;
    let config = producer_config(&options)?;
    let mut reader = LineReader::new(&reader_properties(&options)?)?;
    block_on(async {
        let producer = Producer::new(&config)?;
        let result = produce(&producer, &mut reader, options.has("sync")).await;
        // What was read before an error is sent all the same.
        producer.close().await;
        result
    })
}

fn check(parser: &Parser, options: &Parsed) -> ToolResult {
    parser.require(options, &["topic"])?;
    for (new, old) in [
        ("command-config", "producer.config"),
        ("command-property", "producer-property"),
        ("reader-property", "property"),
    ] {
        if options.has(new) && options.has(old) {
            return Err(parser.usage(format!("Options --{new} and --{old} cannot be specified together.")));
        }
    }
    for (old, new) in [
        ("producer-property", "command-property"),
        ("producer.config", "command-config"),
        ("property", "reader-property"),
    ] {
        if options.has(old) {
            output::notice_on_output(format!(
                "Warning: --{old} is deprecated and will be removed in a future version. Use --{new} instead."
            ));
        }
    }
    if options.has("max-partition-memory-bytes") {
        output::notice_on_output(
            "Warning: --max-partition-memory-bytes is deprecated and will be removed in Apache Kafka 5.0. Use \
             --batch-size instead.",
        );
    }
    match options.text("bootstrap-server") {
        None | Some("") => {
            Err(parser.usage("Error while validating the bootstrap address: no address given"))
        }
        Some(_) => Ok(()),
    }
}

fn producer_config(options: &Parsed) -> Result<ClientConfig, ToolError> {
    let mut config = ClientConfig::new();
    for option in ["command-config", "producer.config"] {
        if let Some(path) = options.text(option) {
            config.extend(load_properties(path)?);
        }
    }
    for option in ["command-property", "producer-property"] {
        config.extend(key_values(&options.texts(option)));
    }
    config.set("bootstrap.servers", options.text("bootstrap-server").unwrap_or_default());
    let codec = match options.text("compression-codec") {
        Some(codec) => codec,
        None if options.has("compression-codec") => "gzip",
        None => "none",
    };
    config.set("compression.type", codec);
    config.set_default("client.id", "console-producer");
    for (key, option, default) in MERGED {
        match options.text(option) {
            Some(value) => config.set(*key, value),
            None => config.set_default(key, *default),
        };
    }
    if let Some(size) = options.text("max-partition-memory-bytes") {
        config.set("batch.size", size);
    }
    Ok(config)
}

fn reader_properties(options: &Parsed) -> Result<Vec<(String, String)>, ToolError> {
    if let Some(class) = options.text("line-reader")
        && !class.ends_with("LineMessageReader")
    {
        return Err(ToolError::message(format!(
            "java.lang.ClassNotFoundException: {class}: only LineMessageReader is there"
        )));
    }
    let mut properties = Vec::new();
    if let Some(path) = options.text("reader-config") {
        properties.extend(load_properties(path)?);
    }
    properties.push(("topic".to_owned(), options.text("topic").unwrap_or_default().to_owned()));
    properties.extend(key_values(&options.texts("property")));
    properties.extend(key_values(&options.texts("reader-property")));
    Ok(properties)
}

async fn produce(producer: &Producer, reader: &mut LineReader, sync: bool) -> ToolResult {
    let input = std::io::stdin();
    let prompt = input.is_terminal() && std::io::stdout().is_terminal();
    let mut progress = (!input.is_terminal()).then(|| Progress::new("records", None));
    loop {
        if prompt {
            output::bytes(b">");
            output::flush();
        }
        // Reading blocks a thread of its own, so that batches go out while nothing is typed.
        let line = tokio::task::block_in_place(|| {
            let mut line = Vec::new();
            std::io::BufRead::read_until(&mut input.lock(), b'\n', &mut line).map(|n| (n > 0).then_some(line))
        });
        let line = match line {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(()),
            Err(error) => return Err(ToolError::message(error.to_string())),
        };
        let record = reader.record(&line)?;
        if let Some(progress) = &mut progress {
            progress.add(1);
        }
        let topic = record.topic.clone();
        let delivery = producer.send(record).await;
        if sync {
            delivery?.await?;
            continue;
        }
        match delivery {
            Ok(delivery) => {
                tokio::spawn(async move {
                    if let Err(error) = delivery.await {
                        output::notice(format!("Error when sending message to topic {topic}: {error}"));
                    }
                });
            }
            Err(error) => output::notice(format!("Error when sending message to topic {topic}: {error}")),
        }
    }
}
