//! AlterPartition, ElectLeaders and AssignReplicasToDirs.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_partition_request::{self as req, AlterPartitionRequest};
use ottla_protocol::messages::alter_partition_response::{self as resp, AlterPartitionResponse};
use ottla_protocol::messages::assign_replicas_to_dirs_request::AssignReplicasToDirsRequest;
use ottla_protocol::messages::assign_replicas_to_dirs_response::{
    self as dirs, AssignReplicasToDirsResponse,
};
use ottla_protocol::messages::elect_leaders_request::ElectLeadersRequest;
use ottla_protocol::messages::elect_leaders_response::{
    ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use ottla_protocol::types::Str;

use super::partition_change::Election;
use super::{ApiError, Context, Controller, Decision, MAX_RECORDS_PER_USER_OP};
use crate::image::{LeaderRecoveryState, NO_LEADER_CHANGE, PartitionRegistration, TopicImage};
use crate::record::{Record, VersionedRecord};

/// What ElectLeaders asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ElectionType {
    Preferred,
    Unclean,
}

impl Controller {
    /// AlterPartition: a leader proposes a new ISR.
    pub fn decide_alter_partition(
        &self,
        ctx: &Context<'_>,
        request: &AlterPartitionRequest,
    ) -> Result<Decision<AlterPartitionResponse>, ApiError> {
        self.check_broker_epoch(request.broker_id, request.broker_epoch)?;
        let mut response = AlterPartitionResponse::default();
        let mut records = Vec::new();
        for t in &request.topics {
            let mut out = resp::TopicData { topic_id: t.topic_id, ..Default::default() };
            let topic = self.image().topics.by_id(&t.topic_id);
            for p in &t.partitions {
                let result = match topic {
                    None => Err(ErrorCode::UnknownTopicId),
                    Some(topic) => self.alter_partition(ctx, request.broker_id, topic, p, &mut records),
                };
                out.partitions.push(match result {
                    Ok(data) => data,
                    Err(code) => resp::PartitionData {
                        partition_index: p.partition_index,
                        error_code: code.code(),
                        ..Default::default()
                    },
                });
            }
            response.topics.push(out);
        }
        Ok(Decision::of(records, response))
    }

