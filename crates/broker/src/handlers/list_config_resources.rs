//! ListConfigResources, answered from the metadata image.

use std::sync::Arc;

use ottla_metadata::describe;
use ottla_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};

use super::now;
use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    request: ListConfigResourcesRequest,
) -> Answer<ListConfigResourcesResponse> {
    let image = b.image.load();
    now(describe::list_config_resources(&image, &ctx.peer.listener, &request, ctx.version))
}
