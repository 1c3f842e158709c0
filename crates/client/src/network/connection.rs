//! A connection to one node and the API versions that it speaks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_net::{Channel, ChannelError};
use ottla_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_protocol::types::Str;
use ottla_protocol::wire::Message;
use ottla_protocol::{ApiKey, ErrorCode};

use super::Request;
use crate::ClientError;

/// Room for one response.
const MAX_RESPONSE_BYTES: usize = 1 << 30;

/// The versions of an API that a node accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionRange {
    pub min: i16,
    pub max: i16,
}

/// One connection, with what the node said about itself.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    channel: Channel,
    versions: Arc<BTreeMap<i16, VersionRange>>,
    /// What ApiVersions answered.
    pub info: Arc<ApiVersionsResponse>,
}

impl Connection {
    pub async fn open(
        address: &str,
        client_id: &str,
        connect_timeout: Duration,
        request_timeout: Duration,
    ) -> Result<Connection, ClientError> {
        let channel =
            Channel::connect(address, Str::from(client_id), connect_timeout, MAX_RESPONSE_BYTES).await?;
        let request = ApiVersionsRequest {
            client_software_name: Str::from_static("ottla"),
            client_software_version: Str::from_static(env!("CARGO_PKG_VERSION")),
            ..Default::default()
        };
        let mut version = ApiVersionsRequest::MAX_VERSION;
        let mut response: ApiVersionsResponse =
            channel.call(ApiKey::ApiVersions, version, &request, request_timeout).await?;
        if response.error_code == ErrorCode::UnsupportedVersion.code() {
            // KIP-511: the answer is of version 0 and names what the node can do.
            version = response
                .api_keys
                .iter()
                .find(|k| k.api_key == ApiKey::ApiVersions.code())
                .map_or(0, |k| k.max_version.clamp(0, version));
            response = channel.call(ApiKey::ApiVersions, version, &request, request_timeout).await?;
        }
        ClientError::check(response.error_code, None)?;
        let versions = response
            .api_keys
            .iter()
            .map(|k| (k.api_key, VersionRange { min: k.min_version, max: k.max_version }))
            .collect();
        Ok(Connection { channel, versions: Arc::new(versions), info: Arc::new(response) })
    }

    pub fn is_closed(&self) -> bool {
        self.channel.is_closed()
    }

    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The newest version that both sides speak, at most `cap`.
    pub fn version<R: Request>(&self, cap: i16) -> Result<i16, ClientError> {
        let Some(range) = self.versions.get(&R::API.code()) else {
            return Err(ClientError::UnsupportedApi { api: R::API });
        };
        let version = range.max.min(R::MAX_VERSION).min(cap);
        if version < range.min || version < R::MIN_VERSION {
            let max = R::MAX_VERSION.min(cap);
            return Err(ClientError::UnsupportedVersion { api: R::API, min: R::MIN_VERSION, max });
        }
        Ok(version)
    }

    pub async fn call<R: Request>(
        &self,
        request: &R,
        cap: i16,
        timeout: Duration,
    ) -> Result<R::Response, ClientError> {
        let version = self.version::<R>(cap)?;
        let result: Result<R::Response, ChannelError> =
            self.channel.call(R::API, version, request, timeout).await;
        Ok(result?)
    }
}
