//! `kafka-metadata-quorum`: the quorum of controllers. Source: Kafka `MetadataQuorumCommand`.

mod controllers;

use std::time::{SystemTime, UNIX_EPOCH};

use ottla_client::{Admin, ClientError, Target};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_quorum_request::{
    PartitionData as RequestPartition, TopicData as RequestTopic,
};
use ottla_protocol::messages::describe_quorum_response::{PartitionData, ReplicaState};
use ottla_protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use ottla_protocol::types::{Str, Uuid};
use serde_json::Value;

use super::java_text::pretty_table;
use crate::args::{Parsed, Parser, Style};
use crate::connect;
use crate::error::{ToolError, ToolResult};
use crate::output::{self, Cell};

const TOPIC: &str = "__cluster_metadata";
const COMMANDS: &[&str] = &["describe", "add-controller", "remove-controller"];

fn parser() -> Parser {
    Parser::new("This tool describes kraft metadata quorum status. Commands: describe, add-controller, remove-controller.")
        .style(Style::Argparse)
        .positional()
        .text("bootstrap-server", "BOOTSTRAP_SERVER", "A comma-separated list of host:port pairs to use for establishing the connection to the Kafka cluster.")
        .text("bootstrap-controller", "BOOTSTRAP_CONTROLLER", "A comma-separated list of host:port pairs to use for establishing the connection to the Kafka controllers.")
        .text("command-config", "COMMAND_CONFIG", "Property file containing configs to be passed to Admin Client. For add-controller, the file is used to specify the controller properties as well.")
        .flag("status", "describe: A short summary of the quorum status.")
        .flag("replication", "describe: Detailed information about the status of replication.")
        .flag("human-readable", "describe --replication: Human-readable output.")
        .flag("dry-run", "add-controller, remove-controller: True if we should print what would be done, but not do it.")
        .int("controller-id", "CONTROLLER_ID", "remove-controller: The id of the controller to remove.")
        .text("controller-directory-id", "CONTROLLER_DIRECTORY_ID", "remove-controller: The directory ID of the controller to remove.")
        .flag("unregister", "remove-controller: If set, also unregister the controller after successfully removing it from the voter set.")
        .alias("i", "controller-id")
        .alias("d", "controller-directory-id")
        .alias("h", "help")
}

pub fn main(args: &[String]) -> ToolResult {
    let parser = parser();
    let options = parser.parse(args)?;
    let [command] = options.words() else {
        return Err(parser.usage("too few arguments"));
    };
    if !COMMANDS.contains(&command.as_str()) {
        return Err(
            parser.usage(format!("invalid choice: '{command}' (choose from {})", COMMANDS.join(", ")))
        );
    }
    if options.has("bootstrap-server") == options.has("bootstrap-controller") {
        return Err(
            parser.usage("one of the arguments --bootstrap-server --bootstrap-controller is required")
        );
    }
    if command == "remove-controller" {
        parser.require(&options, &["controller-id", "controller-directory-id"])?;
    }
    let admin = connect::admin(&options)?;
    connect::block_on(async {
        match command.as_str() {
            "describe" => describe(&admin, &options).await,
            "add-controller" => controllers::add(&admin, &options).await,
            _ => controllers::remove(&admin, &options).await,
        }
    })
}

async fn describe(admin: &Admin, options: &Parsed) -> ToolResult {
    match (options.has("status"), options.has("replication")) {
        (true, true) => Err(ToolError::message(
            "Only one of --status or --replication should be specified with describe sub-command",
        )),
        (false, false) => Err(ToolError::message(
            "One of --status or --replication must be specified with describe sub-command",
        )),
        (true, false) if options.has("human-readable") => {
            Err(ToolError::message("The option --human-readable is only supported along with --replication"))
        }
        (true, false) => status(admin).await,
        (false, true) => replication(admin, options.has("human-readable")).await,
    }
}

