//! `kafka-configs`: dynamic configuration of topics, brokers, loggers, groups, client metrics, and of users,
//! clients and addresses (quotas, SCRAM). Source: Kafka `ConfigCommand`.

mod additions;
mod alter;
mod describe;
mod entities;
mod quotas;
mod scram;

use ottla_client::ClientError;

use crate::args::{Parsed, Parser};
use crate::connect;
use crate::error::{ToolError, ToolResult};
use entities::Entities;

fn parser() -> Parser {
    Parser::new(
        "This tool helps to manipulate and describe entity config for a topic, client, user, broker, ip, \
         client-metrics or group",
    )
    .bootstrap_or_controller()
    .flag("alter", "Alter the configuration for the entity.")
    .flag("describe", "List configs for the given entity.")
    .flag("all", "List all configs for the given entity, including static configs if available.")
    .text("entity-type", "String", "Type of entity (topics/clients/users/brokers/broker-loggers/ips/client-metrics/groups)")
    .text("entity-name", "String", "Name of entity (topic name/client id/user principal name/broker id/ip/client metrics/group id)")
    .flag("entity-default", "Default entity name for clients/users/brokers/ips (applies to corresponding entity type)")
    .text("add-config", "String", "Key Value pairs of configs to add. Square brackets can be used to group values which contain commas: 'k1=v1,k2=[v1,v2,v2],k3=v3'. Entity types 'users' and 'clients' may be specified together to update config for clients of a specific user.")
    .text("add-config-file", "String", "Path to a properties file with configs to add. See add-config for a list of valid configurations.")
    .text("delete-config", "String", "config keys to remove 'k1,k2'")
    .text("topic", "String", "The topic's name.")
    .text("client", "String", "The client's ID.")
    .flag("client-defaults", "The config defaults for all clients.")
    .text("user", "String", "The user's principal name.")
    .flag("user-defaults", "The config defaults for all users.")
    .text("broker", "String", "The broker's ID.")
    .flag("broker-defaults", "The config defaults for all brokers.")
    .text("broker-logger", "String", "The broker's ID for its logger config.")
    .flag("ip-defaults", "The config defaults for all IPs.")
    .text("ip", "String", "The IP address.")
    .text("group", "String", "The group's ID.")
    .text("client-metrics", "String", "The client metrics config resource name.")
}

pub fn main(args: &[String]) -> ToolResult {
    let parser = parser();
    let options = parser.parse(args)?;
    let entities = check(&parser, &options)?;
    let admin = connect::admin(&options)?;
    let result = connect::block_on(async {
        if options.has("alter") {
            alter::alter(&admin, &options, &entities).await
        } else {
            describe::describe(&admin, &options, &entities).await
        }
    });
    result.map_err(|error| match error {
        ToolError::Client(
            error @ (ClientError::UnsupportedApi { .. } | ClientError::UnsupportedVersion { .. }),
        ) => ToolError::message(error.to_string()),
        ToolError::Client(error) => ToolError::message(format!(
            "Error while executing config command with args '{}'\n{error}",
            args.join(" ")
        )),
        other => other,
    })
}

fn check(parser: &Parser, options: &Parsed) -> Result<Entities, ToolError> {
    if options.has("alter") == options.has("describe") {
        return Err(parser.usage("Command must include exactly one action: --describe, --alter"));
    }
    parser.forbid(options, "describe", &["add-config", "delete-config"])?;
    let entities = Entities::of(options)?;
    match (options.has("bootstrap-server"), options.has("bootstrap-controller")) {
        (false, false) => {
            return Err(ToolError::message(
                "Either --bootstrap-server or --bootstrap-controller must be specified.",
            ));
        }
        (true, true) => {
            return Err(ToolError::message(
                "Only one of --bootstrap-server or --bootstrap-controller can be specified",
            ));
        }
        _ => {}
    }
    entities.check(options)?;
    if options.has("alter") {
        let (add, file) = (options.has("add-config"), options.has("add-config-file"));
        if add && file {
            return Err(ToolError::message(
                "Only one of --add-config or --add-config-file must be specified",
            ));
        }
        if !add && !file && !options.has("delete-config") {
            return Err(ToolError::message(
                "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter",
            ));
        }
        if entities.types.len() != entities.names.len() {
            return Err(ToolError::message("An entity name must be specified for every entity type"));
        }
    }
    Ok(entities)
}
