//! The coordinators' settings out of the broker's configuration.

use std::collections::BTreeMap;

use ottla_coordinator::group::assignor::AssignorKind;
use ottla_coordinator::group::{GroupConfig, GroupOverrides, MigrationPolicy};
use ottla_metadata::config::StaticConfig;
use ottla_metadata::image::{ConfigsImage, ResourceKind};

pub fn group_config(config: &StaticConfig, image: &ConfigsImage) -> GroupConfig {
    let policy = match config
        .get_string("group.consumer.migration.policy")
        .unwrap_or_default()
        .to_ascii_lowercase()
        .as_str()
    {
        "disabled" => MigrationPolicy::Disabled,
        "upgrade" => MigrationPolicy::Upgrade,
        "downgrade" => MigrationPolicy::Downgrade,
        _ => MigrationPolicy::Bidirectional,
    };
    let mut assignors: Vec<AssignorKind> = config
        .get_list("group.consumer.assignors")
        .iter()
        .filter_map(|name| {
            // Kafka's own classes may be named in full.
            if name == "uniform" || name.ends_with(".UniformAssignor") {
                Some(AssignorKind::Uniform)
            } else if name == "range" || name.ends_with(".RangeAssignor") {
                Some(AssignorKind::Range)
            } else {
                None
            }
        })
        .collect();
    if assignors.is_empty() {
        assignors = vec![AssignorKind::Uniform, AssignorKind::Range];
    }
    GroupConfig {
        group_min_session_timeout_ms: config.get_int("group.min.session.timeout.ms"),
        group_max_session_timeout_ms: config.get_int("group.max.session.timeout.ms"),
        group_initial_rebalance_delay_ms: config.get_int("group.initial.rebalance.delay.ms"),
        group_max_size: config.get_int("group.max.size"),
        group_consumer_session_timeout_ms: config.get_int("group.consumer.session.timeout.ms"),
        group_consumer_heartbeat_interval_ms: config.get_int("group.consumer.heartbeat.interval.ms"),
        group_consumer_assignment_interval_ms: config.get_int("group.consumer.assignment.interval.ms"),
        group_consumer_max_size: config.get_int("group.consumer.max.size"),
        group_consumer_assignors: assignors,
        group_consumer_migration_policy: policy,
        group_consumer_regex_refresh_interval_ms: i64::from(
            config.get_int("group.consumer.regex.refresh.interval.ms"),
        ),
        offset_metadata_max_bytes: config.get_int("offset.metadata.max.bytes"),
        offsets_retention_ms: i64::from(config.get_int("offsets.retention.minutes")) * 60_000,
        offsets_retention_check_interval_ms: config.get_long("offsets.retention.check.interval.ms"),
        overrides: overrides(image),
    }
}

fn overrides(image: &ConfigsImage) -> BTreeMap<ottla_protocol::types::Str, GroupOverrides> {
    image
        .iter()
        .filter(|(resource, _)| resource.kind == ResourceKind::GROUP)
        .map(|(resource, values)| {
            let int = |key: &str| values.get(key).and_then(|v| v.parse().ok());
            let overrides = GroupOverrides {
                consumer_session_timeout_ms: int("consumer.session.timeout.ms"),
                consumer_heartbeat_interval_ms: int("consumer.heartbeat.interval.ms"),
                consumer_assignment_interval_ms: int("consumer.assignment.interval.ms"),
            };
            (resource.name.clone(), overrides)
        })
        .collect()
}
