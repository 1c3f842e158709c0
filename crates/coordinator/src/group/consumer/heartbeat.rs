//! ConsumerGroupHeartbeat: join, stay, change subscription, leave.

use ottla_protocol::messages::consumer_group_heartbeat_request::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};
use ottla_protocol::messages::consumer_group_heartbeat_response::{
    Assignment as ResponseAssignment, ConsumerGroupHeartbeatResponse,
    TopicPartitions as ResponseTopicPartitions,
};
use ottla_protocol::types::Str;

use super::group::ConsumerGroup;
use super::member::{ConsumerMember, EpochAssignment};
use super::reconcile::maybe_reconcile;
use super::regex::{RegexStatus, maybe_update_regexes};
use super::target::{
    METADATA_REFRESH_INTERVAL_MS, maybe_update_target_assignment, update_subscription_metadata,
};
use super::{Decision, LEAVE_GROUP_MEMBER_EPOCH, LEAVE_GROUP_STATIC_MEMBER_EPOCH, records};
use crate::context::{Env, RequestContext};
use crate::group::assignor::AssignorKind;
use crate::group::config::GroupConfig;
use crate::group::error::GroupError;
use crate::group::{Group, GroupOutcome, GroupShard, TimerKey, TimerTask};

/// From this version on the member brings its own id.
const CONSUMER_GENERATED_MEMBER_ID_VERSION: i16 = 1;

impl GroupShard {
    pub(crate) fn consumer_group_heartbeat(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        ctx: &RequestContext,
        env: &mut Env<'_>,
        out: &mut GroupOutcome,
    ) -> Result<ConsumerGroupHeartbeatResponse, GroupError> {
        validate(request, ctx.api_version, &self.config)?;
        let group_id = request.group_id.detached();
        if matches!(request.member_epoch, LEAVE_GROUP_MEMBER_EPOCH | LEAVE_GROUP_STATIC_MEMBER_EPOCH) {
            return self.consumer_group_leave(&group_id, request, env, out);
        }
        let is_join = request.member_epoch == 0;
        let created = self.open_consumer_group(&group_id, is_join, env, out)?;
        let member_id = if request.member_id.is_empty() {
            Str::from((env.new_uuid)().to_string())
        } else {
            request.member_id.detached()
        };
        let instance_id = request.instance_id.as_ref().map(Str::detached);

        let group = match (&created, self.groups.get(&group_id)) {
            (Some(created), _) => created,
            (None, Some(Group::Consumer(group))) => group,
            (None, _) => return Err(GroupError::ConsumerGroupNotFound(group_id)),
        };
        throw_if_full(group, &member_id, instance_id.as_ref(), &self.config)?;
        let mut decision = Decision {
            config: &self.config,
            topics: env.topics,
            topic_hashes: &mut self.topic_hashes,
            timers: &mut self.timers,
            last_version_with_new_topics: self.last_version_with_new_topics,
            now_ms: env.now_ms,
            records: &mut out.records,
        };
        let owned = request.topic_partitions.as_deref();
        let member = match &instance_id {
            None => find_dynamic_member(group, &member_id, request.member_epoch, owned, is_join)?,
            Some(instance_id) => {
                let sender = StaticSender { member_id: &member_id, instance_id, is_join };
                let member = find_static_member(group, &sender, false, &mut decision)?;
                if !is_join {
                    check_member_epoch(&member, request.member_epoch, owned)?;
                }
                member
            }
        };
        let mut updated = member.clone();
        update_from_request(&mut updated, request, instance_id, ctx);

        let names_changed = record_subscription(group, &member, &updated, &mut decision);
        let regex_status = maybe_update_regexes(ctx, group, &member, &updated, &mut decision)?;
        let default_assignor = Str::from_static(decision.config.default_assignor().name());
        let assignor_changed =
            group.preferred_assignor(None, None).unwrap_or_else(|| default_assignor.clone())
                != group.preferred_assignor(Some(&member), Some(&updated)).unwrap_or(default_assignor);
        let subscription_changed = names_changed || regex_status.is_updated();
        let bump = names_changed || regex_status == RegexStatus::UpdatedAndResolved || assignor_changed;

        let mut group_epoch = group.group_epoch();
        let mut subscription_type = None;
        let mut refreshed = None;
        if bump || group.has_metadata_expired(decision.now_ms) {
            let new = update_subscription_metadata(group, bump, Some(&member), &updated, &mut decision);
            group_epoch = new.group_epoch;
            subscription_type = Some(new.subscription_type);
            refreshed = Some(group_epoch);
        }
        let (target_epoch, target) = maybe_update_target_assignment(
            group,
            group_epoch,
            Some(&member),
            &updated,
            subscription_type,
            &mut decision,
        )?;
        let updated = maybe_reconcile(
            group,
            updated,
            target_epoch,
            &target,
            subscription_changed,
            owned,
            &mut decision,
        )?;
        let session_timeout_ms = i64::from(decision.config.consumer_session_timeout_ms(&group_id));
        decision.timers.schedule(
            TimerKey::ConsumerSession(group_id.clone(), updated.member_id.clone()),
            decision.now_ms + session_timeout_ms,
            TimerTask::FenceConsumerMember,
        );
        let is_full_request = request.rebalance_timeout_ms != -1
            && (request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some())
            && owned.is_some();
        let with_assignment = is_join || is_full_request || member.assigned != updated.assigned;
        let response = ConsumerGroupHeartbeatResponse {
            member_id: Some(updated.member_id.clone()),
            member_epoch: updated.member_epoch,
            heartbeat_interval_ms: self.config.consumer_heartbeat_interval_ms(&group_id),
            assignment: with_assignment.then(|| response_assignment(&updated.assigned)),
            ..Default::default()
        };
        if let Some(group_epoch) = refreshed
            && let Some(Group::Consumer(group)) = self.groups.get_mut(&group_id)
        {
            group.set_refresh_deadline(env.now_ms + METADATA_REFRESH_INTERVAL_MS, group_epoch);
        }
        Ok(response)
    }

