//! Replay: how records become state, of a decision just appended and of a log being loaded alike.

use ottla_protocol::types::Str;

use super::classic::ClassicGroup;
use super::consumer::{
    ConsumerGroup, ConsumerMember, EpochAssignment, LEAVE_GROUP_MEMBER_EPOCH, ResolvedRegex,
};
use super::foreign::ForeignGroup;
use super::group_enum::Group;
use super::kind::GroupKind;
use super::outcome::GroupOutcome;
use super::record::GroupRecord;
use super::shard::GroupShard;
use crate::error::ReplayError;

impl GroupShard {
    /// Makes the records of an appended outcome part of the state.
    ///
    /// # Panics
    /// When a record contradicts the state it was decided on, which only a bug can bring about.
    pub fn apply(&mut self, outcome: &GroupOutcome) {
        if outcome.applied {
            return;
        }
        let producer_id = outcome.producer.map(|producer| producer.producer_id);
        for record in &outcome.records {
            if let Err(error) = self.replay_record(record, producer_id) {
                panic!("a decision contradicts the state it was taken on: {error}: {record:?}");
            }
        }
    }

    /// Takes in one record of the log. `producer_id` is that of a transactional batch, else `None`.
    ///
    /// # Errors
    /// When the record cannot be read or contradicts the ones before it: the partition cannot be served.
    pub fn replay(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        producer_id: Option<i64>,
    ) -> Result<(), ReplayError> {
        match GroupRecord::decode(key, value)? {
            Some(record) => self.replay_record(&record, producer_id),
            None => Ok(()),
        }
    }

    /// Takes in the end of a transaction: a control record of the log, or a marker just appended.
    pub fn replay_end_txn_marker(&mut self, producer_id: i64, commit: bool) {
        self.offsets.replay_end_txn_marker(producer_id, commit);
    }

    pub(crate) fn replay_record(
        &mut self,
        record: &GroupRecord,
        producer_id: Option<i64>,
    ) -> Result<(), ReplayError> {
        match record {
            GroupRecord::OffsetCommit { group, topic, partition, value } => {
                match value {
                    Some(value) => {
                        self.groups
                            .entry(group.clone())
                            .or_insert_with(|| Group::Classic(ClassicGroup::new(group.clone(), None)));
                        self.offsets.replay_commit(group, topic, *partition, value, producer_id);
                    }
                    None => self.offsets.replay_tombstone(group, topic, *partition),
                }
                Ok(())
            }
            GroupRecord::GroupMetadata { group, value } => {
                self.remove_group(group);
                if let Some(value) = value {
                    let loaded = ClassicGroup::from_record(group.clone(), value);
                    self.groups.insert(group.clone(), Group::Classic(loaded));
                }
                Ok(())
            }
            GroupRecord::Foreign { kind, group, member, is_group, is_member, present } => {
                self.replay_foreign(*kind, group, member.as_ref(), *is_group, *is_member, *present);
                Ok(())
            }
            consumer => self.replay_consumer(consumer),
        }
    }

    fn replay_foreign(
        &mut self,
        kind: GroupKind,
        group: &Str,
        member: Option<&Str>,
        is_group: bool,
        is_member: bool,
        present: bool,
    ) {
        let replaceable = match self.groups.get(group) {
            None => true,
            Some(Group::Classic(classic)) => classic.is_simple(),
            Some(_) => false,
        };
        if present && replaceable {
            self.groups.insert(group.clone(), Group::Foreign(ForeignGroup::new(kind)));
        }
        let Some(Group::Foreign(foreign)) = self.groups.get_mut(group) else { return };
        if is_group && !present {
            self.groups.remove(group);
            return;
        }
        if let Some(member) = member.filter(|_| is_member) {
            if present {
                foreign.members.insert(member.clone());
            } else {
                foreign.members.remove(member);
            }
        }
    }

    /// The consumer group of a record. A value makes one where there is none, or only offsets.
    fn persisted_consumer_group(
        &mut self,
        group_id: &Str,
        record: &GroupRecord,
        create: bool,
    ) -> Result<Option<&mut ConsumerGroup>, ReplayError> {
        let replaceable = match self.groups.get(group_id) {
            None if !create => return Ok(None),
            None => true,
            Some(Group::Classic(classic)) => classic.is_simple(),
            Some(_) => false,
        };
        if replaceable {
            self.groups.insert(group_id.clone(), Group::Consumer(ConsumerGroup::new(group_id.clone())));
        }
        match self.groups.get_mut(group_id) {
            Some(Group::Consumer(group)) => Ok(Some(group)),
            _ => Err(ReplayError::WrongGroupType { record_type: record.record_type() }),
        }
    }

