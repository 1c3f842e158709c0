//! Kafka's command-line tools, by the names of their scripts without `.sh`: the same options, output and exit
//! codes, without a JVM to start.

mod args;
mod connect;
mod error;
mod java;
mod output;
mod tools;

use error::ToolError;

/// Runs a tool and gives its exit code; `None` when there is no tool of that name.
pub fn run(tool: &str, args: &[String]) -> Option<i32> {
    let tool = tool.strip_suffix(".sh").unwrap_or(tool);
    let main = tools::find(tool)?;
    output::start_logging();
    let code = match output::Format::take(args) {
        Ok((format, args)) => {
            output::choose(format);
            main(&args).map_or_else(|error| error.report(), |()| 0)
        }
        Err(value) => ToolError::message(format!("--output is text or json, not '{value}'")).report(),
    };
    output::finish();
    Some(code)
}

/// The names of all tools, in order.
pub fn tools() -> Vec<&'static str> {
    tools::names()
}
