//! AlterConfigs and IncrementalAlterConfigs: what is stored as records. A broker checks its own
//! dynamic configuration before it forwards ([`crate::describe::preprocess_incremental`]).

use std::collections::BTreeMap;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_configs_request::AlterConfigsRequest;
use ottla_protocol::messages::alter_configs_response::{self as legacy, AlterConfigsResponse};
use ottla_protocol::messages::incremental_alter_configs_request::IncrementalAlterConfigsRequest;
use ottla_protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};
use ottla_protocol::messages::metadata_record::clear_elr_record::ClearElrRecord;
use ottla_protocol::messages::metadata_record::config_record::ConfigRecord;
use ottla_protocol::types::Str;

use super::placement::validate_topic_name;
use super::{ApiError, Context, Controller, Decision, MAX_RECORDS_PER_USER_OP};
use crate::config::table::{ConfigDefault, ConfigType, broker_key, group_key, topic_key};
use crate::config::{
    ConfigError, ConfigKey, split_list, validate_client_metrics_config, validate_group_config,
    validate_topic_config,
};
use crate::image::{ConfigMap, ConfigResource, ResourceKind};
use crate::record::{Record, VersionedRecord};

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ConfigOp {
    Set(Str),
    Delete,
    Append(Str),
    Subtract(Str),
    /// An operation that Kafka does not have.
    Unknown(i8),
}

const MIN_ISR: &str = "min.insync.replicas";
const CORDONED: &str = "cordoned.log.dirs";
/// Longest value of a configuration, in UTF-16 units.
const VALUE_LENGTH_MAX: usize = i16::MAX as usize;

fn invalid_config<T>(text: impl Into<String>) -> Result<T, ApiError> {
    Err(ApiError::new(ErrorCode::InvalidConfig, text))
}

fn invalid_request<T>(text: impl Into<String>) -> Result<T, ApiError> {
    Err(ApiError::new(ErrorCode::InvalidRequest, text))
}

fn key_of(resource: &ConfigResource, name: &str) -> Option<&'static ConfigKey> {
    match resource.kind {
        ResourceKind::TOPIC => topic_key(name),
        ResourceKind::BROKER => broker_key(name),
        ResourceKind::GROUP => group_key(name),
        ResourceKind::CLIENT_METRICS => crate::config::table::client_metrics_key(name),
        _ => None,
    }
}

/// The result of every resource of a request, in its order; `None` for no error.
type Results = Vec<(ConfigResource, Option<ApiError>)>;

impl Controller {
    /// IncrementalAlterConfigs.
    pub fn decide_incremental_alter_configs(
        &self,
        ctx: &Context<'_>,
        request: &IncrementalAlterConfigsRequest,
    ) -> Result<Decision<IncrementalAlterConfigsResponse>, ApiError> {
        let resources: Vec<(ConfigResource, BTreeMap<Str, ConfigOp>)> = request
            .resources
            .iter()
            .map(|r| {
                let ops = r.configs.iter().map(|c| {
                    let value = c.value.clone().unwrap_or_default();
                    let op = match c.config_operation {
                        0 => ConfigOp::Set(value),
                        1 => ConfigOp::Delete,
                        2 => ConfigOp::Append(value),
                        3 => ConfigOp::Subtract(value),
                        other => ConfigOp::Unknown(other),
                    };
                    (c.name.clone(), op)
                });
                let kind = ResourceKind(r.resource_type);
                (ConfigResource::new(kind, r.resource_name.clone()), ops.collect())
            })
            .collect();
        let (mut records, results) = self
            .alter_all(resources, |resource, ops| self.alter_resource(resource, ops, false, ctx.forwarded))?;
        if request.validate_only {
            records.clear();
        }
        let responses = results
            .into_iter()
            .map(|(resource, error)| {
                let (code, message) = parts(error);
                AlterConfigsResourceResponse {
                    error_code: code,
                    error_message: message,
                    resource_type: resource.kind.0,
                    resource_name: resource.name,
                    ..Default::default()
                }
            })
            .collect();
        let response = IncrementalAlterConfigsResponse { responses, ..Default::default() };
        Ok(Decision::atomic(records, response))
    }

