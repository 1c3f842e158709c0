//! One folder or file per tool.

mod acls;
mod broker_api_versions;
mod check;
mod cluster;
mod configs;
mod console_consumer;
mod console_producer;
mod consumer_groups;
mod consumer_perf;
mod delete_records;
mod dump_log;
mod e2e_latency;
mod features;
mod get_offsets;
mod groups;
mod java_text;
mod leader_election;
mod log_dirs;
mod producer_perf;
mod quorum;
mod storage;
mod topic_filter;
mod topics;
mod transactions;

use crate::error::{ToolError, ToolResult};

type Main = fn(&[String]) -> ToolResult;

const TOOLS: &[(&str, Main)] = &[
    ("kafka-acls", acls::main),
    ("kafka-broker-api-versions", broker_api_versions::main),
    ("kafka-cluster", cluster::main),
    ("kafka-configs", configs::main),
    ("kafka-console-consumer", console_consumer::main),
    ("kafka-console-producer", console_producer::main),
    ("kafka-consumer-groups", consumer_groups::main),
    ("kafka-consumer-perf-test", consumer_perf::main),
    ("kafka-delete-records", delete_records::main),
    ("kafka-dump-log", dump_log::main),
    ("kafka-e2e-latency", e2e_latency::main),
    ("kafka-features", features::main),
    ("kafka-get-offsets", get_offsets::main),
    ("kafka-groups", groups::main),
    ("kafka-leader-election", leader_election::main),
    ("kafka-log-dirs", log_dirs::main),
    ("kafka-metadata-quorum", quorum::main),
    ("kafka-producer-perf-test", producer_perf::main),
    ("kafka-storage", storage_main),
    ("kafka-topics", topics::main),
    ("kafka-transactions", transactions::main),
    ("storage", check::main),
];

fn storage_main(args: &[String]) -> ToolResult {
    match storage::run(args) {
        0 => Ok(()),
        code => Err(ToolError::Exit(code)),
    }
}

pub fn find(name: &str) -> Option<Main> {
    TOOLS.iter().find(|(n, _)| *n == name).map(|(_, main)| *main)
}

pub fn names() -> Vec<&'static str> {
    TOOLS.iter().map(|(n, _)| *n).collect()
}
