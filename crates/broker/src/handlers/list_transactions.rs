//! ListTransactions: the transactional ids that this broker coordinates. Source: KIP-664, KIP-994, KIP-1152.

use std::sync::Arc;

use ottla_coordinator::transaction::{TxnRequest, TxnResponse};
use ottla_protocol::messages::{ListTransactionsRequest, ListTransactionsResponse};

use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    request: ListTransactionsRequest,
) -> Answer<ListTransactionsResponse> {
    let waiting = b.transactions.request_all(TxnRequest::ListTransactions(request), ctx.version);
    Answer::later(async move {
        let mut response = ListTransactionsResponse::default();
        for part in waiting.await {
            let TxnResponse::ListTransactions(part) = part else { continue };
            if part.error_code != 0 {
                return ListTransactionsResponse { error_code: part.error_code, ..Default::default() };
            }
            for filter in part.unknown_state_filters {
                if !response.unknown_state_filters.contains(&filter) {
                    response.unknown_state_filters.push(filter);
                }
            }
            response.transaction_states.extend(part.transaction_states);
        }
        response
    })
}
