//! The controller: decides requests into records, and replays records into its image (D6).
//!
//! `decide_*` changes nothing but when brokers were last heard of; [`Controller::replay`] is the only
//! writer of the image. One task owns a controller while its node leads the quorum: it decides a
//! request, appends the records, replays them, and sends the response once they are committed. When
//! leadership is lost the controller is dropped.

pub mod acl_names;
mod acls;
mod bootstrap;
mod configs;
mod features;
mod partition_change;
mod partitions;
mod placement;
mod producer_ids;
mod quotas;
mod reassignment;
mod registration;
mod scram;
mod sessions;
#[cfg(test)]
mod tests;
mod timers;
mod tokens;
mod topics;
mod topics_create;

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::types::Uuid;

pub use acls::{AclFilter, valid_acl_enums};
pub use bootstrap::{activation_records, bootstrap_records};
pub use placement::validate_topic_name;
pub use producer_ids::PRODUCER_ID_BLOCK_SIZE;
pub use scram::{salted_password, scram_record};

use crate::config::table::{self, topic_key, topic_synonyms};
use crate::config::{ConfigError, ConfigValue, StaticConfig, default_value, parse_value};
use crate::image::{
    ConfigResource, ImageBuilder, MetadataImage, PartitionRegistration, ReplayError, directory,
};
use crate::record::{Record, VersionedRecord};
use sessions::Sessions;
use timers::Timers;

/// No operation of a user may write more records than this.
pub const MAX_RECORDS_PER_USER_OP: usize = 10_000;
/// No request may create more partitions than this.
pub const MAX_PARTITIONS_PER_BATCH: i64 = 10_000;

/// A refusal, as it stands in a response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", code.name(), message.as_deref().unwrap_or(""))]
pub struct ApiError {
    pub code: ErrorCode,
    pub message: Option<String>,
}

impl ApiError {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        ApiError { code, message: Some(message.into()) }
    }

    /// With the error code's own text.
    pub fn plain(code: ErrorCode) -> Self {
        ApiError::new(code, code.message())
    }

    /// Without a text.
    pub fn silent(code: ErrorCode) -> Self {
        ApiError { code, message: None }
    }
}

impl From<ConfigError> for ApiError {
    fn from(e: ConfigError) -> Self {
        let code = match &e {
            ConfigError::Invalid { .. } | ConfigError::Rule(_) | ConfigError::InvalidConfiguration(_) => {
                ErrorCode::InvalidConfig
            }
            ConfigError::InvalidRequest(_) => ErrorCode::InvalidRequest,
        };
        ApiError::new(code, e.to_string())
    }
}

/// What a decision is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision<R> {
    /// To be appended in this order.
    pub records: Vec<VersionedRecord>,
    /// To be sent once the records are committed.
    pub response: R,
    /// The records must go into one batch.
    pub atomic: bool,
    /// The quorum is to raise `kraft.version`, before the records are appended.
    pub kraft_upgrade: Option<i16>,
}

impl<R> Decision<R> {
    pub(crate) fn of(records: Vec<VersionedRecord>, response: R) -> Self {
        Decision { records, response, atomic: false, kraft_upgrade: None }
    }

    pub(crate) fn atomic(records: Vec<VersionedRecord>, response: R) -> Self {
        Decision { records, response, atomic: true, kraft_upgrade: None }
    }
}

/// What a decision needs to know beside the request.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Milliseconds since the epoch.
    pub now_ms: i64,
    /// Offset that the next record will get.
    pub next_offset: i64,
    /// Who asks, as `User:name`.
    pub principal: &'a str,
    /// Whether a broker forwarded the request.
    pub forwarded: bool,
    /// Version of the request.
    pub version: i16,
}

/// What the quorum says of `kraft.version`, which stands in its own control records.
#[derive(Debug, Clone, Copy)]
pub struct KRaftVersion {
    /// The finalized level.
    pub level: i16,
    /// Whether the quorum could raise it to the newest level now.
    pub can_upgrade: bool,
}

/// A source of randomness that the caller owns; a seeded one makes decisions repeatable.
pub trait Random {
    fn next_u64(&mut self) -> u64;
}

impl<F: FnMut() -> u64> Random for F {
    fn next_u64(&mut self) -> u64 {
        self()
    }
}

/// A number below `bound`, which must not be 0.
pub(crate) fn below(random: &mut dyn Random, bound: usize) -> usize {
    (random.next_u64() % bound as u64) as usize
}

/// A new id that Kafka would give too: not reserved, and not starting with a dash.
pub(crate) fn random_id(random: &mut dyn Random) -> Uuid {
    loop {
        let mut bytes = [0u8; 16];
        bytes[..8].copy_from_slice(&random.next_u64().to_be_bytes());
        bytes[8..].copy_from_slice(&random.next_u64().to_be_bytes());
        let id = Uuid::from_random(bytes);
        if !id.is_reserved() && !id.to_string().starts_with('-') {
            return id;
        }
    }
}

/// What a principal may do with topics. Without an authorizer: everything.
pub trait TopicAccess {
    fn can_create(&self, topic: &str) -> bool;
    fn can_delete(&self, topic: &str) -> bool;
    fn can_describe(&self, topic: &str) -> bool;
    fn can_describe_configs(&self, topic: &str) -> bool;
}

/// Everybody may do everything.
#[derive(Debug, Clone, Copy)]
pub struct AllowAll;

