//! A cluster's topics, fixed, for tests.

use std::collections::BTreeMap;

use ottla_coordinator::TopicsView;
use ottla_protocol::types::{Str, Uuid};

/// Topics by name: id, partition count, rack of every replica.
#[derive(Debug, Clone, Default)]
pub struct FixedTopics {
    pub topics: BTreeMap<String, (Uuid, i32)>,
}

impl TopicsView for FixedTopics {
    fn version(&self) -> i64 {
        1
    }
    fn topic_id(&self, name: &str) -> Option<Uuid> {
        self.topics.get(name).map(|(id, _)| *id)
    }
    fn topic_name(&self, id: Uuid) -> Option<Str> {
        self.topics.iter().find(|(_, (own, _))| *own == id).map(|(name, _)| Str::from(name))
    }
    fn partition_count(&self, id: Uuid) -> Option<i32> {
        self.topics.values().find(|(own, _)| *own == id).map(|(_, count)| *count)
    }
    fn partition_racks(&self, _: Uuid, _: i32) -> Vec<Str> {
        Vec::new()
    }
    fn for_each_name(&self, visit: &mut dyn FnMut(&str)) {
        self.topics.keys().for_each(|name| visit(name));
    }
}
