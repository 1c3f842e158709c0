//! What the configuration table says of a key, and look-up by name.

use super::keys_broker::BROKER_KEYS;
use super::keys_client_metrics::CLIENT_METRICS_KEYS;
use super::keys_group::GROUP_KEYS;
use super::keys_topic::TOPIC_KEYS;

/// The type of a key's value (`ConfigDef.Type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigType {
    Boolean,
    Text,
    Int,
    Short,
    Long,
    Double,
    /// Values separated by commas, spaces around them dropped.
    ListOf,
    Class,
    Password,
}

impl ConfigType {
    /// Kafka's name of the type, as it stands in error messages.
    pub fn name(self) -> &'static str {
        match self {
            ConfigType::Boolean => "BOOLEAN",
            ConfigType::Text => "STRING",
            ConfigType::Int => "INT",
            ConfigType::Short => "SHORT",
            ConfigType::Long => "LONG",
            ConfigType::Double => "DOUBLE",
            ConfigType::ListOf => "LIST",
            ConfigType::Class => "CLASS",
            ConfigType::Password => "PASSWORD",
        }
    }

    /// The code of the type in a DescribeConfigs or CreateTopics response.
    pub fn response_code(self) -> i8 {
        match self {
            ConfigType::Boolean => 1,
            ConfigType::Text => 2,
            ConfigType::Int => 3,
            ConfigType::Short => 4,
            ConfigType::Long => 5,
            ConfigType::Double => 6,
            ConfigType::ListOf => 7,
            ConfigType::Class => 8,
            ConfigType::Password => 9,
        }
    }
}

/// The value that holds when nobody set one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigDefault {
    /// There is none: the key must be set.
    Required,
    /// No value.
    Null,
    Value(&'static str),
}

/// What a value must satisfy beyond its type. Numbers are compared as doubles, as Kafka does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Validator {
    Any,
    AtLeast(f64),
    Between(f64, f64),
    OneOf(&'static [&'static str]),
    OneOfIgnoreCase(&'static [&'static str]),
    /// KIP-1161: no empty element, `allowed` (any if empty), whether the list may be empty or missing.
    List {
        allowed: &'static [&'static str],
        empty: bool,
        null: bool,
    },
    NonEmptyString,
    NonNull,
    /// -1 or 1 to 9.
    GzipLevel,
    /// `*` or `partition:broker` pairs.
    ThrottledReplicas,
    /// `id@host:port` entries.
    QuorumVoters,
    /// `host:port` entries.
    BootstrapServers,
    /// `latest`, `earliest` or `by_duration:` with an ISO-8601 duration.
    AutoOffsetReset,
}

/// How much a key matters to its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Importance {
    High,
    Medium,
    Low,
}

/// Whether and where a key can be changed at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DynamicMode {
    ReadOnly,
    PerBroker,
    ClusterWide,
    /// Not accepted in the file, only at run time.
    DynamicOnly,
    /// A key of a topic, a group or a subscription: always set at run time.
    PerResource,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConfigKey {
    pub name: &'static str,
    pub kind: ConfigType,
    pub default: ConfigDefault,
    pub validator: Validator,
    pub importance: Importance,
    pub dynamic: DynamicMode,
    /// Not shown unless it was set.
    pub internal: bool,
    pub doc: &'static str,
}

pub(super) const fn key(
    name: &'static str,
    kind: ConfigType,
    default: ConfigDefault,
    validator: Validator,
    importance: Importance,
    dynamic: DynamicMode,
    internal: bool,
    doc: &'static str,
) -> ConfigKey {
    ConfigKey { name, kind, default, validator, importance, dynamic, internal, doc }
}

impl ConfigKey {
    /// Whether the value must not be shown.
    pub fn is_sensitive(&self) -> bool {
        self.kind == ConfigType::Password
    }

    /// Whether AlterConfigs of a broker may set it.
    pub fn is_dynamic(&self) -> bool {
        self.dynamic != DynamicMode::ReadOnly
    }
}

fn find(keys: &'static [ConfigKey], name: &str) -> Option<&'static ConfigKey> {
    keys.binary_search_by(|k| k.name.cmp(name)).ok().map(|i| &keys[i])
}

/// The row of a broker or controller key.
pub fn broker_key(name: &str) -> Option<&'static ConfigKey> {
    find(BROKER_KEYS, name)
}

/// The position of a key in [`BROKER_KEYS`].
pub(super) fn broker_key_index(name: &str) -> Option<usize> {
    BROKER_KEYS.binary_search_by(|k| k.name.cmp(name)).ok()
}

/// The row of a topic key.
pub fn topic_key(name: &str) -> Option<&'static ConfigKey> {
    find(TOPIC_KEYS, name)
}

/// The row of a group key.
pub fn group_key(name: &str) -> Option<&'static ConfigKey> {
    find(GROUP_KEYS, name)
}

/// The row of a key of a client metrics subscription.
pub fn client_metrics_key(name: &str) -> Option<&'static ConfigKey> {
    find(CLIENT_METRICS_KEYS, name)
}

/// The keys that a listener and a SASL mechanism may have of their own
/// (`listener.name.<listener>.<mechanism>.<key>`).
const LISTENER_MECHANISM_KEYS: &[&str] = &[
    "sasl.jaas.config",
    "sasl.login.callback.handler.class",
    "sasl.login.class",
    "sasl.server.callback.handler.class",
    "connections.max.reauth.ms",
];

/// What follows `listener.name.<listener>.`, if `name` is such a key.
pub fn listener_key_base(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("listener.name.")?;
    rest.find('.').map(|dot| &rest[dot + 1..])
}

