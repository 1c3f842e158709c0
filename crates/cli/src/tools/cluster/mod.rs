//! `kafka-cluster`: the cluster's id, its endpoints, taking nodes out. Source: Kafka `ClusterTool`.

use ottla_client::{Admin, ClientConfig, ClientError, Target};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{
    UnregisterBrokerRequest, UnregisterBrokerResponse, UnregisterControllerRequest,
    UnregisterControllerResponse,
};

use super::broker_api_versions::print_versions;
use crate::args::{Parsed, Parser, Style};
use crate::connect;
use crate::error::{ToolError, ToolResult};
use crate::output::{self, Cell, Column, Table};

const COMMANDS: &[&str] =
    &["cluster-id", "unregister", "unregister-controller", "list-endpoints", "api-versions"];

fn parser() -> Parser {
    Parser::new("The Kafka cluster tool. Commands: cluster-id, unregister, unregister-controller, list-endpoints, api-versions.")
        .style(Style::Argparse)
        .positional()
        .text("bootstrap-server", "BOOTSTRAP_SERVER", "A list of host/port pairs to use for establishing the connection to the Kafka cluster.")
        .text("bootstrap-controller", "BOOTSTRAP_CONTROLLER", "A list of host/port pairs to use for establishing the connection to the KRaft controllers.")
        .text("config", "CONFIG", "(DEPRECATED) A property file containing configurations for the Admin client. This option will be removed in a future version. Use --command-config instead.")
        .text("command-config", "COMMAND_CONFIG", "Config properties file for the Admin client.")
        .int("id", "ID", "unregister, unregister-controller: The ID of the node to unregister.")
        .flag("include-fenced-brokers", "list-endpoints: Whether to include fenced brokers when listing broker endpoints")
        .alias("b", "bootstrap-server")
        .alias("C", "bootstrap-controller")
        .alias("c", "command-config")
        .alias("i", "id")
        .alias("h", "help")
}

fn configuration(parser: &Parser, options: &Parsed) -> Result<ClientConfig, ToolError> {
    if options.has("bootstrap-server") == options.has("bootstrap-controller") {
        return Err(
            parser.usage("one of the arguments --bootstrap-server/-b --bootstrap-controller/-C is required")
        );
    }
    let mut config = connect::admin_config(options)?;
    if let Some(path) = options.text("config") {
        if options.has("command-config") {
            return Err(ToolError::message("--config and --command-config cannot be specified together."));
        }
        output::notice_on_output(
            "Option --config has been deprecated and will be removed in a future version. Use --command-config instead.",
        );
        for (key, value) in connect::load_properties(path)? {
            config.set_default(&key, value);
        }
    }
    Ok(config)
}

pub fn main(args: &[String]) -> ToolResult {
    let parser = parser();
    let options = parser.parse(args)?;
    let [command] = options.words() else {
        return Err(parser.usage("too few arguments"));
    };
    if !COMMANDS.contains(&command.as_str()) {
        return Err(
            parser.usage(format!("invalid choice: '{command}' (choose from {})", COMMANDS.join(", ")))
        );
    }
    if command.starts_with("unregister") && !options.has("id") {
        return Err(parser.usage("argument --id/-i is required"));
    }
    let admin = Admin::new(&configuration(&parser, &options)?)?;
    let id = options.int("id").unwrap_or(-1);
    connect::block_on(async {
        match command.as_str() {
            "cluster-id" => {
                let cluster = admin.describe_cluster(false).await?;
                let id = cluster.cluster_id.to_string();
                output::fact("clusterId", id.as_str(), format!("Cluster ID: {id}"));
                Ok(())
            }
            "unregister" => unregister_broker(&admin, id).await,
            "unregister-controller" => unregister_controller(&admin, id).await,
            "list-endpoints" => list_endpoints(&admin, &options).await,
            _ => print_versions(&admin).await,
        }
    })
}

async fn unregister_broker(admin: &Admin, id: i32) -> ToolResult {
    let request = UnregisterBrokerRequest { broker_id: id, ..Default::default() };
    let code = |r: &UnregisterBrokerResponse| ErrorCode::from_code(r.error_code);
    let result = match admin.call_checked(&Target::Controller, &request, code).await {
        Ok(response) => ClientError::check(response.error_code, response.error_message.as_deref()),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.code() == ErrorCode::UnsupportedVersion => {
            output::complain("The target cluster does not support the broker unregistration API.");
        }
        result => {
            result?;
            output::line(format!("Broker {id} is no longer registered."));
        }
    }
    Ok(())
}

async fn unregister_controller(admin: &Admin, id: i32) -> ToolResult {
    let request = UnregisterControllerRequest { controller_id: id, ..Default::default() };
    let code = |r: &UnregisterControllerResponse| ErrorCode::from_code(r.error_code);
    let result = match admin.call_checked(&Target::Controller, &request, code).await {
        Ok(response) => ClientError::check(response.error_code, response.error_message.as_deref()),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.code() == ErrorCode::UnsupportedVersion => {
            output::complain("The target cluster does not support the controller unregistration API.");
        }
        result => {
            result?;
            output::line(format!("Controller {id} is no longer registered."));
        }
    }
    Ok(())
}

async fn list_endpoints(admin: &Admin, options: &Parsed) -> ToolResult {
    let controllers = options.has("bootstrap-controller");
    let fenced = options.has("include-fenced-brokers");
    if controllers && fenced {
        return Err(ToolError::message(
            "The option --include-fenced-brokers is only supported with --bootstrap-server option",
        ));
    }
    let cluster = match admin.describe_cluster(fenced).await {
        Err(error) if error.code() == ErrorCode::UnsupportedVersion => {
            output::complain(error.to_string());
            return Ok(());
        }
        result => result?,
    };
    let nodes = &cluster.brokers;
    let host_width = nodes.iter().map(|n| n.host.chars().count()).max().unwrap_or(100).max(1);
    let rack_width =
        nodes.iter().filter_map(|n| n.rack.as_ref()).map(|r| r.chars().count()).max().unwrap_or(10).max(1);
    let mut table = Table::new(vec![
        Column::new("ID", "id").fixed(10),
        Column::new("HOST", "host").fixed(host_width),
        Column::new("PORT", "port").fixed(10),
        Column::new("RACK", "rack").fixed(rack_width),
        Column::new("STATE", "state").fixed(10).shown(!controllers),
        Column::new("ENDPOINT_TYPE", "endpointType").fixed(15),
    ]);
    for n in nodes {
        table.row(vec![
            n.broker_id.into(),
            n.host.to_string().into(),
            n.port.into(),
            Cell::optional(n.rack.as_deref(), "null"),
            if n.is_fenced { "fenced" } else { "unfenced" }.into(),
            if controllers { "controller" } else { "broker" }.into(),
        ]);
    }
    output::table("endpoints", &table);
    Ok(())
}
