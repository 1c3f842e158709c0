//! CreateAcls and DeleteAcls.

use std::net::IpAddr;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::create_acls_request::{AclCreation, CreateAclsRequest};
use ottla_protocol::messages::create_acls_response::{AclCreationResult, CreateAclsResponse};
use ottla_protocol::messages::delete_acls_request::DeleteAclsRequest;
use ottla_protocol::messages::delete_acls_response::{
    DeleteAclsFilterResult, DeleteAclsMatchingAcl, DeleteAclsResponse,
};
use ottla_protocol::messages::metadata_record::remove_access_control_entry_record::RemoveAccessControlEntryRecord;
use ottla_protocol::types::Str;

use super::acl_names::{OPERATIONS, PATTERN_TYPES, PERMISSIONS, RESOURCE_TYPES, name_of};
use super::{ApiError, Controller, Decision, MAX_RECORDS_PER_USER_OP, Random, random_id};
use crate::image::{AccessControlEntry, acl_record};
use crate::record::VersionedRecord;

const ANY: i8 = 1;
const MATCH: i8 = 2;
const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
/// Which entries DescribeAcls and DeleteAcls mean. `None` means any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AclFilter {
    pub resource_type: i8,
    pub resource_name: Option<Str>,
    pub pattern_type: i8,
    pub principal: Option<Str>,
    pub host: Option<Str>,
    pub operation: i8,
    pub permission_type: i8,
}

/// Whether a filter has only numbers that Kafka knows; the error is Kafka's.
pub fn valid_acl_enums(f: &AclFilter) -> Result<(), ApiError> {
    let unknown = |names, code| name_of(names, code) == "UNKNOWN";
    if unknown(RESOURCE_TYPES, f.resource_type) || unknown(PATTERN_TYPES, f.pattern_type) {
        return Err(ApiError::new(ErrorCode::InvalidRequest, "Unknown patternFilter."));
    }
    if unknown(OPERATIONS, f.operation) || unknown(PERMISSIONS, f.permission_type) {
        return Err(ApiError::new(ErrorCode::InvalidRequest, "Unknown entryFilter."));
    }
    Ok(())
}

impl AclFilter {
    /// Source: `AclBindingFilter.matches`.
    pub fn matches(&self, e: &AccessControlEntry) -> bool {
        let any = |filter: i8, value: i8| filter == ANY || filter == value;
        let text = |filter: &Option<Str>, value: &Str| filter.as_ref().is_none_or(|f| f == value);
        any(self.resource_type, e.resource_type)
            && self.matches_pattern(e)
            && text(&self.principal, &e.principal)
            && text(&self.host, &e.host)
            && any(self.operation, e.operation)
            && any(self.permission_type, e.permission_type)
    }

    fn matches_pattern(&self, e: &AccessControlEntry) -> bool {
        let Some(name) = &self.resource_name else {
            return matches!(self.pattern_type, ANY | MATCH) || self.pattern_type == e.pattern_type;
        };
        match self.pattern_type {
            ANY => *name == e.resource_name,
            MATCH => match e.pattern_type {
                LITERAL => *name == e.resource_name || e.resource_name == "*",
                PREFIXED => name.starts_with(&*e.resource_name),
                _ => false,
            },
            kind => kind == e.pattern_type && *name == e.resource_name,
        }
    }
}

/// The answer to every request about ACLs without an authorizer.
fn disabled() -> ApiError {
    ApiError::new(ErrorCode::SecurityDisabled, "No Authorizer is configured.")
}

fn check_host(host: &str, cidr: bool) -> Result<(), ApiError> {
    if host.is_empty() {
        return invalid("Host pattern cannot be null or empty");
    }
    let Some((address, bits)) = host.split_once('/') else {
        return Ok(());
    };
    if !cidr {
        return Err(ApiError::new(
            ErrorCode::UnsupportedVersion,
            "CIDR-based ACL host patterns require metadata version 4.4-IV1 or higher.",
        ));
    }
    let bits_max = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => {
            return invalid(format!("Invalid CIDR notation '{host}': Invalid IP address: {address}"));
        }
    };
    match bits.parse::<u8>() {
        Ok(b) if b <= bits_max => Ok(()),
        _ => invalid(format!("Invalid CIDR notation '{host}': Invalid prefix length: {bits}")),
    }
}

fn invalid<T>(text: impl Into<String>) -> Result<T, ApiError> {
    Err(ApiError::new(ErrorCode::InvalidRequest, text))
}

