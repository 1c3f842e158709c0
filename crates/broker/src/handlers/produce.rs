//! HOT: Produce: checks, appends, answers. Source: KIP-98, KIP-467, KIP-516, KIP-890, Kafka `ReplicaManager.handleProduceAppend`.
//!
//! With one replica an append is committed when it returns, so that all values of acks are answered at once: unless the
//! topic wants its records durable first (`flush.messages`), when the answer waits for the next shared sync.
//! Not to be done here: a copy of record bytes.

use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;
use ottla_net::Reply;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use ottla_protocol::messages::{ProduceRequest, ProduceResponse};
use ottla_protocol::records::{BatchHeader, RecordsError};
use ottla_protocol::types::{Str, Uuid};
use ottla_storage::LogError;
use ottla_storage::log::AppendOptions;
use ottla_storage::producer_state::{AppendOrigin, VerificationGuard};
use ottla_storage::validation::validate_produce_request;

use crate::coordinators::Verification;
use crate::partition::{Commit, Partition, committed};
use crate::request::{RequestContext, count_done, count_error, decode, malformed, reply};
use crate::state::{Broker, wall_clock_ms};
use crate::topics::{address, is_internal};

/// The only client that may write to internal topics. Source: Kafka `AdminUtils.ADMIN_CLIENT_ID`.
const ADMIN_CLIENT_ID: &str = "__admin_client";

pub fn handle(b: &Arc<Broker>, ctx: RequestContext, body: Bytes) -> Reply {
    let request: ProduceRequest = match decode(body, ctx.version) {
        Ok(request) => request,
        Err(e) => return malformed(&b.metrics, &ctx, &e),
    };
    let acks = request.acks;
    if request.transactional_id.is_some()
        && let Some(verification) = Verification::needed(b, &ctx, &request)
    {
        // Nothing may be appended before the coordinator knows of the partitions, nor may a later request of
        // this connection overtake.
        let b = Arc::clone(b);
        return Reply::Exclusive(Box::pin(async move {
            let guards = verification.run(&b).await;
            let (mut response, commits) = append_all(&b, &ctx, request, &guards);
            wait_for_commits(&b, &ctx, commits, &mut response).await;
            finish(&b, &ctx, acks, response)
        }));
    }
    let (mut response, commits) = append_all(b, &ctx, request, &Guards::default());
    if commits.is_empty() || acks == 0 {
        return finish(b, &ctx, acks, response);
    }
    let b = Arc::clone(b);
    Reply::Later(Box::pin(async move {
        wait_for_commits(&b, &ctx, commits, &mut response).await;
        finish(&b, &ctx, acks, response)
    }))
}

/// A partition of the response whose records are not durable yet.
struct PendingCommit {
    topic: usize,
    partition: usize,
    commit: Commit,
}

/// Waits until everything is durable; what failed becomes an error.
async fn wait_for_commits(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    commits: Vec<PendingCommit>,
    response: &mut ProduceResponse,
) {
    for PendingCommit { topic, partition, commit } in commits {
        let Err(code) = committed(commit).await else { continue };
        b.metrics.all_topics.failed_produce_requests.inc();
        count_error(&b.metrics, ctx, code);
        if let Some(topic) = response.responses.get_mut(topic)
            && let Some(found) = topic.partition_responses.get_mut(partition)
        {
            *found = PartitionProduceResponse {
                index: found.index,
                error_code: code.code(),
                base_offset: -1,
                ..Default::default()
            };
        }
    }
}

/// The outcome of verifications with the transaction coordinator, by topic and partition.
#[derive(Debug, Default)]
pub struct Guards(pub Vec<((Uuid, i32), Result<VerificationGuard, ErrorCode>)>);

impl Guards {
    fn of(&self, id: &Uuid, partition: i32) -> Result<VerificationGuard, ErrorCode> {
        self.0
            .iter()
            .find(|(key, _)| key.0 == *id && key.1 == partition)
            .map_or(Ok(VerificationGuard::SENTINEL), |(_, guard)| *guard)
    }
}

fn finish(b: &Arc<Broker>, ctx: &RequestContext, acks: i16, response: ProduceResponse) -> Reply {
    if acks != 0 {
        return reply(&b.metrics, ctx, &response);
    }
    count_done(&b.metrics, ctx);
    let error = response
        .responses
        .iter()
        .flat_map(|t| t.partition_responses.iter())
        .map(|p| p.error_code)
        .find(|code| *code != 0);
    match error {
        None => Reply::Nothing,
        // The client asked for no answer: that something went wrong it can only see from the connection.
        Some(code) => {
            tracing::info!(
                peer = %ctx.peer.peer, client_id = ctx.client_id.as_deref().unwrap_or(""),
                error = %ErrorCode::from_code(code),
                "closing the connection: a produce request with acks=0 failed"
            );
            Reply::Close
        }
    }
}

