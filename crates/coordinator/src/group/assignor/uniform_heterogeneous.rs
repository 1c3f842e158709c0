//! The `uniform` assignor for groups whose members subscribe to different topics.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::types::{Str, Uuid};

use super::{GroupSpec, NoSuchTopic};

type Assignments = BTreeMap<Str, BTreeMap<Uuid, BTreeSet<i32>>>;

/// Rounds of the final balancing. It converges in one where all subscribers of a topic have the same
/// subscriptions; overlapping ones need more.
const MAX_ITERATION_COUNT: usize = 16;

/// Keeps what is subscribed, hands out what is free, then moves partitions from the most to the least loaded.
pub(super) fn assign(spec: &GroupSpec<'_>) -> Result<Assignments, NoSuchTopic> {
    let mut builder = Builder::new(spec)?;
    if builder.subscribers.is_empty() {
        return Ok(Assignments::new());
    }
    builder.keep_subscribed(spec);
    builder.assign_unassigned();
    builder.balance();
    Ok(builder.into_assignments(spec))
}

struct Builder {
    partition_counts: BTreeMap<Uuid, i32>,
    /// Indices of members in ascending order, by topic.
    subscribers: BTreeMap<Uuid, Vec<usize>>,
    /// Index of the member that owns a partition.
    owners: BTreeMap<Uuid, Vec<Option<usize>>>,
    /// Number of partitions by member.
    sizes: Vec<usize>,
}

impl Builder {
    fn new(spec: &GroupSpec<'_>) -> Result<Builder, NoSuchTopic> {
        let mut subscribers: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
        let mut partition_counts = BTreeMap::new();
        let mut owners = BTreeMap::new();
        for (index, member) in spec.members.values().enumerate() {
            for topic_id in &member.topic_ids {
                let partition_count = spec.partition_count(*topic_id)?;
                partition_counts.insert(*topic_id, partition_count);
                subscribers.entry(*topic_id).or_default().push(index);
                owners
                    .entry(*topic_id)
                    .or_insert_with(|| vec![None; usize::try_from(partition_count).unwrap_or(0)]);
            }
        }
        Ok(Builder { partition_counts, subscribers, owners, sizes: vec![0; spec.members.len()] })
    }

    fn keep_subscribed(&mut self, spec: &GroupSpec<'_>) {
        for (index, member) in spec.members.values().enumerate() {
            for (topic_id, partitions) in member.assignment {
                if !member.topic_ids.contains(topic_id) {
                    continue;
                }
                let Some(owners) = self.owners.get_mut(topic_id) else { continue };
                for partition in partitions {
                    // A topic never loses partitions, but one deleted and created again may have fewer.
                    let slot = usize::try_from(*partition).ok().and_then(|at| owners.get_mut(at));
                    if let Some(slot) = slot.filter(|slot| slot.is_none()) {
                        *slot = Some(index);
                        self.sizes[index] += 1;
                    }
                }
            }
        }
    }

    /// Most partitions per subscriber first, then fewest subscribers, then by id.
    fn sorted_topic_ids(&self, topic_ids: impl Iterator<Item = Uuid>) -> Vec<Uuid> {
        let mut sorted: Vec<Uuid> = topic_ids.collect();
        sorted.sort_by(|a, b| self.compare_topics(a, b));
        sorted
    }

    fn compare_topics(&self, a: &Uuid, b: &Uuid) -> Ordering {
        let count = |id: &Uuid| self.partition_counts.get(id).copied().unwrap_or(0);
        let subscribers = |id: &Uuid| self.subscribers.get(id).map_or(1, Vec::len);
        let load = |id: &Uuid| f64::from(count(id)) / subscribers(id) as f64;
        load(b)
            .total_cmp(&load(a))
            .then_with(|| subscribers(a).cmp(&subscribers(b)))
            .then_with(|| signed_halves(*a).cmp(&signed_halves(*b)))
    }

    fn assign_unassigned(&mut self) {
        let open: Vec<Uuid> = self
            .owners
            .iter()
            .filter(|(_, owners)| owners.iter().any(Option::is_none))
            .map(|(topic_id, _)| *topic_id)
            .collect();
        for topic_id in self.sorted_topic_ids(open.into_iter()) {
            let Some(subscribers) = self.subscribers.get(&topic_id) else { continue };
            let mut balancer = Balancer::new(subscribers, &self.sizes);
            let Some(owners) = self.owners.get_mut(&topic_id) else { continue };
            for owner in owners.iter_mut().filter(|owner| owner.is_none()) {
                let member = balancer.next_least_loaded(&self.sizes);
                *owner = Some(member);
                self.sizes[member] += 1;
            }
        }
    }

    fn balance(&mut self) {
        let shared = self.subscribers.iter().filter(|(_, list)| list.len() >= 2).map(|(id, _)| *id);
        let topic_ids = self.sorted_topic_ids(shared.collect::<Vec<_>>().into_iter());
        // The last topic that was changed; a whole round without a change ends it.
        let mut last_changed: Option<usize> = None;
        for _ in 0..MAX_ITERATION_COUNT {
            for (index, topic_id) in topic_ids.iter().enumerate() {
                if last_changed == Some(index) {
                    return;
                }
                if self.balance_topic(*topic_id) > 0 || last_changed.is_none() {
                    last_changed = Some(index);
                }
            }
        }
    }

