//! What an append does to one producer, checked before anything is changed.

use ottla_protocol::records::control::EndTxnMarker;
use ottla_protocol::records::{Batch, BatchHeader, NO_PRODUCER_EPOCH, NO_SEQUENCE, RecordsError, Scratch};

use super::entry::{BatchMetadata, ProducerEntry};
use super::producers::Verification;
use super::{AppendOrigin, TRANSACTION_VERSION_UNKNOWN};
use crate::error::LogError;
use crate::log::{LogOffsetMetadata, TopicPartition};

/// A transaction that an append ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CompletedTxn {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) aborted: bool,
}

/// The changes of an append to one producer.
#[derive(Debug)]
pub(crate) struct ProducerAppend {
    pub(crate) producer_id: i64,
    current: ProducerEntry,
    pub(crate) updated: ProducerEntry,
    origin: AppendOrigin,
    verification: Option<Verification>,
    /// The transactions that it started.
    pub(crate) started: Vec<LogOffsetMetadata>,
}

impl ProducerAppend {
    pub(crate) fn new(
        producer_id: i64,
        current: Option<ProducerEntry>,
        origin: AppendOrigin,
        verification: Option<Verification>,
    ) -> Self {
        let current = current.unwrap_or_else(|| ProducerEntry::empty(producer_id));
        let updated = current.without_batches();
        ProducerAppend { producer_id, current, updated, origin, verification, started: Vec::new() }
    }

    /// Applies one batch.
    pub(crate) fn append(
        &mut self,
        batch: &Batch<'_>,
        first_offset: LogOffsetMetadata,
        transaction_version: i16,
        partition: &TopicPartition,
        scratch: &mut Scratch,
    ) -> Result<Option<CompletedTxn>, LogError> {
        let header = batch.header();
        if !header.is_control() {
            self.append_data(header, first_offset, partition)?;
            return Ok(None);
        }
        // A control batch without a record is what is left of a transaction that was compacted away.
        let Some(record) = batch.records(scratch)?.next() else { return Ok(None) };
        let record = record?;
        let Some(marker) = EndTxnMarker::parse(&record)? else {
            return Err(LogError::Records(RecordsError::InvalidRecordStructure));
        };
        self.append_marker(marker, header, record.timestamp, transaction_version, partition)
    }

    fn check_epoch(
        &self,
        epoch: i16,
        offset: i64,
        version: i16,
        partition: &TopicPartition,
    ) -> Result<(), LogError> {
        let current = self.updated.producer_epoch;
        let strict = version >= 2;
        if !(if strict { epoch <= current } else { epoch < current }) {
            return Ok(());
        }
        // A marker that is written again after its transaction ended: its answer was lost (KAFKA-19999).
        if strict
            && epoch == current
            && (self.updated.current_txn_first_offset.is_none() || epoch == i16::MAX)
        {
            return Ok(());
        }
        if self.origin == AppendOrigin::Replication {
            return Ok(());
        }
        let comparison = if strict { "<=" } else { "<" };
        Err(LogError::InvalidProducerEpoch {
            text: format!(
                "Epoch of producer {} at offset {offset} in {partition} is {epoch}, which is {comparison} the last \
                 seen epoch {current} (TV{version})",
                self.producer_id
            ),
        })
    }

