//! AddPartitionsToTxn: partitions become part of transactions; brokers send batches of it and may only verify. Source: KIP-98, KIP-890.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_coordinator::transaction::{TxnRequest, TxnResponse};
use ottla_metadata::image::MetadataImage;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTransaction;
use ottla_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use ottla_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};
use ottla_protocol::types::Str;

use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    request: AddPartitionsToTxnRequest,
) -> Answer<AddPartitionsToTxnResponse> {
    let version = ctx.version;
    let transactions = if version >= 4 {
        request.transactions
    } else {
        vec![AddPartitionsToTxnTransaction {
            transactional_id: request.v3_and_below_transactional_id,
            producer_id: request.v3_and_below_producer_id,
            producer_epoch: request.v3_and_below_producer_epoch,
            topics: request.v3_and_below_topics,
            ..Default::default()
        }]
    };
    let image = b.image.load_full();
    let waiting: Vec<_> = transactions
        .into_iter()
        .map(|transaction| {
            let unknown = unknown_partitions(&image, &transaction);
            if !unknown.is_empty() {
                // One partition that cannot be added keeps the others out too.
                return Err(refused(&transaction, &unknown));
            }
            let id = transaction.transactional_id.clone();
            let fallback = refused(&transaction, &BTreeSet::new());
            Ok((
                fallback,
                b.transactions.request(b, &id, TxnRequest::AddPartitionsToTxn(transaction), version),
            ))
        })
        .collect();
    Answer::later(async move {
        let mut results = Vec::with_capacity(waiting.len());
        for waiting in waiting {
            results.push(match waiting {
                Err(refused) => refused,
                Ok((fallback, waiting)) => match waiting.await {
                    TxnResponse::AddPartitionsToTxn(result) => result,
                    _ => fallback,
                },
            });
        }
        if version >= 4 {
            return AddPartitionsToTxnResponse { results_by_transaction: results, ..Default::default() };
        }
        AddPartitionsToTxnResponse {
            results_by_topic_v3_and_below: results
                .into_iter()
                .next()
                .map(|r| r.topic_results)
                .unwrap_or_default(),
            ..Default::default()
        }
    })
}

fn unknown_partitions(
    image: &MetadataImage,
    transaction: &AddPartitionsToTxnTransaction,
) -> BTreeSet<(Str, i32)> {
    let exists =
        |topic: &str, index: i32| image.topics.by_name(topic).is_some_and(|t| t.partition(index).is_some());
    transaction
        .topics
        .iter()
        .flat_map(|t| t.partitions.iter().map(|p| (t.name.clone(), *p)))
        .filter(|(topic, index)| !exists(topic, *index))
        .collect()
}

fn refused(
    transaction: &AddPartitionsToTxnTransaction,
    unknown: &BTreeSet<(Str, i32)>,
) -> AddPartitionsToTxnResult {
    AddPartitionsToTxnResult {
        transactional_id: transaction.transactional_id.clone(),
        topic_results: transaction
            .topics
            .iter()
            .map(|t| AddPartitionsToTxnTopicResult {
                name: t.name.clone(),
                results_by_partition: t
                    .partitions
                    .iter()
                    .map(|index| {
                        let code = if unknown.contains(&(t.name.clone(), *index)) {
                            ErrorCode::UnknownTopicOrPartition
                        } else {
                            ErrorCode::OperationNotAttempted
                        };
                        AddPartitionsToTxnPartitionResult {
                            partition_index: *index,
                            partition_error_code: code.code(),
                            ..Default::default()
                        }
                    })
                    .collect(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}