fn append_all(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    request: ProduceRequest,
    guards: &Guards,
) -> (ProduceResponse, Vec<PendingCommit>) {
    let now_ms = wall_clock_ms();
    let produce = Produce {
        broker: b,
        ctx,
        acks: request.acks,
        transactional: request.transactional_id.is_some(),
        now_ms,
        guards,
        image: b.image.load_full(),
        commit: Cell::new(None),
    };
    let mut leaders = Vec::new();
    let mut commits = Vec::new();
    let responses = request
        .topic_data
        .into_iter()
        .enumerate()
        .map(|(at, topic)| produce.topic(at, topic, &mut leaders, &mut commits))
        .collect();
    let response =
        ProduceResponse { responses, node_endpoints: produce.endpoints(leaders), ..Default::default() };
    (response, commits)
}

/// Why one partition was not written: the code, and what is said of it.
struct Refused {
    code: ErrorCode,
    message: Option<Str>,
    record_errors: Vec<BatchIndexAndErrorMessage>,
    log_start_offset: i64,
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Self {
        Refused { code, message: None, record_errors: Vec::new(), log_start_offset: -1 }
    }
}

struct Produce<'a> {
    broker: &'a Arc<Broker>,
    ctx: &'a RequestContext,
    acks: i16,
    transactional: bool,
    now_ms: i64,
    guards: &'a Guards,
    image: Arc<ottla_metadata::image::MetadataImage>,
    /// What the append of the partition at hand waits for.
    commit: Cell<Option<Commit>>,
}

