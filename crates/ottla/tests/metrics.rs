//! `/metrics` of a living node after traffic: every line obeys the format, and the numbers are those of the traffic.

mod support;

use ottla_protocol::ApiKey;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::{FetchRequest, FetchResponse};
use support::Node;

const RECORDS: usize = 100;
const READ: usize = 60;

fn topic(name: &str, topic: &str) -> (String, String) {
    (format!("kafka_server_brokertopicmetrics_{name}_total"), format!("topic={topic}"))
}

#[test]
fn the_page_counts_what_clients_did() {
    let node = Node::start(&[]);
    assert_eq!(node.page("/livez"), "ok\n");
    node.create_topic("orders", &["--partitions", "2"]);
    node.create_topic("other", &["--partitions", "1"]);
    let lines: String = (0..RECORDS).map(|i| format!("record {i}\n")).collect();
    let sent = node.tool_with_input("kafka-console-producer", &["--topic", "orders"], &lines);
    assert!(sent.status.success(), "{sent:?}");
    let max = READ.to_string();
    let read = ["--topic", "orders", "--from-beginning", "--group", "readers", "--max-messages", &max];
    assert_eq!(node.tool_ok("kafka-console-consumer", &read).lines().count(), READ);
    let perf = ["--topic", "other", "--num-records", "5", "--record-size", "10", "--throughput", "-1"];
    node.tool_ok("kafka-producer-perf-test", &[&perf[..], &["--transactional-id", "tx"]].concat());

    // The end of the transaction is written behind the answer to EndTxn.
    let page = node.metrics_until("the transaction's end", |p| {
        p.get("ottla_transaction_coordinator_transactions", "state=CompleteCommit") == Some(1.0)
    });
    let value = |name: &str, labels: &str| {
        page.get(name, labels).unwrap_or_else(|| panic!("{name}{{{labels}}} is not on the page"))
    };
    let of_topic = |name: &str, of: &str| {
        let (name, labels) = topic(name, of);
        value(&name, &labels)
    };
    assert_eq!(of_topic("messagesin", "orders"), RECORDS as f64);
    assert_eq!(of_topic("messagesin", "other"), 5.0);
    assert!(of_topic("bytesin", "orders") > 10.0 * RECORDS as f64);
    assert!(of_topic("bytesout", "orders") >= of_topic("bytesin", "orders"));
    assert!(of_topic("totalproducerequests", "orders") >= 1.0);
    assert!(of_topic("totalfetchrequests", "orders") >= 1.0);
    assert_eq!(of_topic("failedproducerequests", "orders"), 0.0);
    let all = value("kafka_server_brokertopicmetrics_messagesin_total", "");
    assert!(all >= (RECORDS + 5) as f64, "{all}");

    let index_memory = page.sum("ottla_log_index_memory_bytes");
    assert!((0.0..=16_777_216.0).contains(&index_memory), "{index_memory}");

    let ends: f64 =
        (0..2).map(|p| value("kafka_log_log_logendoffset", &format!("partition={p},topic=orders"))).sum();
    assert_eq!(ends, RECORDS as f64);
    let lag: f64 = page.sum("kafka_consumergroup_lag");
    let committed: f64 = page.sum("kafka_consumergroup_current_offset");
    assert_eq!((lag, committed), ((RECORDS - READ) as f64, READ as f64));
    assert_eq!(value("kafka_consumergroup_lag_sum", "consumergroup=readers,topic=orders"), lag);
    let group = "kafka_server_group_coordinator_metrics";
    assert_eq!(value(&format!("{group}_group_count"), "protocol=classic"), 1.0);
    assert_eq!(value(&format!("{group}_classic_group_count"), "state=Empty"), 1.0);
    assert_eq!(value(&format!("{group}_num_partitions"), "state=active"), 3.0);
    assert!(value(&format!("{group}_offset_commit_count"), "") >= 1.0);
    assert_eq!(value(&format!("{group}_group_completed_rebalance_count"), ""), 1.0);
    let transactions = "kafka_server_transaction_coordinator_metrics";
    assert_eq!(value(&format!("{transactions}_num_partitions"), "state=active"), 2.0);
    value(&format!("{transactions}_partition_load_time_max"), "");

    assert_eq!(value("kafka_server_replicamanager_underreplicatedpartitions", ""), 0.0);
    assert_eq!(value("kafka_server_replicamanager_offlinereplicacount", ""), 0.0);
    assert_eq!(value("kafka_server_replicamanager_partitioncount", ""), 2.0 + 1.0 + 3.0 + 2.0);
    assert_eq!(value("kafka_controller_kafkacontroller_activecontrollercount", ""), 1.0);
    assert_eq!(value("kafka_controller_kafkacontroller_globaltopiccount", ""), 4.0);
    assert_eq!(value("kafka_controller_kafkacontroller_activebrokercount", ""), 1.0);
    assert!(value("kafka_network_requestmetrics_requests_total", "request=Produce") >= 1.0);
    assert!(value("kafka_network_requestmetrics_totaltimems_count", "request=Produce") >= 1.0);
    assert!(value("kafka_network_requestmetrics_localtimems_count", "request=Produce") >= 1.0);
    assert!(value("ottla_runtime_workers", "") >= 1.0);
    let rss = value("process_resident_memory_bytes", "");
    assert!((rss - node.rss_bytes() as f64).abs() < 64e6, "{rss}");
    assert!(value("process_start_time_seconds", "") > 1.7e9);
    assert!(value("process_open_fds", "") < value("process_max_fds", ""));

    node.tool_ok("kafka-topics", &["--delete", "--topic", "other"]);
    let (name, labels) = topic("messagesin", "other");
    node.metrics_until("the end of the topic's counters", |p| p.get(&name, &labels).is_none());
}

