//! `cargo xtask smoke`: a node of this build against programs that none of us wrote: kcat (librdkafka) and Apache
//! Kafka's own Java tools. Ends with `N passed, N failed`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::java::classpath;

/// How long one stock program may take.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The programs that the smoke test needs; installed where the machine lets us.
pub struct Stock {
    classpath: String,
}

impl Stock {
    pub fn install() -> Result<Stock, String> {
        if !works("kcat", &["-V"]) {
            run_quiet("apt-get", &["update", "-qq"])
                .and_then(|()| run_quiet("apt-get", &["install", "-y", "-qq", "kcat"]))
                .map_err(|e| {
                    format!("kcat is needed (Debian package kcat) and could not be installed: {e}")
                })?;
        }
        if !works("java", &["-version"]) || !works("mvn", &["-version"]) {
            run_quiet("apt-get", &["update", "-qq"])
                .and_then(|()| {
                    run_quiet("apt-get", &["install", "-y", "-qq", "openjdk-17-jre-headless", "maven"])
                })
                .map_err(|e| format!("java 17 and mvn are needed and could not be installed: {e}"))?;
        }
        let classpath = classpath("pom.xml", "stock-classpath")?;
        Ok(Stock { classpath })
    }

    fn java(&self, class: &str, args: &[&str], input: Option<&str>) -> Result<String, String> {
        let mut all = vec!["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", self.classpath.trim(), class];
        all.extend(args);
        output("java", &all, input)
    }
}

/// What the C libraries of the bench crate (librdkafka) are built with.
pub fn install_build_tools() -> Result<(), String> {
    if works("make", &["--version"]) && works("c++", &["--version"]) {
        return Ok(());
    }
    run_quiet("apt-get", &["update", "-qq"])
        .and_then(|()| run_quiet("apt-get", &["install", "-y", "-qq", "make", "g++"]))
        .map_err(|e| format!("make and a C++ compiler are needed and could not be installed: {e}"))
}

fn works(program: &str, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

fn run_quiet(program: &str, args: &[&str]) -> Result<(), String> {
    let out = Command::new(program).args(args).output().map_err(|e| format!("{program}: {e}"))?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&out.stderr)))
}

/// Runs a program with a time limit; standard output when it ends well.
fn output(program: &str, args: &[&str], input: Option<&str>) -> Result<String, String> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{program}: {e}"))?;
    if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
        let text = text.to_owned();
        std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    }
    let id = child.id();
    let (done, finished) = std::sync::mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        if finished.recv_timeout(PATIENCE).is_err() {
            let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
        }
    });
    let out = child.wait_with_output().map_err(|e| e.to_string())?;
    let _ = done.send(());
    let _ = watchdog.join();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if out.status.success() {
        return Ok(text);
    }
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    Err(format!("{program} ended with {}: {text}{said}", out.status))
}

/// A node in a directory of its own on a port that the system chose.
struct Node {
    binary: PathBuf,
    dir: PathBuf,
    port: u16,
    controller_port: u16,
    child: Option<Child>,
}

fn free_port() -> Result<u16, String> {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    Ok(socket.local_addr().map_err(|e| e.to_string())?.port())
}

