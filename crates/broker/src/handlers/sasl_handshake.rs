//! SaslHandshake on a listener without SASL: Kafka refuses it and keeps the connection.

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{SaslHandshakeRequest, SaslHandshakeResponse};

use super::now;
use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(_: &Arc<Broker>, _: &RequestContext, _: SaslHandshakeRequest) -> Answer<SaslHandshakeResponse> {
    now(SaslHandshakeResponse { error_code: ErrorCode::IllegalSaslState.code(), ..Default::default() })
}
