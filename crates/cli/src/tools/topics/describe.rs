//! `kafka-topics --describe`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use ottla_client::admin::{ConfigResourceKind, TopicDescription, TopicPartitionDescription};
use ottla_client::{Admin, ClientError, TopicPartition};
use ottla_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use ottla_protocol::messages::list_partition_reassignments_response::OngoingPartitionReassignment;
use ottla_protocol::types::Uuid;
use serde_json::{Map, Value};

use super::{REPORTS, ensure_found, topics};
use crate::args::Parsed;
use crate::error::{ToolError, ToolResult};
use crate::java::sort_as_hash_map;
use crate::output::{self, Entry};

type Reassignments = BTreeMap<TopicPartition, OngoingPartitionReassignment>;

pub async fn describe(admin: &Admin, options: &Parsed) -> ToolResult {
    let found = match options.text("topic-id") {
        Some(text) => by_id(admin, options, text).await?,
        None => None,
    };
    let found = match found {
        Some(found) => found,
        None => {
            let found = topics(admin, options).await?;
            ensure_found(&found, options)?;
            found
        }
    };
    let mut described = Vec::new();
    if !found.is_empty() {
        let names: Vec<&str> = found.iter().map(String::as_str).collect();
        described = admin
            .describe_topics(&names, options.int("partition-size-limit-per-response").unwrap_or(2000))
            .await?;
    }
    let count = described.len();
    sort_as_hash_map(&mut described, count, |t| &t.name);
    let live: BTreeSet<i32> =
        admin.describe_cluster(false).await?.brokers.iter().map(|b| b.broker_id).collect();
    let partitions: Vec<TopicPartition> = described
        .iter()
        .flat_map(|t| t.partitions.iter().map(|p| TopicPartition::new(t.name.as_str(), p.partition)))
        .collect();
    let reassignments = match admin.list_partition_reassignments(Some(&partitions)).await {
        Ok(found) => found,
        Err(error @ ClientError::Channel(_)) => return Err(error.into()),
        Err(_) => Reassignments::new(),
    };
    output::list("topics");
    for topic in &described {
        let mut configs = admin.describe_config(ConfigResourceKind::Topic, &topic.name, false).await?.configs;
        sort_as_hash_map(&mut configs, 16, |c| &c.name);
        let overrides_only = options.has("topics-with-overrides");
        let reporting = REPORTS.iter().any(|r| options.has(r));
        let Some(entry) = topic_entry(topic, &configs, &reassignments, reporting, overrides_only) else {
            continue;
        };
        let partitions = match overrides_only {
            true => Vec::new(),
            false => partition_entries(options, topic, &configs, &reassignments, &live),
        };
        if reporting && partitions.is_empty() {
            continue;
        }
        output::show("topics", entry.list("partitions", partitions));
    }
    Ok(())
}

/// The topic with an id; none when the id is zero, so that names count.
async fn by_id(admin: &Admin, options: &Parsed, text: &str) -> Result<Option<Vec<String>>, ToolError> {
    let id: Uuid = text
        .parse()
        .map_err(|_| ToolError::message(format!("Input string `{text}` decoded as invalid UUID")))?;
    if id.is_zero() {
        return Ok(None);
    }
    let all = admin.list_topics().await?;
    let found: Vec<String> = all.into_iter().filter(|t| t.id == id).map(|t| t.name).collect();
    if found.is_empty() && !options.has("if-exists") {
        return Err(ToolError::message(format!("TopicId '{id}' does not exist as expected")));
    }
    Ok(Some(found))
}

