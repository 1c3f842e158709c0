use std::collections::BTreeMap;

use super::assignors::{Subscriber, assign};

/// Members as `a:t,u`, topics as `t=3`.
fn check(protocol: &str, members: &[&str], topics: &[(&str, usize)], expected: &[(&str, &str)]) {
    let members = members
        .iter()
        .map(|text| {
            let (id, topics) = text.split_once(':').unwrap();
            Subscriber {
                member_id: id.to_owned(),
                instance_id: None,
                topics: topics.split(',').map(str::to_owned).collect(),
            }
        })
        .collect();
    let counts: BTreeMap<String, usize> = topics.iter().map(|(t, n)| ((*t).to_owned(), *n)).collect();
    let actual: Vec<(String, String)> = assign(protocol, members, &counts)
        .into_iter()
        .map(|(id, own)| (id, own.iter().map(|p| p.to_string()).collect::<Vec<_>>().join(" ")))
        .collect();
    let expected: Vec<(String, String)> =
        expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    assert_eq!(actual, expected);
}

#[test]
fn range_gives_consecutive_partitions_of_each_topic() {
    check("range", &["b:t", "a:t"], &[("t", 3)], &[("a", "t-0 t-1"), ("b", "t-2")]);
    check("range", &["a:t,u", "b:u"], &[("t", 2), ("u", 3)], &[("a", "t-0 t-1 u-0 u-1"), ("b", "u-2")]);
    check("range", &["a:t", "b:t"], &[("t", 1), ("x", 9)], &[("a", "t-0"), ("b", "")]);
}

#[test]
fn round_robin_gives_partitions_in_turn() {
    check(
        "roundrobin",
        &["a:t,u", "b:t,u"],
        &[("t", 3), ("u", 3)],
        &[("a", "t-0 t-2 u-1"), ("b", "t-1 u-0 u-2")],
    );
    check(
        "roundrobin",
        &["a:t", "b:t,u", "c:t,u,v"],
        &[("t", 1), ("u", 2), ("v", 3)],
        &[("a", "t-0"), ("b", "u-0"), ("c", "u-1 v-0 v-1 v-2")],
    );
}
