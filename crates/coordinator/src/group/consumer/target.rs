//! Group epochs and target assignments: when they advance and what the assignor is given.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::types::{Str, Uuid};

use super::group::ConsumerGroup;
use super::member::ConsumerMember;
use super::metadata_hash::group_hash;
use super::{Assignment, Decision, records};
use crate::group::assignor::{AssignorKind, GroupSpec, MemberSpec, SubscriptionType};
use crate::group::error::GroupError;

/// Metadata is hashed again when told of a change, not by time. Source: `METADATA_REFRESH_INTERVAL_MS`.
pub(super) const METADATA_REFRESH_INTERVAL_MS: i64 = i32::MAX as i64;

/// Where a group will be after its subscriptions were looked at.
pub(super) struct NewEpoch {
    pub(super) group_epoch: i32,
    pub(super) subscription_type: SubscriptionType,
}

/// Hashes the subscribed topics anew and bumps the group epoch if they, or the subscriptions, changed.
pub(super) fn update_subscription_metadata(
    group: &ConsumerGroup,
    bump: bool,
    old: Option<&ConsumerMember>,
    updated: &ConsumerMember,
    decision: &mut Decision<'_>,
) -> NewEpoch {
    let counts = group.counts_after(old, updated);
    let regex_counts = group.regex_counts_after(old, updated);
    let hash = group_hash(&counts, decision.topic_hashes, decision.topics);
    let replaces_static = updated.instance_id.as_ref().is_some_and(|id| group.static_member(id).is_some());
    let mut member_count = group.members().len();
    if group.member(&updated.member_id).is_none() && !replaces_static {
        member_count += 1;
    }
    let subscription_type = counts.subscription_type(&regex_counts, member_count);
    let mut group_epoch = group.group_epoch();
    if bump || hash != group.metadata_hash() {
        group_epoch += 1;
        decision.records.push(records::epoch(&group.group_id, group_epoch, hash));
    }
    if group.has_subscription_metadata_record {
        decision.records.push(crate::group::GroupRecord::ConsumerGroupPartitionMetadata {
            group: group.group_id.clone(),
            present: false,
        });
    }
    NewEpoch { group_epoch, subscription_type }
}

/// Lets the assignor run when the target is behind the group epoch and the interval allows it.
///
/// `subscription_type` is that of the group with the member's changes, if there are any. Gives the epoch and the
/// target of the member as they are then.
pub(super) fn maybe_update_target_assignment(
    group: &ConsumerGroup,
    group_epoch: i32,
    old: Option<&ConsumerMember>,
    updated: &ConsumerMember,
    subscription_type: Option<SubscriptionType>,
    decision: &mut Decision<'_>,
) -> Result<(i32, Assignment), GroupError> {
    let last =
        || (group.assignment_epoch(), group.target_of(&updated.member_id, updated.instance_id.as_deref()));
    if group.assignment_epoch() >= group_epoch {
        return Ok(last());
    }
    let interval_ms = i64::from(decision.config.consumer_assignment_interval_ms(&group.group_id));
    let since_ms = group.assignment_timestamp_ms();
    if since_ms != 0 && interval_ms != 0 && decision.now_ms < since_ms.saturating_add(interval_ms) {
        return Ok(last());
    }
    let assignor = group
        .preferred_assignor(old, Some(updated))
        .and_then(|name| AssignorKind::parse(&name))
        .unwrap_or(decision.config.default_assignor());

    // The group as it will be: a static member under a new id takes its predecessor's place.
    let mut members: BTreeMap<&Str, &ConsumerMember> = group.members().iter().collect();
    let mut targets: BTreeMap<&Str, &Assignment> = group.targets().iter().collect();
    members.insert(&updated.member_id, updated);
    if let Some(previous) = updated.instance_id.as_ref().and_then(|id| group.static_member(id))
        && previous.member_id != updated.member_id
    {
        members.remove(&previous.member_id);
        if let Some(target) = targets.remove(&previous.member_id) {
            targets.insert(&updated.member_id, target);
        }
    }
    let mut resolver = TopicResolver { decision_topics: decision.topics, ids: BTreeMap::new() };
    let nothing = Assignment::new();
    let specs: BTreeMap<Str, MemberSpec<'_>> = members
        .iter()
        .map(|(member_id, member)| {
            let spec = MemberSpec {
                instance_id: member.instance_id.as_ref(),
                topic_ids: resolver.subscribed_topic_ids(group, member),
                assignment: targets.get(member_id).copied().unwrap_or(&nothing),
            };
            ((*member_id).clone(), spec)
        })
        .collect();
    let spec = GroupSpec {
        members: specs,
        subscription_type: subscription_type.unwrap_or_else(|| group.subscription_type()),
        assigned: group.inverted_target(),
        topics: decision.topics,
    };
    let mut assignments =
        assignor.assign(&spec).map_err(|_| GroupError::AssignorFailed { epoch: group_epoch })?;
    for member_id in spec.members.keys() {
        let new = assignments.get(member_id).unwrap_or(&nothing);
        if targets.get(member_id).copied() != Some(new) {
            decision.records.push(records::target(&group.group_id, member_id, new));
        }
    }
    decision.records.push(records::target_metadata(&group.group_id, group_epoch, decision.now_ms));
    Ok((group_epoch, assignments.remove(&updated.member_id).unwrap_or_default()))
}

struct TopicResolver<'a> {
    decision_topics: &'a dyn crate::topics::TopicsView,
    ids: BTreeMap<Str, Option<Uuid>>,
}

impl TopicResolver<'_> {
    fn resolve(&mut self, name: &Str) -> Option<Uuid> {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = self.decision_topics.topic_id(name);
        self.ids.insert(name.clone(), id);
        id
    }

    /// Ids of the existing topics a member subscribes to, by name or by its resolved regular expression.
    fn subscribed_topic_ids(&mut self, group: &ConsumerGroup, member: &ConsumerMember) -> BTreeSet<Uuid> {
        let resolved = member.regex().and_then(|regex| group.resolved_regexes().get(regex));
        member
            .subscribed_topic_names
            .iter()
            .chain(resolved.into_iter().flat_map(|resolved| &resolved.topics))
            .filter_map(|name| self.resolve(name))
            .collect()
    }
}
