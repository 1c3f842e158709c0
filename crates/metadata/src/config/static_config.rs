//! A node's configuration as it starts: the file, overrides, defaults, and what follows from them.

use std::collections::BTreeMap;
use std::fmt;

use super::keys_broker::BROKER_KEYS;
use super::listeners::{Endpoint, SecurityProtocol, normalised_listener};
use super::properties::parse_properties;
use super::providers::{Resolver, declared_providers, resolve_variables};
use super::roles::resolve_topology;
use super::table::{ConfigDefault, DynamicMode, broker_key, broker_key_index, listener_key_base};
use super::value::{ConfigError, ConfigValue, VoterAddress, default_value, parse_value, valid_values};

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    File {
        name: String,
        line: u32,
    },
    /// `--override`.
    Override,
    /// Set by the program, as in a node without a file.
    Program,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { name, line } => write!(f, "{name}:{line}"),
            Origin::Override => f.write_str("--override"),
            Origin::Program => f.write_str("built-in"),
        }
    }
}

/// A value before it is parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEntry {
    pub value: String,
    pub origin: Origin,
}

/// Values collected from files and overrides; later ones win.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawConfig {
    entries: BTreeMap<String, RawEntry>,
}

impl RawConfig {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the content of a properties file.
    pub fn load(&mut self, file: &str, text: &str) -> Result<(), StartError> {
        let properties = parse_properties(text).map_err(|e| StartError {
            error: ConfigError::Rule(e.to_string()),
            key: None,
            allowed: Box::default(),
            origin: Some(Box::new(Origin::File { name: file.to_owned(), line: e.line })),
        })?;
        for p in properties {
            let origin = Origin::File { name: file.to_owned(), line: p.line };
            self.set(&p.key, &p.value, origin);
        }
        Ok(())
    }

    /// Adds one `key=value` of the command line. Without `=`, or without a value, it is refused with
    /// the text that Kafka's `--override` gives.
    pub fn load_override(&mut self, argument: &str) -> Result<(), StartError> {
        match argument.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                self.set(key, value, Origin::Override);
                Ok(())
            }
            _ => Err(StartError {
                error: ConfigError::Rule(format!("Invalid command line properties: {argument}")),
                key: None,
                allowed: Box::default(),
                origin: Some(Box::new(Origin::Override)),
            }),
        }
    }

    pub fn set(&mut self, key: &str, value: &str, origin: Origin) {
        let value = value.to_owned();
        self.entries.insert(key.to_owned(), RawEntry { value, origin });
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.get(key).map(|e| e.value.as_str())
    }

    pub fn entries(&self) -> impl Iterator<Item = (&str, &RawEntry)> {
        self.entries.iter().map(|(k, v)| (k.as_str(), v))
    }
}

/// What stops a start: Kafka's words, then what is allowed and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError {
    pub error: ConfigError,
    pub key: Option<String>,
    /// Kafka's notation of the accepted values; empty where any is.
    pub allowed: Box<str>,
    pub origin: Option<Box<Origin>>,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        let mut notes = Vec::new();
        if !self.allowed.is_empty() {
            notes.push(format!("allowed: {}", self.allowed));
        }
        if let Some(origin) = &self.origin {
            notes.push(format!("at {origin}"));
        }
        if notes.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", notes.join("; "))
    }
}

impl std::error::Error for StartError {}

/// What to tell the operator at the start without stopping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigWarning {
    /// No such key.
    Unknown { key: String, origin: Origin },
    /// The key is Kafka's but cannot mean anything here.
    Ignored { key: String, origin: Origin, why: &'static str },
    /// Kafka warns of it too.
    Notice(String),
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigWarning::Unknown { key, origin } => {
                write!(f, "unknown configuration key {key} ({origin})")
            }
            ConfigWarning::Ignored { key, origin, why } => {
                write!(f, "{key} is accepted and ignored: {why} ({origin})")
            }
            ConfigWarning::Notice(text) => f.write_str(text),
        }
    }
}

const JVM_CLASS: &str = "it names a Java class";
const JVM_SECURITY: &str = "it configures Java's security providers";

