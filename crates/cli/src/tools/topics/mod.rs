//! `kafka-topics`: list, create, describe, alter and delete topics. Source: Kafka `TopicCommand`.

mod create;
mod describe;

use ottla_client::Admin;
use ottla_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use ottla_protocol::types::Str;

use super::topic_filter::{TopicFilter, is_internal};
use crate::args::{Parsed, Parser};
use crate::error::{ToolError, ToolResult};
use crate::{connect, output};

const ACTIONS: &[&str] = &["create", "list", "alter", "describe", "delete"];
const REPORTS: &[&str] = &[
    "under-replicated-partitions",
    "under-min-isr-partitions",
    "at-min-isr-partitions",
    "unavailable-partitions",
];

fn parser() -> Parser {
    Parser::new("This tool helps to create, delete, describe, or change a topic.")
        .bootstrap()
        .flag("list", "List all available topics.")
        .flag("create", "Create a new topic.")
        .flag("delete", "Delete a topic.")
        .flag("alter", "Alter the number of partitions and replica assignment. (To alter topic configurations, the kafka-configs tool can be used.)")
        .flag("describe", "List details for the given topics.")
        .text("topic", "topic", "The topic to create, alter, describe or delete. It also accepts a regular expression, except for --create option.")
        .text("topic-id", "topic-id", "The topic-id to describe.")
        .text("config", "name=value", "A topic configuration override for the topic being created. It is supported only in combination with --create.")
        .text("delete-config", "name", "This option is no longer supported and has been deprecated since 4.0")
        .int("partitions", "# of partitions", "The number of partitions for the topic being created or altered. If not supplied with --create, the topic uses the cluster default.")
        .int("replication-factor", "replication factor", "The replication factor for each partition in the topic being created. If not supplied, the topic uses the cluster default.")
        .text("replica-assignment", "broker_id_for_part1_replica1 : broker_id_for_part1_replica2 , ...", "A list of manual partition-to-broker assignments for the topic being created or altered.")
        .flag("under-replicated-partitions", "If set when describing topics, only show under-replicated partitions.")
        .flag("unavailable-partitions", "If set when describing topics, only show partitions whose leader is not available.")
        .flag("under-min-isr-partitions", "If set when describing topics, only show partitions whose isr count is less than the configured minimum.")
        .flag("at-min-isr-partitions", "If set when describing topics, only show partitions whose isr count is equal to the configured minimum.")
        .flag("topics-with-overrides", "If set when describing topics, only show topics that have overridden configs.")
        .flag("if-exists", "If set when altering or deleting or describing topics, the action will only execute if the topic exists.")
        .flag("if-not-exists", "If set when creating topics, the create request will not fail if the topic already exists, but the request will still be sent.")
        .flag("exclude-internal", "Exclude internal topics when listing or describing topics. By default, the internal topics are included.")
        .int("partition-size-limit-per-response", "maximum number of partitions per response", "The maximum partition size to be included in one DescribeTopicPartitions response.")
}

pub fn main(args: &[String]) -> ToolResult {
    let parser = parser();
    let options = parser.parse(args)?;
    check(&parser, &options)?;
    let admin = connect::admin(&options)?;
    let result = connect::block_on(async {
        if options.has("create") {
            create::create(&admin, &options).await
        } else if options.has("alter") {
            alter(&admin, &options).await
        } else if options.has("list") {
            let topics = topics(&admin, &options).await?;
            let text = topics.join("\n");
            output::fact("topics", topics, text);
            Ok(())
        } else if options.has("describe") {
            describe::describe(&admin, &options).await
        } else {
            delete(&admin, &options).await
        }
    });
    result.map_err(|error| {
        output::complain(format!("Error while executing topic command : {}", error.text()));
        ToolError::Exit(1)
    })
}

