//! `cargo xtask bench`: this build and Apache Kafka, one after the other on the same machine under the same load, as
//! ratios. The load comes from Kafka's own Java tools; cost is what the broker's process used. `--against none` runs Ottla
//! alone; `--rounds N` alternates N times (default 2) and reports upper medians; `--report` writes docs/benchmarks.md,
//! `--skip-build` takes the release build that is there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::smoke::root;

/// Bytes of a record, and how many are produced and consumed for the figures by GB.
const RECORD_BYTES: u64 = 1024;
const BULK_RECORDS: u64 = 1_000_000;
const WARM_UP_RECORDS: u64 = 1_000_000;
const SINGLE_RECORDS: u64 = 100_000;
const PACED_SECONDS: u64 = 15;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum System {
    Ottla,
    Kafka,
}

impl System {
    fn name(self) -> &'static str {
        match self {
            System::Ottla => "Ottla",
            System::Kafka => "Apache Kafka 4.4.0",
        }
    }
}

/// One figure: what it is, its unit, whether a smaller one is better.
const FIGURES: &[(&str, &str)] = &[
    ("start to first answer", "ms"),
    ("RSS idle", "MB"),
    ("CPU per GB produced (1 KiB, acks=1)", "s"),
    ("CPU per GB consumed (1 KiB)", "s"),
    ("CPU per one-record produce request (100 B, acks=1)", "us"),
    ("produce p50 at 1,000 records/s (acks=all)", "ms"),
    ("produce p99 at 1,000 records/s (acks=all)", "ms"),
    ("produce p50 at 10,000 records/s (acks=all)", "ms"),
    ("produce p99 at 10,000 records/s (acks=all)", "ms"),
    ("CPU per record at 10,000 records/s", "us"),
    ("RSS after the load", "MB"),
];

type Row = BTreeMap<&'static str, f64>;

pub fn run(args: &[String]) -> Result<(), String> {
    let alone = args.windows(2).any(|w| w[0] == "--against" && w[1] == "none");
    let rounds =
        args.windows(2).find(|w| w[0] == "--rounds").and_then(|w| w[1].parse().ok()).unwrap_or(2usize);
    let tools = classpath("pom.xml", "stock-classpath")?;
    let broker = if alone { String::new() } else { classpath("kafka-broker.xml", "kafka-classpath")? };
    if !args.iter().any(|a| a == "--skip-build") {
        let build = Command::new(env!("CARGO"))
            .args(["build", "--release", "-p", "ottla"])
            .current_dir(root())
            .status();
        if !build.is_ok_and(|s| s.success()) {
            return Err("the release build failed".into());
        }
    }
    let systems: &[System] = if alone { &[System::Ottla] } else { &[System::Ottla, System::Kafka] };
    let mut all: BTreeMap<System, Vec<Row>> = BTreeMap::new();
    for round in 0..rounds {
        for system in systems {
            println!("round {} of {rounds}: {}", round + 1, system.name());
            let row = measure(*system, &tools, &broker)?;
            for (name, unit) in FIGURES {
                if let Some(value) = row.get(name) {
                    println!("  {name}: {value:.2} {unit}");
                }
            }
            all.entry(*system).or_default().push(row);
        }
    }
    let table = table(&all);
    println!("\n{table}");
    if args.iter().any(|a| a == "--report") {
        report(&table, rounds)?;
    }
    Ok(())
}

fn classpath(pom: &str, cache: &str) -> Result<String, String> {
    let file = root().join("target").join(cache);
    if !file.exists() {
        let status = Command::new("mvn")
            .args(["-q", "-B", "-f"])
            .arg(root().join("xtask/java").join(pom))
            .arg("dependency:build-classpath")
            .arg(format!("-Dmdep.outputFile={}", file.display()))
            .status()
            .map_err(|e| format!("mvn: {e}"))?;
        if !status.success() {
            return Err("mvn could not bring Kafka's jars".into());
        }
    }
    Ok(fs::read_to_string(file).map_err(|e| e.to_string())?.trim().to_owned())
}

struct Broker {
    child: Child,
    dir: PathBuf,
    port: u16,
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Broker {
    /// User and system time so far, in seconds.
    fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let rest = stat.rsplit_once(')').map_or("", |(_, r)| r);
        rest.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / 100.0
    }

