//! The machine under the systems: what it is, and how each turn finds it.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// What the page cache is warmed by before a turn: about what it grows by in one, and less than the kernel lets wait unwritten.
const WARM_BYTES: u64 = 3 << 30;

/// Free bytes where `dir` is; scenarios write gigabytes.
pub fn free_bytes(dir: &Path) -> u64 {
    rustix::fs::statvfs(dir).map_or(0, |s| s.f_bavail * s.f_frsize)
}

/// Makes the machine as the turn of every system finds it: nothing waits to be written, the page cache is empty (with the
/// right to empty it), and memory that it can grow into has been used before ([`warm_page_cache`]). Returns whether the page
/// cache could be emptied.
pub fn settle(dir: &Path) -> bool {
    rustix::fs::sync();
    let dropped = drop_page_cache();
    warm_page_cache(dir, WARM_BYTES);
    dropped
}

/// Empties the page cache; false without the right to.
pub fn drop_page_cache() -> bool {
    rustix::fs::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}

/// Has the page cache take `bytes` (or half of what is free) for a file in `dir`, and lets go of them: they are what it takes
/// next. A hypervisor takes memory back that nobody uses and then has to find it again for every page that is written to:
/// 1.5 s of CPU a gigabyte was seen where writing to pages that are there takes 0.2 s. Memory that a process has used and
/// freed does not help, since the kernel takes other pages first.
pub fn warm_page_cache(dir: &Path, bytes: u64) {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let free_kb: u64 = text
        .lines()
        .find_map(|l| l.strip_prefix("MemFree:")?.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    // Half of it at most: the machine may have other users.
    let bytes = bytes.min(free_kb * 1024 / 2);
    let path = dir.join(format!("ottla-bench-pages-{}", std::process::id()));
    if let Ok(mut file) = std::fs::File::create(&path) {
        let piece = vec![1u8; 1 << 20];
        for _ in 0..bytes / piece.len() as u64 {
            if file.write_all(&piece).is_err() {
                break;
            }
        }
    }
    let _ = std::fs::remove_file(&path);
}

/// A thread that does nothing but sleep a millisecond at a time, and puts down how late it woke. What it sees, every other
/// thread sees that waits for its turn: no latency is less than that of the machine.
#[derive(Debug)]
pub struct Sleeper {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Histogram<u64>>,
}

impl Sleeper {
    const NAP: Duration = Duration::from_millis(1);

    pub fn start() -> Result<Sleeper, String> {
        let mut late = Histogram::new_with_bounds(1, 60_000_000, 3).map_err(|e| e.to_string())?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                let began = Instant::now();
                std::thread::sleep(Self::NAP);
                late.saturating_record(began.elapsed().saturating_sub(Self::NAP).as_micros() as u64);
            }
            late
        });
        Ok(Sleeper { stop, thread })
    }

    /// Microseconds.
    pub fn end(self) -> Histogram<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Lets go of the cached pages of the files below `dir`, which must be on the disk for that.
pub fn evict(dir: &Path) {
    rustix::fs::sync();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            evict(&path);
        } else if let Ok(file) = std::fs::File::open(&path) {
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        }
    }
}

/// Bytes of the files below `dir`.
pub fn bytes_below(dir: &Path) -> u64 {
    std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(m) if m.is_dir() => bytes_below(&entry.path()),
            Ok(m) => m.len(),
            Err(_) => 0,
        })
        .sum()
}

/// The file system of `dir`, and of ext whether it keeps a journal: that decides what a sync costs.
fn file_system(dir: &Path) -> String {
    let dir = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    // The mount that is nearest; of several on the same place the last hides the others.
    let mount = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?, words.next()?))
        })
        .filter(|(_, place, _)| dir.starts_with(place))
        .max_by_key(|(_, place, _)| place.len());
    let Some((device, _, kind)) = mount else { return "?".to_owned() };
    if kind != "ext4" {
        return kind.to_owned();
    }
    let device = device.rsplit('/').next().unwrap_or(device);
    let journals = std::fs::read_dir("/proc/fs/jbd2").into_iter().flatten().flatten();
    let mut names = journals.filter_map(|entry| entry.file_name().into_string().ok());
    let kept = names.any(|name| name.strip_prefix(device).is_some_and(|inode| inode.starts_with('-')));
    format!("ext4 {} a journal", if kept { "with" } else { "without" })
}

/// Processor, memory, kernel and the file system of `dir` in a line.
pub fn describe(dir: &Path) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name")?.split_once(':'))
        .map_or("?", |(_, m)| m.trim());
    let cores = cpu.lines().filter(|l| l.starts_with("processor")).count();
    let memory = read("/proc/meminfo");
    let gb = memory
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1e6;
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} cores, {model}, {gb:.0} GB; Linux {}; data on {}", kernel.trim(), file_system(dir))
}

/// Day and hour in UTC, as in 2026-01-31 14:05.
pub fn now() -> String {
    output("date", &["-u", "+%Y-%m-%d %H:%M"])
}

/// The commit that is checked out, with a `+` when files differ from it.
pub fn commit() -> String {
    let changed =
        !output("git", &["status", "--porcelain", "--untracked-files=no"]).trim_matches('?').is_empty();
    format!("{}{}", output("git", &["rev-parse", "--short=10", "HEAD"]), if changed { "+" } else { "" })
}

fn output(program: &str, args: &[&str]) -> String {
    match std::process::Command::new(program).args(args).output() {
        Ok(o) if o.status.success() => String::from_utf8_lossy(&o.stdout).trim().to_owned(),
        _ => "?".to_owned(),
    }
}
