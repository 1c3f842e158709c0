//! Configurations of topics, brokers, loggers, groups and client metrics.

use ottla_protocol::messages::describe_configs_request::DescribeConfigsResource;
use ottla_protocol::messages::describe_configs_response::DescribeConfigsResult;
use ottla_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use ottla_protocol::messages::list_config_resources_response::ConfigResource;
use ottla_protocol::messages::{
    DescribeConfigsRequest, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    ListConfigResourcesRequest,
};
use ottla_protocol::types::Str;

use super::Admin;
use super::topics::{leader_error, no_answer};
use crate::{ClientError, Target};

/// What has a configuration. Source: Kafka `ConfigResource.Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigResourceKind {
    Topic = 2,
    Broker = 4,
    BrokerLogger = 8,
    ClientMetrics = 16,
    Group = 32,
}

/// Where a value comes from. Source: Kafka `DescribeConfigsResponse.ConfigSource`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigSource(pub i8);

impl ConfigSource {
    /// The name that the tools print.
    pub fn name(self) -> &'static str {
        match self.0 {
            1 => "DYNAMIC_TOPIC_CONFIG",
            2 => "DYNAMIC_BROKER_CONFIG",
            3 => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            4 => "STATIC_BROKER_CONFIG",
            5 => "DEFAULT_CONFIG",
            6 => "DYNAMIC_BROKER_LOGGER_CONFIG",
            7 => "DYNAMIC_CLIENT_METRICS_CONFIG",
            8 => "DYNAMIC_GROUP_CONFIG",
            _ => "UNKNOWN",
        }
    }
}

/// Broker resources are answered by that broker, all others by any.
fn target_of(kind: ConfigResourceKind, name: &str, other: Target) -> Target {
    match (kind, name.parse::<i32>()) {
        (ConfigResourceKind::Broker | ConfigResourceKind::BrokerLogger, Ok(id)) => Target::Node(id),
        _ => other,
    }
}

impl Admin {
    /// The configuration of one resource.
    pub async fn describe_config(
        &self,
        kind: ConfigResourceKind,
        name: &str,
        include_synonyms: bool,
    ) -> Result<DescribeConfigsResult, ClientError> {
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: kind as i8,
                resource_name: Str::from(name),
                configuration_keys: None,
                ..Default::default()
            }],
            include_synonyms,
            ..Default::default()
        };
        let response = self.client.call(&target_of(kind, name, Target::Any), &request).await?;
        let result = response.results.into_iter().next().ok_or_else(no_answer)?;
        ClientError::check(result.error_code, result.error_message.as_deref())?;
        Ok(result)
    }

    /// Sets, deletes, appends or subtracts entries of one resource.
    pub async fn incremental_alter_config(
        &self,
        kind: ConfigResourceKind,
        resource: AlterConfigsResource,
        validate_only: bool,
    ) -> Result<(), ClientError> {
        let target = target_of(kind, &resource.resource_name, Target::Controller);
        let request =
            IncrementalAlterConfigsRequest { resources: vec![resource], validate_only, ..Default::default() };
        let response = self
            .client
            .call_checked(&target, &request, |r: &IncrementalAlterConfigsResponse| {
                leader_error(r.responses.iter().map(|t| t.error_code))
            })
            .await?;
        for result in &response.responses {
            ClientError::check(result.error_code, result.error_message.as_deref())?;
        }
        Ok(())
    }

    /// Names of resources that have a configuration (KIP-1142); an empty list of kinds asks for all.
    pub async fn list_config_resources(&self, kinds: &[i8]) -> Result<Vec<ConfigResource>, ClientError> {
        let request = ListConfigResourcesRequest { resource_types: kinds.to_vec(), ..Default::default() };
        let response = self.client.call(&Target::Any, &request).await?;
        ClientError::check(response.error_code, None)?;
        Ok(response.config_resources)
    }
}
