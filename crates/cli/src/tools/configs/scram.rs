//! SCRAM credentials of users (KIP-554).

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_client::Admin;
use ottla_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use ottla_protocol::types::Str;

use super::entities::Entities;
use crate::error::{ToolError, ToolResult};
use crate::output::{self, Entry};

const RESOURCE_NOT_FOUND: i16 = ottla_protocol::ErrorCode::ResourceNotFound.code();
const DEFAULT_ITERATIONS: i32 = 4096;
const MIN_ITERATIONS: i32 = 4096;

fn mechanism_id(name: &str) -> Option<i8> {
    match name {
        "SCRAM-SHA-256" => Some(1),
        "SCRAM-SHA-512" => Some(2),
        _ => None,
    }
}

fn mechanism_name(id: i8) -> &'static str {
    match id {
        1 => "SCRAM-SHA-256",
        2 => "SCRAM-SHA-512",
        _ => "UNKNOWN",
    }
}

pub fn is_mechanism(name: &str) -> bool {
    mechanism_id(name).is_some()
}

/// `[iterations=4096,]password=secret`.
fn credential(mechanism: &str, text: &str) -> Result<(i32, String), ToolError> {
    let invalid = || ToolError::message(format!("Invalid credential property {mechanism}={text}"));
    let (iterations, rest) = match text.strip_prefix("iterations=") {
        Some(rest) => rest.split_once(',').ok_or_else(invalid)?,
        None => ("-1", text),
    };
    let password = rest.strip_prefix("password=").ok_or_else(invalid)?;
    let iterations = match iterations {
        "-1" => DEFAULT_ITERATIONS,
        n => n.parse().map_err(|_| invalid())?,
    };
    if iterations < MIN_ITERATIONS {
        return Err(ToolError::message(format!(
            "Iterations {iterations} is less than the minimum {MIN_ITERATIONS} required for {mechanism}"
        )));
    }
    Ok((iterations, password.to_owned()))
}

pub async fn alter(
    admin: &Admin,
    user: &str,
    add: &BTreeMap<String, String>,
    delete: &[String],
) -> ToolResult {
    let mut deletions = Vec::new();
    for mechanism in delete.iter().filter_map(|name| mechanism_id(name)) {
        deletions.push(ScramCredentialDeletion { name: Str::from(user), mechanism, ..Default::default() });
    }
    let mut upsertions = Vec::new();
    for (name, text) in add {
        let Some(mechanism) = mechanism_id(name) else { continue };
        let (iterations, password) = credential(name, text)?;
        let mut salt = [0u8; 24];
        getrandom::fill(&mut salt).map_err(|e| ToolError::message(format!("no random bytes: {e}")))?;
        let rounds = u32::try_from(iterations).unwrap_or(u32::MAX);
        let salted = match mechanism {
            1 => pbkdf2::pbkdf2_hmac_array::<sha2::Sha256, 32>(password.as_bytes(), &salt, rounds).to_vec(),
            _ => pbkdf2::pbkdf2_hmac_array::<sha2::Sha512, 64>(password.as_bytes(), &salt, rounds).to_vec(),
        };
        upsertions.push(ScramCredentialUpsertion {
            name: Str::from(user),
            mechanism,
            iterations,
            salt: Bytes::copy_from_slice(&salt),
            salted_password: Bytes::from(salted),
            ..Default::default()
        });
    }
    Ok(admin.alter_user_scram_credentials(deletions, upsertions).await?)
}

pub async fn describe(admin: &Admin, entities: &Entities) -> ToolResult {
    if entities.types.iter().any(|t| t == "clients") || entities.names.iter().any(String::is_empty) {
        return Ok(());
    }
    let users: Vec<&str> = entities.names.iter().map(String::as_str).collect();
    let found =
        admin.describe_user_scram_credentials((!users.is_empty()).then_some(users.as_slice())).await?;
    for result in found.iter().filter(|r| r.error_code != RESOURCE_NOT_FOUND) {
        if result.error_code != 0 {
            output::complain(format!(
                "Error retrieving SCRAM credential configs for user-principal '{}': {}",
                result.user,
                result.error_message.as_deref().unwrap_or_default()
            ));
            continue;
        }
        let infos: Vec<String> = result
            .credential_infos
            .iter()
            .map(|i| format!("{}=iterations={}", mechanism_name(i.mechanism), i.iterations))
            .collect();
        let text =
            format!("SCRAM credential configs for user-principal '{}' are {}", result.user, infos.join(", "));
        let credentials = result.credential_infos.iter().map(|i| {
            Entry::silent().with("mechanism", mechanism_name(i.mechanism)).with("iterations", i.iterations)
        });
        output::show(
            "credentials",
            Entry::new(text).with("user", &*result.user).list("credentials", credentials),
        );
    }
    Ok(())
}
