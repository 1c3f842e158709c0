//! The next step of a member towards its target assignment. Source: Kafka `CurrentAssignmentBuilder`.

use std::collections::BTreeSet;

use ottla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_protocol::types::Uuid;

use super::group::ConsumerGroup;
use super::member::{ConsumerMember, EpochAssignment, MemberState};
use super::{Assignment, Decision, records};
use crate::group::error::GroupError;
use crate::group::{TimerKey, TimerTask};
use crate::topics::TopicsView;

/// What a step is taken on.
struct Step<'a> {
    group: &'a ConsumerGroup,
    member: &'a ConsumerMember,
    target_epoch: i32,
    target: &'a Assignment,
    has_subscription_changed: bool,
    /// What the member says it owns; `None` when it said nothing.
    owned: Option<&'a [TopicPartitions]>,
    topics: &'a dyn TopicsView,
}

/// Moves the member on if it can be, with the record and the rebalance timeout that belong to it.
#[allow(clippy::too_many_arguments)]
pub(super) fn maybe_reconcile(
    group: &ConsumerGroup,
    member: ConsumerMember,
    target_epoch: i32,
    target: &Assignment,
    has_subscription_changed: bool,
    owned: Option<&[TopicPartitions]>,
    decision: &mut Decision<'_>,
) -> Result<ConsumerMember, GroupError> {
    if !has_subscription_changed && member.is_reconciled_to(target_epoch) {
        return Ok(member);
    }
    let step = Step {
        group,
        member: &member,
        target_epoch,
        target,
        has_subscription_changed,
        owned,
        topics: decision.topics,
    };
    let updated = step.next()?;
    if updated == member {
        return Ok(member);
    }
    decision.records.push(records::current_assignment(&group.group_id, &updated));
    if !updated.uses_classic_protocol() {
        let key = TimerKey::ConsumerRebalance(group.group_id.clone(), updated.member_id.clone());
        if updated.state == MemberState::UnrevokedPartitions {
            decision.timers.schedule(
                key,
                decision.now_ms + i64::from(updated.rebalance_timeout_ms),
                TimerTask::ConsumerRebalance { member_epoch: updated.member_epoch },
            );
        } else {
            decision.timers.cancel(&key);
        }
    }
    Ok(updated)
}

impl Step<'_> {
    fn next(&self) -> Result<ConsumerMember, GroupError> {
        let member = self.member;
        Ok(match member.state {
            MemberState::Stable if member.member_epoch != self.target_epoch => {
                self.compute_next(member.member_epoch)
            }
            MemberState::Stable if self.has_subscription_changed => self.drop_unsubscribed(),
            MemberState::Stable => member.clone(),
            MemberState::UnrevokedPartitions => {
                if !self.owns_any_of(&member.pending_revocation) {
                    self.compute_next(member.member_epoch)
                } else if self.has_subscription_changed {
                    self.drop_unsubscribed()
                } else {
                    member.clone()
                }
            }
            MemberState::UnreleasedPartitions => self.compute_next(member.member_epoch),
            MemberState::Unknown => {
                // A later version wrote this. Start over from a member without partitions.
                if self.owned.is_none_or(|owned| !owned.is_empty()) {
                    return Err(GroupError::UnknownMemberState);
                }
                self.compute_next(self.target_epoch)
            }
        })
    }

    /// Without word from the member it must be taken to own everything.
    fn owns_any_of(&self, assignment: &EpochAssignment) -> bool {
        let Some(owned) = self.owned else { return true };
        owned.iter().any(|topic| {
            assignment.get(&topic.topic_id).is_some_and(|pending| {
                topic.partitions.iter().any(|partition| pending.contains_key(partition))
            })
        })
    }

    fn is_subscribed(&self, topic_id: Uuid) -> bool {
        // A regular expression that is not resolved yet matches nothing.
        let Some(name) = self.topics.topic_name(topic_id) else { return false };
        self.member.subscribed_topic_names.contains(&name)
            || self
                .member
                .regex()
                .and_then(|regex| self.group.resolved_regexes().get(regex))
                .is_some_and(|resolved| resolved.topics.contains(&name))
    }

    /// Takes away topics the member does not subscribe to any more, at the same epoch.
    fn drop_unsubscribed(&self) -> ConsumerMember {
        let member = self.member;
        let dropped: Vec<Uuid> =
            member.assigned.keys().copied().filter(|topic_id| !self.is_subscribed(*topic_id)).collect();
        if dropped.is_empty() {
            return member.clone();
        }
        let mut updated = member.clone();
        let mut pending = member.pending_revocation.clone();
        for topic_id in dropped {
            if let Some(partitions) = updated.assigned.remove(&topic_id) {
                pending.entry(topic_id).or_default().extend(partitions);
            }
        }
        updated.move_to_epoch(member.member_epoch);
        if !pending.is_empty() && self.owns_any_of(&pending) {
            updated.state = MemberState::UnrevokedPartitions;
            updated.pending_revocation = pending;
        }
        updated
    }

    fn compute_next(&self, member_epoch: i32) -> ConsumerMember {
        let member = self.member;
        let nothing = BTreeSet::new();
        let mut has_unreleased = false;
        let mut assigned = EpochAssignment::new();
        let mut pending_revocation = EpochAssignment::new();
        let mut pending_assignment = Assignment::new();

        let topic_ids: BTreeSet<Uuid> = self.target.keys().chain(member.assigned.keys()).copied().collect();
        for topic_id in topic_ids {
            let target = match self.target.get(&topic_id) {
                Some(target) if self.is_subscribed(topic_id) => target,
                _ => &nothing,
            };
            if let Some(current) = member.assigned.get(&topic_id) {
                for (partition, epoch) in current {
                    let list =
                        if target.contains(partition) { &mut assigned } else { &mut pending_revocation };
                    list.entry(topic_id).or_default().insert(*partition, *epoch);
                }
            }
            for partition in target {
                if assigned.get(&topic_id).is_some_and(|kept| kept.contains_key(partition)) {
                    continue;
                }
                // What the member itself is about to give up counts as free: it has one owner at a time.
                let own = member
                    .pending_revocation
                    .get(&topic_id)
                    .is_some_and(|pending| pending.contains_key(partition));
                if self.group.partition_epoch(topic_id, *partition).is_some() && !own {
                    has_unreleased = true;
                } else {
                    pending_assignment.entry(topic_id).or_default().insert(*partition);
                }
            }
        }

        let mut updated = member.clone();
        if !pending_revocation.is_empty() && self.owns_any_of(&pending_revocation) {
            // Stays at its epoch until it has given up what it must.
            updated.state = MemberState::UnrevokedPartitions;
            updated.move_to_epoch(member_epoch);
            updated.assigned = assigned;
            updated.pending_revocation = pending_revocation;
            return updated;
        }
        for (topic_id, partitions) in pending_assignment {
            let list = assigned.entry(topic_id).or_default();
            list.extend(partitions.into_iter().map(|partition| (partition, self.target_epoch)));
        }
        updated.state = if has_unreleased { MemberState::UnreleasedPartitions } else { MemberState::Stable };
        updated.move_to_epoch(self.target_epoch);
        updated.assigned = assigned;
        updated.pending_revocation = EpochAssignment::new();
        updated
    }
}
