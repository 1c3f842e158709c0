//! AddOffsetsToTxn: the offsets of a group become part of a transaction. Source: KIP-98.

use std::sync::Arc;

use ottla_coordinator::transaction::{TxnRequest, TxnResponse};
use ottla_protocol::ErrorCode;
use ottla_protocol::java::partition_for;
use ottla_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    request: AddOffsetsToTxnRequest,
) -> Answer<AddOffsetsToTxnResponse> {
    let failed = |code: ErrorCode| AddOffsetsToTxnResponse { error_code: code.code(), ..Default::default() };
    // Before the topic is there its partitions are those that it will have.
    let offsets_partition = b.groups.partition_of(b, &request.group_id).unwrap_or_else(|| {
        let partitions = b.config.load().get_int("offsets.topic.num.partitions");
        partition_for(&request.group_id, partitions)
    });
    let id = request.transactional_id.clone();
    let request = TxnRequest::AddOffsetsToTxn { request, offsets_partition };
    let waiting = b.transactions.request(b, &id, request, ctx.version);
    Answer::later(async move {
        match waiting.await {
            TxnResponse::AddOffsetsToTxn(response) => response,
            _ => failed(ErrorCode::UnknownServerError),
        }
    })
}
