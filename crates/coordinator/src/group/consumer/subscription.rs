//! Counting subscriptions, and the checks of offset requests against members and their assignment.

use std::collections::BTreeMap;

use ottla_protocol::types::{Str, Uuid};

use super::group::ConsumerGroup;
use super::member::{ConsumerMember, EpochAssignment};
use crate::group::assignor::SubscriptionType;
use crate::group::error::GroupError;

/// OffsetCommit of members of the consumer protocol exists from this version on.
const CONSUMER_PROTOCOL_COMMIT_VERSION: i16 = 9;

/// How many members subscribe to a topic by name, and how many regular expressions match it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SubscriptionCount {
    pub(super) by_name: usize,
    pub(super) by_regex: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SubscriptionCounts {
    counts: BTreeMap<Str, SubscriptionCount>,
}

impl SubscriptionCounts {
    pub(super) fn contains(&self, topic: &str) -> bool {
        self.counts.contains_key(topic)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Str> {
        self.counts.keys()
    }

    pub(super) fn to_map(&self) -> BTreeMap<Str, SubscriptionCount> {
        self.counts.clone()
    }

    pub(super) fn from_map(counts: BTreeMap<Str, SubscriptionCount>) -> SubscriptionCounts {
        SubscriptionCounts { counts }
    }

    /// Whether the topic was not subscribed to before.
    pub(super) fn add_name(&mut self, topic: &Str) -> bool {
        self.change(topic, |count| count.by_name += 1)
    }

    /// Whether the topic is not subscribed to any more.
    pub(super) fn remove_name(&mut self, topic: &Str) -> bool {
        self.change(topic, |count| count.by_name = count.by_name.saturating_sub(1))
    }

    pub(super) fn add_regex(&mut self, topic: &Str) -> bool {
        self.change(topic, |count| count.by_regex += 1)
    }

    pub(super) fn remove_regex(&mut self, topic: &Str) -> bool {
        self.change(topic, |count| count.by_regex = count.by_regex.saturating_sub(1))
    }

    /// Whether the change made the topic appear or disappear.
    fn change(&mut self, topic: &Str, change: impl FnOnce(&mut SubscriptionCount)) -> bool {
        let before = self.counts.contains_key(topic);
        let count = self.counts.entry(topic.clone()).or_default();
        change(count);
        if *count == SubscriptionCount::default() {
            self.counts.remove(topic);
        }
        before != self.counts.contains_key(topic)
    }

    /// Whether all members subscribe to the same topics. Source: `ConsumerGroup.subscriptionType`.
    pub(super) fn subscription_type(
        &self,
        regex_counts: &BTreeMap<Str, usize>,
        member_count: usize,
    ) -> SubscriptionType {
        let homogeneous = match regex_counts.values().next() {
            None => self.counts.values().all(|count| count.by_name == member_count),
            Some(subscribers) => {
                *subscribers == member_count
                    && self.counts.values().all(|count| count.by_regex == 1 && count.by_name == 0)
            }
        };
        if homogeneous { SubscriptionType::Homogeneous } else { SubscriptionType::Heterogeneous }
    }
}

impl ConsumerGroup {
    /// The subscriptions as they will be once `old` has been replaced by `new`.
    pub(super) fn counts_after(
        &self,
        old: Option<&ConsumerMember>,
        new: &ConsumerMember,
    ) -> SubscriptionCounts {
        let mut counts = SubscriptionCounts::from_map(self.topic_count_map());
        if let Some(old) = old {
            for topic in &old.subscribed_topic_names {
                counts.remove_name(topic);
            }
        }
        for topic in &new.subscribed_topic_names {
            counts.add_name(topic);
        }
        // The last member with a regular expression takes the topics of it along.
        if let Some(regex) = old.and_then(ConsumerMember::regex)
            && new.regex() != Some(regex)
            && self.regex_member_count(regex) == 1
            && let Some(resolved) = self.resolved_regexes().get(regex)
        {
            for topic in &resolved.topics {
                counts.remove_regex(topic);
            }
        }
        counts
    }

