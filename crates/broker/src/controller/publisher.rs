//! Brings committed metadata to the broker: partitions, coordinators, configuration, then the image that requests see.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use ottla_coordinator::TopicChanges;
use ottla_metadata::config::{StaticConfig, unusable_topic_values};
use ottla_metadata::image::{ConfigResource, MetadataChanges, MetadataImage, ResourceKind};
use ottla_protocol::types::Uuid;
use tokio::sync::watch;

use super::node::QuorumView;
use crate::directories;
use crate::partitions::Applied;
use crate::state::Broker;
use crate::topics::{CONSUMER_OFFSETS, TRANSACTION_STATE};

/// Between two attempts to open logs that could not be opened.
const OPEN_AGAIN: Duration = Duration::from_secs(1);

/// Applies images in order; one per broker.
pub struct MetadataPublisher {
    broker: Arc<Broker>,
    /// What the settings of logs are taken from; ahead of the broker's image while a change is applied.
    topic_settings: Arc<ArcSwap<(Arc<StaticConfig>, Arc<MetadataImage>)>>,
    applied: Arc<MetadataImage>,
}

/// The configuration of a node with the dynamic values of the cluster and of the node laid over it.
pub fn in_force(config: &StaticConfig, image: &MetadataImage, node_id: i32) -> StaticConfig {
    let of = |resource: &ConfigResource| image.configs.get(resource).cloned().unwrap_or_default();
    let (all, own) = (of(&ConfigResource::all_brokers()), of(&ConfigResource::broker(node_id)));
    config.with_dynamic(all.iter().map(|(k, v)| (&**k, &**v)), own.iter().map(|(k, v)| (&**k, &**v)))
}

impl MetadataPublisher {
    pub fn new(
        broker: Arc<Broker>,
        topic_settings: Arc<ArcSwap<(Arc<StaticConfig>, Arc<MetadataImage>)>>,
    ) -> MetadataPublisher {
        MetadataPublisher { broker, topic_settings, applied: Arc::default() }
    }

    /// Lets logs that are opened before the first image is applied have its settings.
    pub fn prepare(&self, image: &Arc<MetadataImage>) {
        let config = self.dynamic_config(image);
        directories::apply_settings(&self.broker, &config);
        self.broker.config.store(Arc::clone(&config));
        self.topic_settings.store(Arc::new((config, Arc::clone(image))));
    }

    /// Follows the quorum until its task ends.
    pub async fn run(mut self, mut view: watch::Receiver<QuorumView>) {
        let mut tried = Instant::now();
        loop {
            // Images come all the time, so that only the clock tells when it is time to try again.
            let wait = match self.broker.partitions.has_unopened() {
                true => OPEN_AGAIN.saturating_sub(tried.elapsed()),
                false => Duration::MAX,
            };
            match tokio::time::timeout(wait, view.changed()).await {
                Ok(Ok(())) => {
                    let (image, kraft_version) = {
                        let seen = view.borrow_and_update();
                        (Arc::clone(&seen.image), seen.kraft_version)
                    };
                    self.broker.kraft_version.store(kraft_version, Ordering::Release);
                    self.apply(image);
                }
                Ok(Err(_)) => return,
                Err(_) => {
                    tried = Instant::now();
                    self.open_again();
                }
            }
        }
    }

    /// A full disk may have room again.
    fn open_again(&self) {
        let applied = self.broker.partitions.open_again(&self.applied);
        elections(&self.broker, &applied);
        self.report(applied.placed);
    }

    /// Applies one image; nothing happens when it has been applied already.
    pub fn apply(&mut self, image: Arc<MetadataImage>) {
        if image.provenance == self.applied.provenance {
            return;
        }
        let b = &self.broker;
        let changes = MetadataChanges::between(&self.applied, &image);
        let brokers_changed = changes.configs.iter().any(|r| r.kind == ResourceKind::BROKER);
        let config = if brokers_changed { self.dynamic_config(&image) } else { b.config.load_full() };
        self.topic_settings.store(Arc::new((Arc::clone(&config), Arc::clone(&image))));
        tell_unusable(&image, &changes);
        if brokers_changed {
            directories::apply_settings(b, &config);
            b.config.store(config);
        }
        let applied = b.partitions.apply(&image, &changes);
        self.applied = Arc::clone(&image);
        b.image.store(Arc::clone(&image));
        elections(b, &applied);
        let topics = TopicChanges {
            created: !changes.topics_created.is_empty(),
            changed: changes.topics_changed.iter().map(|c| c.new.name.clone()).collect(),
            deleted: changes.topics_deleted.iter().map(|t| (t.name.clone(), t.id)).collect(),
        };
        let group_configs = brokers_changed || changes.configs.iter().any(|r| r.kind == ResourceKind::GROUP);
        b.groups.on_metadata(b, &topics, group_configs);
        // Last: who waits for it is sent to a coordinator next.
        b.applied_offset.send_replace(image.provenance.last_offset);
        self.report(applied.placed);
    }

    /// Tells the controller which directories took new replicas (KIP-858).
    fn report(&self, placed: Vec<(Uuid, i32, Uuid)>) {
        if !placed.is_empty() {
            let b = Arc::clone(&self.broker);
            tokio::spawn(async move { directories::report(&b, placed).await });
        }
    }

    fn dynamic_config(&self, image: &MetadataImage) -> Arc<StaticConfig> {
        Arc::new(in_force(&self.broker.static_config, image, self.broker.node_id))
    }
}

/// Kafka does not start with such values (a `segment.bytes` of 3.9 that 4.0 no longer takes, say); they are no reason to
/// withhold the data.
fn tell_unusable(image: &MetadataImage, changes: &MetadataChanges) {
    for resource in changes.configs.iter().filter(|resource| resource.kind == ResourceKind::TOPIC) {
        let Some(own) = image.configs.topic(&resource.name) else { continue };
        for error in unusable_topic_values(own.iter().map(|(name, value)| (&**name, &**value))) {
            tracing::warn!(topic = %resource.name, %error, "a topic's setting is not followed; the broker's is");
        }
    }
}

/// Lets the coordinators follow where their partitions are led.
pub fn elections(b: &Arc<Broker>, applied: &Applied) {
    for partition in &applied.resigned {
        match &*partition.topic {
            CONSUMER_OFFSETS => b.groups.on_resigned(partition.index),
            TRANSACTION_STATE => b.transactions.on_resigned(partition.index),
            _ => {}
        }
    }
    for partition in &applied.elected {
        match &*partition.topic {
            CONSUMER_OFFSETS => b.groups.on_elected(b, Arc::clone(partition)),
            TRANSACTION_STATE => b.transactions.on_elected(b, Arc::clone(partition)),
            _ => {}
        }
    }
}
