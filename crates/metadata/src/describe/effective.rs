//! Where a topic's value comes from (`KafkaConfigSchema`).

use crate::config::table::{ConfigDefault, topic_synonyms};
use crate::config::{ConfigKey, StaticConfig};
use crate::image::{ConfigResource, ConfigsImage};

/// Where a value was set, by DescribeConfigs' numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    Topic,
    DynamicBroker,
    DynamicDefaultBroker,
    StaticBroker,
    Default,
    DynamicBrokerLogger,
    ClientMetrics,
    Group,
}

impl ConfigSource {
    pub fn code(self) -> i8 {
        match self {
            ConfigSource::Topic => 1,
            ConfigSource::DynamicBroker => 2,
            ConfigSource::DynamicDefaultBroker => 3,
            ConfigSource::StaticBroker => 4,
            ConfigSource::Default => 5,
            ConfigSource::DynamicBrokerLogger => 6,
            ConfigSource::ClientMetrics => 7,
            ConfigSource::Group => 8,
        }
    }
}

/// The text of a topic's value and its source: the topic's own (`own`), else dynamic ones of this
/// node and of all brokers, else the file's, else the default.
pub fn effective_topic_value<'a>(
    node: &StaticConfig,
    configs: &ConfigsImage,
    own: impl Fn(&str) -> Option<&'a str>,
    key: &ConfigKey,
) -> (Option<String>, ConfigSource) {
    if let Some(text) = own(key.name) {
        return (Some(text.to_owned()), ConfigSource::Topic);
    }
    let synonyms = topic_synonyms(key.name);
    let converted = |text: &str, factor: i64| match text.trim().parse::<i64>() {
        Ok(n) if factor != 1 => n.saturating_mul(factor).to_string(),
        _ => text.to_owned(),
    };
    for (resource, source) in [
        (ConfigResource::broker(node.node_id), ConfigSource::DynamicBroker),
        (ConfigResource::all_brokers(), ConfigSource::DynamicDefaultBroker),
    ] {
        let Some(map) = configs.get(&resource) else {
            continue;
        };
        for s in synonyms {
            if let Some(text) = map.get(s.name) {
                return (Some(converted(text, s.factor)), source);
            }
        }
    }
    for s in synonyms {
        if let Some(text) = node.explicit(s.name) {
            return (Some(converted(text, s.factor)), ConfigSource::StaticBroker);
        }
    }
    let default = match key.default {
        ConfigDefault::Value(text) => Some(text.to_owned()),
        ConfigDefault::Null | ConfigDefault::Required => None,
    };
    (default, ConfigSource::Default)
}
