//! Values of configuration keys: parsing, validation, and Kafka's words for what is wrong.

use std::fmt;

use super::listeners::{host_of, is_valid_host_pattern, port_of};
use super::table::{ConfigDefault, ConfigKey, ConfigType, Validator};

/// A parsed value. A missing value is `Null`.
#[derive(Debug, Clone, PartialEq)]
pub enum ConfigValue {
    Null,
    Boolean(bool),
    Int(i32),
    Short(i16),
    Long(i64),
    Double(f64),
    /// STRING, CLASS and PASSWORD values.
    Text(String),
    List(Vec<String>),
}

/// Why a value cannot be used. `Display` gives Kafka's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// `ConfigException(name, value, message)`.
    #[error("Invalid value {value} for configuration {name}: {reason}")]
    Invalid { name: String, value: String, reason: String },
    /// A `ConfigException` or `IllegalArgumentException` with a text of its own.
    #[error("{0}")]
    Rule(String),
    /// An `InvalidConfigurationException`, which keeps its own error code in every answer.
    #[error("{0}")]
    InvalidConfiguration(String),
    /// An `InvalidRequestException`.
    #[error("{0}")]
    InvalidRequest(String),
}

impl ConfigError {
    pub(super) fn invalid(name: &str, value: impl fmt::Display, reason: impl Into<String>) -> Self {
        ConfigError::Invalid { name: name.to_owned(), value: value.to_string(), reason: reason.into() }
    }
}

/// A double as Java's `Double.toString` writes it.
pub fn java_double(v: f64) -> String {
    if v.is_nan() {
        return "NaN".to_owned();
    }
    if v.is_infinite() {
        return if v > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let abs = v.abs();
    if abs == 0.0 || (1e-3..1e7).contains(&abs) {
        let s = format!("{v}");
        return if s.contains('.') { s } else { s + ".0" };
    }
    let s = format!("{v:e}");
    let (mantissa, exponent) = s.split_once('e').unwrap_or((&s, "0"));
    if mantissa.contains('.') { format!("{mantissa}E{exponent}") } else { format!("{mantissa}.0E{exponent}") }
}

impl fmt::Display for ConfigValue {
    /// As `ConfigDef.convertToString` writes it; an absent value as `null`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigValue::Null => f.write_str("null"),
            ConfigValue::Boolean(v) => write!(f, "{v}"),
            ConfigValue::Int(v) => write!(f, "{v}"),
            ConfigValue::Short(v) => write!(f, "{v}"),
            ConfigValue::Long(v) => write!(f, "{v}"),
            ConfigValue::Double(v) => f.write_str(&java_double(*v)),
            ConfigValue::Text(v) => f.write_str(v),
            ConfigValue::List(v) => f.write_str(&v.join(",")),
        }
    }
}

impl ConfigValue {
    /// The canonical text, `None` for an absent value.
    pub fn to_text(&self) -> Option<String> {
        match self {
            ConfigValue::Null => None,
            v => Some(v.to_string()),
        }
    }

    /// As it stands in an error message, where Java shows a list in brackets.
    fn shown(&self) -> String {
        match self {
            ConfigValue::List(v) => java_list(v),
            v => v.to_string(),
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            ConfigValue::Int(v) => Some(f64::from(*v)),
            ConfigValue::Short(v) => Some(f64::from(*v)),
            ConfigValue::Long(v) => Some(*v as f64),
            ConfigValue::Double(v) => Some(*v),
            _ => None,
        }
    }
}

/// A list as Java's `List.toString` writes it.
pub fn java_list<T: AsRef<str>>(items: &[T]) -> String {
    let mut out = String::from("[");
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        out.push_str(item.as_ref());
    }
    out.push(']');
    out
}

/// Splits a list: elements separated by commas, spaces around commas dropped.
pub fn split_list(text: &str) -> Vec<String> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Vec::new();
    }
    trimmed.split(',').map(|s| s.trim().to_owned()).collect()
}

