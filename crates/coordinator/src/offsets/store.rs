//! The offsets themselves. Source: Kafka `OffsetMetadataManager`.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::messages::coordinator_record::offset_commit_value::OffsetCommitValue;
use ottla_protocol::types::{Str, Uuid};

/// One committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetAndMetadata {
    /// Order of the record in the log, as far as this shard has seen it.
    pub(crate) sequence: u64,
    pub offset: i64,
    pub leader_epoch: Option<i32>,
    pub metadata: Str,
    pub commit_timestamp_ms: i64,
    /// From requests of versions 2 to 4, which brought a retention of their own.
    pub expire_timestamp_ms: Option<i64>,
    /// Zero when the record has none.
    pub topic_id: Uuid,
}

type ByTopic<T> = BTreeMap<Str, BTreeMap<i32, T>>;

/// Offsets by group, topic and partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Offsets {
    by_group: BTreeMap<Str, ByTopic<OffsetAndMetadata>>,
}

impl Offsets {
    fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&OffsetAndMetadata> {
        self.by_group.get(group)?.get(topic)?.get(&partition)
    }

    fn put(&mut self, group: &Str, topic: &Str, partition: i32, offset: OffsetAndMetadata) {
        self.by_group
            .entry(group.clone())
            .or_default()
            .entry(topic.clone())
            .or_default()
            .insert(partition, offset);
    }

    fn remove(&mut self, group: &str, topic: &str, partition: i32) {
        let Some(topics) = self.by_group.get_mut(group) else { return };
        let Some(partitions) = topics.get_mut(topic) else { return };
        partitions.remove(&partition);
        if partitions.is_empty() {
            topics.remove(topic);
        }
        if topics.is_empty() {
            self.by_group.remove(group);
        }
    }
}

/// All offsets of a shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OffsetStore {
    committed: Offsets,
    /// By producer id; visible once the transaction commits.
    pending: BTreeMap<i64, Offsets>,
    /// Which producers have a pending offset of a partition.
    open: BTreeMap<Str, ByTopic<BTreeSet<i64>>>,
    next_sequence: u64,
}

impl OffsetStore {
    // --- replay

    pub(crate) fn replay_commit(
        &mut self,
        group: &Str,
        topic: &Str,
        partition: i32,
        value: &OffsetCommitValue,
        producer_id: Option<i64>,
    ) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let offset = OffsetAndMetadata {
            sequence,
            offset: value.offset,
            leader_epoch: (value.leader_epoch != -1).then_some(value.leader_epoch),
            metadata: value.metadata.clone(),
            commit_timestamp_ms: value.commit_timestamp,
            expire_timestamp_ms: (value.expire_timestamp != -1).then_some(value.expire_timestamp),
            topic_id: value.topic_id,
        };
        match producer_id {
            None => self.committed.put(group, topic, partition, offset),
            Some(producer_id) => {
                self.pending.entry(producer_id).or_default().put(group, topic, partition, offset);
                self.open
                    .entry(group.clone())
                    .or_default()
                    .entry(topic.clone())
                    .or_default()
                    .entry(partition)
                    .or_default()
                    .insert(producer_id);
            }
        }
    }

    pub(crate) fn replay_tombstone(&mut self, group: &str, topic: &str, partition: i32) {
        self.committed.remove(group, topic, partition);
        let producers: Vec<i64> = self
            .open_producers(group, topic, partition)
            .map(|producers| producers.iter().copied().collect())
            .unwrap_or_default();
        for producer_id in producers {
            if let Some(pending) = self.pending.get_mut(&producer_id) {
                pending.remove(group, topic, partition);
            }
            self.close(group, topic, partition, producer_id);
        }
    }

    /// A transaction ended: its offsets become visible, or vanish. A later plain commit wins over them.
    pub(crate) fn replay_end_txn_marker(&mut self, producer_id: i64, commit: bool) {
        let Some(pending) = self.pending.remove(&producer_id) else { return };
        for (group, topics) in pending.by_group {
            for (topic, partitions) in topics {
                for (partition, offset) in partitions {
                    self.close(&group, &topic, partition, producer_id);
                    let newer = self
                        .committed
                        .get(&group, &topic, partition)
                        .is_none_or(|existing| offset.sequence > existing.sequence);
                    if commit && newer {
                        self.committed.put(&group, &topic, partition, offset);
                    }
                }
            }
        }
    }

    fn close(&mut self, group: &str, topic: &str, partition: i32, producer_id: i64) {
        let Some(topics) = self.open.get_mut(group) else { return };
        let Some(partitions) = topics.get_mut(topic) else { return };
        if let Some(producers) = partitions.get_mut(&partition) {
            producers.remove(&producer_id);
            if producers.is_empty() {
                partitions.remove(&partition);
            }
        }
        if partitions.is_empty() {
            topics.remove(topic);
        }
        if topics.is_empty() {
            self.open.remove(group);
        }
    }

    // --- queries

    fn open_producers(&self, group: &str, topic: &str, partition: i32) -> Option<&BTreeSet<i64>> {
        self.open.get(group)?.get(topic)?.get(&partition)
    }

    pub(crate) fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&OffsetAndMetadata> {
        self.committed.get(group, topic, partition)
    }

    pub(crate) fn of_group(&self, group: &str) -> Option<&BTreeMap<Str, BTreeMap<i32, OffsetAndMetadata>>> {
        self.committed.by_group.get(group)
    }

    pub(crate) fn has_pending(&self, group: &str, topic: &str, partition: i32) -> bool {
        self.open_producers(group, topic, partition).is_some()
    }

    pub(crate) fn group_has_pending(&self, group: &str) -> bool {
        self.open.contains_key(group)
    }

    /// Partitions of a group that only transactions have offsets for.
    pub(crate) fn pending_only(&self, group: &str) -> Vec<(Str, i32)> {
        let Some(topics) = self.open.get(group) else { return Vec::new() };
        topics
            .iter()
            .flat_map(|(topic, partitions)| {
                partitions.keys().map(move |partition| (topic.clone(), *partition))
            })
            .filter(|(topic, partition)| self.get(group, topic, *partition).is_none())
            .collect()
    }

    /// Partitions of a deleted topic with an offset, committed or pending, in any group.
    pub(crate) fn of_topic(&self, topic: &str, topic_id: Uuid) -> Vec<(Str, i32)> {
        let mut found = BTreeSet::new();
        for offsets in std::iter::once(&self.committed).chain(self.pending.values()) {
            for (group, topics) in &offsets.by_group {
                let Some(partitions) = topics.get(topic) else { continue };
                for (partition, offset) in partitions {
                    if offset.topic_id.is_zero() || offset.topic_id == topic_id {
                        found.insert((group.clone(), *partition));
                    }
                }
            }
        }
        found.into_iter().collect()
    }

    /// What must be equal after a reload: everything but the numbers of the order.
    #[cfg(test)]
    pub(crate) fn normalized(&self) -> OffsetStore {
        let mut copy = self.clone();
        copy.next_sequence = 0;
        for offsets in std::iter::once(&mut copy.committed).chain(copy.pending.values_mut()) {
            for topics in offsets.by_group.values_mut() {
                for offset in topics.values_mut().flat_map(BTreeMap::values_mut) {
                    offset.sequence = 0;
                }
            }
        }
        copy.pending.retain(|_, offsets| !offsets.by_group.is_empty());
        copy
    }
}
