//! Adding and removing voters (KIP-853).

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use ottla_client::{Admin, ClientError, Target, parse_properties};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::add_raft_voter_request::Listener;
use ottla_protocol::messages::{
    AddRaftVoterRequest, AddRaftVoterResponse, RemoveRaftVoterRequest, RemoveRaftVoterResponse,
    UnregisterControllerRequest, UnregisterControllerResponse,
};
use ottla_protocol::types::{Str, Uuid};

use super::bracketed;
use crate::args::Parsed;
use crate::error::{ToolError, ToolResult};
use crate::{connect, output};

const QUESTION: &str = "Is this a valid controller configuration file?";

type Properties = BTreeMap<String, String>;

fn controller_id(properties: &Properties) -> Result<i32, ToolError> {
    let text = properties
        .get("node.id")
        .ok_or_else(|| ToolError::message(format!("node.id not found in configuration file. {QUESTION}")))?;
    let id: i32 =
        text.trim().parse().map_err(|_| ToolError::message(format!("For input string: \"{text}\"")))?;
    if id < 0 {
        return Err(ToolError::message(format!("node.id was negative in configuration file. {QUESTION}")));
    }
    if !properties.get("process.roles").is_some_and(|roles| roles.contains("controller")) {
        return Err(ToolError::message(format!(
            "process.roles did not contain 'controller' in configuration file. {QUESTION}"
        )));
    }
    Ok(id)
}

fn directory_id(properties: &Properties) -> Result<Uuid, ToolError> {
    let dirs = properties.get("log.dirs").map(|dirs| dirs.split(',').next().unwrap_or_default().trim());
    let dir = properties.get("metadata.log.dir").map(String::as_str).or(dirs).ok_or_else(|| {
        ToolError::message(format!("Neither metadata.log.dir nor log.dirs were found. {QUESTION}"))
    })?;
    let text = std::fs::read_to_string(Path::new(dir).join("meta.properties"))
        .map_err(|_| ToolError::message(format!("Unable to read meta.properties from {dir}")))?;
    let id = parse_properties(&text).into_iter().find(|(key, _)| key == "directory.id");
    id.and_then(|(_, id)| Uuid::from_str(&id).ok())
        .ok_or_else(|| ToolError::message(format!("No directory id found in {dir}")))
}

/// Name, host and port of a listener.
fn endpoint(text: &str) -> Option<(String, String, u16)> {
    let (name, address) = text.trim().split_once("://")?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = if host.is_empty() { "localhost" } else { host };
    Some((name.to_ascii_uppercase(), host.to_owned(), port.parse().ok()?))
}

fn listeners(properties: &Properties) -> Result<Vec<Listener>, ToolError> {
    let mut known = BTreeMap::new();
    for key in ["listeners", "advertised.listeners"] {
        let texts = properties.get(key).map(String::as_str).unwrap_or_default();
        for (name, host, port) in texts.split(',').filter_map(endpoint) {
            known.insert(name, (host, port));
        }
    }
    let names = properties
        .get("controller.listener.names")
        .ok_or_else(|| ToolError::message(format!("controller.listener.names was not found. {QUESTION}")))?;
    let mut found = Vec::new();
    for name in names.split(',') {
        let name = name.trim().to_ascii_uppercase();
        let (host, port) = known.get(&name).ok_or_else(|| {
            ToolError::message(format!("Cannot find information about controller listener name: {name}"))
        })?;
        found.push(Listener {
            name: Str::from(name),
            host: Str::from(host.as_str()),
            port: *port,
            ..Default::default()
        });
    }
    Ok(found)
}

pub async fn add(admin: &Admin, options: &Parsed) -> ToolResult {
    let path = options.text("command-config").ok_or_else(|| {
        ToolError::message(
            "You must supply the configuration file of the controller you are adding when using add-controller.",
        )
    })?;
    let properties: Properties = connect::load_properties(path)?.into_iter().collect();
    let id = controller_id(&properties)?;
    let directory = directory_id(&properties)?;
    let listeners = listeners(&properties)?;
    let dry_run = options.has("dry-run");
    let texts: Vec<String> =
        listeners.iter().map(|l| format!("{}://{}:{}", l.name, bracketed(&l.host), l.port)).collect();
    if !dry_run {
        let request = AddRaftVoterRequest {
            timeout_ms: i32::try_from(admin.client().request_timeout().as_millis()).unwrap_or(i32::MAX),
            voter_id: id,
            voter_directory_id: directory,
            listeners,
            ..Default::default()
        };
        let code = |r: &AddRaftVoterResponse| ErrorCode::from_code(r.error_code);
        let response = admin.call_checked(&Target::Controller, &request, code).await?;
        ClientError::check(response.error_code, response.error_message.as_deref())?;
    }
    output::line(format!(
        "{} controller {id} with directory id {directory} and endpoints: {}",
        if dry_run { "DRY RUN of adding" } else { "Added" },
        texts.join(", ")
    ));
    Ok(())
}

pub async fn remove(admin: &Admin, options: &Parsed) -> ToolResult {
    let id = options.int("controller-id").unwrap_or(-1);
    if id < 0 {
        return Err(ToolError::message(format!("Invalid negative --controller-id: {id}")));
    }
    let text = options.text("controller-directory-id").unwrap_or_default();
    let directory = Uuid::from_str(text).map_err(|_| {
        ToolError::message(format!("Failed to parse --controller-directory-id: {text} is not a directory id"))
    })?;
    let (dry_run, unregister) = (options.has("dry-run"), options.has("unregister"));
    let advice = format!(
        "To unregister the controller from the cluster, run `kafka-cluster.sh unregister-controller --id {id}`."
    );
    if !dry_run {
        let request =
            RemoveRaftVoterRequest { voter_id: id, voter_directory_id: directory, ..Default::default() };
        let code = |r: &RemoveRaftVoterResponse| ErrorCode::from_code(r.error_code);
        let result = match admin.call_checked(&Target::Controller, &request, code).await {
            Ok(response) => ClientError::check(response.error_code, response.error_message.as_deref()),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            let known = [ErrorCode::UnsupportedVersion, ErrorCode::VoterNotFound].contains(&error.code());
            return Err(if unregister && known {
                ToolError::message(format!("Failed to remove KRaft voter {id}: {error}. {advice}"))
            } else {
                error.into()
            });
        }
    }
    let done = if dry_run { "DRY RUN of removing " } else { "Removed " };
    output::line(format!("{done}KRaft controller {id} with directory id {directory}"));
    if unregister {
        if !dry_run {
            let request = UnregisterControllerRequest { controller_id: id, ..Default::default() };
            let code = |r: &UnregisterControllerResponse| ErrorCode::from_code(r.error_code);
            let result = match admin.call_checked(&Target::Controller, &request, code).await {
                Ok(response) => ClientError::check(response.error_code, response.error_message.as_deref()),
                Err(error) => Err(error),
            };
            result.map_err(|e| {
                ToolError::message(format!("Failed to unregister controller {id}: {e}. {advice}"))
            })?;
        }
        let done = if dry_run { "DRY RUN of unregistering " } else { "Unregistered " };
        output::line(format!("{done}KRaft controller {id}"));
    }
    Ok(())
}
