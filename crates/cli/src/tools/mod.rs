//! One folder or file per tool.

mod configs;
mod console_producer;
mod dump_log;
pub(crate) mod storage;
mod topic_filter;
mod topics;

use crate::error::ToolResult;

type Main = fn(&[String]) -> ToolResult;

const TOOLS: &[(&str, Main)] = &[
    ("kafka-configs", configs::main),
    ("kafka-console-producer", console_producer::main),
    ("kafka-dump-log", dump_log::main),
    ("kafka-topics", topics::main),
];

pub fn find(name: &str) -> Option<Main> {
    TOOLS.iter().find(|(n, _)| *n == name).map(|(_, main)| *main)
}

pub fn names() -> Vec<&'static str> {
    TOOLS.iter().map(|(n, _)| *n).collect()
}
