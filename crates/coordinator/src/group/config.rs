//! What operators set for groups, resolved.

use std::collections::BTreeMap;

use ottla_protocol::types::Str;

use super::assignor::AssignorKind;

/// `group.consumer.migration.policy`: which way a group may change its protocol while it has members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationPolicy {
    Disabled,
    Downgrade,
    Upgrade,
    Bidirectional,
}

impl MigrationPolicy {
    pub fn allows_upgrade(self) -> bool {
        matches!(self, MigrationPolicy::Upgrade | MigrationPolicy::Bidirectional)
    }

    pub fn allows_downgrade(self) -> bool {
        matches!(self, MigrationPolicy::Downgrade | MigrationPolicy::Bidirectional)
    }
}

/// Configs of one group, set through its `GROUP` config resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupOverrides {
    /// `consumer.session.timeout.ms`
    pub consumer_session_timeout_ms: Option<i32>,
    /// `consumer.heartbeat.interval.ms`
    pub consumer_heartbeat_interval_ms: Option<i32>,
    /// `consumer.assignment.interval.ms`
    pub consumer_assignment_interval_ms: Option<i32>,
}

/// The broker's configs that the group coordinator reads. Fields are named after the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.min.session.timeout.ms`
    pub group_min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`
    pub group_max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`
    pub group_initial_rebalance_delay_ms: i32,
    /// `group.max.size`
    pub group_max_size: i32,
    /// `group.consumer.session.timeout.ms`
    pub group_consumer_session_timeout_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`
    pub group_consumer_heartbeat_interval_ms: i32,
    /// `group.consumer.assignment.interval.ms`
    pub group_consumer_assignment_interval_ms: i32,
    /// `group.consumer.max.size`
    pub group_consumer_max_size: i32,
    /// `group.consumer.assignors`; the first is the default. At least one.
    pub group_consumer_assignors: Vec<AssignorKind>,
    /// `group.consumer.migration.policy`
    pub group_consumer_migration_policy: MigrationPolicy,
    /// `group.consumer.regex.refresh.interval.ms`
    pub group_consumer_regex_refresh_interval_ms: i64,
    /// `offset.metadata.max.bytes`
    pub offset_metadata_max_bytes: i32,
    /// `offsets.retention.minutes`, in milliseconds
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check_interval_ms: i64,
    /// Configs of single groups, by group id.
    pub overrides: BTreeMap<Str, GroupOverrides>,
}

impl GroupConfig {
    /// The defaults of Kafka 4.4.
    pub fn kafka_defaults() -> GroupConfig {
        GroupConfig {
            group_min_session_timeout_ms: 6_000,
            group_max_session_timeout_ms: 1_800_000,
            group_initial_rebalance_delay_ms: 3_000,
            group_max_size: i32::MAX,
            group_consumer_session_timeout_ms: 45_000,
            group_consumer_heartbeat_interval_ms: 5_000,
            group_consumer_assignment_interval_ms: 1_000,
            group_consumer_max_size: i32::MAX,
            group_consumer_assignors: vec![AssignorKind::Uniform, AssignorKind::Range],
            group_consumer_migration_policy: MigrationPolicy::Bidirectional,
            group_consumer_regex_refresh_interval_ms: 600_000,
            offset_metadata_max_bytes: 4_096,
            offsets_retention_ms: 10_080 * 60_000,
            offsets_retention_check_interval_ms: 600_000,
            overrides: BTreeMap::new(),
        }
    }

    pub(crate) fn default_assignor(&self) -> AssignorKind {
        self.group_consumer_assignors.first().copied().unwrap_or(AssignorKind::Uniform)
    }

    pub(crate) fn consumer_session_timeout_ms(&self, group_id: &str) -> i32 {
        self.overrides
            .get(group_id)
            .and_then(|overrides| overrides.consumer_session_timeout_ms)
            .unwrap_or(self.group_consumer_session_timeout_ms)
    }

    pub(crate) fn consumer_heartbeat_interval_ms(&self, group_id: &str) -> i32 {
        self.overrides
            .get(group_id)
            .and_then(|overrides| overrides.consumer_heartbeat_interval_ms)
            .unwrap_or(self.group_consumer_heartbeat_interval_ms)
    }

    pub(crate) fn consumer_assignment_interval_ms(&self, group_id: &str) -> i32 {
        self.overrides
            .get(group_id)
            .and_then(|overrides| overrides.consumer_assignment_interval_ms)
            .unwrap_or(self.group_consumer_assignment_interval_ms)
    }
}