    /// AlterConfigs: what is not named is removed.
    pub fn decide_alter_configs(
        &self,
        ctx: &Context<'_>,
        request: &AlterConfigsRequest,
    ) -> Result<Decision<AlterConfigsResponse>, ApiError> {
        let resources: Vec<(ConfigResource, BTreeMap<Str, Option<Str>>)> = request
            .resources
            .iter()
            .map(|r| {
                let kind = ResourceKind(r.resource_type);
                let values = r.configs.iter().map(|c| (c.name.clone(), c.value.clone()));
                (ConfigResource::new(kind, r.resource_name.clone()), values.collect())
            })
            .collect();
        let (mut records, results) = self.alter_all(resources, |resource, values| {
            self.replace_resource(resource, values, ctx.forwarded)
        })?;
        if request.validate_only {
            records.clear();
        }
        let responses = results
            .into_iter()
            .map(|(resource, error)| {
                let (code, message) = parts(error);
                legacy::AlterConfigsResourceResponse {
                    error_code: code,
                    error_message: message,
                    resource_type: resource.kind.0,
                    resource_name: resource.name,
                    ..Default::default()
                }
            })
            .collect();
        let response = AlterConfigsResponse { responses, ..Default::default() };
        Ok(Decision::atomic(records, response))
    }

    fn alter_all<C>(
        &self,
        resources: Vec<(ConfigResource, C)>,
        alter: impl Fn(&ConfigResource, &C) -> Result<Vec<VersionedRecord>, ApiError>,
    ) -> Result<(Vec<VersionedRecord>, Results), ApiError> {
        let mut times: BTreeMap<ConfigResource, usize> = BTreeMap::new();
        for (resource, _) in &resources {
            *times.entry(resource.clone()).or_default() += 1;
        }
        let mut records = Vec::new();
        let mut results: Results = Vec::new();
        for (resource, changes) in resources {
            let known = matches!(
                resource.kind,
                ResourceKind::TOPIC
                    | ResourceKind::BROKER
                    | ResourceKind::BROKER_LOGGER
                    | ResourceKind::CLIENT_METRICS
                    | ResourceKind::GROUP
            );
            let result = if !known {
                Err(ApiError::new(
                    ErrorCode::UnsupportedVersion,
                    format!("Unknown resource type {}.", resource.kind.0),
                ))
            } else if times.get(&resource).is_some_and(|n| *n > 1) {
                if results.iter().any(|(r, _)| *r == resource) {
                    continue;
                }
                invalid_request("Duplicate resource.")
            } else if resource.kind == ResourceKind::BROKER_LOGGER {
                invalid_request("Unexpected resource type BROKER_LOGGER.")
            } else {
                alter(&resource, &changes)
            };
            match result {
                Ok(own) => {
                    if records.len() + own.len() > MAX_RECORDS_PER_USER_OP {
                        return Err(ApiError::plain(ErrorCode::PolicyViolation));
                    }
                    records.extend(own);
                    results.push((resource, None));
                }
                Err(e) => results.push((resource, Some(e))),
            }
        }
        Ok((records, results))
    }

    /// The records of one resource's changes.
    pub(super) fn alter_resource(
        &self,
        resource: &ConfigResource,
        ops: &BTreeMap<Str, ConfigOp>,
        newly_created: bool,
        forwarded: bool,
    ) -> Result<Vec<VersionedRecord>, ApiError> {
        let empty = ConfigMap::new();
        let current = self.image().configs.get(resource).map_or(&empty, |m| m.as_ref());
        let mut changes: Vec<(Str, Option<Str>)> = Vec::with_capacity(ops.len());
        for (name, op) in ops {
            let old = current.get(name);
            let new = match op {
                ConfigOp::Set(value) => Some(value.clone()),
                ConfigOp::Delete => None,
                ConfigOp::Append(value) => Some(edit_list(resource, name, old, value, true)?),
                ConfigOp::Subtract(value) => Some(edit_list(resource, name, old, value, false)?),
                ConfigOp::Unknown(op) => {
                    return invalid_request(format!("Unknown operations type {op}"));
                }
            };
            // For brokers even an unchanged value is written: it makes them read key files again.
            if new.as_ref() != old || resource.kind == ResourceKind::BROKER {
                changes.push((name.clone(), new));
            }
        }
        self.validate_changes(resource, current, &changes, newly_created, forwarded)?;
        Ok(self.config_records(resource, changes))
    }

