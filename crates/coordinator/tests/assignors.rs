//! Assignments computed by Kafka 4.4's own assignors for random groups over several steps (members come and go,
//! topics grow, subscriptions change), members and topics handed to them in the order of their ids.
//! `tests/data/assignors.cases` has a line per topic (number, partitions) and per member (id, instance id, topics,
//! assignment before, assignment after).

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::FixedTopics;
use ottla_coordinator::group::assignor::{AssignorKind, GroupSpec, MemberSpec, SubscriptionType};
use ottla_protocol::types::{Str, Uuid};

type Assignment = BTreeMap<Uuid, BTreeSet<i32>>;

struct Member {
    instance_id: Option<Str>,
    topic_ids: BTreeSet<Uuid>,
    before: Assignment,
    after: Assignment,
}

fn topic_id(number: &str) -> Uuid {
    Uuid::from_halves(0, number.parse().unwrap())
}

fn assignment(text: &str) -> Assignment {
    let entries = text.split(',').filter(|entry| *entry != "-");
    entries
        .map(|entry| {
            let (topic, partitions) = entry.split_once(':').unwrap();
            (topic_id(topic), partitions.split('+').map(|number| number.parse().unwrap()).collect())
        })
        .collect()
}

fn check(case: &str) {
    let mut lines = case.lines();
    let (assignor, subscriptions) = lines.next().unwrap().split_once(' ').unwrap();
    let mut topics = FixedTopics::default();
    let mut members = BTreeMap::new();
    for line in lines {
        let fields: Vec<&str> = line.split(' ').collect();
        if fields[0] == "topic" {
            let id = topic_id(fields[1]);
            topics.topics.insert(format!("topic-{}", fields[1]), (id, fields[2].parse().unwrap()));
            continue;
        }
        let member = Member {
            instance_id: (fields[2] != "-").then(|| Str::from(fields[2])),
            topic_ids: fields[3].split(',').filter(|topic| *topic != "-").map(topic_id).collect(),
            before: assignment(fields[4]),
            after: assignment(fields[5]),
        };
        members.insert(Str::from(fields[1]), member);
    }
    let mut assigned: BTreeMap<Uuid, BTreeMap<i32, Str>> = BTreeMap::new();
    for (id, member) in &members {
        for (topic_id, partitions) in &member.before {
            let owners = assigned.entry(*topic_id).or_default();
            owners.extend(partitions.iter().map(|partition| (*partition, id.clone())));
        }
    }
    let spec = GroupSpec {
        members: members
            .iter()
            .map(|(id, member)| {
                let spec = MemberSpec {
                    instance_id: member.instance_id.as_ref(),
                    topic_ids: member.topic_ids.clone(),
                    assignment: &member.before,
                };
                (id.clone(), spec)
            })
            .collect(),
        subscription_type: match subscriptions {
            "homogeneous" => SubscriptionType::Homogeneous,
            _ => SubscriptionType::Heterogeneous,
        },
        assigned: &assigned,
        topics: &topics,
    };
    let result = AssignorKind::parse(assignor).unwrap().assign(&spec).unwrap();
    for (id, member) in &members {
        assert_eq!(result.get(id).cloned().unwrap_or_default(), member.after, "{id} of case {case}");
    }
}

#[test]
fn assignments_are_those_of_kafkas_assignors() {
    let path = format!("{}/tests/data/assignors.cases", env!("CARGO_MANIFEST_DIR"));
    let cases = std::fs::read_to_string(path).unwrap();
    let mut count = 0;
    for case in cases.split("case ").skip(1) {
        check(case);
        count += 1;
    }
    assert_eq!(count, 160);
}

#[test]
fn a_subscription_to_a_missing_topic_is_an_error() {
    let nothing = Assignment::new();
    for assignor in [AssignorKind::Uniform, AssignorKind::Range] {
        for subscription_type in [SubscriptionType::Homogeneous, SubscriptionType::Heterogeneous] {
            let member = MemberSpec {
                instance_id: None,
                topic_ids: BTreeSet::from([topic_id("1")]),
                assignment: &nothing,
            };
            let spec = GroupSpec {
                members: BTreeMap::from([(Str::from("m"), member)]),
                subscription_type,
                assigned: &BTreeMap::new(),
                topics: &FixedTopics::default(),
            };
            assert!(assignor.assign(&spec).is_err());
        }
    }
}
