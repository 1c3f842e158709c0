//! Topics: list, describe, create, grow, delete.

use std::collections::BTreeMap;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use ottla_protocol::messages::create_topics_request::CreatableTopic;
use ottla_protocol::messages::create_topics_response::CreatableTopicResult;
use ottla_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use ottla_protocol::messages::delete_topics_request::DeleteTopicState;
use ottla_protocol::messages::describe_topic_partitions_request::TopicRequest;
use ottla_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use ottla_protocol::messages::list_partition_reassignments_response::OngoingPartitionReassignment;
use ottla_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteRecordsRequest, DeleteTopicsRequest, DeleteTopicsResponse, DescribeTopicPartitionsRequest,
    ListPartitionReassignmentsRequest,
};
use ottla_protocol::types::{Str, Uuid};

use super::Admin;
use crate::{ClientError, Target, TopicPartition, TopicView};

/// A partition as `describe` shows it. The ELR lists are none when the broker does not tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPartitionDescription {
    pub partition: i32,
    /// -1 when there is none.
    pub leader: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
    pub eligible_leader_replicas: Option<Vec<i32>>,
    pub last_known_elr: Option<Vec<i32>>,
}

/// A topic as `describe` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    pub name: String,
    pub id: Uuid,
    pub internal: bool,
    pub partitions: Vec<TopicPartitionDescription>,
}

impl Admin {
    /// Every topic, by name.
    pub async fn list_topics(&self) -> Result<Vec<TopicView>, ClientError> {
        let view = self.client.refresh(None).await?;
        Ok(view.topics.values().cloned().collect())
    }

    /// Topics by name, in order. A topic that is gone is an error.
    pub async fn describe_topics(
        &self,
        names: &[&str],
        page: i32,
    ) -> Result<Vec<TopicDescription>, ClientError> {
        match self.describe_topic_partitions(names, page).await {
            Err(ClientError::UnsupportedApi { .. } | ClientError::UnsupportedVersion { .. }) => {
                self.describe_topics_by_metadata(names).await
            }
            other => other,
        }
    }

    async fn describe_topics_by_metadata(
        &self,
        names: &[&str],
    ) -> Result<Vec<TopicDescription>, ClientError> {
        let response = self.client.metadata(Some(names), false).await?;
        let mut topics = Vec::new();
        for t in &response.topics {
            ClientError::check(t.error_code, None)?;
            let mut partitions: Vec<_> = t
                .partitions
                .iter()
                .map(|p| TopicPartitionDescription {
                    partition: p.partition_index,
                    leader: p.leader_id,
                    replicas: p.replica_nodes.clone(),
                    isr: p.isr_nodes.clone(),
                    eligible_leader_replicas: None,
                    last_known_elr: None,
                })
                .collect();
            partitions.sort_by_key(|p| p.partition);
            let name = t.name.as_ref().map(|n| n.to_string()).unwrap_or_default();
            topics.push(TopicDescription { name, id: t.topic_id, internal: t.is_internal, partitions });
        }
        Ok(topics)
    }

    async fn describe_topic_partitions(
        &self,
        names: &[&str],
        page: i32,
    ) -> Result<Vec<TopicDescription>, ClientError> {
        let mut topics: BTreeMap<String, TopicDescription> = BTreeMap::new();
        let mut request = DescribeTopicPartitionsRequest {
            topics: names
                .iter()
                .map(|n| TopicRequest { name: Str::from(*n), ..Default::default() })
                .collect(),
            response_partition_limit: page,
            ..Default::default()
        };
        loop {
            let response = self.client.call(&Target::Any, &request).await?;
            for t in &response.topics {
                ClientError::check(t.error_code, None)?;
                let name = t.name.as_ref().map(|n| n.to_string()).unwrap_or_default();
                let topic = topics.entry(name.clone()).or_insert_with(|| TopicDescription {
                    name,
                    id: t.topic_id,
                    internal: t.is_internal,
                    partitions: Vec::new(),
                });
                topic.partitions.extend(t.partitions.iter().map(|p| TopicPartitionDescription {
                    partition: p.partition_index,
                    leader: p.leader_id,
                    replicas: p.replica_nodes.clone(),
                    isr: p.isr_nodes.clone(),
                    eligible_leader_replicas: Some(p.eligible_leader_replicas.clone().unwrap_or_default()),
                    last_known_elr: Some(p.last_known_elr.clone().unwrap_or_default()),
                }));
            }
            let Some(cursor) = response.next_cursor else { break };
            request.topics.retain(|t| t.name.as_str() >= cursor.topic_name.as_str());
            request.cursor = Some(ottla_protocol::messages::describe_topic_partitions_request::Cursor {
                topic_name: cursor.topic_name,
                partition_index: cursor.partition_index,
                ..Default::default()
            });
        }
        let mut topics: Vec<_> = topics.into_values().collect();
        for topic in &mut topics {
            topic.partitions.sort_by_key(|p| p.partition);
        }
        Ok(topics)
    }