    /// Finds the group of a heartbeat. `Some` is one that does not exist yet but will with the records so far:
    /// new, or made of a classic group.
    fn open_consumer_group(
        &mut self,
        group_id: &Str,
        create: bool,
        env: &mut Env<'_>,
        out: &mut GroupOutcome,
    ) -> Result<Option<ConsumerGroup>, GroupError> {
        match self.groups.get(group_id) {
            None if create => Ok(Some(ConsumerGroup::new(group_id.clone()))),
            None => Err(GroupError::ConsumerGroupNotFound(group_id.clone())),
            Some(Group::Consumer(_)) => Ok(None),
            Some(Group::Classic(group)) if create && group.is_empty() => {
                group.tombstones(&mut out.records);
                Ok(Some(ConsumerGroup::new(group_id.clone())))
            }
            Some(Group::Classic(_)) if create => self.upgrade_classic_group(group_id, env, out).map(Some),
            Some(_) => Err(GroupError::NotConsumerGroup(group_id.clone())),
        }
    }
}

fn validate(
    request: &ConsumerGroupHeartbeatRequest,
    api_version: i16,
    config: &GroupConfig,
) -> Result<(), GroupError> {
    let blank = |text: &str| text.trim().is_empty();
    if (api_version >= CONSUMER_GENERATED_MEMBER_ID_VERSION
        || request.member_epoch > 0
        || request.member_epoch == LEAVE_GROUP_MEMBER_EPOCH)
        && blank(&request.member_id)
    {
        return Err(GroupError::InvalidRequest("MemberId can't be empty."));
    }
    if blank(&request.group_id) {
        return Err(GroupError::InvalidRequest("GroupId can't be empty."));
    }
    if request.instance_id.as_deref().is_some_and(blank) {
        return Err(GroupError::InvalidRequest("InstanceId can't be empty."));
    }
    if request.rack_id.as_deref().is_some_and(blank) {
        return Err(GroupError::InvalidRequest("RackId can't be empty."));
    }
    if request.member_epoch == 0 {
        if request.rebalance_timeout_ms == -1 {
            return Err(GroupError::InvalidRequest("RebalanceTimeoutMs must be provided in first request."));
        }
        if request.topic_partitions.as_ref().is_none_or(|partitions| !partitions.is_empty()) {
            return Err(GroupError::InvalidRequest("TopicPartitions must be empty when (re-)joining."));
        }
        if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
            return Err(GroupError::InvalidRequest(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
            ));
        }
    } else if request.member_epoch == LEAVE_GROUP_STATIC_MEMBER_EPOCH {
        if request.instance_id.is_none() {
            return Err(GroupError::InvalidRequest("InstanceId can't be null."));
        }
    } else if request.member_epoch < LEAVE_GROUP_STATIC_MEMBER_EPOCH {
        return Err(GroupError::InvalidRequest("MemberEpoch is invalid."));
    }
    if let Some(name) = &request.server_assignor {
        let supported = &config.group_consumer_assignors;
        if !supported.iter().any(|assignor| assignor.name() == name.as_str()) {
            let names: Vec<&str> = supported.iter().copied().map(AssignorKind::name).collect();
            return Err(GroupError::UnsupportedAssignor { name: name.clone(), supported: names.join(", ") });
        }
    }
    Ok(())
}

