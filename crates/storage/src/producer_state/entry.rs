//! One producer of a log.

use ottla_protocol::records::{NO_PRODUCER_EPOCH, NO_SEQUENCE, NO_TIMESTAMP, decrement_sequence};

/// Batches that are kept of each producer, for duplicates: as many as a producer may have in flight.
const BATCHES_TO_RETAIN: usize = 5;

/// A batch of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchMetadata {
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Offset of its last record.
    pub last_offset: i64,
    /// Its last offset minus its first.
    pub offset_delta: i32,
    /// Its largest timestamp.
    pub timestamp: i64,
}

impl BatchMetadata {
    /// Sequence of its first record.
    pub fn first_sequence(&self) -> i32 {
        decrement_sequence(self.last_sequence, self.offset_delta)
    }

    /// Offset of its first record.
    pub fn first_offset(&self) -> i64 {
        self.last_offset.wrapping_sub(i64::from(self.offset_delta))
    }
}

/// A producer of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerEntry {
    /// Its id.
    pub producer_id: i64,
    /// Its last epoch.
    pub producer_epoch: i16,
    /// Epoch of the coordinator that wrote its last marker, -1 for none.
    pub coordinator_epoch: i32,
    /// Timestamp of its last batch or marker.
    pub last_timestamp: i64,
    /// First offset of its open transaction.
    pub current_txn_first_offset: Option<i64>,
    batches: [BatchMetadata; BATCHES_TO_RETAIN],
    count: u8,
}

/// Where a producer's state comes from in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastRecord {
    /// Last offset of its last batch with records; none when only a marker is left of it.
    pub(crate) last_data_offset: Option<i64>,
    /// Its last epoch.
    pub(crate) producer_epoch: i16,
}

impl LastRecord {
    pub(crate) fn of(entry: &ProducerEntry) -> Self {
        let last = entry.last_data_offset();
        LastRecord { last_data_offset: (last >= 0).then_some(last), producer_epoch: entry.producer_epoch }
    }
}

const NO_BATCH: BatchMetadata =
    BatchMetadata { last_sequence: 0, last_offset: 0, offset_delta: 0, timestamp: 0 };

impl ProducerEntry {
    pub(crate) fn new(
        producer_id: i64,
        producer_epoch: i16,
        coordinator_epoch: i32,
        last_timestamp: i64,
        current_txn_first_offset: Option<i64>,
    ) -> Self {
        ProducerEntry {
            producer_id,
            producer_epoch,
            coordinator_epoch,
            last_timestamp,
            current_txn_first_offset,
            batches: [NO_BATCH; BATCHES_TO_RETAIN],
            count: 0,
        }
    }

    pub(crate) fn empty(producer_id: i64) -> Self {
        ProducerEntry::new(producer_id, NO_PRODUCER_EPOCH, -1, NO_TIMESTAMP, None)
    }

    /// The same producer without its batches.
    pub(crate) fn without_batches(&self) -> Self {
        ProducerEntry { batches: [NO_BATCH; BATCHES_TO_RETAIN], count: 0, ..*self }
    }

    /// Its last batches, oldest first.
    pub fn batches(&self) -> &[BatchMetadata] {
        &self.batches[..usize::from(self.count)]
    }

    /// Whether none of its batches is known.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Sequence of its last record, -1 for none.
    pub fn last_sequence(&self) -> i32 {
        self.batches().last().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    /// Offset of its last record, -1 for none.
    pub fn last_data_offset(&self) -> i64 {
        self.batches().last().map_or(-1, |batch| batch.last_offset)
    }

    /// Last minus first offset of its last batch.
    pub fn last_offset_delta(&self) -> i32 {
        self.batches().last().map_or(0, |batch| batch.offset_delta)
    }

    fn set_epoch(&mut self, epoch: i16) {
        if self.producer_epoch != epoch {
            self.count = 0;
            self.producer_epoch = epoch;
        }
    }

    fn push(&mut self, batch: BatchMetadata) {
        if usize::from(self.count) == BATCHES_TO_RETAIN {
            self.batches.rotate_left(1);
            self.count -= 1;
        }
        self.batches[usize::from(self.count)] = batch;
        self.count += 1;
    }

    pub(crate) fn add_batch(&mut self, epoch: i16, batch: BatchMetadata) {
        self.set_epoch(epoch);
        self.push(batch);
        self.last_timestamp = batch.timestamp;
    }

    /// Notes the end of a transaction.
    pub(crate) fn end_txn(&mut self, epoch: i16, coordinator_epoch: i32, timestamp: i64) {
        self.set_epoch(epoch);
        self.coordinator_epoch = coordinator_epoch;
        self.current_txn_first_offset = None;
        self.last_timestamp = timestamp;
    }

    /// Takes over what an append changed.
    pub(crate) fn update(&mut self, next: &ProducerEntry) {
        self.set_epoch(next.producer_epoch);
        for batch in next.batches() {
            self.push(*batch);
        }
        self.coordinator_epoch = next.coordinator_epoch;
        self.current_txn_first_offset = next.current_txn_first_offset;
        self.last_timestamp = next.last_timestamp;
    }

    /// The known batch with exactly these sequences.
    pub(crate) fn find_duplicate(&self, epoch: i16, first: i32, last: i32) -> Option<BatchMetadata> {
        if epoch != self.producer_epoch {
            return None;
        }
        self.batches()
            .iter()
            .find(|batch| batch.first_sequence() == first && batch.last_sequence == last)
            .copied()
    }
}
