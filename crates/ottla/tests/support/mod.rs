//! A node of this build as a process of its own, and connections to it that may say anything.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod prometheus;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_protocol::wire::{Message, Reader, Writer};
use ottla_protocol::{ApiKey, frame};

/// How long anything may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);
const CLUSTER: &str = "b3R0bGEtdGVzdC1ub2RlLQ";

/// What the node has written to its log.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

pub struct Node {
    child: Child,
    log: Arc<Log>,
    pub bootstrap: String,
    pub http: String,
    pub dir: tempfile::TempDir,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ottla() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ottla"))
}

impl Node {
    pub fn start(settings: &[(&str, &str)]) -> Node {
        Node::start_under(settings, |dir| {
            let mut command = ottla();
            command.arg("server").arg(dir.join("server.properties"));
            command
        })
    }

    /// Starts the program that `command` makes for a directory with a `server.properties`.
    pub fn start_under(settings: &[(&str, &str)], command: impl FnOnce(&Path) -> Command) -> Node {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("data").display().to_string();
        let mut text = String::from(
            "process.roles=broker,controller\nnode.id=1\n\
             listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0\n\
             controller.listener.names=CONTROLLER\ncontroller.quorum.voters=1@127.0.0.1:0\n\
             offsets.topic.replication.factor=1\noffsets.topic.num.partitions=3\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=2\ngroup.initial.rebalance.delay.ms=0\n\
             ottla.http.listen=127.0.0.1:0\n",
        );
        if settings.iter().all(|(key, _)| *key != "log.dirs") {
            text.push_str(&format!("log.dirs={data}\n"));
        }
        for (key, value) in settings {
            text.push_str(&format!("{key}={}\n", value.replace("{dir}", &dir.path().display().to_string())));
        }
        std::fs::write(dir.path().join("server.properties"), text).expect("a file");
        let mut command = command(dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // A directory that is there already is of a cluster of its own.
        let given = settings.iter().find(|(key, _)| *key == "log.dirs").map(|(_, dir)| Path::new(dir));
        if !given.is_some_and(|dir| dir.join("meta.properties").exists()) {
            let formatted = ottla()
                .args(["kafka-storage", "format", "--ignore-formatted", "-t", CLUSTER, "-c"])
                .arg(dir.path().join("server.properties"))
                .output()
                .expect("the tool");
            assert!(formatted.status.success(), "{formatted:?}");
        }
        let mut child = command.spawn().expect("the node");
        let log = Arc::new(Log::default());
        let stderr = child.stderr.take().expect("its log");
        let shared = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let Ok(line) = line else { return };
                shared.lines.lock().expect("the log").push(line);
                shared.grown.notify_all();
            }
            shared.lines.lock().expect("the log").push("the node is gone".to_owned());
            shared.grown.notify_all();
        });
        let mut node = Node { child, log, bootstrap: String::new(), http: String::new(), dir };
        let end = |line: &str| line.contains(" started (") || line.contains("the node is gone");
        let last = node.wait_for_log(end);
        assert!(last.contains(" started ("), "{}", node.log_text());
        let lines = node.log_lines();
        let behind = |mark: &str| {
            let line = lines.iter().find(|l| l.contains(mark)).expect("an address");
            line.split(mark).nth(1).unwrap_or_default().to_owned()
        };
        (node.bootstrap, node.http) = (behind("PLAINTEXT://"), behind("http://"));
        node
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log_lines(&self) -> Vec<String> {
        self.log.lines.lock().expect("the log").clone()
    }

    pub fn log_text(&self) -> String {
        self.log_lines().join("\n")
    }

    /// Waits for a line of the log, old or new.
    pub fn wait_for_log(&self, wanted: impl Fn(&str) -> bool) -> String {
        self.wait_for_lines(1, wanted).swap_remove(0)
    }

    /// Waits until the log has so many such lines; gives all that it has then.
    pub fn wait_for_lines(&self, count: usize, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.log.lines.lock().expect("the log");
        loop {
            let found: Vec<String> = lines.iter().filter(|line| wanted(line)).cloned().collect();
            if found.len() >= count {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not in the log:\n{}", lines.join("\n"));
            lines = self.log.grown.wait_timeout(lines, left).expect("the log").0;
        }
    }

    /// A tool against this node.
    pub fn tool(&self, name: &str, args: &[&str]) -> Output {
        self.tool_with_input(name, args, "")
    }

    pub fn tool_with_input(&self, name: &str, args: &[&str], input: &str) -> Output {
        let mut child = ottla()
            .args([name, "--bootstrap-server", &self.bootstrap])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the tool");
        child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("input");
        child.wait_with_output().expect("its output")
    }

    /// As [`Node::tool`], which must end well; gives what it printed.
    pub fn tool_ok(&self, name: &str, args: &[&str]) -> String {
        let output = self.tool(name, args);
        assert!(output.status.success(), "{name} {args:?}: {output:?}\n{}", self.log_text());
        String::from_utf8(output.stdout).expect("text")
    }

    pub fn create_topic(&self, topic: &str, more: &[&str]) {
        let args = [&["--create", "--topic", topic], more].concat();
        self.tool_ok("kafka-topics", &args);
    }

    /// The page, as text.
    pub fn page(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.http).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: node\r\n\r\n").expect("a request");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("a response");
        let (head, body) = text.split_once("\r\n\r\n").expect("a body");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        body.to_owned()
    }

    pub fn metrics(&self) -> prometheus::Samples {
        prometheus::parse(&self.page("/metrics")).expect("a good page")
    }

    /// Asks for the page until a condition holds; gives that page.
    pub fn metrics_until(
        &self,
        what: &str,
        holds: impl Fn(&prometheus::Samples) -> bool,
    ) -> prometheus::Samples {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let samples = self.metrics();
            if holds(&samples) {
                return samples;
            }
            assert!(Instant::now() < deadline, "{what} never came about; the log:\n{}", self.log_text());
        }
    }

    /// Resident memory of the node.
    pub fn rss_bytes(&self) -> u64 {
        let path = PathBuf::from(format!("/proc/{}/status", self.pid()));
        let status = std::fs::read_to_string(path).expect("the node lives");
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("a size");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib * 1024
    }

    pub fn connect(&self) -> Wire {
        let stream = TcpStream::connect(&self.bootstrap).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        Wire { stream, next: 0 }
    }
}