fn parse_java_double(text: &str) -> Option<f64> {
    match text {
        "NaN" | "+NaN" | "-NaN" => return Some(f64::NAN),
        "Infinity" | "+Infinity" => return Some(f64::INFINITY),
        "-Infinity" => return Some(f64::NEG_INFINITY),
        _ => {}
    }
    let digits = text.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(text);
    if digits.chars().any(|c| !(c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E'))) {
        return None;
    }
    digits.parse().ok()
}

/// Parses a value by the type of its key, without the key's validator.
pub fn parse_type(name: &str, text: &str, kind: ConfigType) -> Result<ConfigValue, ConfigError> {
    let trimmed = text.trim();
    let number = || ConfigError::invalid(name, text, format!("Not a number of type {}", kind.name()));
    Ok(match kind {
        ConfigType::Boolean => {
            if trimmed.eq_ignore_ascii_case("true") {
                ConfigValue::Boolean(true)
            } else if trimmed.eq_ignore_ascii_case("false") {
                ConfigValue::Boolean(false)
            } else {
                return Err(ConfigError::invalid(name, text, "Expected value to be either true or false"));
            }
        }
        ConfigType::Text | ConfigType::Password | ConfigType::Class => ConfigValue::Text(trimmed.to_owned()),
        ConfigType::Int => ConfigValue::Int(trimmed.parse().map_err(|_| number())?),
        ConfigType::Short => ConfigValue::Short(trimmed.parse().map_err(|_| number())?),
        ConfigType::Long => ConfigValue::Long(trimmed.parse().map_err(|_| number())?),
        ConfigType::Double => ConfigValue::Double(parse_java_double(trimmed).ok_or_else(number)?),
        ConfigType::ListOf => ConfigValue::List(split_list(trimmed)),
    })
}

/// The value of a key that nobody set.
pub fn default_value(key: &ConfigKey) -> Option<ConfigValue> {
    match key.default {
        ConfigDefault::Required => None,
        ConfigDefault::Null => Some(ConfigValue::Null),
        ConfigDefault::Value(text) => {
            Some(parse_type(key.name, text, key.kind).expect("the table's defaults are valid"))
        }
    }
}

/// Parses and validates a value. Doubled elements of a list with a list validator are dropped
/// (as Kafka does, with a warning in its log).
pub fn parse_value(key: &ConfigKey, text: &str) -> Result<ConfigValue, ConfigError> {
    let mut value = parse_type(key.name, text, key.kind)?;
    if let (Validator::List { .. }, ConfigValue::List(items)) = (key.validator, &mut value) {
        let mut kept: Vec<String> = Vec::with_capacity(items.len());
        for item in items.drain(..) {
            if !kept.contains(&item) {
                kept.push(item);
            }
        }
        *items = kept;
    }
    validate(key, &value)?;
    Ok(value)
}

fn bound(v: f64) -> String {
    if v.fract() == 0.0 && v.abs() < 9e15 { format!("{}", v as i64) } else { java_double(v) }
}

fn is_replica_pair(s: &str) -> bool {
    match s.split_once(':') {
        None => s.is_empty(),
        Some((a, b)) => {
            !a.is_empty()
                && !b.is_empty()
                && a.bytes().all(|c| c.is_ascii_digit())
                && b.bytes().all(|c| c.is_ascii_digit())
        }
    }
}

fn validate(key: &ConfigKey, value: &ConfigValue) -> Result<(), ConfigError> {
    let name = key.name;
    let fail = |reason: String| Err(ConfigError::invalid(name, value.shown(), reason));
    match key.validator {
        Validator::Any => Ok(()),
        Validator::AtLeast(min) => match value.number() {
            None => fail("Value must be non-null".to_owned()),
            Some(n) if n < min => fail(format!("Value must be at least {}", bound(min))),
            Some(_) => Ok(()),
        },
        Validator::Between(min, max) => match value.number() {
            None => fail("Value must be non-null".to_owned()),
            Some(n) if n < min => fail(format!("Value must be at least {}", bound(min))),
            Some(n) if n > max => fail(format!("Value must be no more than {}", bound(max))),
            Some(_) => Ok(()),
        },
        Validator::GzipLevel => match value.number() {
            Some(n) if n == -1.0 || (1.0..=9.0).contains(&n) => Ok(()),
            _ => fail("Value must be between 1 and 9 or equal to -1".to_owned()),
        },
        Validator::OneOf(allowed) => match value {
            ConfigValue::Text(s) if allowed.contains(&s.as_str()) => Ok(()),
            _ => fail(format!("String must be one of: {}", allowed.join(", "))),
        },
        Validator::OneOfIgnoreCase(allowed) => match value {
            ConfigValue::Text(s) if allowed.iter().any(|a| a.eq_ignore_ascii_case(s)) => Ok(()),
            _ => fail(format!("String must be one of (case insensitive): {}", allowed.join(", "))),
        },
        Validator::List { allowed, empty, null } => validate_list(name, value, allowed, empty, null),
        Validator::NonEmptyString => match value {
            ConfigValue::Text(s) if s.is_empty() => fail("String must be non-empty".to_owned()),
            _ => Ok(()),
        },
        Validator::NonNull => match value {
            ConfigValue::Null => fail("entry must be non null".to_owned()),
            _ => Ok(()),
        },
        Validator::ThrottledReplicas => match value {
            ConfigValue::List(items) if items.iter().all(|s| is_replica_pair(s)) || items.concat() == "*" => {
                Ok(())
            }
            _ => fail(format!(
                "{name} must be the literal '*' or a list of replicas in the following format: \
                 [partitionId]:[brokerId],[partitionId]:[brokerId],..."
            )),
        },
        Validator::QuorumVoters => match value {
            ConfigValue::List(items) => parse_voters(items, false).map(drop),
            _ => Err(ConfigError::Rule(format!("Invalid value null for configuration {name}"))),
        },
        Validator::BootstrapServers => match value {
            ConfigValue::List(items) => items.iter().try_for_each(|i| parse_bootstrap_server(i).map(drop)),
            _ => Err(ConfigError::Rule(format!("Invalid value null for configuration {name}"))),
        },
        Validator::AutoOffsetReset => match value {
            ConfigValue::Text(s) if is_offset_reset(s) => Ok(()),
            v => fail(format!(
                "Invalid value `{v}` for configuration {name}. The value must be either 'earliest', \
                 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'."
            )),
        },
    }
}

fn validate_list(
    name: &str,
    value: &ConfigValue,
    allowed: &[&str],
    empty: bool,
    null: bool,
) -> Result<(), ConfigError> {
    let items = match value {
        ConfigValue::List(items) => items,
        _ if null => return Ok(()),
        _ => {
            return Err(ConfigError::Rule(format!("Configuration '{name}' values must not be null.")));
        }
    };
    if !empty && items.is_empty() {
        let valid = if allowed.is_empty() { "any non-empty value".to_owned() } else { java_list(allowed) };
        return Err(ConfigError::Rule(format!(
            "Configuration '{name}' must not be empty. Valid values include: {valid}"
        )));
    }
    for item in items {
        if item.is_empty() {
            return Err(ConfigError::Rule(format!("Configuration '{name}' values must not be empty.")));
        }
        if !allowed.is_empty() && !allowed.contains(&item.as_str()) {
            return Err(ConfigError::invalid(
                name,
                item,
                format!("String must be one of: {}", allowed.join(", ")),
            ));
        }
    }
    Ok(())
}

fn is_offset_reset(s: &str) -> bool {
    match s.strip_prefix("by_duration:") {
        Some(d) => parse_iso_duration_ms(d).is_some_and(|ms| ms >= 0),
        None => s == "latest" || s == "earliest",
    }
}

/// An ISO-8601 duration as `java.time.Duration.parse` reads it, in milliseconds.
pub fn parse_iso_duration_ms(text: &str) -> Option<i64> {
    let upper = text.to_ascii_uppercase();
    let (negative, rest) = match upper.strip_prefix(['-', '+']) {
        Some(rest) => (upper.starts_with('-'), rest),
        None => (false, upper.as_str()),
    };
    let rest = rest.strip_prefix('P')?;
    let (days, time) = match rest.split_once('T') {
        Some((d, t)) if !t.is_empty() => (d, Some(t)),
        Some(_) => return None,
        None => (rest, None),
    };
    let mut total = 0i64;
    let mut any = false;
    if !days.is_empty() {
        let n: i64 = days.strip_suffix('D')?.parse().ok()?;
        total = n.checked_mul(86_400_000)?;
        any = true;
    }
    let mut number = String::new();
    let mut stage = 0;
    for c in time.unwrap_or("").chars() {
        let (next, unit_ms) = match c {
            'H' => (1, 3_600_000i64),
            'M' => (2, 60_000),
            'S' => (3, 1000),
            c => {
                number.push(c);
                continue;
            }
        };
        if next <= stage {
            return None;
        }
        stage = next;
        let part = if c == 'S' && number.contains('.') {
            let (whole, fraction) = number.split_once('.')?;
            if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            let mut millis = fraction.to_owned();
            while millis.len() < 3 {
                millis.push('0');
            }
            let seconds: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
            let ms: i64 = millis.get(..3)?.parse().ok()?;
            let ms = if whole.starts_with('-') { -ms } else { ms };
            seconds.checked_mul(1000)?.checked_add(ms)?
        } else {
            number.parse::<i64>().ok()?.checked_mul(unit_ms)?
        };
        total = total.checked_add(part)?;
        any = true;
        number.clear();
    }
    if !any || !number.is_empty() {
        return None;
    }
    Some(if negative { -total } else { total })
}

/// A voter of `controller.quorum.voters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoterAddress {
    pub id: i32,
    pub host: String,
    pub port: u16,
}