#[test]
fn waiting_fetches_and_connections_are_gauges() {
    let node = Node::start(&[]);
    node.create_topic("quiet", &["--partitions", "1"]);
    const WAITING: &str = "kafka_server_delayedoperationpurgatory_purgatorysize";
    const CONNECTIONS: &str = "kafka_server_socket_server_metrics_connection_count";
    let plaintext = "listener=PLAINTEXT,networkProcessor=0";
    node.metrics_until("the end of the tool's connection", |p| p.get(CONNECTIONS, plaintext) == Some(0.0));
    let mut wire = node.connect();
    let request = FetchRequest {
        replica_id: -1,
        max_wait_ms: 600_000,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: vec![FetchTopic {
            topic: "quiet".into(),
            partitions: vec![FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let frame = wire.frame(ApiKey::Fetch, 12, &request);
    wire.send_bytes(&frame);
    // A page is not of one moment: its connections may be counted before the fetch comes.
    node.metrics_until("a waiting fetch on a connection", |p| {
        p.get(WAITING, "delayedOperation=Fetch") == Some(1.0) && p.get(CONNECTIONS, plaintext) == Some(1.0)
    });
    node.tool_with_input("kafka-console-producer", &["--topic", "quiet"], "wake up\n");
    let response = wire.read_frame().expect("an answer");
    assert!(response.len() > 60, "{}", response.len());
    node.metrics_until("the end of the wait", |p| p.get(WAITING, "delayedOperation=Fetch") == Some(0.0));
    let mut one_more: FetchRequest = request;
    one_more.max_wait_ms = 0;
    one_more.topics[0].partitions[0].fetch_offset = 7_000;
    let response: FetchResponse = wire.call(ApiKey::Fetch, 12, &one_more);
    assert_eq!(response.responses[0].partitions[0].error_code, 1);
    let (name, labels) = topic("failedfetchrequests", "quiet");
    assert_eq!(node.metrics().get(&name, &labels), Some(1.0));
}