    fn check_sequence(
        &self,
        epoch: i16,
        first: i32,
        offset: i64,
        partition: &TopicPartition,
    ) -> Result<(), LogError> {
        let id = self.producer_id;
        if let Some(verification) = &self.verification {
            if verification.supports_epoch_bump && first != 0 && self.current.is_empty() {
                return Err(LogError::OutOfOrderSequence {
                    text: format!(
                        "Invalid sequence number for producer {id} at offset {offset} in partition {partition}: \
                         {first} (incoming seq. number). Expected sequence 0 for transactions v2 idempotent producer \
                         with no existing state."
                    ),
                });
            }
            if first > verification.lowest_sequence {
                return Err(LogError::OutOfOrderSequence {
                    text: format!(
                        "Out of order sequence number for producer {id} at offset {offset} in partition {partition}: \
                         {first} (incoming seq. number), {} (earliest seen sequence)",
                        verification.lowest_sequence
                    ),
                });
            }
        }
        let known = self.updated.producer_epoch;
        if epoch != known {
            if first != 0 && known != NO_PRODUCER_EPOCH {
                return Err(LogError::OutOfOrderSequence {
                    text: format!(
                        "Invalid sequence number for new epoch of producer {id} at offset {offset} in partition \
                         {partition}: {epoch} (request epoch), {first} (seq. number), {known} (current producer epoch)"
                    ),
                });
            }
            return Ok(());
        }
        let last = if !self.updated.is_empty() {
            self.updated.last_sequence()
        } else if epoch == self.current.producer_epoch {
            self.current.last_sequence()
        } else {
            NO_SEQUENCE
        };
        let follows = i64::from(first) == i64::from(last) + 1 || (first == 0 && last == i32::MAX);
        // A producer of which nothing is left, by retention or DeleteRecords, goes on where it likes.
        if self.current.producer_epoch == NO_PRODUCER_EPOCH || follows {
            return Ok(());
        }
        Err(LogError::OutOfOrderSequence {
            text: format!(
                "Out of order sequence number for producer {id} at offset {offset} in partition {partition}: {first} \
                 (incoming seq. number), {last} (current end sequence number)"
            ),
        })
    }

    fn append_data(
        &mut self,
        header: &BatchHeader,
        first_offset: LogOffsetMetadata,
        partition: &TopicPartition,
    ) -> Result<(), LogError> {
        let epoch = header.producer_epoch;
        let first = first_offset.offset;
        self.check_epoch(epoch, first, TRANSACTION_VERSION_UNKNOWN, partition)?;
        if self.origin == AppendOrigin::Client {
            self.check_sequence(epoch, header.base_sequence, first, partition)?;
        }
        let last_offset = header.last_offset();
        self.updated.add_batch(
            epoch,
            BatchMetadata {
                last_sequence: header.last_sequence(),
                last_offset,
                // Nothing has checked the offsets of a batch that is read back: they may wrap.
                offset_delta: last_offset.wrapping_sub(first) as i32,
                timestamp: header.max_timestamp,
            },
        );
        match (self.updated.current_txn_first_offset, header.is_transactional()) {
            (Some(_), false) => Err(LogError::InvalidTxnState {
                text: format!(
                    "Expected transactional write from producer {} at offset {first_offset} in partition {partition}",
                    self.producer_id
                ),
            }),
            (None, true) => {
                self.updated.current_txn_first_offset = Some(first);
                self.started.push(first_offset);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn append_marker(
        &mut self,
        marker: EndTxnMarker,
        header: &BatchHeader,
        timestamp: i64,
        transaction_version: i16,
        partition: &TopicPartition,
    ) -> Result<Option<CompletedTxn>, LogError> {
        let offset = header.base_offset;
        self.check_epoch(header.producer_epoch, offset, transaction_version.max(0), partition)?;
        let known = self.updated.coordinator_epoch;
        if known > marker.coordinator_epoch && self.origin != AppendOrigin::Replication {
            return Err(LogError::TransactionCoordinatorFenced {
                text: format!(
                    "Invalid coordinator epoch for producerId {} at offset {offset} in partition {partition}: {} \
                     (zombie), {known} (current)",
                    self.producer_id, marker.coordinator_epoch
                ),
            });
        }
        // A marker without data before it moves no last stable offset and has no place in the transaction index.
        let completed = self.updated.current_txn_first_offset.map(|first_offset| CompletedTxn {
            producer_id: self.producer_id,
            first_offset,
            last_offset: offset,
            aborted: !marker.commit,
        });
        self.updated.end_txn(header.producer_epoch, marker.coordinator_epoch, timestamp);
        Ok(completed)
    }
}
