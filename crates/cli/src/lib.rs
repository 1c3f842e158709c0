//! Ottla: cli.

/// Runs a tool by its name; None when there is no such tool.
pub fn run(_tool: &str, _args: &[String]) -> Option<i32> {
    None
}
