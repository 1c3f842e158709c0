//! `ottla` with no argument: a single node with defaults for one machine, formatted on the first start.

use ottla_metadata::config::{Origin, RawConfig};

use crate::server;

const DIR: &str = "ottla-data";

/// Settings of the local node: everything on one broker, nothing waits for others.
const SETTINGS: [(&str, &str); 14] = [
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("listeners", "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"),
    ("advertised.listeners", "PLAINTEXT://127.0.0.1:9092"),
    ("controller.listener.names", "CONTROLLER"),
    ("listener.security.protocol.map", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"),
    ("controller.quorum.voters", "1@127.0.0.1:9093"),
    ("log.dirs", DIR),
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
    ("group.initial.rebalance.delay.ms", "0"),
];

pub fn run() -> i32 {
    let mut text = String::new();
    let mut raw = RawConfig::new();
    for (key, value) in SETTINGS {
        raw.set(key, value, Origin::Program);
        text += &format!("{key}={value}\n");
    }
    if !std::path::Path::new(DIR).join("meta.properties").exists()
        && let Err(problem) = format_directory(&text)
    {
        eprintln!("ottla: {problem}");
        return 1;
    }
    server::serve(&raw, |started| {
        let address =
            started.listeners.iter().find(|(name, _)| name == "PLAINTEXT").map(|(_, a)| a.to_string());
        let address = address.unwrap_or_default();
        println!(
            "
  Ottla is running: one Kafka 4.4 node, ready in {} ms.

    bootstrap server   {address}
    cluster id         {}
    data               ./{DIR}

  Try it from another terminal:

    ottla kafka-topics --bootstrap-server {address} --create --topic hello
    echo hi | ottla kafka-console-producer --bootstrap-server {address} --topic hello
    ottla kafka-console-consumer --bootstrap-server {address} --topic hello --from-beginning

  Ctrl-C stops it; the data stays.
",
            started.startup.as_millis(),
            started.cluster_id
        );
    })
}

/// Formats the directory as `kafka-storage format` does, with a new cluster id.
fn format_directory(settings: &str) -> Result<(), String> {
    std::fs::create_dir_all(DIR).map_err(|e| format!("{DIR}: {e}"))?;
    let file = format!("{DIR}/server.properties");
    std::fs::write(&file, settings).map_err(|e| format!("{file}: {e}"))?;
    let id = ottla_broker::state::random_uuid().to_string();
    // The tool reports what it writes; on this screen that would only be noise, unless it fails.
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let output = std::process::Command::new(program)
        .args(["kafka-storage", "format", "--config", &file, "--cluster-id", &id])
        .output()
        .map_err(|e| e.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("cannot format {DIR}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
