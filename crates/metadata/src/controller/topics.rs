//! DeleteTopics and CreatePartitions.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
use ottla_protocol::messages::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use ottla_protocol::messages::delete_topics_request::DeleteTopicsRequest;
use ottla_protocol::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};
use ottla_protocol::messages::metadata_record::remove_topic_record::RemoveTopicRecord;
use ottla_protocol::types::{Str, Uuid};

use super::{
    AllowAll, ApiError, Context, Controller, Decision, MAX_RECORDS_PER_USER_OP, Random, TopicAccess,
};
use crate::record::VersionedRecord;

fn result(name: Option<Str>, id: Uuid, error: Option<ApiError>) -> DeletableTopicResult {
    let (code, message) = match error {
        None => (ErrorCode::None, None),
        Some(e) => (e.code, e.message),
    };
    DeletableTopicResult {
        name,
        topic_id: id,
        error_code: code.code(),
        error_message: message.map(Str::from),
        ..Default::default()
    }
}

fn invalid(text: &str) -> Option<ApiError> {
    Some(ApiError::new(ErrorCode::InvalidRequest, text))
}

impl Controller {
    /// DeleteTopics for a principal that may do everything.
    pub fn decide_delete_topics(
        &self,
        ctx: &Context<'_>,
        request: &DeleteTopicsRequest,
    ) -> Result<Decision<DeleteTopicsResponse>, ApiError> {
        self.decide_delete_topics_as(ctx, request, &AllowAll)
    }

    /// DeleteTopics by name and by id. An `Err` holds for the whole request.
    pub fn decide_delete_topics_as(
        &self,
        ctx: &Context<'_>,
        request: &DeleteTopicsRequest,
        access: &dyn TopicAccess,
    ) -> Result<Decision<DeleteTopicsResponse>, ApiError> {
        if !self.config.get_bool("delete.topic.enable") {
            return Err(if ctx.version < 3 {
                ApiError::new(ErrorCode::InvalidRequest, "This version does not support topic deletion.")
            } else {
                ApiError::silent(ErrorCode::TopicDeletionDisabled)
            });
        }
        let denied = || Some(ApiError::plain(ErrorCode::TopicAuthorizationFailed));
        let topics = &self.image().topics;
        let mut out = Vec::new();
        let mut names: BTreeMap<&Str, usize> = BTreeMap::new();
        let mut ids: BTreeMap<Uuid, usize> = BTreeMap::new();
        for name in &request.topic_names {
            *names.entry(name).or_default() += 1;
        }
        for t in &request.topics {
            match (&t.name, t.topic_id.is_zero()) {
                (None, true) => {
                    out.push(result(None, Uuid::ZERO, invalid("Neither topic name nor id were specified.")))
                }
                (None, false) => *ids.entry(t.topic_id).or_default() += 1,
                (Some(name), true) => *names.entry(name).or_default() += 1,
                (Some(name), false) => out.push(result(
                    Some(name.clone()),
                    t.topic_id,
                    invalid("You may not specify both topic name and topic id."),
                )),
            }
        }
        let mut chosen: BTreeMap<Uuid, Str> = BTreeMap::new();
        let mut doubled: BTreeSet<Uuid> = BTreeSet::new();
        for (id, times) in ids {
            if times > 1 {
                doubled.insert(id);
                out.push(result(None, id, invalid("Duplicate topic id.")));
                continue;
            }
            match topics.name_of(&id) {
                None => out.push(result(None, id, Some(ApiError::plain(ErrorCode::UnknownTopicId)))),
                Some(name) if access.can_delete(name) => {
                    chosen.insert(id, name.clone());
                }
                Some(name) => {
                    let shown = access.can_describe(name).then(|| name.clone());
                    out.push(result(shown, id, denied()));
                }
            }
        }
        for (name, times) in names {
            let named = |id, error| result(Some(name.clone()), id, error);
            if times > 1 {
                out.push(named(Uuid::ZERO, invalid("Duplicate topic name.")));
                continue;
            }
            if !access.can_describe(name) {
                out.push(named(Uuid::ZERO, denied()));
                continue;
            }
            let Some(id) = topics.id_of(name) else {
                let error = ApiError::plain(ErrorCode::UnknownTopicOrPartition);
                out.push(named(Uuid::ZERO, Some(error)));
                continue;
            };
            if !access.can_delete(name) {
                out.push(named(Uuid::ZERO, denied()));
            } else if doubled.contains(&id) || chosen.insert(id, name.clone()).is_some() {
                doubled.insert(id);
                chosen.remove(&id);
                out.push(named(
                    id,
                    invalid("The provided topic name maps to an ID that was already supplied."),
                ));
            }
        }
        let mut records = Vec::new();
        for (id, name) in chosen {
            if records.len() >= MAX_RECORDS_PER_USER_OP {
                return Err(ApiError::plain(ErrorCode::PolicyViolation));
            }
            records.push(VersionedRecord::v0(RemoveTopicRecord { topic_id: id, ..Default::default() }));
            out.push(result(Some(name), id, None));
        }
        let response = DeleteTopicsResponse { responses: out, ..Default::default() };
        Ok(Decision::atomic(records, response))
    }