fn check_creation(c: &AclCreation, cidr: bool) -> Result<AccessControlEntry, ApiError> {
    let resource = name_of(RESOURCE_TYPES, c.resource_type);
    if matches!(resource, "UNKNOWN" | "ANY") {
        return invalid(format!("Invalid resourceType {resource}"));
    }
    if !matches!(c.resource_pattern_type, LITERAL | PREFIXED) {
        return invalid(format!("Invalid patternType {}", name_of(PATTERN_TYPES, c.resource_pattern_type)));
    }
    let operation = name_of(OPERATIONS, c.operation);
    if matches!(operation, "UNKNOWN" | "ANY") {
        return invalid(format!("Invalid operation {operation}"));
    }
    let permission = name_of(PERMISSIONS, c.permission_type);
    if !matches!(permission, "ALLOW" | "DENY") {
        return invalid(format!("Invalid permissionType {permission}"));
    }
    if c.resource_name.is_empty() {
        return invalid("Resource name should not be empty");
    }
    if !c.principal.contains(':') {
        return invalid(format!(
            "Could not parse principal from `{}` (no colon is present separating the principal type from \
             the principal name)",
            c.principal
        ));
    }
    check_host(&c.host, cidr)?;
    Ok(AccessControlEntry {
        resource_type: c.resource_type,
        resource_name: c.resource_name.clone(),
        pattern_type: c.resource_pattern_type,
        principal: c.principal.clone(),
        host: c.host.clone(),
        operation: c.operation,
        permission_type: c.permission_type,
    })
}

impl Controller {
    /// CreateAcls.
    pub fn decide_create_acls(
        &self,
        request: &CreateAclsRequest,
        random: &mut dyn Random,
    ) -> Result<Decision<CreateAclsResponse>, ApiError> {
        if !self.config.has_authorizer() {
            return Err(disabled());
        }
        let cidr = self.image().metadata_version().is_cidr_acl_supported();
        let mut new: Vec<AccessControlEntry> = Vec::new();
        let mut records = Vec::new();
        let mut response = CreateAclsResponse::default();
        for c in &request.creations {
            let result = check_creation(c, cidr).map(|entry| {
                let exists = self.image().acls.entries.values().any(|e| *e == entry);
                if !exists && !new.contains(&entry) {
                    records.push(VersionedRecord::v0(acl_record(random_id(random), &entry)));
                    new.push(entry);
                }
            });
            let (code, message) = match result {
                Ok(()) => (ErrorCode::None, None),
                Err(e) => (e.code, e.message),
            };
            if records.len() > MAX_RECORDS_PER_USER_OP {
                return Err(ApiError::plain(ErrorCode::PolicyViolation));
            }
            response.results.push(AclCreationResult {
                error_code: code.code(),
                error_message: message.map(Str::from),
                ..Default::default()
            });
        }
        Ok(Decision::atomic(records, response))
    }

    /// DeleteAcls.
    pub fn decide_delete_acls(
        &self,
        request: &DeleteAclsRequest,
    ) -> Result<Decision<DeleteAclsResponse>, ApiError> {
        if !self.config.has_authorizer() {
            return Err(disabled());
        }
        let mut removed = std::collections::BTreeSet::new();
        let mut response = DeleteAclsResponse::default();
        for f in &request.filters {
            let filter = AclFilter {
                resource_type: f.resource_type_filter,
                resource_name: f.resource_name_filter.clone(),
                pattern_type: f.pattern_type_filter,
                principal: f.principal_filter.clone(),
                host: f.host_filter.clone(),
                operation: f.operation,
                permission_type: f.permission_type,
            };
            let mut out = DeleteAclsFilterResult { error_message: None, ..Default::default() };
            match valid_acl_enums(&filter) {
                Err(e) => {
                    out.error_code = e.code.code();
                    out.error_message = e.message.map(Str::from);
                }
                Ok(()) => {
                    for (id, e) in self.image().acls.entries.iter() {
                        if filter.matches(e) {
                            removed.insert(*id);
                            out.matching_acls.push(DeleteAclsMatchingAcl {
                                error_message: None,
                                resource_type: e.resource_type,
                                resource_name: e.resource_name.clone(),
                                pattern_type: e.pattern_type,
                                principal: e.principal.clone(),
                                host: e.host.clone(),
                                operation: e.operation,
                                permission_type: e.permission_type,
                                ..Default::default()
                            });
                        }
                    }
                }
            }
            if removed.len() > MAX_RECORDS_PER_USER_OP {
                return invalid(format!(
                    "Cannot remove more than {MAX_RECORDS_PER_USER_OP} acls in a single delete operation."
                ));
            }
            response.filter_results.push(out);
        }
        let records = removed
            .into_iter()
            .map(|id| VersionedRecord::v0(RemoveAccessControlEntryRecord { id, ..Default::default() }))
            .collect();
        Ok(Decision::atomic(records, response))
    }
}
