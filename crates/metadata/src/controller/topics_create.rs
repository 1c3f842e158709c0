//! CreateTopics.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};
use ottla_protocol::messages::metadata_record::topic_record::TopicRecord;
use ottla_protocol::types::Str;

use super::configs::ConfigOp;
use super::placement::{has_uncordoned_dirs, validate_topic_name};
use super::{
    AllowAll, ApiError, Context, Controller, Decision, MAX_PARTITIONS_PER_BATCH, MAX_RECORDS_PER_USER_OP,
    Random, TopicAccess, random_id,
};
use crate::config::TOPIC_KEYS;
use crate::describe::effective_topic_value;
use crate::image::{ConfigResource, LeaderRecoveryState, PartitionRegistration};
use crate::record::VersionedRecord;

/// The topic that nobody creates.
const CLUSTER_METADATA_TOPIC: &str = "__cluster_metadata";

impl Controller {
    /// CreateTopics for a principal that may do everything.
    pub fn decide_create_topics(
        &self,
        ctx: &Context<'_>,
        request: &CreateTopicsRequest,
        random: &mut dyn Random,
    ) -> Result<Decision<CreateTopicsResponse>, ApiError> {
        self.decide_create_topics_as(ctx, request, &AllowAll, random)
    }

    /// CreateTopics, with errors per topic. An `Err` holds for the whole request.
    pub fn decide_create_topics_as(
        &self,
        ctx: &Context<'_>,
        request: &CreateTopicsRequest,
        access: &dyn TopicAccess,
        random: &mut dyn Random,
    ) -> Result<Decision<CreateTopicsResponse>, ApiError> {
        let mut seen = BTreeSet::new();
        let mut doubled: BTreeSet<&Str> = BTreeSet::new();
        for t in &request.topics {
            if !seen.insert(&t.name) {
                doubled.insert(&t.name);
            }
        }
        let mut failures: Vec<(&Str, ApiError)> = doubled
            .iter()
            .map(|name| {
                let error = ApiError::new(ErrorCode::InvalidRequest, "Duplicate topic name.");
                (*name, error)
            })
            .collect();
        let mut effective: Vec<&CreatableTopic> = Vec::new();
        for t in request.topics.iter().filter(|t| !doubled.contains(&t.name)) {
            if &*t.name == CLUSTER_METADATA_TOPIC {
                failures.push((
                    &t.name,
                    ApiError::new(
                        ErrorCode::InvalidRequest,
                        format!("Creation of internal topic {CLUSTER_METADATA_TOPIC} is prohibited."),
                    ),
                ));
            } else if !access.can_create(&t.name) {
                failures.push((
                    &t.name,
                    ApiError::new(ErrorCode::TopicAuthorizationFailed, "Authorization failed."),
                ));
            } else {
                effective.push(t);
            }
        }
        self.check_total_partitions(&effective)?;

        let mut records = Vec::new();
        let mut response = CreateTopicsResponse::default();
        let mut new_names: BTreeMap<String, &Str> = BTreeMap::new();
        for topic in effective {
            let mut own = Vec::new();
            let result = self
                .check_new_name(topic, &new_names)
                .and_then(|()| self.create_topic(ctx, topic, access, random, &mut own));
            match result {
                Ok(result) => {
                    if records.len() + own.len() > MAX_RECORDS_PER_USER_OP {
                        return Err(ApiError::plain(ErrorCode::PolicyViolation));
                    }
                    new_names.insert(unify_collision_chars(&topic.name), &topic.name);
                    records.append(&mut own);
                    response.topics.push(result);
                }
                Err(e) => response.topics.push(failed(&topic.name, e)),
            }
        }
        for (name, e) in failures {
            response.topics.push(failed(name, e));
        }
        if request.validate_only {
            records.clear();
        }
        Ok(Decision::atomic(records, response))
    }

    fn check_total_partitions(&self, topics: &[&CreatableTopic]) -> Result<(), ApiError> {
        let default = self.config.get_long("num.partitions");
        let mut total = 0i64;
        for t in topics {
            total += match t.num_partitions {
                _ if !t.assignments.is_empty() => t.assignments.len() as i64,
                -1 => default,
                n => i64::from(n.max(0)),
            };
            if total > MAX_PARTITIONS_PER_BATCH {
                return Err(ApiError::new(
                    ErrorCode::PolicyViolation,
                    "Excessively large number of partitions per request.",
                ));
            }
        }
        Ok(())
    }

