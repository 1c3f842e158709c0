//! EndTxn: commits or aborts a transaction. Source: KIP-98, KIP-890.

use std::sync::Arc;

use ottla_coordinator::transaction::{TxnRequest, TxnResponse};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{EndTxnRequest, EndTxnResponse};

use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(b: &Arc<Broker>, ctx: &RequestContext, request: EndTxnRequest) -> Answer<EndTxnResponse> {
    let id = request.transactional_id.clone();
    let waiting = b.transactions.request(b, &id, TxnRequest::EndTxn(request), ctx.version);
    Answer::later(async move {
        match waiting.await {
            TxnResponse::EndTxn(response) => response,
            _ => EndTxnResponse { error_code: ErrorCode::UnknownServerError.code(), ..Default::default() },
        }
    })
}
