//! The process's log, and its levels as the BROKER_LOGGER config resource.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

pub const ROOT: &str = "root";
/// The loggers that exist: one per part of the program.
const LOGGERS: [&str; 9] = [
    ROOT,
    "kafka",
    "org.apache.kafka",
    "ottla_broker",
    "ottla_coordinator",
    "ottla_metadata",
    "ottla_net",
    "ottla_raft",
    "ottla_storage",
];

static RELOAD: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Starts logging to standard error. `OTTLA_LOG` overrides the level (`debug`, `ottla_net=trace,info`, ...).
pub fn init(default_level: &str) {
    let directives = std::env::var("OTTLA_LOG").unwrap_or_else(|_| default_level.to_owned());
    let filter =
        EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse_lossy(directives);
    let (filter, handle) = reload::Layer::new(filter);
    let format = fmt::layer().with_writer(std::io::stderr).with_target(true).with_ansi(false);
    if tracing_subscriber::registry().with(filter).with(format).try_init().is_ok() {
        let _ = RELOAD.set(handle);
    }
}

/// Levels by logger name, as set through BROKER_LOGGER.
#[derive(Debug)]
pub struct Loggers {
    levels: Mutex<BTreeMap<String, String>>,
}

impl Default for Loggers {
    fn default() -> Self {
        Loggers { levels: Mutex::new(BTreeMap::from([(ROOT.to_owned(), "INFO".to_owned())])) }
    }
}

impl Loggers {
    pub fn exists(&self, name: &str) -> bool {
        LOGGERS.contains(&name)
    }

    /// Every logger with its level; one without a level of its own has that of the root.
    pub fn levels(&self) -> BTreeMap<String, String> {
        let set = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let root = set.get(ROOT).cloned().unwrap_or_else(|| "INFO".to_owned());
        LOGGERS
            .iter()
            .map(|l| ((*l).to_owned(), set.get(*l).cloned().unwrap_or_else(|| root.clone())))
            .collect()
    }

    /// Whether Kafka knows the level.
    pub fn is_level(level: &str) -> bool {
        matches!(level, "TRACE" | "DEBUG" | "INFO" | "WARN" | "ERROR" | "FATAL" | "OFF")
    }

    /// Sets the level of a logger, or with None gives it that of the root again.
    pub fn set(&self, name: &str, level: Option<&str>) {
        let mut set = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        match level {
            Some(level) => set.insert(name.to_owned(), level.to_owned()),
            None => set.remove(name),
        };
        let directives: Vec<String> = set
            .iter()
            .map(|(name, level)| {
                let level = match level.as_str() {
                    "FATAL" => "error".to_owned(),
                    other => other.to_ascii_lowercase(),
                };
                if name == ROOT { level } else { format!("{name}={level}") }
            })
            .collect();
        if let Some(handle) = RELOAD.get() {
            let _ = handle.reload(EnvFilter::builder().parse_lossy(directives.join(",")));
        }
    }
}