/// Parses the entries of `controller.quorum.voters` (`QuorumConfig.parseVoterConnections`).
pub fn parse_voters(entries: &[String], routable: bool) -> Result<Vec<VoterAddress>, ConfigError> {
    const KEY: &str = "controller.quorum.voters";
    const FORM: &str = "Each entry should be in the form `{id}@{host}:{port}`.";
    let mut out = Vec::with_capacity(entries.len());
    for entry in entries {
        let Some((id, address)) = entry.split_once('@').filter(|(_, a)| !a.contains('@')) else {
            return Err(ConfigError::Rule(format!("Invalid configuration value for {KEY}. {FORM}")));
        };
        let id: i32 = id.parse().map_err(|_| {
            ConfigError::Rule(format!(
                "Failed to parse voter ID as an integer from {id} for the configuration {KEY}"
            ))
        })?;
        let Some(host) = host_of(address).filter(|h| is_valid_host_pattern(h)) else {
            return Err(ConfigError::Rule(format!(
                "Failed to parse host name from entry {entry} for the configuration {KEY}. {FORM}"
            )));
        };
        let Some(port) = port_of(address) else {
            return Err(ConfigError::Rule(format!(
                "Failed to parse host port from entry {entry} for the configuration {KEY}. {FORM}"
            )));
        };
        if routable && host == "0.0.0.0" {
            return Err(ConfigError::Rule(format!("Host string ({host}) is not routeable")));
        }
        out.push(VoterAddress { id, host: host.to_owned(), port });
    }
    Ok(out)
}