    fn replace_resource(
        &self,
        resource: &ConfigResource,
        values: &BTreeMap<Str, Option<Str>>,
        forwarded: bool,
    ) -> Result<Vec<VersionedRecord>, ApiError> {
        let empty = ConfigMap::new();
        let current = self.image().configs.get(resource).map_or(&empty, |m| m.as_ref());
        let mut changes: Vec<(Str, Option<Str>)> = values
            .iter()
            .filter(|(name, new)| new.as_ref() != current.get(*name) || resource.kind == ResourceKind::BROKER)
            .map(|(name, new)| (name.clone(), new.clone()))
            .collect();
        changes.extend(
            current.keys().filter(|name| !values.contains_key(*name)).map(|name| (name.clone(), None)),
        );
        self.validate_changes(resource, current, &changes, false, forwarded)?;
        Ok(self.config_records(resource, changes))
    }

    fn config_records(
        &self,
        resource: &ConfigResource,
        changes: Vec<(Str, Option<Str>)>,
    ) -> Vec<VersionedRecord> {
        let clears_elr =
            self.image().features.is_elr_enabled() && changes.iter().any(|(name, _)| &**name == MIN_ISR);
        let mut out: Vec<VersionedRecord> = changes
            .into_iter()
            .map(|(name, value)| {
                VersionedRecord::v0(ConfigRecord {
                    resource_type: resource.kind.0,
                    resource_name: resource.name.clone(),
                    name,
                    value,
                    ..Default::default()
                })
            })
            .collect();
        if clears_elr {
            let topic_name =
                if resource.kind == ResourceKind::TOPIC { resource.name.clone() } else { Str::default() };
            out.push(VersionedRecord::v0(ClearElrRecord { topic_name, ..Default::default() }));
        }
        out
    }

    fn validate_changes(
        &self,
        resource: &ConfigResource,
        current: &ConfigMap,
        changes: &[(Str, Option<Str>)],
        newly_created: bool,
        forwarded: bool,
    ) -> Result<(), ApiError> {
        let mut all = current.clone();
        for (name, value) in changes {
            self.check_special(resource, current, name, value.as_deref(), forwarded)?;
            match value {
                None => drop(all.remove(name)),
                Some(v) if v.encode_utf16().count() > VALUE_LENGTH_MAX => {
                    return invalid_config(format!(
                        "The configuration value cannot be added because it exceeds the maximum value size \
                         of {VALUE_LENGTH_MAX} bytes."
                    ));
                }
                Some(v) => drop(all.insert(name.clone(), v.clone())),
            }
        }
        let all: Vec<(&str, &str)> = all.iter().map(|(k, v)| (&**k, &**v)).collect();
        let get = |name: &str| current.get(name).map(|v| &**v);
        let checked: Result<(), ConfigError> = match resource.kind {
            ResourceKind::TOPIC => {
                if resource.name.is_empty() {
                    return invalid_request("Default topic resources are not allowed.");
                }
                validate_topic_name(&resource.name)
                    .map_err(|text| ApiError::new(ErrorCode::InvalidTopicException, text))?;
                validate_topic_config(&self.config, get, &all)
            }
            ResourceKind::BROKER => return self.check_broker_resource(resource),
            ResourceKind::CLIENT_METRICS => validate_client_metrics_config(&resource.name, &all),
            ResourceKind::GROUP => {
                if resource.name.is_empty() {
                    return invalid_request("Default group resources are not allowed.");
                }
                validate_group_config(&self.config, &all)
            }
            _ => return invalid_request(format!("Unknown resource type {}", resource.kind.name())),
        };
        checked?;
        let missing = resource.kind == ResourceKind::TOPIC
            && !newly_created
            && self.image().topics.by_name(&resource.name).is_none();
        if missing {
            return Err(ApiError::new(
                ErrorCode::UnknownTopicOrPartition,
                format!("The topic '{}' does not exist.", resource.name),
            ));
        }
        Ok(())
    }