const LOG_ROLL: &[&str] = &["log.roll.ms", "log.roll.hours"];
const LOG_ROLL_JITTER: &[&str] = &["log.roll.jitter.ms", "log.roll.jitter.hours"];
const LOG_RETENTION: &[&str] = &["log.retention.ms", "log.retention.minutes", "log.retention.hours"];
const LOG_FLUSH: &[&str] = &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"];

/// The names under which a broker key's value may be given, the strongest first
/// (`DynamicBrokerConfig.brokerConfigSynonyms`).
pub fn broker_synonyms(name: &str) -> Vec<&str> {
    for group in [LOG_ROLL, LOG_ROLL_JITTER, LOG_RETENTION] {
        if group.contains(&name) {
            return group.to_vec();
        }
    }
    if name == "log.flush.interval.ms" {
        return LOG_FLUSH.to_vec();
    }
    if let Some(base) = listener_key_base(name) {
        let key = LISTENER_MECHANISM_KEYS.iter().find(|k| base.ends_with(**k)).copied();
        return vec![name, key.unwrap_or(base)];
    }
    vec![name]
}

/// The type of a broker key, also of a listener's own one (`KafkaConfig.configType`).
pub fn broker_key_type(name: &str) -> Option<ConfigType> {
    broker_key(name)
        .map(|k| k.kind)
        .or_else(|| broker_synonyms(name).iter().find_map(|n| broker_key(n)).map(|k| k.kind))
}

/// A broker key that stands for a topic key, with the factor to the topic key's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicSynonym {
    pub name: &'static str,
    /// Milliseconds in one unit of the broker key; 1 where the units agree.
    pub factor: i64,
}

const fn same(name: &'static str) -> TopicSynonym {
    TopicSynonym { name, factor: 1 }
}

const fn times(name: &'static str, factor: i64) -> TopicSynonym {
    TopicSynonym { name, factor }
}

const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

/// The broker keys that give a topic key its default, the strongest first
/// (`ServerTopicConfigSynonyms`).
pub fn topic_synonyms(name: &str) -> &'static [TopicSynonym] {
    macro_rules! one {
        ($n:literal) => {{
            const S: &[TopicSynonym] = &[same($n)];
            S
        }};
    }
    match name {
        "segment.bytes" => one!("log.segment.bytes"),
        "segment.ms" => {
            const S: &[TopicSynonym] = &[same("log.roll.ms"), times("log.roll.hours", HOUR_MS)];
            S
        }
        "segment.jitter.ms" => {
            const S: &[TopicSynonym] = &[same("log.roll.jitter.ms"), times("log.roll.jitter.hours", HOUR_MS)];
            S
        }
        "segment.index.bytes" => one!("log.index.size.max.bytes"),
        "flush.messages" => one!("log.flush.interval.messages"),
        "flush.ms" => {
            const S: &[TopicSynonym] =
                &[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")];
            S
        }
        "retention.bytes" => one!("log.retention.bytes"),
        "retention.ms" => {
            const S: &[TopicSynonym] = &[
                same("log.retention.ms"),
                times("log.retention.minutes", MINUTE_MS),
                times("log.retention.hours", HOUR_MS),
            ];
            S
        }
        "max.message.bytes" => one!("message.max.bytes"),
        "max.decompressed.message.bytes" => one!("max.decompressed.message.bytes"),
        "index.interval.bytes" => one!("log.index.interval.bytes"),
        "delete.retention.ms" => one!("log.cleaner.delete.retention.ms"),
        "min.compaction.lag.ms" => one!("log.cleaner.min.compaction.lag.ms"),
        "max.compaction.lag.ms" => one!("log.cleaner.max.compaction.lag.ms"),
        "file.delete.delay.ms" => one!("log.segment.delete.delay.ms"),
        "min.cleanable.dirty.ratio" => one!("log.cleaner.min.cleanable.ratio"),
        "cleanup.policy" => one!("log.cleanup.policy"),
        "unclean.leader.election.enable" => one!("unclean.leader.election.enable"),
        "min.insync.replicas" => one!("min.insync.replicas"),
        "compression.type" => one!("compression.type"),
        "compression.gzip.level" => one!("compression.gzip.level"),
        "compression.lz4.level" => one!("compression.lz4.level"),
        "compression.zstd.level" => one!("compression.zstd.level"),
        "preallocate" => one!("log.preallocate"),
        "message.timestamp.type" => one!("log.message.timestamp.type"),
        "message.timestamp.before.max.ms" => one!("log.message.timestamp.before.max.ms"),
        "message.timestamp.after.max.ms" => one!("log.message.timestamp.after.max.ms"),
        "local.retention.ms" => one!("log.local.retention.ms"),
        "local.retention.bytes" => one!("log.local.retention.bytes"),
        "remote.copy.lag.ms" => one!("log.remote.copy.lag.ms"),
        "remote.copy.lag.bytes" => one!("log.remote.copy.lag.bytes"),
        _ => &[],
    }
}

/// The broker key that gives a group key its default (`GroupConfig.brokerSynonym`).
pub fn group_synonym(name: &str) -> Option<&'static str> {
    match name {
        "streams.assignor.name" => Some("group.streams.assignors"),
        "share.auto.offset.reset"
        | "share.isolation.level"
        | "share.renew.acknowledge.enable"
        | "errors.deadletterqueue.topic.name"
        | "errors.deadletterqueue.copy.record.enable" => None,
        _ => BROKER_KEYS.iter().find(|k| k.name.strip_prefix("group.") == Some(name)).map(|k| k.name),
    }
}
