//! The systems that are compared: started as processes of their own, stopped by their ids.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::process::{self, Usage};

/// Kafka gives no answer before it has loaded all logs.
const START_PATIENCE: Duration = Duration::from_secs(600);
/// After it a node is killed.
pub const STOP_PATIENCE: Duration = Duration::from_secs(120);
/// Any id will do; both systems get the same.
const CLUSTER_ID: &str = "4L6g3nShT-eMCtK--X86sw";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum System {
    Ottla,
    Kafka,
    NisshiMemory,
    NisshiSqlite,
}

impl System {
    pub fn name(self) -> &'static str {
        match self {
            System::Ottla => "Ottla",
            System::Kafka => "Apache Kafka",
            System::NisshiMemory => "Nisshi (memory)",
            System::NisshiSqlite => "Nisshi (SQLite)",
        }
    }

    /// The systems that a word of `--against` stands for.
    pub fn parse(text: &str) -> Option<&'static [System]> {
        match text {
            "kafka" => Some(&[System::Kafka]),
            "nisshi" => Some(&[System::NisshiMemory, System::NisshiSqlite]),
            _ => None,
        }
    }

    pub fn is_nisshi(self) -> bool {
        matches!(self, System::NisshiMemory | System::NisshiSqlite)
    }
}

/// Where the programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    pub ottla: PathBuf,
    /// Class path of a Kafka broker; empty when there is none.
    pub kafka_classpath: String,
    /// Class path of Kafka's tools; empty when there is none.
    pub tools_classpath: String,
    /// The program `nisshi`; empty when there is none.
    pub nisshi: PathBuf,
}

/// A node that runs, or can be started again on the same data.
#[derive(Debug)]
pub struct Node {
    pub system: System,
    programs: Programs,
    dir: PathBuf,
    pub port: u16,
    child: Option<Child>,
    /// From the start of the process to its first answer.
    pub startup: Duration,
}

fn free_port() -> Result<u16, String> {
    let socket = TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    Ok(socket.local_addr().map_err(|e| e.to_string())?.port())
}

/// Sends ApiVersions of version 0 and waits for the answer.
fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
    let request = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
    let mut answer = [0; 8];
    stream.write_all(&request).is_ok() && stream.read_exact(&mut answer).is_ok()
}

impl Node {
    /// Formats a fresh directory under `base` and starts a node there. `extra` are more lines of `server.properties`.
    pub fn start(system: System, programs: &Programs, base: &Path, extra: &str) -> Result<Node, String> {
        let dir = base.join(format!(
            "{}-{}",
            system.name().replace([' ', '(', ')'], "-").to_lowercase(),
            std::process::id()
        ));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let (port, controller) = (free_port()?, free_port()?);
        let properties = dir.join("server.properties");
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             log.dirs={}/data\noffsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\ngroup.initial.rebalance.delay.ms=0\n{extra}",
            dir.display()
        );
        fs::write(&properties, text).map_err(|e| format!("{}: {e}", properties.display()))?;
        if !system.is_nisshi() {
            // Ottla's tool writes what Kafka's writes, and takes milliseconds.
            let format = Command::new(&programs.ottla)
                .args(["kafka-storage", "format", "-t", CLUSTER_ID, "-c"])
                .arg(&properties)
                .output()
                .map_err(|e| format!("{}: {e}", programs.ottla.display()))?;
            if !format.status.success() {
                return Err(String::from_utf8_lossy(&format.stderr).into_owned());
            }
        }
        let mut node =
            Node { system, programs: programs.clone(), dir, port, child: None, startup: Duration::ZERO };
        node.restart()?;
        Ok(node)
    }

    fn command(&self) -> Command {
        let properties = self.dir.join("server.properties");
        match self.system {
            System::Ottla => {
                let mut c = Command::new(&self.programs.ottla);
                c.arg("server").arg(properties);
                c
            }
            System::Kafka => {
                let mut c = Command::new("java");
                // What kafka-server-start.sh sets.
                c.args(["-Xmx1G", "-Xms1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]);
                c.args(["-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent"]);
                c.args(["-cp", &self.programs.kafka_classpath, "kafka.Kafka"]).arg(properties);
                c
            }
            System::NisshiMemory | System::NisshiSqlite => {
                // The path of the second is relative to the working directory.
                let engine = match self.system {
                    System::NisshiMemory => "memory://bench/",
                    _ => "sqlite://nisshi.db",
                };
                let mut c = Command::new(&self.programs.nisshi);
                c.args(["broker", "--kafka-cluster-id", CLUSTER_ID, "--storage-engine", engine]);
                c.arg("--kafka-listener-url").arg(format!("tcp://127.0.0.1:{}", self.port));
                c.arg("--kafka-advertised-listener-url").arg(format!("tcp://127.0.0.1:{}", self.port));
                // It writes a line for much of what it does.
                c.env("RUST_LOG", "error").current_dir(&self.dir);
                // As the others are told in their properties.
                c.env("GROUP_INITIAL_REBALANCE_DELAY", "0s");
                c
            }
        }
    }

    /// Starts the process on the data that is there, and waits for its first answer.
    pub fn restart(&mut self) -> Result<(), String> {
        let log = File::create(self.dir.join("log")).map_err(|e| e.to_string())?;
        let out = log.try_clone().map_err(|e| e.to_string())?;
        let began = Instant::now();
        let child = self
            .command()
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(log)
            .spawn()
            .map_err(|e| format!("{}: {e}", self.system.name()))?;
        self.child = Some(child);
        while began.elapsed() < START_PATIENCE {
            if answers(self.port) {
                self.startup = began.elapsed();
                return Ok(());
            }
            if let Some(Ok(Some(status))) = self.child.as_mut().map(Child::try_wait) {
                let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                return Err(format!("{} ended with {status}: {log}", self.system.name()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(format!("{} did not answer within {START_PATIENCE:?}", self.system.name()))
    }

    /// Where the partitions of this node are.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// An error when the process has ended by itself.
    pub fn check_alive(&mut self) -> Result<(), String> {
        match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => {
                let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                let told =
                    log.lines().find(|l| l.contains("ERROR") || l.contains("FATAL")).unwrap_or_default();
                Err(format!("{} ended with {status}: {told}", self.system.name()))
            }
            _ => Ok(()),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    pub fn usage(&self) -> Usage {
        process::usage(self.pid())
    }

    pub fn rss_mb(&self) -> f64 {
        process::rss_mb(self.pid())
    }

    pub fn open_files(&self) -> f64 {
        process::open_files(self.pid()) as f64
    }

    pub fn peak_mb(&self) -> f64 {
        process::peak_mb(self.pid())
    }

    /// An orderly stop.
    pub fn stop(&mut self) {
        self.end(Signal::TERM);
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    fn end(&mut self, signal: Signal) {
        let Some(mut child) = self.child.take() else { return };
        // The process is ours and has not been waited for, so that its id is still its own.
        if let Some(pid) = Pid::from_raw(child.id() as i32) {
            let _ = kill_process(pid, signal);
        }
        let deadline = Instant::now() + STOP_PATIENCE;
        while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
