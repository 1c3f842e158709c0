//! DescribeUserScramCredentials, answered from the metadata image.

use std::sync::Arc;

use ottla_metadata::describe;
use ottla_protocol::messages::{DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse};

use super::now;
use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(
    b: &Arc<Broker>,
    _: &RequestContext,
    request: DescribeUserScramCredentialsRequest,
) -> Answer<DescribeUserScramCredentialsResponse> {
    let image = b.image.load();
    now(describe::describe_user_scram_credentials(&image.scram, &request))
}
