//! What is measured. One file per kind of load; each scenario starts its own nodes and returns figures.

mod clients;
mod compaction;
mod durability;
mod groups;
mod hot_cold;
mod java_clients;
mod latency;
mod partitions;
mod producer_ids;
mod recovery;
mod sparse;
mod startup;
mod throughput;
mod transactions;

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::process::{self, Usage};
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
    /// What could not be measured, although the rest was.
    pub notes: RefCell<Vec<String>>,
}

impl Context<'_> {
    pub fn start(&self, extra: &str) -> Result<Node, String> {
        Node::start(self.system, self.programs, &self.base, extra)
    }

    /// `full`, or in a quick run a tenth of it.
    pub fn amount(&self, full: u64) -> u64 {
        if self.quick { (full / 10).max(1) } else { full }
    }

    /// `full`, or another amount in a quick run, where a tenth would mean nothing.
    pub fn either(&self, full: u64, quick: u64) -> u64 {
        if self.quick { quick } else { full }
    }

    /// Puts down a part of the scenario that failed, where the others still mean something.
    pub fn note(&self, what: String) {
        eprintln!("    failed: {what}");
        self.notes.borrow_mut().push(what);
    }

    /// Tells whoever watches what comes next.
    pub fn say(&self, what: &str) {
        eprintln!("    .. {what}");
    }

    pub fn lasting(&self, full_s: u64) -> Duration {
        Duration::from_secs(if self.quick { (full_s / 3).max(3) } else { full_s })
    }
}

/// What a load cost.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    pub broker: Usage,
    pub elapsed: Duration,
    /// CPU of this process, in per cent of a core: near all that the machine has left, the load is bound by its generator.
    pub generator: f64,
}

impl Spent {
    /// CPU of the broker in microseconds for each of so many.
    pub fn us_per(&self, count: u64) -> f64 {
        self.broker.cpu_s() * 1e6 / count.max(1) as f64
    }
}

/// Runs a load and tells what it cost the node and this process.
pub fn watch<T>(node: &Node, load: impl FnOnce() -> Result<T, String>) -> Result<(T, Spent), String> {
    let (broker, this, began) = (node.usage(), process::usage(std::process::id()), Instant::now());
    let done = load()?;
    let elapsed = began.elapsed();
    let used = process::usage(std::process::id()).since(&this).cpu_s();
    let spent = Spent {
        broker: node.usage().since(&broker),
        elapsed,
        generator: used / elapsed.as_secs_f64().max(1e-9) * 100.0,
    };
    Ok((done, spent))
}

type Run = fn(&Context<'_>) -> Result<Vec<Figure>, String>;

/// A scenario: its name on the command line, what it is, and whether it belongs to `quick`.
#[derive(Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    pub quick: bool,
    /// Why Nisshi does not run it; none where it can.
    pub not_nisshi: Option<&'static str>,
    pub run: Run,
}

