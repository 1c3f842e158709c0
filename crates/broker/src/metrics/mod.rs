//! What the broker counts, under Kafka's MBean names, and how it is rendered for Prometheus.
//!
//! Counters are relaxed atomics that the hot paths touch; gauges are computed when somebody asks.

mod coordinators;
mod histogram;
mod listeners;
mod render;
mod requests;

pub use coordinators::{CoordinatorMetrics, LoadTimes};
pub use histogram::Histogram;
pub use listeners::{ListenerMetrics, Waiting};
pub use render::Exposition;
pub use requests::{ApiMetrics, RequestMetrics};

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn inc(&self) {
        self.add(1);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// `kafka.server:type=BrokerTopicMetrics` of one topic, or of the whole broker.
#[derive(Debug, Default)]
pub struct TopicMetrics {
    pub messages_in: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    pub bytes_rejected: Counter,
    pub total_produce_requests: Counter,
    pub total_fetch_requests: Counter,
    pub failed_produce_requests: Counter,
    pub failed_fetch_requests: Counter,
    pub produce_message_conversions: Counter,
    pub invalid_message_crc_records: Counter,
    pub invalid_magic_number_records: Counter,
    pub no_key_compacted_topic_records: Counter,
    pub invalid_offset_or_sequence_records: Counter,
}

/// Everything that one node counts.
#[derive(Debug, Default)]
pub struct Metrics {
    pub listeners: ListenerMetrics,
    pub requests: RequestMetrics,
    pub all_topics: TopicMetrics,
    pub malformed_requests: Counter,
    pub groups: CoordinatorMetrics,
    pub transactions: LoadTimes,
    /// Fetches that wait for records: the size of Kafka's purgatory of them.
    pub waiting_fetches: std::sync::Arc<std::sync::atomic::AtomicI64>,
    pub telemetry_pushes: Counter,
}
