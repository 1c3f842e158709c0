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
    key("consumer.assignment.interval.ms", Int, Value("1000"), AtLeast(0.0), Medium, PerResource, false, "Time between assignments of a consumer group."),
    key("consumer.assignor.offload.enable", Boolean, Value("true"), Any, Medium, PerResource, true, "Whether assignments of consumer groups are computed in the background."),
    key("consumer.heartbeat.interval.ms", Int, Value("5000"), AtLeast(1.0), Medium, PerResource, false, "Time between heartbeats of a member of a consumer group."),
    key("consumer.session.timeout.ms", Int, Value("45000"), AtLeast(1.0), Medium, PerResource, false, "Time without a heartbeat after which a member is removed of a consumer group."),
    key("errors.deadletterqueue.copy.record.enable", Boolean, Value("false"), Any, Medium, PerResource, false, "Whether dead letters hold the record itself."),
    key("errors.deadletterqueue.topic.name", Text, Value(""), Any, Medium, PerResource, false, "Topic of the share group's dead letters; empty for none."),
    key("share.assignment.interval.ms", Int, Value("1000"), AtLeast(0.0), Medium, PerResource, false, "Time between assignments of a share group."),
    key("share.assignor.offload.enable", Boolean, Value("true"), Any, Medium, PerResource, true, "Whether assignments of share groups are computed in the background."),
    key("share.auto.offset.reset", Text, Value("latest"), AutoOffsetReset, Medium, PerResource, false, "Where a share group starts: `latest`, `earliest` or `by_duration:` and a duration."),
    key("share.delivery.count.limit", Int, Value("5"), AtLeast(2.0), Medium, PerResource, false, "Deliveries of a record in a share group before it is given up."),
    key("share.heartbeat.interval.ms", Int, Value("5000"), AtLeast(1.0), Medium, PerResource, false, "Time between heartbeats of a member of a share group."),
    key("share.isolation.level", Text, Value("read_uncommitted"), OneOf(&["read_committed", "read_uncommitted"]), Medium, PerResource, false, "Whether a share group sees records of open transactions."),
    key("share.partition.max.record.locks", Int, Value("2000"), AtLeast(100.0), Medium, PerResource, false, "Most records of a share partition that are locked at once."),
    key("share.record.lock.duration.ms", Int, Value("30000"), AtLeast(1000.0), Medium, PerResource, false, "How long a delivered record is locked for its consumer."),
    key("share.renew.acknowledge.enable", Boolean, Value("true"), Any, Medium, PerResource, false, "Whether members may renew record locks."),
    key("share.session.timeout.ms", Int, Value("45000"), AtLeast(1.0), Medium, PerResource, false, "Time without a heartbeat after which a member is removed of a share group."),
    key("streams.acceptable.recovery.lag", Long, Value("10000"), AtLeast(0.0), Medium, PerResource, true, "Lag at which a streams task counts as caught up."),
    key("streams.assignment.interval.ms", Int, Value("1000"), AtLeast(0.0), Medium, PerResource, false, "Time between assignments of a streams group."),
    key("streams.assignor.name", Text, Null, Any, Medium, PerResource, false, "Assignor of the streams group."),
    key("streams.assignor.offload.enable", Boolean, Value("true"), Any, Medium, PerResource, true, "Whether assignments of streams groups are computed in the background."),
    key("streams.heartbeat.interval.ms", Int, Value("5000"), AtLeast(1.0), Medium, PerResource, false, "Time between heartbeats of a member of a streams group."),
    key("streams.initial.rebalance.delay.ms", Int, Value("3000"), AtLeast(0.0), Medium, PerResource, false, "Wait for more members before the first assignment of a streams group."),
    key("streams.num.standby.replicas", Int, Value("0"), AtLeast(0.0), Medium, PerResource, false, "Standby replicas of each streams task."),
    key("streams.num.warmup.replicas", Int, Value("2"), AtLeast(0.0), Medium, PerResource, true, "Most warm-up replicas of a streams group at once."),
    key("streams.rack.aware.assignment.tags", ListOf, Value(""), List { allowed: &[], empty: true, null: false }, Low, PerResource, false, "Client tags by which standby tasks are spread."),
    key("streams.session.timeout.ms", Int, Value("45000"), AtLeast(1.0), Medium, PerResource, false, "Time without a heartbeat after which a member is removed of a streams group."),
    key("streams.task.offset.interval.ms", Int, Value("60000"), AtLeast(1.0), Medium, PerResource, true, "Time between reports of task offsets by streams members."),
];
