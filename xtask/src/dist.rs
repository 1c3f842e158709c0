//! `cargo xtask dist`: a release build as a folder that looks like Kafka's: `dist/bin` with every tool's name, `dist/config`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// The names that Kafka's own `bin` folder has for what is here.
const NAMES: &[&str] = &[
    "kafka-acls",
    "kafka-broker-api-versions",
    "kafka-cluster",
    "kafka-configs",
    "kafka-console-consumer",
    "kafka-console-producer",
    "kafka-consumer-groups",
    "kafka-consumer-perf-test",
    "kafka-delete-records",
    "kafka-dump-log",
    "kafka-e2e-latency",
    "kafka-features",
    "kafka-get-offsets",
    "kafka-groups",
    "kafka-leader-election",
    "kafka-log-dirs",
    "kafka-metadata-quorum",
    "kafka-producer-perf-test",
    "kafka-server-start",
    "kafka-storage",
    "kafka-topics",
    "kafka-transactions",
];

const SERVER_PROPERTIES: &str = "\
# One node that is broker and controller. Every key of Kafka 4.4's server.properties is known here.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
# Metrics for Prometheus, /livez and /readyz.
#ottla.http.listen=127.0.0.1:9404
";

pub fn run() -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "-p", "ottla"])
        .current_dir(&root)
        .status()
        .map_err(|e| e.to_string())?;
    if !status.success() {
        return Err("the release build failed".into());
    }
    let text = |e: std::io::Error| e.to_string();
    let dist = root.join("dist");
    let _ = fs::remove_dir_all(&dist);
    fs::create_dir_all(dist.join("bin")).map_err(text)?;
    fs::create_dir_all(dist.join("config")).map_err(text)?;
    fs::copy(root.join("target/release/ottla"), dist.join("bin/ottla")).map_err(text)?;
    for name in NAMES {
        symlink("ottla", dist.join("bin").join(format!("{name}.sh"))).map_err(text)?;
    }
    fs::write(dist.join("config/server.properties"), SERVER_PROPERTIES).map_err(text)?;
    println!("{}", dist.display());
    Ok(())
}
