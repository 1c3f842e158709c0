//! Topics and their partitions.

use std::sync::Arc;

use ottla_protocol::messages::metadata_record::partition_change_record::PartitionChangeRecord;
use ottla_protocol::messages::metadata_record::partition_record::PartitionRecord;
use ottla_protocol::messages::metadata_record::topic_record::TopicRecord;
use ottla_protocol::types::{Str, Uuid};

use super::chunked_map::ChunkedMap;
use super::{ReplayError, directory};
use crate::features::MetadataVersion;
use crate::record::VersionedRecord;

/// No broker leads the partition.
pub const NO_LEADER: i32 = -1;
/// In a PartitionChangeRecord: the leader stays.
pub const NO_LEADER_CHANGE: i32 = -2;

/// Whether the leader was elected without being in sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaderRecoveryState {
    Recovered,
    Recovering,
}

impl LeaderRecoveryState {
    pub fn code(self) -> i8 {
        match self {
            LeaderRecoveryState::Recovered => 0,
            LeaderRecoveryState::Recovering => 1,
        }
    }

    /// Any other number means no change and gives `None`.
    pub fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(LeaderRecoveryState::Recovered),
            1 => Some(LeaderRecoveryState::Recovering),
            _ => None,
        }
    }
}

/// The state of a partition as the controller keeps it. Source: Kafka `PartitionRegistration`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRegistration {
    /// The first is the preferred leader.
    pub replicas: Vec<i32>,
    /// Log directory of each replica, in the order of `replicas`.
    pub directories: Vec<Uuid>,
    pub isr: Vec<i32>,
    /// Replicas that a reassignment takes away.
    pub removing_replicas: Vec<i32>,
    /// Replicas that a reassignment brings.
    pub adding_replicas: Vec<i32>,
    /// [`NO_LEADER`] if there is none.
    pub leader: i32,
    pub leader_recovery_state: LeaderRecoveryState,
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    /// Replicas outside the ISR that hold every committed record (KIP-966).
    pub elr: Vec<i32>,
    pub last_known_elr: Vec<i32>,
}

fn directories_or_migrating(directories: &[Uuid], replicas: usize) -> Vec<Uuid> {
    if directories.is_empty() {
        return vec![directory::MIGRATING; replicas];
    }
    let mut out = directories.to_vec();
    // One for each replica, whatever the record held.
    out.resize(replicas, directory::UNASSIGNED);
    out
}

impl PartitionRegistration {
    pub(crate) fn from_record(r: &PartitionRecord) -> Self {
        PartitionRegistration {
            directories: directories_or_migrating(&r.directories, r.replicas.len()),
            replicas: r.replicas.clone(),
            isr: r.isr.clone(),
            removing_replicas: r.removing_replicas.clone(),
            adding_replicas: r.adding_replicas.clone(),
            leader: r.leader,
            leader_recovery_state: LeaderRecoveryState::from_code(r.leader_recovery_state)
                .unwrap_or(LeaderRecoveryState::Recovered),
            leader_epoch: r.leader_epoch,
            partition_epoch: r.partition_epoch,
            elr: r.eligible_leader_replicas.clone().unwrap_or_default(),
            last_known_elr: r.last_known_elr.clone().unwrap_or_default(),
        }
    }

    pub(crate) fn merge(&mut self, r: &PartitionChangeRecord) {
        if let Some(replicas) = &r.replicas {
            self.replicas = replicas.clone();
        }
        let directories = r.directories.as_deref().unwrap_or(&self.directories);
        self.directories = directories_or_migrating(directories, self.replicas.len());
        if let Some(isr) = &r.isr {
            self.isr = isr.clone();
        }
        if let Some(removing) = &r.removing_replicas {
            self.removing_replicas = removing.clone();
        }
        if let Some(adding) = &r.adding_replicas {
            self.adding_replicas = adding.clone();
        }
        if r.leader != NO_LEADER_CHANGE {
            self.leader = r.leader;
            self.leader_epoch = self.leader_epoch.wrapping_add(1);
        }
        if let Some(state) = LeaderRecoveryState::from_code(r.leader_recovery_state) {
            self.leader_recovery_state = state;
        }
        if let Some(elr) = &r.eligible_leader_replicas {
            self.elr = elr.clone();
        }
        if let Some(last_known) = &r.last_known_elr {
            self.last_known_elr = last_known.clone();
        }
        self.partition_epoch = self.partition_epoch.wrapping_add(1);
    }

    pub fn has_leader(&self) -> bool {
        self.leader != NO_LEADER
    }

    /// The replica that leads when everything is well.
    pub fn preferred_replica(&self) -> Option<i32> {
        self.replicas.first().copied()
    }

    /// The log directory of a broker's replica.
    pub fn directory_of(&self, broker: i32) -> Option<Uuid> {
        let i = self.replicas.iter().position(|r| *r == broker)?;
        self.directories.get(i).copied()
    }

    pub fn is_reassigning(&self) -> bool {
        !self.adding_replicas.is_empty() || !self.removing_replicas.is_empty()
    }

