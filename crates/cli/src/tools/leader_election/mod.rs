//! `kafka-leader-election`: preferred and unclean elections. Source: Kafka `LeaderElectionCommand`.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::{Admin, ClientError, Target, TopicPartition};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::elect_leaders_request::TopicPartitions;
use ottla_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};
use ottla_protocol::types::Str;
use serde_json::Value;

use super::java_text::exception;
use crate::args::{Parsed, Parser};
use crate::connect;
use crate::error::{ToolError, ToolResult};
use crate::output::{self, Entry};

const TIMEOUT_MS: i64 = 30_000;
const SCOPES: &[&str] = &["topic", "all-topic-partitions", "path-to-json-file"];

fn parser() -> Parser {
    Parser::new("This tool attempts to elect a new leader for a set of topic partitions. The type of elections supported are preferred replicas and unclean replicas.")
        .text("bootstrap-server", "host:port", "A hostname and port for the broker to connect to, in the form host:port. Multiple comma separated URLs can be given. REQUIRED.")
        .text("admin.config", "config file", "(DEPRECATED) Configuration properties files to pass to the admin client. This option will be removed in a future version. Use --command-config instead.")
        .text("command-config", "Config file", "Config properties file to pass to the admin client.")
        .text("path-to-json-file", "Path to JSON file", "The JSON file with the list of partition for which leader elections should be performed, as {\"partitions\": [{\"topic\": \"foo\", \"partition\": 1}]}. Not allowed if --all-topic-partitions or --topic flags are specified.")
        .text("topic", "topic name", "Name of topic for which to perform an election. Not allowed if --path-to-json-file or --all-topic-partitions is specified.")
        .int("partition", "partition id", "Partition id for which to perform an election. REQUIRED if --topic is specified.")
        .flag("all-topic-partitions", "Perform election on all of the eligible topic partitions based on the type of election (see the --election-type flag). Not allowed if --topic or --path-to-json-file is specified.")
        .text("election-type", "election type", "Type of election to attempt. Possible values are \"preferred\" for preferred leader election or \"unclean\" for unclean leader election. REQUIRED.")
}

pub fn main(args: &[String]) -> ToolResult {
    let parser = parser();
    let options = parser.parse(args)?;
    check(&parser, &options)?;
    let unclean = match options.text("election-type").unwrap_or_default().to_ascii_lowercase().as_str() {
        "preferred" => false,
        "unclean" => true,
        other => {
            return Err(ToolError::message(format!(
                "Cannot parse argument '{other}' of option election-type: preferred or unclean"
            )));
        }
    };
    let partitions = match options.text("path-to-json-file") {
        Some(path) => {
            let text =
                std::fs::read_to_string(path).map_err(|e| ToolError::message(format!("{path}: {e}")))?;
            Some(parse_partitions(&text)?)
        }
        None => options.text("topic").map(|topic| {
            BTreeSet::from([TopicPartition::new(topic, options.int("partition").unwrap_or(-1))])
        }),
    };
    let mut config = connect::admin_config(&options)?;
    if let Some(path) = options.text("admin.config") {
        output::notice_on_output(
            "Option --admin.config has been deprecated and will be removed in a future version. Use --command-config instead.",
        );
        for (key, value) in connect::load_properties(path)? {
            config.set_default(&key, value);
        }
    }
    config.set_default("default.api.timeout.ms", TIMEOUT_MS.to_string());
    config.set_default("request.timeout.ms", (TIMEOUT_MS / 2).to_string());
    let admin = Admin::new(&config)?;
    connect::block_on(elect(&admin, unclean, partitions))
}

fn check(parser: &Parser, options: &Parsed) -> ToolResult {
    let missing: Vec<&str> =
        ["bootstrap-server", "election-type"].into_iter().filter(|o| !options.has(o)).collect();
    if !missing.is_empty() {
        return Err(ToolError::message(format!("Missing required option(s): {}", missing.join(", "))));
    }
    parser.forbid(options, "admin.config", &["command-config"])?;
    if SCOPES.iter().filter(|s| options.has(s)).count() != 1 {
        return Err(ToolError::message(format!(
            "One and only one of the following options is required: {}",
            SCOPES.join(", ")
        )));
    }
    match (options.has("topic"), options.has("partition")) {
        (true, false) => Err(ToolError::message("Missing required option(s): partition")),
        (false, true) => Err(ToolError::message("Option partition is only allowed if topic is used")),
        _ => Ok(()),
    }
}

