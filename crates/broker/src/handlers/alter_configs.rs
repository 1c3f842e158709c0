//! AlterConfigs: replaces all configs of resources; checked here, decided by the controller. Source: KIP-133.

use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::controller::ApiError;
use ottla_metadata::describe::{Preprocessed, preprocess_legacy};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::alter_configs_request::AlterConfigsResource;
use ottla_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use ottla_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};
use ottla_protocol::types::Str;

use super::now;
use crate::request::{Answer, RequestContext};
use crate::state::Broker;

const TIMEOUT: Duration = Duration::from_secs(30);

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    request: AlterConfigsRequest,
) -> Answer<AlterConfigsResponse> {
    let verdicts = preprocess_legacy(&b.config.load(), &request);
    let mut results: Vec<Option<AlterConfigsResourceResponse>> = Vec::with_capacity(verdicts.len());
    let mut forward = Vec::new();
    for (resource, verdict) in request.resources.into_iter().zip(verdicts) {
        results.push(match verdict {
            Preprocessed::Refused(error) => Some(result(&resource, Some(&error))),
            Preprocessed::Logger => Some(result(
                &resource,
                Some(&ApiError::new(
                    ottla_protocol::ErrorCode::InvalidRequest,
                    "Unexpected resource type BROKER_LOGGER.",
                )),
            )),
            Preprocessed::Forward => {
                forward.push(resource);
                None
            }
        });
    }
    if forward.is_empty() {
        return now(merge(results, Vec::new()));
    }
    let request = AlterConfigsRequest {
        resources: forward,
        validate_only: request.validate_only,
        ..Default::default()
    };
    let b = Arc::clone(b);
    let ctx = ctx.clone();
    Answer::later(async move {
        let decided: Result<AlterConfigsResponse, _> =
            b.controller.call_as(&ctx, ApiKey::AlterConfigs, ctx.version, &request, TIMEOUT).await;
        let decided = match decided {
            Ok(response) => response.responses,
            Err(error) => {
                let error = ApiError::new(error.error_code(), error.to_string());
                request.resources.iter().map(|r| result(r, Some(&error))).collect()
            }
        };
        merge(results, decided)
    })
}

fn result(resource: &AlterConfigsResource, error: Option<&ApiError>) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse {
        error_code: error.map_or(0, |e| e.code.code()),
        error_message: error.and_then(|e| e.message.clone()).map(Str::from),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        ..Default::default()
    }
}

/// Puts the controller's results into the places of the resources that were forwarded.
fn merge(
    results: Vec<Option<AlterConfigsResourceResponse>>,
    decided: Vec<AlterConfigsResourceResponse>,
) -> AlterConfigsResponse {
    let mut decided = decided.into_iter();
    let responses = results.into_iter().filter_map(|r| r.or_else(|| decided.next())).collect();
    AlterConfigsResponse { responses, ..Default::default() }
}
