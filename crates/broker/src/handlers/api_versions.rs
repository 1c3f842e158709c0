//! ApiVersions: what this node serves, and which features the cluster has. Source: KIP-35, KIP-511, KIP-584, KIP-1242.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_net::Reply;
use ottla_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use ottla_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_protocol::types::Str;
use ottla_protocol::wire::{Message, Reader};
use ottla_protocol::{APIS, ApiKey, ErrorCode};

use super::{now, served_versions};
use crate::request::{Answer, RequestContext, reply};
use crate::state::Broker;

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    request: ApiVersionsRequest,
) -> Answer<ApiVersionsResponse> {
    if ctx.version >= 3
        && !(is_software_text(&request.client_software_name)
            && is_software_text(&request.client_software_version))
    {
        return now(error(ErrorCode::InvalidRequest));
    }
    if let Some(code) = mismatch(b, &request) {
        return now(error(code));
    }
    now(response(b, ctx.version))
}

/// A client that expects another cluster or node must bootstrap again (KIP-1242).
fn mismatch(b: &Broker, request: &ApiVersionsRequest) -> Option<ErrorCode> {
    let cluster = request.cluster_id.as_ref().is_some_and(|id| *id != b.cluster_id);
    let node = request.node_id >= 0 && request.node_id != b.node_id;
    (cluster || node).then_some(ErrorCode::RebootstrapRequired)
}

/// Answers a version that is not known in version 0, with the versions of ApiVersions itself alone.
pub fn unsupported_version(b: &Arc<Broker>, ctx: &RequestContext) -> Reply {
    let info = ApiKey::ApiVersions.info();
    let mut response = error(ErrorCode::UnsupportedVersion);
    response.api_keys.push(ApiVersion {
        api_key: ApiKey::ApiVersions.code(),
        min_version: info.min_version,
        max_version: info.latest_stable_version,
        ..Default::default()
    });
    reply(&b.metrics, ctx, &response)
}

fn error(code: ErrorCode) -> ApiVersionsResponse {
    ApiVersionsResponse { error_code: code.code(), ..Default::default() }
}

fn response(b: &Broker, version: i16) -> ApiVersionsResponse {
    let unstable = b.unstable_api_versions();
    let api_keys = APIS
        .iter()
        .filter_map(|api| {
            let (min, max) = served_versions(api.key, unstable)?;
            // librdkafka takes a broker whose Produce does not start at 0 for one without any (KAFKA-18659).
            let min = if api.key == ApiKey::Produce { 0 } else { min };
            Some(ApiVersion {
                api_key: api.key.code(),
                min_version: min,
                max_version: max,
                ..Default::default()
            })
        })
        .collect();
    let image = b.image.load();
    let supported_features = crate::features::supported()
        .into_iter()
        // A feature that starts at 0 cannot be told to clients before version 4 (KAFKA-17011).
        .filter(|(_, min, _)| version >= 4 || *min > 0)
        .map(|(name, min_version, max_version)| SupportedFeatureKey {
            name: name.into(),
            min_version,
            max_version,
            ..Default::default()
        })
        .collect();
    let finalized_features = crate::features::finalized(&image, b.kraft_version.load(Ordering::Acquire))
        .into_iter()
        .map(|(name, level)| FinalizedFeatureKey {
            name,
            min_version_level: level,
            max_version_level: level,
            ..Default::default()
        })
        .collect();
    ApiVersionsResponse {
        api_keys,
        supported_features,
        finalized_features,
        finalized_features_epoch: image.provenance.last_offset.max(0),
        ..Default::default()
    }
}

/// The software that a client says it is, from an ApiVersions request of version 3 or later.
pub fn client_software(mut body: Reader, version: i16) -> Option<(Str, Str)> {
    let request = ApiVersionsRequest::decode(&mut body, version).ok()?;
    (version >= 3
        && is_software_text(&request.client_software_name)
        && is_software_text(&request.client_software_version))
    .then(|| (request.client_software_name.detached(), request.client_software_version.detached()))
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`
fn is_software_text(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-' || *b == b'.';
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(inner)
}