fn parse_partitions(text: &str) -> Result<BTreeSet<TopicPartition>, ToolError> {
    let json: Value =
        serde_json::from_str(text).map_err(|_| ToolError::message("Replica election data is empty"))?;
    let list = json
        .get("partitions")
        .and_then(Value::as_array)
        .ok_or_else(|| ToolError::message("Replica election data is missing \"partitions\" field"))?;
    let mut partitions = BTreeSet::new();
    let mut twice = Vec::new();
    for entry in list {
        let topic = entry.get("topic").and_then(Value::as_str);
        let partition = entry.get("partition").and_then(Value::as_i64).and_then(|p| i32::try_from(p).ok());
        let (Some(topic), Some(partition)) = (topic, partition) else {
            return Err(ToolError::message(format!("not a topic and a partition: {entry}")));
        };
        let partition = TopicPartition::new(topic, partition);
        if !partitions.insert(partition.clone()) {
            twice.push(partition.to_string());
        }
    }
    if !twice.is_empty() {
        return Err(ToolError::message(format!(
            "Replica election data contains duplicate partitions: [{}]",
            twice.join(", ")
        )));
    }
    Ok(partitions)
}

async fn elect(admin: &Admin, unclean: bool, partitions: Option<BTreeSet<TopicPartition>>) -> ToolResult {
    let topics = partitions.map(|partitions| {
        let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for p in partitions {
            topics.entry(p.topic).or_default().push(p.partition);
        }
        let topics = topics.into_iter();
        topics
            .map(|(topic, partitions)| TopicPartitions {
                topic: Str::from(topic),
                partitions,
                ..Default::default()
            })
            .collect()
    });
    let request = ElectLeadersRequest {
        election_type: i8::from(unclean),
        topic_partitions: topics,
        timeout_ms: i32::try_from(admin.client().request_timeout().as_millis()).unwrap_or(i32::MAX),
        ..Default::default()
    };
    let code = |r: &ElectLeadersResponse| ErrorCode::from_code(r.error_code);
    let response = match admin.call_checked(&Target::Controller, &request, code).await {
        Ok(response) => ClientError::check(response.error_code, None).map(|()| response),
        Err(error) => Err(error),
    };
    let response = response.map_err(|error| {
        let text = match error.code() {
            ErrorCode::RequestTimedOut => "Timeout waiting for election results",
            ErrorCode::ClusterAuthorizationFailed => "Not authorized to perform leader election",
            _ => return ToolError::from(error),
        };
        output::remark(text);
        ToolError::message(text)
    })?;
    report(&response, if unclean { "UNCLEAN" } else { "PREFERRED" })
}

fn report(response: &ElectLeadersResponse, kind: &str) -> ToolResult {
    let (mut elected, mut valid, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for topic in &response.replica_election_results {
        for p in &topic.partition_result {
            let name = format!("{}-{}", topic.topic, p.partition_id);
            match ErrorCode::from_code(p.error_code) {
                ErrorCode::None => elected.push(name),
                ErrorCode::ElectionNotNeeded => valid.push(name),
                code => failed.push((name, exception(code, p.error_message.as_deref()))),
            }
        }
    }
    let list = |names: &[String]| serde_json::Value::from(names.to_vec());
    if !elected.is_empty() {
        let names = elected.join(", ");
        let text = format!("Successfully completed leader election ({kind}) for partitions {names}");
        output::fact("elected", list(&elected), text);
    }
    if !valid.is_empty() {
        let text = format!("Valid replica already elected for partitions {}", valid.join(", "));
        output::fact("alreadyElected", list(&valid), text);
    }
    for (name, error) in &failed {
        let text = format!("Error completing leader election ({kind}) for partition: {name}: {error}");
        let entry = Entry::new(text).with("partition", name.as_str()).with("error", error.as_str());
        output::show("failed", entry);
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(ToolError::message(format!("{} replica(s) could not be elected", failed.len())))
}