    /// Moves partitions of one topic; gives how many.
    fn balance_topic(&mut self, topic_id: Uuid) -> usize {
        let Some(subscribers) = self.subscribers.get(&topic_id) else { return 0 };
        let mut balancer = Balancer::new(subscribers, &self.sizes);
        if balancer.imbalance(&self.sizes) <= 1 {
            return 0;
        }
        let Some(owners) = self.owners.get_mut(&topic_id) else { return 0 };
        // The partitions of each member as they were before; the last of them goes first.
        let mut owned: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (partition, owner) in owners.iter().enumerate() {
            if let Some(owner) = owner {
                owned.entry(*owner).or_default().push(partition);
            }
        }
        let mut moved = 0;
        while !balancer.is_balanced() {
            let partition = loop {
                let Some(most_loaded) = balancer.next_most_loaded(&self.sizes) else { return moved };
                match owned.get_mut(&most_loaded).and_then(Vec::pop) {
                    Some(partition) => break partition,
                    None => balancer.exclude_most_loaded(),
                }
            };
            let least_loaded = balancer.next_least_loaded(&self.sizes);
            if balancer.is_balanced() {
                break;
            }
            if let Some(old) = owners[partition].replace(least_loaded) {
                self.sizes[old] -= 1;
            }
            self.sizes[least_loaded] += 1;
            moved += 1;
        }
        moved
    }

    fn into_assignments(self, spec: &GroupSpec<'_>) -> Assignments {
        let ids: Vec<&Str> = spec.members.keys().collect();
        let mut assignments: Assignments = ids.iter().map(|id| ((*id).clone(), BTreeMap::new())).collect();
        for (topic_id, owners) in self.owners {
            for (partition, owner) in owners.into_iter().enumerate() {
                let Some(assignment) = owner.and_then(|owner| assignments.get_mut(ids[owner])) else {
                    continue;
                };
                let partition = i32::try_from(partition).unwrap_or(i32::MAX);
                assignment.entry(topic_id).or_default().insert(partition);
            }
        }
        assignments
    }
}

/// Kafka compares UUIDs as two signed numbers.
fn signed_halves(id: Uuid) -> (i64, i64) {
    let bits = u128::from_be_bytes(id.0);
    ((bits >> 64) as u64 as i64, bits as u64 as i64)
}

/// Members of a topic sorted by load, with a range of the least loaded growing from one end and a range of the most
/// loaded growing from the other. Within a range all have the same number of partitions.
struct Balancer {
    sorted: Vec<usize>,
    least_end: usize,
    least_size: i64,
    next_least: usize,
    most_start: usize,
    most_end: usize,
    most_size: i64,
    /// -1 when there is none.
    next_most: isize,
}

impl Balancer {
    /// `members` is not empty.
    fn new(members: &[usize], sizes: &[usize]) -> Balancer {
        let mut sorted = members.to_vec();
        sorted.sort_by_key(|member| (sizes[*member], *member));
        let size_at = |at: usize| sizes[sorted[at]] as i64;
        let len = sorted.len();
        Balancer {
            least_end: 0,
            least_size: size_at(0) - 1,
            next_least: 0,
            most_start: len,
            most_end: len,
            most_size: size_at(len - 1) + 1,
            next_most: len as isize - 1,
            sorted,
        }
    }

    fn imbalance(&self, sizes: &[usize]) -> usize {
        sizes[self.sorted[self.sorted.len() - 1]] - sizes[self.sorted[0]]
    }

    fn is_balanced(&self) -> bool {
        self.most_size - self.least_size <= 1
    }

    fn next_least_loaded(&mut self, sizes: &[usize]) -> usize {
        if self.next_least >= self.least_end {
            self.least_size += 1;
            while self.least_end < self.sorted.len()
                && sizes[self.sorted[self.least_end]] as i64 == self.least_size
            {
                self.least_end += 1;
            }
            self.next_least = 0;
        }
        let member = self.sorted[self.next_least];
        self.next_least += 1;
        member
    }

    fn next_most_loaded(&mut self, sizes: &[usize]) -> Option<usize> {
        if self.next_most < self.most_start as isize {
            if self.most_end <= self.most_start && self.most_start > 0 {
                // Everybody of the range was excluded: go on below it.
                self.most_size = sizes[self.sorted[self.most_start - 1]] as i64;
            } else {
                self.most_size -= 1;
            }
            while self.most_start > 0 && sizes[self.sorted[self.most_start - 1]] as i64 == self.most_size {
                self.most_start -= 1;
            }
            self.next_most = self.most_end as isize - 1;
        }
        let at = usize::try_from(self.next_most).ok()?;
        self.next_most -= 1;
        Some(self.sorted[at])
    }

    /// Takes the member last given by `next_most_loaded` out of the range.
    fn exclude_most_loaded(&mut self) {
        let at = (self.next_most + 1) as usize;
        self.sorted.swap(at, self.most_end - 1);
        self.most_end -= 1;
    }
}
