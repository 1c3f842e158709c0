//! The metadata image: the state that the records of `__cluster_metadata` build.
//!
//! An image is cheap to clone and to change while clones live. [`ImageBuilder`] replays a log with its
//! metadata transactions; [`MetadataChanges`] says what changed between two images.

mod builder;
mod changes;
pub mod chunked_map;
mod cluster;
mod configs;
pub mod directory;
mod quotas;
mod security;
#[cfg(test)]
mod tests;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::messages::metadata_record::feature_level_record::FeatureLevelRecord;
use ottla_protocol::messages::metadata_record::producer_ids_record::ProducerIdsRecord;
use ottla_protocol::types::{Str, Uuid};

pub use builder::ImageBuilder;
pub use changes::{MetadataChanges, TopicChange};
pub use chunked_map::ChunkedMap;
pub use cluster::{
    BrokerRegistration, ClusterImage, ControllerRegistration, NodeEndpoint, SupportedFeatures,
};
pub use configs::{ConfigMap, ConfigResource, ConfigsImage, ResourceKind};
pub(crate) use quotas::quota_record;
pub use quotas::{ClientQuotasImage, QuotaEntity};
pub(crate) use security::acl_record;
pub use security::{
    AccessControlEntry, AclsImage, DelegationToken, DelegationTokensImage, ScramCredential, ScramImage,
    ScramMechanism,
};
pub use topics::{
    LeaderRecoveryState, NO_LEADER, NO_LEADER_CHANGE, PartitionRegistration, TopicImage, TopicsImage,
};

use crate::features::{ELR_VERSION, METADATA_VERSION, MetadataVersion};
use crate::record::{Record, VersionedRecord};

/// A record that does not fit the image: the log is broken, or from a newer version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    #[error("broker {id} is not registered with epoch {epoch}")]
    UnknownBroker { id: i32, epoch: i64 },
    #[error("topic {id} does not exist")]
    UnknownTopic { id: Uuid },
    #[error("topic {name} does not exist")]
    UnknownTopicName { name: String },
    #[error("partition {partition} of topic {id} does not exist")]
    UnknownPartition { id: Uuid, partition: i32 },
    #[error("metadata.version {0} is not known to this version of the program")]
    UnknownMetadataVersion(i16),
    #[error("metadata transaction record {0} out of place")]
    Transaction(&'static str),
}

/// The last record that an image contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provenance {
    /// -1 before the first record.
    pub last_offset: i64,
    pub last_epoch: i32,
    /// Timestamp of the last batch, milliseconds since the epoch; -1 if there was none.
    pub last_timestamp_ms: i64,
}

impl Default for Provenance {
    fn default() -> Self {
        Provenance { last_offset: -1, last_epoch: -1, last_timestamp_ms: -1 }
    }
}

/// Finalized levels.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FeaturesImage {
    /// `None` before the first record of it.
    pub metadata_version: Option<MetadataVersion>,
    /// Levels above 0 of the other features.
    pub finalized: BTreeMap<Str, i16>,
}

impl FeaturesImage {
    /// The metadata version, or the least supported one where none is set.
    pub fn metadata_version_or_default(&self) -> MetadataVersion {
        self.metadata_version.unwrap_or(MetadataVersion::MINIMUM)
    }

    /// The level of a feature; 0 where it is not finalized.
    pub fn level(&self, name: &str) -> i16 {
        if name == METADATA_VERSION {
            return self.metadata_version.map_or(0, |v| v.level());
        }
        self.finalized.get(name).copied().unwrap_or(0)
    }

    pub fn is_elr_enabled(&self) -> bool {
        self.level(ELR_VERSION) >= 1
    }

    fn replay(&mut self, r: &FeatureLevelRecord) -> Result<(), ReplayError> {
        if &*r.name == METADATA_VERSION {
            let version = MetadataVersion::from_level(r.feature_level)
                .ok_or(ReplayError::UnknownMetadataVersion(r.feature_level))?;
            self.metadata_version = Some(version);
        } else if r.feature_level == 0 {
            self.finalized.remove(&r.name);
        } else {
            self.finalized.insert(r.name.clone(), r.feature_level);
        }
        Ok(())
    }

    fn write(&self, out: &mut Vec<VersionedRecord>) {
        let mut push = |name: Str, feature_level: i16| {
            out.push(VersionedRecord::v0(FeatureLevelRecord { name, feature_level, ..Default::default() }));
        };
        if let Some(version) = self.metadata_version {
            push(Str::from_static(METADATA_VERSION), version.level());
        }
        for (name, level) in &self.finalized {
            push(name.clone(), *level);
        }
    }
}

