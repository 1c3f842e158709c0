//! EndTxn: the decision to commit or abort. With `transaction.version` 2 it bumps the producer epoch, so that a
//! request of an earlier transaction can never be taken for one of the next (KIP-890).

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::end_txn_request::EndTxnRequest;
use ottla_protocol::messages::end_txn_response::EndTxnResponse;

use super::metadata::{TransactionMetadata, is_epoch_exhausted};
use super::outcome::{SendMarkers, TxnOutcome};
use super::shard::{TxnEnv, TxnShard};
use super::state::TransactionState;
use super::{EPOCH_BUMP_VERSION, NO_PRODUCER_EPOCH, NO_PRODUCER_ID};

/// From this version on the client works with transaction version 2.
const EPOCH_BUMP_API_VERSION: i16 = 5;

/// What an EndTxn comes to.
enum Verdict {
    /// It has been done already: the answer again.
    Repeat,
    /// Prepare, with or without partitions in the transaction.
    Prepare { no_partition_added: bool },
}

impl TxnShard {
    pub(super) fn end_txn(
        &self,
        request: &EndTxnRequest,
        api_version: i16,
        env: &mut TxnEnv<'_>,
        out: &mut TxnOutcome,
    ) -> Result<EndTxnResponse, ErrorCode> {
        let current = self.find(&request.transactional_id)?;
        if api_version < EPOCH_BUMP_API_VERSION {
            if let Verdict::Prepare { .. } = judge_without_bump(current, request)? {
                let next = current.prepare_end(request.committed, 0, NO_PRODUCER_ID, env.now_ms, false);
                self.end(next, env.now_ms, out);
            }
            return Ok(response(NO_PRODUCER_ID, NO_PRODUCER_EPOCH));
        }
        match judge_with_bump(current, request)? {
            Verdict::Repeat => Ok(response(current.producer_id, current.producer_epoch)),
            Verdict::Prepare { no_partition_added } => {
                let next_producer_id = next_producer_id_if_exhausted(current, env)?;
                let next = current.prepare_end(
                    request.committed,
                    EPOCH_BUMP_VERSION,
                    next_producer_id,
                    env.now_ms,
                    no_partition_added,
                );
                // What the client will be known as once the markers are written.
                let completed = next.complete(env.now_ms);
                self.end(next, env.now_ms, out);
                Ok(response(completed.producer_id, completed.producer_epoch))
            }
        }
    }

    /// Writes the decision down, and lets the markers go when it is committed. Without partitions there are none.
    fn end(&self, next: TransactionMetadata, now_ms: i64, out: &mut TxnOutcome) {
        if next.partitions.is_empty() {
            let completed = next.complete(now_ms);
            out.records.push(self.record(next));
            out.records.push(self.record(completed));
        } else {
            let partitions = next.partitions.clone();
            out.send_markers.push(SendMarkers::new(&next, partitions, self.coordinator_epoch));
            out.records.push(self.record(next));
        }
    }

    /// Aborts an open transaction that its producer has no part in any more: timed out, or another one took over.
    pub(super) fn fence_and_abort(
        &self,
        current: &TransactionMetadata,
        env: &mut TxnEnv<'_>,
        out: &mut TxnOutcome,
    ) -> Result<(), ErrorCode> {
        if self.config.transaction_version >= EPOCH_BUMP_VERSION {
            // The bump of the end is the fence.
            let next_producer_id = next_producer_id_if_exhausted(current, env)?;
            let next = current.prepare_end(false, EPOCH_BUMP_VERSION, next_producer_id, env.now_ms, false);
            self.end(next, env.now_ms, out);
        } else {
            let mut fenced = current.clone();
            fenced.producer_epoch = current.producer_epoch.saturating_add(1);
            fenced.last_producer_epoch = NO_PRODUCER_EPOCH;
            let next = fenced.prepare_end(false, 0, NO_PRODUCER_ID, env.now_ms, false);
            self.end(next, env.now_ms, out);
        }
        Ok(())
    }
}

