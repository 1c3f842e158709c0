//! The task that sends batches: groups what is ready by leader, and deals with the answers. Source: Kafka `Sender`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_net::PendingResponse;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::produce_response::PartitionProduceResponse;
use ottla_protocol::messages::{ProduceRequest, ProduceResponse};
use ottla_protocol::types::Str;
use ottla_protocol::wire::Message;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::batch::Batch;
use super::{Shared, locked, transaction};
use crate::network::Lane;
use crate::{ClientError, Request, TopicPartition};

/// Newer versions name topics by id.
const MAX_VERSION: i16 = 12;
/// The newest version before KIP-890, which tells the broker not to add partitions to a transaction by itself.
const MAX_VERSION_BEFORE_KIP_890: i16 = 11;
const IDLE: Duration = Duration::from_secs(3600);

/// Runs until the producer is closed and everything has been answered.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut slots: BTreeMap<i32, Arc<Semaphore>> = BTreeMap::new();
    loop {
        let now = Instant::now();
        let (drained, expired) = {
            let mut accumulator = locked(&shared.accumulator);
            if accumulator.is_closed() && accumulator.is_empty() {
                return;
            }
            let expired = accumulator.expired(&shared.config, now);
            (accumulator.ready(&shared.config, now), expired)
        };
        for batch in expired {
            expire(&shared, batch);
        }
        let mut next_look = drained.next_look;
        let sent = match send_ready(&shared, &mut slots, drained.ready).await {
            Ok(sent) => sent,
            Err(wait) => {
                let at = Instant::now() + wait;
                next_look = Some(next_look.map_or(at, |n| n.min(at)));
                false
            }
        };
        if sent {
            continue;
        }
        let wait = next_look.map_or(IDLE, |at| at.saturating_duration_since(Instant::now()));
        let _ = tokio::time::timeout(wait.min(shared.config.delivery_timeout), shared.work.notified()).await;
    }
}

fn expire(shared: &Shared, batch: Batch) {
    let error = ClientError::Timeout(format!(
        "Expiring {} record(s) for {}:{} ms has passed since batch creation",
        batch.count(),
        batch.partition,
        batch.created.elapsed().as_millis()
    ));
    lose(shared, batch, &error);
    shared.progress.notify_waiters();
}

/// Gives a batch up. Sequences that were given to it are missing then, so an idempotent producer starts anew.
fn lose(shared: &Shared, batch: Batch, error: &ClientError) {
    let numbered = batch.base_sequence.is_some();
    let mut state = locked(&shared.transaction);
    state.on_failure(error);
    if numbered && shared.config.transactional_id.is_none() {
        state.producer_id = -1;
    }
    drop(state);
    batch.fail(error);
}

/// Sends one batch of each partition to its leader. False when nothing could be sent; an error says how long to wait.
async fn send_ready(
    shared: &Arc<Shared>,
    slots: &mut BTreeMap<i32, Arc<Semaphore>>,
    ready: Vec<TopicPartition>,
) -> Result<bool, Duration> {
    if ready.is_empty() {
        return Ok(false);
    }
    if shared.config.idempotence && shared.config.transactional_id.is_none() {
        let (missing, busy) =
            (locked(&shared.transaction).producer_id < 0, locked(&shared.accumulator).has_in_flight());
        if missing && busy {
            // Answers under the old producer id are still to come.
            return Ok(false);
        }
        if missing && let Err(error) = transaction::init_producer_id(shared).await {
            tracing::warn!("no producer id: {error}");
            return Err(shared.client.backoff().delay(1));
        }
    }
    let view = shared.client.view();
    let mut by_leader: BTreeMap<i32, Vec<TopicPartition>> = BTreeMap::new();
    let mut unknown: Vec<String> = Vec::new();
    for partition in ready {
        match view.leader(&partition.topic, partition.partition) {
            Some(leader) => by_leader.entry(leader).or_default().push(partition),
            None => unknown.push(partition.topic),
        }
    }
    let mut wait = None;
    if !unknown.is_empty() {
        let topics: Vec<&str> = unknown.iter().map(String::as_str).collect();
        if let Err(error) = shared.client.refresh(Some(&topics)).await {
            tracing::warn!("no metadata: {error}");
        }
        wait = Some(shared.client.backoff().delay(1));
    }
    let mut sent = false;
    for (leader, partitions) in by_leader {
        let slot =
            slots.entry(leader).or_insert_with(|| Arc::new(Semaphore::new(shared.config.max_in_flight)));
        let Ok(permit) = Arc::clone(slot).try_acquire_owned() else { continue };
        let batches = take(shared, &partitions);
        if batches.is_empty() {
            continue;
        }
        sent = true;
        let partitions: Vec<TopicPartition> = batches.iter().map(|b| b.partition.clone()).collect();
        let to_add = locked(&shared.transaction).not_added(&partitions);
        if !to_add.is_empty()
            && let Err(error) = transaction::add_partitions(shared, &to_add).await
        {
            for batch in batches {
                finish_with_error(shared, batch, &error);
            }
            continue;
        }
        match start(shared, leader, batches).await {
            Ok((Some(pending), batches)) => {
                let shared = Arc::clone(shared);
                tokio::spawn(async move {
                    let result = pending.wait(shared.config.request_timeout).await;
                    drop(permit);
                    answer(&shared, batches, result.map_err(ClientError::from)).await;
                    shared.work.notify_one();
                });
            }
            Ok((None, batches)) => {
                for batch in batches {
                    locked(&shared.accumulator).done(&batch);
                    batch.succeed(-1, -1);
                }
                shared.progress.notify_waiters();
            }
            Err((error, batches)) => answer(shared, batches, Err(error)).await,
        }
    }
    match wait {
        Some(wait) if !sent => Err(wait),
        _ => Ok(sent),
    }
}

