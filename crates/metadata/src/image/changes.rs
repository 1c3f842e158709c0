//! What changed between two images, for those who act on it.

use std::sync::Arc;

use ottla_protocol::types::Uuid;

use super::chunked_map::Difference;
use super::{ConfigResource, MetadataImage, QuotaEntity, TopicImage};

/// A topic that exists in both images with other partitions.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicChange {
    pub old: Arc<TopicImage>,
    pub new: Arc<TopicImage>,
    /// Partitions that were added or differ, in order.
    pub partitions: Vec<i32>,
}

/// See the module. Its cost follows the size of the change.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetadataChanges {
    /// Deleted ones come first when applied: a name may be used again.
    pub topics_deleted: Vec<Arc<TopicImage>>,
    pub topics_created: Vec<Arc<TopicImage>>,
    pub topics_changed: Vec<TopicChange>,
    /// Brokers that came, went or changed.
    pub brokers: Vec<i32>,
    /// Controllers that came, went or changed.
    pub controllers: Vec<i32>,
    /// Resources whose values changed, also to none.
    pub configs: Vec<ConfigResource>,
    pub client_quotas: Vec<QuotaEntity>,
    pub features: bool,
    pub acls_added: Vec<Uuid>,
    pub acls_removed: Vec<Uuid>,
    pub scram: bool,
    pub delegation_tokens: bool,
    pub producer_ids: bool,
}

impl MetadataChanges {
    pub fn between(old: &MetadataImage, new: &MetadataImage) -> Self {
        let mut out = MetadataChanges {
            features: !Arc::ptr_eq(&old.features, &new.features) && old.features != new.features,
            scram: !Arc::ptr_eq(&old.scram, &new.scram) && old.scram != new.scram,
            delegation_tokens: !Arc::ptr_eq(&old.delegation_tokens, &new.delegation_tokens)
                && old.delegation_tokens != new.delegation_tokens,
            producer_ids: old.next_producer_id != new.next_producer_id,
            ..Default::default()
        };
        for d in old.topics.topics_by_id().differences(new.topics.topics_by_id()) {
            match d {
                Difference::Added(_, t) => out.topics_created.push(t.clone()),
                Difference::Removed(_, t) => out.topics_deleted.push(t.clone()),
                Difference::Changed(_, old, new) => out.topics_changed.push(TopicChange {
                    old: old.clone(),
                    new: new.clone(),
                    partitions: changed_partitions(old, new),
                }),
            }
        }
        for d in old.configs.resources().differences(new.configs.resources()) {
            let (Difference::Added(k, _) | Difference::Removed(k, _) | Difference::Changed(k, ..)) = d;
            out.configs.push(k.clone());
        }
        for d in old.acls.entries.differences(&new.acls.entries) {
            match d {
                Difference::Added(id, _) => out.acls_added.push(*id),
                Difference::Removed(id, _) => out.acls_removed.push(*id),
                Difference::Changed(id, ..) => {
                    out.acls_removed.push(*id);
                    out.acls_added.push(*id);
                }
            }
        }
        if !Arc::ptr_eq(&old.cluster, &new.cluster) {
            let (a, b) = (&old.cluster, &new.cluster);
            let mut ids: Vec<i32> = a.brokers.keys().chain(b.brokers.keys()).copied().collect();
            ids.sort_unstable();
            ids.dedup();
            ids.retain(|id| a.brokers.get(id) != b.brokers.get(id));
            out.brokers = ids;
            let mut ids: Vec<i32> = a.controllers.keys().chain(b.controllers.keys()).copied().collect();
            ids.sort_unstable();
            ids.dedup();
            ids.retain(|id| a.controllers.get(id) != b.controllers.get(id));
            out.controllers = ids;
        }
        if !Arc::ptr_eq(&old.client_quotas, &new.client_quotas) {
            let (a, b) = (&old.client_quotas.entities, &new.client_quotas.entities);
            let mut entities: Vec<&QuotaEntity> = a.keys().chain(b.keys()).collect();
            entities.sort();
            entities.dedup();
            entities.retain(|e| a.get(*e) != b.get(*e));
            out.client_quotas = entities.into_iter().cloned().collect();
        }
        out
    }

    /// Whether nothing but the provenance changed.
    pub fn is_empty(&self) -> bool {
        *self == MetadataChanges::default()
    }
}

fn changed_partitions(old: &TopicImage, new: &TopicImage) -> Vec<i32> {
    old.partitions
        .differences(&new.partitions)
        .into_iter()
        .map(|d| match d {
            Difference::Added(id, _) | Difference::Removed(id, _) | Difference::Changed(id, ..) => *id,
        })
        .collect()
}
