//! What the logs of a topic follow: the topic's own values over the broker's.

use super::static_config::StaticConfig;
use super::table::{topic_key, topic_synonyms};
use super::value::{ConfigError, ConfigValue, default_value, parse_value};

/// Who sets the timestamps of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// The resolved configuration of a topic. Sizes in bytes, times in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// `internal.segment.bytes` where set, else `segment.bytes`.
    pub segment_bytes: i32,
    pub segment_ms: i64,
    pub segment_jitter_ms: i64,
    pub segment_index_bytes: i32,
    pub flush_messages: i64,
    pub flush_ms: i64,
    /// -1 for no limit.
    pub retention_bytes: i64,
    /// -1 for no limit.
    pub retention_ms: i64,
    pub max_message_bytes: i32,
    /// Most bytes of one record when decompressed.
    pub max_decompressed_message_bytes: i32,
    pub index_interval_bytes: i32,
    pub delete_retention_ms: i64,
    pub min_compaction_lag_ms: i64,
    pub max_compaction_lag_ms: i64,
    pub file_delete_delay_ms: i64,
    pub min_cleanable_dirty_ratio: f64,
    /// `cleanup.policy` has `compact`.
    pub compact: bool,
    /// `cleanup.policy` has `delete`.
    pub delete: bool,
    pub unclean_leader_election_enable: bool,
    pub min_insync_replicas: i32,
    /// `producer` keeps what the producer chose.
    pub compression_type: String,
    pub compression_gzip_level: i32,
    pub compression_lz4_level: i32,
    pub compression_zstd_level: i32,
    pub preallocate: bool,
    pub message_timestamp_type: TimestampType,
    pub message_timestamp_before_max_ms: i64,
    pub message_timestamp_after_max_ms: i64,
    pub remote_storage_enable: bool,
    pub remote_log_copy_disable: bool,
    pub remote_log_delete_on_disable: bool,
    /// -2 to follow `retention_ms`.
    pub local_retention_ms: i64,
    /// -2 to follow `retention_bytes`.
    pub local_retention_bytes: i64,
    pub remote_copy_lag_ms: i64,
    pub remote_copy_lag_bytes: i64,
    pub leader_replication_throttled_replicas: Vec<String>,
    pub follower_replication_throttled_replicas: Vec<String>,
    pub errors_deadletterqueue_group_enable: bool,
}

/// The value that a topic key has where the topic does not set it.
///
/// # Panics
/// If there is no such topic key: the name is written in the program.
pub fn topic_default(broker: &StaticConfig, name: &str) -> ConfigValue {
    for synonym in topic_synonyms(name) {
        let value = match broker.value(synonym.name) {
            ConfigValue::Null => continue,
            value if synonym.factor == 1 => value.clone(),
            ConfigValue::Int(v) => ConfigValue::Long(i64::from(*v) * synonym.factor),
            ConfigValue::Long(v) => ConfigValue::Long(v.saturating_mul(synonym.factor)),
            value => value.clone(),
        };
        return match value {
            // Any negative retention time means none.
            ConfigValue::Long(v) if name == "retention.ms" && v < 0 => ConfigValue::Long(-1),
            value => value,
        };
    }
    let key = topic_key(name).unwrap_or_else(|| panic!("no topic configuration key {name}"));
    default_value(key).unwrap_or(ConfigValue::Null)
}

struct Values<'a, F> {
    broker: &'a StaticConfig,
    own: F,
}

impl<'t, F: Fn(&str) -> Option<&'t str>> Values<'_, F> {
    fn get(&self, name: &str) -> ConfigValue {
        // A value that a newer or older version accepted but this one does not counts as unset.
        (self.own)(name)
            .and_then(|text| parse_value(topic_key(name)?, text).ok())
            .unwrap_or_else(|| topic_default(self.broker, name))
    }

    fn long(&self, name: &str) -> i64 {
        match self.get(name) {
            ConfigValue::Long(v) => v,
            ConfigValue::Int(v) => i64::from(v),
            v => panic!("{name} is not a number: {v}"),
        }
    }

    fn int(&self, name: &str) -> i32 {
        match self.get(name) {
            ConfigValue::Int(v) => v,
            v => panic!("{name} is not an INT: {v}"),
        }
    }

    fn bool(&self, name: &str) -> bool {
        self.get(name) == ConfigValue::Boolean(true)
    }

    fn text(&self, name: &str) -> String {
        self.get(name).to_text().unwrap_or_default()
    }

    fn list(&self, name: &str) -> Vec<String> {
        match self.get(name) {
            ConfigValue::List(v) => v,
            _ => Vec::new(),
        }
    }

    fn double(&self, name: &str) -> f64 {
        match self.get(name) {
            ConfigValue::Double(v) => v,
            v => panic!("{name} is not a DOUBLE: {v}"),
        }
    }
}

