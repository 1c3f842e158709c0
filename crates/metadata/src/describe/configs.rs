//! DescribeConfigs (`ConfigHelper`).

use std::collections::BTreeMap;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use ottla_protocol::types::Str;

use super::effective::ConfigSource;
use crate::config::table::{
    ConfigDefault, DynamicMode, broker_key, broker_key_type, broker_synonyms, group_key, group_synonym,
    topic_synonyms,
};
use crate::config::{
    BROKER_KEYS, CLIENT_METRICS_KEYS, ConfigKey, ConfigType, ConfigValue, GROUP_KEYS, StaticConfig,
    TOPIC_KEYS, default_value, parse_value, topic_default,
};
use crate::controller::{ApiError, validate_topic_name};
use crate::image::{ConfigMap, ConfigResource, MetadataImage, ResourceKind};

/// What a broker knows of its own configuration.
#[derive(Debug, Clone, Copy)]
pub struct BrokerView<'a> {
    /// As started, without dynamic values.
    pub static_config: &'a StaticConfig,
    /// In force: with the dynamic values of the cluster and of this broker laid over it.
    pub current: &'a StaticConfig,
    pub image: &'a MetadataImage,
    /// Levels of this broker's loggers, by name.
    pub loggers: &'a BTreeMap<String, String>,
}

const UNKNOWN_TYPE: i8 = 0;

/// DescribeConfigs. An error of a resource stands in its result.
pub fn describe_configs(view: &BrokerView<'_>, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
    let describer = Describer {
        view,
        synonyms: request.include_synonyms,
        documentation: request.include_documentation,
        own: view.image.configs.get(&ConfigResource::broker(view.static_config.node_id)).map(|m| m.as_ref()),
        all: view.image.configs.get(&ConfigResource::all_brokers()).map(|m| m.as_ref()),
    };
    // One unknown kind fails the request for every resource, with the code's own text.
    let known = |r: &DescribeConfigsResource| {
        matches!(
            ResourceKind(r.resource_type),
            ResourceKind::TOPIC
                | ResourceKind::BROKER
                | ResourceKind::BROKER_LOGGER
                | ResourceKind::CLIENT_METRICS
                | ResourceKind::GROUP
        )
    };
    let all_known = request.resources.iter().all(known);
    let results = request
        .resources
        .iter()
        .map(|r| {
            let mut result = DescribeConfigsResult {
                resource_type: r.resource_type,
                resource_name: r.resource_name.clone(),
                ..Default::default()
            };
            let described =
                if all_known { describer.resource(r) } else { invalid(ErrorCode::InvalidRequest.message()) };
            match described {
                Ok(mut configs) => {
                    if let Some(wanted) = r.configuration_keys.as_ref().filter(|k| !k.is_empty()) {
                        configs.retain(|c| wanted.contains(&c.name));
                    }
                    result.configs = configs;
                }
                Err(e) => {
                    result.error_code = e.code.code();
                    // Kafka leaves the text empty, not null, where it has none.
                    result.error_message = Some(e.message.map(Str::from).unwrap_or_default());
                }
            }
            result
        })
        .collect();
    DescribeConfigsResponse { results, ..Default::default() }
}

struct Describer<'a> {
    view: &'a BrokerView<'a>,
    synonyms: bool,
    documentation: bool,
    own: Option<&'a ConfigMap>,
    all: Option<&'a ConfigMap>,
}

fn invalid<T>(text: impl Into<String>) -> Result<T, ApiError> {
    Err(ApiError::new(ErrorCode::InvalidRequest, text))
}

fn synonym(name: &str, value: Option<&str>, source: ConfigSource) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym {
        name: name.into(),
        value: value.map(Str::from),
        source: source.code(),
        ..Default::default()
    }
}

