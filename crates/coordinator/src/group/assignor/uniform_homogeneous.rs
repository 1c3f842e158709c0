//! The `uniform` assignor for groups whose members all subscribe to the same topics.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::types::{Str, Uuid};

use super::{GroupSpec, NoSuchTopic};

type Assignments = BTreeMap<Str, BTreeMap<Uuid, BTreeSet<i32>>>;

/// Balance first, then as few moves as possible.
pub(super) fn assign(spec: &GroupSpec<'_>) -> Result<Assignments, NoSuchTopic> {
    let Some(first) = spec.members.values().next() else { return Ok(Assignments::new()) };
    let topic_ids = &first.topic_ids;
    if topic_ids.is_empty() {
        return Ok(Assignments::new());
    }
    let mut unassigned: Vec<(Uuid, i32)> = Vec::new();
    let mut total = 0usize;
    for topic_id in topic_ids {
        let partition_count = spec.partition_count(*topic_id)?;
        total += usize::try_from(partition_count).unwrap_or(0);
        unassigned.extend(
            (0..partition_count)
                .filter(|partition| !spec.is_partition_assigned(*topic_id, *partition))
                .map(|partition| (*topic_id, partition)),
        );
    }
    let member_count = spec.members.len();
    let min_quota = total / member_count;
    let mut extra = total % member_count;

    let mut assignments = Assignments::new();
    let mut unfilled: Vec<(&Str, usize)> = Vec::new();
    for (index, (member_id, member)) in spec.members.iter().enumerate() {
        let mut quota = min_quota;
        let mut has_extra = false;
        if extra > 0 {
            quota += 1;
            has_extra = true;
        }
        let mut kept: BTreeMap<Uuid, BTreeSet<i32>> = BTreeMap::new();
        for (topic_id, partitions) in member.assignment {
            if !topic_ids.contains(topic_id) {
                continue;
            }
            for partition in partitions {
                if quota > 0 {
                    quota -= 1;
                    kept.entry(*topic_id).or_default().insert(*partition);
                } else {
                    unassigned.push((*topic_id, *partition));
                }
            }
        }
        // The extra partition goes to whoever needs it, unless the last members in the list must take theirs.
        if quota > 0 && has_extra && member_count - index > extra {
            quota -= 1;
            has_extra = false;
        }
        if quota > 0 {
            unfilled.push((member_id, quota));
        }
        if has_extra {
            extra -= 1;
        }
        assignments.insert(member_id.clone(), kept);
    }
    let mut rest = unassigned.into_iter();
    for (member_id, quota) in unfilled {
        let assignment = assignments.entry(member_id.clone()).or_default();
        for (topic_id, partition) in rest.by_ref().take(quota) {
            assignment.entry(topic_id).or_default().insert(partition);
        }
    }
    Ok(assignments)
}
