//! The topic metadata a shard reads, as a trait, and how it is told of changes.

use ottla_protocol::types::{Str, Uuid};

/// A consistent snapshot of the cluster's topics.
pub trait TopicsView {
    /// Offset of the metadata image; grows with every change.
    fn version(&self) -> i64;
    /// The id of a topic.
    fn topic_id(&self, name: &str) -> Option<Uuid>;
    /// The name of a topic.
    fn topic_name(&self, id: Uuid) -> Option<Str>;
    /// The number of partitions of a topic.
    fn partition_count(&self, id: Uuid) -> Option<i32>;
    /// Racks of the replicas of a partition, in any order, brokers without a rack left out.
    fn partition_racks(&self, id: Uuid, partition: i32) -> Vec<Str>;
    /// Calls `visit` with the name of every topic.
    fn for_each_name(&self, visit: &mut dyn FnMut(&str));
}

/// What a step from one metadata image to the next did to topics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicChanges {
    /// A topic was created.
    pub created: bool,
    /// Names of topics created or altered (partitions, replicas).
    pub changed: Vec<Str>,
    /// Name and id of topics that are gone.
    pub deleted: Vec<(Str, Uuid)>,
}

/// A view without topics.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTopics;

impl TopicsView for NoTopics {
    fn version(&self) -> i64 {
        -1
    }
    fn topic_id(&self, _: &str) -> Option<Uuid> {
        None
    }
    fn topic_name(&self, _: Uuid) -> Option<Str> {
        None
    }
    fn partition_count(&self, _: Uuid) -> Option<i32> {
        None
    }
    fn partition_racks(&self, _: Uuid, _: i32) -> Vec<Str> {
        Vec::new()
    }
    fn for_each_name(&self, _: &mut dyn FnMut(&str)) {}
}