/// The state of a cluster at one offset. Clones share everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetadataImage {
    pub provenance: Provenance,
    pub features: Arc<FeaturesImage>,
    pub cluster: Arc<ClusterImage>,
    pub topics: TopicsImage,
    pub configs: ConfigsImage,
    pub client_quotas: Arc<ClientQuotasImage>,
    /// The first producer id of the block after the last one given out; -1 if none was.
    pub next_producer_id: NextProducerId,
    pub acls: AclsImage,
    pub scram: Arc<ScramImage>,
    pub delegation_tokens: Arc<DelegationTokensImage>,
}

/// The first producer id that no block holds yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextProducerId(pub i64);

impl Default for NextProducerId {
    fn default() -> Self {
        NextProducerId(-1)
    }
}

impl MetadataImage {
    pub fn metadata_version(&self) -> MetadataVersion {
        self.features.metadata_version_or_default()
    }

    /// Applies one record. Records of metadata transactions change nothing here: see [`ImageBuilder`].
    pub fn replay(&mut self, record: &Record) -> Result<(), ReplayError> {
        match record {
            Record::RegisterBroker(r) => {
                let broker = BrokerRegistration::from_record(r);
                let cluster = Arc::make_mut(&mut self.cluster);
                cluster.brokers.insert(broker.id, Arc::new(broker));
            }
            Record::UnregisterBroker(r) => {
                Arc::make_mut(&mut self.cluster).unregister(r.broker_id, r.broker_epoch)?;
            }
            Record::FenceBroker(r) => {
                Arc::make_mut(&mut self.cluster).set_fenced(r.id, r.epoch, true)?;
            }
            Record::UnfenceBroker(r) => {
                Arc::make_mut(&mut self.cluster).set_fenced(r.id, r.epoch, false)?;
            }
            Record::BrokerRegistrationChange(r) => Arc::make_mut(&mut self.cluster).change(r)?,
            Record::RegisterController(r) => {
                let controller = ControllerRegistration::from_record(r);
                let cluster = Arc::make_mut(&mut self.cluster);
                cluster.controllers.insert(controller.id, Arc::new(controller));
            }
            Record::UnregisterController(r) => {
                Arc::make_mut(&mut self.cluster).controllers.remove(&r.controller_id);
            }
            Record::Topic(r) => self.topics.replay_topic(r),
            Record::Partition(r) => self.topics.replay_partition(r)?,
            Record::PartitionChange(r) => self.topics.replay_change(r)?,
            Record::RemoveTopic(r) => {
                let name = self.topics.replay_removal(&r.topic_id)?;
                self.configs.remove(&ConfigResource::topic(name));
            }
            Record::ClearElr(r) => self.topics.replay_clear_elr(&r.topic_name)?,
            Record::Config(r) => self.configs.replay(r),
            Record::FeatureLevel(r) => Arc::make_mut(&mut self.features).replay(r)?,
            Record::ClientQuota(r) => Arc::make_mut(&mut self.client_quotas).replay(r),
            Record::ProducerIds(r) => self.next_producer_id = NextProducerId(r.next_producer_id),
            Record::AccessControlEntry(r) => self.acls.replay(r),
            Record::RemoveAccessControlEntry(r) => drop(self.acls.entries.remove(&r.id)),
            Record::UserScramCredential(r) => Arc::make_mut(&mut self.scram).replay(r),
            Record::RemoveUserScramCredential(r) => {
                Arc::make_mut(&mut self.scram).replay_removal(r.mechanism, &r.name);
            }
            Record::DelegationToken(r) => Arc::make_mut(&mut self.delegation_tokens).replay(r),
            Record::RemoveDelegationToken(r) => {
                Arc::make_mut(&mut self.delegation_tokens).tokens.remove(&r.token_id);
            }
            // A log that once lived beside ZooKeeper still has its state.
            Record::NoOp(_) | Record::ZkMigrationState(_) => {}
            Record::BeginTransaction(_) | Record::EndTransaction(_) | Record::AbortTransaction(_) => {}
        }
        Ok(())
    }

    /// The records that build this image from nothing, as a snapshot holds them. What the image's
    /// metadata version cannot express is left out, as Kafka does.
    pub fn write(&self) -> Vec<VersionedRecord> {
        let version = self.metadata_version();
        let elr = self.features.is_elr_enabled();
        let mut out = Vec::new();
        self.features.write(&mut out);
        out.extend(self.cluster.brokers.values().map(|b| b.to_record(version)));
        if version.is_controller_registration_supported() {
            out.extend(self.cluster.controllers.values().map(|c| c.to_record()));
        }
        for topic in self.topics.iter() {
            topic.write(version, elr, &mut out);
        }
        self.configs.write(&mut out);
        self.client_quotas.write(&mut out);
        if self.next_producer_id.0 >= 0 {
            out.push(VersionedRecord::v0(ProducerIdsRecord {
                broker_id: -1,
                broker_epoch: -1,
                next_producer_id: self.next_producer_id.0,
                ..Default::default()
            }));
        }
        self.acls.write(&mut out);
        self.scram.write(version, &mut out);
        self.delegation_tokens.write(version, &mut out);
        out
    }
}
