//! The group coordinator: groups of all kinds and their committed offsets, one shard per partition of `__consumer_offsets`.
//!
//! A folder per kind: [`classic`] (JoinGroup and SyncGroup) and [`consumer`] (KIP-848). Share and streams groups are
//! known by name only: their records are kept track of so that a log with them loads, and they are listed.

pub mod assignor;
pub mod classic;
pub mod config;
pub mod consumer;
pub mod error;
mod foreign;
mod group_enum;
pub mod kind;
mod list;
pub mod messages;
pub mod outcome;
pub mod record;
mod replay;
mod shard;

pub use config::{GroupConfig, GroupOverrides, MigrationPolicy};
pub use error::GroupError;
pub use kind::GroupKind;
pub use messages::{GroupRequest, GroupResponse};
pub use outcome::GroupOutcome;
pub use record::GroupRecord;
pub use shard::GroupShard;

pub(crate) use group_enum::Group;
pub(crate) use shard::{Fx, GroupTimers, TimerKey, TimerTask};

#[cfg(test)]
mod tests;