    fn rss_mb(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        // Anonymous memory: what the page cache holds for everybody does not count.
        let line = status.lines().find(|l| l.starts_with("RssAnon")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    }
}

fn start(system: System, kafka: &str) -> Result<(Broker, Duration), String> {
    let free = || -> Result<u16, String> {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
        Ok(socket.local_addr().map_err(|e| e.to_string())?.port())
    };
    let (port, controller) = (free()?, free()?);
    let dir = std::env::temp_dir().join(format!("ottla-bench-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
    let properties = dir.join("server.properties");
    fs::write(
        &properties,
        format!(
            "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\ncontroller.quorum.voters=1@127.0.0.1:{controller}\nlog.dirs={}/data\n\
             offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n",
            dir.display()
        ),
    )
    .map_err(|e| e.to_string())?;
    let ottla = root().join("target/release/ottla");
    let format = Command::new(&ottla)
        .args(["kafka-storage", "format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c"])
        .arg(&properties)
        .output()
        .map_err(|e| e.to_string())?;
    if !format.status.success() {
        return Err(String::from_utf8_lossy(&format.stderr).into_owned());
    }
    let log = File::create(dir.join("log")).map_err(|e| e.to_string())?;
    let mut command = match system {
        System::Ottla => {
            let mut c = Command::new(&ottla);
            c.arg("server");
            c
        }
        System::Kafka => {
            let mut c = Command::new("java");
            // What kafka-server-start.sh sets.
            c.args(["-Xmx1G", "-Xms1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]);
            c.args(["-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent"]);
            c.args(["-cp", kafka, "kafka.Kafka"]);
            c
        }
    };
    let began = Instant::now();
    let child = command
        .arg(&properties)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|e| e.to_string())?;
    let broker = Broker { child, dir, port };
    while began.elapsed() < Duration::from_secs(60) {
        if answers(port) {
            return Ok((broker, began.elapsed()));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Err(format!("{} did not start", system.name()))
}

/// Sends ApiVersions of version 0 and waits for the answer.
fn answers(port: u16) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
    let request = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
    let mut answer = [0; 8];
    stream.write_all(&request).is_ok() && stream.read_exact(&mut answer).is_ok()
}

fn java(tools: &str, class: &str, args: &[&str]) -> Result<String, String> {
    let out = Command::new("java")
        .args(["-Xmx512m", "-cp", tools, class])
        .args(args)
        .output()
        .map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if out.status.success() {
        Ok(text)
    } else {
        Err(format!("{class}: {text}{}", String::from_utf8_lossy(&out.stderr)))
    }
}

fn measure(system: System, tools: &str, kafka: &str) -> Result<Row, String> {
    let (broker, startup) = start(system, kafka)?;
    let bootstrap = format!("127.0.0.1:{}", broker.port);
    let mut row = Row::new();
    row.insert("start to first answer", startup.as_secs_f64() * 1000.0);
    std::thread::sleep(Duration::from_secs(2));
    row.insert("RSS idle", broker.rss_mb());
    let produce = |topic: &str, records: u64, size: u64, throughput: &str, properties: &[&str]| {
        let (records, size) = (records.to_string(), size.to_string());
        let mut args = vec!["--bootstrap-server", &bootstrap, "--topic", topic, "--num-records", &records];
        args.extend(["--record-size", &size, "--throughput", throughput, "--command-property"]);
        let mut first = true;
        for p in properties {
            if !first {
                args.push("--command-property");
            }
            first = false;
            args.push(p);
        }
        java(tools, "org.apache.kafka.tools.ProducerPerformance", &args)
    };
    let bulk = ["acks=1", "linger.ms=5", "batch.size=65536"];
    let gb = |records: u64| (records * RECORD_BYTES) as f64 / 1e9;
    produce("bulk", WARM_UP_RECORDS, RECORD_BYTES, "-1", &bulk)?;
    let before = broker.cpu();
    produce("bulk", BULK_RECORDS, RECORD_BYTES, "-1", &bulk)?;
    row.insert("CPU per GB produced (1 KiB, acks=1)", (broker.cpu() - before) / gb(BULK_RECORDS));
    let before = broker.cpu();
    let total = WARM_UP_RECORDS + BULK_RECORDS;
    java(
        tools,
        "org.apache.kafka.tools.ConsumerPerformance",
        &[
            "--bootstrap-server",
            &bootstrap,
            "--topic",
            "bulk",
            "--num-records",
            &total.to_string(),
            "--timeout",
            "60000",
        ],
    )?;
    row.insert("CPU per GB consumed (1 KiB)", (broker.cpu() - before) / gb(total));
    let before = broker.cpu();
    produce("single", SINGLE_RECORDS, 100, "-1", &["acks=1", "linger.ms=0", "batch.size=0"])?;
    row.insert(
        "CPU per one-record produce request (100 B, acks=1)",
        (broker.cpu() - before) * 1e6 / SINGLE_RECORDS as f64,
    );
    for rate in [1_000u64, 10_000] {
        let records = rate * PACED_SECONDS;
        let before = broker.cpu();
        let said = produce("paced", records, RECORD_BYTES, &rate.to_string(), &["acks=all", "linger.ms=1"])?;
        let cpu = broker.cpu() - before;
        let last = said.lines().rfind(|l| l.contains("50th")).unwrap_or_default();
        let percentile = |name: &str| {
            last.split(',')
                .find(|p| p.contains(name))
                .and_then(|p| p.split_whitespace().next()?.parse::<f64>().ok())
        };
        let (p50, p99) = (percentile("50th").unwrap_or(f64::NAN), percentile("99th").unwrap_or(f64::NAN));
        if rate == 1_000 {
            row.insert("produce p50 at 1,000 records/s (acks=all)", p50);
            row.insert("produce p99 at 1,000 records/s (acks=all)", p99);
        } else {
            row.insert("produce p50 at 10,000 records/s (acks=all)", p50);
            row.insert("produce p99 at 10,000 records/s (acks=all)", p99);
            row.insert("CPU per record at 10,000 records/s", cpu * 1e6 / records as f64);
        }
    }
    row.insert("RSS after the load", broker.rss_mb());
    Ok(row)
}

fn spread(rows: &[Row], name: &str) -> Option<(f64, f64, f64)> {
    let mut values: Vec<f64> = rows.iter().filter_map(|r| r.get(name).copied()).collect();
    values.sort_by(f64::total_cmp);
    Some((*values.first()?, values[values.len() / 2], *values.last()?))
}

fn table(all: &BTreeMap<System, Vec<Row>>) -> String {
    let mut out = String::from(
        "| figure | unit | Ottla | Apache Kafka 4.4.0 | Ottla / Kafka |\n|---|---|---|---|---|\n",
    );
    let empty = Vec::new();
    for (name, unit) in FIGURES {
        let of = |s: System| spread(all.get(&s).unwrap_or(&empty), name);
        let show = |v: Option<(f64, f64, f64)>| {
            v.map_or("-".to_owned(), |(low, mid, high)| format!("{mid:.2} ({low:.2} to {high:.2})"))
        };
        let ratio = match (of(System::Ottla), of(System::Kafka)) {
            (Some((_, o, _)), Some((_, k, _))) if k > 0.0 => format!("{:.3}", o / k),
            _ => "-".to_owned(),
        };
        out += &format!(
            "| {name} | {unit} | {} | {} | {ratio} |\n",
            show(of(System::Ottla)),
            show(of(System::Kafka))
        );
    }
    out
}

fn report(table: &str, rounds: usize) -> Result<(), String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find(|l| l.starts_with("model name")).and_then(|l| l.split(':').nth(1)).unwrap_or(" ?");
    let cores = cpu.lines().filter(|l| l.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let text = format!(
        "# Benchmarks\n\n`cargo xtask bench --rounds {rounds} --report` wrote this page. Each system runs as its own process with a fresh data\n\
         folder and the same `server.properties`; rounds alternate; a cell is the upper median with the least and the greatest value.\n\
         CPU is user and system time of the broker's process; RSS is its anonymous memory. The load is Kafka's own\n\
         `kafka-producer-perf-test` and `kafka-consumer-perf-test` on the same machine, so that latencies include a client that\n\
         competes for the same cores, and are whole milliseconds. Kafka has its default heap of 1 GB and {} MB of the same load to warm up.\n\n\
         Machine: {cores} cores,{model}; kernel {}.\n\n{table}\n\
         ## What is missing\n\n\
         End-to-end latency by open-loop load in microseconds, and everything with more than one client; they belong to a bench crate of their own.\n",
        WARM_UP_RECORDS * RECORD_BYTES / 1_000_000,
        kernel.trim()
    );
    let path: &Path = &root().join("docs/benchmarks.md");
    fs::write(path, text).map_err(|e| e.to_string())
}
