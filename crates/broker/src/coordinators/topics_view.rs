//! The metadata image as the group coordinator sees it.

use ottla_coordinator::TopicsView;
use ottla_metadata::image::MetadataImage;
use ottla_protocol::types::{Str, Uuid};

/// Borrows an image for the length of one decision.
pub struct ImageTopics<'a>(pub &'a MetadataImage);

impl TopicsView for ImageTopics<'_> {
    fn version(&self) -> i64 {
        self.0.provenance.last_offset
    }

    fn topic_id(&self, name: &str) -> Option<Uuid> {
        self.0.topics.id_of(name)
    }

    fn topic_name(&self, id: Uuid) -> Option<Str> {
        self.0.topics.name_of(&id).cloned()
    }

    fn partition_count(&self, id: Uuid) -> Option<i32> {
        self.0.topics.by_id(&id).map(|t| t.partitions.len() as i32)
    }

    fn partition_racks(&self, id: Uuid, partition: i32) -> Vec<Str> {
        let Some(p) = self.0.topics.partition(&id, partition) else { return Vec::new() };
        p.replicas.iter().filter_map(|r| self.0.cluster.brokers.get(r).and_then(|b| b.rack.clone())).collect()
    }

    fn for_each_name(&self, visit: &mut dyn FnMut(&str)) {
        for topic in self.0.topics.iter_by_name() {
            visit(&topic.name);
        }
    }
}
