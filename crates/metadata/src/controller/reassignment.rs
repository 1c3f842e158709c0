//! AlterPartitionReassignments and ListPartitionReassignments.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition,
};
use ottla_protocol::messages::alter_partition_reassignments_response::{
    AlterPartitionReassignmentsResponse, ReassignablePartitionResponse, ReassignableTopicResponse,
};
use ottla_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use ottla_protocol::messages::list_partition_reassignments_response::{
    ListPartitionReassignmentsResponse, OngoingPartitionReassignment, OngoingTopicReassignment,
};
use ottla_protocol::types::Str;

use super::partition_change::Election;
use super::{ApiError, Controller, Decision, MAX_RECORDS_PER_USER_OP};
use crate::image::{PartitionRegistration, TopicImage};
use crate::record::VersionedRecord;

impl Controller {
    /// AlterPartitionReassignments: starts, changes or cancels moves of replicas.
    pub fn decide_alter_partition_reassignments(
        &self,
        request: &AlterPartitionReassignmentsRequest,
    ) -> Result<Decision<AlterPartitionReassignmentsResponse>, ApiError> {
        if request.topics.is_empty() {
            return Ok(Decision::of(Vec::new(), AlterPartitionReassignmentsResponse::default()));
        }
        let mut records = Vec::new();
        let mut response = AlterPartitionReassignmentsResponse {
            allow_replication_factor_change: request.allow_replication_factor_change,
            error_message: None,
            ..Default::default()
        };
        for topic in &request.topics {
            let mut out = ReassignableTopicResponse { name: topic.name.clone(), ..Default::default() };
            for target in &topic.partitions {
                let allow = request.allow_replication_factor_change;
                let result = self.reassign(&topic.name, target, allow);
                let (code, message) = match result {
                    Ok(record) => {
                        records.extend(record);
                        (ErrorCode::None, None)
                    }
                    Err(e) => (e.code, e.message),
                };
                if records.len() > MAX_RECORDS_PER_USER_OP {
                    return Err(ApiError::plain(ErrorCode::PolicyViolation));
                }
                out.partitions.push(ReassignablePartitionResponse {
                    partition_index: target.partition_index,
                    error_code: code.code(),
                    error_message: message.map(Str::from),
                    ..Default::default()
                });
            }
            response.responses.push(out);
        }
        Ok(Decision::atomic(records, response))
    }

    fn reassign(
        &self,
        name: &str,
        target: &ReassignablePartition,
        allow_factor_change: bool,
    ) -> Result<Option<VersionedRecord>, ApiError> {
        let unknown = |text: String| ApiError::new(ErrorCode::UnknownTopicOrPartition, text);
        let topic = self
            .image()
            .topics
            .by_name(name)
            .ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
        let id = target.partition_index;
        let partition =
            topic.partition(id).ok_or_else(|| unknown(format!("Unable to find partition {name}:{id}.")))?;
        match &target.replicas {
            None => self.cancel_reassignment(topic, id, partition),
            Some(replicas) => self.change_reassignment(topic, id, partition, replicas, allow_factor_change),
        }
    }

    fn cancel_reassignment(
        &self,
        topic: &TopicImage,
        id: i32,
        partition: &PartitionRegistration,
    ) -> Result<Option<VersionedRecord>, ApiError> {
        if !partition.is_reassigning() {
            return Err(ApiError::plain(ErrorCode::NoReassignmentInProgress));
        }
        let original: Vec<i32> =
            partition.replicas.iter().copied().filter(|r| !partition.adding_replicas.contains(r)).collect();
        let mut isr: Vec<i32> = partition.isr.iter().copied().filter(|r| original.contains(r)).collect();
        let unclean_enabled = self.unclean_election_enabled(&topic.name);
        if isr.is_empty() {
            if !unclean_enabled {
                return Err(ApiError::new(
                    ErrorCode::InvalidReplicaAssignment,
                    format!(
                        "Unable to revert partition assignment for {}:{id} because it would require an \
                         unclean leader election.",
                        topic.name
                    ),
                ));
            }
            isr = original.first().copied().into_iter().collect();
        }
        let mut change = self.change(topic, id, partition);
        if unclean_enabled {
            change.election = Election::Unclean;
        }
        change.isr = isr;
        change.replicas = original;
        change.removing = Vec::new();
        change.adding = Vec::new();
        Ok(change.build())
    }

    fn change_reassignment(
        &self,
        topic: &TopicImage,
        id: i32,
        partition: &PartitionRegistration,
        target: &[i32],
        allow_factor_change: bool,
    ) -> Result<Option<VersionedRecord>, ApiError> {
        self.validate_assignment(target, None)?;
        if !allow_factor_change {
            let mut current = partition.replicas.clone();
            current.extend(&partition.adding_replicas);
            current.sort_unstable();
            current.dedup();
            current.retain(|r| !partition.removing_replicas.contains(r));
            if current.len() != target.len() {
                return Err(ApiError::new(
                    ErrorCode::InvalidReplicationFactor,
                    format!("The replication factor is changed from {} to {}", current.len(), target.len()),
                ));
            }
        }
        let difference = |a: &[i32], b: &[i32]| {
            let mut out: Vec<i32> = a.iter().copied().filter(|r| !b.contains(r)).collect();
            out.sort_unstable();
            out
        };
        let removing = difference(&partition.replicas, target);
        let adding = difference(target, &partition.replicas);
        let mut change = self.change(topic, id, partition);
        change.replicas = target.iter().chain(&removing).copied().collect();
        if !removing.is_empty() {
            change.removing = removing;
        }
        if !adding.is_empty() {
            change.adding = adding;
        }
        Ok(change.build())
    }

    /// ListPartitionReassignments.
    pub fn list_partition_reassignments(
        &self,
        request: &ListPartitionReassignmentsRequest,
    ) -> ListPartitionReassignmentsResponse {
        let mut response = ListPartitionReassignmentsResponse { error_message: None, ..Default::default() };
        let topics = &self.image().topics;
        let mut list = |topic: &TopicImage, ids: &mut dyn Iterator<Item = i32>| {
            let mut out = OngoingTopicReassignment { name: topic.name.clone(), ..Default::default() };
            for id in ids {
                let Some(p) = topic.partition(id).filter(|p| p.is_reassigning()) else {
                    continue;
                };
                out.partitions.push(OngoingPartitionReassignment {
                    partition_index: id,
                    replicas: p.replicas.clone(),
                    adding_replicas: p.adding_replicas.clone(),
                    removing_replicas: p.removing_replicas.clone(),
                    ..Default::default()
                });
            }
            if !out.partitions.is_empty() {
                response.topics.push(out);
            }
        };
        match &request.topics {
            None => topics.iter().for_each(|t| list(t, &mut t.partitions.keys().copied())),
            Some(wanted) => {
                for w in wanted {
                    if let Some(t) = topics.by_name(&w.name) {
                        list(t, &mut w.partition_indexes.iter().copied());
                    }
                }
            }
        }
        response
    }
}
