//! Access control entries, SCRAM credentials and delegation tokens.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::messages::metadata_record::access_control_entry_record::AccessControlEntryRecord;
use ottla_protocol::messages::metadata_record::delegation_token_record::DelegationTokenRecord;
use ottla_protocol::messages::metadata_record::user_scram_credential_record::UserScramCredentialRecord;
use ottla_protocol::types::{Str, Uuid};

use super::chunked_map::ChunkedMap;
use crate::features::MetadataVersion;
use crate::record::VersionedRecord;

/// An access control entry; numbers are Kafka's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccessControlEntry {
    pub resource_type: i8,
    pub resource_name: Str,
    pub pattern_type: i8,
    pub principal: Str,
    pub host: Str,
    pub operation: i8,
    pub permission_type: i8,
}

/// Access control entries by id.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AclsImage {
    pub entries: ChunkedMap<Uuid, AccessControlEntry>,
}

impl AclsImage {
    pub(crate) fn replay(&mut self, r: &AccessControlEntryRecord) {
        let entry = AccessControlEntry {
            resource_type: r.resource_type,
            resource_name: r.resource_name.clone(),
            pattern_type: r.pattern_type,
            principal: r.principal.clone(),
            host: r.host.clone(),
            operation: r.operation,
            permission_type: r.permission_type,
        };
        self.entries.insert(r.id, entry);
    }

    pub(crate) fn write(&self, out: &mut Vec<VersionedRecord>) {
        for (id, e) in self.entries.iter() {
            out.push(VersionedRecord::v0(acl_record(*id, e)));
        }
    }
}

pub(crate) fn acl_record(id: Uuid, e: &AccessControlEntry) -> AccessControlEntryRecord {
    AccessControlEntryRecord {
        id,
        resource_type: e.resource_type,
        resource_name: e.resource_name.clone(),
        pattern_type: e.pattern_type,
        principal: e.principal.clone(),
        host: e.host.clone(),
        operation: e.operation,
        permission_type: e.permission_type,
        ..Default::default()
    }
}

/// A SCRAM mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScramMechanism {
    Sha256,
    Sha512,
}

impl ScramMechanism {
    pub fn code(self) -> i8 {
        match self {
            ScramMechanism::Sha256 => 1,
            ScramMechanism::Sha512 => 2,
        }
    }

    pub fn from_code(code: i8) -> Option<Self> {
        match code {
            1 => Some(ScramMechanism::Sha256),
            2 => Some(ScramMechanism::Sha512),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            ScramMechanism::Sha256 => "SCRAM-SHA-256",
            ScramMechanism::Sha512 => "SCRAM-SHA-512",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        [ScramMechanism::Sha256, ScramMechanism::Sha512].into_iter().find(|m| m.name() == name)
    }
}

/// What is kept of a user's password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScramCredential {
    pub salt: Bytes,
    pub stored_key: Bytes,
    pub server_key: Bytes,
    pub iterations: i32,
}

/// SCRAM credentials by mechanism and user.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ScramImage {
    pub credentials: BTreeMap<(ScramMechanism, Str), ScramCredential>,
}

impl ScramImage {
    pub fn get(&self, mechanism: ScramMechanism, user: &str) -> Option<&ScramCredential> {
        self.credentials.get(&(mechanism, Str::from(user)))
    }

    pub(crate) fn replay(&mut self, r: &UserScramCredentialRecord) {
        let Some(mechanism) = ScramMechanism::from_code(r.mechanism) else {
            return;
        };
        let credential = ScramCredential {
            salt: r.salt.clone(),
            stored_key: r.stored_key.clone(),
            server_key: r.server_key.clone(),
            iterations: r.iterations,
        };
        self.credentials.insert((mechanism, r.name.clone()), credential);
    }

    pub(crate) fn replay_removal(&mut self, mechanism: i8, user: &Str) {
        if let Some(mechanism) = ScramMechanism::from_code(mechanism) {
            self.credentials.remove(&(mechanism, user.clone()));
        }
    }

    pub(crate) fn write(&self, version: MetadataVersion, out: &mut Vec<VersionedRecord>) {
        if !version.is_scram_supported() {
            return;
        }
        for ((mechanism, user), c) in &self.credentials {
            out.push(VersionedRecord::v0(UserScramCredentialRecord {
                name: user.clone(),
                mechanism: mechanism.code(),
                salt: c.salt.clone(),
                stored_key: c.stored_key.clone(),
                server_key: c.server_key.clone(),
                iterations: c.iterations,
                ..Default::default()
            }));
        }
    }
}

/// A delegation token. Times in milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelegationToken {
    pub owner: Str,
    pub requester: Str,
    pub renewers: Vec<Str>,
    pub issue_timestamp_ms: i64,
    pub max_timestamp_ms: i64,
    pub expiration_timestamp_ms: i64,
}

/// Delegation tokens by id.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DelegationTokensImage {
    pub tokens: BTreeMap<Str, DelegationToken>,
}

impl DelegationTokensImage {
    pub(crate) fn replay(&mut self, r: &DelegationTokenRecord) {
        let token = DelegationToken {
            owner: r.owner.clone(),
            requester: r.requester.clone(),
            renewers: r.renewers.clone(),
            issue_timestamp_ms: r.issue_timestamp,
            max_timestamp_ms: r.max_timestamp,
            expiration_timestamp_ms: r.expiration_timestamp,
        };
        self.tokens.insert(r.token_id.clone(), token);
    }

    pub(crate) fn write(&self, version: MetadataVersion, out: &mut Vec<VersionedRecord>) {
        if !version.is_delegation_token_supported() {
            return;
        }
        for (id, t) in &self.tokens {
            out.push(VersionedRecord::v0(DelegationTokenRecord {
                owner: t.owner.clone(),
                requester: t.requester.clone(),
                renewers: t.renewers.clone(),
                issue_timestamp: t.issue_timestamp_ms,
                max_timestamp: t.max_timestamp_ms,
                expiration_timestamp: t.expiration_timestamp_ms,
                token_id: id.clone(),
                ..Default::default()
            }));
        }
    }
}
