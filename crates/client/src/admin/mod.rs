//! The admin client: typed calls for what tools need, on top of [`Client::call`].

mod acls;
mod configs;
mod offsets;
mod quotas;
mod topics;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};

pub use acls::{AclBinding, AclFilter};
pub use configs::{ConfigResourceKind, ConfigSource};
pub use offsets::{ListedOffset, OffsetSpec};
pub use topics::{TopicDescription, TopicPartitionDescription};

use topics::no_answer;

use crate::{Client, ClientConfig, ClientError, Request, Target};

/// Administrative calls. Clones share connections.
#[derive(Debug, Clone)]
pub struct Admin {
    client: Client,
}

impl Admin {
    pub fn new(config: &ClientConfig) -> Result<Admin, ClientError> {
        Ok(Admin { client: Client::new(config)? })
    }

    pub fn of_client(client: Client) -> Admin {
        Admin { client }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Any request, to the node that `target` names.
    pub async fn call<R: Request>(&self, target: &Target, request: &R) -> Result<R::Response, ClientError> {
        self.client.call(target, request).await
    }

    /// Any request, tried again while `error_of` finds a retriable error.
    pub async fn call_checked<R: Request>(
        &self,
        target: &Target,
        request: &R,
        error_of: impl Fn(&R::Response) -> ErrorCode,
    ) -> Result<R::Response, ClientError> {
        self.client.call_checked(target, request, error_of).await
    }

    /// The cluster: id, controller, nodes. `include_fenced` asks for fenced brokers too (KIP-1073).
    pub async fn describe_cluster(
        &self,
        include_fenced: bool,
    ) -> Result<DescribeClusterResponse, ClientError> {
        let endpoint_type = if self.client.is_of_controllers() { 2 } else { 1 };
        let request = DescribeClusterRequest {
            endpoint_type,
            include_fenced_brokers: include_fenced,
            ..Default::default()
        };
        let response = self
            .client
            .call_checked(&Target::Any, &request, |r: &DescribeClusterResponse| {
                ErrorCode::from_code(r.error_code)
            })
            .await?;
        ClientError::check(response.error_code, response.error_message.as_deref())?;
        Ok(response)
    }

    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.client.request_timeout().as_millis()).unwrap_or(i32::MAX)
    }
}
