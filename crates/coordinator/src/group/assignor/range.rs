//! The `range` assignor.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::types::{Str, Uuid};

use super::{GroupSpec, NoSuchTopic};

type Assignments = BTreeMap<Str, BTreeMap<Uuid, BTreeSet<i32>>>;

struct TopicRange {
    partition_count: i32,
    min_quota: i32,
    extra_partitions: i32,
    next: i32,
}

impl TopicRange {
    fn new(partition_count: i32, member_count: i32) -> TopicRange {
        TopicRange {
            partition_count,
            min_quota: partition_count / member_count,
            extra_partitions: partition_count % member_count,
            next: 0,
        }
    }

    /// The next member's share.
    fn take(&mut self) -> BTreeSet<i32> {
        let mut quota = self.min_quota;
        if self.extra_partitions > 0 {
            quota += 1;
            self.extra_partitions -= 1;
        }
        let end = (self.next + quota).min(self.partition_count);
        let range = (self.next..end).collect();
        self.next = end;
        range
    }
}

/// Static members first, by instance id, so that they keep their ranges whatever member id they come back with.
fn sorted_member_ids<'a>(spec: &'a GroupSpec<'_>) -> Vec<&'a Str> {
    let mut ids: Vec<&Str> = spec.members.keys().collect();
    ids.sort_by_key(|id| {
        let instance_id = spec.members.get(*id).and_then(|member| member.instance_id);
        (instance_id.is_none(), instance_id.unwrap_or(*id))
    });
    ids
}

pub(super) fn assign_homogeneous(spec: &GroupSpec<'_>) -> Result<Assignments, NoSuchTopic> {
    let member_count = i32::try_from(spec.members.len()).unwrap_or(i32::MAX);
    let ids = sorted_member_ids(spec);
    let mut ranges = BTreeMap::new();
    for topic_id in ids.first().and_then(|id| spec.members.get(*id)).into_iter().flat_map(|m| &m.topic_ids) {
        ranges.insert(*topic_id, TopicRange::new(spec.partition_count(*topic_id)?, member_count));
    }
    let mut assignments = Assignments::new();
    for member_id in ids {
        let assignment = assignments.entry(member_id.clone()).or_default();
        for (topic_id, range) in &mut ranges {
            let partitions = range.take();
            if !partitions.is_empty() {
                assignment.insert(*topic_id, partitions);
            }
        }
    }
    Ok(assignments)
}

pub(super) fn assign_heterogeneous(spec: &GroupSpec<'_>) -> Result<Assignments, NoSuchTopic> {
    let mut subscribers: BTreeMap<Uuid, i32> = BTreeMap::new();
    for member in spec.members.values() {
        for topic_id in &member.topic_ids {
            *subscribers.entry(*topic_id).or_default() += 1;
        }
    }
    let mut ranges = BTreeMap::new();
    for (topic_id, count) in subscribers {
        ranges.insert(topic_id, TopicRange::new(spec.partition_count(topic_id)?, count));
    }
    let mut assignments = Assignments::new();
    for member_id in sorted_member_ids(spec) {
        let assignment = assignments.entry(member_id.clone()).or_default();
        for topic_id in spec.members.get(member_id).into_iter().flat_map(|member| &member.topic_ids) {
            let Some(range) = ranges.get_mut(topic_id) else { continue };
            let partitions = range.take();
            if !partitions.is_empty() {
                assignment.insert(*topic_id, partitions);
            }
        }
    }
    Ok(assignments)
}