    fn alter_partition(
        &self,
        ctx: &Context<'_>,
        broker: i32,
        topic: &TopicImage,
        p: &req::PartitionData,
        records: &mut Vec<VersionedRecord>,
    ) -> Result<resp::PartitionData, ErrorCode> {
        // Before version 3 a leader did not tell the epochs of the brokers it names.
        let isr: Vec<(i32, i64)> = if ctx.version < 3 {
            p.new_isr.iter().map(|b| (*b, -1)).collect()
        } else {
            p.new_isr_with_epochs.iter().map(|b| (b.broker_id, b.broker_epoch)).collect()
        };
        let partition = topic.partition(p.partition_index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        self.check_proposed_isr(broker, partition, p, &isr)?;
        let mut change = self.change(topic, p.partition_index, partition);
        if self.unclean_election_enabled(&topic.name) {
            change.election = Election::Unclean;
        }
        change.isr = isr.iter().map(|(b, _)| *b).collect();
        change.recovery =
            LeaderRecoveryState::from_code(p.leader_recovery_state).ok_or(ErrorCode::InvalidRequest)?;
        let mut new = PartitionRegistration::clone(partition);
        if let Some(record) = change.build()
            && let Record::PartitionChange(r) = &record.record
        {
            let elected = r.leader != broker && r.leader != NO_LEADER_CHANGE;
            new.merge(r);
            records.push(record);
            if elected {
                return Err(ErrorCode::NewLeaderElected);
            }
        }
        Ok(resp::PartitionData {
            partition_index: p.partition_index,
            error_code: ErrorCode::None.code(),
            leader_id: new.leader,
            leader_epoch: new.leader_epoch,
            isr: new.isr.clone(),
            leader_recovery_state: new.leader_recovery_state.code(),
            partition_epoch: new.partition_epoch,
            ..Default::default()
        })
    }

    fn check_proposed_isr(
        &self,
        broker: i32,
        partition: &PartitionRegistration,
        p: &req::PartitionData,
        isr: &[(i32, i64)],
    ) -> Result<(), ErrorCode> {
        // A leader that is ahead knows of a newer controller.
        if p.leader_epoch > partition.leader_epoch || p.partition_epoch > partition.partition_epoch {
            return Err(ErrorCode::NotController);
        }
        if p.leader_epoch < partition.leader_epoch {
            return Err(ErrorCode::FencedLeaderEpoch);
        }
        if broker != partition.leader {
            return Err(ErrorCode::InvalidRequest);
        }
        if p.partition_epoch < partition.partition_epoch {
            return Err(ErrorCode::InvalidUpdateVersion);
        }
        let doubled = isr.iter().enumerate().any(|(i, (b, _))| isr[..i].iter().any(|(o, _)| o == b));
        let strange = isr.iter().any(|(b, _)| !partition.replicas.contains(b));
        if isr.is_empty() || doubled || strange || !isr.iter().any(|(b, _)| *b == broker) {
            return Err(ErrorCode::InvalidRequest);
        }
        let recovering = p.leader_recovery_state == LeaderRecoveryState::Recovering.code();
        let was_recovered = partition.leader_recovery_state == LeaderRecoveryState::Recovered;
        if recovering && (isr.len() > 1 || was_recovered) {
            return Err(ErrorCode::InvalidRequest);
        }
        let ineligible =
            isr.iter().any(|(b, epoch)| {
                self.image().cluster.brokers.get(b).is_none_or(|r| {
                    r.in_controlled_shutdown || r.fenced || (*epoch != -1 && r.epoch != *epoch)
                })
            });
        if ineligible {
            return Err(ErrorCode::IneligibleReplica);
        }
        Ok(())
    }

    /// ElectLeaders.
    pub fn decide_elect_leaders(
        &self,
        request: &ElectLeadersRequest,
    ) -> Result<Decision<ElectLeadersResponse>, ApiError> {
        let kind = match request.election_type {
            0 => ElectionType::Preferred,
            1 => ElectionType::Unclean,
            other => {
                return Err(ApiError::new(
                    ErrorCode::InvalidRequest,
                    format!("Unknown election type {other}"),
                ));
            }
        };
        let mut records = Vec::new();
        let mut response = ElectLeadersResponse::default();
        match &request.topic_partitions {
            None => {
                for topic in self.image().topics.iter_by_name() {
                    let mut out = ReplicaElectionResult { topic: topic.name.clone(), ..Default::default() };
                    for id in topic.partitions.keys() {
                        match self.elect_leader(&topic.name, *id, kind, &mut records) {
                            Err(e) if e.code == ErrorCode::ElectionNotNeeded => {}
                            result => out.partition_result.push(election_result(*id, result)),
                        }
                        if records.len() > MAX_RECORDS_PER_USER_OP {
                            return Err(ApiError::plain(ErrorCode::PolicyViolation));
                        }
                    }
                    response.replica_election_results.push(out);
                }
            }
            Some(topics) => {
                for topic in topics {
                    let mut out = ReplicaElectionResult { topic: topic.topic.clone(), ..Default::default() };
                    for id in &topic.partitions {
                        let result = self.elect_leader(&topic.topic, *id, kind, &mut records);
                        out.partition_result.push(election_result(*id, result));
                    }
                    response.replica_election_results.push(out);
                }
            }
        }
        Ok(Decision::of(records, response))
    }

    fn elect_leader(
        &self,
        name: &str,
        id: i32,
        kind: ElectionType,
        records: &mut Vec<VersionedRecord>,
    ) -> Result<(), ApiError> {
        let unknown = |text: String| ApiError::new(ErrorCode::UnknownTopicOrPartition, text);
        let topic =
            self.image().topics.by_name(name).ok_or_else(|| unknown(format!("No such topic as {name}")))?;
        let partition =
            topic.partition(id).ok_or_else(|| unknown(format!("No such partition as {name}-{id}")))?;
        let needless = match kind {
            ElectionType::Preferred => partition.preferred_replica() == Some(partition.leader),
            ElectionType::Unclean => partition.has_leader(),
        };
        if needless {
            return Err(ApiError::plain(ErrorCode::ElectionNotNeeded));
        }
        let record = match kind {
            ElectionType::Preferred => self.preferred_election(topic, id, partition),
            ElectionType::Unclean => self.unclean_election(topic, id, partition),
        };
        match record {
            Some(r) => {
                records.push(r);
                Ok(())
            }
            None => Err(ApiError::plain(match kind {
                ElectionType::Preferred => ErrorCode::PreferredLeaderNotAvailable,
                ElectionType::Unclean => ErrorCode::EligibleLeadersNotAvailable,
            })),
        }
    }

    /// AssignReplicasToDirs: a broker says in which directories its replicas are.
    pub fn decide_assign_replicas_to_dirs(
        &self,
        request: &AssignReplicasToDirsRequest,
    ) -> Result<Decision<AssignReplicasToDirsResponse>, ApiError> {
        if !self.image().metadata_version().is_directory_assignment_supported() {
            return Err(ApiError::new(
                ErrorCode::UnsupportedVersion,
                "Directory assignment is not supported yet.",
            ));
        }
        self.check_broker_epoch(request.broker_id, request.broker_epoch)?;
        let mut records = Vec::new();
        let mut response = AssignReplicasToDirsResponse::default();
        for d in &request.directories {
            let mut dir_out = dirs::DirectoryData { id: d.id, ..Default::default() };
            for t in &d.topics {
                let mut topic_out = dirs::TopicData { topic_id: t.topic_id, ..Default::default() };
                let topic = self.image().topics.by_id(&t.topic_id);
                for p in &t.partitions {
                    let code = match topic.map(|t| (t, t.partition(p.partition_index))) {
                        None => ErrorCode::UnknownTopicId,
                        Some((_, None)) => ErrorCode::UnknownTopicOrPartition,
                        Some((_, Some(r))) if !r.replicas.contains(&request.broker_id) => {
                            ErrorCode::NotLeaderOrFollower
                        }
                        Some((topic, Some(r))) => {
                            let mut change = self.change(topic, p.partition_index, r);
                            change.directory = Some((request.broker_id, d.id));
                            records.extend(change.build());
                            ErrorCode::None
                        }
                    };
                    topic_out.partitions.push(dirs::PartitionData {
                        partition_index: p.partition_index,
                        error_code: code.code(),
                        ..Default::default()
                    });
                }
                dir_out.topics.push(topic_out);
            }
            response.directories.push(dir_out);
        }
        Ok(Decision::of(records, response))
    }
}

fn election_result(id: i32, result: Result<(), ApiError>) -> PartitionResult {
    let (code, message) = match result {
        Ok(()) => (ErrorCode::None, None),
        Err(e) => (e.code, e.message),
    };
    PartitionResult {
        partition_id: id,
        error_code: code.code(),
        error_message: message.map(Str::from),
        ..Default::default()
    }
}