impl TopicAccess for AllowAll {
    fn can_create(&self, _topic: &str) -> bool {
        true
    }
    fn can_delete(&self, _topic: &str) -> bool {
        true
    }
    fn can_describe(&self, _topic: &str) -> bool {
        true
    }
    fn can_describe_configs(&self, _topic: &str) -> bool {
        true
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Controller {
    config: Arc<StaticConfig>,
    cluster_id: String,
    builder: ImageBuilder,
    /// Offset of the last registration record of each broker.
    registration_offsets: BTreeMap<i32, i64>,
    sessions: Sessions,
    timers: Timers,
    /// Controllers that are voters, for checks of feature support.
    voter_ids: Vec<i32>,
}

impl Controller {
    /// A controller that takes over at `image`. `now_ms` starts the sessions of registered brokers.
    pub fn new(
        config: Arc<StaticConfig>,
        cluster_id: &str,
        voter_ids: Vec<i32>,
        image: MetadataImage,
        now_ms: i64,
    ) -> Self {
        let mut sessions = Sessions::new(config.get_long("broker.session.timeout.ms"));
        for (id, broker) in image.cluster.brokers.iter().filter(|(_, b)| !b.fenced) {
            // A broker of this very process cannot be alive from before: it registers again at once.
            if !(config.roles.broker && *id == config.node_id) {
                sessions.touch(*id, broker.epoch, -1, now_ms);
            }
        }
        let registration_offsets = image.cluster.brokers.iter().map(|(id, b)| (*id, b.epoch)).collect();
        let timers = Timers::new(&config, now_ms);
        Controller {
            config,
            cluster_id: cluster_id.to_owned(),
            builder: ImageBuilder::new(image),
            registration_offsets,
            sessions,
            timers,
            voter_ids,
        }
    }

    /// The image with everything decided so far.
    pub fn image(&self) -> &MetadataImage {
        self.builder.newest()
    }

    pub fn config(&self) -> &StaticConfig {
        &self.config
    }

    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Applies a record that was appended at `offset`.
    pub fn replay(&mut self, offset: i64, record: &Record) -> Result<(), ReplayError> {
        self.builder.replay(record)?;
        match record {
            Record::RegisterBroker(r) => {
                self.registration_offsets.insert(r.broker_id, offset);
            }
            Record::UnregisterBroker(r) => {
                self.registration_offsets.remove(&r.broker_id);
                self.sessions.remove(r.broker_id);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether a broker may lead and take new replicas: registered, unfenced, not shutting down.
    pub(crate) fn is_active(&self, broker: i32) -> bool {
        self.image().cluster.brokers.get(&broker).is_some_and(|b| !b.fenced && !b.in_controlled_shutdown)
    }

    /// Whether a broker can lead a partition: active, its replica's directory online.
    pub(crate) fn accepts_leader(&self, partition: &PartitionRegistration, broker: i32) -> bool {
        let dir = partition.directory_of(broker).unwrap_or(directory::MIGRATING);
        self.image().cluster.brokers.get(&broker).is_some_and(|b| b.has_online_dir(&dir))
    }

    /// The directory that a new replica of a broker starts in (`ClusterControlManager.defaultDir`).
    pub(crate) fn default_dir(&self, broker: i32) -> Uuid {
        match self.image().cluster.brokers.get(&broker) {
            None => directory::UNASSIGNED,
            Some(b) => match b.directories.as_slice() {
                [] => directory::MIGRATING,
                [only] => *only,
                _ => directory::UNASSIGNED,
            },
        }
    }

    pub(crate) fn check_broker_epoch(&self, id: i32, epoch: i64) -> Result<(), ApiError> {
        match self.image().cluster.broker_epoch(id) {
            None => Err(ApiError::new(
                ErrorCode::StaleBrokerEpoch,
                format!("No broker registration found for broker id {id}"),
            )),
            Some(current) if current != epoch => Err(ApiError::new(
                ErrorCode::StaleBrokerEpoch,
                format!("Expected broker epoch {current}, but got broker epoch {epoch}"),
            )),
            Some(_) => Ok(()),
        }
    }

    /// A topic's value of a key: its own, else the dynamic ones of this node and of all brokers,
    /// else the file's, else the default. Values that do not parse count as unset.
    pub(crate) fn topic_value(&self, topic: &str, name: &str) -> ConfigValue {
        let configs = &self.image().configs;
        let own = configs.value(&ConfigResource::topic(topic), name);
        if let (Some(text), Some(key)) = (own, topic_key(name))
            && let Ok(value) = parse_value(key, text)
        {
            return value;
        }
        let synonyms = topic_synonyms(name);
        for resource in [ConfigResource::broker(self.config.node_id), ConfigResource::all_brokers()] {
            for s in synonyms {
                let value = configs
                    .value(&resource, s.name)
                    .and_then(|text| parse_value(table::broker_key(s.name)?, text).ok());
                if let Some(value) = value {
                    return value;
                }
            }
        }
        if topic_key(name).is_some() {
            crate::config::topic_default(&self.config, name)
        } else {
            topic_key(name).and_then(default_value).unwrap_or(ConfigValue::Null)
        }
    }

    /// min.insync.replicas of a topic, at most its replication factor.
    pub(crate) fn effective_min_isr(&self, topic: &str) -> usize {
        let configured = match self.topic_value(topic, "min.insync.replicas") {
            ConfigValue::Int(v) => usize::try_from(v).unwrap_or(1),
            _ => 1,
        };
        let replicas = self
            .image()
            .topics
            .by_name(topic)
            .and_then(|t| t.partition(0))
            .map_or(configured, |p| p.replicas.len());
        configured.min(replicas)
    }

    pub(crate) fn unclean_election_enabled(&self, topic: &str) -> bool {
        self.topic_value(topic, "unclean.leader.election.enable") == ConfigValue::Boolean(true)
    }
}
