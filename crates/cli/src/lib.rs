//! Ottla: the command-line tools, by Kafka's names and options.

pub mod tools;

/// Runs a tool by its name; None when there is no such tool.
pub fn run(tool: &str, args: &[String]) -> Option<i32> {
    match tool {
        "kafka-storage" => Some(tools::storage::run(args)),
        _ => None,
    }
}
