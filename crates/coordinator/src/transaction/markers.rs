//! The results of WriteTxnMarkers: what is done, what is tried again, and when the transaction is complete.

use std::collections::BTreeSet;

use ottla_protocol::ErrorCode;
use ottla_protocol::types::Str;

use super::outcome::{SendMarkers, TxnOutcome};
use super::shard::{Sweep, TimerKey, TxnShard};

/// How long to wait before failed markers are sent again.
const RETRY_BACKOFF_MS: i64 = 100;

/// What became of the marker of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkerResult {
    /// The answer of the partition's leader, `ErrorCode::None` included.
    Answered(ErrorCode),
    /// The request was not answered, or the leader is not known right now.
    NotAnswered,
    /// The partition does not exist any more: nobody needs the marker.
    PartitionDeleted,
}

enum Next {
    Done,
    Retry,
    /// Another coordinator or producer took over: this one must not go on.
    Stop,
}

impl MarkerResult {
    /// Source: Kafka `TransactionMarkerRequestCompletionHandler`.
    fn next(self) -> Next {
        match self {
            MarkerResult::PartitionDeleted => Next::Done,
            MarkerResult::NotAnswered => Next::Retry,
            MarkerResult::Answered(error) => match error {
                ErrorCode::None
                // Producing to such a partition would have failed as well.
                | ErrorCode::UnsupportedForMessageFormat
                | ErrorCode::UnsupportedVersion => Next::Done,
                ErrorCode::InvalidProducerEpoch | ErrorCode::TransactionCoordinatorFenced => Next::Stop,
                _ => Next::Retry,
            },
        }
    }
}

impl TxnShard {
    /// Takes in the results of markers that an outcome asked for. Those of a transaction that is over are ignored.
    ///
    /// `sent` identifies the transaction: its transactional id, producer id and epoch.
    pub fn on_markers_written(
        &mut self,
        sent: &SendMarkers,
        results: &[(Str, i32, MarkerResult)],
        now_ms: i64,
    ) -> TxnOutcome {
        let mut out = TxnOutcome::default();
        let id = &sent.transactional_id;
        let Some(metadata) = self.transactions.get(id) else { return out };
        let is_current = metadata.state.is_completing()
            && metadata.producer_id == sent.producer_id
            && metadata.producer_epoch == sent.producer_epoch;
        let Some(pending) = self.pending_markers.get_mut(id).filter(|_| is_current) else { return out };
        let mut retry = false;
        for (topic, partition, result) in results {
            match result.next() {
                Next::Done => {
                    if let Some(partitions) = pending.get_mut(topic) {
                        partitions.remove(partition);
                        if partitions.is_empty() {
                            pending.remove(topic);
                        }
                    }
                }
                Next::Retry => retry = true,
                Next::Stop => {
                    self.pending_markers.remove(id);
                    return out;
                }
            }
        }
        if pending.is_empty() {
            let completed = metadata.complete(now_ms);
            out.records.push(self.record(completed));
        } else if retry {
            self.timers.schedule(
                TimerKey::RetryMarkers(id.clone()),
                now_ms + RETRY_BACKOFF_MS,
                Sweep { after: None, started_ms: now_ms },
            );
        }
        out
    }

    /// Sends again what is not known to be written. Writing a marker twice does no harm.
    pub(super) fn retry_markers(&self, transactional_id: &Str, out: &mut TxnOutcome) {
        let metadata =
            self.transactions.get(transactional_id).filter(|metadata| metadata.state.is_completing());
        let pending = self.pending_markers.get(transactional_id);
        if let (Some(metadata), Some(pending)) = (metadata, pending) {
            out.send_markers.push(SendMarkers::new(metadata, pending.clone(), self.coordinator_epoch));
        }
    }

    /// Partitions of a transaction whose marker is not known to be written.
    pub fn pending_markers(&self, transactional_id: &str) -> BTreeSet<(Str, i32)> {
        self.pending_markers
            .get(transactional_id)
            .into_iter()
            .flatten()
            .flat_map(|(topic, partitions)| partitions.iter().map(|partition| (topic.clone(), *partition)))
            .collect()
    }
}
