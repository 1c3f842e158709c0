//! The producer: records are gathered into batches per partition and sent by one background task.
//!
//! Idempotent by default (`enable.idempotence`), with up to `max.in.flight.requests.per.connection` batches of a
//! partition under way; a batch that has to be sent again goes before those after it. Source: Kafka `KafkaProducer`,
//! KIP-98, KIP-360, KIP-480, KIP-794, KIP-890.

mod accumulator;
mod batch;
mod config;
mod partitioner;
mod sender;
mod transaction;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ottla_protocol::ErrorCode;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::Instant;

use crate::{Client, ClientConfig, ClientError, TopicPartition};
use accumulator::Accumulator;
pub use config::ProducerConfig;
use partitioner::Partitioner;
pub use transaction::GroupMetadata;
use transaction::TransactionState;

/// A record to send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProducerRecord {
    pub topic: String,
    /// None leaves the choice to the partitioner.
    pub partition: Option<i32>,
    /// Milliseconds since the epoch; none is the time of `send`.
    pub timestamp: Option<i64>,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<(String, Option<Bytes>)>,
}

/// Where a record went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordMetadata {
    pub partition: TopicPartition,
    /// -1 with `acks=0`, and for a batch that the broker had already.
    pub offset: i64,
    pub timestamp: i64,
}

/// The outcome of a record that has been handed over. Dropping it does not take the record back.
#[derive(Debug)]
pub struct Delivery {
    receiver: oneshot::Receiver<Result<RecordMetadata, ClientError>>,
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, ClientError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver).poll(context).map(|result| {
            result.unwrap_or_else(|_| {
                Err(ClientError::InvalidState("Producer is closed forcefully.".to_owned()))
            })
        })
    }
}

/// What the producer's handles and its sender task share.
#[derive(Debug)]
struct Shared {
    client: Client,
    config: ProducerConfig,
    accumulator: Mutex<Accumulator>,
    transaction: Mutex<TransactionState>,
    /// Something for the sender to look at.
    work: Notify,
    /// A batch has been answered.
    progress: Notify,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A producer. Clones share it; records are flushed by [`Producer::close`], not by dropping.
#[derive(Debug, Clone)]
pub struct Producer {
    shared: Arc<Shared>,
    partitioner: Arc<Mutex<Partitioner>>,
    memory: Arc<Semaphore>,
}

impl Producer {
    /// A producer; starts its sender task. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the configuration is not valid.
    pub fn new(config: &ClientConfig) -> Result<Producer, ClientError> {
        let client = Client::new(config)?;
        let config = ProducerConfig::new(config)?;
        let memory = Arc::new(Semaphore::new(config.buffer_memory.min(Semaphore::MAX_PERMITS)));
        let partitioner = Partitioner::new(config.batch_size, config.ignore_keys);
        let shared = Arc::new(Shared {
            client,
            accumulator: Mutex::new(Accumulator::default()),
            transaction: Mutex::new(TransactionState::new(&config)),
            config,
            work: Notify::new(),
            progress: Notify::new(),
        });
        tokio::spawn(sender::run(Arc::clone(&shared)));
        Ok(Producer { shared, partitioner: Arc::new(Mutex::new(partitioner)), memory })
    }

    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// Hands a record over; waits only for metadata and for room in `buffer.memory`.
    ///
    /// # Errors
    /// When the record cannot be accepted. Errors of delivery come from the [`Delivery`].
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery, ClientError> {
        let started = Instant::now();
        let max_block = self.shared.config.max_block;
        locked(&self.shared.transaction).check_can_send()?;
        let partition = self.partition(&record, started).await?;
        let size = batch::record_size(&record);
        if size > self.shared.config.max_request_size {
            return Err(ClientError::Api {
                code: ErrorCode::MessageTooLarge,
                message: Some(format!(
                    "The message is {size} bytes when serialized which is larger than {}, which is the value of the \
                     max.request.size configuration.",
                    self.shared.config.max_request_size
                )),
            });
        }
        let permits = u32::try_from(size).unwrap_or(u32::MAX);
        let left = max_block.saturating_sub(started.elapsed());
        let memory = match Arc::clone(&self.memory).try_acquire_many_owned(permits) {
            Ok(memory) => memory,
            Err(_) => {
                self.shared.work.notify_one();
                match tokio::time::timeout(left, Arc::clone(&self.memory).acquire_many_owned(permits)).await {
                    Ok(Ok(memory)) => memory,
                    _ => {
                        return Err(ClientError::Timeout(format!(
                            "Failed to allocate {size} bytes within the configured max blocking time {} ms.",
                            max_block.as_millis()
                        )));
                    }
                }
            }
        };
        let (reply, receiver) = oneshot::channel();
        let timestamp = record.timestamp.unwrap_or_else(now_ms);
        let ready = {
            let mut accumulator = locked(&self.shared.accumulator);
            if accumulator.is_closed() {
                return Err(ClientError::InvalidState(
                    "Cannot perform operation after producer has been closed".to_owned(),
                ));
            }
            accumulator.append(&self.shared.config, &partition, &record, timestamp, reply, memory)
        };
        if ready {
            self.shared.work.notify_one();
        }
        Ok(Delivery { receiver })
    }