    fn check_broker_resource(&self, resource: &ConfigResource) -> Result<(), ApiError> {
        if resource.name.is_empty() {
            return Ok(());
        }
        let Ok(id) = resource.name.parse::<i32>() else {
            return invalid_request("Unable to parse broker name as a base 10 number.");
        };
        if id < 0 {
            return invalid_request("Invalid negative broker ID.");
        }
        let cluster = &self.image().cluster;
        if !cluster.brokers.contains_key(&id) && !cluster.controllers.contains_key(&id) {
            return Err(ApiError::new(
                ErrorCode::BrokerIdNotRegistered,
                format!("No node with id {id} found."),
            ));
        }
        Ok(())
    }

    /// Rules for keys that the controller itself depends on.
    fn check_special(
        &self,
        resource: &ConfigResource,
        current: &ConfigMap,
        name: &str,
        value: Option<&str>,
        forwarded: bool,
    ) -> Result<(), ApiError> {
        if resource.kind != ResourceKind::BROKER {
            return Ok(());
        }
        if name == MIN_ISR && self.image().features.is_elr_enabled() {
            if !resource.name.is_empty() {
                return invalid_config(format!(
                    "Broker-level {MIN_ISR} cannot be altered while ELR is enabled."
                ));
            }
            if value.is_none() {
                return invalid_config(format!(
                    "Cluster-level {MIN_ISR} cannot be removed while ELR is enabled."
                ));
            }
        }
        if name == CORDONED {
            if !self.image().metadata_version().is_cordoned_log_dirs_supported() {
                return invalid_config(format!(
                    "The {CORDONED} configuration value cannot be set because it requires metadata.version \
                     >= 4.3-IV0"
                ));
            }
            let new = split_list(value.unwrap_or(""));
            let old = split_list(current.get(CORDONED).map_or("", |v| v));
            if !forwarded && new.iter().any(|d| !old.contains(d)) {
                return invalid_config(format!(
                    "When updating {CORDONED} via controllers,  the new value must be a subset of the \
                     current configuration value."
                ));
            }
        }
        Ok(())
    }

    /// What enabling ELR does to min.insync.replicas: one value for the cluster, none for brokers.
    pub(super) fn elr_safety_records(&self) -> Vec<VersionedRecord> {
        let configs = &self.image().configs;
        let mut out = Vec::new();
        let mut push = |resource: &ConfigResource, value: Option<Str>| {
            let record = ConfigRecord {
                resource_type: resource.kind.0,
                resource_name: resource.name.clone(),
                name: Str::from_static(MIN_ISR),
                value,
                ..Default::default()
            };
            out.push(VersionedRecord::new(Record::from(record), 0));
        };
        let all = ConfigResource::all_brokers();
        if configs.value(&all, MIN_ISR).is_none() {
            push(&all, Some(self.config.get_int(MIN_ISR).to_string().into()));
        }
        for (resource, map) in configs.iter() {
            let is_broker = resource.kind == ResourceKind::BROKER && !resource.name.is_empty();
            if is_broker && map.contains_key(MIN_ISR) {
                push(resource, None);
            }
        }
        out
    }
}

fn parts(error: Option<ApiError>) -> (i16, Option<Str>) {
    match error {
        None => (ErrorCode::None.code(), None),
        Some(e) => (e.code.code(), e.message.map(Str::from)),
    }
}

fn edit_list(
    resource: &ConfigResource,
    name: &str,
    current: Option<&Str>,
    value: &str,
    append: bool,
) -> Result<Str, ApiError> {
    let key = key_of(resource, name).filter(|k| k.kind == ConfigType::ListOf);
    let Some(key) = key else {
        let op = if append { "APPEND" } else { "SUBTRACT" };
        return invalid_config(format!("Can't {op} to key {name} because its type is not LIST."));
    };
    let default = match key.default {
        ConfigDefault::Value(text) => text,
        ConfigDefault::Null | ConfigDefault::Required => "",
    };
    let mut items: Vec<&str> = current.map_or(default, |v| v).split(',').filter(|s| !s.is_empty()).collect();
    for v in value.split(',') {
        let at = items.iter().position(|i| *i == v);
        match (append, at) {
            (true, None) => items.push(v),
            (false, Some(i)) => drop(items.remove(i)),
            _ => {}
        }
    }
    Ok(items.join(",").into())
}