    /// CreatePartitions for a principal that may do everything.
    pub fn decide_create_partitions(
        &self,
        request: &CreatePartitionsRequest,
        random: &mut dyn Random,
    ) -> Result<Decision<CreatePartitionsResponse>, ApiError> {
        let mut times: BTreeMap<&Str, usize> = BTreeMap::new();
        for t in &request.topics {
            *times.entry(&t.name).or_default() += 1;
        }
        let mut response = CreatePartitionsResponse::default();
        let mut records = Vec::new();
        let mut reported = BTreeSet::new();
        for topic in &request.topics {
            let result = if times.get(&topic.name).is_some_and(|n| *n > 1) {
                if !reported.insert(&topic.name) {
                    continue;
                }
                Err(ApiError::new(ErrorCode::InvalidRequest, "Duplicate topic name."))
            } else {
                self.create_partitions(topic, random)
            };
            let (code, message) = match result {
                Ok(own) if records.len() + own.len() > MAX_RECORDS_PER_USER_OP => {
                    return Err(ApiError::plain(ErrorCode::PolicyViolation));
                }
                Ok(own) => {
                    records.extend(own);
                    (ErrorCode::None, None)
                }
                Err(e) => (e.code, e.message),
            };
            response.results.push(CreatePartitionsTopicResult {
                name: topic.name.clone(),
                error_code: code.code(),
                error_message: message.map(Str::from),
                ..Default::default()
            });
        }
        if request.validate_only {
            records.clear();
        }
        Ok(Decision::atomic(records, response))
    }

    fn create_partitions(
        &self,
        request: &CreatePartitionsTopic,
        random: &mut dyn Random,
    ) -> Result<Vec<VersionedRecord>, ApiError> {
        let image = self.image();
        let Some(topic) = image.topics.by_name(&request.name) else {
            return Err(ApiError::silent(ErrorCode::UnknownTopicOrPartition));
        };
        let existing = topic.partitions.len() as i32;
        if request.count == existing {
            return Err(ApiError::new(
                ErrorCode::InvalidPartitions,
                format!("Topic already has {existing} partition(s)."),
            ));
        }
        if request.count < existing {
            return Err(ApiError::new(
                ErrorCode::InvalidPartitions,
                format!(
                    "The topic {} currently has {existing} partition(s); {} would not be an increase.",
                    request.name, request.count
                ),
            ));
        }
        let additional = request.count - existing;
        if let Some(assignments) = &request.assignments
            && assignments.len() != additional as usize
        {
            return Err(ApiError::new(
                ErrorCode::InvalidReplicaAssignment,
                format!(
                    "Attempted to add {additional} additional partition(s), but only {} assignment(s) were \
                     specified.",
                    assignments.len()
                ),
            ));
        }
        if additional as usize > MAX_RECORDS_PER_USER_OP {
            return Err(ApiError::new(
                ErrorCode::PolicyViolation,
                "Excessively large number of partitions per request.",
            ));
        }
        let factor = topic.partitions.values().next().map_or(0, |p| p.replicas.len());
        let mut new = Vec::with_capacity(additional as usize);
        match &request.assignments {
            Some(assignments) => {
                for (i, a) in assignments.iter().enumerate() {
                    self.validate_assignment(&a.broker_ids, Some(factor))?;
                    let partition = self.new_partition(a.broker_ids.clone()).ok_or_else(|| {
                        ApiError::new(
                            ErrorCode::InvalidReplicaAssignment,
                            format!(
                                "All brokers specified in the manual partition assignment for partition {} \
                                 are fenced or in controlled shutdown.",
                                existing as usize + i
                            ),
                        )
                    })?;
                    new.push(partition);
                }
            }
            None => {
                let mut placer = self.placer(random);
                for _ in 0..additional {
                    let replicas = placer.place(factor as i16, random)?;
                    let partition = self.new_partition(replicas).ok_or_else(|| {
                        ApiError::new(
                            ErrorCode::InvalidReplicationFactor,
                            format!(
                                "Unable to replicate the partition {factor} time(s): All brokers are \
                                 currently fenced or in controlled shutdown."
                            ),
                        )
                    })?;
                    new.push(partition);
                }
            }
        }
        let (version, elr) = (image.metadata_version(), image.features.is_elr_enabled());
        Ok(new
            .iter()
            .enumerate()
            .map(|(i, p)| p.to_record(topic.id, existing + i as i32, version, elr))
            .collect())
    }
}
