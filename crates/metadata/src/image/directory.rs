//! Ids of log directories that mean something of their own. Source: Kafka `DirectoryId`.

use ottla_protocol::types::Uuid;

/// The replica is being moved from a version without directories, or its broker has only one and
/// never said which.
pub const MIGRATING: Uuid = Uuid::from_halves(0, 0);
/// The broker has not chosen a directory yet.
pub const UNASSIGNED: Uuid = Uuid::from_halves(0, 1);
/// The directory is offline.
pub const LOST: Uuid = Uuid::from_halves(0, 2);

/// Ids below this one are never given to a directory.
const RESERVED: u128 = 100;

pub fn is_reserved(dir: &Uuid) -> bool {
    u128::from_be_bytes(dir.0) < RESERVED
}

/// Whether a replica's directory counts as online (`DirectoryId.isOnline`).
pub fn is_online(dir: &Uuid, sorted_online: &[Uuid]) -> bool {
    match *dir {
        UNASSIGNED | MIGRATING => true,
        LOST => false,
        _ => sorted_online.is_empty() || sorted_online.binary_search(dir).is_ok(),
    }
}
