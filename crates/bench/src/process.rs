//! What a process has used, as the kernel counts it.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

/// Counters of a process since it started.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// User time, seconds.
    pub user_s: f64,
    /// System time, seconds.
    pub system_s: f64,
    /// Bytes that the process caused to be written to a disk.
    pub written_bytes: u64,
    /// System calls that read or write.
    pub io_calls: u64,
    /// Voluntary and involuntary context switches of all threads that are alive.
    pub switches: u64,
}

impl Usage {
    pub fn cpu_s(&self) -> f64 {
        self.user_s + self.system_s
    }

    /// What was used between `earlier` and now.
    pub fn since(&self, earlier: &Usage) -> Usage {
        Usage {
            user_s: self.user_s - earlier.user_s,
            system_s: self.system_s - earlier.system_s,
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
            io_calls: self.io_calls.saturating_sub(earlier.io_calls),
            switches: self.switches.saturating_sub(earlier.switches),
        }
    }
}

fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|l| l.strip_prefix(name)?.strip_prefix(':')?.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// User and system time of a process, then those of its children that have ended, in seconds, from its `stat`.
fn cpu_times_s(stat: &str) -> [f64; 4] {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut ticks = after_name.split_whitespace().skip(11);
    let per_second = rustix::param::clock_ticks_per_second().max(1) as f64;
    [(); 4].map(|()| ticks.next().and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0) / per_second)
}

/// CPU of the children of this process that have ended, seconds.
pub fn children_cpu_s() -> f64 {
    let [_, _, user_s, system_s] = cpu_times_s(&fs::read_to_string("/proc/self/stat").unwrap_or_default());
    user_s + system_s
}

/// Reads the counters of a process; those that cannot be read are 0.
pub fn usage(pid: u32) -> Usage {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let [user_s, system_s, ..] = cpu_times_s(&read("stat"));
    let io = read("io");
    let mut switches = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        switches += field(&status, "voluntary_ctxt_switches") + field(&status, "nonvoluntary_ctxt_switches");
    }
    Usage {
        user_s,
        system_s,
        written_bytes: field(&io, "write_bytes"),
        io_calls: field(&io, "syscr") + field(&io, "syscw"),
        switches,
    }
}

/// Anonymous memory in MB: what the page cache holds for everybody does not count.
pub fn rss_mb(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    field(&status, "RssAnon") as f64 / 1024.0
}

/// The most memory that was resident at once, MB, file pages included.
pub fn peak_mb(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    field(&status, "VmHWM") as f64 / 1024.0
}

/// Descriptors that a process has.
pub fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Lets this process, and those that it starts, open as many files as the system allows. Returns how many; none is no limit.
pub fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile).maximum;
    // A refusal leaves the limit as it was, and shows as a file or connection that fails.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit });
    limit
}

/// System calls that process `pid` makes while `load` runs, counted by `perf` or, where there is none, by `strace`, which
/// makes every call slower: nothing else is to be measured meanwhile. None where neither is there or allowed.
pub fn system_calls<T>(
    pid: u32,
    load: impl FnOnce() -> Result<T, String>,
) -> Result<Option<(u64, T)>, String> {
    let Some(counter) = Counter::start(pid) else { return Ok(None) };
    let done = load();
    let counted = counter.stop();
    Ok(counted.zip(Some(done?)))
}

/// A `perf` or `strace` on some process.
struct Counter {
    child: std::process::Child,
    perf: bool,
}

impl Counter {
    fn start(pid: u32) -> Option<Counter> {
        let pid = pid.to_string();
        let perf = ["stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", &pid];
        let strace = ["-c", "-f", "-q", "-p", &pid];
        for (program, args, perf) in [("perf", perf.as_slice(), true), ("strace", strace.as_slice(), false)] {
            let child = Command::new(program)
                .args(args)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn();
            let Ok(mut child) = child else { continue };
            // Both end at once when they may not attach.
            if attached(&mut child, &pid) {
                return Some(Counter { child, perf });
            }
        }
        None
    }

    fn stop(self) -> Option<u64> {
        let pid = Pid::from_raw(self.child.id() as i32)?;
        kill_process(pid, Signal::INT).ok()?;
        let out = self.child.wait_with_output().ok()?;
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        if self.perf { perf_count(&text) } else { strace_count(&text) }
    }
}

/// Waits until the counter has hold of every thread of `pid`; false when it has ended.
fn attached(child: &mut std::process::Child, pid: &str) -> bool {
    const STEP: Duration = Duration::from_millis(100);
    const STEPS: usize = 100;
    let tasks = || fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let events = |counter: u32| {
        let open = fs::read_dir(format!("/proc/{counter}/fd")).into_iter().flatten().flatten();
        open.filter(|e| fs::read_link(e.path()).is_ok_and(|l| l.as_os_str() == "anon_inode:[perf_event]"))
            .count()
    };
    let traced = || {
        let status = |t: &fs::DirEntry| fs::read_to_string(t.path().join("status")).unwrap_or_default();
        tasks().filter(|t| field(&status(t), "TracerPid") > 0).count()
    };
    for _ in 0..STEPS {
        if !matches!(child.try_wait(), Ok(None)) {
            return false;
        }
        let threads = tasks().count();
        if events(child.id()).max(traced()) >= threads {
            break;
        }
        std::thread::sleep(STEP);
    }
    // The last event is open; what is left is to start them all.
    std::thread::sleep(STEP);
    matches!(child.try_wait(), Ok(None))
}

fn perf_count(text: &str) -> Option<u64> {
    text.lines().find(|l| l.contains("raw_syscalls:sys_enter"))?.split(',').next()?.parse().ok()
}

/// The line of totals: `100.00    0.012345          12      1234        56 total`.
fn strace_count(text: &str) -> Option<u64> {
    let total = text.lines().rev().find(|l| l.trim_end().ends_with("total"))?;
    total.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_both_programs() {
        assert_eq!(perf_count("5967,,raw_syscalls:sys_enter,509188667,100.00,,\n"), Some(5967));
        assert_eq!(perf_count("<not counted>,,raw_syscalls:sys_enter,0,0.00,,\n"), None);
        let text = "% time seconds usecs/call calls errors syscall\n 60.00 0.1 1 12 read\n100.00 0.2 3 1234 56 total\n";
        assert_eq!(strace_count(text), Some(1234));
    }

    #[test]
    fn this_process_has_used_something() {
        let pid = std::process::id();
        let before = usage(pid);
        let mut x = 1u64;
        for i in 0..50_000_000u64 {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(i);
        }
        assert_ne!(x, 0);
        let used = usage(pid).since(&before);
        assert!(used.cpu_s() > 0.0, "{used:?}");
        assert!(rss_mb(pid) > 0.0);
        assert!(peak_mb(pid) >= rss_mb(pid));
    }
}
