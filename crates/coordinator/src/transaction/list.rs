//! ListTransactions and DescribeTransactions.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_transactions_response::{TopicData, TransactionState as Described};
use ottla_protocol::messages::list_transactions_request::ListTransactionsRequest;
use ottla_protocol::messages::list_transactions_response::{
    ListTransactionsResponse, TransactionState as Listed,
};
use ottla_protocol::types::Str;

use super::shard::TxnShard;
use super::state::TransactionState;
use crate::re2;

impl TxnShard {
    pub(super) fn list_transactions(
        &self,
        request: &ListTransactionsRequest,
        now_ms: i64,
    ) -> Result<ListTransactionsResponse, ErrorCode> {
        let mut states = Vec::new();
        let mut unknown_state_filters = Vec::new();
        for name in &request.state_filters {
            match TransactionState::from_name(name) {
                Some(state) => states.push(state),
                None => unknown_state_filters.push(name.clone()),
            }
        }
        let pattern = match request.transactional_id_pattern.as_deref().filter(|pattern| !pattern.is_empty())
        {
            Some(pattern) => Some(re2::compile(pattern).map_err(|_| ErrorCode::InvalidRegularExpression)?),
            None => None,
        };
        let transaction_states = self
            .transactions
            .values()
            .filter(|metadata| metadata.state != TransactionState::Dead)
            .filter(|metadata| {
                request.producer_id_filters.is_empty()
                    || request.producer_id_filters.contains(&metadata.producer_id)
            })
            .filter(|metadata| request.state_filters.is_empty() || states.contains(&metadata.state))
            .filter(|metadata| {
                request.duration_filter < 0
                    || now_ms.saturating_sub(metadata.start_timestamp_ms) > request.duration_filter
            })
            .filter(|metadata| {
                pattern.as_ref().is_none_or(|pattern| pattern.is_match(&metadata.transactional_id))
            })
            .map(|metadata| Listed {
                transactional_id: metadata.transactional_id.clone(),
                producer_id: metadata.producer_id,
                transaction_state: Str::from_static(metadata.state.name()),
                ..Default::default()
            })
            .collect();
        Ok(ListTransactionsResponse { unknown_state_filters, transaction_states, ..Default::default() })
    }

    pub(super) fn describe_transaction(&self, transactional_id: &Str) -> Described {
        let error = |error: ErrorCode| Described {
            transactional_id: transactional_id.clone(),
            error_code: error.code(),
            ..Default::default()
        };
        if transactional_id.is_empty() {
            return error(ErrorCode::InvalidRequest);
        }
        let Some(metadata) = self
            .transactions
            .get(transactional_id)
            .filter(|metadata| metadata.state != TransactionState::Dead)
        else {
            return error(ErrorCode::TransactionalIdNotFound);
        };
        // While markers are written, those that remain.
        let partitions = self.pending_markers.get(transactional_id).unwrap_or(&metadata.partitions);
        Described {
            transactional_id: transactional_id.clone(),
            transaction_state: Str::from_static(metadata.state.name()),
            transaction_timeout_ms: metadata.timeout_ms,
            transaction_start_time_ms: metadata.start_timestamp_ms,
            producer_id: metadata.producer_id,
            producer_epoch: metadata.producer_epoch,
            topics: partitions
                .iter()
                .map(|(topic, partitions)| TopicData {
                    topic: topic.clone(),
                    partitions: partitions.iter().copied().collect(),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }
    }
}