/// Keys that have a meaning only inside a JVM.
fn why_ignored(key: &str) -> Option<&'static str> {
    Some(match key {
        "alter.config.policy.class.name"
        | "create.topic.policy.class.name"
        | "client.quota.callback.class"
        | "metric.reporters"
        | "kafka.metrics.reporters"
        | "kafka.metrics.polling.interval.secs"
        | "sasl.client.callback.handler.class"
        | "sasl.login.callback.handler.class"
        | "sasl.login.class"
        | "sasl.server.callback.handler.class"
        | "ssl.engine.factory.class"
        | "group.streams.topology.description.plugin.class"
        | "group.share.dlq.manager.class.name"
        | "group.share.persister.class.name"
        | "remote.log.metadata.manager.class.path"
        | "remote.log.storage.manager.class.path" => JVM_CLASS,
        "security.providers"
        | "ssl.provider"
        | "ssl.secure.random.implementation"
        | "ssl.keymanager.algorithm"
        | "ssl.trustmanager.algorithm" => JVM_SECURITY,
        _ => return None,
    })
}

/// Prefixes of keys that belong to a plugin and are handed to it unread.
const PLUGIN_PREFIXES: &[&str] = &["config.providers.", "rlmm.config.", "rsm.config."];

/// The roles of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    pub broker: bool,
    pub controller: bool,
}

impl Roles {
    pub fn is_combined(self) -> bool {
        self.broker && self.controller
    }
}

/// A node's resolved configuration. Typed fields for what the node is, `get_*` for every key.
#[derive(Debug, Clone, PartialEq)]
pub struct StaticConfig {
    /// Values by position in [`BROKER_KEYS`].
    pub(super) values: Vec<ConfigValue>,
    /// What was set, by name; listener and plugin keys included. Variables are resolved.
    pub(super) explicit: BTreeMap<String, String>,
    pub warnings: Vec<ConfigWarning>,
    pub roles: Roles,
    pub node_id: i32,
    /// `log.dirs`, else `log.dir`.
    pub log_dirs: Vec<String>,
    /// `metadata.log.dir`, else the first of `log_dirs`.
    pub metadata_log_dir: String,
    /// Every entry of `listeners`.
    pub listeners: Vec<Endpoint>,
    /// The broker's listeners as clients are told.
    pub advertised_broker_listeners: Vec<Endpoint>,
    pub advertised_controller_listeners: Vec<Endpoint>,
    /// As written; the first is used to reach controllers.
    pub controller_listener_names: Vec<String>,
    pub inter_broker_listener_name: String,
    pub inter_broker_security_protocol: SecurityProtocol,
    /// By listener name in upper case.
    pub listener_security_protocols: BTreeMap<String, SecurityProtocol>,
    /// Static voters; empty in a dynamic quorum.
    pub quorum_voters: Vec<VoterAddress>,
    pub quorum_bootstrap_servers: Vec<(String, u16)>,
    pub rack: Option<String>,
}

impl StaticConfig {
    /// Parses and checks everything. `resolver` answers `${...}` variables.
    pub fn build(raw: &RawConfig, resolver: &mut Resolver<'_>) -> Result<Self, StartError> {
        let mut explicit: BTreeMap<String, String> =
            raw.entries().map(|(k, e)| (k.to_owned(), e.value.clone())).collect();
        let providers = declared_providers(&explicit).map_err(|e| locate(e, raw))?;
        if !providers.is_empty() {
            for value in explicit.values_mut() {
                *value = resolve_variables(value, &providers, resolver);
            }
        }
        // `broker.id` is the old name of `node.id`: either one stands for both.
        match (explicit.get("broker.id"), explicit.get("node.id")) {
            (None, Some(id)) => drop(explicit.insert("broker.id".to_owned(), id.clone())),
            (Some(id), None) => drop(explicit.insert("node.id".to_owned(), id.clone())),
            _ => {}
        }
        let (values, mut warnings) = parse_all(raw, &explicit)?;
        let resolved = resolve_topology(&values, &explicit, &mut warnings).map_err(|e| locate(e, raw))?;
        Ok(StaticConfig { values, explicit, warnings, ..resolved })
    }

