//! Records of the coordinators: groups, transactions, share groups. Source: `CoordinatorRecordSerde`.

use bytes::Bytes;
use ottla_protocol::messages::registry::MESSAGES;
use ottla_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, GroupMetadataValue,
};
use ottla_protocol::records::Record;
use ottla_protocol::wire::{JsonWriter, Message, MessageInfo, Reader};

use super::decoder::Decoded;
use crate::error::ToolError;

/// Whose log it is: the types of records are counted anew in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    Groups,
    Transactions,
    Share,
}

impl Log {
    fn has(self, name: &str) -> bool {
        let transactions = name.starts_with("TransactionLog");
        let share = name.starts_with("ShareSnapshot") || name.starts_with("ShareUpdate");
        match self {
            Log::Groups => !transactions && !share,
            Log::Transactions => transactions,
            Log::Share => share,
        }
    }

    fn find(self, kind: &str, key: i16) -> Option<&'static MessageInfo> {
        MESSAGES.iter().find(|m| m.kind == kind && m.key == key && self.has(m.name))
    }
}

pub fn decode(log: Log, record: &Record<'_>) -> Result<Decoded, ToolError> {
    let Some(key) = record.key else {
        return Err(ToolError::message(format!(
            "Failed to decode message at offset {} using the specified decoder (message had a missing key)",
            record.offset
        )));
    };
    let skipped = |e: String| (Some(format!("Error at offset {}, skipping. {e}", record.offset)), None);
    let (kind, key) = match split(key, "key") {
        Ok(split) => split,
        Err(error) => return Ok(skipped(error)),
    };
    let Some(key_info) = log.find("coordinator-key", kind) else {
        let text = format!("Unknown record type {kind} at offset {}, skipping.", record.offset);
        return Ok((Some(text), None));
    };
    Ok(match texts(log, kind, key_info, key, record.value) {
        Ok((key, value)) => (Some(key), Some(value)),
        Err(error) => skipped(error),
    })
}

fn split(bytes: &[u8], what: &str) -> Result<(i16, Bytes), String> {
    let (version, rest) = bytes
        .split_first_chunk::<2>()
        .ok_or_else(|| format!("Could not read version from {what}'s buffer."))?;
    Ok((i16::from_be_bytes(*version), Bytes::copy_from_slice(rest)))
}

fn texts(
    log: Log,
    kind: i16,
    key_info: &MessageInfo,
    key: Bytes,
    value: Option<&[u8]>,
) -> Result<(String, String), String> {
    let unreadable = |version: i16, what: &str, error: &dyn std::fmt::Display| {
        format!("Could not read record with version {version} from {what}'s buffer due to: {error}.")
    };
    let key = (key_info.json)(key, 0).map_err(|e| unreadable(kind, "key", &e))?;
    let key = format!(r#"{{"type":"{kind}","data":{key}}}"#);
    let Some(value) = value else {
        return Ok((key, "<DELETE>".to_owned()));
    };
    let (version, value) = split(value, "value")?;
    let info = log.find("coordinator-value", kind).ok_or_else(|| format!("Unknown record type {kind}"))?;
    if version < info.min_version || version > info.max_version {
        return Err(format!("Found an unknown record version {version} for {kind} type"));
    }
    let json = if log == Log::Groups && kind == GroupMetadataValue::KEY {
        let mut r = Reader::new(value);
        let group =
            GroupMetadataValue::decode(&mut r, version).map_err(|e| unreadable(version, "value", &e))?;
        group_json(&group, version)
    } else {
        (info.json)(value, version).map_err(|e| unreadable(version, "value", &e))?
    };
    Ok((key, format!(r#"{{"version":"{version}","data":{json}}}"#)))
}

/// A classic group, with the consumers' subscriptions and assignments opened.
fn group_json(group: &GroupMetadataValue, version: i16) -> String {
    let json = group.to_json(version);
    if &*group.protocol_type != "consumer" {
        return json;
    }
    // Keys cannot be part of a string: a quote within one is escaped.
    let mut opened = String::with_capacity(json.len());
    let mut rest = json.as_str();
    for member in &group.members {
        for (field, bytes, text) in [
            (
                "\"subscription\":",
                &member.subscription,
                opened_text::<ConsumerProtocolSubscription>(&member.subscription),
            ),
            (
                "\"assignment\":",
                &member.assignment,
                opened_text::<ConsumerProtocolAssignment>(&member.assignment),
            ),
        ] {
            let mut closed = JsonWriter::new();
            closed.bytes(bytes);
            let closed = closed.into_string();
            let Some(text) = text else { continue };
            let Some(at) = rest.find(&format!("{field}{closed}")) else { continue };
            let (before, after) = rest.split_at(at + field.len());
            opened.push_str(before);
            opened.push_str(&text);
            rest = after.get(closed.len()..).unwrap_or_default();
        }
    }
    opened.push_str(rest);
    opened
}

fn opened_text<M: Message>(bytes: &Bytes) -> Option<String> {
    let (version, body) = split(bytes, "value").ok()?;
    let message = M::decode(&mut Reader::new(body), version).ok()?;
    Some(message.to_json(version))
}