impl LogConfig {
    /// `own` looks a topic's own value up; `broker` is the broker's configuration in force.
    pub fn resolve<'t>(broker: &StaticConfig, own: impl Fn(&str) -> Option<&'t str>) -> LogConfig {
        let v = Values { broker, own };
        let policy = v.list("cleanup.policy");
        let segment_bytes = match v.get("internal.segment.bytes") {
            ConfigValue::Int(bytes) => bytes,
            _ => v.int("segment.bytes"),
        };
        LogConfig {
            segment_bytes,
            segment_ms: v.long("segment.ms"),
            segment_jitter_ms: v.long("segment.jitter.ms"),
            segment_index_bytes: v.int("segment.index.bytes"),
            flush_messages: v.long("flush.messages"),
            flush_ms: v.long("flush.ms"),
            retention_bytes: v.long("retention.bytes"),
            retention_ms: v.long("retention.ms"),
            max_message_bytes: v.int("max.message.bytes"),
            max_decompressed_message_bytes: v.int("max.decompressed.message.bytes"),
            index_interval_bytes: v.int("index.interval.bytes"),
            delete_retention_ms: v.long("delete.retention.ms"),
            min_compaction_lag_ms: v.long("min.compaction.lag.ms"),
            max_compaction_lag_ms: v.long("max.compaction.lag.ms"),
            file_delete_delay_ms: v.long("file.delete.delay.ms"),
            min_cleanable_dirty_ratio: v.double("min.cleanable.dirty.ratio"),
            compact: policy.iter().any(|p| p == "compact"),
            delete: policy.iter().any(|p| p == "delete"),
            unclean_leader_election_enable: v.bool("unclean.leader.election.enable"),
            min_insync_replicas: v.int("min.insync.replicas"),
            compression_type: v.text("compression.type"),
            compression_gzip_level: v.int("compression.gzip.level"),
            compression_lz4_level: v.int("compression.lz4.level"),
            compression_zstd_level: v.int("compression.zstd.level"),
            preallocate: v.bool("preallocate"),
            message_timestamp_type: if v.text("message.timestamp.type") == "LogAppendTime" {
                TimestampType::LogAppendTime
            } else {
                TimestampType::CreateTime
            },
            message_timestamp_before_max_ms: v.long("message.timestamp.before.max.ms"),
            message_timestamp_after_max_ms: v.long("message.timestamp.after.max.ms"),
            remote_storage_enable: v.bool("remote.storage.enable"),
            remote_log_copy_disable: v.bool("remote.log.copy.disable"),
            remote_log_delete_on_disable: v.bool("remote.log.delete.on.disable"),
            local_retention_ms: v.long("local.retention.ms"),
            local_retention_bytes: v.long("local.retention.bytes"),
            remote_copy_lag_ms: v.long("remote.copy.lag.ms"),
            remote_copy_lag_bytes: v.long("remote.copy.lag.bytes"),
            leader_replication_throttled_replicas: v.list("leader.replication.throttled.replicas"),
            follower_replication_throttled_replicas: v.list("follower.replication.throttled.replicas"),
            errors_deadletterqueue_group_enable: v.bool("errors.deadletterqueue.group.enable"),
        }
    }
}

/// Which of a topic's own values are not followed, because another version took them and this one does not: the broker's
/// value counts in their place.
pub fn unusable_topic_values<'a>(own: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<ConfigError> {
    own.filter_map(|(name, text)| parse_value(topic_key(name)?, text).err()).collect()
}

