//! `kafka-configs --describe`.

use std::collections::BTreeSet;

use ottla_client::admin::{ConfigResourceKind, ConfigSource};
use ottla_client::{Admin, ClientError, Target};
use ottla_protocol::messages::ListGroupsRequest;

use super::entities::{Entities, singular};
use super::{quotas, scram};
use crate::args::Parsed;
use crate::error::{ToolError, ToolResult};
use crate::output::{self, Entry};

pub fn kind_of(entity_type: &str) -> Result<ConfigResourceKind, ToolError> {
    Ok(match entity_type {
        "topics" => ConfigResourceKind::Topic,
        "brokers" => ConfigResourceKind::Broker,
        "broker-loggers" => ConfigResourceKind::BrokerLogger,
        "client-metrics" => ConfigResourceKind::ClientMetrics,
        "groups" => ConfigResourceKind::Group,
        other => return Err(ToolError::message(format!("Invalid entity type: {other}"))),
    })
}

/// The source of values that were set for the resource itself.
fn dynamic_source(kind: ConfigResourceKind, name: &str) -> i8 {
    match kind {
        ConfigResourceKind::Topic => 1,
        ConfigResourceKind::Broker if name.is_empty() => 3,
        ConfigResourceKind::Broker => 2,
        ConfigResourceKind::BrokerLogger => 6,
        ConfigResourceKind::ClientMetrics => 7,
        ConfigResourceKind::Group => 8,
    }
}

pub async fn describe(admin: &Admin, options: &Parsed, entities: &Entities) -> ToolResult {
    match entities.first_type() {
        "users" | "clients" => {
            quotas::describe(admin, entities).await?;
            scram::describe(admin, entities).await
        }
        "ips" => quotas::describe(admin, entities).await,
        entity_type => {
            resources(admin, entity_type, entities.names.first().map(String::as_str), options.has("all"))
                .await
        }
    }
}

/// The names of all entities of a type.
async fn known(admin: &Admin, kind: ConfigResourceKind) -> Result<Vec<String>, ToolError> {
    Ok(match kind {
        ConfigResourceKind::Topic => admin.list_topics().await?.into_iter().map(|t| t.name).collect(),
        ConfigResourceKind::Broker | ConfigResourceKind::BrokerLogger => {
            let cluster = admin.describe_cluster(false).await?;
            cluster.brokers.iter().map(|b| b.broker_id.to_string()).collect()
        }
        ConfigResourceKind::ClientMetrics => config_resources(admin, kind).await?,
        ConfigResourceKind::Group => {
            let mut names = BTreeSet::new();
            for node in admin.client().nodes().await? {
                let response = admin.call(&Target::Node(node.id), &ListGroupsRequest::default()).await?;
                ClientError::check(response.error_code, None)?;
                names.extend(response.groups.iter().map(|g| g.group_id.to_string()));
            }
            names.extend(config_resources(admin, kind).await.unwrap_or_default());
            names.into_iter().collect()
        }
    })
}

async fn config_resources(admin: &Admin, kind: ConfigResourceKind) -> Result<Vec<String>, ToolError> {
    let found = admin.list_config_resources(&[kind as i8]).await?;
    Ok(found.into_iter().map(|r| r.resource_name.to_string()).collect())
}

async fn resources(admin: &Admin, entity_type: &str, name: Option<&str>, all: bool) -> ToolResult {
    let kind = kind_of(entity_type)?;
    let single = singular(entity_type);
    let names = match name {
        Some(name) => {
            let is_default = kind == ConfigResourceKind::Broker && name.is_empty();
            if !all && !is_default && !known(admin, kind).await?.iter().any(|n| n == name) {
                output::list("entities");
                output::line(format!("The {single} '{name}' doesn't exist and doesn't have dynamic config."));
                return Ok(());
            }
            vec![name.to_owned()]
        }
        None => {
            let mut names = known(admin, kind).await?;
            if matches!(kind, ConfigResourceKind::Broker | ConfigResourceKind::BrokerLogger) {
                names.push(String::new());
            }
            names
        }
    };
    output::list("entities");
    for name in &names {
        let head = if name.is_empty() {
            format!("Default configs for {entity_type} in the cluster are:")
        } else {
            format!("{} configs for {single} {name} are:", if all { "All" } else { "Dynamic" })
        };
        let mut configs = admin.describe_config(kind, name, true).await?.configs;
        configs.retain(|c| all || c.config_source == dynamic_source(kind, name));
        configs.sort_by(|a, b| a.name.cmp(&b.name));
        let entries = configs.iter().map(|config| {
            let synonyms: Vec<String> = config
                .synonyms
                .iter()
                .map(|s| {
                    let value = s.value.as_deref().unwrap_or("null");
                    format!("{}:{}={value}", ConfigSource(s.source).name(), s.name)
                })
                .collect();
            let text = format!(
                "  {}={} sensitive={} synonyms={{{}}}",
                config.name,
                config.value.as_deref().unwrap_or("null"),
                config.is_sensitive,
                synonyms.join(", ")
            );
            let synonyms = config.synonyms.iter().map(|s| {
                Entry::silent()
                    .with("source", ConfigSource(s.source).name())
                    .with("name", &*s.name)
                    .with("value", s.value.as_deref())
            });
            Entry::new(text)
                .with("name", &*config.name)
                .with("value", config.value.as_deref())
                .with("sensitive", config.is_sensitive)
                .with("readOnly", config.read_only)
                .with("source", ConfigSource(config.config_source).name())
                .list("synonyms", synonyms)
        });
        let entity = (!name.is_empty()).then_some(name.as_str());
        let entry = Entry::new(head).with("entityType", entity_type).with("entityName", entity);
        output::show("entities", entry.list("configs", entries));
    }
    Ok(())
}