    pub(crate) fn to_record(
        &self,
        topic_id: Uuid,
        partition_id: i32,
        version: MetadataVersion,
        elr_enabled: bool,
    ) -> VersionedRecord {
        let elr = |ids: &Vec<i32>| (elr_enabled && !ids.is_empty()).then(|| ids.clone());
        let record = PartitionRecord {
            partition_id,
            topic_id,
            replicas: self.replicas.clone(),
            isr: self.isr.clone(),
            removing_replicas: self.removing_replicas.clone(),
            adding_replicas: self.adding_replicas.clone(),
            leader: self.leader,
            leader_recovery_state: self.leader_recovery_state.code(),
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            directories: if version.is_directory_assignment_supported() {
                self.directories.clone()
            } else {
                Vec::new()
            },
            eligible_leader_replicas: elr(&self.elr),
            last_known_elr: elr(&self.last_known_elr),
            ..Default::default()
        };
        VersionedRecord::new(record, version.partition_record_version())
    }
}

/// A topic.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicImage {
    pub name: Str,
    pub id: Uuid,
    pub partitions: ChunkedMap<i32, Arc<PartitionRegistration>>,
}

impl TopicImage {
    pub fn partition(&self, id: i32) -> Option<&Arc<PartitionRegistration>> {
        self.partitions.get(&id)
    }

    pub(crate) fn write(&self, version: MetadataVersion, elr_enabled: bool, out: &mut Vec<VersionedRecord>) {
        out.push(VersionedRecord::v0(TopicRecord {
            name: self.name.clone(),
            topic_id: self.id,
            ..Default::default()
        }));
        for (id, p) in self.partitions.iter() {
            out.push(p.to_record(self.id, *id, version, elr_enabled));
        }
    }
}

/// Every topic, by name and by id.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TopicsImage {
    by_id: ChunkedMap<Uuid, Arc<TopicImage>>,
    by_name: ChunkedMap<Str, Uuid>,
}

impl TopicsImage {
    pub fn by_id(&self, id: &Uuid) -> Option<&Arc<TopicImage>> {
        self.by_id.get(id)
    }

    pub fn by_name(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.by_id.get(self.by_name.get(name)?)
    }

    pub fn id_of(&self, name: &str) -> Option<Uuid> {
        self.by_name.get(name).copied()
    }

    pub fn name_of(&self, id: &Uuid) -> Option<&Str> {
        self.by_id.get(id).map(|t| &t.name)
    }

    pub fn partition(&self, id: &Uuid, partition: i32) -> Option<&Arc<PartitionRegistration>> {
        self.by_id.get(id)?.partition(partition)
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// In order of ids.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.by_id.values()
    }

    /// In order of names.
    pub fn iter_by_name(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.by_name.values().filter_map(|id| self.by_id.get(id))
    }

    /// In order of names, from `name` on.
    pub fn iter_from_name<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Arc<TopicImage>> + use<'a> {
        self.by_name.range_from(name).filter_map(|(_, id)| self.by_id.get(id))
    }

    pub(crate) fn topics_by_id(&self) -> &ChunkedMap<Uuid, Arc<TopicImage>> {
        &self.by_id
    }

    pub(crate) fn replay_topic(&mut self, r: &TopicRecord) {
        let topic = TopicImage { name: r.name.clone(), id: r.topic_id, partitions: ChunkedMap::new() };
        self.by_name.insert(topic.name.clone(), topic.id);
        self.by_id.insert(topic.id, Arc::new(topic));
    }

    fn topic_mut(&mut self, id: &Uuid) -> Result<&mut TopicImage, ReplayError> {
        self.by_id.get_mut(id).map(Arc::make_mut).ok_or(ReplayError::UnknownTopic { id: *id })
    }

    pub(crate) fn replay_partition(&mut self, r: &PartitionRecord) -> Result<(), ReplayError> {
        let partition = Arc::new(PartitionRegistration::from_record(r));
        self.topic_mut(&r.topic_id)?.partitions.insert(r.partition_id, partition);
        Ok(())
    }

    pub(crate) fn replay_change(&mut self, r: &PartitionChangeRecord) -> Result<(), ReplayError> {
        let topic = self.topic_mut(&r.topic_id)?;
        let partition = topic
            .partitions
            .get_mut(&r.partition_id)
            .ok_or(ReplayError::UnknownPartition { id: r.topic_id, partition: r.partition_id })?;
        Arc::make_mut(partition).merge(r);
        Ok(())
    }

    /// The name of the topic that is gone.
    pub(crate) fn replay_removal(&mut self, id: &Uuid) -> Result<Str, ReplayError> {
        let topic = self.by_id.remove(id).ok_or(ReplayError::UnknownTopic { id: *id })?;
        // The name may stand for a younger topic by now.
        if self.by_name.get(&*topic.name) == Some(id) {
            self.by_name.remove(&*topic.name);
        }
        Ok(topic.name.clone())
    }

    /// Empties the ELR of one topic, or of all if the name is empty.
    pub(crate) fn replay_clear_elr(&mut self, name: &str) -> Result<(), ReplayError> {
        let ids: Vec<Uuid> = if name.is_empty() {
            self.by_id.keys().copied().collect()
        } else {
            let id = self.id_of(name);
            vec![id.ok_or_else(|| ReplayError::UnknownTopicName { name: name.into() })?]
        };
        for id in ids {
            let Some(topic) = self.by_id.get(&id) else {
                continue;
            };
            let affected: Vec<i32> = topic
                .partitions
                .iter()
                .filter(|(_, p)| !p.elr.is_empty() || !p.last_known_elr.is_empty())
                .map(|(i, _)| *i)
                .collect();
            for partition in affected {
                self.replay_change(&PartitionChangeRecord {
                    partition_id: partition,
                    topic_id: id,
                    eligible_leader_replicas: Some(Vec::new()),
                    last_known_elr: Some(Vec::new()),
                    ..Default::default()
                })?;
            }
        }
        Ok(())
    }
}
