//! `kafka-storage`: formats the directories of a node, and tells about them.

mod arguments;
mod describe;
mod format;

use std::fmt;

use ottla_metadata::config::{ProviderKind, RawConfig, StaticConfig, parse_properties};
use ottla_protocol::types::Uuid;

use crate::output;
use arguments::{Command, parse};

/// What went wrong, in words for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(e: E) -> Self {
        Failure(e.to_string())
    }
}

/// Runs the tool. `args` are those after the tool's name.
pub fn run(args: &[String]) -> i32 {
    let command = match parse(args) {
        Ok(command) => command,
        Err(arguments::Refusal::Help(text)) => {
            output::line(text);
            return 0;
        }
        Err(arguments::Refusal::Usage(text)) => {
            output::error(&text, "");
            return 1;
        }
    };
    let result = match command {
        Command::Info { config } => describe::info(&config),
        Command::Format(options) => format::format(&options),
        Command::VersionMapping { release } => describe::version_mapping(release.as_deref()),
        Command::FeatureDependencies { features } => describe::feature_dependencies(&features),
        Command::RandomUuid => {
            let id = random_uuid().to_string();
            output::fact("uuid", id.as_str(), id.clone());
            Ok(0)
        }
    };
    match result {
        Ok(code) => code,
        Err(e) => {
            output::error(&e.0, "");
            1
        }
    }
}

fn random_u64() -> u64 {
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes).expect("the system has a source of randomness");
    u64::from_ne_bytes(bytes)
}

/// A random id as Kafka makes them: none that is reserved, none whose text starts with a dash.
fn random_uuid() -> Uuid {
    loop {
        let mut bytes = [0u8; 16];
        bytes[..8].copy_from_slice(&random_u64().to_be_bytes());
        bytes[8..].copy_from_slice(&random_u64().to_be_bytes());
        let id = Uuid::from_random(bytes);
        if !id.is_reserved() && !id.to_string().starts_with('-') {
            return id;
        }
    }
}

/// Reads a `server.properties`.
pub(super) fn load_config(path: &str) -> Result<StaticConfig, Failure> {
    let text = std::fs::read(path)
        .map_err(|e| Failure(format!("Unable to read the configuration file {path}: {e}")))?;
    let mut raw = RawConfig::new();
    raw.load(path, &String::from_utf8_lossy(&text))?;
    let config = StaticConfig::build(&raw, &mut |kind, path, key| match kind {
        ProviderKind::Environment => std::env::var(key).ok(),
        ProviderKind::File => {
            let text = std::fs::read_to_string(path).ok()?;
            let all = parse_properties(&text).ok()?;
            all.into_iter().rev().find(|p| p.key == key).map(|p| p.value)
        }
        ProviderKind::Directory => std::fs::read_to_string(format!("{path}/{key}")).ok(),
    })?;
    Ok(config)
}

/// Every directory of a node, sorted.
fn directories(config: &StaticConfig) -> Vec<String> {
    let mut out = config.log_dirs.clone();
    out.push(config.metadata_log_dir.clone());
    out.sort();
    out.dedup();
    out
}

#[cfg(test)]
mod tests;
