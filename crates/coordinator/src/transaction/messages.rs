//! Requests a transaction shard takes and what it answers.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::add_offsets_to_txn_request::AddOffsetsToTxnRequest;
use ottla_protocol::messages::add_offsets_to_txn_response::AddOffsetsToTxnResponse;
use ottla_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTransaction;
use ottla_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use ottla_protocol::messages::describe_transactions_response::TransactionState as DescribedTransaction;
use ottla_protocol::messages::end_txn_request::EndTxnRequest;
use ottla_protocol::messages::end_txn_response::EndTxnResponse;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::init_producer_id_response::InitProducerIdResponse;
use ottla_protocol::messages::list_transactions_request::ListTransactionsRequest;
use ottla_protocol::messages::list_transactions_response::ListTransactionsResponse;
use ottla_protocol::types::Str;

use super::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID};

/// One request to one shard; what concerns several transactional ids is split by the caller with
/// [`crate::partition_for`].
#[derive(Debug, Clone, PartialEq)]
pub enum TxnRequest {
    /// Without a transactional id any shard can answer it.
    InitProducerId(InitProducerIdRequest),
    /// One transaction of the request; versions below 4 have one, at the top. Topics were authorized and exist.
    AddPartitionsToTxn(AddPartitionsToTxnTransaction),
    /// With the partition of `__consumer_offsets` that the group belongs to.
    AddOffsetsToTxn {
        request: AddOffsetsToTxnRequest,
        offsets_partition: i32,
    },
    EndTxn(EndTxnRequest),
    DescribeTransactions {
        transactional_ids: Vec<Str>,
    },
    /// Answered per shard; the caller merges.
    ListTransactions(ListTransactionsRequest),
}

/// The answer to a [`TxnRequest`], of the same name.
#[derive(Debug, Clone, PartialEq)]
pub enum TxnResponse {
    InitProducerId(InitProducerIdResponse),
    AddPartitionsToTxn(AddPartitionsToTxnResult),
    AddOffsetsToTxn(AddOffsetsToTxnResponse),
    EndTxn(EndTxnResponse),
    DescribeTransactions(Vec<DescribedTransaction>),
    ListTransactions(ListTransactionsResponse),
}

impl TxnRequest {
    /// The transactional id the request is about, where it is one.
    pub fn transactional_id(&self) -> Option<&Str> {
        match self {
            TxnRequest::InitProducerId(request) => request.transactional_id.as_ref(),
            TxnRequest::AddPartitionsToTxn(transaction) => Some(&transaction.transactional_id),
            TxnRequest::AddOffsetsToTxn { request, .. } => Some(&request.transactional_id),
            TxnRequest::EndTxn(request) => Some(&request.transactional_id),
            TxnRequest::DescribeTransactions { .. } | TxnRequest::ListTransactions(_) => None,
        }
    }

    /// The response that says only that the request failed with `error`.
    pub fn error_response(&self, error: ErrorCode, api_version: i16) -> TxnResponse {
        let error_code = self.error_for_version(error, api_version).code();
        match self {
            TxnRequest::InitProducerId(_) => TxnResponse::InitProducerId(InitProducerIdResponse {
                error_code,
                producer_id: NO_PRODUCER_ID,
                producer_epoch: NO_PRODUCER_EPOCH,
                ..Default::default()
            }),
            TxnRequest::AddPartitionsToTxn(transaction) => {
                TxnResponse::AddPartitionsToTxn(add_partitions_result(transaction, |_, _| error_code))
            }
            TxnRequest::AddOffsetsToTxn { .. } => {
                TxnResponse::AddOffsetsToTxn(AddOffsetsToTxnResponse { error_code, ..Default::default() })
            }
            TxnRequest::EndTxn(_) => TxnResponse::EndTxn(EndTxnResponse { error_code, ..Default::default() }),
            TxnRequest::DescribeTransactions { transactional_ids } => TxnResponse::DescribeTransactions(
                transactional_ids
                    .iter()
                    .map(|id| DescribedTransaction {
                        transactional_id: id.clone(),
                        error_code,
                        ..Default::default()
                    })
                    .collect(),
            ),
            TxnRequest::ListTransactions(_) => {
                TxnResponse::ListTransactions(ListTransactionsResponse { error_code, ..Default::default() })
            }
        }
    }

    /// Older clients know only one error of a fenced producer.
    fn error_for_version(&self, error: ErrorCode, api_version: i16) -> ErrorCode {
        let first_version = match self {
            TxnRequest::InitProducerId(_) => 4,
            TxnRequest::AddPartitionsToTxn(_)
            | TxnRequest::AddOffsetsToTxn { .. }
            | TxnRequest::EndTxn(_) => 2,
            TxnRequest::DescribeTransactions { .. } | TxnRequest::ListTransactions(_) => 0,
        };
        if error == ErrorCode::ProducerFenced && api_version < first_version {
            ErrorCode::InvalidProducerEpoch
        } else {
            error
        }
    }
}

/// A result with an error code for each partition of the transaction.
pub(super) fn add_partitions_result(
    transaction: &AddPartitionsToTxnTransaction,
    error_code: impl Fn(&Str, i32) -> i16,
) -> AddPartitionsToTxnResult {
    AddPartitionsToTxnResult {
        transactional_id: transaction.transactional_id.clone(),
        topic_results: transaction
            .topics
            .iter()
            .map(|topic| AddPartitionsToTxnTopicResult {
                name: topic.name.clone(),
                results_by_partition: topic
                    .partitions
                    .iter()
                    .map(|partition| AddPartitionsToTxnPartitionResult {
                        partition_index: *partition,
                        partition_error_code: error_code(&topic.name, *partition),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}
