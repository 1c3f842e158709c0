//! `kafka-transactions`: transactional ids and the producers of partitions. Source: Kafka `TransactionsCommand`.

mod abort;
mod cluster;
mod hanging;

use std::time::{SystemTime, UNIX_EPOCH};

use ottla_client::{Admin, Target, TopicPartition};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use ottla_protocol::types::Str;

use super::java_text::pretty_table;
use crate::args::{Parsed, Parser, Style};
use crate::connect;
use crate::error::{ToolError, ToolResult};
use crate::output::{self, Cell};

const COMMANDS: &[(&str, &[&str])] = &[
    ("list", &[]),
    ("describe", &["transactional-id"]),
    ("describe-producers", &["topic", "partition"]),
    ("abort", &["topic", "partition"]),
    ("find-hanging", &[]),
    ("forceTerminateTransaction", &["transactionalId"]),
];

fn parser() -> Parser {
    Parser::new("This tool is used to analyze the transactional state of producers in the cluster. It can be used to detect and recover from hanging transactions. Commands: list, describe, describe-producers, abort, find-hanging, forceTerminateTransaction.")
        .style(Style::Argparse)
        .positional()
        .text("bootstrap-server", "host:port", "hostname and port for the broker to connect to, in the form `host:port` (multiple comma-separated entries can be given)")
        .text("command-config", "FILE", "property file containing configs to be passed to admin client")
        .long("duration-filter", "DURATION_FILTER", "list: Duration (in millis) to filter by: if < 0, all transactions will be returned; otherwise, only transactions running longer than this duration will be returned")
        .text("transactional-id-pattern", "TRANSACTIONAL_ID_PATTERN", "list: Transactional id regular expression pattern to filter by")
        .text("transactional-id", "TRANSACTIONAL_ID", "describe: transactional id")
        .text("transactionalId", "TRANSACTIONALID", "forceTerminateTransaction: transactional id")
        .int("broker-id", "BROKER_ID", "describe-producers, find-hanging: broker id to search on")
        .text("topic", "TOPIC", "topic name")
        .int("partition", "PARTITION", "partition number")
        .int("max-transaction-timeout", "MAX_TRANSACTION_TIMEOUT", "find-hanging: maximum transaction timeout in minutes to limit the scope of the search (15 minutes by default)")
        .long("start-offset", "START_OFFSET", "abort: start offset of the transaction to abort")
        .long("producer-id", "PRODUCER_ID", "abort: producer id")
        .int("producer-epoch", "PRODUCER_EPOCH", "abort: producer epoch")
        .int("coordinator-epoch", "COORDINATOR_EPOCH", "abort: coordinator epoch")
        .alias("v", "version")
        .alias("h", "help")
}

pub fn main(args: &[String]) -> ToolResult {
    let parser = parser();
    let options = parser.parse(args)?;
    let [command] = options.words() else {
        return Err(parser.usage("too few arguments"));
    };
    let Some((_, needed)) = COMMANDS.iter().find(|(name, _)| name == command) else {
        let names: Vec<&str> = COMMANDS.iter().map(|(name, _)| *name).collect();
        return Err(parser.usage(format!("invalid choice: '{command}' (choose from {})", names.join(", "))));
    };
    for name in ["bootstrap-server"].iter().chain(*needed) {
        if !options.has(name) {
            return Err(parser.usage(format!("argument --{name} is required")));
        }
    }
    let admin = connect::admin(&options)?;
    connect::block_on(async {
        match command.as_str() {
            "list" => list(&admin, &options).await,
            "describe" => describe(&admin, options.text("transactional-id").unwrap_or_default()).await,
            "describe-producers" => describe_producers(&admin, &options).await,
            "abort" => abort::abort(&admin, &options).await,
            "find-hanging" => hanging::find(&admin, &options).await,
            _ => force_terminate(&admin, options.text("transactionalId").unwrap_or_default()).await,
        }
    })
}

/// What the tool says when the cluster refused something.
fn failed(message: String, error: impl Into<ToolError>) -> ToolError {
    let text = error.into().text();
    ToolError::message(format!("{message}: {text}. Enable debug logging for additional detail."))
}

fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

fn partition_of(options: &Parsed) -> TopicPartition {
    TopicPartition::new(options.text("topic").unwrap_or_default(), options.int("partition").unwrap_or(-1))
}