pub(super) fn throw_if_full(
    group: &ConsumerGroup,
    member_id: &Str,
    instance_id: Option<&Str>,
    config: &GroupConfig,
) -> Result<(), GroupError> {
    let limit = usize::try_from(config.group_consumer_max_size).unwrap_or(0);
    let is_known =
        instance_id.is_some_and(|id| group.static_member(id).is_some()) || group.member(member_id).is_some();
    if !is_known && group.members().len() >= limit {
        return Err(GroupError::GroupFull(config.group_consumer_max_size));
    }
    Ok(())
}

fn update_from_request(
    member: &mut ConsumerMember,
    request: &ConsumerGroupHeartbeatRequest,
    instance_id: Option<Str>,
    ctx: &RequestContext,
) {
    if instance_id.is_some() {
        member.instance_id = instance_id;
    }
    if let Some(rack_id) = &request.rack_id {
        member.rack_id = Some(rack_id.detached());
    }
    if request.rebalance_timeout_ms != -1 {
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    if let Some(assignor) = &request.server_assignor {
        member.server_assignor = Some(assignor.detached());
    }
    if let Some(names) = &request.subscribed_topic_names {
        member.subscribed_topic_names = names.iter().map(Str::detached).collect();
    }
    if let Some(regex) = &request.subscribed_topic_regex {
        member.subscribed_topic_regex = Some(regex.detached());
    }
    member.client_id = ctx.client_id.detached();
    member.client_host = ctx.client_host.detached();
    member.classic = None;
}

/// Finds a member, or makes one that joins. Source: `getOrMaybeSubscribeDynamicConsumerGroupMember`.
fn find_dynamic_member(
    group: &ConsumerGroup,
    member_id: &Str,
    member_epoch: i32,
    owned: Option<&[TopicPartitions]>,
    is_join: bool,
) -> Result<ConsumerMember, GroupError> {
    let member = match group.member(member_id) {
        Some(member) => member.clone(),
        None if is_join => ConsumerMember::new(member_id.clone()),
        None => {
            return Err(GroupError::NotAMember {
                member_id: member_id.clone(),
                group_id: group.group_id.clone(),
            });
        }
    };
    check_member_epoch(&member, member_epoch, owned)?;
    Ok(member)
}

/// Who sends a request as a static member.
pub(super) struct StaticSender<'a> {
    pub(super) member_id: &'a Str,
    pub(super) instance_id: &'a Str,
    /// May take over the instance id.
    pub(super) is_join: bool,
}

