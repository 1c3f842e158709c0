//! Client configuration: Kafka's keys as text, read with their defaults.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use crate::ClientError;

/// Keys that are understood here. Others are kept and warned about, as Kafka does.
const KNOWN: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "batch.size",
    "bootstrap.controllers",
    "bootstrap.servers",
    "buffer.memory",
    "check.crcs",
    "client.id",
    "client.rack",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "connections.max.idle.ms",
    "default.api.timeout.ms",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.idempotence",
    "exclude.internal.topics",
    "fetch.max.bytes",
    "fetch.max.wait.ms",
    "fetch.min.bytes",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "isolation.level",
    "key.deserializer",
    "key.serializer",
    "linger.ms",
    "max.block.ms",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "max.poll.records",
    "max.request.size",
    "metadata.max.age.ms",
    "metadata.max.idle.ms",
    "partition.assignment.strategy",
    "partitioner.ignore.keys",
    "receive.buffer.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "security.protocol",
    "send.buffer.bytes",
    "session.timeout.ms",
    "socket.connection.setup.timeout.max.ms",
    "socket.connection.setup.timeout.ms",
    "transaction.timeout.ms",
    "transactional.id",
    "value.deserializer",
    "value.serializer",
    "enable.metrics.push",
    "client.dns.lookup",
];

/// A map of Kafka's client keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientConfig {
    entries: BTreeMap<String, String>,
}

impl ClientConfig {
    pub fn new() -> ClientConfig {
        ClientConfig::default()
    }

    /// The configuration of a client of these brokers.
    pub fn of_servers(bootstrap_servers: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap_servers);
        config
    }

    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) -> &mut ClientConfig {
        self.entries.insert(key.into(), value.into());
        self
    }

    /// Sets a key that has no value yet.
    pub fn set_default(&mut self, key: &str, value: impl Into<String>) -> &mut ClientConfig {
        if !self.entries.contains_key(key) {
            self.entries.insert(key.to_owned(), value.into());
        }
        self
    }

    pub fn remove(&mut self, key: &str) -> Option<String> {
        self.entries.remove(key)
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.get(key).map(String::as_str)
    }

    pub fn contains(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    pub fn extend(&mut self, entries: impl IntoIterator<Item = (String, String)>) {
        self.entries.extend(entries);
    }

    pub fn text(&self, key: &str, default: &str) -> String {
        self.get(key).unwrap_or(default).trim().to_owned()
    }

    /// A number or other parsed value.
    ///
    /// # Errors
    /// When the text cannot be parsed, with Kafka's text.
    pub fn parsed<T: FromStr>(&self, key: &str, default: T) -> Result<T, ClientError> {
        let Some(text) = self.get(key) else { return Ok(default) };
        text.trim().parse().map_err(|_| {
            let kind = std::any::type_name::<T>();
            let kind = match kind {
                "i32" | "i16" | "u32" => "INT",
                "i64" | "u64" | "usize" => "LONG",
                _ => "DOUBLE",
            };
            ClientError::Config(format!(
                "Invalid value {text} for configuration {key}: Not a number of type {kind}"
            ))
        })
    }

    pub fn flag(&self, key: &str, default: bool) -> Result<bool, ClientError> {
        match self.get(key).map(|v| v.trim().to_ascii_lowercase()) {
            None => Ok(default),
            Some(v) if v == "true" => Ok(true),
            Some(v) if v == "false" => Ok(false),
            Some(v) => Err(ClientError::Config(format!(
                "Invalid value {v} for configuration {key}: Expected value to be either true or false"
            ))),
        }
    }

    /// A time in milliseconds.
    pub fn millis(&self, key: &str, default: u64) -> Result<Duration, ClientError> {
        Ok(Duration::from_millis(self.parsed(key, default)?))
    }

    /// Keys that nothing here reads.
    pub fn unknown_keys(&self) -> Vec<&str> {
        self.iter()
            .map(|(k, _)| k)
            .filter(|k| KNOWN.binary_search(k).is_err() && !KNOWN.contains(k))
            .collect()
    }

    pub(crate) fn warn_unknown(&self) {
        for key in self.unknown_keys() {
            tracing::warn!("the configuration '{key}' was supplied but is not used yet");
        }
    }
}

/// Reads Java's properties text: comments, `\` continuation, `=`, `:` or blank as the separator, escapes.
pub fn parse_properties(text: &str) -> Vec<(String, String)> {
    let mut entries = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut line = line.trim_start().to_owned();
        if line.is_empty() || line.starts_with('#') || line.starts_with('!') {
            continue;
        }
        while line.ends_with('\\') && line.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1 {
            line.pop();
            match lines.next() {
                Some(next) => line.push_str(next.trim_start()),
                None => break,
            }
        }
        entries.push(property(&line));
    }
    entries
}

fn property(line: &str) -> (String, String) {
    let mut key = String::new();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.peek().copied() {
        if c == '=' || c == ':' || c.is_whitespace() {
            break;
        }
        chars.next();
        if c == '\\' { unescape(&mut chars, &mut key) } else { key.push(c) }
    }
    let mut separator = false;
    while let Some(c) = chars.peek().copied() {
        if c.is_whitespace() || (!separator && (c == '=' || c == ':')) {
            separator |= c == '=' || c == ':';
            chars.next();
        } else {
            break;
        }
    }
    let mut value = String::new();
    while let Some(c) = chars.next() {
        if c == '\\' { unescape(&mut chars, &mut value) } else { value.push(c) }
    }
    (key, value)
}

fn unescape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    match chars.next() {
        Some('t') => out.push('\t'),
        Some('n') => out.push('\n'),
        Some('r') => out.push('\r'),
        Some('f') => out.push('\u{c}'),
        Some('u') => {
            let hex: String = chars.clone().take(4).collect();
            match u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32) {
                Some(c) if hex.len() == 4 => {
                    out.push(c);
                    for _ in 0..4 {
                        chars.next();
                    }
                }
                _ => out.push('u'),
            }
        }
        Some(c) => out.push(c),
        None => {}
    }
}

#[cfg(test)]
mod tests;