impl Describer<'_> {
    fn resource(&self, r: &DescribeConfigsResource) -> Result<Vec<DescribeConfigsResourceResult>, ApiError> {
        let name = &*r.resource_name;
        match ResourceKind(r.resource_type) {
            ResourceKind::TOPIC => self.topic(name),
            ResourceKind::BROKER => self.broker(name),
            ResourceKind::BROKER_LOGGER => self.loggers(name),
            ResourceKind::CLIENT_METRICS => self.client_metrics(name),
            ResourceKind::GROUP => self.group(name),
            _ => invalid(ErrorCode::InvalidRequest.message()),
        }
    }

    fn topic(&self, name: &str) -> Result<Vec<DescribeConfigsResourceResult>, ApiError> {
        validate_topic_name(name).map_err(|text| ApiError::new(ErrorCode::InvalidTopicException, text))?;
        let image = self.view.image;
        if image.topics.by_name(name).is_none() {
            return Err(ApiError::silent(ErrorCode::UnknownTopicOrPartition));
        }
        let own = image.configs.topic(name);
        let set = |key: &str| own.and_then(|m| m.get(key)).map(|v| &**v);
        let mut out = Vec::new();
        for key in TOPIC_KEYS {
            if key.internal && set(key.name).is_none() {
                continue;
            }
            let value = set(key.name)
                .and_then(|text| parse_value(key, text).ok())
                .unwrap_or_else(|| topic_default(self.view.current, key.name));
            let text = value.to_text();
            let mut synonyms = Vec::new();
            if set(key.name).is_some() {
                synonyms.push(synonym(key.name, text.as_deref(), ConfigSource::Topic));
            }
            if let Some(first) = topic_synonyms(key.name).first() {
                synonyms.extend(self.broker_values(first.name, false));
            }
            out.push(self.entry(key, text, synonyms));
        }
        Ok(out)
    }

    fn group(&self, name: &str) -> Result<Vec<DescribeConfigsResourceResult>, ApiError> {
        if name.is_empty() {
            return invalid("Group name must not be empty");
        }
        let own = self.view.image.configs.get(&ConfigResource::group(name));
        let set = |key: &str| own.and_then(|m| m.get(key)).map(|v| &**v);
        let mut out = Vec::new();
        for key in GROUP_KEYS {
            if key.internal && set(key.name).is_none() {
                continue;
            }
            let broker_name = group_synonym(key.name);
            let value = set(key.name)
                .and_then(|text| parse_value(group_key(key.name)?, text).ok())
                .unwrap_or_else(|| match broker_name {
                    // The broker lists assignors, a group has one of them.
                    Some("group.streams.assignors") => {
                        let list = self.view.current.get_list("group.streams.assignors");
                        ConfigValue::Text(list.first().cloned().unwrap_or_default())
                    }
                    Some(broker_name) => self.view.current.value(broker_name).clone(),
                    None => default_value(key).unwrap_or(ConfigValue::Null),
                });
            let text = value.to_text();
            let mut synonyms = Vec::new();
            if set(key.name).is_some() {
                synonyms.push(synonym(key.name, text.as_deref(), ConfigSource::Group));
            }
            match (broker_name, key.default) {
                (Some(broker_name), _) => synonyms.extend(self.broker_values(broker_name, false)),
                (None, ConfigDefault::Value(default)) => {
                    synonyms.push(synonym(key.name, Some(default), ConfigSource::Default));
                }
                _ => {}
            }
            out.push(self.entry(key, text, synonyms));
        }
        Ok(out)
    }

    fn client_metrics(&self, name: &str) -> Result<Vec<DescribeConfigsResourceResult>, ApiError> {
        if name.is_empty() {
            return invalid("Client metrics subscription name must not be empty");
        }
        let resource = ConfigResource::new(ResourceKind::CLIENT_METRICS, name);
        let own = self.view.image.configs.get(&resource);
        let mut out = Vec::new();
        for key in CLIENT_METRICS_KEYS {
            let set = own.and_then(|m| m.get(key.name));
            let value = set
                .and_then(|text| parse_value(key, text).ok())
                .or_else(|| default_value(key))
                .unwrap_or(ConfigValue::Null);
            let text = value.to_text();
            let mut synonyms = Vec::new();
            if set.is_some() {
                let source = ConfigSource::ClientMetrics;
                synonyms.push(synonym(key.name, text.as_deref(), source));
            }
            out.push(self.entry(key, text, synonyms));
        }
        Ok(out)
    }

    /// An entry of a resource whose keys are all known.
    fn entry(
        &self,
        key: &ConfigKey,
        value: Option<String>,
        synonyms: Vec<DescribeConfigsSynonym>,
    ) -> DescribeConfigsResourceResult {
        let source = synonyms.first().map_or(ConfigSource::Default.code(), |s| s.source);
        DescribeConfigsResourceResult {
            name: Str::from_static(key.name),
            value: value.map(Str::from),
            read_only: false,
            config_source: source,
            is_sensitive: false,
            synonyms: if self.synonyms { synonyms } else { Vec::new() },
            config_type: key.kind.response_code(),
            documentation: self.documentation.then(|| Str::from_static(key.doc)),
            ..Default::default()
        }
    }

    fn loggers(&self, name: &str) -> Result<Vec<DescribeConfigsResourceResult>, ApiError> {
        if name.is_empty() {
            return invalid("Broker id must not be empty");
        }
        let node = self.view.static_config.node_id;
        if broker_id(name)? != node {
            return invalid(format!("Unexpected broker id, expected {node} but received {name}"));
        }
        Ok(self
            .view
            .loggers
            .iter()
            .map(|(logger, level)| DescribeConfigsResourceResult {
                name: logger.into(),
                value: Some(level.into()),
                config_source: ConfigSource::DynamicBrokerLogger.code(),
                ..Default::default()
            })
            .collect())
    }

    fn broker(&self, name: &str) -> Result<Vec<DescribeConfigsResourceResult>, ApiError> {
        if name.is_empty() {
            return Ok(self
                .all
                .into_iter()
                .flatten()
                .map(|(name, value)| self.broker_entry(name, Some(value.to_string()), false))
                .collect());
        }
        let node = self.view.static_config.node_id;
        if broker_id(name)? != node {
            return invalid(format!(
                "Unexpected broker id, expected {node} or empty string, but received {name}"
            ));
        }
        let mut values: BTreeMap<&str, Option<String>> = BTreeMap::new();
        for (name, text) in self.view.current.explicit_entries() {
            values.insert(name, Some(text.to_owned()));
        }
        for map in [self.all, self.own].into_iter().flatten() {
            for (name, text) in map {
                values.insert(name, Some(text.to_string()));
            }
        }
        let set = |name: &str| self.view.current.explicit(name).is_some();
        for key in BROKER_KEYS {
            let hidden = (key.internal && !set(key.name)) || key.dynamic == DynamicMode::DynamicOnly;
            if !hidden {
                values.insert(key.name, self.view.current.value(key.name).to_text());
            }
        }
        Ok(values.into_iter().map(|(name, value)| self.broker_entry(name, value, true)).collect())
    }

    fn broker_entry(
        &self,
        name: &str,
        value: Option<String>,
        per_broker: bool,
    ) -> DescribeConfigsResourceResult {
        let kind = broker_key_type(name);
        let sensitive = kind.is_none_or(|k| k == ConfigType::Password);
        let mut synonyms = self.broker_values(name, sensitive);
        if !per_broker {
            synonyms.retain(|s| s.source == ConfigSource::DynamicDefaultBroker.code());
        }
        let source = synonyms.first().map_or(ConfigSource::Default.code(), |s| s.source);
        let key = broker_key(name);
        DescribeConfigsResourceResult {
            name: name.into(),
            value: value.filter(|_| !sensitive).map(Str::from),
            read_only: !key.is_some_and(ConfigKey::is_dynamic),
            config_source: source,
            is_sensitive: sensitive,
            synonyms: if self.synonyms { synonyms } else { Vec::new() },
            config_type: kind.map_or(UNKNOWN_TYPE, ConfigType::response_code),
            documentation: key.filter(|_| self.documentation).map(|k| Str::from_static(k.doc)),
            ..Default::default()
        }
    }

    /// Every value that a broker key has under its names, the strongest first.
    fn broker_values(&self, name: &str, sensitive: bool) -> Vec<DescribeConfigsSynonym> {
        let names = broker_synonyms(name);
        let mut out = Vec::new();
        let mut push = |n: &str, value: &str, source| {
            out.push(synonym(n, (!sensitive).then_some(value), source));
        };
        for (map, source) in
            [(self.own, ConfigSource::DynamicBroker), (self.all, ConfigSource::DynamicDefaultBroker)]
        {
            for n in &names {
                if let Some(value) = map.and_then(|m| m.get(*n)) {
                    push(n, value, source);
                }
            }
        }
        for n in &names {
            if let Some(value) = self.view.static_config.explicit(n) {
                push(n, value, ConfigSource::StaticBroker);
            }
        }
        for n in &names {
            if let Some(ConfigDefault::Value(value)) = broker_key(n).map(|k| k.default) {
                push(n, value, ConfigSource::Default);
            }
        }
        // What stands before the key's own name belongs to other keys.
        let first = out.iter().position(|s| &*s.name == name);
        first.map_or_else(Vec::new, |i| out.split_off(i))
    }
}

fn broker_id(name: &str) -> Result<i32, ApiError> {
    name.parse().or_else(|_| invalid(format!("Broker id must be an integer, but it is: {name}")))
}