/// One batch of each partition, up to `max.request.size`.
fn take(shared: &Shared, partitions: &[TopicPartition]) -> Vec<Batch> {
    let mut accumulator = locked(&shared.accumulator);
    let mut batches = Vec::new();
    let mut size = 0;
    for partition in partitions {
        let next = accumulator.first_size(partition);
        if !batches.is_empty() && size + next > shared.config.max_request_size {
            break;
        }
        size += next;
        batches.extend(accumulator.take(partition, shared.config.idempotence));
    }
    batches
}

type Started = (Option<PendingResponse<ProduceResponse>>, Vec<Batch>);

/// Writes the request. Requests to a node are written in the order of this task's calls.
async fn start(
    shared: &Shared,
    leader: i32,
    mut batches: Vec<Batch>,
) -> Result<Started, (ClientError, Vec<Batch>)> {
    let (producer_id, epoch, version_2) = {
        let state = locked(&shared.transaction);
        (state.producer_id, state.epoch, state.version_2)
    };
    let mut topics: BTreeMap<String, Vec<PartitionProduceData>> = BTreeMap::new();
    for batch in &mut batches {
        let records = match batch.encode(producer_id, epoch) {
            Ok(records) => records,
            Err(error) => return Err((error.into(), batches)),
        };
        topics.entry(batch.partition.topic.clone()).or_default().push(PartitionProduceData {
            index: batch.partition.partition,
            records: Some(records),
            ..Default::default()
        });
    }
    let transactional_id = shared.config.transactional_id.as_deref().map(Str::from);
    let cap = match &transactional_id {
        Some(_) if !version_2 => MAX_VERSION_BEFORE_KIP_890,
        _ => MAX_VERSION,
    };
    let request = ProduceRequest {
        transactional_id,
        acks: shared.config.acks,
        timeout_ms: i32::try_from(shared.config.request_timeout.as_millis()).unwrap_or(i32::MAX),
        topic_data: topics
            .into_iter()
            .map(|(name, partition_data)| TopicProduceData {
                name: Str::from(name),
                partition_data,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let result = async {
        let connection = shared.client.connection(leader, Lane::Main).await?;
        let version = connection.version::<ProduceRequest>(cap)?;
        let body = request.to_bytes(version).map_err(|source| ottla_net::ChannelError::Encode {
            api: ProduceRequest::API,
            version,
            source,
        })?;
        let channel = connection.channel();
        if shared.config.acks == 0 {
            channel.send_unanswered(ProduceRequest::API, version, &[body]).await?;
            return Ok(None);
        }
        Ok(Some(channel.send_raw(ProduceRequest::API, version, &[body]).await?))
    }
    .await;
    match result {
        Ok(pending) => Ok((pending, batches)),
        Err(error) => Err((error, batches)),
    }
}

async fn answer(shared: &Shared, batches: Vec<Batch>, result: Result<ProduceResponse, ClientError>) {
    let mut stale: Vec<String> = Vec::new();
    match result {
        Ok(response) => {
            for batch in batches {
                let found = response
                    .responses
                    .iter()
                    .filter(|t| t.name.as_str() == batch.partition.topic)
                    .flat_map(|t| &t.partition_responses)
                    .find(|p| p.index == batch.partition.partition);
                match found {
                    Some(p) => {
                        if ErrorCode::from_code(p.error_code).is_retriable() {
                            stale.push(batch.partition.topic.clone());
                        }
                        finish(shared, batch, p);
                    }
                    None => {
                        let message = Some("the response does not mention the partition".to_owned());
                        let error = ClientError::Api { code: ErrorCode::UnknownServerError, message };
                        finish_with_error(shared, batch, &error);
                    }
                }
            }
        }
        Err(error) => {
            for batch in batches {
                stale.push(batch.partition.topic.clone());
                finish_with_error(shared, batch, &error);
            }
        }
    }
    if !stale.is_empty() {
        let topics: Vec<&str> = stale.iter().map(String::as_str).collect();
        let _ =
            tokio::time::timeout(shared.config.request_timeout, shared.client.refresh(Some(&topics))).await;
    }
    shared.progress.notify_waiters();
}

fn finish(shared: &Shared, batch: Batch, answer: &PartitionProduceResponse) {
    match ErrorCode::from_code(answer.error_code) {
        ErrorCode::None => {
            locked(&shared.accumulator).done(&batch);
            batch.succeed(answer.base_offset, answer.log_append_time_ms);
        }
        // The broker has it: an answer was lost.
        ErrorCode::DuplicateSequenceNumber => {
            locked(&shared.accumulator).done(&batch);
            batch.succeed(-1, -1);
        }
        code => {
            let records = answer.record_errors.first().and_then(|r| r.batch_index_error_message.as_deref());
            let message = records.or(answer.error_message.as_deref()).map(str::to_owned);
            finish_with_error(shared, batch, &ClientError::Api { code, message });
        }
    }
}

/// Sends again what may still succeed.
fn finish_with_error(shared: &Shared, mut batch: Batch, error: &ClientError) {
    let in_time = batch.created.elapsed() < shared.config.delivery_timeout;
    let mut accumulator = locked(&shared.accumulator);
    let for_older = error.code() == ErrorCode::OutOfOrderSequenceNumber && accumulator.has_older(&batch);
    if (error.is_retriable() || for_older) && in_time && batch.attempts < shared.config.retries {
        batch.attempts += 1;
        batch.not_before = Some(Instant::now() + shared.client.backoff().delay(batch.attempts));
        tracing::debug!("sending {} again, attempt {}: {error}", batch.partition, batch.attempts);
        accumulator.put_back(batch);
        return;
    }
    accumulator.done(&batch);
    drop(accumulator);
    lose(shared, batch, error);
}
