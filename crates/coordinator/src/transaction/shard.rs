//! One shard of the transaction coordinator: dispatch, replay, timers.

use std::collections::BTreeMap;

use ottla_protocol::ErrorCode;
use ottla_protocol::types::Str;

use super::ProducerIdSource;
use super::messages::{TxnRequest, TxnResponse};
use super::metadata::{TransactionMetadata, TxnPartitions};
use super::outcome::{SendMarkers, TxnOutcome};
use super::record::TxnRecord;
use crate::context::ReplyToken;
use crate::error::ReplayError;
use crate::timers::Timers;

/// The broker's configs and features that the transaction coordinator reads. Fields are named after the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxnConfig {
    /// `transaction.max.timeout.ms`
    pub transaction_max_timeout_ms: i32,
    /// `transactional.id.expiration.ms`
    pub transactional_id_expiration_ms: i64,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`
    pub abort_timed_out_interval_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`
    pub remove_expired_interval_ms: i64,
    /// `transaction.two.phase.commit.enable`
    pub two_phase_commit_enable: bool,
    /// Finalized level of the feature `transaction.version`: 0 to 2.
    pub transaction_version: i16,
}

impl TxnConfig {
    /// The defaults of Kafka 4.4.
    pub fn kafka_defaults() -> TxnConfig {
        TxnConfig {
            transaction_max_timeout_ms: 900_000,
            transactional_id_expiration_ms: 604_800_000,
            abort_timed_out_interval_ms: 10_000,
            remove_expired_interval_ms: 3_600_000,
            two_phase_commit_enable: false,
            transaction_version: 2,
        }
    }
}

/// The world as the shard sees it during one call.
pub struct TxnEnv<'a> {
    /// Wall clock, milliseconds since the epoch.
    pub now_ms: i64,
    pub producer_ids: &'a mut dyn ProducerIdSource,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimerKey {
    AbortTimedOut,
    RemoveExpired,
    RetryMarkers(Str),
}

/// Where a sweep in pieces goes on, and when it began.
#[derive(Debug, Clone)]
pub(super) struct Sweep {
    pub(super) after: Option<Str>,
    pub(super) started_ms: i64,
}

/// The transactional ids of one partition of `__transaction_state`. One task owns it.
#[derive(Debug, Clone)]
pub struct TxnShard {
    pub(super) config: TxnConfig,
    /// Leader epoch of the partition, stamped on markers.
    pub(super) coordinator_epoch: i32,
    pub(super) transactions: BTreeMap<Str, TransactionMetadata>,
    /// Soft: partitions whose marker is not known to be written, by transactional id.
    pub(super) pending_markers: BTreeMap<Str, TxnPartitions>,
    pub(super) timers: Timers<TimerKey, Sweep>,
}

impl TxnShard {
    /// An empty shard, to be loaded, of a partition led at `coordinator_epoch`.
    pub fn new(config: TxnConfig, coordinator_epoch: i32) -> TxnShard {
        TxnShard {
            config,
            coordinator_epoch,
            transactions: BTreeMap::new(),
            pending_markers: BTreeMap::new(),
            timers: Timers::new(),
        }
    }

    /// Takes over changed configs and feature levels.
    pub fn set_config(&mut self, config: TxnConfig) {
        self.config = config;
    }

    /// What is known of a transactional id.
    pub fn transaction(&self, transactional_id: &str) -> Option<&TransactionMetadata> {
        self.transactions.get(transactional_id)
    }

    /// Every transactional id of the shard.
    pub fn transactions(&self) -> impl Iterator<Item = &TransactionMetadata> {
        self.transactions.values()
    }

    /// Decides a request of version `api_version`. Its reply is in the outcome.
    pub fn handle(
        &self,
        request: TxnRequest,
        token: ReplyToken,
        api_version: i16,
        env: &mut TxnEnv<'_>,
    ) -> TxnOutcome {
        let mut out = TxnOutcome::default();
        let response = match &request {
            TxnRequest::InitProducerId(body) => {
                self.init_producer_id(body, env, &mut out).map(TxnResponse::InitProducerId)
            }
            TxnRequest::AddPartitionsToTxn(transaction) if transaction.verify_only => {
                Ok(TxnResponse::AddPartitionsToTxn(self.verify_partitions(transaction)))
            }
            TxnRequest::AddPartitionsToTxn(transaction) => self
                .add_partitions_to_txn(transaction, api_version, env.now_ms, &mut out)
                .map(TxnResponse::AddPartitionsToTxn),
            TxnRequest::AddOffsetsToTxn { request: body, offsets_partition } => self
                .add_offsets_to_txn(body, *offsets_partition, env.now_ms, &mut out)
                .map(TxnResponse::AddOffsetsToTxn),
            TxnRequest::EndTxn(body) => {
                self.end_txn(body, api_version, env, &mut out).map(TxnResponse::EndTxn)
            }
            TxnRequest::DescribeTransactions { transactional_ids } => Ok(TxnResponse::DescribeTransactions(
                transactional_ids.iter().map(|id| self.describe_transaction(id)).collect(),
            )),
            TxnRequest::ListTransactions(body) => {
                self.list_transactions(body, env.now_ms).map(TxnResponse::ListTransactions)
            }
        };
        let response = response.unwrap_or_else(|error| request.error_response(error, api_version));
        out.replies.push((token, response));
        out
    }

