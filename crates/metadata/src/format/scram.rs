//! `--add-scram` arguments: `SCRAM-SHA-256=[name=alice,password=secret]`. Source: Kafka `ScramParser`.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::messages::metadata_record::user_scram_credential_record::UserScramCredentialRecord;

use super::FormatError;
use crate::controller::{Random, salted_password, scram_record};
use crate::image::ScramMechanism;

const ITERATIONS_DEFAULT: i32 = 4096;
const ITERATIONS_MIN: i32 = 4096;
const ITERATIONS_MAX: i32 = 16384;
const SALT_CHARACTERS: usize = 26;

fn bad<T>(text: String) -> Result<T, FormatError> {
    Err(FormatError(text))
}

/// Standard base64 with padding.
fn base64_decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 || (digits.len() != text.len() && !text.len().is_multiple_of(4)) {
        return None;
    }
    let mut out = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for c in digits.bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    (count < 6).then_some(out)
}

/// A salt of printable characters, as Kafka makes them.
fn random_salt(random: &mut dyn Random) -> Vec<u8> {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    (0..SALT_CHARACTERS).map(|_| DIGITS[(random.next_u64() % 36) as usize]).collect()
}

fn components(text: &str) -> Result<BTreeMap<&str, &str>, FormatError> {
    let mut out = BTreeMap::new();
    for part in text.split(',') {
        let Some((key, value)) = part.split_once('=') else {
            return bad(format!("No equals sign found in SCRAM component: {part}"));
        };
        let quoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).filter(|_| value.len() >= 2);
        out.insert(key, quoted.unwrap_or(value));
    }
    Ok(out)
}

/// The record that one argument stands for. A salt that is not given comes from `random`.
pub fn parse_scram_argument(
    argument: &str,
    random: &mut dyn Random,
) -> Result<UserScramCredentialRecord, FormatError> {
    let argument = argument.trim();
    let Some((mechanism_name, config)) = argument.split_once('=') else {
        return bad(format!("Failed to find equals sign in SCRAM argument '{argument}'"));
    };
    let Some(mechanism) = ScramMechanism::from_name(mechanism_name) else {
        return bad(format!("The add-scram mechanism {mechanism_name} is not supported."));
    };
    let Some(config) = config.strip_prefix('[') else {
        return bad("Expected configuration string to start with [".to_owned());
    };
    let Some(config) = config.strip_suffix(']') else {
        return bad("Expected configuration string to end with ]".to_owned());
    };
    let mut parts = components(config)?;
    let Some(name) = parts.remove("name") else {
        return bad("You must supply 'name' to add-scram".to_owned());
    };
    let salt = match parts.remove("salt") {
        None => None,
        Some(text) => match base64_decode(text) {
            Some(salt) => Some(salt),
            None => return bad(format!("Failed to decode given salt: {text}")),
        },
    };
    let iterations = match parts.remove("iterations") {
        None => ITERATIONS_DEFAULT,
        Some(text) => match text.parse() {
            Ok(n) => n,
            Err(_) => return bad(format!("Failed to parse iterations count: {text}")),
        },
    };
    let password = parts.remove("password");
    let salted = match (password, parts.remove("saltedpassword")) {
        (Some(_), _) => None,
        (None, None) => {
            return bad("You must supply one of 'password' or 'saltedpassword' to add-scram".to_owned());
        }
        (None, Some(_)) if salt.is_none() => {
            return bad("You must supply 'salt' with 'saltedpassword' to add-scram".to_owned());
        }
        (None, Some(text)) => match base64_decode(text) {
            Some(salted) => Some(salted),
            None => return bad(format!("Failed to decode given saltedPassword: {text}")),
        },
    };
    if !parts.is_empty() {
        let names: Vec<&str> = parts.into_keys().collect();
        return bad(format!("Unknown SCRAM configurations: {}", names.join(", ")));
    }
    let java_name = match mechanism {
        ScramMechanism::Sha256 => "SCRAM_SHA_256",
        ScramMechanism::Sha512 => "SCRAM_SHA_512",
    };
    if iterations < ITERATIONS_MIN {
        return bad(format!(
            "The 'iterations' value must be >= {ITERATIONS_MIN} for add-scram using {java_name}"
        ));
    }
    if iterations > ITERATIONS_MAX {
        return bad(format!(
            "The 'iterations' value must be <= {ITERATIONS_MAX} for add-scram using {java_name}"
        ));
    }
    let salt = salt.unwrap_or_else(|| random_salt(random));
    let salted: Bytes = match (salted, password) {
        (Some(salted), _) => salted.into(),
        (None, password) => salted_password(mechanism, password.unwrap_or(""), &salt, iterations as u32),
    };
    Ok(scram_record(name, mechanism, salt.into(), iterations, &salted))
}
