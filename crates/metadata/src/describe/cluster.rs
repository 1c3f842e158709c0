//! DescribeCluster, ListConfigResources and DescribeDelegationToken.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use ottla_protocol::messages::describe_cluster_response::{DescribeClusterBroker, DescribeClusterResponse};
use ottla_protocol::messages::describe_delegation_token_response::DescribeDelegationTokenResponse;
use ottla_protocol::messages::list_config_resources_request::ListConfigResourcesRequest;
use ottla_protocol::messages::list_config_resources_response::{ConfigResource, ListConfigResourcesResponse};
use ottla_protocol::types::Str;

use crate::image::{MetadataImage, NodeEndpoint, ResourceKind};

/// Endpoint type of brokers in DescribeCluster.
const BROKERS: i8 = 1;
/// Endpoint type of controllers in DescribeCluster.
const CONTROLLERS: i8 = 2;

fn node(id: i32, endpoint: &NodeEndpoint, rack: Option<Str>, fenced: bool) -> DescribeClusterBroker {
    DescribeClusterBroker {
        broker_id: id,
        host: endpoint.host.clone(),
        port: i32::from(endpoint.port),
        rack,
        is_fenced: fenced,
        ..Default::default()
    }
}

/// DescribeCluster as seen from `listener`. `leader` is the quorum's leader when a controller
/// answers, `None` when a broker does. `random` picks the broker that is named as controller.
pub fn describe_cluster(
    image: &MetadataImage,
    cluster_id: &str,
    listener: &str,
    leader: Option<i32>,
    request: &DescribeClusterRequest,
    version: i16,
    random: u64,
) -> DescribeClusterResponse {
    let own_type = if leader.is_some() { CONTROLLERS } else { BROKERS };
    let name = |t: i8| if t == CONTROLLERS { "CONTROLLER" } else { "BROKER" };
    let refuse = |newer: ErrorCode, text: String| DescribeClusterResponse {
        error_code: if version == 0 { ErrorCode::InvalidRequest.code() } else { newer.code() },
        error_message: Some(text.into()),
        ..Default::default()
    };
    if !matches!(request.endpoint_type, BROKERS | CONTROLLERS) {
        let text = format!("Unsupported endpoint type {}", request.endpoint_type);
        return refuse(ErrorCode::UnsupportedEndpointType, text);
    }
    if request.endpoint_type != own_type {
        let text = format!(
            "The request was sent to an endpoint of type {}, but we wanted an endpoint of type {}",
            name(own_type),
            name(request.endpoint_type)
        );
        return refuse(ErrorCode::MismatchedEndpointType, text);
    }
    let nodes: Vec<DescribeClusterBroker> = match leader {
        Some(_) => image
            .cluster
            .controllers
            .values()
            .filter_map(|c| {
                let endpoint = c.endpoints.iter().find(|e| &*e.name == listener)?;
                Some(node(c.id, endpoint, None, false))
            })
            .collect(),
        None => image
            .cluster
            .brokers
            .values()
            .filter(|b| !b.fenced || request.include_fenced_brokers)
            .filter_map(|b| Some(node(b.id, b.endpoint(listener)?, b.rack.clone(), b.fenced)))
            .collect(),
    };
    let controller = match leader {
        Some(id) => Some(id).filter(|id| nodes.iter().any(|n| n.broker_id == *id)),
        None => {
            let alive: Vec<i32> = nodes.iter().filter(|n| !n.is_fenced).map(|n| n.broker_id).collect();
            let at = random.checked_rem(alive.len() as u64).unwrap_or(0);
            alive.get(at as usize).copied()
        }
    };
    DescribeClusterResponse {
        cluster_id: cluster_id.into(),
        controller_id: controller.unwrap_or(-1),
        endpoint_type: own_type,
        brokers: nodes,
        ..Default::default()
    }
}

/// ListConfigResources. `listener` is the one that the request came by.
pub fn list_config_resources(
    image: &MetadataImage,
    listener: &str,
    request: &ListConfigResourcesRequest,
    version: i16,
) -> ListConfigResourcesResponse {
    let supported: &[ResourceKind] = if version == 0 {
        &[ResourceKind::CLIENT_METRICS]
    } else {
        &[
            ResourceKind::TOPIC,
            ResourceKind::BROKER,
            ResourceKind::BROKER_LOGGER,
            ResourceKind::CLIENT_METRICS,
            ResourceKind::GROUP,
        ]
    };
    let wanted: Vec<ResourceKind> = if request.resource_types.is_empty() {
        supported.to_vec()
    } else {
        request.resource_types.iter().map(|t| ResourceKind(*t)).collect()
    };
    let mut response = ListConfigResourcesResponse::default();
    if wanted.iter().any(|k| !supported.contains(k)) {
        response.error_code = ErrorCode::UnsupportedVersion.code();
        return response;
    }
    let mut push = |kind: ResourceKind, name: Str| {
        response.config_resources.push(ConfigResource {
            resource_name: name,
            resource_type: kind.0,
            ..Default::default()
        });
    };
    for kind in [ResourceKind::GROUP, ResourceKind::CLIENT_METRICS] {
        if wanted.contains(&kind) {
            for (resource, _) in image.configs.iter().filter(|(r, _)| r.kind == kind) {
                push(kind, resource.name.clone());
            }
        }
    }
    for kind in [ResourceKind::BROKER_LOGGER, ResourceKind::BROKER] {
        if wanted.contains(&kind) {
            let brokers = image.cluster.brokers.values();
            for b in brokers.filter(|b| b.endpoint(listener).is_some()) {
                push(kind, b.id.to_string().into());
            }
        }
    }
    if wanted.contains(&ResourceKind::TOPIC) {
        for topic in image.topics.iter_by_name() {
            push(ResourceKind::TOPIC, topic.name.clone());
        }
    }
    response
}

/// DescribeDelegationToken without a master key: tokens are switched off.
pub fn describe_delegation_tokens() -> DescribeDelegationTokenResponse {
    DescribeDelegationTokenResponse {
        error_code: ErrorCode::DelegationTokenAuthDisabled.code(),
        ..Default::default()
    }
}
