//! `find-hanging`: open transactions of partitions that no coordinator will end.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::{Admin, TopicPartition};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_producers_response::ProducerState;

use super::{cluster, failed, now_ms, partition_of, pretty_table};
use crate::args::Parsed;
use crate::error::{ToolError, ToolResult};
use crate::output;

const DEFAULT_TIMEOUT_MINUTES: i32 = 15;
const MINUTE_MS: i64 = 60_000;
const COLUMNS: [(&str, &str); 8] = [
    ("Topic", "topic"),
    ("Partition", "partition"),
    ("ProducerId", "producerId"),
    ("ProducerEpoch", "producerEpoch"),
    ("CoordinatorEpoch", "coordinatorEpoch"),
    ("StartOffset", "startOffset"),
    ("LastTimestamp", "lastTimestamp"),
    ("Duration(min)", "durationMinutes"),
];

type Open = (TopicPartition, ProducerState);

async fn partitions(admin: &Admin, options: &Parsed) -> Result<Vec<TopicPartition>, ToolError> {
    if options.has("partition") {
        return Ok(vec![partition_of(options)]);
    }
    let topic = options.text("topic");
    let broker = options.int("broker-id");
    let names = topic.map(|t| [t]);
    let view = admin
        .client()
        .refresh(names.as_ref().map(|n| &n[..]))
        .await
        .map_err(|e| failed("Failed to list topics".to_owned(), e))?;
    let mut partitions = Vec::new();
    for t in view.topics.values().filter(|t| topic.is_none_or(|name| name == t.name)) {
        ottla_client::ClientError::check(t.error_code, None)
            .map_err(|e| failed("Failed to describe 1 topics".to_owned(), e))?;
        let on_broker = t.partitions.values().filter(|p| broker.is_none_or(|b| p.replicas.contains(&b)));
        partitions.extend(on_broker.map(|p| TopicPartition::new(t.name.as_str(), p.partition)));
    }
    Ok(partitions)
}

/// Which of the open transactions their coordinators do not know of.
async fn hanging(admin: &Admin, open: Vec<Open>) -> Result<Vec<Open>, ToolError> {
    let producers: BTreeSet<i64> = open.iter().map(|(_, p)| p.producer_id).collect();
    let producers: Vec<i64> = producers.into_iter().collect();
    let listed = cluster::list(admin, &producers, -1, None)
        .await
        .map_err(|e| failed(format!("Failed to list transactions for {} producers", producers.len()), e))?;
    let mut known: BTreeMap<i64, BTreeSet<TopicPartition>> = BTreeMap::new();
    for (_, listing) in listed {
        match cluster::describe(admin, &listing.transactional_id).await {
            Ok((_, state)) => {
                known.insert(listing.producer_id, cluster::partitions(&state));
            }
            Err(error) if error.code() == ErrorCode::TransactionalIdNotFound => {}
            Err(error) => return Err(failed("Failed to describe 1 transactions".to_owned(), error)),
        }
    }
    let ends = |(partition, producer): &Open| {
        known.get(&producer.producer_id).is_some_and(|k| k.contains(partition))
    };
    Ok(open.into_iter().filter(|o| !ends(o)).collect())
}

pub async fn find(admin: &Admin, options: &Parsed) -> ToolResult {
    if !options.has("topic") && !options.has("broker-id") {
        return Err(ToolError::message(
            "The `find-hanging` command requires either --topic or --broker-id to limit the scope of the search",
        ));
    }
    if options.has("partition") && !options.has("topic") {
        return Err(ToolError::message("The --partition argument requires --topic to be provided"));
    }
    let minutes = options.int("max-transaction-timeout").unwrap_or(DEFAULT_TIMEOUT_MINUTES);
    let limit_ms = i64::from(minutes) * MINUTE_MS;
    let broker = options.int("broker-id");
    let mut open: Vec<Open> = Vec::new();
    for partition in partitions(admin, options).await? {
        let producers = cluster::producers(admin, &partition, broker).await.map_err(|e| {
            let on = broker.map_or_else(|| "Optional.empty".to_owned(), |b| format!("Optional[{b}]"));
            failed(format!("Failed to describe producers for 1 partitions on broker {on}"), e)
        })?;
        let now = now_ms();
        let old = |p: &ProducerState| p.current_txn_start_offset >= 0 && now - p.last_timestamp > limit_ms;
        open.extend(producers.into_iter().filter(old).map(|p| (partition.clone(), p)));
    }
    let open = if open.is_empty() { open } else { hanging(admin, open).await? };
    let now = now_ms();
    let mut table = pretty_table(&COLUMNS);
    for (partition, p) in &open {
        table.row(vec![
            partition.topic.as_str().into(),
            partition.partition.into(),
            p.producer_id.into(),
            p.producer_epoch.into(),
            p.coordinator_epoch.into(),
            p.current_txn_start_offset.into(),
            p.last_timestamp.into(),
            ((now - p.last_timestamp) / MINUTE_MS).into(),
        ]);
    }
    output::table("transactions", &table);
    Ok(())
}
