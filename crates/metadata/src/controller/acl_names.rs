//! What the numbers of access control entries are called, by number.
//! Source: Kafka `ResourceType`, `PatternType`, `AclOperation`, `AclPermissionType`.

/// Resource types.
pub const RESOURCE_TYPES: &[&str] =
    &["UNKNOWN", "ANY", "TOPIC", "GROUP", "CLUSTER", "TRANSACTIONAL_ID", "DELEGATION_TOKEN", "USER"];
/// Pattern types.
pub const PATTERN_TYPES: &[&str] = &["UNKNOWN", "ANY", "MATCH", "LITERAL", "PREFIXED"];
/// Operations.
pub const OPERATIONS: &[&str] = &[
    "UNKNOWN",
    "ANY",
    "ALL",
    "READ",
    "WRITE",
    "CREATE",
    "DELETE",
    "ALTER",
    "DESCRIBE",
    "CLUSTER_ACTION",
    "DESCRIBE_CONFIGS",
    "ALTER_CONFIGS",
    "IDEMPOTENT_WRITE",
    "CREATE_TOKENS",
    "DESCRIBE_TOKENS",
    "TWO_PHASE_COMMIT",
];
/// Permission types.
pub const PERMISSIONS: &[&str] = &["UNKNOWN", "ANY", "DENY", "ALLOW"];

/// The name with a number; `UNKNOWN` for a number that has none.
pub fn name_of(names: &'static [&'static str], code: i8) -> &'static str {
    usize::try_from(code).ok().and_then(|i| names.get(i)).copied().unwrap_or("UNKNOWN")
}
