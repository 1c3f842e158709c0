//! AlterClientQuotas.

use std::net::IpAddr;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_client_quotas_request::{self as req, AlterClientQuotasRequest};
use ottla_protocol::messages::alter_client_quotas_response::{self as resp, AlterClientQuotasResponse};
use ottla_protocol::types::Str;

use super::{ApiError, Controller, Decision, MAX_RECORDS_PER_USER_OP};
use crate::image::{QuotaEntity, quota_record};
use crate::record::VersionedRecord;

/// The type of a quota's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum QuotaType {
    Int,
    Long,
    Double,
}

const USER_AND_CLIENT_KEYS: &[(&str, QuotaType)] = &[
    ("producer_byte_rate", QuotaType::Long),
    ("consumer_byte_rate", QuotaType::Long),
    ("request_percentage", QuotaType::Double),
    ("controller_mutation_rate", QuotaType::Double),
];
const IP_KEYS: &[(&str, QuotaType)] = &[("connection_creation_rate", QuotaType::Int)];

fn invalid<T>(text: impl Into<String>) -> Result<T, ApiError> {
    Err(ApiError::new(ErrorCode::InvalidRequest, text))
}

/// An entity as Java's `ClientQuotaEntity.toString`.
fn shown(entity: &QuotaEntity) -> String {
    let parts: Vec<String> =
        entity.iter().map(|(k, v)| format!("{k}={}", v.as_deref().unwrap_or("null"))).collect();
    format!("ClientQuotaEntity(entries={{{}}})", parts.join(", "))
}

impl Controller {
    /// AlterClientQuotas.
    pub fn decide_alter_client_quotas(
        &self,
        request: &AlterClientQuotasRequest,
    ) -> Result<Decision<AlterClientQuotasResponse>, ApiError> {
        let mut records = Vec::new();
        let mut response = AlterClientQuotasResponse::default();
        let mut seen: Vec<QuotaEntity> = Vec::new();
        for entry in &request.entries {
            let entity: QuotaEntity =
                entry.entity.iter().map(|e| (e.entity_type.clone(), e.entity_name.clone())).collect();
            let result = if seen.contains(&entity) {
                invalid(format!("Ignoring duplicate entity {}", shown(&entity)))
            } else {
                self.alter_quota(&entity, entry)
            };
            seen.push(entity);
            let (code, message) = match result {
                Ok(own) => {
                    records.extend(own);
                    (ErrorCode::None, None)
                }
                Err(e) => (e.code, e.message),
            };
            if records.len() > MAX_RECORDS_PER_USER_OP {
                return Err(ApiError::plain(ErrorCode::PolicyViolation));
            }
            response.entries.push(resp::EntryData {
                error_code: code.code(),
                error_message: message.map(Str::from),
                entity: entry
                    .entity
                    .iter()
                    .map(|e| resp::EntityData {
                        entity_type: e.entity_type.clone(),
                        entity_name: e.entity_name.clone(),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            });
        }
        if request.validate_only {
            records.clear();
        }
        Ok(Decision::atomic(records, response))
    }

    fn alter_quota(
        &self,
        entity: &QuotaEntity,
        entry: &req::EntryData,
    ) -> Result<Vec<VersionedRecord>, ApiError> {
        for (i, op) in entry.ops.iter().enumerate() {
            if entry.ops[..i].iter().any(|o| o.key == op.key) {
                return invalid(format!(
                    "Duplicate quota key {} not updating quota for this entity {}",
                    op.key,
                    shown(entity)
                ));
            }
        }
        let keys = keys_of(entity)?;
        let current = self.image().client_quotas.entities.get(entity);
        let mut out = Vec::new();
        for op in &entry.ops {
            let old = current.and_then(|c| c.get(&op.key)).copied();
            if op.remove {
                if old.is_some() {
                    out.push(VersionedRecord::v0(quota_record(entity, &op.key, None)));
                }
                continue;
            }
            check_value(keys, &op.key, op.value)?;
            if old != Some(op.value) {
                let record = quota_record(entity, &op.key, Some(op.value));
                out.push(VersionedRecord::v0(record));
            }
        }
        Ok(out)
    }
}

fn keys_of(entity: &QuotaEntity) -> Result<&'static [(&'static str, QuotaType)], ApiError> {
    if entity.is_empty() {
        return invalid("Invalid empty client quota entity");
    }
    for (kind, name) in entity {
        if !matches!(&**kind, "user" | "client-id" | "ip") {
            return invalid(format!("Unhandled client quota entity type: {kind}"));
        }
        if name.as_ref().is_some_and(|n| n.is_empty()) {
            return invalid(format!("Empty {kind} not supported"));
        }
    }
    let Some(ip) = entity.get("ip") else {
        return Ok(USER_AND_CLIENT_KEYS);
    };
    if entity.len() > 1 {
        return invalid(
            "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId",
        );
    }
    match ip {
        Some(ip) if !is_address(ip) => invalid(format!("{ip} is not a valid IP or resolvable host.")),
        _ => Ok(IP_KEYS),
    }
}

/// Kafka resolves names here; a controller that decides without I/O takes addresses and localhost.
fn is_address(ip: &str) -> bool {
    ip == "localhost" || ip.parse::<IpAddr>().is_ok()
}

fn check_value(keys: &[(&str, QuotaType)], key: &str, value: f64) -> Result<(), ApiError> {
    let Some((_, kind)) = keys.iter().find(|(k, _)| *k == key) else {
        return invalid(format!("Invalid configuration key {key}"));
    };
    if value <= 0.0 {
        return invalid(format!("Quota {key} must be greater than 0"));
    }
    let max = match kind {
        QuotaType::Double => return Ok(()),
        QuotaType::Int if value > f64::from(i32::MAX) => Some("an INT"),
        QuotaType::Long if value > i64::MAX as f64 => Some("a LONG"),
        QuotaType::Int | QuotaType::Long => None,
    };
    if let Some(name) = max {
        return invalid(format!("Proposed value for {key} is too large for {name}."));
    }
    if (value % 1.0).abs() > 1e-6 {
        return invalid(format!("{key} cannot be a fractional value."));
    }
    Ok(())
}
