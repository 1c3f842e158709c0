//! FindCoordinator: the broker that leads the partition a group or transactional id belongs to. Source: KIP-699, Kafka `KafkaApis.handleFindCoordinatorRequest`.

use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::ErrorCode;
use ottla_protocol::java::partition_for;
use ottla_protocol::messages::find_coordinator_response::Coordinator;
use ottla_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use ottla_protocol::types::Str;

use super::now;
use crate::request::{Answer, RequestContext, count_error};
use crate::state::Broker;
use crate::topics::{CONSUMER_OFFSETS, TRANSACTION_STATE, address};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// How long an answer waits for the internal topic that the request has made the controller create. Kafka answers
/// COORDINATOR_NOT_AVAILABLE at once, and the client asks again after its backoff; here the topic is there within
/// milliseconds. And the members of a group that start together are told together: one that asks a little later would
/// else be served while the others back off, and a `group.initial.rebalance.delay.ms` of a few ms would end without
/// them.
const CREATION_PATIENCE: Duration = Duration::from_millis(500);

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    request: FindCoordinatorRequest,
) -> Answer<FindCoordinatorResponse> {
    let Some(topic) = topic_of(request.key_type) else { return now(respond(b, ctx, request)) };
    let asks_for_none = ctx.version >= 4 && request.coordinator_keys.is_empty();
    if asks_for_none || b.image.load().topics.by_name(topic).is_some() {
        return now(respond(b, ctx, request));
    }
    b.auto_creations.start(b, vec![Str::from_static(topic)]);
    let (b, ctx) = (Arc::clone(b), ctx.clone());
    Answer::later(async move {
        b.auto_creations.ended(topic, CREATION_PATIENCE).await;
        respond(&b, &ctx, request)
    })
}

/// The topic whose partitions the coordinators of this kind lead; None for kinds that this broker does not know.
fn topic_of(key_type: i8) -> Option<&'static str> {
    match key_type {
        GROUP => Some(CONSUMER_OFFSETS),
        TRANSACTION => Some(TRANSACTION_STATE),
        // Share groups have their own coordinator, which this broker does not run.
        _ => None,
    }
}

fn respond(b: &Broker, ctx: &RequestContext, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    if ctx.version < 4 {
        let found = find(b, ctx, request.key_type, request.key);
        count_error(&b.metrics, ctx, ErrorCode::from_code(found.error_code));
        return FindCoordinatorResponse {
            error_code: found.error_code,
            // Later versions say nothing beside the code.
            error_message: (ctx.version >= 1).then(|| match ErrorCode::from_code(found.error_code) {
                ErrorCode::None => Str::from_static("NONE"),
                code => Str::from_static(code.message()),
            }),
            node_id: found.node_id,
            host: found.host,
            port: found.port,
            ..Default::default()
        };
    }
    let coordinators =
        request.coordinator_keys.into_iter().map(|key| find(b, ctx, request.key_type, key)).collect();
    FindCoordinatorResponse { coordinators, ..Default::default() }
}

fn find(b: &Broker, ctx: &RequestContext, key_type: i8, key: Str) -> Coordinator {
    let failed = |key: Str, code: ErrorCode| Coordinator {
        key,
        error_code: code.code(),
        // A kind that is unknown fails the request, and that has a text.
        error_message: Some(match code {
            ErrorCode::InvalidRequest => Str::from_static(code.message()),
            _ => Str::EMPTY,
        }),
        node_id: -1,
        port: -1,
        ..Default::default()
    };
    let Some(topic) = topic_of(key_type) else { return failed(key, ErrorCode::InvalidRequest) };
    let image = b.image.load();
    let Some(topic) = image.topics.by_name(topic) else {
        return failed(key, ErrorCode::CoordinatorNotAvailable);
    };
    let partition = partition_for(&key, topic.partitions.len() as i32);
    let leader = topic.partition(partition).map(|p| p.leader).filter(|id| *id >= 0);
    let broker = leader.and_then(|id| image.cluster.active_broker(id));
    match broker.and_then(|broker| Some((broker.id, address(broker, &ctx.peer.listener)?))) {
        Some((node_id, (host, port))) => {
            Coordinator { key, node_id, host: host.clone(), port, ..Default::default() }
        }
        None => failed(key, ErrorCode::CoordinatorNotAvailable),
    }
}
