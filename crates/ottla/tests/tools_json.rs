//! `--output json`: what each tool prints of a living node.

mod support;

use serde_json::{Value, json};
use support::Node;

/// Runs a tool with `--output json`; gives its document, which is all that it printed.
fn document(node: &Node, tool: &str, args: &[&str]) -> Value {
    let text = node.tool_ok(tool, &[args, &["--output", "json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{tool} {args:?}: {e}: {text}"))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn every_tool_prints_one_document() {
    let node = Node::start(&[]);
    let created =
        document(&node, "kafka-topics", &["--create", "--topic", "t", "--config", "retention.ms=1000"]);
    assert_eq!(created, json!({"messages": ["Created topic t."]}));
    assert_eq!(document(&node, "kafka-topics", &["--list"]), json!({"topics": ["t"]}));
    let mut described = document(&node, "kafka-topics", &["--describe", "--topic", "t"]);
    let id = described["topics"][0]["topicId"].take();
    assert_eq!(id.as_str().map(str::len), Some(22));
    assert_eq!(
        described,
        json!({"topics": [{
            "topic": "t", "topicId": null, "partitionCount": 1, "replicationFactor": 1,
            "configs": {"min.insync.replicas": "1", "retention.ms": "1000"},
            "partitions": [{
                "partition": 0, "leader": 1, "replicas": [1], "isr": [1], "elr": [], "lastKnownElr": [],
                "addingReplicas": [], "removingReplicas": [],
            }],
        }]})
    );
    let configs =
        document(&node, "kafka-configs", &["--describe", "--entity-type", "topics", "--entity-name", "t"]);
    let config = &configs["entities"][0]["configs"][0];
    assert_eq!((&config["name"], &config["value"]), (&json!("retention.ms"), &json!("1000")));
    assert_eq!(config["synonyms"][0]["source"], "DYNAMIC_TOPIC_CONFIG");
    document(
        &node,
        "kafka-configs",
        &["--alter", "--client-defaults", "--add-config", "producer_byte_rate=1000"],
    );
    let quotas = document(&node, "kafka-configs", &["--describe", "--entity-type", "clients"]);
    assert_eq!(
        quotas,
        json!({"quotas": [{"entity": {"client-id": null}, "configs": {"producer_byte_rate": 1000.0}}]})
    );

    let records = node.tool_with_input("kafka-console-producer", &["--topic", "t"], "one\ntwo\nthree\n");
    assert!(records.status.success());
    let consumer =
        ["--topic", "t", "--from-beginning", "--group", "g", "--max-messages", "2", "--output", "json"];
    let read = lines(&node.tool_ok("kafka-console-consumer", &consumer));
    assert_eq!(read.len(), 2);
    assert_eq!(
        (&read[1]["value"], &read[1]["offset"], &read[1]["key"]),
        (&json!("two"), &json!(1), &json!(null))
    );

    assert_eq!(document(&node, "kafka-consumer-groups", &["--list"]), json!({"groups": [{"group": "g"}]}));
    assert_eq!(
        document(&node, "kafka-consumer-groups", &["--list", "--state"]),
        json!({"groups": [{"group": "g", "type": "Classic", "state": "Empty"}]})
    );
    let group = ["--describe", "--group", "g"];
    assert_eq!(
        document(&node, "kafka-consumer-groups", &group),
        json!({
            "groups": [{"group": "g", "state": "Empty", "offsets": [{
                "group": "g", "topic": "t", "partition": 0, "leaderEpoch": null, "currentOffset": 2,
                "logEndOffset": 3, "lag": 1, "consumerId": null, "host": null, "clientId": null,
            }]}],
            "warnings": ["Consumer group 'g' has no active members."],
        })
    );
    let state = document(&node, "kafka-consumer-groups", &[&group[..], &["--state"]].concat());
    assert_eq!(state["groups"][0]["coordinator"]["id"], 1);
    assert_eq!(state["groups"][0]["memberCount"], 0);
    let members =
        document(&node, "kafka-consumer-groups", &[&group[..], &["--members", "--verbose"]].concat());
    assert_eq!(members["groups"][0]["members"], json!([]));
    let reset = ["--reset-offsets", "--group", "g", "--topic", "t", "--to-earliest", "--execute"];
    assert_eq!(
        document(&node, "kafka-consumer-groups", &reset),
        json!({"offsets": [{"group": "g", "topic": "t", "partition": 0, "newOffset": 0}]})
    );
    assert_eq!(
        document(&node, "kafka-consumer-groups", &["--delete-offsets", "--group", "g", "--topic", "t:0"]),
        json!({"offsets": [{"topic": "t", "partition": 0, "error": null}]})
    );
    assert_eq!(
        document(&node, "kafka-groups", &["--list"]),
        json!({"groups": [{"group": "g", "type": "Classic", "protocol": "consumer"}]})
    );
    assert_eq!(
        document(&node, "kafka-consumer-groups", &["--delete", "--group", "g"]),
        json!({"deleted": [{"group": "g"}]})
    );

    assert_eq!(
        document(&node, "kafka-get-offsets", &["--topic", "t"]),
        json!({"offsets": [{"topic": "t", "partition": 0, "offset": 3}]})
    );
    let file = node.dir.path().join("offsets.json");
    std::fs::write(&file, r#"{"partitions":[{"topic":"t","partition":0,"offset":1}]}"#).expect("a file");
    let file = file.display().to_string();
    assert_eq!(
        document(&node, "kafka-delete-records", &["--offset-json-file", &file]),
        json!({"partitions": [{"topic": "t", "partition": 0, "lowWatermark": 1, "error": null}]})
    );
    let versions = document(&node, "kafka-broker-api-versions", &[]);
    assert_eq!(versions["brokers"][0]["id"], 1);
    assert_eq!(versions["brokers"][0]["apis"][0]["name"], "Produce");
    let id = document(&node, "kafka-cluster", &["cluster-id"]);
    assert_eq!(keys(&id), ["clusterId"]);
    let endpoints = document(&node, "kafka-cluster", &["list-endpoints"]);
    assert_eq!(endpoints["endpoints"][0]["endpointType"], "broker");
    let features = document(&node, "kafka-features", &["describe"]);
    let names: Vec<&str> = features["features"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|f| f["feature"].as_str())
        .collect();
    assert!(names.contains(&"metadata.version"), "{names:?}");
    let status = document(&node, "kafka-metadata-quorum", &["describe", "--status"]);
    assert_eq!((&status["leaderId"], &status["currentVoters"][0]["id"]), (&json!(1), &json!(1)));
    let replication = document(&node, "kafka-metadata-quorum", &["describe", "--replication"]);
    assert_eq!(replication["replicas"][0]["status"], "Leader");
    let dirs = document(&node, "kafka-log-dirs", &["--describe", "--topic-list", "t"]);
    assert_eq!(dirs["brokers"][0]["logDirs"][0]["partitions"][0]["partition"], "t-0");
    assert_eq!(document(&node, "kafka-transactions", &["list"]), json!({"transactions": []}));
    let perf = ["--topic", "t", "--num-records", "10", "--record-size", "5", "--throughput", "-1"];
    let perf = document(&node, "kafka-producer-perf-test", &perf);
    assert_eq!(
        (&perf["results"][0]["records"], &perf["results"][0]["steadyState"]),
        (&json!(10), &json!(false))
    );
    let perf = document(&node, "kafka-consumer-perf-test", &["--topic", "t", "--num-records", "10"]);
    assert!(perf["results"][0]["records"].as_i64() >= Some(10), "{perf}");
    let latency = ["--topic", "t", "--num-records", "3", "--producer-acks", "all", "--record-size", "10"];
    let latency = document(&node, "kafka-e2e-latency", &latency);
    assert_eq!(keys(&latency), ["latencyMsAvg", "latencyMsPercentiles", "samples"]);
}

/// A tool that needs no node.
fn alone(args: &[&str]) -> std::process::Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_ottla")).args(args).output().expect("the tool")
}

#[test]
fn errors_are_one_object_and_the_exit_code_stays() {
    let node = Node::start(&[]);
    for (tool, args, code) in [
        ("kafka-topics", &["--describe", "--topic", "none"][..], 1),
        ("kafka-topics", &["--list", "--nonsense"][..], 1),
        ("kafka-configs", &["--describe"][..], 1),
        ("kafka-consumer-groups", &["--describe", "--group", "none"][..], 0),
        ("kafka-features", &["upgrade", "--feature", "metadata.version=999"][..], 1),
    ] {
        let text = node.tool(tool, args);
        let json = node.tool(tool, &[args, &["--output", "json"]].concat());
        assert_eq!((text.status.code(), json.status.code()), (Some(code), Some(code)), "{tool} {args:?}");
        let errors = lines(&String::from_utf8(json.stderr).expect("text"));
        assert_eq!(errors.len(), 1, "{tool} {args:?}: {errors:?}");
        assert_eq!(keys(&errors[0]), ["error"], "{tool} {args:?}");
        assert!(!errors[0]["error"].as_str().unwrap_or_default().is_empty());
    }
    let wrong = alone(&["kafka-topics", "--list", "--output", "xml"]);
    assert_eq!(wrong.status.code(), Some(1));
}

#[test]
fn storage_and_dump_log_need_no_node() {
    let id = alone(&["kafka-storage", "random-uuid", "--output", "json"]);
    let id = lines(&String::from_utf8(id.stdout).expect("text"));
    assert_eq!(id[0]["uuid"].as_str().map(str::len), Some(22));
    let mapping =
        alone(&["kafka-storage", "version-mapping", "--release-version", "4.0-IV3", "--output", "json"]);
    let mapping = lines(&String::from_utf8(mapping.stdout).expect("text"));
    assert_eq!(
        mapping[0]["features"][0],
        json!({"feature": "metadata.version", "level": 25, "release": "4.0-IV3"})
    );
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data").display().to_string();
    let config = dir.path().join("server.properties");
    let text = format!(
        "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0\n\
         controller.listener.names=CONTROLLER\ncontroller.quorum.voters=1@127.0.0.1:0\nlog.dirs={data}\n"
    );
    std::fs::write(&config, text).expect("a file");
    let config = config.display().to_string();
    let info = alone(&["kafka-storage", "info", "-c", &config, "--output", "json"]);
    assert_eq!(info.status.code(), Some(1));
    let info = lines(&String::from_utf8(info.stdout).expect("text"));
    assert_eq!(
        info[0],
        json!({"directories": [], "problems": [{"problem": format!("{data} does not exist")}]})
    );
    let format =
        ["kafka-storage", "format", "-c", &config, "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "--output", "json"];
    let format = alone(&format);
    let format = lines(&String::from_utf8(format.stdout).expect("text"));
    assert_eq!(format[0]["directories"][0]["directory"], data.as_str());
    let info = alone(&["kafka-storage", "info", "-c", &config, "--output", "json"]);
    let info = lines(&String::from_utf8(info.stdout).expect("text"));
    assert_eq!(info[0]["metadata"]["cluster.id"], "AAAAAAAAAAAAAAAAAAAAAQ");

    let mut files = std::fs::read_dir(format!("{data}/__cluster_metadata-0")).expect("a directory");
    let checkpoint = files.next().expect("a file").expect("a file").path().display().to_string();
    let dump =
        alone(&["kafka-dump-log", "--cluster-metadata-decoder", "--files", &checkpoint, "--output", "json"]);
    assert!(dump.status.success(), "{dump:?}");
    let dump = lines(&String::from_utf8(dump.stdout).expect("text"));
    let kinds: Vec<&str> = dump.iter().filter_map(|line| line["kind"].as_str()).collect();
    assert_eq!(kinds[..4], ["file", "snapshot", "batch", "record"]);
    let levels: Vec<&Value> =
        dump.iter().filter(|l| l["payload"]["type"] == "FEATURE_LEVEL_RECORD").collect();
    assert!(!levels.is_empty(), "{dump:?}");
    assert_eq!(levels[0]["payload"]["data"]["name"], "metadata.version");
}