/// Checks the whole configuration that a topic would have (`LogConfig.validate`).
///
/// `existing` are the topic's values before the change.
pub fn validate_topic_config<'a>(
    broker: &StaticConfig,
    existing: impl Fn(&str) -> Option<&'a str>,
    new: &[(&str, &str)],
) -> Result<(), ConfigError> {
    for (name, text) in new {
        let Some(key) = topic_key(name) else {
            return Err(ConfigError::InvalidConfiguration(format!("Unknown topic config name: {name}")));
        };
        parse_value(key, text)?;
    }
    let c = LogConfig::resolve(broker, |name| new.iter().find(|(n, _)| *n == name).map(|(_, v)| *v));
    if c.min_compaction_lag_ms > c.max_compaction_lag_ms {
        return Err(ConfigError::InvalidConfiguration(format!(
            "conflict topic config setting min.compaction.lag.ms ({}) > max.compaction.lag.ms ({})",
            c.min_compaction_lag_ms, c.max_compaction_lag_ms
        )));
    }
    if c.remote_storage_enable {
        return validate_remote(broker, &c, new);
    }
    let was = existing("remote.storage.enable").is_some_and(|v| v.eq_ignore_ascii_case("true"));
    if was && !c.remote_log_delete_on_disable {
        return Err(ConfigError::InvalidConfiguration(
            "It is invalid to disable remote storage without deleting remote data. If you want to keep the \
             remote data and turn to read only, please set \
             `remote.storage.enable=true,remote.log.copy.disable=true`. If you want to disable remote \
             storage and delete all remote data, please set \
             `remote.storage.enable=false,remote.log.delete.on.disable=true`."
                .to_owned(),
        ));
    }
    Ok(())
}

fn validate_remote(broker: &StaticConfig, c: &LogConfig, new: &[(&str, &str)]) -> Result<(), ConfigError> {
    if !broker.get_bool("remote.log.storage.system.enable") {
        return Err(ConfigError::Rule(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote \
             log storage."
                .to_owned(),
        ));
    }
    let has_policy = c.compact || !new.iter().all(|(n, v)| *n != "cleanup.policy" || !v.contains("compact"));
    if has_policy {
        return Err(ConfigError::Rule(
            "Remote log storage only supports topics with cleanup.policy=delete or cleanup.policy being an \
             empty list."
                .to_owned(),
        ));
    }
    local_within_total(
        ("local.retention.bytes", c.local_retention_bytes),
        ("retention.bytes", c.retention_bytes),
        c.retention_bytes > -1,
    )?;
    local_within_total(
        ("local.retention.ms", c.local_retention_ms),
        ("retention.ms", c.retention_ms),
        c.retention_ms != -1,
    )?;
    lag_within_local(
        ("remote.copy.lag.bytes", c.remote_copy_lag_bytes),
        "local.retention.bytes",
        effective(c.local_retention_bytes, c.retention_bytes),
    )?;
    lag_within_local(
        ("remote.copy.lag.ms", c.remote_copy_lag_ms),
        "local.retention.ms",
        effective(c.local_retention_ms, c.retention_ms),
    )?;
    if c.remote_log_copy_disable {
        for (local, total, local_name, name) in [
            (c.local_retention_bytes, c.retention_bytes, "local.retention.bytes", "retention.bytes"),
            (c.local_retention_ms, c.retention_ms, "local.retention.ms", "retention.ms"),
        ] {
            if local != -2 && local != total {
                return Err(ConfigError::InvalidConfiguration(format!(
                    "When `remote.log.copy.disable` is set to true, the `{local_name}` and `{name}` must be \
                     set to the identical value because there will be no more logs copied to the remote \
                     storage."
                )));
            }
        }
    }
    Ok(())
}

fn effective(local: i64, total: i64) -> i64 {
    if local == -2 { total } else { local }
}

fn local_within_total(
    (name, local): (&str, i64),
    (total_name, total): (&str, i64),
    limited: bool,
) -> Result<(), ConfigError> {
    if !limited || local == -2 {
        return Ok(());
    }
    if local == -1 {
        return Err(ConfigError::invalid(
            name,
            local,
            format!("Value must not be -1 as {total_name} value is set as {total}."),
        ));
    }
    if local > total {
        return Err(ConfigError::invalid(
            name,
            local,
            format!("Value must not be more than {total_name} property value: {total}"),
        ));
    }
    Ok(())
}

fn lag_within_local((name, lag): (&str, i64), local_name: &str, local: i64) -> Result<(), ConfigError> {
    if lag > 0 && local >= 0 && lag > local {
        return Err(ConfigError::invalid(
            name,
            lag,
            format!("Value must not exceed {local_name} (effective value: {local})"),
        ));
    }
    Ok(())
}
