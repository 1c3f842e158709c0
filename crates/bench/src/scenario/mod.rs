//! What is measured. One file per kind of load; each scenario starts its own nodes and returns figures.

mod clients;
mod durability;
mod latency;
mod partitions;
mod startup;
mod throughput;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::stats::Figure;
use crate::system::{Node, Programs, System};

/// What a scenario is given.
#[derive(Debug)]
pub struct Context<'a> {
    pub system: System,
    pub programs: &'a Programs,
    /// Where data folders go.
    pub base: PathBuf,
    /// Less of everything: for a look before and after a change.
    pub quick: bool,
}

impl Context<'_> {
    pub fn start(&self, extra: &str) -> Result<Node, String> {
        Node::start(self.system, self.programs, &self.base, extra)
    }

    /// `full`, or in a quick run a tenth of it.
    pub fn amount(&self, full: u64) -> u64 {
        if self.quick { (full / 10).max(1) } else { full }
    }

    pub fn lasting(&self, full_s: u64) -> Duration {
        Duration::from_secs(if self.quick { (full_s / 3).max(3) } else { full_s })
    }
}

type Run = fn(&Context<'_>) -> Result<Vec<Figure>, String>;

/// A scenario: its name on the command line, what it is, and whether it belongs to `quick`.
#[derive(Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    pub quick: bool,
    pub run: Run,
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "startup",
        about: "start to first answer, idle memory and CPU",
        quick: true,
        run: startup::startup,
    },
    Scenario {
        name: "startup-partitions",
        about: "starts with 1,000 and 10,000 partitions, after a clean stop and after kill -9",
        quick: false,
        run: startup::with_partitions,
    },
    Scenario {
        name: "produce",
        about: "broker CPU per GB produced and consumed, 1 KiB records, plain and lz4; memory after it",
        quick: true,
        run: throughput::produce_and_consume,
    },
    Scenario {
        name: "produce-sizes",
        about: "100 B, 10 KiB and 1 MiB records; acks 0 and all; gzip, snappy and zstd",
        quick: false,
        run: throughput::sizes_and_codecs,
    },
    Scenario {
        name: "consumers",
        about: "20 consumers of one topic at a time; old data with an empty page cache; read_committed",
        quick: false,
        run: throughput::many_consumers,
    },
    Scenario {
        name: "requests",
        about: "one-record produce requests: 1, 5 and 100 in flight; 1, 10 and 1,000 connections",
        quick: true,
        run: clients::small_requests,
    },
    Scenario {
        name: "connections",
        about: "10,000 idle connections and a storm of new ones",
        quick: false,
        run: clients::connections,
    },
    Scenario {
        name: "latency",
        about: "end to end, open loop: 1,000 and 10,000 records a second of 1 KiB, acks=all, linger 1 ms",
        quick: true,
        run: latency::end_to_end,
    },
    Scenario {
        name: "latency-high",
        about: "end to end, open loop: 100,000 records a second",
        quick: false,
        run: latency::end_to_end_high,
    },
    Scenario {
        name: "partitions",
        about: "produce rate, cost and memory with 100, 1,000, 5,000 and 10,000 partitions, no sticky partitioner",
        quick: false,
        run: partitions::partitions,
    },
    Scenario {
        name: "fsync",
        about: "flush.messages=1: 1, 5 in flight and 64 connections",
        quick: false,
        run: durability::fsync,
    },
];

pub fn by_name(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|s| s.name == name)
}

/// Free bytes where `dir` is; scenarios write gigabytes.
pub fn free_bytes(dir: &Path) -> u64 {
    rustix::fs::statvfs(dir).map_or(0, |s| s.f_bavail * s.f_frsize)
}