    fn check_new_name(
        &self,
        topic: &CreatableTopic,
        new_names: &BTreeMap<String, &Str>,
    ) -> Result<(), ApiError> {
        let name = &*topic.name;
        let topics = &self.image().topics;
        if topics.by_name(name).is_some() {
            return Err(ApiError::new(
                ErrorCode::TopicAlreadyExists,
                format!("Topic '{name}' already exists."),
            ));
        }
        if name.contains(['.', '_']) {
            let unified = unify_collision_chars(name);
            let existing = topics
                .iter_by_name()
                .map(|t| &t.name)
                .find(|n| n.len() == name.len() && unify_collision_chars(n) == unified)
                .or_else(|| new_names.get(&unified).copied());
            if let Some(other) = existing {
                return Err(ApiError::new(
                    ErrorCode::InvalidTopicException,
                    format!("Topic '{name}' collides with existing topic: {other}"),
                ));
            }
        }
        validate_topic_name(name).map_err(|text| ApiError::new(ErrorCode::InvalidTopicException, text))
    }

    fn create_topic(
        &self,
        ctx: &Context<'_>,
        topic: &CreatableTopic,
        access: &dyn TopicAccess,
        random: &mut dyn Random,
        records: &mut Vec<VersionedRecord>,
    ) -> Result<CreatableTopicResult, ApiError> {
        let nulls: Vec<&str> = topic.configs.iter().filter(|c| c.value.is_none()).map(|c| &*c.name).collect();
        if !nulls.is_empty() {
            return Err(ApiError::new(
                ErrorCode::InvalidConfig,
                format!("Null value not supported for topic configs: {}", nulls.join(",")),
            ));
        }
        let ops: BTreeMap<Str, ConfigOp> = topic
            .configs
            .iter()
            .filter_map(|c| Some((c.name.clone(), ConfigOp::Set(c.value.clone()?))))
            .collect();
        let config_records = if ops.is_empty() {
            Vec::new()
        } else {
            let resource = ConfigResource::topic(topic.name.clone());
            self.alter_resource(&resource, &ops, true, ctx.forwarded)?
        };
        let partitions = if topic.assignments.is_empty() {
            self.place_partitions(topic, random)?
        } else {
            self.assigned_partitions(topic)?
        };
        let image = self.image();
        let id = random_id(random);
        let mut result = CreatableTopicResult {
            name: topic.name.clone(),
            topic_id: id,
            error_code: ErrorCode::None.code(),
            error_message: None,
            ..Default::default()
        };
        if access.can_describe_configs(&topic.name) {
            result.num_partitions = partitions.len() as i32;
            result.replication_factor = partitions.first().map_or(0, |p| p.replicas.len() as i16);
            result.configs = Some(self.effective_configs(topic));
        } else {
            result.topic_config_error_code = ErrorCode::TopicAuthorizationFailed.code();
        }
        records.push(VersionedRecord::v0(TopicRecord {
            name: topic.name.clone(),
            topic_id: id,
            ..Default::default()
        }));
        records.extend(config_records);
        let (version, elr) = (image.metadata_version(), image.features.is_elr_enabled());
        for (i, p) in partitions.iter().enumerate() {
            records.push(p.to_record(id, i as i32, version, elr));
        }
        Ok(result)
    }

    fn effective_configs(&self, topic: &CreatableTopic) -> Vec<CreatableTopicConfigs> {
        let own = |name: &str| {
            topic.configs.iter().rev().find(|c| &*c.name == name).and_then(|c| c.value.as_deref())
        };
        TOPIC_KEYS
            .iter()
            .filter(|k| !k.internal || own(k.name).is_some())
            .map(|key| {
                let (value, source) = effective_topic_value(&self.config, &self.image().configs, own, key);
                CreatableTopicConfigs {
                    name: Str::from_static(key.name),
                    value: value.filter(|_| !key.is_sensitive()).map(Str::from),
                    read_only: false,
                    config_source: source.code(),
                    is_sensitive: key.is_sensitive(),
                    ..Default::default()
                }
            })
            .collect()
    }

    fn place_partitions(
        &self,
        topic: &CreatableTopic,
        random: &mut dyn Random,
    ) -> Result<Vec<PartitionRegistration>, ApiError> {
        if topic.replication_factor < -1 || topic.replication_factor == 0 {
            return Err(ApiError::new(
                ErrorCode::InvalidReplicationFactor,
                "Replication factor must be larger than 0, or -1 to use the default value.",
            ));
        }
        if topic.num_partitions < -1 || topic.num_partitions == 0 {
            return Err(ApiError::new(
                ErrorCode::InvalidPartitions,
                "Number of partitions was set to an invalid non-positive value.",
            ));
        }
        let count = match topic.num_partitions {
            -1 => self.config.get_int("num.partitions"),
            n => n,
        };
        let factor = match topic.replication_factor {
            -1 => self.config.get_int("default.replication.factor") as i16,
            n => n,
        };
        let unable = |text: &str| {
            ApiError::new(
                ErrorCode::InvalidReplicationFactor,
                format!("Unable to replicate the partition {factor} time(s): {text}"),
            )
        };
        let mut placer = self.placer(random);
        let mut out = Vec::new();
        for _ in 0..count {
            let replicas =
                placer.place(factor, random).map_err(|e| unable(e.message.as_deref().unwrap_or("")))?;
            let partition = self
                .new_partition(replicas)
                .ok_or_else(|| unable("All brokers are currently fenced or in controlled shutdown."))?;
            out.push(partition);
        }
        Ok(out)
    }