    /// The parsed value of a key of the table.
    ///
    /// # Panics
    /// If there is no such key: the name is written in the program.
    pub fn value(&self, name: &str) -> &ConfigValue {
        let index = broker_key_index(name).unwrap_or_else(|| panic!("no configuration key {name}"));
        &self.values[index]
    }

    /// The value of a key for one listener: `listener.name.<listener>.<name>` where set, else the
    /// key's own value.
    pub fn listener_value(&self, listener: &str, name: &str) -> ConfigValue {
        let own = format!("listener.name.{}.{name}", listener.to_lowercase());
        match (self.explicit.get(&own), broker_key(name)) {
            (Some(text), Some(key)) => parse_value(key, text).unwrap_or_else(|_| self.value(name).clone()),
            _ => self.value(name).clone(),
        }
    }

    /// BOOLEAN. A missing value is false.
    pub fn get_bool(&self, name: &str) -> bool {
        match self.value(name) {
            ConfigValue::Boolean(v) => *v,
            ConfigValue::Null => false,
            v => panic!("{name} is not a BOOLEAN: {v}"),
        }
    }

    /// INT and SHORT keys; `None` where the value is missing.
    pub fn get_int_opt(&self, name: &str) -> Option<i32> {
        match self.value(name) {
            ConfigValue::Int(v) => Some(*v),
            ConfigValue::Short(v) => Some(i32::from(*v)),
            ConfigValue::Null => None,
            v => panic!("{name} is not an INT: {v}"),
        }
    }

    /// INT and SHORT keys that have a default.
    pub fn get_int(&self, name: &str) -> i32 {
        self.get_int_opt(name).unwrap_or_else(|| panic!("{name} has no value"))
    }

    /// LONG, INT and SHORT keys; `None` where the value is missing.
    pub fn get_long_opt(&self, name: &str) -> Option<i64> {
        match self.value(name) {
            ConfigValue::Long(v) => Some(*v),
            ConfigValue::Int(v) => Some(i64::from(*v)),
            ConfigValue::Short(v) => Some(i64::from(*v)),
            ConfigValue::Null => None,
            v => panic!("{name} is not a LONG: {v}"),
        }
    }

    /// LONG, INT and SHORT keys that have a default.
    pub fn get_long(&self, name: &str) -> i64 {
        self.get_long_opt(name).unwrap_or_else(|| panic!("{name} has no value"))
    }

    pub fn get_double(&self, name: &str) -> f64 {
        match self.value(name) {
            ConfigValue::Double(v) => *v,
            v => panic!("{name} is not a DOUBLE: {v}"),
        }
    }

    /// STRING, CLASS and PASSWORD keys.
    pub fn get_string(&self, name: &str) -> Option<&str> {
        match self.value(name) {
            ConfigValue::Text(v) => Some(v),
            ConfigValue::Null => None,
            v => panic!("{name} is not a STRING: {v}"),
        }
    }

    /// LIST keys; a missing value is empty.
    pub fn get_list(&self, name: &str) -> &[String] {
        match self.value(name) {
            ConfigValue::List(v) => v,
            ConfigValue::Null => &[],
            v => panic!("{name} is not a LIST: {v}"),
        }
    }

    /// The text that was set for a name (also of a listener or a plugin), if any was.
    pub fn explicit(&self, name: &str) -> Option<&str> {
        self.explicit.get(name).map(String::as_str)
    }

    /// Everything that was set, by name.
    pub fn explicit_entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.explicit.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// This configuration with the broker's dynamic ones laid over it: first the cluster's default,
    /// then the broker's own. Values that are not valid are left out, as Kafka does.
    pub fn with_dynamic<'a>(
        &self,
        cluster_default: impl Iterator<Item = (&'a str, &'a str)>,
        per_broker: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> StaticConfig {
        let mut out = self.clone();
        for (name, text) in cluster_default {
            let allowed = broker_key(name).is_some_and(|k| k.dynamic != DynamicMode::PerBroker);
            if allowed {
                out.set_dynamic(name, text);
            }
        }
        for (name, text) in per_broker {
            out.set_dynamic(name, text);
        }
        out
    }

