//! Changes of a partition's state: leader elections, ISR and ELR, reassignment.
//! Source: Kafka `PartitionChangeBuilder`, KIP-966.

use ottla_protocol::messages::metadata_record::partition_change_record::PartitionChangeRecord;
use ottla_protocol::types::Uuid;

use super::Controller;
use crate::features::MetadataVersion;
use crate::image::{LeaderRecoveryState, NO_LEADER, NO_LEADER_CHANGE, PartitionRegistration, TopicImage};
use crate::record::VersionedRecord;

/// How a new leader is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Election {
    /// The first replica if it can, else as `Online`.
    Preferred,
    /// The leader stays if it can, else any replica in sync.
    Online,
    /// As `Online`, and at last any replica that is alive.
    Unclean,
}

/// The change of one partition, to be built into a record.
pub(super) struct PartitionChange<'a> {
    partition: &'a PartitionRegistration,
    topic_id: Uuid,
    partition_id: i32,
    acceptable: Box<dyn Fn(i32) -> bool + 'a>,
    default_dir: Box<dyn Fn(i32) -> Uuid + 'a>,
    version: MetadataVersion,
    min_isr: usize,
    elr_enabled: bool,
    pub(super) election: Election,
    pub(super) isr: Vec<i32>,
    pub(super) replicas: Vec<i32>,
    pub(super) removing: Vec<i32>,
    pub(super) adding: Vec<i32>,
    pub(super) recovery: LeaderRecoveryState,
    pub(super) unclean_shutdown: Option<i32>,
    /// A replica's new directory.
    pub(super) directory: Option<(i32, Uuid)>,
    elr: Vec<i32>,
}

fn contains_all(set: &[i32], of: &[i32]) -> bool {
    of.iter().all(|r| set.contains(r))
}

fn without(list: &[i32], remove: &[i32]) -> Vec<i32> {
    list.iter().copied().filter(|r| !remove.contains(r)).collect()
}

impl Controller {
    /// A change of a partition by brokers as they are now.
    pub(super) fn change<'a>(
        &'a self,
        topic: &TopicImage,
        partition_id: i32,
        partition: &'a PartitionRegistration,
    ) -> PartitionChange<'a> {
        self.change_with(topic, partition_id, partition, |b| self.is_active(b))
    }

    fn change_with<'a>(
        &'a self,
        topic: &TopicImage,
        partition_id: i32,
        partition: &'a PartitionRegistration,
        alive: impl Fn(i32) -> bool + 'a,
    ) -> PartitionChange<'a> {
        let image = self.image();
        PartitionChange {
            partition,
            topic_id: topic.id,
            partition_id,
            acceptable: Box::new(move |b| alive(b) && self.accepts_leader(partition, b)),
            default_dir: Box::new(|b| self.default_dir(b)),
            version: image.metadata_version(),
            min_isr: self.effective_min_isr(&topic.name),
            elr_enabled: image.features.is_elr_enabled(),
            election: Election::Online,
            isr: partition.isr.clone(),
            replicas: partition.replicas.clone(),
            removing: partition.removing_replicas.clone(),
            adding: partition.adding_replicas.clone(),
            recovery: partition.leader_recovery_state,
            unclean_shutdown: None,
            directory: None,
            elr: partition.elr.clone(),
        }
    }

    pub(super) fn preferred_election(
        &self,
        topic: &TopicImage,
        id: i32,
        partition: &PartitionRegistration,
    ) -> Option<VersionedRecord> {
        let mut change = self.change(topic, id, partition);
        change.election = Election::Preferred;
        change.build()
    }

    pub(super) fn unclean_election(
        &self,
        topic: &TopicImage,
        id: i32,
        partition: &PartitionRegistration,
    ) -> Option<VersionedRecord> {
        let mut change = self.change(topic, id, partition);
        change.election = Election::Unclean;
        change.build()
    }

    /// Elects leaders anew and shrinks ISRs where `selected` says, with some broker about to go
    /// (`removed`), come (`added`) or having lost its tail (`unclean`). Source:
    /// `ReplicationControlManager.generateLeaderAndIsrUpdates`.
    pub(super) fn add_leader_and_isr_updates(
        &self,
        removed: i32,
        added: i32,
        unclean: i32,
        selected: impl Fn(&PartitionRegistration) -> bool,
        records: &mut Vec<VersionedRecord>,
    ) {
        for topic in self.image().topics.iter() {
            for (id, partition) in topic.partitions.iter() {
                if !selected(partition) {
                    continue;
                }
                let alive = move |b: i32| b != removed && b != unclean && (b == added || self.is_active(b));
                let mut change = self.change_with(topic, *id, partition, alive);
                if self.unclean_election_enabled(&topic.name) {
                    change.election = Election::Unclean;
                }
                if unclean != NO_LEADER {
                    change.unclean_shutdown = Some(unclean);
                }
                change.isr = without(&partition.isr, &[removed, unclean]);
                records.extend(change.build());
            }
        }
    }
}

