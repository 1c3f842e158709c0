//! What a broker checks of AlterConfigs and IncrementalAlterConfigs before the controller decides
//! them (`ConfigAdminManager`).

use std::collections::BTreeMap;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_configs_request::AlterConfigsRequest;
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, IncrementalAlterConfigsRequest,
};

use crate::config::table::{ConfigDefault, ConfigType, broker_key};
use crate::config::{StaticConfig, validate_broker_change};
use crate::controller::ApiError;
use crate::image::{ConfigResource, ConfigsImage, ResourceKind};

/// What becomes of one resource of a request, in the request's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preprocessed {
    /// The controller decides.
    Forward,
    /// The levels of this broker's loggers: changed here, never stored.
    Logger,
    /// Refused here.
    Refused(ApiError),
}

fn invalid<T>(text: impl Into<String>) -> Result<T, ApiError> {
    Err(ApiError::new(ErrorCode::InvalidRequest, text))
}

fn config_error<T>(text: String) -> Result<T, ApiError> {
    Err(ApiError::new(ErrorCode::InvalidConfig, text))
}

fn appears_twice<'a>(all: impl Iterator<Item = (i8, &'a str)> + Clone, one: (i8, &str)) -> bool {
    all.filter(|r| *r == one).count() > 1
}

fn has_doubles<'a>(names: impl Iterator<Item = &'a str>) -> bool {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.windows(2).any(|w| w[0] == w[1])
}

fn check_kind(kind: i8) -> Result<(), ApiError> {
    match ResourceKind(kind) {
        ResourceKind::TOPIC
        | ResourceKind::BROKER
        | ResourceKind::BROKER_LOGGER
        | ResourceKind::CLIENT_METRICS
        | ResourceKind::GROUP => Ok(()),
        _ => invalid(format!("Unknown resource type {kind}")),
    }
}

fn check_node(current: &StaticConfig, name: &str) -> Result<(), ApiError> {
    let Ok(id) = name.parse::<i32>() else {
        return invalid(format!("Node id must be an integer, but it is: {name}"));
    };
    if id != current.node_id {
        return invalid(format!("Unexpected broker id, expected {}, but received {name}", current.node_id));
    }
    Ok(())
}

/// Checks an IncrementalAlterConfigs request. `current` is the broker's configuration in force.
pub fn preprocess_incremental(
    current: &StaticConfig,
    configs: &ConfigsImage,
    request: &IncrementalAlterConfigsRequest,
) -> Vec<Preprocessed> {
    let all = request.resources.iter().map(|r| (r.resource_type, &*r.resource_name));
    request
        .resources
        .iter()
        .map(|r| {
            if appears_twice(all.clone(), (r.resource_type, &r.resource_name)) {
                return Preprocessed::Refused(ApiError::new(
                    ErrorCode::InvalidRequest,
                    "Each resource must appear at most once.",
                ));
            }
            match check_incremental(current, configs, r) {
                Err(e) => Preprocessed::Refused(e),
                Ok(()) if r.resource_type == ResourceKind::BROKER_LOGGER.0 => Preprocessed::Logger,
                Ok(()) => Preprocessed::Forward,
            }
        })
        .collect()
}

fn check_incremental(
    current: &StaticConfig,
    configs: &ConfigsImage,
    r: &AlterConfigsResource,
) -> Result<(), ApiError> {
    if has_doubles(r.configs.iter().map(|c| &*c.name)) {
        return invalid("Error due to duplicate config keys");
    }
    let nulls: Vec<&str> =
        r.configs.iter().filter(|c| c.config_operation != 1 && c.value.is_none()).map(|c| &*c.name).collect();
    if !nulls.is_empty() {
        return invalid(format!("Null value not supported for : {}", nulls.join(", ")));
    }
    check_kind(r.resource_type)?;
    if r.resource_type != ResourceKind::BROKER.0 {
        return Ok(());
    }
    if !r.resource_name.is_empty() {
        check_node(current, &r.resource_name)?;
    }
    let resource = ConfigResource::new(ResourceKind::BROKER, r.resource_name.clone());
    let mut props: BTreeMap<String, String> = configs
        .get(&resource)
        .into_iter()
        .flat_map(|m| m.iter())
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect();
    for c in &r.configs {
        let value = c.value.as_deref().unwrap_or("");
        match c.config_operation {
            0 => drop(props.insert(c.name.to_string(), value.to_owned())),
            1 => drop(props.remove(&*c.name)),
            2 | 3 => edit_list(&mut props, &c.name, value, c.config_operation == 2)?,
            other => return invalid(format!("Unknown operations type {other}")),
        }
    }
    check_broker(current, &r.resource_name, &props)
}

fn edit_list(
    props: &mut BTreeMap<String, String>,
    name: &str,
    value: &str,
    append: bool,
) -> Result<(), ApiError> {
    let Some(key) = broker_key(name) else {
        return config_error(format!("Unknown config name: {name}"));
    };
    if key.kind != ConfigType::ListOf {
        let what = if append { "append" } else { "subtract" };
        return config_error(format!("Config value {what} is not allowed for config key: {name}"));
    }
    let default = match key.default {
        ConfigDefault::Value(text) => text,
        ConfigDefault::Null | ConfigDefault::Required => "",
    };
    let old = props.get(name).map_or(default, String::as_str);
    let mut items: Vec<&str> = old.split(',').filter(|s| !s.is_empty()).collect();
    for v in value.split(',') {
        match (append, items.iter().position(|i| *i == v)) {
            (true, None) => items.push(v),
            (false, Some(at)) => drop(items.remove(at)),
            _ => {}
        }
    }
    let new = items.join(",");
    props.insert(name.to_owned(), new);
    Ok(())
}

/// Whatever is wrong with a broker's own values is an invalid request, not an invalid config.
fn check_broker(
    current: &StaticConfig,
    resource_name: &str,
    props: &BTreeMap<String, String>,
) -> Result<(), ApiError> {
    validate_broker_change(current, !resource_name.is_empty(), props).or_else(|e| invalid(e.to_string()))
}

/// Checks an AlterConfigs request.
pub fn preprocess_legacy(current: &StaticConfig, request: &AlterConfigsRequest) -> Vec<Preprocessed> {
    let all = request.resources.iter().map(|r| (r.resource_type, &*r.resource_name));
    request
        .resources
        .iter()
        .map(|r| {
            let check = || {
                if appears_twice(all.clone(), (r.resource_type, &r.resource_name)) {
                    return invalid("Each resource must appear at most once.");
                }
                if has_doubles(r.configs.iter().map(|c| &*c.name)) {
                    return invalid("Error due to duplicate config keys");
                }
                let nulls: Vec<&str> =
                    r.configs.iter().filter(|c| c.value.is_none()).map(|c| &*c.name).collect();
                if !nulls.is_empty() {
                    return invalid(format!("Null value not supported for : {}", nulls.join(", ")));
                }
                if r.resource_type == ResourceKind::BROKER_LOGGER.0 {
                    return invalid(format!("Unknown resource type {}", r.resource_type));
                }
                check_kind(r.resource_type)?;
                if r.resource_type != ResourceKind::BROKER.0 {
                    return Ok(());
                }
                if !r.resource_name.is_empty() {
                    check_node(current, &r.resource_name)?;
                }
                let props = r
                    .configs
                    .iter()
                    .map(|c| (c.name.to_string(), c.value.as_deref().unwrap_or("").to_owned()))
                    .collect();
                check_broker(current, &r.resource_name, &props)
            };
            check().map_or_else(Preprocessed::Refused, |()| Preprocessed::Forward)
        })
        .collect()
}