fn check(parser: &Parser, options: &Parsed) -> ToolResult {
    if ACTIONS.iter().filter(|a| options.has(a)).count() != 1 {
        return Err(parser.usage(
            "Command must include exactly one action: --list, --describe, --create, --alter or --delete",
        ));
    }
    if options.has("delete-config") {
        output::notice(
            "delete-config option is no longer supported and deprecated since version 4.0. The config will be fully \
             removed in future releases.",
        );
    }
    if !options.has("bootstrap-server") {
        return Err(ToolError::message("--bootstrap-server must be specified"));
    }
    if options.has("describe") && options.has("if-exists") {
        match (options.has("topic"), options.has("topic-id")) {
            (false, false) => {
                return Err(parser.usage("--topic or --topic-id is required to describe a topic"));
            }
            (true, true) => output::notice_on_output(
                "Only topic id will be used when both --topic and --topic-id are specified and topicId is not \
                 Uuid.ZERO_UUID",
            ),
            _ => {}
        }
    }
    if !options.has("list") && !options.has("describe") {
        parser.require(options, &["topic"])?;
    }
    if options.has("alter") {
        if options.has("config") {
            return Err(parser.usage(
                "Option combination \"[bootstrap-server],[config]\" can't be used with option \"[alter]\" (To alter \
                 topic configurations, the kafka-configs tool can be used.)",
            ));
        }
        parser.require(options, &["partitions"])?;
    }
    let only_with = |option: &str, allowed: &[&str], others: &[&str]| {
        let forbidden: Vec<&str> =
            ACTIONS.iter().filter(|a| !allowed.contains(a)).chain(others).copied().collect();
        parser.forbid(options, option, &forbidden)
    };
    only_with("config", &["alter", "create"], &[])?;
    only_with("partitions", &["alter", "create"], &[])?;
    only_with("replication-factor", &["create"], &[])?;
    only_with("replica-assignment", &["alter", "create"], &[])?;
    if options.has("create") {
        parser.forbid(options, "replica-assignment", &["partitions", "replication-factor"])?;
    }
    for report in REPORTS {
        only_with(report, &["describe"], &["topics-with-overrides"])?;
    }
    only_with("topics-with-overrides", &["describe"], REPORTS)?;
    only_with("if-exists", &["alter", "delete", "describe"], &[])?;
    only_with("if-not-exists", &["create"], &[])?;
    only_with("exclude-internal", &["list", "describe"], &[])
}

/// The names of the topics that `--topic` asks for, sorted.
async fn topics(admin: &Admin, options: &Parsed) -> Result<Vec<String>, ToolError> {
    let exclude_internal = options.has("exclude-internal");
    let all = admin.list_topics().await?;
    let names = all.into_iter().map(|t| t.name);
    Ok(match options.text("topic") {
        Some(text) => {
            let filter = TopicFilter::new(text)?;
            names.filter(|t| filter.allows(t, exclude_internal)).collect()
        }
        None => names.filter(|t| !(exclude_internal && is_internal(t))).collect(),
    })
}

fn ensure_found(found: &[String], options: &Parsed) -> ToolResult {
    match options.text("topic") {
        Some(topic) if !topic.is_empty() && found.is_empty() && !options.has("if-exists") => {
            Err(ToolError::message(format!("Topic '{topic}' does not exist as expected")))
        }
        _ => Ok(()),
    }
}

async fn alter(admin: &Admin, options: &Parsed) -> ToolResult {
    let assignments = create::assignments(options)?;
    let found = topics(admin, options).await?;
    ensure_found(&found, options)?;
    if found.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = found.iter().map(String::as_str).collect();
    let described = admin.describe_topics(&names, 2000).await?;
    let topics = described
        .iter()
        .map(|topic| CreatePartitionsTopic {
            name: Str::from(topic.name.as_str()),
            count: options.int("partitions").unwrap_or_default(),
            assignments: (!assignments.is_empty()).then(|| {
                assignments
                    .iter()
                    .skip(topic.partitions.len())
                    .map(|brokers| CreatePartitionsAssignment {
                        broker_ids: brokers.clone(),
                        ..Default::default()
                    })
                    .collect()
            }),
            ..Default::default()
        })
        .collect();
    Ok(admin.create_partitions(topics).await?)
}

async fn delete(admin: &Admin, options: &Parsed) -> ToolResult {
    let found = topics(admin, options).await?;
    ensure_found(&found, options)?;
    if found.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = found.iter().map(String::as_str).collect();
    Ok(admin.delete_topics(&names).await?)
}