impl PartitionChange<'_> {
    fn is_valid_leader(&self, replica: i32) -> bool {
        let in_sync = self.isr.contains(&replica) || (self.isr.is_empty() && self.elr.contains(&replica));
        in_sync && (self.acceptable)(replica)
    }

    /// The last leader before the partition had none, if it alone may be trusted with the log.
    fn last_known_leader(&self) -> Option<i32> {
        if !self.elr_enabled || !self.elr.is_empty() || !self.isr.is_empty() {
            return None;
        }
        match self.partition.last_known_elr.as_slice() {
            [only] if (self.acceptable)(*only) => Some(*only),
            _ => None,
        }
    }

    /// The elected replica, and whether the election is unclean.
    fn elect(&self) -> (i32, bool) {
        let current = self.partition.leader;
        let first = self.replicas.first().copied();
        let mut candidates: Vec<i32> = Vec::with_capacity(self.replicas.len() + 2);
        if self.election == Election::Preferred {
            candidates.extend(first);
        }
        candidates.push(current);
        candidates.extend(&self.replicas);
        if let Some(found) = candidates.into_iter().find(|r| self.is_valid_leader(*r)) {
            return (found, false);
        }
        if let Some(last) = self.last_known_leader() {
            return (last, true);
        }
        if self.election == Election::Unclean
            && let Some(any) = self.replicas.iter().find(|r| (self.acceptable)(**r))
        {
            return (*any, true);
        }
        (NO_LEADER, false)
    }

    fn try_election(&mut self, record: &mut PartitionChangeRecord) {
        let (leader, unclean) = self.elect();
        if leader == self.partition.leader {
            return;
        }
        if self.elr.contains(&leader) {
            self.isr = vec![leader];
            self.elr.retain(|r| *r != leader);
        }
        record.leader = leader;
        if unclean {
            record.isr = Some(vec![leader]);
            if self.partition.leader_recovery_state != LeaderRecoveryState::Recovering {
                record.leader_recovery_state = LeaderRecoveryState::Recovering.code();
            }
        }
    }

    /// Ends the reassignment if the ISR allows it.
    fn complete_reassignment(&mut self) {
        if self.removing.is_empty() && self.adding.is_empty() {
            return;
        }
        let isr = without(&self.isr, &self.removing);
        let replicas = without(&self.replicas, &self.removing);
        let waits_for_all = self.adding.len() < self.removing.len();
        if isr.is_empty()
            || replicas.is_empty()
            || !contains_all(&isr, &self.adding)
            || (waits_for_all && !contains_all(&isr, &replicas))
        {
            return;
        }
        self.isr = isr;
        self.replicas = replicas;
        self.removing.clear();
        self.adding.clear();
    }

    /// Replicas that leave an ISR below its minimum stay eligible to lead.
    fn populate_elr(&mut self) {
        if !self.elr_enabled {
            return;
        }
        if self.isr.len() >= self.min_isr {
            self.elr.clear();
            return;
        }
        let mut candidates = self.elr.clone();
        candidates.extend(&self.partition.isr);
        candidates.sort_unstable();
        candidates.dedup();
        candidates.retain(|r| !self.isr.contains(r) && Some(*r) != self.unclean_shutdown);
        self.elr = candidates;
    }

    /// The record, or none if nothing changes.
    pub(super) fn build(mut self) -> Option<VersionedRecord> {
        let old = self.partition;
        let mut record = PartitionChangeRecord {
            topic_id: self.topic_id,
            partition_id: self.partition_id,
            ..Default::default()
        };
        self.complete_reassignment();
        self.populate_elr();
        self.try_election(&mut record);
        // A replica that is gone must not go on as if it were one: the epoch fences it.
        if record.leader == NO_LEADER_CHANGE && !contains_all(&self.replicas, &old.replicas) {
            record.leader = old.leader;
        }
        if record.isr.is_some() || !self.elr_enabled {
            self.elr.clear();
        }
        if self.elr != old.elr {
            record.eligible_leader_replicas = Some(self.elr.clone());
        }
        if record.isr.is_none() && (!self.isr.is_empty() || self.elr_enabled) && self.isr != old.isr {
            record.isr = Some(self.isr.clone());
        }
        if self.version.is_leader_epoch_bump_required_on_isr_shrink()
            && record.leader == NO_LEADER_CHANGE
            && record.isr.as_ref().is_some_and(|isr| !contains_all(isr, &old.isr))
        {
            record.leader = old.leader;
        }
        if self.elr_enabled {
            if record.leader == NO_LEADER && old.last_known_elr.is_empty() {
                record.last_known_elr = Some(vec![old.leader]);
            } else if record.leader >= 0 && !old.last_known_elr.is_empty() {
                record.last_known_elr = Some(Vec::new());
            }
        }
        self.set_assignment(&mut record);
        if self.recovery != old.leader_recovery_state {
            record.leader_recovery_state = self.recovery.code();
        }
        let unchanged = PartitionChangeRecord {
            topic_id: self.topic_id,
            partition_id: self.partition_id,
            ..Default::default()
        };
        (record != unchanged).then(|| VersionedRecord::new(record, self.version.partition_record_version()))
    }

    fn set_assignment(&self, record: &mut PartitionChangeRecord) {
        let old = self.partition;
        if !self.replicas.is_empty() {
            if self.version.is_directory_assignment_supported() {
                let directories: Vec<Uuid> = self
                    .replicas
                    .iter()
                    .map(|r| match self.directory {
                        Some((broker, dir)) if broker == *r => dir,
                        _ => old.directory_of(*r).unwrap_or_else(|| (self.default_dir)(*r)),
                    })
                    .collect();
                if directories != old.directories {
                    record.directories = Some(directories);
                }
            }
            if self.replicas != old.replicas {
                record.replicas = Some(self.replicas.clone());
            }
        }
        if self.removing != old.removing_replicas {
            record.removing_replicas = Some(self.removing.clone());
        }
        if self.adding != old.adding_replicas {
            record.adding_replicas = Some(self.adding.clone());
        }
    }
}