/// An offset that may be none.
fn offset_cell(offset: i64) -> Cell {
    Cell::optional((offset >= 0).then_some(offset), "None")
}

async fn list(admin: &Admin, options: &Parsed) -> ToolResult {
    let duration = options.long("duration-filter").unwrap_or(-1);
    let listed = cluster::list(admin, &[], duration, options.text("transactional-id-pattern")).await;
    let mut table = pretty_table(&[
        ("TransactionalId", "transactionalId"),
        ("Coordinator", "coordinator"),
        ("ProducerId", "producerId"),
        ("TransactionState", "transactionState"),
    ]);
    for (node, listing) in listed.map_err(|e| failed("Failed to list transactions".to_owned(), e))? {
        table.row(vec![
            listing.transactional_id.to_string().into(),
            node.into(),
            listing.producer_id.into(),
            listing.transaction_state.to_string().into(),
        ]);
    }
    output::table("transactions", &table);
    Ok(())
}

async fn describe(admin: &Admin, id: &str) -> ToolResult {
    let told = |e| failed(format!("Failed to describe transaction state of transactional-id `{id}`"), e);
    let (node, state) = cluster::describe(admin, id).await.map_err(told)?;
    let start = state.transaction_start_time_ms;
    let duration = (start >= 0).then(|| now_ms() - start);
    let partitions: Vec<String> = cluster::partitions(&state).iter().map(ToString::to_string).collect();
    let mut table = pretty_table(&[
        ("CoordinatorId", "coordinatorId"),
        ("TransactionalId", "transactionalId"),
        ("ProducerId", "producerId"),
        ("ProducerEpoch", "producerEpoch"),
        ("TransactionState", "transactionState"),
        ("TransactionTimeoutMs", "transactionTimeoutMs"),
        ("CurrentTransactionStartTimeMs", "currentTransactionStartTimeMs"),
        ("TransactionDurationMs", "transactionDurationMs"),
        ("TopicPartitions", "topicPartitions"),
    ]);
    table.row(vec![
        node.into(),
        id.into(),
        state.producer_id.into(),
        state.producer_epoch.into(),
        state.transaction_state.to_string().into(),
        state.transaction_timeout_ms.into(),
        offset_cell(start),
        Cell::optional(duration, "None"),
        Cell::new(partitions.join(","), partitions),
    ]);
    output::table("transactions", &table);
    Ok(())
}

async fn describe_producers(admin: &Admin, options: &Parsed) -> ToolResult {
    let partition = partition_of(options);
    let broker = options.int("broker-id");
    let producers = cluster::producers(admin, &partition, broker).await.map_err(|e| {
        let on = broker.map_or_else(|| "leader".to_owned(), |id| format!("broker {id}"));
        failed(format!("Failed to describe producers for partition {partition} on {on}"), e)
    })?;
    let mut table = pretty_table(&[
        ("ProducerId", "producerId"),
        ("ProducerEpoch", "producerEpoch"),
        ("LatestCoordinatorEpoch", "latestCoordinatorEpoch"),
        ("LastSequence", "lastSequence"),
        ("LastTimestamp", "lastTimestamp"),
        ("CurrentTransactionStartOffset", "currentTransactionStartOffset"),
    ]);
    for p in &producers {
        table.row(vec![
            p.producer_id.into(),
            p.producer_epoch.into(),
            p.coordinator_epoch.into(),
            p.last_sequence.into(),
            p.last_timestamp.into(),
            offset_cell(p.current_txn_start_offset),
        ]);
    }
    output::table("producers", &table);
    Ok(())
}

/// Ends a transaction by taking its id over (KIP-939).
async fn force_terminate(admin: &Admin, id: &str) -> ToolResult {
    let request = InitProducerIdRequest {
        transactional_id: Some(Str::from(id)),
        transaction_timeout_ms: i32::try_from(admin.client().request_timeout().as_millis())
            .unwrap_or(i32::MAX),
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    let code = |r: &InitProducerIdResponse| ErrorCode::from_code(r.error_code);
    let result = match admin.call_checked(&Target::Transaction(id.to_owned()), &request, code).await {
        Ok(response) => ottla_client::ClientError::check(response.error_code, None),
        Err(error) => Err(error),
    };
    result.map_err(|e| failed(format!("Failed to force terminate transactionalId `{id}`"), e))
}
