//! SaslAuthenticate on a listener without SASL: Kafka refuses it and keeps the connection.

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse};

use super::now;
use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(
    _: &Arc<Broker>,
    _: &RequestContext,
    _: SaslAuthenticateRequest,
) -> Answer<SaslAuthenticateResponse> {
    now(SaslAuthenticateResponse {
        error_code: ErrorCode::IllegalSaslState.code(),
        error_message: Some("SaslAuthenticate request received after successful authentication".into()),
        ..Default::default()
    })
}
