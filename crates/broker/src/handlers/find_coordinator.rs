//! FindCoordinator: the broker that leads the partition a group or transactional id belongs to. Source: KIP-699, Kafka `KafkaApis.handleFindCoordinatorRequest`.

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::java::partition_for;
use ottla_protocol::messages::find_coordinator_response::Coordinator;
use ottla_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use ottla_protocol::types::Str;

use super::now;
use crate::controller::auto_create;
use crate::request::{Answer, RequestContext, count_error};
use crate::state::Broker;
use crate::topics::{CONSUMER_OFFSETS, TRANSACTION_STATE, address};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
/// Share groups have their own coordinator, which this broker does not run.
const SHARE: i8 = 2;

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    request: FindCoordinatorRequest,
) -> Answer<FindCoordinatorResponse> {
    if ctx.version < 4 {
        let found = find(b, ctx, request.key_type, request.key);
        count_error(&b.metrics, ctx, ErrorCode::from_code(found.error_code));
        return now(FindCoordinatorResponse {
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
        });
    }
    let coordinators =
        request.coordinator_keys.into_iter().map(|key| find(b, ctx, request.key_type, key)).collect();
    now(FindCoordinatorResponse { coordinators, ..Default::default() })
}

fn find(b: &Arc<Broker>, ctx: &RequestContext, key_type: i8, key: Str) -> Coordinator {
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
    let topic = match key_type {
        GROUP => CONSUMER_OFFSETS,
        TRANSACTION => TRANSACTION_STATE,
        SHARE => return failed(key, ErrorCode::InvalidRequest),
        _ => return failed(key, ErrorCode::InvalidRequest),
    };
    let image = b.image.load();
    let Some(topic) = image.topics.by_name(topic) else {
        auto_create(b, vec![Str::from_static(topic)]);
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
