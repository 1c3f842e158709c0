//! From options to a client: bootstrap addresses, property files and single properties.

use std::future::Future;

use ottla_client::{Admin, ClientConfig, parse_properties};

use crate::args::Parsed;
use crate::error::ToolError;

/// Reads a file of Java properties.
pub fn load_properties(path: &str) -> Result<Vec<(String, String)>, ToolError> {
    let text = std::fs::read(path).map_err(|e| ToolError::message(format!("{path}: {e}")))?;
    // Java reads properties as ISO 8859-1; files of ours are UTF-8, and both agree on ASCII.
    Ok(parse_properties(&String::from_utf8_lossy(&text)))
}

/// `key=value` words; a key without a value has the empty one.
pub fn key_values(words: &[&str]) -> Vec<(String, String)> {
    words
        .iter()
        .map(|word| word.split_once('=').unwrap_or((word, "")))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The configuration of an admin client: `--command-config`, `--command-property`, and the addresses.
pub fn admin_config(options: &Parsed) -> Result<ClientConfig, ToolError> {
    let mut config = ClientConfig::new();
    if let Some(path) = options.text("command-config") {
        config.extend(load_properties(path)?);
    }
    config.extend(key_values(&options.texts("command-property")));
    match (options.text("bootstrap-server"), options.text("bootstrap-controller")) {
        (Some(_), Some(_)) => {
            return Err(ToolError::message(
                "You cannot specify both --bootstrap-controller and --bootstrap-server.",
            ));
        }
        (Some(servers), None) => {
            config.remove("bootstrap.controllers");
            config.set("bootstrap.servers", servers);
        }
        (None, Some(controllers)) => {
            config.remove("bootstrap.servers");
            config.set("bootstrap.controllers", controllers);
        }
        (None, None) => {}
    }
    Ok(config)
}

/// An admin client by the options of a tool.
pub fn admin(options: &Parsed) -> Result<Admin, ToolError> {
    Ok(Admin::new(&admin_config(options)?)?)
}

/// Runs a tool's work to its end.
pub fn block_on<T>(work: impl Future<Output = Result<T, ToolError>>) -> Result<T, ToolError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| ToolError::message(format!("cannot start: {e}")))?;
    let result = runtime.block_on(work);
    // Connections and background tasks end with the process; nobody waits for them.
    runtime.shutdown_background();
    result
}
