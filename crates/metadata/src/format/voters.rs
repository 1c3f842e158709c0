//! The voters of a new dynamic quorum (`--initial-controllers`). Source: Kafka `DynamicVoters`.

use ottla_protocol::messages::control_record::voters_record::{
    Endpoint, KRaftVersionFeature, Voter, VotersRecord,
};
use ottla_protocol::types::{Str, Uuid};

use super::FormatError;

/// `id@host:port:directory`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicVoter {
    pub id: i32,
    pub host: String,
    pub port: u16,
    pub directory_id: Uuid,
}

fn bad<T>(text: String) -> Result<T, FormatError> {
    Err(FormatError(text))
}

/// Parses a list of voters.
pub fn parse_initial_controllers(text: &str) -> Result<Vec<DynamicVoter>, FormatError> {
    let mut out: Vec<DynamicVoter> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let voter = parse_voter(part)?;
        if out.iter().any(|v| v.id == voter.id) {
            return bad(format!("Node id {} was specified more than once.", voter.id));
        }
        let same = out.iter().find(|v| v.directory_id == voter.directory_id);
        if let Some(other) = same {
            return bad(format!(
                "Node {} and {} have the same directory id {}.",
                other.id, voter.id, voter.directory_id
            ));
        }
        out.push(voter);
    }
    if out.is_empty() {
        return bad("No voters given.".to_owned());
    }
    out.sort_by_key(|v| v.id);
    Ok(out)
}

fn parse_voter(text: &str) -> Result<DynamicVoter, FormatError> {
    let Some((id, rest)) = text.split_once('@') else {
        return bad("No @ found in dynamic voter string.".to_owned());
    };
    let Ok(id) = id.parse::<i32>() else {
        return bad(format!("Failed to parse node id in dynamic voter string: {id}"));
    };
    if id < 0 {
        return bad(format!("Invalid negative node id {id} in dynamic voter string."));
    }
    let (host, rest) = match rest.strip_prefix('[') {
        Some(inner) => match inner.split_once("]:") {
            Some((host, rest)) => (host, rest),
            None => {
                return bad("Hostname began with left bracket, but no right bracket was found.".to_owned());
            }
        },
        None => match rest.split_once(':') {
            Some((host, rest)) => (host, rest),
            None => return bad("No colon following hostname could be found.".to_owned()),
        },
    };
    let Some((port, directory)) = rest.split_once(':') else {
        return bad("No colon following port could be found.".to_owned());
    };
    let Ok(port) = port.parse::<u16>() else {
        return bad(format!("Failed to parse port in dynamic voter string: {port}"));
    };
    let Ok(directory_id) = directory.parse::<Uuid>() else {
        return bad("Failed to parse directory ID in dynamic voter string.".to_owned());
    };
    if directory_id.is_reserved() {
        return bad(format!("Invalid reserved directory id {directory_id} in dynamic voter string."));
    }
    Ok(DynamicVoter { id, host: host.to_owned(), port, directory_id })
}

/// The only voter of `--standalone`.
pub fn standalone_voter(id: i32, host: Option<&str>, port: u16, directory_id: Uuid) -> DynamicVoter {
    DynamicVoter { id, host: host.unwrap_or("localhost").to_owned(), port, directory_id }
}

pub(super) fn voters_record(voters: &[DynamicVoter], listener: &str) -> VotersRecord {
    VotersRecord {
        version: 0,
        voters: voters
            .iter()
            .map(|v| Voter {
                voter_id: v.id,
                voter_directory_id: v.directory_id,
                endpoints: vec![Endpoint {
                    name: Str::from(listener),
                    host: Str::from(v.host.as_str()),
                    port: v.port,
                    ..Default::default()
                }],
                kraft_version_feature: KRaftVersionFeature {
                    min_supported_version: 0,
                    max_supported_version: 1,
                    ..Default::default()
                },
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}
