//! Rules for the configurations of groups and of client metrics subscriptions.

use super::static_config::StaticConfig;
use super::table::{client_metrics_key, group_key};
use super::value::{ConfigError, ConfigValue, java_list, parse_value, split_list};

fn invalid<T>(text: String) -> Result<T, ConfigError> {
    Err(ConfigError::InvalidConfiguration(text))
}

/// Checks the whole configuration that a group would have (`GroupConfig.validate`). `broker` gives
/// the bounds.
pub fn validate_group_config(broker: &StaticConfig, new: &[(&str, &str)]) -> Result<(), ConfigError> {
    const TAGS: &str = "streams.rack.aware.assignment.tags";
    for (name, _) in new {
        if group_key(name).is_none() {
            return invalid(format!("Unknown group config name: {name}"));
        }
    }
    if let Some((_, text)) = new.iter().find(|(n, _)| *n == TAGS) {
        let tags = split_list(text);
        if tags.iter().enumerate().any(|(i, t)| tags[..i].contains(t)) {
            return invalid(format!("{TAGS} must not contain duplicate tag keys."));
        }
    }
    let mut parsed: Vec<(&str, ConfigValue)> = Vec::with_capacity(new.len());
    for (name, text) in new {
        if let Some(key) = group_key(name) {
            parsed.push((key.name, parse_value(key, text)?));
        }
    }
    let get = |name: &str| {
        parsed.iter().find(|(n, _)| *n == name).and_then(|(_, v)| match v {
            ConfigValue::Int(v) => Some(*v),
            _ => None,
        })
    };
    let range = |name: &str, low: &str, high: &str| {
        let (low, high) = (broker.get_int(low), broker.get_int(high));
        match get(name) {
            Some(v) if v < low || v > high => {
                invalid(format!("{name} must be in the range {low} to {high} inclusive."))
            }
            _ => Ok(()),
        }
    };
    let most = |name: &str, high: &str| {
        let high = broker.get_int(high);
        match get(name) {
            Some(v) if v > high => invalid(format!("{name} must be less than or equal to {high}")),
            _ => Ok(()),
        }
    };
    for kind in ["consumer", "share", "streams"] {
        let ranged: &[&str] = match kind {
            "consumer" => &["heartbeat.interval.ms", "session.timeout.ms", "assignment.interval.ms"],
            "share" => &[
                "heartbeat.interval.ms",
                "session.timeout.ms",
                "record.lock.duration.ms",
                "delivery.count.limit",
                "partition.max.record.locks",
                "assignment.interval.ms",
            ],
            _ => &["heartbeat.interval.ms", "session.timeout.ms"],
        };
        for key in ranged {
            range(
                &format!("{kind}.{key}"),
                &format!("group.{kind}.min.{key}"),
                &format!("group.{kind}.max.{key}"),
            )?;
        }
    }
    most("streams.num.standby.replicas", "group.streams.max.standby.replicas")?;
    range(
        "streams.assignment.interval.ms",
        "group.streams.min.assignment.interval.ms",
        "group.streams.max.assignment.interval.ms",
    )?;
    let least = broker.get_int("group.streams.min.task.offset.interval.ms");
    if let Some(v) = get("streams.task.offset.interval.ms")
        && v < least
    {
        return invalid(format!("streams.task.offset.interval.ms must be greater than or equal to {least}"));
    }
    most("streams.num.warmup.replicas", "group.streams.max.warmup.replicas")?;
    check_assignor(broker, &parsed)?;
    for kind in ["consumer", "share", "streams"] {
        let session = format!("{kind}.session.timeout.ms");
        let heartbeat = format!("{kind}.heartbeat.interval.ms");
        if get(&session).is_none() && get(&heartbeat).is_none() {
            continue;
        }
        let effective = |name: &str| get(name).unwrap_or_else(|| broker.get_int(&format!("group.{name}")));
        if effective(&session) <= effective(&heartbeat) {
            return invalid(format!("{session} must be greater than {heartbeat}"));
        }
    }
    const DLQ: &str = "errors.deadletterqueue.topic.name";
    match parsed.iter().find(|(n, _)| *n == DLQ) {
        Some((_, ConfigValue::Text(topic))) if topic.starts_with("__") => {
            invalid(format!("{DLQ}: DLQ topic name must not start with '__'"))
        }
        _ => Ok(()),
    }
}

fn check_assignor(broker: &StaticConfig, parsed: &[(&str, ConfigValue)]) -> Result<(), ConfigError> {
    const NAME: &str = "streams.assignor.name";
    let registered = broker.get_list("group.streams.assignors");
    match parsed.iter().find(|(n, _)| *n == NAME) {
        Some((_, ConfigValue::Text(name))) if !registered.contains(name) => invalid(format!(
            "{NAME} '{name}' is not a registered task assignor. Registered assignors are: {}.",
            java_list(registered)
        )),
        _ => Ok(()),
    }
}

const MATCH_PARAMETERS: &[&str] = &[
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

/// The `name=pattern` pairs of a subscription's `match`, in order. Patterns are not compiled here.
pub fn parse_matching_patterns(patterns: &[String]) -> Result<Vec<(&str, &str)>, ConfigError> {
    let mut out = Vec::with_capacity(patterns.len());
    for pattern in patterns {
        let illegal =
            || ConfigError::InvalidConfiguration(format!("Illegal client matching pattern: {pattern}"));
        // As Java's split does, trailing empty parts do not count.
        let (name, value) = pattern.split_once('=').ok_or_else(illegal)?;
        let value = value.trim_end_matches('=');
        if value.is_empty() || value.contains('=') || !MATCH_PARAMETERS.contains(&name.trim()) {
            return Err(illegal());
        }
        out.push((name.trim(), value.trim()));
    }
    Ok(out)
}

/// Whether parentheses and brackets of a pattern are balanced, which catches what Java's compiler
/// would most often refuse.
fn is_balanced(pattern: &str) -> bool {
    let (mut depth, mut in_class) = (0i32, false);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.next().is_none() => return false,
            '\\' => {}
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => depth += 1,
            ')' if !in_class => {
                depth -= 1;
                if depth < 0 {
                    return false;
                }
            }
            _ => {}
        }
    }
    depth == 0 && !in_class && !pattern.starts_with(['*', '+', '?'])
}

/// Checks the whole configuration that a subscription would have (`ClientMetricsConfigs.validate`).
pub fn validate_client_metrics_config(subscription: &str, new: &[(&str, &str)]) -> Result<(), ConfigError> {
    if subscription.is_empty() {
        return Err(ConfigError::InvalidRequest("Subscription name can't be empty".to_owned()));
    }
    for (name, _) in new {
        if client_metrics_key(name).is_none() {
            return Err(ConfigError::InvalidRequest(format!("Unknown client metrics configuration: {name}")));
        }
    }
    for (name, text) in new {
        let Some(key) = client_metrics_key(name) else {
            continue;
        };
        match (key.name, parse_value(key, text)?) {
            ("interval.ms", ConfigValue::Int(ms)) if !(100..=3_600_000).contains(&ms) => {
                return Err(ConfigError::InvalidRequest(format!(
                    "Invalid value {ms} for interval.ms, interval must be between 100 and 3600000 (1 hour)"
                )));
            }
            ("match", ConfigValue::List(patterns)) => {
                for (name, pattern) in parse_matching_patterns(&patterns)? {
                    if !is_balanced(pattern) {
                        return invalid(format!("Illegal client matching pattern: {name}={pattern}"));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}
