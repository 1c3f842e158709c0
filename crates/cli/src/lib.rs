//! Kafka's command-line tools, by the names of their scripts without `.sh`: the same options, output and exit
//! codes, without a JVM to start.

mod args;
mod connect;
mod error;
mod java;
mod output;
mod tools;

/// Runs a tool and gives its exit code; `None` when there is no tool of that name.
pub fn run(tool: &str, args: &[String]) -> Option<i32> {
    let tool = tool.strip_suffix(".sh").unwrap_or(tool);
    let main = tools::find(tool)?;
    output::start_logging();
    let code = match main(args) {
        Ok(()) => 0,
        Err(error) => error.report(),
    };
    output::flush();
    Some(code)
}

/// The names of all tools, in order.
pub fn tools() -> Vec<&'static str> {
    tools::names()
}
