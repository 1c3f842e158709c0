//! What resources, patterns, operations and permissions are called, and how Kafka's tool prints them.
//! Source: Kafka `ResourceType`, `PatternType`, `AclOperation`, `AclPermissionType`, `AclEntry`.

use std::fmt;

use ottla_client::admin::{AclBinding, AclFilter};
use ottla_metadata::controller::acl_names::{
    OPERATIONS, PATTERN_TYPES, PERMISSIONS, RESOURCE_TYPES, name_of,
};

pub const TOPIC: i8 = 2;
pub const GROUP: i8 = 3;
pub const CLUSTER: i8 = 4;
pub const TRANSACTIONAL_ID: i8 = 5;
pub const DELEGATION_TOKEN: i8 = 6;
pub const USER: i8 = 7;

pub const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;

pub const ALL: i8 = 2;
pub const READ: i8 = 3;
pub const WRITE: i8 = 4;
pub const CREATE: i8 = 5;
pub const DESCRIBE: i8 = 8;
pub const IDEMPOTENT_WRITE: i8 = 12;

pub const DENY: i8 = 2;
pub const ALLOW: i8 = 3;

pub fn resource_type(code: i8) -> &'static str {
    name_of(RESOURCE_TYPES, code)
}

pub fn pattern_type(code: i8) -> &'static str {
    name_of(PATTERN_TYPES, code)
}

pub fn operation(code: i8) -> &'static str {
    name_of(OPERATIONS, code)
}

pub fn permission(code: i8) -> &'static str {
    name_of(PERMISSIONS, code)
}

/// A pattern type by its name; upper and lower case are alike.
pub fn parse_pattern_type(text: &str) -> Option<i8> {
    let at = PATTERN_TYPES.iter().skip(1).position(|name| name.eq_ignore_ascii_case(text))?;
    i8::try_from(at + 1).ok()
}

/// Whether resources can be made under a pattern of this type.
pub fn is_specific(pattern_type: i8) -> bool {
    matches!(pattern_type, LITERAL | PREFIXED)
}

/// An operation by its name without underscores; 0 is none of them.
pub fn parse_operation(text: &str) -> i8 {
    let found = OPERATIONS.iter().position(|name| name.replace('_', "").eq_ignore_ascii_case(text));
    found.and_then(|at| i8::try_from(at).ok()).unwrap_or(0)
}

/// What an entry for a resource may be about, besides `ALL`.
pub fn supported_operations(resource_type: i8) -> &'static [i8] {
    match resource_type {
        TOPIC => &[3, 4, 5, 6, 7, 8, 10, 11],
        GROUP => &[3, 6, 8, 10, 11],
        CLUSTER => &[5, 7, 8, 9, 10, 11, 12],
        TRANSACTIONAL_ID => &[4, 8, 15],
        DELEGATION_TOKEN => &[8],
        USER => &[13, 14],
        _ => &[],
    }
}

/// A resource, or which resources are meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern {
    pub resource_type: i8,
    pub name: String,
    pub pattern_type: i8,
}

impl Pattern {
    pub fn new(resource_type: i8, name: impl Into<String>, pattern_type: i8) -> Pattern {
        Pattern { resource_type, name: name.into(), pattern_type }
    }

    /// The resource of cluster-wide entries.
    pub fn cluster() -> Pattern {
        Pattern::new(CLUSTER, "kafka-cluster", LITERAL)
    }

    /// Every entry of these resources.
    pub fn filter(&self) -> AclFilter {
        AclFilter {
            resource_type: self.resource_type,
            resource_name: Some(self.name.clone()),
            pattern_type: self.pattern_type,
            ..AclFilter::ANY
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pattern { resource_type, name, pattern_type } = self;
        let (resource_type, pattern_type) =
            (self::resource_type(*resource_type), self::pattern_type(*pattern_type));
        write!(f, "ResourcePattern(resourceType={resource_type}, name={name}, patternType={pattern_type})")
    }
}

/// Who may, or may not, do what from where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access {
    pub principal: String,
    pub host: String,
    pub operation: i8,
    pub permission: i8,
}

impl Access {
    pub fn on(&self, pattern: &Pattern) -> AclBinding {
        AclBinding {
            resource_type: pattern.resource_type,
            resource_name: pattern.name.clone(),
            pattern_type: pattern.pattern_type,
            principal: self.principal.clone(),
            host: self.host.clone(),
            operation: self.operation,
            permission_type: self.permission,
        }
    }

    pub fn filter(&self, pattern: &Pattern) -> AclFilter {
        AclFilter {
            principal: Some(self.principal.clone()),
            host: Some(self.host.clone()),
            operation: self.operation,
            permission_type: self.permission,
            ..pattern.filter()
        }
    }

    /// An entry's two halves.
    pub fn split(binding: AclBinding) -> (Pattern, Access) {
        let pattern = Pattern::new(binding.resource_type, binding.resource_name, binding.pattern_type);
        let (operation, permission) = (binding.operation, binding.permission_type);
        (pattern, Access { principal: binding.principal, host: binding.host, operation, permission })
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Access { principal, host, .. } = self;
        let (operation, permission) = (operation(self.operation), permission(self.permission));
        write!(f, "(principal={principal}, host={host}, operation={operation}, permissionType={permission})")
    }
}
