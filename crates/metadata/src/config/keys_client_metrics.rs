//! The table of keys of client metrics subscriptions.

use super::table::{
    ConfigDefault::Value, ConfigKey, ConfigType::*, DynamicMode::*, Importance::*, Validator::*, key,
};

/// Sorted by name. One row: name, type, default, validator, importance, dynamic mode, internal, what it does.
#[rustfmt::skip]
pub static CLIENT_METRICS_KEYS: &[ConfigKey] = &[
    key("interval.ms", Int, Value("300000"), Any, Medium, PerResource, false, "Time between pushes of metrics."),
    key("match", ListOf, Value(""), List { allowed: &[], empty: true, null: false }, Medium, PerResource, false, "Which clients push: parameter=pattern, comma separated; all if empty."),
    key("metrics", ListOf, Value(""), List { allowed: &[], empty: true, null: false }, Medium, PerResource, false, "Prefixes of the metrics to push; `*` for all."),
];
