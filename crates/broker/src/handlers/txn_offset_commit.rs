//! TxnOffsetCommit: offsets that become visible with their transaction. Source: KIP-98, KIP-447, KIP-890, KIP-1319.

use std::sync::Arc;

use ottla_coordinator::group::messages::txn_offset_commit_error;
use ottla_coordinator::group::{GroupRequest, GroupResponse};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestTopic;
use ottla_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use ottla_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use ottla_protocol::types::Str;

use super::now;
use crate::coordinators::{Support, Verification};
use crate::request::{Answer, RequestContext};
use crate::state::Broker;
use crate::topics::CONSUMER_OFFSETS;

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    mut request: TxnOffsetCommitRequest,
) -> Answer<TxnOffsetCommitResponse> {
    let by_id = ctx.version >= 6;
    let image = b.image.load_full();
    let mut refused = Vec::new();
    let mut accepted: Vec<TxnOffsetCommitRequestTopic> = Vec::new();
    for mut topic in std::mem::take(&mut request.topics) {
        if by_id {
            match image.topics.name_of(&topic.topic_id) {
                Some(name) => topic.name = name.clone(),
                None => {
                    refused.push(fail_topic(&topic, ErrorCode::UnknownTopicId));
                    continue;
                }
            }
        }
        let count = image.topics.by_name(&topic.name).map_or(0, |t| t.partitions.len() as i32);
        let (known, unknown): (Vec<_>, Vec<_>) =
            topic.partitions.iter().cloned().partition(|p| (0..count).contains(&p.partition_index));
        if !unknown.is_empty() {
            let topic = TxnOffsetCommitRequestTopic { partitions: unknown, ..topic.clone() };
            refused.push(fail_topic(&topic, ErrorCode::UnknownTopicOrPartition));
        }
        if !known.is_empty() {
            accepted.push(TxnOffsetCommitRequestTopic { partitions: known, ..topic });
        }
    }
    if accepted.is_empty() {
        return now(finish(TxnOffsetCommitResponse::default(), refused, by_id));
    }
    request.topics = accepted;
    let Some(index) = b.groups.partition_of(b, &request.group_id) else {
        return now(finish(txn_offset_commit_error(&request, ErrorCode::NotCoordinator), refused, by_id));
    };
    let b = Arc::clone(b);
    let ctx = ctx.clone();
    Answer::later(async move {
        let verified = Verification::of_offsets(
            &b,
            request.transactional_id.clone(),
            (request.producer_id, request.producer_epoch),
            CONSUMER_OFFSETS,
            index,
            Support::of_txn_offset_commit(ctx.version),
        )
        .await;
        let guard = match verified {
            Ok(guard) => guard,
            Err(code) => {
                let code = ottla_coordinator::append_error_to_coordinator_error(code);
                return finish(txn_offset_commit_error(&request, code), refused, by_id);
            }
        };
        let fallback = txn_offset_commit_error(&request, ErrorCode::UnknownServerError);
        let waiting = b.groups.request_in_transaction(
            index,
            GroupRequest::TxnOffsetCommit(request),
            ctx.for_coordinator(),
            guard,
        );
        let response = match waiting.await {
            GroupResponse::TxnOffsetCommit(response) => response,
            _ => fallback,
        };
        finish(response, refused, by_id)
    })
}

fn fail_topic(topic: &TxnOffsetCommitRequestTopic, code: ErrorCode) -> TxnOffsetCommitResponseTopic {
    TxnOffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|p| TxnOffsetCommitResponsePartition {
                partition_index: p.partition_index,
                error_code: code.code(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

fn finish(
    mut response: TxnOffsetCommitResponse,
    refused: Vec<TxnOffsetCommitResponseTopic>,
    by_id: bool,
) -> TxnOffsetCommitResponse {
    for topic in refused {
        match response.topics.iter_mut().find(|t| t.name == topic.name && t.topic_id == topic.topic_id) {
            Some(known) => known.partitions.extend(topic.partitions),
            None => response.topics.push(topic),
        }
    }
    for topic in &mut response.topics {
        if by_id {
            topic.name = Str::EMPTY;
        } else {
            topic.topic_id = Default::default();
        }
    }
    response
}