/// Parses one entry of `controller.quorum.bootstrap.servers` into host and port.
pub fn parse_bootstrap_server(entry: &str) -> Result<(String, u16), ConfigError> {
    const KEY: &str = "controller.quorum.bootstrap.servers";
    let Some(host) = host_of(entry).filter(|h| is_valid_host_pattern(h)) else {
        return Err(ConfigError::Rule(format!(
            "Failed to parse host name from {entry} for the configuration {KEY}. Each entry should be in \
             the form \"{{host}}:{{port}}\""
        )));
    };
    let Some(port) = port_of(entry) else {
        return Err(ConfigError::Rule(format!(
            "Failed to parse host port from {entry} for the configuration {KEY}. Each entry should be in \
             the form \"{{host}}:{{port}}\""
        )));
    };
    Ok((host.to_owned(), port))
}

/// Kafka's text for what a key accepts, for messages and documentation.
pub fn valid_values(key: &ConfigKey) -> String {
    match key.validator {
        Validator::Any => String::new(),
        Validator::AtLeast(min) => format!("[{},...]", bound(min)),
        Validator::Between(min, max) => format!("[{},...,{}]", bound(min), bound(max)),
        Validator::OneOf(allowed) => java_list(allowed),
        Validator::OneOfIgnoreCase(allowed) => format!("(case insensitive) {}", java_list(allowed)),
        Validator::List { allowed: [], .. } => String::new(),
        Validator::List { allowed, .. } => java_list(allowed),
        Validator::NonEmptyString => "non-empty string".to_owned(),
        Validator::NonNull => "non-null string".to_owned(),
        Validator::GzipLevel => "[1,...,9] or -1".to_owned(),
        Validator::ThrottledReplicas => "[partitionId]:[brokerId],[partitionId]:[brokerId],...".to_owned(),
        Validator::QuorumVoters | Validator::BootstrapServers => "non-empty list".to_owned(),
        Validator::AutoOffsetReset => "[latest, earliest, by_duration:PnDTnHnMn.nS]".to_owned(),
    }
}
