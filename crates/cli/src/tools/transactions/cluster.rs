//! What the cluster says of transactions and producers.

use std::collections::BTreeSet;

use ottla_client::{Admin, ClientError, Target, TopicPartition};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_producers_request::TopicRequest;
use ottla_protocol::messages::describe_producers_response::ProducerState;
use ottla_protocol::messages::describe_transactions_response::TransactionState as Described;
use ottla_protocol::messages::list_transactions_response::TransactionState as Listed;
use ottla_protocol::messages::{
    DescribeProducersRequest, DescribeProducersResponse, DescribeTransactionsRequest,
    DescribeTransactionsResponse, ListTransactionsRequest, ListTransactionsResponse,
};
use ottla_protocol::types::Str;

/// Transactions of every broker, with the broker.
pub async fn list(
    admin: &Admin,
    producer_ids: &[i64],
    duration_ms: i64,
    pattern: Option<&str>,
) -> Result<Vec<(i32, Listed)>, ClientError> {
    let request = ListTransactionsRequest {
        producer_id_filters: producer_ids.to_vec(),
        duration_filter: duration_ms,
        transactional_id_pattern: pattern.map(Str::from),
        ..Default::default()
    };
    let mut all = Vec::new();
    for node in admin.client().nodes().await? {
        let code = |r: &ListTransactionsResponse| ErrorCode::from_code(r.error_code);
        let response = admin.call_checked(&Target::Node(node.id), &request, code).await?;
        ClientError::check(response.error_code, None)?;
        all.extend(response.transaction_states.into_iter().map(|state| (node.id, state)));
    }
    Ok(all)
}

/// A transactional id, with its coordinator.
pub async fn describe(admin: &Admin, id: &str) -> Result<(i32, Described), ClientError> {
    let request =
        DescribeTransactionsRequest { transactional_ids: vec![Str::from(id)], ..Default::default() };
    let code = |r: &DescribeTransactionsResponse| {
        r.transaction_states.first().map_or(ErrorCode::None, |s| ErrorCode::from_code(s.error_code))
    };
    let response = admin.call_checked(&Target::Transaction(id.to_owned()), &request, code).await?;
    let unknown = ClientError::Api { code: ErrorCode::TransactionalIdNotFound, message: None };
    let state = response.transaction_states.into_iter().next().ok_or(unknown)?;
    if ErrorCode::from_code(state.error_code) == ErrorCode::TransactionalIdNotFound {
        let message = format!(
            "DescribeTransactions request for transactionalId `{id}` failed because the ID could not be found"
        );
        return Err(ClientError::Api { code: ErrorCode::TransactionalIdNotFound, message: Some(message) });
    }
    ClientError::check(state.error_code, None)?;
    Ok((admin.client().transaction_coordinator(id).await?, state))
}

/// The partitions of a transaction.
pub fn partitions(state: &Described) -> BTreeSet<TopicPartition> {
    let topics = state.topics.iter();
    topics.flat_map(|t| t.partitions.iter().map(|p| TopicPartition::new(t.topic.as_str(), *p))).collect()
}

/// The producers of a partition, as its leader or another replica knows them.
pub async fn producers(
    admin: &Admin,
    partition: &TopicPartition,
    broker: Option<i32>,
) -> Result<Vec<ProducerState>, ClientError> {
    let request = DescribeProducersRequest {
        topics: vec![TopicRequest {
            name: Str::from(partition.topic.as_str()),
            partition_indexes: vec![partition.partition],
            ..Default::default()
        }],
        ..Default::default()
    };
    let target = match broker {
        Some(id) => Target::Node(id),
        None => Target::Leader { topic: partition.topic.clone(), partition: partition.partition },
    };
    let code = |r: &DescribeProducersResponse| {
        let first = r.topics.first().and_then(|t| t.partitions.first());
        first.map_or(ErrorCode::None, |p| ErrorCode::from_code(p.error_code))
    };
    let response = admin.call_checked(&target, &request, code).await?;
    let unknown = ClientError::Api { code: ErrorCode::UnknownTopicOrPartition, message: None };
    let found = response.topics.into_iter().next().and_then(|t| t.partitions.into_iter().next());
    let found = found.ok_or(unknown)?;
    ClientError::check(found.error_code, found.error_message.as_deref())?;
    Ok(found.active_producers)
}
