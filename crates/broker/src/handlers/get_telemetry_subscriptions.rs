//! GetTelemetrySubscriptions: tells a client which metrics to push, and how often. Source: KIP-714.

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse};

use super::now;
use crate::request::{Answer, RequestContext};
use crate::state::{Broker, random_uuid, wall_clock_ms};
use crate::telemetry::ClientIdentity;

/// Codecs of a push in order of preference: zstd, lz4, gzip, snappy.
const ACCEPTED_COMPRESSION: [i8; 4] = [4, 3, 1, 2];

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    request: GetTelemetrySubscriptionsRequest,
) -> Answer<GetTelemetrySubscriptionsResponse> {
    let instance =
        if request.client_instance_id.is_zero() { random_uuid() } else { request.client_instance_id };
    let who = identity(ctx);
    let subscription = b.telemetry.subscription(&b.image.load().configs, instance, &who);
    if let Err(code) = b.telemetry.on_get(instance, who, subscription.clone(), wall_clock_ms()) {
        return now(GetTelemetrySubscriptionsResponse { error_code: code.code(), ..Default::default() });
    }
    now(GetTelemetrySubscriptionsResponse {
        error_code: ErrorCode::None.code(),
        client_instance_id: instance,
        subscription_id: subscription.id,
        accepted_compression_types: ACCEPTED_COMPRESSION.to_vec(),
        push_interval_ms: subscription.interval_ms,
        telemetry_max_bytes: b.config.load().get_int("telemetry.max.bytes"),
        delta_temporality: true,
        requested_metrics: subscription.metrics,
        ..Default::default()
    })
}

pub fn identity(ctx: &RequestContext) -> ClientIdentity {
    ClientIdentity {
        client_id: ctx.client_id.as_ref().map(|id| id.detached()).unwrap_or_default(),
        software_name: ctx.client_software.0.clone(),
        software_version: ctx.client_software.1.clone(),
        source_address: ctx.peer.peer.ip().to_string(),
        source_port: ctx.peer.peer.port(),
    }
}
