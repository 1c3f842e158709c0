//! Offsets of partitions by time.

use std::collections::BTreeMap;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::ListOffsetsRequest;
use ottla_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_protocol::types::Str;
use tokio::time::Instant;

use super::Admin;
use crate::{Client, ClientError, Target, TopicPartition};

/// Which offset of a partition. Source: Kafka `ListOffsetsRequest`, KIP-734, KIP-405, KIP-1005.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    Latest,
    Earliest,
    MaxTimestamp,
    EarliestLocal,
    LatestTiered,
    EarliestPendingUpload,
    /// The first record at this time, in milliseconds, or later.
    Timestamp(i64),
}

impl OffsetSpec {
    pub fn timestamp(self) -> i64 {
        match self {
            OffsetSpec::Latest => -1,
            OffsetSpec::Earliest => -2,
            OffsetSpec::MaxTimestamp => -3,
            OffsetSpec::EarliestLocal => -4,
            OffsetSpec::LatestTiered => -5,
            OffsetSpec::EarliestPendingUpload => -6,
            OffsetSpec::Timestamp(ms) => ms,
        }
    }
}

/// An answer of ListOffsets. Offset and timestamp are -1 when no record matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedOffset {
    pub offset: i64,
    pub timestamp: i64,
    pub leader_epoch: i32,
}

impl Admin {
    /// Offsets of partitions, each with its own error.
    pub async fn list_offsets(
        &self,
        specs: &[(TopicPartition, OffsetSpec)],
        read_committed: bool,
    ) -> Result<BTreeMap<TopicPartition, Result<ListedOffset, ClientError>>, ClientError> {
        self.client.list_offsets(specs, read_committed).await
    }
}

impl Client {
    /// Asks the leaders, again after leader changes until `default.api.timeout.ms`.
    pub(crate) async fn list_offsets(
        &self,
        specs: &[(TopicPartition, OffsetSpec)],
        read_committed: bool,
    ) -> Result<BTreeMap<TopicPartition, Result<ListedOffset, ClientError>>, ClientError> {
        let deadline = Instant::now() + self.api_timeout();
        let mut results = BTreeMap::new();
        let mut left: BTreeMap<TopicPartition, i64> =
            specs.iter().map(|(p, s)| (p.clone(), s.timestamp())).collect();
        let mut attempt = 0;
        while !left.is_empty() {
            let mut by_leader: BTreeMap<i32, Vec<TopicPartition>> = BTreeMap::new();
            let mut failed: Vec<(TopicPartition, ClientError)> = Vec::new();
            for partition in left.keys() {
                match self.leader(&partition.topic, partition.partition).await {
                    Ok(leader) => by_leader.entry(leader).or_default().push(partition.clone()),
                    Err(error) => failed.push((partition.clone(), error)),
                }
            }
            for (leader, partitions) in by_leader {
                match self.list_offsets_of(leader, &partitions, &left, read_committed).await {
                    Ok(answers) => {
                        for (partition, answer) in answers {
                            match answer {
                                Ok(offset) => {
                                    left.remove(&partition);
                                    results.insert(partition, Ok(offset));
                                }
                                Err(error) => failed.push((partition, error)),
                            }
                        }
                    }
                    Err(error) => {
                        let text = error.to_string();
                        let code = error.code();
                        let retriable = error.is_retriable();
                        for p in partitions {
                            let message = Some(text.clone());
                            let code = if retriable { ErrorCode::NetworkException } else { code };
                            failed.push((p, ClientError::Api { code, message }));
                        }
                    }
                }
            }
            attempt += 1;
            let delay = self.backoff().delay(attempt);
            let out_of_time = Instant::now() + delay >= deadline;
            let mut again = false;
            for (partition, error) in failed {
                let unknown = error.code() == ErrorCode::UnknownTopicOrPartition;
                if error.is_retriable() && !out_of_time && !(unknown && attempt > 3) {
                    again = true;
                } else {
                    left.remove(&partition);
                    results.insert(partition, Err(error));
                }
            }
            if again {
                tokio::time::sleep(delay).await;
                let topics: Vec<String> = left.keys().map(|p| p.topic.clone()).collect();
                let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
                self.refresh(Some(&topics)).await?;
            } else {
                break;
            }
        }
        Ok(results)
    }

    async fn list_offsets_of(
        &self,
        leader: i32,
        partitions: &[TopicPartition],
        timestamps: &BTreeMap<TopicPartition, i64>,
        read_committed: bool,
    ) -> Result<Vec<(TopicPartition, Result<ListedOffset, ClientError>)>, ClientError> {
        let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
        for p in partitions {
            topics.entry(&p.topic).or_default().push(ListOffsetsPartition {
                partition_index: p.partition,
                current_leader_epoch: -1,
                timestamp: timestamps.get(p).copied().unwrap_or(-1),
                ..Default::default()
            });
        }
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level: i8::from(read_committed),
            topics: topics
                .into_iter()
                .map(|(name, partitions)| ListOffsetsTopic {
                    name: Str::from(name),
                    partitions,
                    ..Default::default()
                })
                .collect(),
            timeout_ms: i32::try_from(self.request_timeout().as_millis()).unwrap_or(i32::MAX),
            ..Default::default()
        };
        let response = self.call_once_or_reconnect(&Target::Node(leader), &request).await?;
        let mut answers = Vec::new();
        for topic in &response.topics {
            for p in &topic.partitions {
                let partition = TopicPartition::new(topic.name.as_str(), p.partition_index);
                let answer = ClientError::check(p.error_code, None).map(|()| ListedOffset {
                    offset: p.offset,
                    timestamp: p.timestamp,
                    leader_epoch: p.leader_epoch,
                });
                answers.push((partition, answer));
            }
        }
        Ok(answers)
    }
}