    /// The subscriptions to regular expressions once `old` has been replaced by `new`.
    pub(super) fn regex_counts_after(
        &self,
        old: Option<&ConsumerMember>,
        new: &ConsumerMember,
    ) -> BTreeMap<Str, usize> {
        let mut counts = self.regex_counts().clone();
        let old = old.and_then(ConsumerMember::regex);
        if old == new.regex() {
            return counts;
        }
        if let Some(regex) = old
            && let Some(count) = counts.get_mut(regex)
        {
            *count -= 1;
            if *count == 0 {
                counts.remove(regex);
            }
        }
        if let Some(regex) = new.regex() {
            *counts.entry(regex.clone()).or_default() += 1;
        }
        counts
    }

    /// How the group's members subscribe as it stands.
    pub(super) fn subscription_type(&self) -> SubscriptionType {
        self.topic_counts.subscription_type(self.regex_counts(), self.members().len())
    }

    /// Source: `ConsumerGroup.validateOffsetCommit`.
    pub(crate) fn validate_offset_commit(
        &self,
        member_id: &Str,
        instance_id: Option<&str>,
        member_epoch: i32,
        transactional: bool,
        api_version: i16,
    ) -> Result<CommitCheck, GroupError> {
        if member_epoch < 0 && self.is_empty() {
            return Ok(CommitCheck::Any);
        }
        // A producer that does not know its group's metadata.
        if transactional && member_epoch == -1 && member_id.is_empty() && instance_id.is_none() {
            return Ok(CommitCheck::Any);
        }
        let member = self.member(member_id).ok_or_else(|| GroupError::NotAMember {
            member_id: member_id.clone(),
            group_id: self.group_id.clone(),
        })?;
        let classic = member.uses_classic_protocol();
        if !transactional && !classic && api_version < CONSUMER_PROTOCOL_COMMIT_VERSION {
            return Err(GroupError::CommitVersionTooOld);
        }
        if member_epoch == member.member_epoch {
            return Ok(CommitCheck::Any);
        }
        if member_epoch > member.member_epoch {
            return Err(GroupError::NewerMemberEpoch {
                classic,
                received: member_epoch,
                expected: member.member_epoch,
            });
        }
        // An epoch behind is fine for partitions that the member has had since (KIP-1251).
        Ok(CommitCheck::AssignmentEpoch {
            classic,
            received: member_epoch,
            assigned: member.assigned.clone(),
            pending_revocation: member.pending_revocation.clone(),
        })
    }

    /// Source: `ConsumerGroup.validateOffsetFetch`.
    pub(crate) fn validate_offset_fetch(
        &self,
        member_id: Option<&Str>,
        member_epoch: i32,
    ) -> Result<(), GroupError> {
        let Some(member_id) = member_id else {
            if member_epoch < 0 {
                return Ok(());
            }
            return Err(GroupError::NotAMember {
                member_id: Str::from_static("null"),
                group_id: self.group_id.clone(),
            });
        };
        let member = self.member(member_id).ok_or_else(|| GroupError::NotAMember {
            member_id: member_id.clone(),
            group_id: self.group_id.clone(),
        })?;
        if member_epoch != member.member_epoch {
            return Err(GroupError::MemberEpochMismatch {
                classic: member.uses_classic_protocol(),
                received: member_epoch,
                expected: member.member_epoch,
            });
        }
        Ok(())
    }
}

/// Which partitions a commit may be for, once its member is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CommitCheck {
    Any,
    /// Those that the member was assigned at the received epoch or before.
    AssignmentEpoch {
        classic: bool,
        received: i32,
        assigned: EpochAssignment,
        pending_revocation: EpochAssignment,
    },
}

impl CommitCheck {
    pub(crate) fn validate(&self, topic: &Str, topic_id: Uuid, partition: i32) -> Result<(), GroupError> {
        let CommitCheck::AssignmentEpoch { classic, received, assigned, pending_revocation } = self else {
            return Ok(());
        };
        let epoch_in = |assignment: &EpochAssignment| assignment.get(&topic_id)?.get(&partition).copied();
        match epoch_in(assigned).or_else(|| epoch_in(pending_revocation)) {
            None => {
                Err(GroupError::PartitionNotAssigned { classic: *classic, topic: topic.clone(), partition })
            }
            Some(expected) if *received < expected => Err(GroupError::OlderThanAssignment {
                classic: *classic,
                received: *received,
                expected,
                topic: topic.clone(),
                partition,
            }),
            Some(_) => Ok(()),
        }
    }
}
