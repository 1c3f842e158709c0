//! The process's log, and its levels as the BROKER_LOGGER config resource.

mod kafka_loggers;

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

pub const ROOT: &str = "root";
/// The loggers that exist beside Kafka's: one per part of the program.
const OWN_LOGGERS: [&str; 9] = [
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

fn all_loggers() -> impl Iterator<Item = &'static str> {
    OWN_LOGGERS.into_iter().chain(kafka_loggers::KAFKA_LOGGERS)
}

/// The level that holds for a logger: its own, or that of the nearest package above it, or that of the root.
fn effective<'l>(set: &'l BTreeMap<String, String>, logger: &str) -> &'l str {
    let mut name = logger;
    loop {
        if let Some(level) = set.get(name) {
            return level;
        }
        match name.rfind(['.', '$']) {
            Some(end) => name = &name[..end],
            None => return set.get(ROOT).map_or("INFO", String::as_str),
        }
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
        all_loggers().any(|logger| logger == name)
    }

    /// Every logger with its level; one without a level of its own has that of the nearest package above it.
    pub fn levels(&self) -> BTreeMap<String, String> {
        let set = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        all_loggers().map(|logger| (logger.to_owned(), effective(&set, logger).to_owned())).collect()
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
        // Of two loggers that govern the same target the more particular one comes later, and counts.
        let mut directives = Vec::new();
        for (name, level) in set.iter() {
            let level = if level == "FATAL" { "error".to_owned() } else { level.to_ascii_lowercase() };
            if name == ROOT {
                directives.push(level);
            } else {
                directives
                    .extend(kafka_loggers::targets(name).iter().map(|target| format!("{target}={level}")));
            }
        }
        if let Some(handle) = RELOAD.get() {
            let _ = handle.reload(EnvFilter::builder().parse_lossy(directives.join(",")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logger_has_the_level_of_the_nearest_package_above_it() {
        let loggers = Loggers::default();
        loggers.set("org.apache.kafka", Some("WARN"));
        loggers.set("kafka.log.LogCleaner", Some("TRACE"));
        let levels = loggers.levels();
        assert_eq!(levels["org.apache.kafka.raft.KafkaRaftClient"], "WARN");
        assert_eq!(levels["kafka.log.LogCleaner"], "TRACE");
        assert_eq!(levels["kafka.network.SocketServer"], "INFO");
        loggers.set("kafka.log.LogCleaner", None);
        assert_eq!(loggers.levels()["kafka.log.LogCleaner"], "INFO");
        assert!(loggers.exists("state.change.logger"));
        assert!(!loggers.exists("kafka.log.NoSuchClass"));
    }

    #[test]
    fn every_mapped_name_governs_something_that_logs() {
        assert_eq!(kafka_loggers::targets("org.apache.kafka.raft.QuorumState")[0], "ottla_raft");
        assert!(kafka_loggers::targets("org.apache.kafka.clients.ClientUtils").is_empty());
    }
}