/// A connection.
pub struct Wire {
    pub stream: TcpStream,
    next: i32,
}

impl Wire {
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        // The other side may have closed the connection already: what it does is seen when reading.
        let _ = self.stream.write_all(bytes);
    }

    /// The frame of a request, with its length.
    pub fn frame<Req: Message>(&mut self, api: ApiKey, version: i16, request: &Req) -> Vec<u8> {
        let mut w = Writer::new();
        request.encode(&mut w, version).expect("encodable");
        self.next += 1;
        frame::request_frame_of_parts(api, version, self.next, Some("test".into()), &[w.into_bytes()])
            .expect("a frame")
            .to_vec()
    }

    pub fn call<Req: Message, Resp: Message>(&mut self, api: ApiKey, version: i16, request: &Req) -> Resp {
        let frame = self.frame(api, version, request);
        self.send_bytes(&frame);
        let bytes = self.read_frame().expect("a response");
        let mut r = Reader::new(Bytes::from(bytes));
        assert_eq!(r.int32().expect("a correlation id"), self.next);
        if api.response_header_version(version) == 1 {
            let mut tags = r.tagged_fields().expect("tags");
            while r.next_tag(&mut tags).expect("a tag").is_some() {}
        }
        Resp::decode(&mut r, version).expect("a response")
    }

    /// The next response without its length; None when the connection was closed.
    pub fn read_frame(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let mut bytes = vec![0; usize::try_from(i32::from_be_bytes(length)).expect("a length")];
        self.stream.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Whether the other side closes the connection without another word.
    pub fn is_closed_without_answer(&mut self) -> bool {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(n) => n == 0,
            Err(e) => e.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    pub fn end(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}