/// Finds a static member, makes one, or replaces the one that left for a while.
/// Source: `getOrMaybeSubscribeStaticConsumerGroupMember`.
pub(super) fn find_static_member(
    group: &ConsumerGroup,
    sender: &StaticSender<'_>,
    uses_classic_protocol: bool,
    decision: &mut Decision<'_>,
) -> Result<ConsumerMember, GroupError> {
    let StaticSender { member_id, instance_id, is_join } = *sender;
    let existing = group.static_member(instance_id);
    if !is_join {
        let existing = existing.ok_or_else(|| GroupError::UnknownInstanceId(instance_id.clone()))?;
        throw_if_fenced(existing, member_id, instance_id)?;
        return Ok(existing.clone());
    }
    let Some(existing) = existing else {
        return Ok(group
            .member(member_id)
            .cloned()
            .unwrap_or_else(|| ConsumerMember::new(member_id.clone())));
    };
    if !uses_classic_protocol
        && !existing.uses_classic_protocol()
        && existing.member_epoch != LEAVE_GROUP_STATIC_MEMBER_EPOCH
    {
        return Err(GroupError::UnreleasedInstanceId {
            member_id: member_id.clone(),
            instance_id: instance_id.clone(),
            owner: existing.member_id.clone(),
        });
    }
    let mut replacement = existing.clone();
    replacement.member_id = member_id.clone();
    replacement.member_epoch = 0;
    replacement.previous_member_epoch = 0;
    // Everything of the old member goes, and comes back under the new id.
    records::remove_member(&group.group_id, &existing.member_id, decision.records);
    decision.records.push(records::member(&group.group_id, &replacement));
    let target = group.target(&existing.member_id).cloned().unwrap_or_default();
    decision.records.push(records::target(&group.group_id, member_id, &target));
    decision.records.push(records::current_assignment(&group.group_id, &replacement));
    Ok(replacement)
}

pub(super) fn throw_if_fenced(
    member: &ConsumerMember,
    member_id: &Str,
    instance_id: &Str,
) -> Result<(), GroupError> {
    if member.member_id == *member_id {
        return Ok(());
    }
    Err(GroupError::InstanceFencedBy {
        member_id: member_id.clone(),
        instance_id: instance_id.clone(),
        owner: member.member_id.clone(),
    })
}

/// Source: `throwIfConsumerGroupMemberEpochIsInvalid`.
fn check_member_epoch(
    member: &ConsumerMember,
    received: i32,
    owned: Option<&[TopicPartitions]>,
) -> Result<(), GroupError> {
    let expected = member.member_epoch;
    if received == 0 || received == expected {
        return Ok(());
    }
    if received > expected {
        return Err(GroupError::GreaterMemberEpoch { received, expected });
    }
    // The answer that carried the new epoch may have been lost; fine as long as the member owns nothing else.
    let owns_subset = owned.is_some_and(|owned| {
        owned.iter().all(|topic| {
            member.assigned.get(&topic.topic_id).is_some_and(|assigned| {
                topic.partitions.iter().all(|partition| assigned.contains_key(partition))
            })
        })
    });
    if received == member.previous_member_epoch && owns_subset {
        return Ok(());
    }
    Err(GroupError::SmallerMemberEpoch { received, expected })
}

/// Writes the member down if it changed; gives whether the names it subscribes to did.
pub(super) fn record_subscription(
    group: &ConsumerGroup,
    member: &ConsumerMember,
    updated: &ConsumerMember,
    decision: &mut Decision<'_>,
) -> bool {
    if updated == member {
        return false;
    }
    decision.records.push(records::member(&group.group_id, updated));
    updated.subscribed_topic_names != member.subscribed_topic_names
}

fn response_assignment(assigned: &EpochAssignment) -> ResponseAssignment {
    ResponseAssignment {
        topic_partitions: assigned
            .iter()
            .map(|(topic_id, partitions)| ResponseTopicPartitions {
                topic_id: *topic_id,
                partitions: partitions.keys().copied().collect(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}
