//! Quotas of users, clients and addresses (KIP-13, KIP-546, KIP-612).

use std::collections::BTreeMap;

use ottla_client::Admin;
use ottla_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use ottla_protocol::messages::describe_client_quotas_request::ComponentData;
use ottla_protocol::messages::describe_client_quotas_response::EntryData as Described;
use ottla_protocol::types::Str;
use serde_json::{Map, Value};

use super::entities::Entities;
use crate::error::{ToolError, ToolResult};
use crate::java::{double_text, sort_as_hash_map};
use crate::output::{self, Entry};

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

pub fn is_user_or_client_quota(key: &str) -> bool {
    ["producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate"]
        .contains(&key)
}

fn wire_type(entity_type: &str) -> Result<&'static str, ToolError> {
    match entity_type {
        "users" => Ok("user"),
        "clients" => Ok("client-id"),
        "ips" => Ok("ip"),
        other => Err(ToolError::message(format!("Unexpected entity type: {other}"))),
    }
}

async fn find(admin: &Admin, entities: &Entities) -> Result<Vec<Described>, ToolError> {
    if entities.names.len() > entities.types.len() {
        return Err(ToolError::message("More entity names specified than entity types"));
    }
    let mut components = Vec::new();
    for (i, entity_type) in entities.types.iter().enumerate() {
        let (match_type, name) = match entities.names.get(i).map(String::as_str) {
            None => (ANY, None),
            Some("") => (DEFAULT, None),
            Some(name) => (EXACT, Some(Str::from(name))),
        };
        components.push(ComponentData {
            entity_type: Str::from_static(wire_type(entity_type)?),
            match_type,
            r#match: name,
            ..Default::default()
        });
    }
    Ok(admin.describe_client_quotas(components, true).await?)
}

pub async fn alter(
    admin: &Admin,
    entities: &Entities,
    add: &BTreeMap<String, String>,
    delete: &[String],
) -> ToolResult {
    let old = find(admin, entities).await?;
    let old = old.first();
    let missing: Vec<&str> = delete
        .iter()
        .map(String::as_str)
        .filter(|k| !old.is_some_and(|o| o.values.iter().any(|v| v.key.as_str() == *k)))
        .collect();
    if !missing.is_empty() {
        return Err(ToolError::message(format!("Invalid config(s): {}", missing.join(","))));
    }
    let mut ops = Vec::new();
    for (key, text) in add {
        let value = text.parse::<f64>().map_err(|_| {
            ToolError::message(format!("Cannot parse quota configuration value for {key}: {text}"))
        })?;
        ops.push(OpData { key: Str::from(key.as_str()), value, remove: false, ..Default::default() });
    }
    for key in delete {
        ops.push(OpData { key: Str::from(key.as_str()), remove: true, ..Default::default() });
    }
    let mut entity = Vec::new();
    for (entity_type, name) in entities.types.iter().zip(&entities.names) {
        entity.push(EntityData {
            entity_type: Str::from_static(wire_type(entity_type)?),
            entity_name: (!name.is_empty()).then(|| Str::from(name.as_str())),
            ..Default::default()
        });
    }
    Ok(admin.alter_client_quotas(EntryData { entity, ops, ..Default::default() }).await?)
}

pub async fn describe(admin: &Admin, entities: &Entities) -> ToolResult {
    output::list("quotas");
    for mut entry in find(admin, entities).await? {
        let mut parts = Vec::new();
        for (wire, shown) in [("user", "user-principal"), ("client-id", "client-id"), ("ip", "ip")] {
            let Some(part) = entry.entity.iter().find(|e| e.entity_type.as_str() == wire) else { continue };
            parts.push(match part.entity_name.as_deref() {
                None | Some("") => format!("the default {shown}"),
                Some(name) => format!("{shown} '{name}'"),
            });
        }
        let count = entry.values.len();
        sort_as_hash_map(&mut entry.values, count, |v| &v.key);
        let values: Vec<String> =
            entry.values.iter().map(|v| format!("{}={}", v.key, double_text(v.value))).collect();
        let text = format!("Quota configs for {} are {}", parts.join(", "), values.join(", "));
        let entity = entry.entity.iter().map(|e| {
            let name = e.entity_name.as_deref().filter(|name| !name.is_empty());
            (e.entity_type.to_string(), Value::from(name))
        });
        let values = entry.values.iter().map(|v| (v.key.to_string(), Value::from(v.value)));
        let shown = Entry::new(text)
            .with("entity", entity.collect::<Map<_, _>>())
            .with("configs", values.collect::<Map<_, _>>());
        output::show("quotas", shown);
    }
    Ok(())
}
