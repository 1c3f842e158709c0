//! One folder or file per tool.

mod configs;
mod console_consumer;
mod console_producer;
mod delete_records;
mod get_offsets;
pub(crate) mod storage;
mod topic_filter;
mod topics;

use crate::error::ToolResult;

type Main = fn(&[String]) -> ToolResult;

const TOOLS: &[(&str, Main)] = &[
    ("kafka-configs", configs::main),
    ("kafka-console-consumer", console_consumer::main),
    ("kafka-console-producer", console_producer::main),
    ("kafka-delete-records", delete_records::main),
    ("kafka-get-offsets", get_offsets::main),
    ("kafka-storage", storage_main),
    ("kafka-topics", topics::main),
];

fn storage_main(args: &[String]) -> ToolResult {
    match storage::run(args) {
        0 => Ok(()),
        code => Err(crate::error::ToolError::Exit(code)),
    }
}

pub fn find(name: &str) -> Option<Main> {
    TOOLS.iter().find(|(n, _)| *n == name).map(|(_, main)| *main)
}

pub fn names() -> Vec<&'static str> {
    TOOLS.iter().map(|(n, _)| *n).collect()
}
