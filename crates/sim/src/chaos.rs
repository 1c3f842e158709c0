//! A real node under load, killed or cut off from its disk, over and over. Nothing that was acknowledged may be lost, and
//! nothing stored twice.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ottla_testkit::rng::Rng;

use crate::load::{Connection, Producer, read_all, verify};
use crate::node::Node;

const TOPIC: &str = "chaos";
const PARTITIONS: i32 = 4;
const PRODUCERS: u32 = 8;
const VALUE_BYTES: usize = 200;
/// All that was written is read back after so many blows, and at the end.
const VERIFY_EVERY: u64 = 10;
const RETRY: Duration = Duration::from_millis(50);
/// Bytes of the file that holds the simulated device.
const DEVICE_BYTES: u64 = 1 << 30;

/// What to do, and with what.
#[derive(Debug)]
pub struct Options {
    /// `kill` or `power`.
    pub power: bool,
    /// Blows.
    pub times: u64,
    /// The node's binary.
    pub binary: PathBuf,
    /// The program that cuts a file system off.
    pub helper: PathBuf,
    /// For the moments of the blows.
    pub seed: u64,
}

fn failed(text: impl Into<String>) -> io::Error {
    io::Error::other(text.into())
}

/// Where the node keeps its data: a plain folder, or an ext4 in a file.
struct Device {
    folder: PathBuf,
    mount: Option<(PathBuf, PathBuf)>,
}

fn system(program: &str, args: &[&str]) -> io::Result<()> {
    let out = Command::new(program).args(args).output().map_err(|e| failed(format!("{program}: {e}")))?;
    if out.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    Err(failed(format!("{program} {}: {}", args.join(" "), said.trim())))
}

impl Device {
    fn plain(folder: &Path) -> Device {
        Device { folder: folder.to_path_buf(), mount: None }
    }

    fn ext4(folder: &Path) -> io::Result<Device> {
        let (image, point) = (folder.join("device.img"), folder.join("mnt"));
        fs::File::create(&image)?.set_len(DEVICE_BYTES)?;
        fs::create_dir_all(&point)?;
        system("mkfs.ext4", &["-q", "-F", &image.display().to_string()])?;
        let mut device = Device { folder: point.clone(), mount: None };
        device.mount = Some((image, point));
        device.attach()?;
        Ok(device)
    }

    fn attach(&self) -> io::Result<()> {
        let Some((image, point)) = &self.mount else { return Ok(()) };
        system("mount", &["-o", "loop", &image.display().to_string(), &point.display().to_string()])
    }

    fn cut(&self, helper: &Path) -> io::Result<()> {
        let helper = helper.display().to_string();
        system(&helper, &["shutdown-file-system", &self.folder.display().to_string()])
    }