impl Produce<'_> {
    fn topic(
        &self,
        at: usize,
        topic: TopicProduceData,
        leaders: &mut Vec<i32>,
        commits: &mut Vec<PendingCommit>,
    ) -> TopicProduceResponse {
        let by_id = self.ctx.version >= 13;
        let known = if by_id {
            self.image.topics.by_id(&topic.topic_id)
        } else {
            self.image.topics.by_name(&topic.name)
        };
        let missing = if by_id { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
        let partition_responses = topic
            .partition_data
            .into_iter()
            .enumerate()
            .map(|(partition, data)| {
                let index = data.index;
                let result = match known {
                    None => Err(missing.into()),
                    Some(topic) => self.partition(topic, data),
                };
                commits.extend(self.commit.take().map(|commit| PendingCommit {
                    topic: at,
                    partition,
                    commit,
                }));
                self.response(known.map(|t| t.id), index, result, leaders)
            })
            .collect();
        TopicProduceResponse {
            name: topic.name,
            topic_id: topic.topic_id,
            partition_responses,
            ..Default::default()
        }
    }

    fn partition(
        &self,
        topic: &ottla_metadata::image::TopicImage,
        data: PartitionProduceData,
    ) -> Result<(i64, i64, i64), Refused> {
        validate_produce_request(self.ctx.version, data.records.as_deref())
            .map_err(|e| self.refused(&e, None))?;
        let records = data.records.unwrap_or_default();
        if !matches!(self.acks, -1..=1) {
            return Err(ErrorCode::InvalidRequiredAcks.into());
        }
        if is_internal(&topic.name) && self.ctx.client_id.as_deref() != Some(ADMIN_CLIENT_ID) {
            return Err(Refused {
                message: Some(format!("Cannot append to internal topic {}", topic.name).into()),
                ..ErrorCode::InvalidTopicException.into()
            });
        }
        let registration = topic.partition(data.index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let Some(partition) = self.broker.partitions.get(&topic.id, data.index) else {
            let offline = self.broker.partitions.is_offline(&topic.id, data.index);
            let code = if offline { ErrorCode::KafkaStorageError } else { ErrorCode::NotLeaderOrFollower };
            return Err(code.into());
        };
        // Kafka counts a request once for each of its partitions.
        self.broker.metrics.all_topics.total_produce_requests.inc();
        partition.topic_metrics.total_produce_requests.inc();
        let config = partition.log.config();
        if self.acks == -1 && (registration.isr.len() as i32) < config.min_insync_replicas {
            return Err(Refused {
                message: Some(
                    format!(
                        "The size of the current ISR {:?} is insufficient to satisfy the min.isr requirement of {} for partition {partition}",
                        registration.isr, config.min_insync_replicas
                    )
                    .into(),
                ),
                ..ErrorCode::NotEnoughReplicas.into()
            });
        }
        drop(config);
        let guard = self.guards.of(&topic.id, data.index)?;
        self.append(&partition, records, guard)
    }

    fn append(
        &self,
        partition: &Arc<Partition>,
        records: Bytes,
        verification_guard: VerificationGuard,
    ) -> Result<(i64, i64, i64), Refused> {
        let options = AppendOptions {
            verification_guard,
            ..AppendOptions::new(AppendOrigin::Client, partition.leader_epoch(), self.now_ms)
        };
        let size = records.len() as u64;
        match partition.append_committed(&records, &options) {
            Ok((info, commit)) => {
                self.commit.set(commit);
                for metrics in [&self.broker.metrics.all_topics, &*partition.topic_metrics] {
                    metrics.bytes_in.add(size);
                    metrics.messages_in.add(info.record_count.max(0) as u64);
                }
                Ok((info.first_offset, info.log_append_time, info.log_start_offset))
            }
            Err(error) => Err(self.refused(&error, Some((partition, size)))),
        }
    }

    /// `target` is the partition, where the records came so far, and their size.
    fn refused(&self, error: &LogError, target: Option<(&Partition, u64)>) -> Refused {
        let code = error.error_code();
        let (partition, size) = (target.map(|(p, _)| p), target.map_or(0, |(_, size)| size));
        let topic = partition.map(|p| &*p.topic_metrics);
        for metrics in std::iter::once(&self.broker.metrics.all_topics).chain(topic) {
            match code {
                ErrorCode::CorruptMessage => metrics.invalid_message_crc_records.inc(),
                ErrorCode::OutOfOrderSequenceNumber => metrics.invalid_offset_or_sequence_records.inc(),
                ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => {
                    metrics.bytes_rejected.add(size)
                }
                _ => {}
            }
        }
        // That a directory is full is said by storage, not for each request.
        if code == ErrorCode::KafkaStorageError && !error.is_shortage() {
            tracing::error!(partition = partition.map(tracing::field::display), %error, "cannot append");
        }
        let record_errors: Vec<BatchIndexAndErrorMessage> = error
            .record_errors()
            .iter()
            .map(|e| BatchIndexAndErrorMessage {
                batch_index: e.batch_index,
                batch_index_error_message: Some(e.message.clone().into()),
                ..Default::default()
            })
            .collect();
        // Kafka sends the text only with errors of single records; and of a batch whose frame is broken, which it finds
        // before it looks at partitions (`RequestUtils.hasTransactionalRecords`).
        let framing = matches!(error, LogError::Records(e) if e.is_corrupt())
            && !matches!(error, LogError::Records(RecordsError::CrcMismatch { .. }));
        let message = (framing || !record_errors.is_empty()).then(|| error.to_string().into());
        let log_start_offset = match code {
            ErrorCode::InvalidRecord
            | ErrorCode::InvalidTimestamp
            | ErrorCode::CorruptMessage
            | ErrorCode::MessageTooLarge
            | ErrorCode::RecordListTooLarge => partition.map_or(-1, Partition::log_start_offset),
            _ => -1,
        };
        Refused { code, message, record_errors, log_start_offset }
    }

    fn response(
        &self,
        topic_id: Option<Uuid>,
        index: i32,
        result: Result<(i64, i64, i64), Refused>,
        leaders: &mut Vec<i32>,
    ) -> PartitionProduceResponse {
        let mut response = PartitionProduceResponse { index, base_offset: -1, ..Default::default() };
        let refused = match result {
            Ok((base_offset, log_append_time_ms, log_start_offset)) => {
                return PartitionProduceResponse {
                    base_offset,
                    log_append_time_ms,
                    log_start_offset,
                    ..response
                };
            }
            Err(refused) => refused,
        };
        self.broker.metrics.all_topics.failed_produce_requests.inc();
        if let Some(p) = topic_id.and_then(|id| self.broker.partitions.get(&id, index)) {
            p.topic_metrics.failed_produce_requests.inc();
        }
        count_error(&self.broker.metrics, self.ctx, refused.code);
        let mut code = refused.code;
        if self.transactional && self.ctx.version < 11 && code == ErrorCode::TransactionAbortable {
            code = ErrorCode::InvalidTxnState;
        }
        response.error_code = code.code();
        response.error_message = refused.message;
        response.record_errors = refused.record_errors;
        response.log_start_offset = refused.log_start_offset;
        if code == ErrorCode::NotLeaderOrFollower
            && self.ctx.version >= 10
            && let Some(p) = topic_id.and_then(|id| self.image.topics.partition(&id, index))
        {
            response.current_leader =
                LeaderIdAndEpoch { leader_id: p.leader, leader_epoch: p.leader_epoch, ..Default::default() };
            leaders.push(p.leader);
        }
        response
    }

    /// Where the leaders that the response names can be reached (KIP-951).
    fn endpoints(&self, mut leaders: Vec<i32>) -> Vec<NodeEndpoint> {
        leaders.sort_unstable();
        leaders.dedup();
        leaders
            .into_iter()
            .filter_map(|id| {
                let node = self.image.cluster.active_broker(id)?;
                let (host, port) = address(node, &self.ctx.peer.listener)?;
                Some(NodeEndpoint {
                    node_id: id,
                    host: host.clone(),
                    port,
                    rack: node.rack.clone(),
                    ..Default::default()
                })
            })
            .collect()
    }
}

/// The header of the first batch of a partition's records, if they are a batch of format 2 at all.
pub fn first_batch(records: &[u8]) -> Option<BatchHeader> {
    BatchHeader::parse(records).ok().filter(|h| h.magic == 2)
}
