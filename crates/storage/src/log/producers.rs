//! What a log knows of its producers, for those who ask.

use super::{Log, Writer};
use crate::error::LogError;
use crate::producer_state::{ProducerEntry, Producers, VerificationGuard};

/// A producer as DescribeProducers shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// Sequence of its last record, -1 for none.
    pub last_sequence: i32,
    /// Timestamp of its last batch or marker.
    pub last_timestamp: i64,
    /// Epoch of the coordinator that wrote its last marker, -1 for none.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction, -1 for none.
    pub current_txn_start_offset: i64,
}

impl Producers {
    pub(super) fn has_ongoing(&self, producer_id: i64, epoch: i16) -> bool {
        self.entry(producer_id)
            .is_some_and(|entry| entry.current_txn_first_offset.is_some() && entry.producer_epoch == epoch)
    }
}

impl Log {
    /// The producers whose state is kept, by id.
    pub fn active_producers(&self) -> Vec<ActiveProducer> {
        let entries = self.writer().producers.all();
        entries
            .iter()
            .map(|entry| ActiveProducer {
                producer_id: entry.producer_id,
                producer_epoch: entry.producer_epoch,
                last_sequence: entry.last_sequence(),
                last_timestamp: entry.last_timestamp,
                coordinator_epoch: entry.coordinator_epoch,
                current_txn_start_offset: entry.current_txn_first_offset.unwrap_or(-1),
            })
            .collect()
    }

    /// The whole state of every producer, by id.
    pub fn producer_entries(&self) -> Vec<ProducerEntry> {
        self.writer().producers.all()
    }

    /// Number of producers whose state is kept.
    pub fn producer_id_count(&self) -> usize {
        self.writer().producers.len()
    }

    /// Whether this epoch of a producer has a transaction open here.
    pub fn has_ongoing_transaction(&self, producer_id: i64, producer_epoch: i16) -> bool {
        self.writer().producers.has_ongoing(producer_id, producer_epoch)
    }

    /// Whether a transaction is open for longer than any may be.
    pub fn has_late_transaction(&self, now_ms: i64, max_transaction_timeout_ms: i64) -> bool {
        /// How late is late. Source: Kafka `ProducerStateManager.LATE_TRANSACTION_BUFFER_MS`.
        const BUFFER_MS: i64 = 5 * 60 * 1000;
        let oldest = self.writer().producers.oldest_txn_last_timestamp();
        oldest.is_some_and(|last| last > 0 && now_ms - last > max_transaction_timeout_ms + BUFFER_MS)
    }

    /// First offset of the oldest open transaction.
    pub fn first_undecided_offset(&self) -> Option<i64> {
        self.writer().producers.first_undecided_offset()
    }

    /// Starts the verification of a transactional batch with the coordinator (KIP-890 part 1). The guard goes with
    /// the append; it is [`VerificationGuard::SENTINEL`] when the transaction is open here already and nothing has to
    /// be asked.
    ///
    /// # Errors
    /// [`LogError::InvalidProducerEpoch`] for an epoch that is over.
    pub fn maybe_start_transaction_verification(
        &self,
        producer_id: i64,
        sequence: i32,
        producer_epoch: i16,
        supports_epoch_bump: bool,
        now_ms: i64,
    ) -> Result<VerificationGuard, LogError> {
        let mut writer = self.writer();
        self.check_stale_epoch(&writer, producer_id, producer_epoch)?;
        if writer.producers.has_ongoing(producer_id, producer_epoch) {
            return Ok(VerificationGuard::SENTINEL);
        }
        Ok(writer.producers.start_verification(
            producer_id,
            sequence,
            producer_epoch,
            supports_epoch_bump,
            now_ms,
        ))
    }

    pub(super) fn check_stale_epoch(
        &self,
        writer: &Writer,
        producer_id: i64,
        epoch: i16,
    ) -> Result<(), LogError> {
        match writer.producers.entry(producer_id) {
            Some(entry) if epoch < entry.producer_epoch => Err(LogError::InvalidProducerEpoch {
                text: format!(
                    "Epoch of producer {producer_id} is {epoch}, which is smaller than the last seen epoch {}",
                    entry.producer_epoch
                ),
            }),
            _ => Ok(()),
        }
    }

    /// Forgets producers that were silent for longer than `producer.id.expiration.ms`.
    pub fn remove_expired_producers(&self, now_ms: i64) {
        self.writer().producers.remove_expired(now_ms);
    }

    /// Sets `transaction.partition.verification.enable`.
    pub fn set_transaction_verification(&self, enabled: bool) {
        self.transaction_verification.store(enabled, std::sync::atomic::Ordering::Relaxed);
    }

    /// Sets `producer.id.expiration.ms`.
    pub fn set_producer_id_expiration_ms(&self, expiration_ms: i64) {
        self.writer().producers.set_expiration_ms(expiration_ms);
    }
}