    /// A partition at its start, led by its first active replica. `None` if there is none.
    pub(super) fn new_partition(&self, replicas: Vec<i32>) -> Option<PartitionRegistration> {
        let isr: Vec<i32> = replicas.iter().copied().filter(|b| self.is_active(*b)).collect();
        let leader = *isr.first()?;
        Some(PartitionRegistration {
            directories: replicas.iter().map(|b| self.default_dir(*b)).collect(),
            replicas,
            isr,
            removing_replicas: Vec::new(),
            adding_replicas: Vec::new(),
            leader,
            leader_recovery_state: LeaderRecoveryState::Recovered,
            leader_epoch: 0,
            partition_epoch: 0,
            elr: Vec::new(),
            last_known_elr: Vec::new(),
        })
    }

    fn assigned_partitions(&self, topic: &CreatableTopic) -> Result<Vec<PartitionRegistration>, ApiError> {
        let bad = |code, text: String| Err(ApiError::new(code, text));
        if topic.replication_factor != -1 {
            return bad(
                ErrorCode::InvalidRequest,
                "A manual partition assignment was specified, but replication factor was not set to -1."
                    .to_owned(),
            );
        }
        if topic.num_partitions != -1 {
            return bad(
                ErrorCode::InvalidRequest,
                "A manual partition assignment was specified, but numPartitions was not set to -1."
                    .to_owned(),
            );
        }
        let mut by_index: BTreeMap<i32, PartitionRegistration> = BTreeMap::new();
        let mut factor = None;
        for a in &topic.assignments {
            if by_index.contains_key(&a.partition_index) {
                return bad(
                    ErrorCode::InvalidReplicaAssignment,
                    format!(
                        "Found multiple manual partition assignments for partition {}",
                        a.partition_index
                    ),
                );
            }
            self.validate_assignment(&a.broker_ids, factor)?;
            factor = Some(a.broker_ids.len());
            let Some(partition) = self.new_partition(a.broker_ids.clone()) else {
                return bad(
                    ErrorCode::InvalidReplicaAssignment,
                    format!(
                        "All brokers specified in the manual partition assignment for partition {} are \
                         fenced or in controlled shutdown.",
                        a.partition_index
                    ),
                );
            };
            by_index.insert(a.partition_index, partition);
        }
        if by_index.keys().copied().ne(0..by_index.len() as i32) {
            return bad(
                ErrorCode::InvalidReplicaAssignment,
                "partitions should be a consecutive 0-based integer sequence".to_owned(),
            );
        }
        Ok(by_index.into_values().collect())
    }

    /// Checks an assignment that somebody wrote by hand.
    pub(super) fn validate_assignment(
        &self,
        replicas: &[i32],
        factor: Option<usize>,
    ) -> Result<(), ApiError> {
        let bad = |text: String| Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, text));
        if replicas.is_empty() {
            return bad("The manual partition assignment includes an empty replica list.".to_owned());
        }
        let mut sorted = replicas.to_vec();
        sorted.sort_unstable();
        let mut previous = None;
        for id in sorted {
            let Some(broker) = self.image().cluster.brokers.get(&id) else {
                return bad(format!(
                    "The manual partition assignment includes broker {id}, but no such broker is \
                     registered."
                ));
            };
            if !has_uncordoned_dirs(broker) {
                return bad(format!(
                    "The manual partition assignment includes broker {id}, but all its log directories are \
                     cordoned."
                ));
            }
            if previous == Some(id) {
                return bad(format!(
                    "The manual partition assignment includes the broker {id} more than once."
                ));
            }
            previous = Some(id);
        }
        match factor {
            Some(f) if f != replicas.len() => bad(format!(
                "The manual partition assignment includes a partition with {} replica(s), but this is not \
                 consistent with previous partitions, which have {f} replica(s).",
                replicas.len()
            )),
            _ => Ok(()),
        }
    }
}

/// Names that differ only in these characters would share metric names.
fn unify_collision_chars(name: &str) -> String {
    name.replace('.', "_")
}

fn failed(name: &Str, e: ApiError) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.clone(),
        error_code: e.code.code(),
        error_message: e.message.map(Str::from),
        ..Default::default()
    }
}
