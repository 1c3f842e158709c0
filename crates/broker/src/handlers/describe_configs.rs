//! DescribeConfigs: configurations with where each value comes from. Source: KIP-133, KIP-226, KIP-569.

use std::sync::Arc;

use ottla_metadata::describe::{self, BrokerView};
use ottla_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::now;
use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(
    b: &Arc<Broker>,
    _: &RequestContext,
    request: DescribeConfigsRequest,
) -> Answer<DescribeConfigsResponse> {
    let image = b.image.load();
    let current = b.config.load();
    let loggers = b.loggers.levels();
    let view =
        BrokerView { static_config: &b.static_config, current: &current, image: &image, loggers: &loggers };
    now(describe::describe_configs(&view, &request))
}
