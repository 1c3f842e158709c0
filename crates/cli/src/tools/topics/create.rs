//! `kafka-topics --create`.

use ottla_client::{Admin, ClientError};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use ottla_protocol::types::Str;

use crate::args::Parsed;
use crate::error::{ToolError, ToolResult};
use crate::output;

pub async fn create(admin: &Admin, options: &Parsed) -> ToolResult {
    let name = options.text("topic").unwrap_or_default();
    let assignments = assignments(options)?;
    let configs = configs(options)?;
    if name.contains('.') || name.contains('_') {
        output::notice_on_output(
            "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could \
             collide. To avoid issues it is best to use either, but not both.",
        );
    }
    let replication_factor = match options.int("replication-factor") {
        None => -1,
        Some(n) => match i16::try_from(n) {
            Ok(n) if n >= 1 => n,
            _ => {
                return Err(ToolError::message(
                    "The replication factor must be between 1 and 32767 inclusive",
                ));
            }
        },
    };
    if options.int("partitions").is_some_and(|n| n < 1) {
        return Err(ToolError::message("The partitions must be greater than 0"));
    }
    let topic = CreatableTopic {
        name: Str::from(name),
        num_partitions: options.int("partitions").unwrap_or(-1),
        replication_factor,
        assignments: (0..)
            .zip(assignments)
            .map(|(partition_index, broker_ids)| CreatableReplicaAssignment {
                partition_index,
                broker_ids,
                ..Default::default()
            })
            .collect(),
        configs,
        ..Default::default()
    };
    match admin.create_topic(topic, false).await {
        Ok(_) => {
            output::line(format!("Created topic {name}."));
            Ok(())
        }
        Err(ClientError::Api { code: ErrorCode::TopicAlreadyExists, .. }) if options.has("if-not-exists") => {
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

fn configs(options: &Parsed) -> Result<Vec<CreatableTopicConfig>, ToolError> {
    let mut configs: Vec<CreatableTopicConfig> = Vec::new();
    for text in options.texts("config") {
        let mut parts = text.split('=');
        let (Some(key), Some(value), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(ToolError::message(
                "requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\".",
            ));
        };
        let (name, value) = (Str::from(key.trim()), Some(Str::from(value.trim())));
        configs.retain(|c| c.name != name);
        configs.push(CreatableTopicConfig { name, value, ..Default::default() });
    }
    Ok(configs)
}

/// The brokers of each partition, as `--replica-assignment 1:2,2:3` says.
pub fn assignments(options: &Parsed) -> Result<Vec<Vec<i32>>, ToolError> {
    let Some(text) = options.text("replica-assignment").filter(|t| !t.is_empty()) else {
        return Ok(Vec::new());
    };
    let mut partitions: Vec<Vec<i32>> = Vec::new();
    for (i, partition) in text.split(',').enumerate() {
        let mut brokers: Vec<i32> = Vec::new();
        for id in partition.split(':') {
            let id = id
                .trim()
                .parse()
                .map_err(|_| ToolError::message(format!("For input string: \"{}\"", id.trim())))?;
            if brokers.contains(&id) {
                return Err(ToolError::message(format!(
                    "Partition replica lists may not contain duplicate entries: {id}"
                )));
            }
            brokers.push(id);
        }
        if partitions.first().is_some_and(|first| first.len() != brokers.len()) {
            return Err(ToolError::message(format!(
                "Partition {i} has different replication factor: {brokers:?}"
            )));
        }
        partitions.push(brokers);
    }
    Ok(partitions)
}
