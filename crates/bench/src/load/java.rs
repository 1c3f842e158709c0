//! Kafka's own Java clients, as its performance tools run them.

use std::process::{Command, Stdio};

/// What `kafka-producer-perf-test.sh` and `kafka-consumer-perf-test.sh` give their JVM.
const HEAP: &str = "-Xmx512M";

/// One run of a tool.
#[derive(Debug, Clone, Copy)]
pub struct Tool<'a> {
    /// Class path of Kafka's tools.
    pub classpath: &'a str,
    pub bootstrap: &'a str,
    pub topic: &'a str,
    pub records: u64,
}

impl Tool<'_> {
    /// Sends records of so many random letters as fast as it goes, with the settings that a Java producer has by itself:
    /// acks=all, idempotent, batches of 16 KiB, linger 5 ms. Returns records a second, as the tool tells them.
    pub fn produce(&self, record_bytes: usize) -> Result<f64, String> {
        let size = record_bytes.to_string();
        let said = self.run("ProducerPerformance", &["--record-size", &size, "--throughput", "-1"])?;
        produced_per_s(&said, self.records).ok_or(said)
    }

    /// Reads a topic from its beginning with the settings that a Java consumer has by itself. Returns records a second
    /// from its first fetch on, as the tool tells them.
    pub fn consume(&self) -> Result<f64, String> {
        let said = self.run("ConsumerPerformance", &["--timeout", "60000"])?;
        consumed_per_s(&said, self.records).ok_or(said)
    }

    fn run(&self, class: &str, more: &[&str]) -> Result<String, String> {
        let done = Command::new("java")
            .args([HEAP, "-cp", self.classpath, &format!("org.apache.kafka.tools.{class}")])
            .args(["--bootstrap-server", self.bootstrap, "--topic", self.topic])
            .args(["--num-records", &self.records.to_string()])
            .args(more)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("java: {e}"))?;
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        if done.status.success() {
            Ok(said)
        } else {
            Err(format!("{class}: {}: {said}{}", done.status, String::from_utf8_lossy(&done.stderr)))
        }
    }
}

/// `2000000 records sent, 310077.5 records/sec (302.81 MB/sec), ...`, of all records and not of the last second.
fn produced_per_s(said: &str, records: u64) -> Option<f64> {
    let all = format!("{records} records sent, ");
    let line = said.lines().rev().find(|l| l.starts_with(&all))?;
    line[all.len()..].split_whitespace().next()?.parse().ok()
}

/// A line of names and one of values; what the records took is told without the time until a member had its partitions.
fn consumed_per_s(said: &str, records: u64) -> Option<f64> {
    let mut lines = said.lines();
    let names = lines.by_ref().find(|l| l.contains("fetch.nMsg.sec"))?;
    let values: Vec<&str> = lines.next()?.split(',').map(str::trim).collect();
    let value =
        |name: &str| values.get(names.split(',').position(|n| n.trim() == name)?)?.parse::<f64>().ok();
    value("data.consumed.in.nMsg").filter(|read| *read >= records as f64)?;
    value("fetch.nMsg.sec")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tools_say_is_read() {
        let producer = "1555 records sent, 310.9 records/sec (0.30 MB/sec), 3.1 ms avg latency, 9.0 ms max latency.\n\
                        2000 records sent, 310077.5 records/sec (302.81 MB/sec), 90.01 ms avg latency, 402.00 ms max latency, 3 ms 50th, 12 ms 95th, 13 ms 99th, 14 ms 99.9th.\n";
        assert_eq!(produced_per_s(producer, 2000), Some(310_077.5));
        assert_eq!(produced_per_s(producer, 3000), None);
        let consumer = "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec\n\
                        2026-01-01 00:00:00:000, 2026-01-01 00:00:04:000, 1.9, 0.5, 2000, 500.0, 10, 3990, 0.5, 501.2531\n";
        assert_eq!(consumed_per_s(consumer, 2000), Some(501.2531));
        assert_eq!(consumed_per_s(consumer, 2001), None);
    }
}
