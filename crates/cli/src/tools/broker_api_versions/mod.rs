//! `kafka-broker-api-versions`: the API versions that each broker speaks. Source: Kafka `BrokerApiVersionsCommand`,
//! `NodeApiVersions`.

use std::collections::BTreeMap;

use ottla_client::Admin;
use ottla_protocol::APIS;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::ApiVersionsResponse;

use crate::args::Parser;
use crate::connect;
use crate::error::ToolResult;
use crate::output::{self, Entry};

fn parser() -> Parser {
    Parser::new("This tool helps to retrieve broker version information.").bootstrap()
}

pub fn main(args: &[String]) -> ToolResult {
    let parser = parser();
    let options = parser.parse(args)?;
    parser.require(&options, &["bootstrap-server"])?;
    let admin = connect::admin(&options)?;
    connect::block_on(print_versions(&admin))
}

/// Prints what every node of the cluster speaks.
pub async fn print_versions(admin: &Admin) -> ToolResult {
    for node in admin.client().nodes().await? {
        let rack = node.rack.as_deref().unwrap_or("null");
        let name = format!("{}:{} (id: {} rack: {rack} isFenced: false)", node.host, node.port, node.id);
        let entry = match admin.client().api_versions(node.id).await {
            Ok(versions) => Entry::new(format!("{name} -> {}", versions_text(&versions))).list(
                "apis",
                versions.api_keys.iter().map(|v| api_entry(v.api_key, v.min_version, v.max_version)),
            ),
            Err(error) => Entry::new(format!("{name} -> ERROR: {error}")).with("error", error.to_string()),
        };
        output::show(
            "brokers",
            entry
                .with("host", node.host.to_string())
                .with("port", node.port)
                .with("id", node.id)
                .with("rack", node.rack.as_deref()),
        );
    }
    Ok(())
}

fn api_entry(key: i16, min: i16, max: i16) -> Entry {
    let api = ApiKey::from_code(key).map(ApiKey::info);
    let usable = api
        .filter(|api| api.latest_stable_version >= min && max >= api.min_version)
        .map(|api| api.latest_stable_version.min(max));
    Entry::silent()
        .with("apiKey", key)
        .with("name", api.map(|api| api.name))
        .with("minVersion", min)
        .with("maxVersion", max)
        .with("usableVersion", usable)
}

fn versions_text(response: &ApiVersionsResponse) -> String {
    let mut texts = BTreeMap::new();
    for api in APIS.iter().filter(|api| api.on_broker && !api.cluster_action) {
        texts.insert(api.key.code(), format!("{}({}): UNSUPPORTED", api.name, api.key.code()));
    }
    for version in &response.api_keys {
        let (key, min, max) = (version.api_key, version.min_version, version.max_version);
        let range = if min == max { min.to_string() } else { format!("{min} to {max}") };
        let text = match ApiKey::from_code(key).map(ApiKey::info) {
            None => format!("UNKNOWN({key}): {range}"),
            Some(api) if api.latest_stable_version < min => {
                format!("{}({key}): {range} [unusable: node too new]", api.name)
            }
            Some(api) if max < api.min_version => {
                format!("{}({key}): {range} [unusable: node too old]", api.name)
            }
            Some(api) => {
                format!("{}({key}): {range} [usable: {}]", api.name, api.latest_stable_version.min(max))
            }
        };
        texts.insert(key, text);
    }
    let texts: Vec<String> = texts.into_values().collect();
    format!("(\n\t{}\n)", texts.join(",\n\t"))
}
