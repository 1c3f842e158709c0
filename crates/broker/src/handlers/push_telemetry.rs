//! PushTelemetry: takes a client's metrics and shows them among the broker's own. Source: KIP-714.

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::compression::{Codec, decompress};
use ottla_protocol::messages::{PushTelemetryRequest, PushTelemetryResponse};

use ottla_protocol::types::Uuid;

use super::now;
use crate::request::{Answer, RequestContext};
use crate::state::{Broker, wall_clock_ms};
use crate::telemetry::decode_metrics;

/// Largest payload after decompression, as a multiple of `telemetry.max.bytes`.
const MAX_EXPANSION: usize = 16;

pub fn handle(
    b: &Arc<Broker>,
    _: &RequestContext,
    request: PushTelemetryRequest,
) -> Answer<PushTelemetryResponse> {
    let code = push(b, &request).err().unwrap_or(ErrorCode::None);
    now(PushTelemetryResponse { error_code: code.code(), ..Default::default() })
}

fn push(b: &Broker, request: &PushTelemetryRequest) -> Result<(), ErrorCode> {
    let max = b.config.load().get_int("telemetry.max.bytes").max(0) as usize;
    // Ids that are reserved name no client. Source: Kafka `Uuid.RESERVED`.
    if request.client_instance_id.is_zero() || request.client_instance_id == Uuid::ONE {
        return Err(ErrorCode::InvalidRequest);
    }
    b.telemetry.check_push(
        request.client_instance_id,
        request.subscription_id,
        request.terminating,
        wall_clock_ms(),
    )?;
    if request.metrics.len() > max {
        return Err(ErrorCode::TelemetryTooLarge);
    }
    let codec = u8::try_from(request.compression_type).ok().and_then(Codec::from_id);
    let codec = codec.ok_or(ErrorCode::UnsupportedCompressionType)?;
    let payload = if codec == Codec::None {
        request.metrics.to_vec()
    } else {
        decompress(codec, &request.metrics, max.saturating_mul(MAX_EXPANSION))
            .map_err(|_| ErrorCode::InvalidRecord)?
    };
    b.metrics.telemetry_pushes.inc();
    b.telemetry.store(request.client_instance_id, decode_metrics(&payload));
    Ok(())
}
