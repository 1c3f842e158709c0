//! Rates and latencies, in the words of Kafka's tool.

use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::output::{self, Entry};

/// Latencies of which the percentiles are kept exactly; beyond that every n-th counts.
const SAMPLES: usize = 1 << 20;

#[derive(Debug, Default)]
struct Sum {
    count: u64,
    bytes: u64,
    latency_ms: u64,
    latency_ms_max: u64,
}

impl Sum {
    fn add(&mut self, latency_ms: u64, bytes: usize) {
        self.count += 1;
        self.bytes += bytes as u64;
        self.latency_ms += latency_ms;
        self.latency_ms_max = self.latency_ms_max.max(latency_ms);
    }

    fn rates(&self, elapsed: Duration) -> (f64, f64) {
        // Kafka counts in whole milliseconds.
        let millis = elapsed.as_millis() as f64;
        (1000.0 * self.count as f64 / millis, 1000.0 * self.bytes as f64 / millis / (1024.0 * 1024.0))
    }

    fn latency_ms_mean(&self) -> f64 {
        self.latency_ms as f64 / self.count as f64
    }

    fn entry(&self, text: String, elapsed: Duration) -> Entry {
        let (records, megabytes) = self.rates(elapsed);
        Entry::new(text)
            .with("records", self.count)
            .with("recordsPerSecond", records)
            .with("megabytesPerSecond", megabytes)
            .with("latencyMsAvg", self.latency_ms_mean())
            .with("latencyMsMax", self.latency_ms_max)
    }
}

/// Counts records as they are answered.
#[derive(Debug)]
pub struct Stats {
    started: Instant,
    window_started: Instant,
    interval: Duration,
    steady: bool,
    quiet: bool,
    total: Sum,
    window: Sum,
    every: u64,
    latencies_ms: Vec<u32>,
}

impl Stats {
    pub fn new(interval: Duration, steady: bool) -> Stats {
        let now = Instant::now();
        Stats {
            started: now,
            window_started: now,
            interval,
            steady,
            quiet: false,
            total: Sum::default(),
            window: Sum::default(),
            every: 1,
            latencies_ms: Vec::new(),
        }
    }

    /// No windows are printed any more.
    pub fn be_quiet(&mut self) {
        self.quiet = true;
    }

    pub fn record(&mut self, latency: Duration, bytes: usize) {
        let latency_ms = latency.as_millis() as u64;
        self.total.add(latency_ms, bytes);
        self.window.add(latency_ms, bytes);
        if self.total.count.is_multiple_of(self.every) {
            self.latencies_ms.push(u32::try_from(latency_ms).unwrap_or(u32::MAX));
        }
        if self.latencies_ms.len() >= SAMPLES {
            let mut keep = false;
            self.latencies_ms.retain(|_| {
                keep = !keep;
                keep
            });
            self.every *= 2;
        }
        let elapsed = self.window_started.elapsed();
        if elapsed >= self.interval {
            if self.steady && self.total.count == self.window.count {
                output::remark("In steady state.");
            }
            if !self.quiet {
                let (records, megabytes) = self.window.rates(elapsed);
                let text = format!(
                    "{} records sent, {records:.1} records/sec ({megabytes:.2} MB/sec), {:.1} ms avg latency, {:.1} ms max latency.",
                    self.window.count,
                    self.window.latency_ms_mean(),
                    self.window.latency_ms_max as f64,
                );
                output::show("windows", self.window.entry(text, elapsed).with("steadyState", self.steady));
                output::flush();
            }
            self.window = Sum::default();
            self.window_started = Instant::now();
        }
    }

    pub fn total(mut self) -> Entry {
        let elapsed = self.started.elapsed();
        let (records, megabytes) = self.total.rates(elapsed);
        self.latencies_ms.sort_unstable();
        let percentile = |p: f64| {
            let at = (p * self.latencies_ms.len() as f64) as usize;
            self.latencies_ms.get(at).copied().unwrap_or(0)
        };
        let text = format!(
            "{}{} records sent, {records:.6} records/sec ({megabytes:.2} MB/sec), {:.2} ms avg latency, {:.2} ms max latency, {} ms 50th, {} ms 95th, {} ms 99th, {} ms 99.9th.",
            self.total.count,
            if self.steady { " steady state" } else { "" },
            self.total.latency_ms_mean(),
            self.total.latency_ms_max as f64,
            percentile(0.5),
            percentile(0.95),
            percentile(0.99),
            percentile(0.999),
        );
        let percentiles = [("50", 0.5), ("95", 0.95), ("99", 0.99), ("99.9", 0.999)];
        let percentiles = percentiles.map(|(name, p)| (name.to_owned(), Value::from(percentile(p))));
        self.total
            .entry(text, elapsed)
            .with("steadyState", self.steady)
            .with("latencyMsPercentiles", Map::from_iter(percentiles))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Stats;

    #[test]
    fn the_summary_has_kafkas_form() {
        let mut stats = Stats::new(Duration::from_secs(3600), true);
        for ms in 1..=100 {
            stats.record(Duration::from_millis(ms), 10);
        }
        let text = stats.total().lines().concat();
        assert!(text.starts_with("100 steady state records sent, "), "{text}");
        assert!(text.ends_with("50.50 ms avg latency, 100.00 ms max latency, 51 ms 50th, 96 ms 95th, 100 ms 99th, 100 ms 99.9th."), "{text}");
    }
}
