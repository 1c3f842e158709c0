//! The table of keys of groups.

use super::table::{
    ConfigDefault::{Null, Value},
    ConfigKey,
    ConfigType::*,
    DynamicMode::*,
    Importance::*,
    Validator::*,
    key,
};

/// Sorted by name. One row: name, type, default, validator, importance, dynamic mode, internal, what it does.
#[rustfmt::skip]
pub static GROUP_KEYS: &[ConfigKey] = &[
    key("consumer.assignment.interval.ms", Int, Value("1000"), AtLeast(0.0), Medium, PerResource, false, ""),
    key("consumer.assignor.offload.enable", Boolean, Value("true"), Any, Medium, PerResource, true, ""),
    key("consumer.heartbeat.interval.ms", Int, Value("5000"), AtLeast(1.0), Medium, PerResource, false, ""),
    key("consumer.session.timeout.ms", Int, Value("45000"), AtLeast(1.0), Medium, PerResource, false, ""),
    key("errors.deadletterqueue.copy.record.enable", Boolean, Value("false"), Any, Medium, PerResource, false, ""),
    key("errors.deadletterqueue.topic.name", Text, Value(""), Any, Medium, PerResource, false, ""),
    key("share.assignment.interval.ms", Int, Value("1000"), AtLeast(0.0), Medium, PerResource, false, ""),
    key("share.assignor.offload.enable", Boolean, Value("true"), Any, Medium, PerResource, true, ""),
    key("share.auto.offset.reset", Text, Value("latest"), AutoOffsetReset, Medium, PerResource, false, ""),
    key("share.delivery.count.limit", Int, Value("5"), AtLeast(2.0), Medium, PerResource, false, ""),
    key("share.heartbeat.interval.ms", Int, Value("5000"), AtLeast(1.0), Medium, PerResource, false, ""),
    key("share.isolation.level", Text, Value("read_uncommitted"), OneOf(&["read_committed", "read_uncommitted"]), Medium, PerResource, false, ""),
    key("share.partition.max.record.locks", Int, Value("2000"), AtLeast(100.0), Medium, PerResource, false, ""),
    key("share.record.lock.duration.ms", Int, Value("30000"), AtLeast(1000.0), Medium, PerResource, false, ""),
    key("share.renew.acknowledge.enable", Boolean, Value("true"), Any, Medium, PerResource, false, ""),
    key("share.session.timeout.ms", Int, Value("45000"), AtLeast(1.0), Medium, PerResource, false, ""),
    key("streams.acceptable.recovery.lag", Long, Value("10000"), AtLeast(0.0), Medium, PerResource, true, ""),
    key("streams.assignment.interval.ms", Int, Value("1000"), AtLeast(0.0), Medium, PerResource, false, ""),
    key("streams.assignor.name", Text, Null, Any, Medium, PerResource, false, ""),
    key("streams.assignor.offload.enable", Boolean, Value("true"), Any, Medium, PerResource, true, ""),
    key("streams.heartbeat.interval.ms", Int, Value("5000"), AtLeast(1.0), Medium, PerResource, false, ""),
    key("streams.initial.rebalance.delay.ms", Int, Value("3000"), AtLeast(0.0), Medium, PerResource, false, ""),
    key("streams.num.standby.replicas", Int, Value("0"), AtLeast(0.0), Medium, PerResource, false, ""),
    key("streams.num.warmup.replicas", Int, Value("2"), AtLeast(0.0), Medium, PerResource, true, ""),
    key("streams.rack.aware.assignment.tags", ListOf, Value(""), List { allowed: &[], empty: true, null: false }, Low, PerResource, false, ""),
    key("streams.session.timeout.ms", Int, Value("45000"), AtLeast(1.0), Medium, PerResource, false, ""),
    key("streams.task.offset.interval.ms", Int, Value("60000"), AtLeast(1.0), Medium, PerResource, true, ""),
];
