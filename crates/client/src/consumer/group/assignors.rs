//! Client-side assignors of the classic protocol. Source: Kafka `RangeAssignor`, `RoundRobinAssignor`.

use std::collections::{BTreeMap, BTreeSet};

use crate::TopicPartition;

/// A member with the topics that it wants.
#[derive(Debug, Clone)]
pub(super) struct Subscriber {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub topics: BTreeSet<String>,
}

pub(super) type Assignments = BTreeMap<String, Vec<TopicPartition>>;

/// The name in JoinGroup of an assignor class, if it is there.
pub(super) fn protocol_name(class: &str) -> Option<&'static str> {
    match class {
        "RangeAssignor" | "range" => Some("range"),
        "RoundRobinAssignor" | "roundrobin" => Some("roundrobin"),
        _ => None,
    }
}

pub(super) fn assign(
    protocol: &str,
    members: Vec<Subscriber>,
    counts: &BTreeMap<String, usize>,
) -> Assignments {
    match protocol {
        "roundrobin" => round_robin(members, counts),
        _ => range(members, counts),
    }
}

/// Static members by instance id come before dynamic ones by member id.
fn sort(members: &mut [Subscriber]) {
    members.sort_by(|a, b| match (&a.instance_id, &b.instance_id) {
        (Some(a), Some(b)) => a.cmp(b),
        (Some(_), None) => std::cmp::Ordering::Less,
        (None, Some(_)) => std::cmp::Ordering::Greater,
        (None, None) => a.member_id.cmp(&b.member_id),
    });
}

fn empty(members: &[Subscriber]) -> Assignments {
    members.iter().map(|m| (m.member_id.clone(), Vec::new())).collect()
}

/// Each topic by itself: consecutive partitions to members in order, the first ones get one more.
fn range(mut members: Vec<Subscriber>, counts: &BTreeMap<String, usize>) -> Assignments {
    sort(&mut members);
    let mut assignments = empty(&members);
    for (topic, count) in counts {
        let wanting: Vec<&Subscriber> = members.iter().filter(|m| m.topics.contains(topic)).collect();
        if wanting.is_empty() {
            continue;
        }
        let (each, extra) = (count / wanting.len(), count % wanting.len());
        let mut next = 0;
        for (i, member) in wanting.iter().enumerate() {
            let length = each + usize::from(i < extra);
            if let Some(own) = assignments.get_mut(&member.member_id) {
                own.extend((next..next + length).map(|p| TopicPartition::new(topic.as_str(), p as i32)));
            }
            next += length;
        }
    }
    assignments
}

/// All partitions in turn to members in order, past those that do not want the topic.
fn round_robin(mut members: Vec<Subscriber>, counts: &BTreeMap<String, usize>) -> Assignments {
    sort(&mut members);
    let mut assignments = empty(&members);
    let mut at = 0;
    for (topic, count) in counts {
        if !members.iter().any(|m| m.topics.contains(topic)) {
            continue;
        }
        for partition in 0..*count {
            while !members[at % members.len()].topics.contains(topic) {
                at += 1;
            }
            let member = &members[at % members.len()];
            if let Some(own) = assignments.get_mut(&member.member_id) {
                own.push(TopicPartition::new(topic.as_str(), partition as i32));
            }
            at += 1;
        }
    }
    assignments
}