fn ids(ids: &[i32]) -> String {
    ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

/// The replication factor without the replicas that a reassignment is adding.
fn replication_factor(
    partition: &TopicPartitionDescription,
    moving: Option<&OngoingPartitionReassignment>,
) -> usize {
    match moving {
        Some(m)
            if partition
                .replicas
                .iter()
                .any(|r| m.adding_replicas.contains(r) || m.removing_replicas.contains(r)) =>
        {
            m.replicas.len().saturating_sub(m.adding_replicas.len())
        }
        _ => partition.replicas.len(),
    }
}

/// A topic without its partitions; a report on partitions has no line for it. None for one that has no configs of
/// its own when only those with some are asked for.
fn topic_entry(
    topic: &TopicDescription,
    configs: &[DescribeConfigsResourceResult],
    reassignments: &Reassignments,
    reporting: bool,
    overrides_only: bool,
) -> Option<Entry> {
    const DEFAULT_CONFIG: i8 = 5;
    let own = configs.iter().filter(|c| c.config_source != DEFAULT_CONFIG);
    let overridden: Vec<String> =
        own.clone().map(|c| format!("{}={}", c.name, c.value.as_deref().unwrap_or("null"))).collect();
    if overrides_only && overridden.is_empty() {
        return None;
    }
    let mut text = format!("Topic: {}", topic.name);
    if !topic.id.is_zero() {
        let _ = write!(text, "\tTopicId: {}", topic.id);
    }
    let moving = reassignments.get(&TopicPartition::new(topic.name.as_str(), 0));
    let factor = topic.partitions.first().map_or(0, |p| replication_factor(p, moving));
    let _ = write!(
        text,
        "\tPartitionCount: {}\tReplicationFactor: {factor}\tConfigs: {}",
        topic.partitions.len(),
        overridden.join(",")
    );
    let entry = if reporting { Entry::silent() } else { Entry::new(text) };
    let id = (!topic.id.is_zero()).then(|| topic.id.to_string());
    let configs = own.map(|c| (c.name.to_string(), Value::from(c.value.as_deref())));
    Some(
        entry
            .with("topic", topic.name.as_str())
            .with("topicId", id)
            .with("partitionCount", topic.partitions.len())
            .with("replicationFactor", factor)
            .with("configs", configs.collect::<Map<_, _>>()),
    )
}

fn partition_entries(
    options: &Parsed,
    topic: &TopicDescription,
    configs: &[DescribeConfigsResourceResult],
    reassignments: &Reassignments,
    live: &BTreeSet<i32>,
) -> Vec<Entry> {
    let min_isr = configs
        .iter()
        .find(|c| c.name.as_str() == "min.insync.replicas")
        .and_then(|c| c.value.as_deref()?.parse::<usize>().ok())
        .unwrap_or(1);
    let all = !REPORTS.iter().any(|r| options.has(r));
    let mut entries = Vec::new();
    for p in &topic.partitions {
        let moving = reassignments.get(&TopicPartition::new(topic.name.as_str(), p.partition));
        let has_leader = p.leader >= 0;
        let shown = all
            || (options.has("under-replicated-partitions") && replication_factor(p, moving) > p.isr.len())
            || (options.has("unavailable-partitions") && !(has_leader && live.contains(&p.leader)))
            || (options.has("under-min-isr-partitions") && (!has_leader || p.isr.len() < min_isr))
            || (options.has("at-min-isr-partitions") && p.isr.len() == min_isr);
        if !shown {
            continue;
        }
        let leader = if has_leader { p.leader.to_string() } else { "none".to_owned() };
        let mut text = format!(
            "\tTopic: {}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}",
            topic.name,
            p.partition,
            ids(&p.replicas),
            ids(&p.isr)
        );
        if let Some(m) = moving {
            let _ = write!(
                text,
                "\tAdding Replicas: {}\tRemoving Replicas: {}",
                ids(&m.adding_replicas),
                ids(&m.removing_replicas)
            );
        }
        let optional = |list: &Option<Vec<i32>>| list.as_ref().map_or_else(|| "N/A".to_owned(), |l| ids(l));
        let _ = write!(
            text,
            "\tElr: {}\tLastKnownElr: {}",
            optional(&p.eligible_leader_replicas),
            optional(&p.last_known_elr)
        );
        let entry = Entry::new(text)
            .with("partition", p.partition)
            .with("leader", has_leader.then_some(p.leader))
            .with("replicas", p.replicas.clone())
            .with("isr", p.isr.clone())
            .with("elr", p.eligible_leader_replicas.clone())
            .with("lastKnownElr", p.last_known_elr.clone())
            .with("addingReplicas", moving.map(|m| m.adding_replicas.clone()).unwrap_or_default())
            .with("removingReplicas", moving.map(|m| m.removing_replicas.clone()).unwrap_or_default());
        entries.push(entry);
    }
    entries
}
