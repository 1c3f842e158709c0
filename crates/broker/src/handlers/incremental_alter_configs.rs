//! IncrementalAlterConfigs: checked here, decided by the controller; levels of loggers change here. Source: KIP-339, KIP-412.

use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::controller::ApiError;
use ottla_metadata::describe::{Preprocessed, preprocess_incremental};
use ottla_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use ottla_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use ottla_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use ottla_protocol::types::Str;
use ottla_protocol::{ApiKey, ErrorCode};

use super::now;
use crate::logging::{Loggers, ROOT};
use crate::request::{Answer, RequestContext};
use crate::state::Broker;

const TIMEOUT: Duration = Duration::from_secs(30);
const SET: i8 = 0;
const DELETE: i8 = 1;

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> Answer<IncrementalAlterConfigsResponse> {
    let verdicts = preprocess_incremental(&b.config.load(), &b.image.load().configs, &request);
    let mut results: Vec<Option<AlterConfigsResourceResponse>> = Vec::with_capacity(verdicts.len());
    let mut forward = Vec::new();
    for (resource, verdict) in request.resources.into_iter().zip(verdicts) {
        results.push(match verdict {
            Preprocessed::Refused(error) => Some(result(&resource, Some(&error))),
            Preprocessed::Logger => {
                let outcome = set_levels(&b.loggers, &resource, request.validate_only);
                Some(result(&resource, outcome.err().as_ref()))
            }
            Preprocessed::Forward => {
                forward.push(resource);
                None
            }
        });
    }
    if forward.is_empty() {
        return now(merge(results, Vec::new()));
    }
    let request = IncrementalAlterConfigsRequest {
        resources: forward,
        validate_only: request.validate_only,
        ..Default::default()
    };
    let b = Arc::clone(b);
    let ctx = ctx.clone();
    Answer::later(async move {
        let decided: Result<IncrementalAlterConfigsResponse, _> =
            b.controller.call_as(&ctx, ApiKey::IncrementalAlterConfigs, ctx.version, &request, TIMEOUT).await;
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
) -> IncrementalAlterConfigsResponse {
    let mut decided = decided.into_iter();
    let responses = results.into_iter().filter_map(|r| r.or_else(|| decided.next())).collect();
    IncrementalAlterConfigsResponse { responses, ..Default::default() }
}

/// Source: Kafka `RuntimeLoggerManager`.
fn set_levels(
    loggers: &Loggers,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), ApiError> {
    for config in &resource.configs {
        let name = &*config.name;
        match config.config_operation {
            SET => {
                let level = config.value.as_deref().unwrap_or_default();
                if !Loggers::is_level(level) {
                    return Err(ApiError::new(
                        ErrorCode::InvalidConfig,
                        format!(
                            "Cannot set the log level of {name} to {level} as it is not a supported log level. Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN"
                        ),
                    ));
                }
            }
            DELETE if name == ROOT => {
                return Err(ApiError::new(
                    ErrorCode::InvalidRequest,
                    format!("Removing the log level of the {ROOT} logger is not allowed"),
                ));
            }
            DELETE => {}
            other => {
                return Err(ApiError::new(
                    ErrorCode::InvalidRequest,
                    format!(
                        "{} operation is not allowed for the BROKER_LOGGER resource",
                        operation_name(other)
                    ),
                ));
            }
        }
        if !loggers.exists(name) {
            return Err(ApiError::new(ErrorCode::InvalidConfig, format!("Logger {name} does not exist!")));
        }
    }
    if !validate_only {
        for config in &resource.configs {
            let level = (config.config_operation == SET).then(|| config.value.as_deref().unwrap_or_default());
            loggers.set(&config.name, level);
        }
    }
    Ok(())
}

fn operation_name(operation: i8) -> &'static str {
    match operation {
        2 => "APPEND",
        3 => "SUBTRACT",
        _ => "UNKNOWN",
    }
}