/// The scenario that needs Kafka's Java tools.
pub const JAVA_CLIENTS: &str = "java-clients";

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "startup",
        about: "start to first answer, idle memory and CPU (about a minute for each system)",
        quick: true,
        not_nisshi: None,
        run: startup::startup,
    },
    Scenario {
        name: "startup-partitions",
        about: "starts with 1,000 and 10,000 partitions of 100 KiB each (one segment; in a quick run 10 KiB), after a clean stop and after kill -9: until every partition tells its end (minutes for Kafka)",
        quick: false,
        not_nisshi: Some("it keeps no log directories"),
        run: startup::with_partitions,
    },
    Scenario {
        name: "startup-sparse",
        about: "10,000 partitions of 1 GB each by their length (500 in a quick run), or as many as the limit of open files allows with two segments: the first segment is sparse, one batch and a hole that nobody reads as it lies below the recovery point; the second has 20 KiB that are not flushed. Starts after a clean stop and after kill -9, until every partition tells its end (minutes for each system)",
        quick: false,
        not_nisshi: Some("it keeps no log directories"),
        run: sparse::sparse,
    },
    Scenario {
        name: "produce",
        about: "broker CPU per GB produced and consumed, 1 KiB records, plain and lz4; memory after it",
        quick: true,
        not_nisshi: None,
        run: throughput::produce_and_consume,
    },
    Scenario {
        name: "produce-sizes",
        about: "100 B, 10 KiB and 1 MiB records; acks 0 and all; gzip, snappy and zstd",
        quick: false,
        not_nisshi: None,
        run: throughput::sizes_and_codecs,
    },
    Scenario {
        name: JAVA_CLIENTS,
        about: "Kafka's producer-perf-test and consumer-perf-test with the settings that Java clients have by themselves (acks=all, idempotent, batches of 16 KiB), 1 KiB records",
        quick: false,
        not_nisshi: None,
        run: java_clients::java_clients,
    },
    Scenario {
        name: "consumers",
        about: "one and 20 consumers of one topic at a time; read_committed; old data with an empty page cache",
        quick: false,
        not_nisshi: Some("it keeps no log directories"),
        run: throughput::many_consumers,
    },
    Scenario {
        name: "requests",
        about: "one-record produce requests, acks=1: 1, 5 and 100 in flight; 1, 10 and 1,000 connections",
        quick: true,
        not_nisshi: None,
        run: clients::small_requests,
    },
    Scenario {
        name: "connections",
        about: "10,000 connections, each with an ApiVersions request, that then idle",
        quick: false,
        not_nisshi: None,
        run: clients::connections,
    },
    Scenario {
        name: "latency",
        about: "end to end, open loop: 1,000 and 10,000 records a second of 1 KiB, acks=all, linger 1 ms",
        quick: true,
        not_nisshi: None,
        run: latency::end_to_end,
    },
    Scenario {
        name: "latency-high",
        about: "end to end, open loop: 100,000 records a second (librdkafka and the broker share the cores)",
        quick: false,
        not_nisshi: None,
        run: latency::end_to_end_high,
    },
    Scenario {
        name: "partitions",
        about: "100, 1,000, 5,000 and 10,000 partitions: create time, memory, produce rate and cost with librdkafka and no sticky partitioner, the same with requests of our own of 100 one-record batches, fetch cost (minutes for Kafka)",
        quick: false,
        not_nisshi: Some("a topic takes it seconds to make"),
        run: partitions::partitions,
    },
    Scenario {
        name: "groups",
        about: "1,000 classic members that join one group; 1,000 KIP-848 members that join and heartbeat; offset commits",
        quick: false,
        not_nisshi: Some("it has no KIP-848 groups"),
        run: groups::groups,
    },
    Scenario {
        name: "transactions",
        about: "transactions of one record of 100 B, librdkafka: 1 and 10 producers at a time",
        quick: false,
        not_nisshi: None,
        run: transactions::transactions,
    },
    Scenario {
        name: "producer-ids",
        about: "100,000 idempotent producers with a one-record batch each in one partition; then 10,000 transactions by 2,000 producers, every second one aborted, in segments of 1 MiB; read_committed reads; starts after kill -9 with a transaction open, and after a clean stop; what is read is counted (requests of our own)",
        quick: false,
        not_nisshi: Some("it keeps no log directories"),
        run: producer_ids::producer_ids,
    },
    Scenario {
        name: "compaction",
        about: "keyed 1 KiB records, 100,000 keys, all but the active segment dirty: from the change of min.cleanable.dirty.ratio to the checkpoint of the cleaner",
        quick: false,
        not_nisshi: Some("it compacts rows of a table"),
        run: compaction::compaction,
    },
    Scenario {
        name: "recovery",
        about: "kill -9 with 2 GB in one active segment: from the start to the first fetch of its last record, pages still cached",
        quick: false,
        not_nisshi: Some("it keeps no log directories"),
        run: recovery::recovery,
    },
    Scenario {
        name: "hot-cold",
        about: "a producer and consumer at 10 MB/s, alone and beside a reader of 10 GB (quick: 2 GB) of old data that is not in the page cache, paced at 100 MB/s",
        quick: false,
        not_nisshi: Some("it keeps no log directories"),
        run: hot_cold::hot_cold,
    },
    Scenario {
        name: "fsync",
        about: "flush.messages=1, acks=all, 1 KiB and 100 B, taking turns: 1 and 5 in flight on a connection, and 64 connections",
        quick: false,
        not_nisshi: Some("it has no such setting"),
        run: durability::fsync,
    },
];

pub fn by_name(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|s| s.name == name)
}
