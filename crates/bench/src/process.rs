//! What a process has used, as the kernel counts it.

use std::fs;

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

/// Reads the counters of a process; those that cannot be read are 0.
pub fn usage(pid: u32) -> Usage {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let stat = read("stat");
    let mut ticks = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace()
        .skip(11)
        .filter_map(|t| t.parse::<f64>().ok());
    let per_second = rustix::param::clock_ticks_per_second().max(1) as f64;
    let (user, system) = (ticks.next().unwrap_or(0.0), ticks.next().unwrap_or(0.0));
    let io = read("io");
    let mut switches = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        switches += field(&status, "voluntary_ctxt_switches") + field(&status, "nonvoluntary_ctxt_switches");
    }
    Usage {
        user_s: user / per_second,
        system_s: system / per_second,
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

#[cfg(test)]
mod tests {
    use super::*;

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
