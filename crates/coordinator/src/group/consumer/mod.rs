//! Groups of the consumer protocol (KIP-848): the coordinator assigns, members reconcile.
//!
//! Everything about a member and its group is durable; decisions change nothing but deadlines.

mod classic_member;
mod consumer_protocol;
mod describe;
mod fence;
mod group;
mod heartbeat;
mod member;
mod metadata_hash;
mod migrate;
mod reconcile;
mod records;
mod regex;
mod subscription;
mod target;

pub(crate) use group::{ConsumerGroup, ResolvedRegex};
pub use member::MemberState;
pub(crate) use member::{ConsumerMember, EpochAssignment};
pub(crate) use subscription::CommitCheck;

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::types::{Str, Uuid};

use super::{GroupConfig, GroupRecord, GroupTimers};
use crate::topics::TopicsView;

/// Partitions by topic id.
pub(crate) type Assignment = BTreeMap<Uuid, BTreeSet<i32>>;

/// Sent by a member that leaves for good.
pub(crate) const LEAVE_GROUP_MEMBER_EPOCH: i32 = -1;
/// Sent by a static member that will be back.
pub(crate) const LEAVE_GROUP_STATIC_MEMBER_EPOCH: i32 = -2;

/// What a decision about one consumer group reads and writes besides the group, which it does not change.
pub(crate) struct Decision<'a> {
    pub(crate) config: &'a GroupConfig,
    pub(crate) topics: &'a dyn TopicsView,
    pub(crate) topic_hashes: &'a mut BTreeMap<Str, i64>,
    pub(crate) timers: &'a mut GroupTimers,
    pub(crate) last_version_with_new_topics: i64,
    pub(crate) now_ms: i64,
    pub(crate) records: &'a mut Vec<GroupRecord>,
}
