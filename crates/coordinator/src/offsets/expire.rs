//! Expiry of unused offsets and of the empty groups they leave behind (KIP-211).

use std::ops::Bound;

use ottla_protocol::types::Str;

use super::ExpirationBase;
use super::delete::tombstone;
use super::store::OffsetAndMetadata;
use crate::group::{Group, GroupOutcome, GroupRecord, GroupShard};

/// After this many tombstones a sweep pauses; the rest comes with the next call.
pub(crate) const MAX_TOMBSTONES_PER_STEP: usize = 1_000;

impl GroupShard {
    /// Goes on with a sweep after group `after`; gives the group to continue after, or `None` at the end.
    pub(crate) fn expire_offsets(
        &self,
        after: Option<&Str>,
        now_ms: i64,
        out: &mut GroupOutcome,
    ) -> Option<Str> {
        out.splittable = true;
        let from = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.clone()));
        for (group_id, group) in self.groups.range::<Str, _>((from, Bound::Unbounded)) {
            if self.expire_group(group_id, group, now_ms, &mut out.records) && group.is_empty() {
                group.tombstones(&mut out.records);
            }
            if out.records.len() >= MAX_TOMBSTONES_PER_STEP {
                return Some(group_id.clone());
            }
        }
        None
    }

    /// Whether no offset of the group is left.
    fn expire_group(
        &self,
        group_id: &Str,
        group: &Group,
        now_ms: i64,
        records: &mut Vec<GroupRecord>,
    ) -> bool {
        if matches!(group, Group::Foreign(_)) {
            return false;
        }
        let Some(topics) = self.offsets.of_group(group_id) else {
            return !self.offsets.group_has_pending(group_id);
        };
        let Some(base) = group.expiration_base() else { return false };
        let mut all_expired = true;
        for (topic, partitions) in topics {
            let subscribed = group.is_subscribed_to(topic);
            for (partition, offset) in partitions {
                let expired = !subscribed
                    && is_expired(offset, base, now_ms, self.config.offsets_retention_ms)
                    && !self.offsets.has_pending(group_id, topic, *partition);
                if expired {
                    records.push(tombstone(group_id.clone(), topic.clone(), *partition));
                } else {
                    all_expired = false;
                }
            }
        }
        all_expired && !self.offsets.group_has_pending(group_id)
    }
}

fn is_expired(offset: &OffsetAndMetadata, base: ExpirationBase, now_ms: i64, retention_ms: i64) -> bool {
    match (offset.expire_timestamp_ms, base) {
        (Some(expire_timestamp_ms), _) => now_ms >= expire_timestamp_ms,
        (None, ExpirationBase::Commit) => now_ms.saturating_sub(offset.commit_timestamp_ms) >= retention_ms,
        (None, ExpirationBase::Fixed(since_ms)) => now_ms.saturating_sub(since_ms) >= retention_ms,
    }
}