    async fn partition(
        &self,
        record: &ProducerRecord,
        started: Instant,
    ) -> Result<TopicPartition, ClientError> {
        let topic = record.topic.as_str();
        let client = &self.shared.client;
        let max_block = self.shared.config.max_block;
        let mut attempt = 0;
        loop {
            if let Some(count) = client.view().partition_count(topic)
                && count > 0
            {
                let partition = match record.partition {
                    Some(p) if p >= 0 && (p as usize) < count => Some(p),
                    Some(_) => None,
                    None => Some(locked(&self.partitioner).choose(record, count, batch::record_size(record))),
                };
                if let Some(partition) = partition {
                    return Ok(TopicPartition::new(topic, partition));
                }
            }
            if attempt > 0 {
                let code = client.view().topics.get(topic).map_or(0, |t| t.error_code);
                let code = ErrorCode::from_code(code);
                if !code.is_ok() && !code.is_retriable() {
                    return Err(ClientError::Api { code, message: None });
                }
                let delay = client.backoff().delay(attempt);
                if started.elapsed() + delay >= max_block {
                    return Err(ClientError::Timeout(match record.partition {
                        Some(p) => format!(
                            "Partition {p} of topic {topic} with partition count {} is not present in metadata after {} ms.",
                            client.view().partition_count(topic).unwrap_or(0),
                            max_block.as_millis()
                        ),
                        None => format!(
                            "Topic {topic} not present in metadata after {} ms.",
                            max_block.as_millis()
                        ),
                    }));
                }
                tokio::time::sleep(delay).await;
            }
            attempt += 1;
            let left = max_block.saturating_sub(started.elapsed());
            match tokio::time::timeout(left, client.refresh_creating(&[topic])).await {
                Ok(Err(error)) if !error.is_retriable() && !matches!(error, ClientError::Timeout(_)) => {
                    return Err(error);
                }
                _ => {}
            }
        }
    }

    /// Sends everything that has been handed over and waits until it is answered.
    pub async fn flush(&self) {
        let last = locked(&self.shared.accumulator).begin_flush();
        self.shared.work.notify_one();
        loop {
            let progress = self.shared.progress.notified();
            tokio::pin!(progress);
            // Registered before looking, so that an answer in between is not missed.
            progress.as_mut().enable();
            if locked(&self.shared.accumulator).all_done_up_to(last) {
                break;
            }
            progress.await;
        }
        locked(&self.shared.accumulator).end_flush();
    }

    /// Flushes and ends the sender task. Later sends fail.
    pub async fn close(&self) {
        self.flush().await;
        locked(&self.shared.accumulator).close();
        self.shared.work.notify_one();
    }
}

pub(crate) fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}
