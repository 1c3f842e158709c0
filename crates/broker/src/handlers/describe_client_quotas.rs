//! DescribeClientQuotas, answered from the metadata image.

use std::sync::Arc;

use ottla_metadata::describe;
use ottla_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};

use super::now;
use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(
    b: &Arc<Broker>,
    _: &RequestContext,
    request: DescribeClientQuotasRequest,
) -> Answer<DescribeClientQuotasResponse> {
    let image = b.image.load();
    now(describe::describe_client_quotas(&image.client_quotas, &request))
}
