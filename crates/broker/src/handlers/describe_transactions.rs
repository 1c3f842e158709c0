//! DescribeTransactions: the state of transactional ids. Source: KIP-664.

use std::sync::Arc;

use ottla_coordinator::transaction::{TxnRequest, TxnResponse};
use ottla_protocol::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};

use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    request: DescribeTransactionsRequest,
) -> Answer<DescribeTransactionsResponse> {
    let waiting: Vec<_> = request
        .transactional_ids
        .into_iter()
        .map(|id| {
            let request = TxnRequest::DescribeTransactions { transactional_ids: vec![id.clone()] };
            b.transactions.request(b, &id, request, ctx.version)
        })
        .collect();
    Answer::later(async move {
        let mut response = DescribeTransactionsResponse::default();
        for waiting in waiting {
            if let TxnResponse::DescribeTransactions(states) = waiting.await {
                response.transaction_states.extend(states);
            }
        }
        response
    })
}