    fn detach(&self) -> io::Result<()> {
        let Some((_, point)) = &self.mount else { return Ok(()) };
        let point = point.display().to_string();
        let begun = Instant::now();
        loop {
            match system("umount", &[&point]) {
                Err(_) if begun.elapsed() < Duration::from_secs(10) => std::thread::sleep(RETRY),
                other => return other,
            }
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some((_, point)) = &self.mount {
            let _ = Command::new("umount").args(["-l", &point.display().to_string()]).output();
        }
    }
}

/// Runs the blows; says on standard output what was acknowledged and what was found.
///
/// # Errors
/// What was lost or stored twice; that the machine cannot do it; the system.
pub fn run(options: &Options) -> io::Result<()> {
    let folder = std::env::temp_dir().join(format!("ottla-chaos-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let result = in_folder(options, &folder);
    if result.is_ok() {
        let _ = fs::remove_dir_all(&folder);
    } else {
        println!("what is left is in {}", folder.display());
    }
    result
}

fn in_folder(options: &Options, folder: &Path) -> io::Result<()> {
    let device = if options.power {
        Device::ext4(folder).map_err(|error| {
            failed(format!("chaos power cannot run here: it needs root, loop devices and ext4: {error}"))
        })?
    } else {
        Device::plain(folder)
    };
    let settings = if options.power { "log.flush.interval.messages=1" } else { "" };
    let mut node = Node::format(&options.binary, folder, &device.folder.join("data"), settings)?;
    node.start()?;
    node.create_topic(TOPIC, PARTITIONS, "")?;

    let mut rng = Rng::new(options.seed);
    let answered = AtomicU64::new(0);
    let acks = |number: u32| if number.is_multiple_of(4) { 1 } else { -1 };
    let producers: Vec<Arc<Mutex<Producer>>> = (0..PRODUCERS)
        .map(|number| {
            let partition = number as i32 % PARTITIONS;
            Arc::new(Mutex::new(Producer::new(number, TOPIC, partition, acks(number))))
        })
        .collect();
    let stop = AtomicBool::new(false);
    for blow in 1..=options.times {
        stop.store(false, Ordering::Relaxed);
        let before = answered.load(Ordering::Relaxed);
        let address = node.address.clone();
        let gone = AtomicBool::new(false);
        std::thread::scope(|scope| -> io::Result<()> {
            for producer in &producers {
                let (address, stop, gone, answered) = (&address, &stop, &gone, &answered);
                scope.spawn(move || {
                    let mut producer = producer.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    let depth = if producer.number.is_multiple_of(2) { 5 } else { 1 };
                    while !stop.load(Ordering::Relaxed) {
                        let written = Connection::open(address).and_then(|mut connection| {
                            producer.make_idempotent(&mut connection)?;
                            producer.run(&mut connection, depth, VALUE_BYTES, stop, gone, answered)
                        });
                        if written.is_err() {
                            std::thread::sleep(RETRY);
                        }
                    }
                });
            }
            // The blow falls in the middle of the load, which first has to be there.
            let begun = Instant::now();
            while answered.load(Ordering::Relaxed) == before && begun.elapsed() < Duration::from_secs(30) {
                std::thread::sleep(Duration::from_millis(5));
            }
            std::thread::sleep(Duration::from_millis(rng.below(300)));
            // A sync that is under way while the journal is aborted can return without an error, which no power cut does.
            gone.store(options.power, Ordering::SeqCst);
            let cut = if options.power { device.cut(&options.helper) } else { Ok(()) };
            // For a moment the node lives on with a disk that is gone: nothing of that may be acknowledged.
            if options.power {
                std::thread::sleep(Duration::from_millis(rng.below(50)));
            }
            let killed = node.kill();
            stop.store(true, Ordering::Relaxed);
            cut.and(killed)
        })?;
        device.detach()?;
        device.attach()?;
        if answered.load(Ordering::Relaxed) == before {
            return Err(failed(format!("blow {blow}: nothing was acknowledged before it")));
        }
        node.start()?;
        if blow.is_multiple_of(VERIFY_EVERY) || blow == options.times {
            let total =
                check(&node, &producers).map_err(|error| failed(format!("after blow {blow}: {error}")))?;
            println!("{blow} of {} blows: {total} acknowledged, none lost, none twice", options.times);
        }
    }
    node.kill()
}

fn check(node: &Node, producers: &[Arc<Mutex<Producer>>]) -> io::Result<u64> {
    let mut found = Vec::new();
    for partition in 0..PARTITIONS {
        // The first request can come before the node leads the partition again.
        let begun = Instant::now();
        let values = loop {
            let read = Connection::open(&node.address)
                .and_then(|mut connection| read_all(&mut connection, TOPIC, partition));
            match read {
                Err(error) if begun.elapsed() < Duration::from_secs(20) && is_passing(&error) => {
                    std::thread::sleep(RETRY);
                }
                other => break other?,
            }
        };
        found.extend(values);
    }
    verify(&found, producers).map_err(failed)
}

fn is_passing(error: &io::Error) -> bool {
    let text = error.to_string();
    text.contains("NotLeader") || text.contains("UnknownTopic") || text.contains("LeaderNotAvailable")
}