    fn replay_consumer(&mut self, record: &GroupRecord) -> Result<(), ReplayError> {
        let unexpected = || ReplayError::UnexpectedTombstone { record_type: record.record_type() };
        match record {
            GroupRecord::ConsumerGroupMetadata { group: group_id, value } => {
                let Some(group) = self.persisted_consumer_group(group_id, record, value.is_some())? else {
                    return Ok(());
                };
                match value {
                    Some(value) => group.set_epoch(value.epoch, value.metadata_hash),
                    None => {
                        if !group.may_be_removed() {
                            return Err(unexpected());
                        }
                        self.remove_group(group_id);
                    }
                }
            }
            GroupRecord::ConsumerGroupPartitionMetadata { group: group_id, present } => {
                if let Some(group) = self.persisted_consumer_group(group_id, record, *present)? {
                    group.has_subscription_metadata_record = *present;
                }
            }
            GroupRecord::ConsumerGroupMemberMetadata { group: group_id, member, value } => {
                let Some(group) = self.persisted_consumer_group(group_id, record, value.is_some())? else {
                    return Ok(());
                };
                match value {
                    Some(value) => {
                        let mut updated = group
                            .member(member)
                            .cloned()
                            .unwrap_or_else(|| ConsumerMember::new(member.clone()));
                        updated.update_with(value);
                        group.update_member(updated);
                    }
                    None => {
                        let Some(existing) = group.member(member) else { return Ok(()) };
                        if existing.member_epoch != LEAVE_GROUP_MEMBER_EPOCH || group.has_target(member) {
                            return Err(unexpected());
                        }
                        group.remove_member(member);
                    }
                }
                self.sync_groups_by_topic(group_id);
            }
            GroupRecord::ConsumerGroupTargetAssignmentMetadata { group: group_id, value } => {
                let Some(group) = self.persisted_consumer_group(group_id, record, value.is_some())? else {
                    return Ok(());
                };
                match value {
                    Some(value) => {
                        group.set_target_metadata(value.assignment_epoch, value.assignment_timestamp);
                    }
                    None => {
                        if group.has_targets() {
                            return Err(unexpected());
                        }
                        group.set_target_metadata(-1, 0);
                    }
                }
            }
            GroupRecord::ConsumerGroupTargetAssignmentMember { group: group_id, member, value } => {
                let Some(group) = self.persisted_consumer_group(group_id, record, value.is_some())? else {
                    return Ok(());
                };
                match value {
                    Some(value) => group.set_target_from_record(member, value),
                    None => group.remove_target(member),
                }
            }
            GroupRecord::ConsumerGroupCurrentMemberAssignment { group: group_id, member, value } => {
                let Some(group) = self.persisted_consumer_group(group_id, record, value.is_some())? else {
                    return Ok(());
                };
                match value {
                    Some(value) => {
                        let mut updated = group
                            .member(member)
                            .cloned()
                            .unwrap_or_else(|| ConsumerMember::new(member.clone()));
                        updated.update_current(value);
                        group.update_member(updated);
                    }
                    None => {
                        let Some(existing) = group.member(member) else { return Ok(()) };
                        let mut updated = existing.clone();
                        updated.member_epoch = LEAVE_GROUP_MEMBER_EPOCH;
                        updated.previous_member_epoch = LEAVE_GROUP_MEMBER_EPOCH;
                        updated.assigned = EpochAssignment::new();
                        updated.pending_revocation = EpochAssignment::new();
                        group.update_member(updated);
                    }
                }
            }
            GroupRecord::ConsumerGroupRegularExpression { group: group_id, regex, value } => {
                let Some(group) = self.persisted_consumer_group(group_id, record, value.is_some())? else {
                    return Ok(());
                };
                let resolved = value.as_ref().map(|value| ResolvedRegex {
                    topics: value.topics.iter().cloned().collect(),
                    version: value.version,
                    timestamp_ms: value.timestamp,
                });
                group.set_resolved_regex(regex, resolved);
                self.sync_groups_by_topic(group_id);
            }
            GroupRecord::OffsetCommit { .. }
            | GroupRecord::GroupMetadata { .. }
            | GroupRecord::Foreign { .. } => {}
        }
        Ok(())
    }

    /// Makes the index of groups by topic agree with a group's subscriptions.
    fn sync_groups_by_topic(&mut self, group_id: &Str) {
        let Some(Group::Consumer(group)) = self.groups.get_mut(group_id) else { return };
        let (added, removed) = group.take_topic_changes();
        for topic in removed {
            self.unsubscribe(group_id, &topic);
        }
        for topic in added {
            self.groups_by_topic.entry(topic).or_default().insert(group_id.clone());
        }
    }
}
