//! DescribeCluster: the brokers, or on a controller listener the controllers. Source: KIP-700, KIP-919, KIP-1073.

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use ottla_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};

use super::metadata::any_broker;
use super::now;
use crate::request::{Answer, RequestContext};
use crate::state::Broker;
use crate::topics::operations;

/// `EndpointType` of the request: brokers.
const BROKERS: i8 = 1;

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    request: DescribeClusterRequest,
) -> Answer<DescribeClusterResponse> {
    if ctx.version >= 1 && request.endpoint_type != BROKERS {
        let (code, message) = if request.endpoint_type == 2 {
            (
                ErrorCode::MismatchedEndpointType,
                "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER".to_owned(),
            )
        } else {
            (
                ErrorCode::UnsupportedEndpointType,
                format!("Unsupported endpoint type {}", request.endpoint_type),
            )
        };
        return now(DescribeClusterResponse {
            error_code: code.code(),
            error_message: Some(message.into()),
            ..Default::default()
        });
    }
    let image = b.image.load();
    let listener = &*ctx.peer.listener;
    let brokers = image
        .cluster
        .brokers
        .values()
        .filter(|broker| !broker.fenced || (ctx.version >= 2 && request.include_fenced_brokers))
        .filter_map(|broker| {
            let endpoint = broker.endpoint(listener)?;
            Some(DescribeClusterBroker {
                broker_id: broker.id,
                host: endpoint.host.clone(),
                port: i32::from(endpoint.port),
                rack: broker.rack.clone(),
                is_fenced: broker.fenced,
                ..Default::default()
            })
        })
        .collect();
    now(DescribeClusterResponse {
        cluster_id: b.cluster_id.clone(),
        controller_id: any_broker(&image, listener, b.node_id),
        brokers,
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            operations::CLUSTER
        } else {
            i32::MIN
        },
        endpoint_type: BROKERS,
        ..Default::default()
    })
}
