//! InitProducerId: a producer id and epoch for a transactional id; fences whoever had it before.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::init_producer_id_response::InitProducerIdResponse;
use ottla_protocol::types::Str;

use super::metadata::{TransactionMetadata, is_epoch_exhausted};
use super::outcome::TxnOutcome;
use super::shard::{TxnEnv, TxnShard};
use super::state::TransactionState;
use super::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID};
use crate::context::ProducerIdAndEpoch;

impl TxnShard {
    pub(super) fn init_producer_id(
        &self,
        request: &InitProducerIdRequest,
        env: &mut TxnEnv<'_>,
        out: &mut TxnOutcome,
    ) -> Result<InitProducerIdResponse, ErrorCode> {
        let expected = match (request.producer_id, request.producer_epoch) {
            (NO_PRODUCER_ID, NO_PRODUCER_EPOCH) => None,
            (NO_PRODUCER_ID, _) | (_, NO_PRODUCER_EPOCH) => return Err(ErrorCode::InvalidRequest),
            (producer_id, producer_epoch) => Some(ProducerIdAndEpoch { producer_id, producer_epoch }),
        };
        let Some(transactional_id) = &request.transactional_id else {
            // Only idempotent: every call gets an id of its own.
            return Ok(response(env.producer_ids.next_producer_id()?, 0));
        };
        if transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        if request.enable2_pc && !self.config.two_phase_commit_enable {
            return Err(ErrorCode::TransactionalIdAuthorizationFailed);
        }
        if request.keep_prepared_txn {
            return Err(ErrorCode::UnsupportedVersion);
        }
        let timeout_range = 1..=self.config.transaction_max_timeout_ms;
        if !request.enable2_pc && !timeout_range.contains(&request.transaction_timeout_ms) {
            return Err(ErrorCode::InvalidTransactionTimeout);
        }
        let timeout_ms = if request.enable2_pc { i32::MAX } else { request.transaction_timeout_ms };
        let next = match self.transactions.get(transactional_id) {
            Some(current) => self.next_for_init(current, timeout_ms, expected, env, out)?,
            None => {
                let producer_id = env.producer_ids.next_producer_id()?;
                let id: Str = transactional_id.detached();
                let created = TransactionMetadata::new(id, producer_id, timeout_ms, env.now_ms);
                self.next_for_init(&created, timeout_ms, expected, env, out)?
            }
        };
        let response = response(next.producer_id, next.producer_epoch);
        out.records.push(self.record(next));
        Ok(response)
    }

    fn next_for_init(
        &self,
        current: &TransactionMetadata,
        timeout_ms: i32,
        expected: Option<ProducerIdAndEpoch>,
        env: &mut TxnEnv<'_>,
        out: &mut TxnOutcome,
    ) -> Result<TransactionMetadata, ErrorCode> {
        if current.state.is_completing() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        if expected.is_some_and(|expected| !is_valid_producer(current, expected)) {
            return Err(ErrorCode::ProducerFenced);
        }
        match current.state {
            TransactionState::Empty | TransactionState::CompleteCommit | TransactionState::CompleteAbort => {
                let epoch_matches =
                    expected.is_none_or(|expected| expected.producer_epoch == current.producer_epoch);
                if is_epoch_exhausted(current.producer_epoch) && epoch_matches {
                    let producer_id = env.producer_ids.next_producer_id()?;
                    let record_last_epoch = expected.is_some();
                    Ok(current.rotate_producer_id(producer_id, timeout_ms, env.now_ms, record_last_epoch))
                } else {
                    let expected_epoch = expected.map(|expected| expected.producer_epoch);
                    current.increment_epoch(timeout_ms, expected_epoch, env.now_ms)
                }
            }
            TransactionState::Ongoing => {
                // Abort what is open under an epoch that nobody is ever given; the client comes again and
                // gets the next one.
                self.fence_and_abort(current, env, out)?;
                Err(ErrorCode::ConcurrentTransactions)
            }
            TransactionState::PrepareCommit
            | TransactionState::PrepareAbort
            | TransactionState::Dead
            | TransactionState::PrepareEpochFence => Err(ErrorCode::UnknownServerError),
        }
    }
}

/// Whether a producer that says who it was may go on (KIP-360): the metadata was just made, it is the current one,
/// or it retries a bump that led to a new producer id.
fn is_valid_producer(current: &TransactionMetadata, expected: ProducerIdAndEpoch) -> bool {
    current.producer_epoch == NO_PRODUCER_EPOCH
        || expected.producer_id == current.producer_id
        || (expected.producer_id == current.previous_producer_id
            && is_epoch_exhausted(expected.producer_epoch))
}

fn response(producer_id: i64, producer_epoch: i16) -> InitProducerIdResponse {
    InitProducerIdResponse { producer_id, producer_epoch, ..Default::default() }
}
