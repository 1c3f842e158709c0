//! DescribeAcls, answered from the metadata image.

use std::sync::Arc;

use ottla_metadata::describe;
use ottla_protocol::messages::{DescribeAclsRequest, DescribeAclsResponse};

use super::now;
use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(
    b: &Arc<Broker>,
    _: &RequestContext,
    request: DescribeAclsRequest,
) -> Answer<DescribeAclsResponse> {
    let image = b.image.load();
    now(describe::describe_acls(&image.acls, b.config.load().has_authorizer(), &request))
}
