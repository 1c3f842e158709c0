//! Memory, processor time, descriptors and age of this process, with the names that every exporter uses.

use std::sync::OnceLock;

use crate::metrics::Exposition;

/// Keys of the auxiliary vector (`getauxval(3)`).
const PAGE_SIZE: u64 = 6;
const CLOCK_TICKS: u64 = 17;

/// What the kernel told this process of the units in /proc.
fn system(key: u64, default: u64) -> u64 {
    let Ok(vector) = std::fs::read("/proc/self/auxv") else { return default };
    let mut pairs = vector.as_chunks::<16>().0.iter().map(|pair| {
        let (key, value) = pair.split_at(8);
        let number = |bytes: &[u8]| bytes.first_chunk().map_or(0, |raw| u64::from_ne_bytes(*raw));
        (number(key), number(value))
    });
    pairs.find(|(k, _)| *k == key).map(|(_, value)| value).filter(|v| *v > 0).unwrap_or(default)
}

/// Seconds since 1970 when the machine booted.
fn boot_seconds() -> Option<u64> {
    static BOOT: OnceLock<Option<u64>> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let stat = std::fs::read_to_string("/proc/stat").ok()?;
        stat.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()
    })
}

pub fn render(out: &mut Exposition) {
    let page = system(PAGE_SIZE, 4096);
    let ticks = system(CLOCK_TICKS, 100) as f64;
    if let Ok(statm) = std::fs::read_to_string("/proc/self/statm") {
        let pages: Vec<u64> = statm.split(' ').map_while(|n| n.trim().parse().ok()).collect();
        if let [size, resident, ..] = pages[..] {
            out.gauge("process_virtual_memory_bytes", &[], size * page);
            out.gauge("process_resident_memory_bytes", &[], resident * page);
        }
    }
    if let Ok(stat) = std::fs::read_to_string("/proc/self/stat")
        && let Some((_, rest)) = stat.rsplit_once(')')
    {
        // Numbered from the third field, the state: 14 and 15 are times, 20 the threads, 22 the start.
        let field = |n: usize| rest.split_whitespace().nth(n - 3).and_then(|n| n.parse::<u64>().ok());
        let used = field(14).unwrap_or(0) + field(15).unwrap_or(0);
        out.sample("counter", "process_cpu_seconds_total", &[], used as f64 / ticks);
        if let Some(threads) = field(20) {
            out.gauge("process_threads", &[], threads);
        }
        if let (Some(boot), Some(start)) = (boot_seconds(), field(22)) {
            out.gauge("process_start_time_seconds", &[], boot as f64 + start as f64 / ticks);
        }
    }
    if let Ok(fds) = std::fs::read_dir("/proc/self/fd") {
        out.gauge("process_open_fds", &[], fds.count());
    }
    if let Ok(limits) = std::fs::read_to_string("/proc/self/limits")
        && let Some(line) = limits.lines().find_map(|l| l.strip_prefix("Max open files"))
        && let Some(soft) = line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok())
    {
        out.gauge("process_max_fds", &[], soft);
    }
}
