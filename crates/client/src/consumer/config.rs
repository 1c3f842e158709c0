//! The consumer's settings.

use std::time::Duration;

use super::OffsetReset;
use crate::{ClientConfig, ClientError};

/// The consumer's settings, read and checked.
#[derive(Debug, Clone)]
pub struct ConsumerConfig {
    pub group_id: Option<String>,
    pub instance_id: Option<String>,
    /// `group.protocol=consumer` (KIP-848).
    pub next_generation: bool,
    pub remote_assignor: Option<String>,
    pub assignors: Vec<String>,
    pub session_timeout: Duration,
    pub heartbeat_interval: Duration,
    pub max_poll_interval: Duration,
    pub max_poll_records: usize,
    pub auto_commit: bool,
    pub auto_commit_interval: Duration,
    pub reset: OffsetReset,
    pub read_committed: bool,
    pub fetch_min_bytes: i32,
    pub fetch_max_bytes: i32,
    pub fetch_max_wait: Duration,
    pub max_partition_bytes: i32,
    pub check_crcs: bool,
    pub auto_create_topics: bool,
    pub exclude_internal: bool,
    pub metadata_max_age: Duration,
    pub rack: String,
}

impl ConsumerConfig {
    pub fn new(config: &ClientConfig) -> Result<ConsumerConfig, ClientError> {
        let one_of = |key: &str, default: &str, names: &[&str]| {
            let value = config.text(key, default).to_ascii_lowercase();
            match names.contains(&value.as_str()) {
                true => Ok(value),
                false => Err(ClientError::Config(format!(
                    "Invalid value {value} for configuration {key}: String must be one of: {}",
                    names.join(", ")
                ))),
            }
        };
        let reset = config.text("auto.offset.reset", "latest");
        let reset = match reset.as_str() {
            "earliest" => OffsetReset::Earliest,
            "latest" => OffsetReset::Latest,
            "none" => OffsetReset::None,
            other => {
                return Err(ClientError::Config(format!(
                    "Invalid value {other} for configuration auto.offset.reset: Invalid value `{other}` for \
                     configuration auto.offset.reset. The value must be either 'earliest', 'latest', 'none' or of the \
                     format 'by_duration:<PnDTnHnMn.nS.>'."
                )));
            }
        };
        let group_id = config.get("group.id").map(str::to_owned);
        let assignors = config
            .text("partition.assignment.strategy", "range")
            .split(',')
            .map(|class| class.trim().rsplit('.').next().unwrap_or_default().to_owned())
            .collect();
        Ok(ConsumerConfig {
            auto_commit: config.flag("enable.auto.commit", group_id.is_some())? && group_id.is_some(),
            group_id,
            instance_id: config.get("group.instance.id").map(str::to_owned),
            next_generation: one_of("group.protocol", "classic", &["classic", "consumer"])? == "consumer",
            remote_assignor: config.get("group.remote.assignor").map(str::to_owned),
            assignors,
            session_timeout: config.millis("session.timeout.ms", 45_000)?,
            heartbeat_interval: config.millis("heartbeat.interval.ms", 3_000)?,
            max_poll_interval: config.millis("max.poll.interval.ms", 300_000)?,
            max_poll_records: config.parsed("max.poll.records", 500)?,
            auto_commit_interval: config.millis("auto.commit.interval.ms", 5_000)?,
            reset,
            read_committed: one_of(
                "isolation.level",
                "read_uncommitted",
                &["read_uncommitted", "read_committed"],
            )? == "read_committed",
            fetch_min_bytes: config.parsed("fetch.min.bytes", 1)?,
            fetch_max_bytes: config.parsed("fetch.max.bytes", 52_428_800)?,
            fetch_max_wait: config.millis("fetch.max.wait.ms", 500)?,
            max_partition_bytes: config.parsed("max.partition.fetch.bytes", 1_048_576)?,
            check_crcs: config.flag("check.crcs", true)?,
            auto_create_topics: config.flag("allow.auto.create.topics", true)?,
            exclude_internal: config.flag("exclude.internal.topics", true)?,
            metadata_max_age: config.millis("metadata.max.age.ms", 300_000)?,
            rack: config.text("client.rack", ""),
        })
    }
}
