//! Batches that wait, by partition, and the bookkeeping of those under way. Source: Kafka `RecordAccumulator`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ottla_protocol::records::increment_sequence;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::batch::{Batch, record_size};
use super::{ProducerConfig, ProducerRecord, RecordMetadata};
use crate::{ClientError, TopicPartition};

#[derive(Debug, Default)]
struct Queue {
    batches: VecDeque<Batch>,
    in_flight: usize,
    next_sequence: i32,
}

/// All batches of a producer. Their bytes are bounded by `buffer.memory`.
#[derive(Debug, Default)]
pub(super) struct Accumulator {
    queues: BTreeMap<TopicPartition, Queue>,
    next_id: u64,
    incomplete: BTreeSet<u64>,
    flushes: usize,
    closed: bool,
}

/// When the sender has to look again.
pub(super) struct Drained {
    pub ready: Vec<TopicPartition>,
    pub next_look: Option<Instant>,
}

impl Accumulator {
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    pub fn close(&mut self) {
        self.closed = true;
    }

    pub fn is_empty(&self) -> bool {
        self.incomplete.is_empty()
    }

    /// Starts a flush; gives the id of the newest batch.
    pub fn begin_flush(&mut self) -> u64 {
        self.flushes += 1;
        for queue in self.queues.values_mut() {
            if let Some(batch) = queue.batches.back_mut() {
                batch.full = true;
            }
        }
        self.next_id
    }

    pub fn end_flush(&mut self) {
        self.flushes = self.flushes.saturating_sub(1);
    }

    pub fn all_done_up_to(&self, id: u64) -> bool {
        self.incomplete.first().is_none_or(|first| *first > id)
    }

    /// Adds a record. True when a batch became ready or was begun, which the sender wants to know.
    pub fn append(
        &mut self,
        config: &ProducerConfig,
        partition: &TopicPartition,
        record: &ProducerRecord,
        timestamp: i64,
        reply: oneshot::Sender<Result<RecordMetadata, ClientError>>,
        memory: OwnedSemaphorePermit,
    ) -> bool {
        if !self.queues.contains_key(partition) {
            self.queues.insert(partition.clone(), Queue::default());
        }
        let Some(queue) = self.queues.get_mut(partition) else { return false };
        let size = record_size(record);
        let mut begun = false;
        if !queue.batches.back().is_some_and(|b| b.has_room(size, config.batch_size)) {
            if let Some(last) = queue.batches.back_mut() {
                last.full = true;
            }
            self.next_id += 1;
            self.incomplete.insert(self.next_id);
            queue.batches.push_back(Batch::new(self.next_id, partition.clone(), config));
            begun = true;
        }
        if let Some(batch) = queue.batches.back_mut() {
            batch.append(record, timestamp, reply, memory, config.batch_size);
            begun |= batch.full;
        }
        begun
    }

    /// Partitions whose first batch may be sent now.
    pub fn ready(&self, config: &ProducerConfig, now: Instant) -> Drained {
        let mut drained = Drained { ready: Vec::new(), next_look: None };
        let mut look = |at: Instant| {
            drained.next_look = Some(drained.next_look.map_or(at, |earlier: Instant| earlier.min(at)));
        };
        for (partition, queue) in &self.queues {
            let Some(batch) = queue.batches.front() else { continue };
            // A batch that is sent again goes alone, so that those after it cannot overtake it.
            let limit = if batch.attempts > 0 { 1 } else { config.max_in_flight };
            if queue.in_flight >= limit {
                continue;
            }
            if let Some(at) = batch.not_before.filter(|at| *at > now) {
                look(at);
                continue;
            }
            let lingers = batch.created + config.linger;
            let hurry = batch.full
                || queue.batches.len() > 1
                || self.flushes > 0
                || self.closed
                || batch.attempts > 0;
            if hurry || lingers <= now {
                drained.ready.push(partition.clone());
            } else {
                look(lingers);
            }
        }
        drained
    }

    /// Takes the first batch of a partition; its sequence is fixed now.
    pub fn take(&mut self, partition: &TopicPartition, idempotent: bool) -> Option<Batch> {
        let queue = self.queues.get_mut(partition)?;
        let mut batch = queue.batches.pop_front()?;
        batch.full = true;
        if idempotent && batch.base_sequence.is_none() {
            batch.base_sequence = Some(queue.next_sequence);
            queue.next_sequence = increment_sequence(queue.next_sequence, batch.count());
        }
        queue.in_flight += 1;
        Some(batch)
    }

    /// Size of the first batch of a partition.
    pub fn first_size(&self, partition: &TopicPartition) -> usize {
        self.queues.get(partition).and_then(|q| q.batches.front()).map_or(0, Batch::size)
    }

    /// A taken batch will be sent again: it goes before all that were appended after it.
    pub fn put_back(&mut self, batch: Batch) {
        let Some(queue) = self.queues.get_mut(&batch.partition) else { return };
        queue.in_flight = queue.in_flight.saturating_sub(1);
        let at = queue.batches.iter().position(|b| b.id > batch.id).unwrap_or(queue.batches.len());
        queue.batches.insert(at, batch);
    }

    /// Whether an older batch of the partition is not answered yet, so that this one was refused only for it.
    pub fn has_older(&self, batch: &Batch) -> bool {
        let Some(queue) = self.queues.get(&batch.partition) else { return false };
        queue.in_flight > 1 || queue.batches.front().is_some_and(|b| b.id < batch.id)
    }

    /// A taken batch has been answered for good.
    pub fn done(&mut self, batch: &Batch) {
        self.incomplete.remove(&batch.id);
        if let Some(queue) = self.queues.get_mut(&batch.partition) {
            queue.in_flight = queue.in_flight.saturating_sub(1);
        }
    }

    /// Batches that have waited too long, taken out.
    pub fn expired(&mut self, config: &ProducerConfig, now: Instant) -> Vec<Batch> {
        let mut expired = Vec::new();
        for queue in self.queues.values_mut() {
            while queue.batches.front().is_some_and(|b| b.created + config.delivery_timeout <= now) {
                if let Some(batch) = queue.batches.pop_front() {
                    self.incomplete.remove(&batch.id);
                    expired.push(batch);
                }
            }
        }
        expired
    }

    /// Takes out everything that has not been sent (an aborted transaction, a fatal error).
    pub fn take_unsent(&mut self) -> Vec<Batch> {
        let mut taken = Vec::new();
        for queue in self.queues.values_mut() {
            for batch in queue.batches.drain(..) {
                self.incomplete.remove(&batch.id);
                taken.push(batch);
            }
        }
        taken
    }

    /// Sequences start again at 0, for a new producer id or epoch; waiting batches are numbered anew.
    pub fn restart_sequences(&mut self) {
        for queue in self.queues.values_mut() {
            queue.next_sequence = 0;
            for batch in &mut queue.batches {
                if batch.base_sequence.is_some() {
                    batch.base_sequence = Some(queue.next_sequence);
                    queue.next_sequence = increment_sequence(queue.next_sequence, batch.count());
                }
            }
        }
    }

    /// Whether any batch is under way.
    pub fn has_in_flight(&self) -> bool {
        self.queues.values().any(|q| q.in_flight > 0)
    }
}
