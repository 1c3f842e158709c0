//! InitProducerId: a producer id, with a transactional id from its coordinator, without one from any broker. Source: KIP-98, KIP-360, KIP-890.

use std::sync::Arc;

use ottla_coordinator::transaction::{ProducerIdSource, TxnRequest, TxnResponse};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use crate::coordinators::ProducerIdBlocks;
use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    request: InitProducerIdRequest,
) -> Answer<InitProducerIdResponse> {
    let b = Arc::clone(b);
    let version = ctx.version;
    Answer::later(async move {
        b.transactions.producer_ids.ready(&b).await;
        let Some(transactional_id) = request.transactional_id.clone() else {
            return match ProducerIdBlocks(&b).next_producer_id() {
                Ok(producer_id) => {
                    InitProducerIdResponse { producer_id, producer_epoch: 0, ..Default::default() }
                }
                Err(code) => failed(code),
            };
        };
        let request = TxnRequest::InitProducerId(request);
        match b.transactions.request(&b, &transactional_id, request, version).await {
            TxnResponse::InitProducerId(response) => response,
            _ => failed(ErrorCode::UnknownServerError),
        }
    })
}

fn failed(code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse {
        error_code: code.code(),
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    }
}
