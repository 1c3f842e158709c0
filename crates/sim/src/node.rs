//! A node of the real binary, started and stopped by a test.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::load::Connection;

const START: Duration = Duration::from_secs(60);

/// A node with one log directory.
#[derive(Debug)]
pub struct Node {
    binary: PathBuf,
    properties: PathBuf,
    /// Where clients connect.
    pub address: String,
    child: Option<Child>,
    output: PathBuf,
}

fn failed(text: impl Into<String>) -> io::Error {
    io::Error::other(text.into())
}

impl Node {
    /// Formats `data` for a node whose settings and log are in `folder`.
    ///
    /// # Errors
    /// The system; the format tool.
    pub fn format(binary: &Path, folder: &Path, data: &Path, settings: &str) -> io::Result<Node> {
        let free = || TcpListener::bind("127.0.0.1:0").and_then(|listener| Ok(listener.local_addr()?.port()));
        let (port, controller) = (free()?, free()?);
        let properties = folder.join("server.properties");
        fs::create_dir_all(data)?;
        fs::write(
            &properties,
            format!(
                "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
                 listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
                 controller.listener.names=CONTROLLER\nlog.dirs={}\noffsets.topic.replication.factor=1\n\
                 transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n{settings}\n",
                data.display()
            ),
        )?;
        let node = Node {
            binary: binary.to_path_buf(),
            properties: properties.clone(),
            address: format!("127.0.0.1:{port}"),
            child: None,
            output: folder.join("node.log"),
        };
        let file = properties.display().to_string();
        node.tool(&["kafka-storage", "format", "-t", "c2ltLWNsdXN0ZXItLS0tLQ", "-c", &file])?;
        Ok(node)
    }

    /// Runs one of the binary's tools.
    ///
    /// # Errors
    /// The system; a tool that fails, with what it said.
    pub fn tool(&self, args: &[&str]) -> io::Result<String> {
        let out = Command::new(&self.binary).args(args).output()?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        if out.status.success() {
            return Ok(text);
        }
        Err(failed(format!("{}: {text}{}", args.join(" "), String::from_utf8_lossy(&out.stderr))))
    }

    /// Starts the node and waits until it accepts connections.
    ///
    /// # Errors
    /// The system; a node that ends or does not come up.
    pub fn start(&mut self) -> io::Result<()> {
        let output = File::options().create(true).append(true).open(&self.output)?;
        let child = Command::new(&self.binary)
            .arg("server")
            .arg(&self.properties)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let child = self.child.insert(child);
        let begun = Instant::now();
        while begun.elapsed() < START {
            if let Some(status) = child.try_wait()? {
                return Err(failed(format!("the node ended with {status}, see {}", self.output.display())));
            }
            if Connection::open(&self.address).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(failed("the node does not come up"))
    }

    /// Makes a topic of one replica.
    ///
    /// # Errors
    /// As [`Node::tool`].
    pub fn create_topic(&self, name: &str, partitions: i32, config: &str) -> io::Result<()> {
        let partitions = partitions.to_string();
        let mut args = vec!["kafka-topics", "--bootstrap-server", &self.address, "--create", "--topic", name];
        args.extend(["--partitions", &partitions, "--replication-factor", "1"]);
        if !config.is_empty() {
            args.extend(["--config", config]);
        }
        self.tool(&args).map(|_| ())
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// The system.
    pub fn kill(&mut self) -> io::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