    /// Creates one topic.
    pub async fn create_topic(
        &self,
        topic: CreatableTopic,
        validate_only: bool,
    ) -> Result<CreatableTopicResult, ClientError> {
        let request = CreateTopicsRequest {
            topics: vec![topic],
            timeout_ms: self.timeout_ms(),
            validate_only,
            ..Default::default()
        };
        let response = self
            .client
            .call_checked(&Target::Controller, &request, |r: &CreateTopicsResponse| {
                leader_error(r.topics.iter().map(|t| t.error_code))
            })
            .await?;
        let result = response.topics.into_iter().next().ok_or_else(no_answer)?;
        ClientError::check(result.error_code, result.error_message.as_deref())?;
        Ok(result)
    }

    /// Grows topics; the first error is given.
    pub async fn create_partitions(&self, topics: Vec<CreatePartitionsTopic>) -> Result<(), ClientError> {
        let request = CreatePartitionsRequest { topics, timeout_ms: self.timeout_ms(), ..Default::default() };
        let response = self
            .client
            .call_checked(&Target::Controller, &request, |r: &CreatePartitionsResponse| {
                leader_error(r.results.iter().map(|t| t.error_code))
            })
            .await?;
        for result in &response.results {
            ClientError::check(result.error_code, result.error_message.as_deref())?;
        }
        Ok(())
    }

    /// Deletes topics by name; the first error is given.
    pub async fn delete_topics(&self, names: &[&str]) -> Result<(), ClientError> {
        let request = DeleteTopicsRequest {
            topics: names
                .iter()
                .map(|n| DeleteTopicState { name: Some(Str::from(*n)), ..Default::default() })
                .collect(),
            topic_names: Vec::new(),
            timeout_ms: self.timeout_ms(),
            ..Default::default()
        };
        let response = self
            .client
            .call_checked(&Target::Controller, &request, |r: &DeleteTopicsResponse| {
                leader_error(r.responses.iter().map(|t| t.error_code))
            })
            .await?;
        for result in &response.responses {
            ClientError::check(result.error_code, result.error_message.as_deref())?;
        }
        Ok(())
    }

    /// Raises the start of partitions; gives the new start, or the error, of each.
    pub async fn delete_records(
        &self,
        offsets: &[(TopicPartition, i64)],
    ) -> Result<Vec<(TopicPartition, Result<i64, ClientError>)>, ClientError> {
        let topics: Vec<&str> = offsets.iter().map(|(p, _)| p.topic.as_str()).collect();
        self.client.refresh(Some(&topics)).await?;
        let mut results = Vec::new();
        for (partition, offset) in offsets {
            let target = Target::Leader { topic: partition.topic.clone(), partition: partition.partition };
            let request = DeleteRecordsRequest {
                topics: vec![DeleteRecordsTopic {
                    name: Str::from(partition.topic.as_str()),
                    partitions: vec![DeleteRecordsPartition {
                        partition_index: partition.partition,
                        offset: *offset,
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                timeout_ms: self.timeout_ms(),
                ..Default::default()
            };
            let result = async {
                let response = self.client.call(&target, &request).await?;
                let answer =
                    response.topics.first().and_then(|t| t.partitions.first()).ok_or_else(no_answer)?;
                ClientError::check(answer.error_code, None)?;
                Ok(answer.low_watermark)
            }
            .await;
            results.push((partition.clone(), result));
        }
        Ok(results)
    }

    /// Reassignments in progress, of some partitions or of all.
    pub async fn list_partition_reassignments(
        &self,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<BTreeMap<TopicPartition, OngoingPartitionReassignment>, ClientError> {
        let topics = partitions.map(|partitions| {
            let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
            for p in partitions {
                by_topic.entry(&p.topic).or_default().push(p.partition);
            }
            by_topic
                .into_iter()
                .map(|(topic, partition_indexes)| ListPartitionReassignmentsTopics {
                    name: Str::from(topic),
                    partition_indexes,
                    ..Default::default()
                })
                .collect()
        });
        let request =
            ListPartitionReassignmentsRequest { timeout_ms: self.timeout_ms(), topics, ..Default::default() };
        let response = self.client.call(&Target::Controller, &request).await?;
        ClientError::check(response.error_code, response.error_message.as_deref())?;
        let mut found = BTreeMap::new();
        for topic in response.topics {
            for p in topic.partitions {
                found.insert(TopicPartition::new(topic.name.as_str(), p.partition_index), p);
            }
        }
        Ok(found)
    }
}

/// NOT_CONTROLLER among the results, which means that the whole request has to be sent elsewhere.
pub(super) fn leader_error(codes: impl Iterator<Item = i16>) -> ErrorCode {
    let mut codes = codes;
    match codes.any(|c| c == ErrorCode::NotController.code()) {
        true => ErrorCode::NotController,
        false => ErrorCode::None,
    }
}

pub(super) fn no_answer() -> ClientError {
    ClientError::Api {
        code: ErrorCode::UnknownServerError,
        message: Some("the response does not mention what was asked for".to_owned()),
    }
}