async fn quorum(admin: &Admin) -> Result<(DescribeQuorumResponse, PartitionData), ToolError> {
    let request = DescribeQuorumRequest {
        topics: vec![RequestTopic {
            topic_name: Str::from_static(TOPIC),
            partitions: vec![RequestPartition { partition_index: 0, ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let code = |r: &DescribeQuorumResponse| ErrorCode::from_code(r.error_code);
    let response = admin.call_checked(&Target::Any, &request, code).await?;
    ClientError::check(response.error_code, response.error_message.as_deref())?;
    let partition = response.topics.first().and_then(|t| t.partitions.first()).cloned();
    let partition = partition
        .ok_or_else(|| ToolError::message("DescribeMetadataQuorum received 0 topics when 1 was expected"))?;
    ClientError::check(partition.error_code, partition.error_message.as_deref())?;
    Ok((response, partition))
}

fn leader(partition: &PartitionData) -> Result<&ReplicaState, ToolError> {
    partition
        .current_voters
        .iter()
        .find(|v| v.replica_id == partition.leader_id)
        .ok_or_else(|| ToolError::message("No value present"))
}

async fn status(admin: &Admin) -> ToolResult {
    let cluster = admin.describe_cluster(false).await?;
    let (response, partition) = quorum(admin).await?;
    let leader = leader(&partition)?;
    let behind = partition.current_voters.iter().min_by_key(|v| v.log_end_offset).unwrap_or(leader);
    let lag_ms = if behind == leader {
        0
    } else if leader.last_caught_up_timestamp >= 0 && behind.last_caught_up_timestamp >= 0 {
        leader.last_caught_up_timestamp - behind.last_caught_up_timestamp
    } else {
        -1
    };
    let lag = leader.log_end_offset - behind.log_end_offset;
    let id = cluster.cluster_id.to_string();
    let facts: [(&str, &str, Value); 6] = [
        ("ClusterId", "clusterId", id.into()),
        ("LeaderId", "leaderId", partition.leader_id.into()),
        ("LeaderEpoch", "leaderEpoch", partition.leader_epoch.into()),
        ("HighWatermark", "highWatermark", partition.high_watermark.into()),
        ("MaxFollowerLag", "maxFollowerLag", lag.into()),
        ("MaxFollowerLagTimeMs", "maxFollowerLagTimeMs", lag_ms.into()),
    ];
    let line = |name: &str, value: &str| format!("{:<24}{value}", format!("{name}:"));
    for (name, key, value) in facts {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        output::fact(key, value, line(name, &text));
    }
    for (name, key, replicas) in [
        ("CurrentVoters", "currentVoters", &partition.current_voters),
        ("CurrentObservers", "currentObservers", &partition.observers),
    ] {
        let text = replicas_text(&response, replicas);
        let value = serde_json::from_str(&text).unwrap_or_else(|_| Value::from(text.as_str()));
        output::fact(key, value, line(name, &text));
    }
    Ok(())
}

fn replicas_text(response: &DescribeQuorumResponse, replicas: &[ReplicaState]) -> String {
    let texts = replicas.iter().map(|replica| {
        let mut text = format!("{{\"id\": {}", replica.replica_id);
        if replica.replica_directory_id != Uuid::ZERO {
            text.push_str(&format!(", \"directoryId\": \"{}\"", replica.replica_directory_id));
        }
        let node = response.nodes.iter().find(|n| n.node_id == replica.replica_id);
        let endpoints: Vec<String> = node
            .into_iter()
            .flat_map(|n| &n.listeners)
            .map(|l| format!("\"{}://{}:{}\"", l.name, bracketed(&l.host), l.port))
            .collect();
        if !endpoints.is_empty() {
            text.push_str(&format!(", \"endpoints\": [{}]", endpoints.join(", ")));
        }
        text + "}"
    });
    format!("[{}]", texts.collect::<Vec<_>>().join(", "))
}

/// An IPv6 address in brackets.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

async fn replication(admin: &Admin, human: bool) -> ToolResult {
    let (_, partition) = quorum(admin).await?;
    let leader = leader(&partition)?;
    let mut table = pretty_table(&[
        ("NodeId", "nodeId"),
        ("DirectoryId", "directoryId"),
        ("LogEndOffset", "logEndOffset"),
        ("Lag", "lag"),
        ("LastFetchTimestamp", "lastFetchTimestamp"),
        ("LastCaughtUpTimestamp", "lastCaughtUpTimestamp"),
        ("Status", "status"),
    ]);
    let followers = partition.current_voters.iter().filter(|v| v.replica_id != partition.leader_id);
    let all = std::iter::once((leader, "Leader"))
        .chain(followers.map(|f| (f, "Follower")))
        .chain(partition.observers.iter().map(|o| (o, "Observer")));
    for (replica, role) in all {
        let time = |timestamp: i64, what: &str| {
            Ok::<_, ToolError>(Cell::new(time_text(timestamp, human, what)?, timestamp))
        };
        table.row(vec![
            replica.replica_id.into(),
            replica.replica_directory_id.to_string().into(),
            replica.log_end_offset.into(),
            (leader.log_end_offset - replica.log_end_offset).into(),
            time(replica.last_fetch_timestamp, "last fetch")?,
            time(replica.last_caught_up_timestamp, "last caught up")?,
            role.into(),
        ]);
    }
    output::table("replicas", &table);
    Ok(())
}

fn time_text(timestamp: i64, human: bool, what: &str) -> Result<String, ToolError> {
    if timestamp < 0 {
        return Ok("-1".to_owned());
    }
    if !human {
        return Ok(timestamp.to_string());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
    if timestamp == 0 || timestamp > now {
        return Err(ToolError::message(format!(
            "Error while computing relative time, possible drift in system clock.\nCurrent timestamp is {now}, \
             {what} timestamp is {timestamp}"
        )));
    }
    Ok(format!("{} ms ago", now - timestamp))
}
