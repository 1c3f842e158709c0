//! The assignment of a large group, from nothing and after one member more.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ottla_coordinator::TopicsView;
use ottla_coordinator::group::assignor::{AssignorKind, GroupSpec, MemberSpec, SubscriptionType};
use ottla_protocol::types::{Str, Uuid};

const TOPICS: u64 = 10;
const PARTITIONS: i32 = 1_000;

type Assignment = BTreeMap<Uuid, BTreeSet<i32>>;

/// Some topics with the same number of partitions.
struct Topics;

impl TopicsView for Topics {
    fn version(&self) -> i64 {
        1
    }
    fn topic_id(&self, _: &str) -> Option<Uuid> {
        None
    }
    fn topic_name(&self, _: Uuid) -> Option<Str> {
        None
    }
    fn partition_count(&self, _: Uuid) -> Option<i32> {
        Some(PARTITIONS)
    }
    fn partition_racks(&self, _: Uuid, _: i32) -> Vec<Str> {
        Vec::new()
    }
    fn for_each_name(&self, _: &mut dyn FnMut(&str)) {}
}

fn assign(kind: AssignorKind, before: &BTreeMap<Str, Assignment>) -> BTreeMap<Str, Assignment> {
    let topic_ids: BTreeSet<Uuid> = (0..TOPICS).map(|i| Uuid::from_halves(1, i)).collect();
    let mut assigned: BTreeMap<Uuid, BTreeMap<i32, Str>> = BTreeMap::new();
    for (member, topics) in before {
        for (id, partitions) in topics {
            let owners = assigned.entry(*id).or_default();
            owners.extend(partitions.iter().map(|p| (*p, member.clone())));
        }
    }
    let members = before
        .iter()
        .map(|(id, assignment)| {
            (id.clone(), MemberSpec { instance_id: None, topic_ids: topic_ids.clone(), assignment })
        })
        .collect();
    let spec = GroupSpec {
        members,
        subscription_type: SubscriptionType::Homogeneous,
        assigned: &assigned,
        topics: &Topics,
    };
    kind.assign(&spec).expect("the topics exist")
}

fn assignors(c: &mut Criterion) {
    let mut group = c.benchmark_group("assignors, 10,000 partitions");
    group.sample_size(20);
    for members in [100, 1_000] {
        let none: BTreeMap<Str, Assignment> =
            (0..members).map(|i| (format!("member-{i:04}").as_str().into(), Assignment::new())).collect();
        group.throughput(Throughput::Elements(TOPICS * PARTITIONS as u64));
        for kind in [AssignorKind::Uniform, AssignorKind::Range] {
            let name = kind.name();
            group.bench_function(format!("{name}, {members} members, from nothing"), |b| {
                b.iter(|| assign(kind, black_box(&none)));
            });
            let mut more = assign(kind, &none);
            more.insert("one more".into(), Assignment::new());
            group.bench_function(format!("{name}, {members} members and one more"), |b| {
                b.iter(|| assign(kind, black_box(&more)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, assignors);
criterion_main!(benches);