    pub(super) fn record(&self, metadata: TransactionMetadata) -> TxnRecord {
        TxnRecord {
            transactional_id: metadata.transactional_id.clone(),
            metadata: Some(metadata),
            value_version: i16::from(self.config.transaction_version >= 1),
        }
    }

    pub(super) fn tombstone(&self, transactional_id: Str) -> TxnRecord {
        TxnRecord { transactional_id, metadata: None, value_version: 1 }
    }

    /// A known transactional id.
    pub(super) fn find(&self, transactional_id: &str) -> Result<&TransactionMetadata, ErrorCode> {
        if transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        self.transactions.get(transactional_id).ok_or(ErrorCode::InvalidProducerIdMapping)
    }

    /// Makes the records of an appended outcome part of the state.
    pub fn apply(&mut self, outcome: &TxnOutcome) {
        for record in &outcome.records {
            self.replay_record(record);
        }
    }

    /// Takes in one record of the log.
    ///
    /// # Errors
    /// When the record cannot be read: the partition cannot be served.
    pub fn replay(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), ReplayError> {
        if let Some(record) = TxnRecord::decode(key, value)? {
            self.replay_record(&record);
        }
        Ok(())
    }

    fn replay_record(&mut self, record: &TxnRecord) {
        let id = &record.transactional_id;
        match &record.metadata {
            Some(metadata) => {
                if metadata.state.is_completing() {
                    self.pending_markers.insert(id.clone(), metadata.partitions.clone());
                } else {
                    self.pending_markers.remove(id);
                    self.timers.cancel(&TimerKey::RetryMarkers(id.clone()));
                }
                self.transactions.insert(id.clone(), metadata.clone());
            }
            None => {
                self.pending_markers.remove(id);
                self.transactions.remove(id);
            }
        }
    }

    /// Starts the sweeps and goes on with transactions whose markers were not all written.
    pub fn on_loaded(&mut self, now_ms: i64) -> TxnOutcome {
        let mut out = TxnOutcome { splittable: true, ..Default::default() };
        for metadata in self.transactions.values().filter(|metadata| metadata.state.is_completing()) {
            if metadata.partitions.is_empty() {
                out.records.push(self.record(metadata.complete(now_ms)));
            } else {
                let partitions = metadata.partitions.clone();
                out.send_markers.push(SendMarkers::new(metadata, partitions, self.coordinator_epoch));
            }
        }
        self.schedule_sweep(TimerKey::AbortTimedOut, now_ms + self.config.abort_timed_out_interval_ms);
        self.schedule_sweep(TimerKey::RemoveExpired, now_ms + self.config.remove_expired_interval_ms);
        out
    }

    fn schedule_sweep(&mut self, key: TimerKey, at_ms: i64) {
        self.timers.schedule(key, at_ms, Sweep { after: None, started_ms: at_ms });
    }

    /// The earliest time at which [`TxnShard::on_time`] has something to do.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.timers.next_deadline_ms()
    }

    /// Handles what is due, up to the first thing that has records: apply those and call again.
    pub fn on_time(&mut self, env: &mut TxnEnv<'_>) -> TxnOutcome {
        let mut out = TxnOutcome::default();
        while out.records.is_empty() {
            let Some((key, sweep)) = self.timers.pop_due(env.now_ms) else { break };
            out.splittable = false;
            let (after, interval_ms) = match &key {
                TimerKey::RetryMarkers(transactional_id) => {
                    self.retry_markers(transactional_id, &mut out);
                    continue;
                }
                TimerKey::AbortTimedOut => (
                    self.abort_timed_out(sweep.after.as_ref(), env, &mut out),
                    self.config.abort_timed_out_interval_ms,
                ),
                TimerKey::RemoveExpired => (
                    self.remove_expired(sweep.after.as_ref(), env.now_ms, &mut out),
                    self.config.remove_expired_interval_ms,
                ),
            };
            match after {
                Some(after) => {
                    let rest = Sweep { after: Some(after), started_ms: sweep.started_ms };
                    self.timers.schedule(key, env.now_ms, rest);
                }
                None => {
                    let next_ms = (sweep.started_ms + interval_ms).max(env.now_ms + 1);
                    self.schedule_sweep(key, next_ms);
                }
            }
        }
        out
    }
}
