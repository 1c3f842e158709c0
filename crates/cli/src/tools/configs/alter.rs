//! `kafka-configs --alter`.

use std::collections::BTreeMap;

use ottla_client::Admin;
use ottla_client::admin::ConfigResourceKind;
use ottla_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_protocol::types::Str;

use super::additions::{to_add, to_delete};
use super::entities::{Entities, singular};
use super::{describe, quotas, scram};
use crate::args::Parsed;
use crate::error::{ToolError, ToolResult};
use crate::output;

const SET: i8 = 0;
const DELETE: i8 = 1;

pub async fn alter(admin: &Admin, options: &Parsed, entities: &Entities) -> ToolResult {
    let add = to_add(options)?;
    let delete = to_delete(options);
    let entity_type = entities.first_type();
    let name = entities.names.first().map_or("", String::as_str);
    match entity_type {
        "users" | "clients" => users_or_clients(admin, entities, &add, &delete).await?,
        "ips" => {
            let unknown = add.keys().chain(&delete).filter(|k| k.as_str() != "connection_creation_rate");
            let unknown: Vec<&str> = unknown.map(String::as_str).collect();
            if !unknown.is_empty() {
                return Err(ToolError::message(format!(
                    "Only connection quota configs can be added for 'ips' using --bootstrap-server. Unexpected config \
                     names: {}",
                    unknown.join(", ")
                )));
            }
            quotas::alter(admin, entities, &add, &delete).await?;
        }
        _ => {
            let kind = describe::kind_of(entity_type)?;
            if kind == ConfigResourceKind::BrokerLogger {
                check_loggers(admin, name, &add, &delete).await?;
            }
            admin.incremental_alter_config(kind, resource(kind, name, &add, &delete), false).await?;
        }
    }
    if name.is_empty() {
        output::line(format!("Completed updating default config for {entity_type} in the cluster."));
    } else {
        output::line(format!("Completed updating config for {} {name}.", singular(entity_type)));
    }
    Ok(())
}

fn resource(
    kind: ConfigResourceKind,
    name: &str,
    add: &BTreeMap<String, String>,
    delete: &[String],
) -> AlterConfigsResource {
    let deletes = delete.iter().map(|key| AlterableConfig {
        name: Str::from(key.as_str()),
        config_operation: DELETE,
        value: Some(Str::EMPTY),
        ..Default::default()
    });
    let sets = add.iter().map(|(key, value)| AlterableConfig {
        name: Str::from(key.as_str()),
        config_operation: SET,
        value: Some(Str::from(value.as_str())),
        ..Default::default()
    });
    AlterConfigsResource {
        resource_type: kind as i8,
        resource_name: Str::from(name),
        configs: deletes.chain(sets).collect(),
        ..Default::default()
    }
}

async fn check_loggers(
    admin: &Admin,
    name: &str,
    add: &BTreeMap<String, String>,
    delete: &[String],
) -> ToolResult {
    let valid = admin.describe_config(ConfigResourceKind::BrokerLogger, name, false).await?.configs;
    let unknown: Vec<&str> = delete
        .iter()
        .chain(add.keys())
        .map(String::as_str)
        .filter(|k| !valid.iter().any(|c| c.name.as_str() == *k))
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(ToolError::message(format!("Invalid broker logger(s): {}", unknown.join(","))))
}

async fn users_or_clients(
    admin: &Admin,
    entities: &Entities,
    add: &BTreeMap<String, String>,
    delete: &[String],
) -> ToolResult {
    let users_only = entities.types.len() == 1 && entities.first_type() == "users";
    let unknown = |keys: Vec<&String>| -> Vec<String> {
        keys.into_iter()
            .filter(|k| !(quotas::is_user_or_client_quota(k) || users_only && scram::is_mechanism(k)))
            .cloned()
            .collect()
    };
    let what = if users_only { "quota and SCRAM credential configs" } else { "quota configs" };
    let kind = if users_only { "users" } else { "clients" };
    for (verb, keys) in [("added", add.keys().collect::<Vec<_>>()), ("deleted", delete.iter().collect())] {
        let bad = unknown(keys);
        if !bad.is_empty() {
            return Err(ToolError::message(format!(
                "Only {what} can be {verb} for '{kind}' using --bootstrap-server. Unexpected config names: {}",
                bad.join(",")
            )));
        }
    }
    let any_quota = add.keys().chain(delete).any(|k| quotas::is_user_or_client_quota(k));
    let any_scram = add.keys().chain(delete).any(|k| scram::is_mechanism(k));
    if any_scram {
        if entities.names.iter().any(String::is_empty) {
            return Err(ToolError::message(
                "The use of --entity-default or --user-defaults is not allowed with User SCRAM Credentials using \
                 --bootstrap-server.",
            ));
        }
        if any_quota {
            return Err(ToolError::message(
                "Cannot alter both quota and SCRAM credential configs simultaneously for 'users' using \
                 --bootstrap-server.",
            ));
        }
        let user = entities.names.first().map_or("", String::as_str);
        return scram::alter(admin, user, add, delete).await;
    }
    quotas::alter(admin, entities, add, delete).await
}
