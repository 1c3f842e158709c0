//! A node whose every append is to be durable, offsets and transactions among them, before anybody hears of it.

mod support;

use support::Node;

const RECORDS: usize = 50;
const SETTINGS: &[(&str, &str)] =
    &[("log.flush.interval.messages", "1"), ("offsets.topic.num.partitions", "4")];

#[test]
fn groups_and_transactions_are_served_where_every_append_is_synced() {
    let node = Node::start(SETTINGS);
    node.create_topic("orders", &["--partitions", "3"]);
    let perf = ["--topic", "orders", "--num-records", "50", "--record-size", "10", "--throughput", "-1"];
    // The first use makes the internal topics.
    node.tool_ok("kafka-producer-perf-test", &[&perf[..], &["--transactional-id", "tx"]].concat());
    let read = ["--topic", "orders", "--from-beginning", "--isolation-level", "read_committed"];
    let max = RECORDS.to_string();
    let group = |name: &'static str| [&read[..], &["--group", name, "--max-messages", &max]].concat();
    assert_eq!(node.tool_ok("kafka-console-consumer", &group("first")).lines().count(), RECORDS);
    node.metrics_until("the transaction's end", |p| {
        p.get("ottla_transaction_coordinator_transactions", "state=CompleteCommit") == Some(1.0)
    });

    assert_eq!(node.tool_ok("kafka-console-consumer", &group("second")).lines().count(), RECORDS);
    for name in ["first", "second"] {
        let told = node.tool_ok("kafka-consumer-groups", &["--describe", "--group", name]);
        let committed: usize = told
            .lines()
            .filter_map(|line| {
                let columns: Vec<&str> = line.split_whitespace().collect();
                (columns.first() == Some(&name) && columns.get(1) == Some(&"orders"))
                    .then(|| columns[3].parse().unwrap_or(0))
            })
            .sum();
        // A marker in each partition that the transaction wrote to.
        assert!((RECORDS..=RECORDS + 3).contains(&committed), "{told}");
    }
}