    fn set_dynamic(&mut self, name: &str, text: &str) {
        if let Some(base) = listener_key_base(name) {
            let valid = broker_key(base).is_none_or(|k| parse_value(k, text).is_ok());
            if valid {
                self.explicit.insert(name.to_owned(), text.to_owned());
            }
            return;
        }
        let (Some(key), Some(index)) = (broker_key(name), broker_key_index(name)) else {
            return;
        };
        if let (true, Ok(value)) = (key.is_dynamic(), parse_value(key, text)) {
            self.values[index] = value;
        }
    }

    /// Whether an authorizer is configured.
    pub fn has_authorizer(&self) -> bool {
        self.get_string("authorizer.class.name").is_some_and(|c| !c.is_empty())
    }

    /// The listeners that serve clients and brokers.
    pub fn broker_listeners(&self) -> impl Iterator<Item = &Endpoint> {
        self.listeners.iter().filter(|l| !self.is_controller_listener(&l.listener))
    }

    /// The listeners that serve the quorum and the controller's own requests.
    pub fn controller_listeners(&self) -> impl Iterator<Item = &Endpoint> {
        self.listeners.iter().filter(|l| self.is_controller_listener(&l.listener))
    }

    pub fn is_controller_listener(&self, listener: &str) -> bool {
        self.controller_listener_names.iter().any(|n| normalised_listener(n) == listener)
    }
}

/// Adds to an error the key it speaks of, what is allowed there, and where it was written.
fn locate(error: ConfigError, raw: &RawConfig) -> StartError {
    let text = error.to_string();
    let named = match &error {
        ConfigError::Invalid { name, .. } => Some(name.clone()),
        _ => raw
            .entries()
            .map(|(k, _)| k)
            .filter(|k| text.contains(*k))
            // The longest name wins: `listeners` is part of `advertised.listeners`.
            .max_by_key(|k| k.len())
            .map(str::to_owned),
    };
    let allowed = named.as_deref().and_then(broker_key).map(valid_values).unwrap_or_default();
    let origin = named.as_deref().and_then(|k| raw.entries.get(k)).map(|e| Box::new(e.origin.clone()));
    StartError { error, key: named, allowed: allowed.into(), origin }
}

fn parse_all(
    raw: &RawConfig,
    explicit: &BTreeMap<String, String>,
) -> Result<(Vec<ConfigValue>, Vec<ConfigWarning>), StartError> {
    let mut values = Vec::with_capacity(BROKER_KEYS.len());
    for key in BROKER_KEYS {
        let value = match explicit.get(key.name) {
            Some(text) => parse_value(key, text).map_err(|error| StartError {
                error,
                key: Some(key.name.to_owned()),
                allowed: valid_values(key).into(),
                origin: raw.entries.get(key.name).map(|e| Box::new(e.origin.clone())),
            })?,
            None => match key.default {
                ConfigDefault::Required => {
                    return Err(StartError {
                        error: ConfigError::Rule(format!(
                            "Missing required configuration \"{}\" which has no default value.",
                            key.name
                        )),
                        key: Some(key.name.to_owned()),
                        allowed: valid_values(key).into(),
                        origin: None,
                    });
                }
                _ => default_value(key).unwrap_or(ConfigValue::Null),
            },
        };
        values.push(value);
    }
    let mut warnings = Vec::new();
    for (name, entry) in raw.entries() {
        if let Some(why) = why_ignored(name) {
            warnings.push(ConfigWarning::Ignored { key: name.to_owned(), origin: entry.origin.clone(), why });
        }
        if broker_key(name).is_some() || PLUGIN_PREFIXES.iter().any(|p| name.starts_with(p)) {
            continue;
        }
        if let Some(base) = listener_key_base(name) {
            let text = explicit.get(name).map_or(entry.value.as_str(), |v| v);
            // `<mechanism>.<key>` where the whole is no key itself.
            let key = broker_key(base).or_else(|| base.split_once('.').and_then(|(_, key)| broker_key(key)));
            if let Some(key) = key {
                parse_value(key, text).map_err(|error| StartError {
                    error,
                    key: Some(name.to_owned()),
                    allowed: valid_values(key).into(),
                    origin: Some(Box::new(entry.origin.clone())),
                })?;
                continue;
            }
        }
        warnings.push(ConfigWarning::Unknown { key: name.to_owned(), origin: entry.origin.clone() });
    }
    Ok((values, warnings))
}