impl Node {
    fn new(binary: &Path) -> Result<Node, String> {
        let dir = std::env::temp_dir().join(format!("ottla-smoke-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
        let mut node = Node {
            binary: binary.to_owned(),
            dir,
            port: free_port()?,
            controller_port: free_port()?,
            child: None,
        };
        let properties = format!(
            "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://127.0.0.1:{0},CONTROLLER://127.0.0.1:{1}\n\
             controller.listener.names=CONTROLLER\ncontroller.quorum.voters=1@127.0.0.1:{1}\nlog.dirs={2}/data\n\
             offsets.topic.replication.factor=1\noffsets.topic.num.partitions=5\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=5\ngroup.initial.rebalance.delay.ms=0\nnum.partitions=2\n",
            node.port,
            node.controller_port,
            node.dir.display()
        );
        fs::write(node.properties(), properties).map_err(|e| e.to_string())?;
        let binary = node.binary.display().to_string();
        let file = node.properties().display().to_string();
        output(&binary, &["kafka-storage", "format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c", &file], None)?;
        node.start()?;
        Ok(node)
    }

    fn properties(&self) -> PathBuf {
        self.dir.join("server.properties")
    }

    fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn start(&mut self) -> Result<(), String> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("log"))
            .map_err(|e| e.to_string())?;
        let child = Command::new(&self.binary)
            .arg("server")
            .arg(self.properties())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|e| e.to_string())?;
        self.child = Some(child);
        let began = Instant::now();
        let bootstrap = self.bootstrap();
        while began.elapsed() < Duration::from_secs(30) {
            if works("kcat", &["-b", &bootstrap, "-L", "-m", "1"]) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(format!("the node did not answer; its log: {}", self.log()))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    fn stop(&mut self, signal: &str) -> Result<(), String> {
        if let Some(mut child) = self.child.take() {
            run_quiet("kill", &[signal, &child.id().to_string()])?;
            child.wait().map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    fn restart(&mut self, signal: &str) -> Result<(), String> {
        self.stop(signal)?;
        self.start()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.stop("-KILL");
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn lines(n: usize) -> String {
    (0..n).map(|i| format!("record-{i}\n")).collect()
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().filter(|l| !l.is_empty()).collect();
    lines.sort_unstable();
    lines
}

fn same(got: &str, want: &str) -> Result<(), String> {
    let (got, want) = (sorted(got), sorted(want));
    if got == want {
        return Ok(());
    }
    Err(format!("{} records instead of {}", got.len(), want.len()))
}

type Case = fn(&mut Node, &Stock) -> Result<(), String>;

const CONSOLE_PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";

const CASES: &[(&str, Case)] = &[
    ("kcat_reads_back_what_it_wrote_in_every_codec", |node, _| {
        let b = node.bootstrap();
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let topic = format!("kcat-{codec}");
            let text = lines(5_000);
            output("kcat", &["-b", &b, "-P", "-t", &topic, "-z", codec], Some(&text))?;
            same(&output("kcat", &["-b", &b, "-C", "-t", &topic, "-e", "-q"], None)?, &text)?;
        }
        Ok(())
    }),
    ("java_tools_create_produce_and_consume_in_a_group", |node, stock| {
        let b = node.bootstrap();
        let made = stock.java(
            "org.apache.kafka.tools.TopicCommand",
            &["--bootstrap-server", &b, "--create", "--topic", "java", "--partitions", "3"],
            None,
        )?;
        if !made.contains("Created topic java.") {
            return Err(made);
        }
        let text = lines(2_000);
        stock.java(CONSOLE_PRODUCER, &["--bootstrap-server", &b, "--topic", "java"], Some(&text))?;
        for protocol in ["classic", "consumer"] {
            let group = format!("group-{protocol}");
            let property = format!("group.protocol={protocol}");
            let got = stock.java(
                CONSOLE_CONSUMER,
                &[
                    "--bootstrap-server",
                    &b,
                    "--topic",
                    "java",
                    "--from-beginning",
                    "--group",
                    &group,
                    "--max-messages",
                    "2000",
                    "--timeout-ms",
                    "60000",
                    "--command-property",
                    &property,
                ],
                None,
            )?;
            same(&got, &text)?;
            let described = stock.java(
                "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
                &["--bootstrap-server", &b, "--describe", "--group", &group],
                None,
            )?;
            let lag: i64 = described
                .lines()
                .filter(|l| l.starts_with(&group))
                .filter_map(|l| l.split_whitespace().nth(5)?.parse::<i64>().ok())
                .sum();
            if lag != 0 || !described.contains("java") {
                return Err(described);
            }
        }
        Ok(())
    }),
    ("what_is_read_written_and_committed_in_transactions_is_there_once", |node, stock| {
        let b = node.bootstrap();
        let text = lines(1_000);
        stock.java(CONSOLE_PRODUCER, &["--bootstrap-server", &b, "--topic", "copy-in"], Some(&text))?;
        // Small transactions, a part of which is aborted at random: each begins while the one before is ending.
        let said = stock.java(
            "org.apache.kafka.tools.TransactionalMessageCopier",
            &[
                "--broker-list",
                &b,
                "--input-topic",
                "copy-in",
                "--input-partition",
                "0",
                "--output-topic",
                "copy-out",
                "--max-messages",
                "1000",
                "--transaction-size",
                "5",
                "--consumer-group",
                "copiers",
                "--transactional-id",
                "copier",
                "--group-mode",
                "--enable-random-aborts",
            ],
            None,
        )?;
        if !said.contains("\"remaining\":0}") {
            return Err(said.lines().last().unwrap_or_default().to_owned());
        }
        let got = stock.java(
            CONSOLE_CONSUMER,
            &[
                "--bootstrap-server",
                &b,
                "--topic",
                "copy-out",
                "--from-beginning",
                "--max-messages",
                "1000",
                "--timeout-ms",
                "30000",
                "--isolation-level",
                "read_committed",
            ],
            None,
        )?;
        same(&got, &text)
    }),
    ("a_transaction_is_seen_when_it_is_committed", |node, stock| {
        let b = node.bootstrap();
        let said = stock.java(
            "org.apache.kafka.tools.ProducerPerformance",
            &[
                "--bootstrap-server",
                &b,
                "--topic",
                "txn",
                "--num-records",
                "3000",
                "--record-size",
                "100",
                "--throughput",
                "-1",
                "--transactional-id",
                "t",
                "--transaction-duration-ms",
                "50",
            ],
            None,
        )?;
        if !said.contains("3000 records sent") {
            return Err(said);
        }
        let got = stock.java(
            CONSOLE_CONSUMER,
            &[
                "--bootstrap-server",
                &b,
                "--topic",
                "txn",
                "--from-beginning",
                "--max-messages",
                "3000",
                "--timeout-ms",
                "30000",
                "--isolation-level",
                "read_committed",
            ],
            None,
        )?;
        if got.lines().count() == 3000 { Ok(()) } else { Err(format!("{} records", got.lines().count())) }
    }),
    ("a_restart_and_a_kill_lose_nothing_that_was_acknowledged", |node, stock| {
        let b = node.bootstrap();
        let mut acknowledged = Vec::new();
        for (round, signal) in ["-TERM", "-KILL", "-KILL"].into_iter().enumerate() {
            let prefix = round.to_string();
            let classpath = stock.classpath.trim().to_owned();
            let mut producer = Command::new("java")
                .args(["-Xmx256m", "-cp", &classpath, "org.apache.kafka.tools.VerifiableProducer"])
                .args([
                    "--bootstrap-server",
                    &b,
                    "--topic",
                    "durable",
                    "--acks",
                    "-1",
                    "--max-messages",
                    "30000",
                ])
                .args(["--value-prefix", &prefix, "--throughput", "15000"])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .map_err(|e| e.to_string())?;
            let stdout = producer.stdout.take().ok_or("no output")?;
            let reader = std::thread::spawn(move || {
                let acked = |l: &String| l.contains("producer_send_success");
                let value = |l: String| Some(l.split("\"value\":\"").nth(1)?.split('"').next()?.to_owned());
                BufReader::new(stdout)
                    .lines()
                    .map_while(Result::ok)
                    .filter(acked)
                    .filter_map(value)
                    .collect::<Vec<_>>()
            });
            std::thread::sleep(Duration::from_millis(1_800));
            node.restart(signal)?;
            let status = producer.wait().map_err(|e| e.to_string())?;
            let acked = reader.join().map_err(|_| "the reader failed")?;
            // This producer does not retry: what was under way at the stop fails and may be there or not.
            if acked.len() < 15_000 {
                return Err(format!("{signal}: {} of 30000 acknowledged, {status}", acked.len()));
            }
            acknowledged.extend(acked);
        }
        let got = output("kcat", &["-b", &b, "-C", "-t", "durable", "-e", "-q"], None)?;
        acknowledged.sort();
        let got = sorted(&got);
        let mut unique = got.clone();
        unique.dedup();
        if unique.len() != got.len() {
            return Err(format!("{} records are there twice", got.len() - unique.len()));
        }
        println!("  {} records acknowledged, {} there", acknowledged.len(), unique.len());
        let missing = acknowledged.iter().filter(|v| unique.binary_search(&v.as_str()).is_err()).count();
        if missing == 0 { Ok(()) } else { Err(format!("{missing} acknowledged records are gone")) }
    }),
    ("kafkas_own_dump_log_finds_nothing_wrong", |node, stock| {
        node.stop("-TERM")?;
        let mut files = Vec::new();
        for dir in fs::read_dir(node.dir.join("data")).map_err(|e| e.to_string())?.filter_map(Result::ok) {
            for file in fs::read_dir(dir.path()).into_iter().flatten().filter_map(Result::ok) {
                let path = file.path();
                if path.extension().is_some_and(|e| e == "log" || e == "index" || e == "timeindex")
                    && !path.to_string_lossy().contains("__cluster_metadata")
                {
                    files.push(path.display().to_string());
                }
            }
        }
        let of =
            |kind: &str| files.iter().filter(|f| f.ends_with(kind)).cloned().collect::<Vec<_>>().join(",");
        let class = "org.apache.kafka.tools.DumpLogSegments";
        let logs =
            stock.java(class, &["--deep-iteration", "--print-data-log", "--files", &of(".log")], None)?;
        for bad in ["isvalid: false", "Invalid", "corrupt", "mismatch"] {
            if let Some(line) = logs.lines().find(|l| l.contains(bad)) {
                return Err(line.to_owned());
            }
        }
        let indexes = stock.java(
            class,
            &["--index-sanity-check", "--files", &format!("{},{}", of(".index"), of(".timeindex"))],
            None,
        )?;
        node.start()?;
        let checked = indexes.lines().filter(|l| l.contains("passed sanity check")).count();
        if checked == 0 || !logs.contains("record-4999") { Err(indexes) } else { Ok(()) }
    }),
];

/// Runs every case against one node.
pub fn run(binary: &Path) -> Result<(), String> {
    let stock = Stock::install()?;
    let mut node = Node::new(binary)?;
    let mut failed = 0;
    for (name, case) in CASES {
        let began = Instant::now();
        match case(&mut node, &stock) {
            Ok(()) => println!("smoke {name} ... ok ({:.1} s)", began.elapsed().as_secs_f64()),
            Err(problem) => {
                failed += 1;
                println!("smoke {name} ... FAILED\n{problem}");
                if node.child.is_none() {
                    node.start()?;
                }
            }
        }
    }
    println!("{} passed, {failed} failed", CASES.len() - failed);
    if failed == 0 {
        Ok(())
    } else {
        Err(format!("{failed} smoke cases failed; the node's log:\n{}", node.log()))
    }
}
