//! The Kafka client: connections, metadata and retries ([`Client`]), and the three faces that people use:
//! [`Admin`], [`Producer`] and [`Consumer`].
//!
//! A [`Client`] knows the brokers and sends typed requests to the one that can answer: any broker, the controller,
//! the leader of a partition, or the coordinator of a group or transaction. Every call has a deadline; errors that
//! pass are tried again with backoff until then.

pub mod admin;
mod config;
pub mod consumer;
mod error;
mod network;
pub mod producer;

pub use admin::Admin;
pub use config::{ClientConfig, parse_properties};
pub use consumer::Consumer;
pub use error::ClientError;
pub use network::{BrokerNode, Client, ClusterView, PartitionView, Request, Target, TopicView, VersionRange};
pub use producer::Producer;

/// A topic and one of its partitions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: String,
    pub partition: i32,
}

impl TopicPartition {
    pub fn new(topic: impl Into<String>, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}