fn next_producer_id_if_exhausted(
    current: &TransactionMetadata,
    env: &mut TxnEnv<'_>,
) -> Result<i64, ErrorCode> {
    if is_epoch_exhausted(current.producer_epoch) {
        env.producer_ids.next_producer_id()
    } else {
        Ok(NO_PRODUCER_ID)
    }
}

/// Before transaction version 2: the same epoch from begin to end, a repeated end is told apart by the state alone.
fn judge_without_bump(current: &TransactionMetadata, request: &EndTxnRequest) -> Result<Verdict, ErrorCode> {
    if current.producer_id != request.producer_id {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    if current.producer_epoch != request.producer_epoch {
        return Err(ErrorCode::ProducerFenced);
    }
    match (current.state, request.committed) {
        (TransactionState::PrepareCommit | TransactionState::PrepareAbort, _) => {
            Err(ErrorCode::ConcurrentTransactions)
        }
        (TransactionState::Ongoing, _) => Ok(Verdict::Prepare { no_partition_added: false }),
        (TransactionState::CompleteCommit, true) | (TransactionState::CompleteAbort, false) => {
            Ok(Verdict::Repeat)
        }
        (TransactionState::CompleteCommit | TransactionState::CompleteAbort | TransactionState::Empty, _) => {
            Err(ErrorCode::InvalidTxnState)
        }
        (TransactionState::Dead | TransactionState::PrepareEpochFence, _) => {
            Err(ErrorCode::UnknownServerError)
        }
    }
}

/// With transaction version 2: an epoch behind is a repeated end, the same epoch is the end of the next transaction.
fn judge_with_bump(current: &TransactionMetadata, request: &EndTxnRequest) -> Result<Verdict, ErrorCode> {
    // First of all: the producer may already use the id it gets when the transaction is complete.
    if current.state.is_completing() {
        return Err(ErrorCode::ConcurrentTransactions);
    }
    let repeats_over_overflow = current.previous_producer_id == request.producer_id
        && request.producer_epoch == i16::MAX - 1
        && current.producer_epoch == 0;
    let repeats_bump = i32::from(current.producer_epoch) == i32::from(request.producer_epoch) + 1;
    if current.producer_id != request.producer_id && !repeats_over_overflow {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    let is_complete =
        matches!(current.state, TransactionState::CompleteCommit | TransactionState::CompleteAbort);
    let is_repeat = repeats_bump || repeats_over_overflow;
    if request.producer_epoch != current.producer_epoch && !(is_complete && is_repeat) {
        return Err(ErrorCode::ProducerFenced);
    }
    match (current.state, request.committed) {
        (TransactionState::Ongoing, _) => Ok(Verdict::Prepare { no_partition_added: false }),
        (TransactionState::CompleteCommit, true) if is_repeat => Ok(Verdict::Repeat),
        (TransactionState::CompleteCommit, false) if !is_repeat => {
            Ok(Verdict::Prepare { no_partition_added: true })
        }
        (TransactionState::CompleteAbort, false) if is_repeat => Ok(Verdict::Repeat),
        (TransactionState::CompleteAbort, false) => Ok(Verdict::Prepare { no_partition_added: true }),
        // The client does not know whether the transaction reached the coordinator: aborting nothing is fine.
        (TransactionState::Empty, false) => Ok(Verdict::Prepare { no_partition_added: true }),
        (TransactionState::CompleteCommit | TransactionState::CompleteAbort | TransactionState::Empty, _) => {
            Err(ErrorCode::InvalidTxnState)
        }
        (
            TransactionState::PrepareCommit
            | TransactionState::PrepareAbort
            | TransactionState::Dead
            | TransactionState::PrepareEpochFence,
            _,
        ) => Err(ErrorCode::UnknownServerError),
    }
}

fn response(producer_id: i64, producer_epoch: i16) -> EndTxnResponse {
    EndTxnResponse { producer_id, producer_epoch, ..Default::default() }
}
