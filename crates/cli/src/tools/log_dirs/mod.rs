//! `kafka-log-dirs`: directories of brokers and what is in them, as JSON. Source: Kafka `LogDirsCommand`.

use std::collections::BTreeSet;

use ottla_client::{ClientError, Target};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_log_dirs_response::DescribeLogDirsResult;
use ottla_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use serde_json::Value;

use super::java_text::{exception, json_string};
use crate::args::Parser;
use crate::connect;
use crate::error::{ToolError, ToolResult};
use crate::output::{self, Entry};

fn parser() -> Parser {
    Parser::new("This tool helps to query log directory usage on the specified brokers.")
        .bootstrap()
        .flag("describe", "Describe the specified log directories on the specified brokers.")
        .text("topic-list", "Topic list", "The list of topics to be queried in the form \"topic1,topic2,topic3\". All topics will be queried if no topic list is specified (default: )")
        .text("broker-list", "Broker list", "The list of brokers to be queried in the form \"0,1,2\". All brokers in the cluster will be queried if no broker list is specified (default: )")
}

fn joined(ids: &BTreeSet<i32>) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

pub fn main(args: &[String]) -> ToolResult {
    let parser = parser();
    let options = parser.parse(args)?;
    parser.require(&options, &["bootstrap-server", "describe"])?;
    let list = |name| options.text(name).unwrap_or_default().split(',').filter(|w| !w.is_empty());
    let topics: BTreeSet<&str> = list("topic-list").collect();
    let mut wanted = BTreeSet::new();
    for word in list("broker-list") {
        wanted.insert(
            word.parse::<i32>().map_err(|_| ToolError::message(format!("For input string: \"{word}\"")))?,
        );
    }
    let admin = connect::admin(&options)?;
    connect::block_on(async {
        let known: BTreeSet<i32> =
            admin.describe_cluster(false).await?.brokers.iter().map(|b| b.broker_id).collect();
        let missing: BTreeSet<i32> = wanted.difference(&known).copied().collect();
        if !missing.is_empty() {
            return Err(ToolError::message(format!(
                "ERROR: The given brokers do not exist from --broker-list: {}. Current existent brokers: {}",
                joined(&missing),
                joined(&known)
            )));
        }
        let brokers = if wanted.is_empty() { known } else { wanted.clone() };
        output::remark("Querying brokers for log directories information");
        let mut texts = Vec::new();
        for id in &brokers {
            let request = DescribeLogDirsRequest { topics: None, ..Default::default() };
            let code = |r: &DescribeLogDirsResponse| ErrorCode::from_code(r.error_code);
            let response = admin.call_checked(&Target::Node(*id), &request, code).await?;
            ClientError::check(response.error_code, None)?;
            let dirs: Vec<String> = response.results.iter().map(|dir| dir_json(dir, &topics)).collect();
            texts.push(format!(r#"{{"broker":{id},"logDirs":[{}]}}"#, dirs.join(",")));
        }
        output::remark(format!("Received log directory information from brokers {}", joined(&brokers)));
        // The tool speaks JSON anyway; the keys stand in the order in which Kafka's has them.
        let text = format!(r#"{{"brokers":[{}],"version":1}}"#, texts.join(","));
        let brokers: Value = serde_json::from_str(&format!("[{}]", texts.join(","))).unwrap_or_default();
        output::only(Entry::new(text).with("brokers", brokers).with("version", 1));
        Ok(())
    })
}

/// A directory, its keys in the order in which Kafka's tool has them.
fn dir_json(dir: &DescribeLogDirsResult, topics: &BTreeSet<&str>) -> String {
    let mut partitions = Vec::new();
    for topic in dir.topics.iter().filter(|t| topics.is_empty() || topics.contains(&*t.name)) {
        for p in &topic.partitions {
            partitions.push(format!(
                r#"{{"partition":{},"size":{},"offsetLag":{},"isFuture":{}}}"#,
                json_string(&format!("{}-{}", topic.name, p.partition_index)),
                p.partition_size,
                p.offset_lag,
                p.is_future_key
            ));
        }
    }
    let error = match ErrorCode::from_code(dir.error_code) {
        ErrorCode::None => "null".to_owned(),
        code => json_string(exception(code, None).split(':').next().unwrap_or_default()),
    };
    format!(
        r#"{{"partitions":[{}],"error":{error},"logDir":{}}}"#,
        partitions.join(","),
        json_string(&dir.log_dir)
    )
}
