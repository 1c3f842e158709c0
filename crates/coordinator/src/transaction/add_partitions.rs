//! AddPartitionsToTxn, from clients (to version 3) and from brokers (add or verify), and AddOffsetsToTxn.

use std::collections::BTreeSet;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::add_offsets_to_txn_request::AddOffsetsToTxnRequest;
use ottla_protocol::messages::add_offsets_to_txn_response::AddOffsetsToTxnResponse;
use ottla_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTransaction;
use ottla_protocol::messages::add_partitions_to_txn_response::AddPartitionsToTxnResult;
use ottla_protocol::types::Str;

use super::messages::add_partitions_result;
use super::metadata::TxnPartitions;
use super::outcome::TxnOutcome;
use super::shard::TxnShard;
use super::state::TransactionState;

/// Versions above this one come from brokers on behalf of clients of transaction version 2.
const LAST_CLIENT_VERSION: i16 = 3;
const OFFSETS_TOPIC: Str = Str::from_static("__consumer_offsets");

impl TxnShard {
    pub(super) fn add_partitions_to_txn(
        &self,
        transaction: &AddPartitionsToTxnTransaction,
        api_version: i16,
        now_ms: i64,
        out: &mut TxnOutcome,
    ) -> Result<AddPartitionsToTxnResult, ErrorCode> {
        let mut partitions = TxnPartitions::new();
        for topic in &transaction.topics {
            partitions.entry(topic.name.detached()).or_default().extend(&topic.partitions);
        }
        let client_transaction_version = if api_version > LAST_CLIENT_VERSION { 2 } else { 0 };
        self.add_partitions(
            &transaction.transactional_id,
            transaction.producer_id,
            transaction.producer_epoch,
            &partitions,
            client_transaction_version,
            now_ms,
            out,
        )?;
        Ok(add_partitions_result(transaction, |_, _| ErrorCode::None.code()))
    }

    pub(super) fn add_offsets_to_txn(
        &self,
        request: &AddOffsetsToTxnRequest,
        offsets_partition: i32,
        now_ms: i64,
        out: &mut TxnOutcome,
    ) -> Result<AddOffsetsToTxnResponse, ErrorCode> {
        let partitions = TxnPartitions::from([(OFFSETS_TOPIC, BTreeSet::from([offsets_partition]))]);
        // Clients of version 2 do not send this request.
        self.add_partitions(
            &request.transactional_id,
            request.producer_id,
            request.producer_epoch,
            &partitions,
            0,
            now_ms,
            out,
        )?;
        Ok(AddOffsetsToTxnResponse::default())
    }

    #[allow(clippy::too_many_arguments)]
    fn add_partitions(
        &self,
        transactional_id: &str,
        producer_id: i64,
        producer_epoch: i16,
        partitions: &TxnPartitions,
        client_transaction_version: i16,
        now_ms: i64,
        out: &mut TxnOutcome,
    ) -> Result<(), ErrorCode> {
        let current = self.find(transactional_id)?;
        // First of all: while a transaction completes, the producer may already use the id it gets afterwards.
        if current.state.is_completing() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        if current.producer_id != producer_id {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        if current.producer_epoch != producer_epoch {
            return Err(ErrorCode::ProducerFenced);
        }
        let contains_all = partitions.iter().all(|(topic, added)| {
            current.partitions.get(topic).is_some_and(|existing| existing.is_superset(added))
        });
        match current.state {
            TransactionState::Ongoing if contains_all => Ok(()),
            TransactionState::Dead | TransactionState::PrepareEpochFence => {
                Err(ErrorCode::UnknownServerError)
            }
            _ => {
                let next = current.add_partitions(partitions, now_ms, client_transaction_version);
                out.records.push(self.record(next));
                Ok(())
            }
        }
    }

    /// Whether partitions are part of the transaction, for a broker about to append to them (KIP-890).
    pub(super) fn verify_partitions(
        &self,
        transaction: &AddPartitionsToTxnTransaction,
    ) -> AddPartitionsToTxnResult {
        let current = self.find(&transaction.transactional_id).and_then(|current| {
            if current.producer_id != transaction.producer_id {
                Err(ErrorCode::InvalidProducerIdMapping)
            } else if current.producer_epoch != transaction.producer_epoch {
                Err(ErrorCode::ProducerFenced)
            } else if current.state.is_completing() {
                Err(ErrorCode::ConcurrentTransactions)
            } else {
                Ok(current)
            }
        });
        add_partitions_result(transaction, |topic, partition| {
            let error = match current {
                Err(error) => error,
                Ok(current) => {
                    let added = current.partitions.get(topic).is_some_and(|added| added.contains(&partition));
                    if added { ErrorCode::None } else { ErrorCode::TransactionAbortable }
                }
            };
            error.code()
        })
    }
}
