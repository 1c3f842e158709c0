//! What is known of one transactional id, and the transitions it can make. Transitions give the new value and change
//! nothing. Source: Kafka `TransactionMetadata`.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::ErrorCode;
use ottla_protocol::types::Str;

use super::state::TransactionState;
use super::{EPOCH_BUMP_VERSION, NO_PRODUCER_EPOCH, NO_PRODUCER_ID};

/// Partitions by topic name.
pub type TxnPartitions = BTreeMap<Str, BTreeSet<i32>>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionMetadata {
    pub transactional_id: Str,
    pub producer_id: i64,
    /// The producer id before the last transition.
    pub previous_producer_id: i64,
    /// The producer id to use once the transaction is complete, when the epochs of this one are used up.
    pub next_producer_id: i64,
    pub producer_epoch: i16,
    /// The epoch before the last bump, for retries (KIP-360). Not in the log.
    pub last_producer_epoch: i16,
    pub timeout_ms: i32,
    pub state: TransactionState,
    pub partitions: TxnPartitions,
    /// -1 while there is no transaction.
    pub start_timestamp_ms: i64,
    pub last_update_timestamp_ms: i64,
    /// The level of `transaction.version` the client works with.
    pub client_transaction_version: i16,
}

/// The last epoch a client is ever given is two below the maximum; the one above is for fencing.
pub(super) fn is_epoch_exhausted(producer_epoch: i16) -> bool {
    producer_epoch >= i16::MAX - 1
}

impl TransactionMetadata {
    /// A transactional id that was never used before; its first transition brings the epoch to 0.
    pub(super) fn new(
        transactional_id: Str,
        producer_id: i64,
        timeout_ms: i32,
        now_ms: i64,
    ) -> TransactionMetadata {
        TransactionMetadata {
            transactional_id,
            producer_id,
            previous_producer_id: NO_PRODUCER_ID,
            next_producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            last_producer_epoch: NO_PRODUCER_EPOCH,
            timeout_ms,
            state: TransactionState::Empty,
            partitions: TxnPartitions::new(),
            start_timestamp_ms: -1,
            last_update_timestamp_ms: now_ms,
            client_transaction_version: 0,
        }
    }

    /// A transaction of unbounded length, that only its client ends (KIP-939).
    pub(super) fn is_two_phase_commit(&self) -> bool {
        self.timeout_ms == i32::MAX
    }

    /// Every transition remembers the producer id it started from.
    fn next(&self, state: TransactionState) -> TransactionMetadata {
        TransactionMetadata { state, previous_producer_id: self.producer_id, ..self.clone() }
    }

    /// InitProducerId: the next epoch, or the same again for a retry.
    ///
    /// # Errors
    /// `PRODUCER_FENCED` when the expected epoch is neither the current nor the last one.
    pub(super) fn increment_epoch(
        &self,
        timeout_ms: i32,
        expected_epoch: Option<i16>,
        now_ms: i64,
    ) -> Result<TransactionMetadata, ErrorCode> {
        if is_epoch_exhausted(self.producer_epoch) {
            return Err(ErrorCode::UnknownServerError);
        }
        let mut next = self.next(TransactionState::Empty);
        match expected_epoch {
            None => {
                next.producer_epoch = self.producer_epoch + 1;
                next.last_producer_epoch = NO_PRODUCER_EPOCH;
            }
            Some(expected) if self.producer_epoch == NO_PRODUCER_EPOCH || expected == self.producer_epoch => {
                next.producer_epoch = self.producer_epoch + 1;
                next.last_producer_epoch = self.producer_epoch;
            }
            // The answer to an earlier bump was lost. A new producer would have reset the last epoch.
            Some(expected) if expected == self.last_producer_epoch => {}
            Some(_) => return Err(ErrorCode::ProducerFenced),
        }
        next.reset_transaction(timeout_ms, now_ms);
        Ok(next)
    }

    /// InitProducerId when the epochs are used up: another producer id.
    pub(super) fn rotate_producer_id(
        &self,
        producer_id: i64,
        timeout_ms: i32,
        now_ms: i64,
        record_last_epoch: bool,
    ) -> TransactionMetadata {
        let mut next = self.next(TransactionState::Empty);
        next.producer_id = producer_id;
        next.producer_epoch = 0;
        next.last_producer_epoch = if record_last_epoch { self.producer_epoch } else { NO_PRODUCER_EPOCH };
        next.reset_transaction(timeout_ms, now_ms);
        next
    }

    fn reset_transaction(&mut self, timeout_ms: i32, now_ms: i64) {
        self.timeout_ms = timeout_ms;
        self.partitions.clear();
        self.start_timestamp_ms = -1;
        self.last_update_timestamp_ms = now_ms;
    }

    pub(super) fn add_partitions(
        &self,
        added: &TxnPartitions,
        now_ms: i64,
        client_transaction_version: i16,
    ) -> TransactionMetadata {
        let mut next = self.next(TransactionState::Ongoing);
        if self.state.may_expire() {
            next.start_timestamp_ms = now_ms;
        }
        for (topic, partitions) in added {
            next.partitions.entry(topic.clone()).or_default().extend(partitions);
        }
        next.last_update_timestamp_ms = now_ms;
        next.client_transaction_version = client_transaction_version;
        next
    }

    /// The decision to commit or abort.
    pub(super) fn prepare_end(
        &self,
        commit: bool,
        client_transaction_version: i16,
        next_producer_id: i64,
        now_ms: i64,
        no_partition_added: bool,
    ) -> TransactionMetadata {
        let state = if commit { TransactionState::PrepareCommit } else { TransactionState::PrepareAbort };
        let mut next = self.next(state);
        if client_transaction_version >= EPOCH_BUMP_VERSION {
            // At the maximum an abort goes through as it is, so that the id can recover.
            next.producer_epoch = self.producer_epoch.saturating_add(1);
            next.last_producer_epoch = self.producer_epoch;
        }
        if no_partition_added {
            // With version 2 an abort may come without any partition: the transaction began when it ended.
            next.start_timestamp_ms = now_ms;
        }
        next.next_producer_id = next_producer_id;
        next.last_update_timestamp_ms = now_ms;
        next.client_transaction_version = client_transaction_version;
        next
    }

    /// All markers are written.
    pub(super) fn complete(&self, now_ms: i64) -> TransactionMetadata {
        let state = if self.state == TransactionState::PrepareCommit {
            TransactionState::CompleteCommit
        } else {
            TransactionState::CompleteAbort
        };
        let mut next = self.next(state);
        if self.client_transaction_version >= EPOCH_BUMP_VERSION && self.next_producer_id != NO_PRODUCER_ID {
            next.producer_id = self.next_producer_id;
            next.producer_epoch = 0;
        }
        next.next_producer_id = NO_PRODUCER_ID;
        next.partitions.clear();
        next.last_update_timestamp_ms = now_ms;
        next
    }
}
