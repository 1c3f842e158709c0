//! Connections to the other brokers of the cluster, on the inter-broker listener.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ottla_net::{Channel, ChannelError};
use ottla_protocol::ApiKey;
use ottla_protocol::types::Str;
use ottla_protocol::wire::Message;

use crate::state::Broker;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_RESPONSE_BYTES: usize = 100 * 1024 * 1024;

/// Why another broker did not answer.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    #[error("broker {0} is not available")]
    NotAvailable(i32),
    #[error(transparent)]
    Channel(#[from] ChannelError),
}

#[derive(Default)]
pub struct Peers {
    channels: Mutex<HashMap<i32, (String, Channel)>>,
}

impl Peers {
    /// Sends a request to a broker, over one connection per broker.
    pub async fn call<Req: Message, Resp: Message>(
        &self,
        broker: &Arc<Broker>,
        node: i32,
        api: ApiKey,
        version: i16,
        request: &Req,
        timeout: Duration,
    ) -> Result<Resp, PeerError> {
        let channel = self.channel(broker, node).await?;
        Ok(channel.call(api, version, request, timeout).await?)
    }

    async fn channel(&self, broker: &Arc<Broker>, node: i32) -> Result<Channel, PeerError> {
        let address = {
            let image = broker.image.load();
            let config = broker.config.load();
            let endpoint = image
                .cluster
                .active_broker(node)
                .and_then(|b| b.endpoint(&config.inter_broker_listener_name))
                .ok_or(PeerError::NotAvailable(node))?;
            format!("{}:{}", endpoint.host, endpoint.port)
        };
        let known = self.channels.lock().unwrap_or_else(PoisonError::into_inner).get(&node).cloned();
        if let Some((known_address, channel)) = known
            && known_address == address
            && !channel.is_closed()
        {
            return Ok(channel);
        }
        let client_id = Str::from(format!("broker-{}", broker.node_id));
        let channel = Channel::connect(&address, client_id, CONNECT_TIMEOUT, MAX_RESPONSE_BYTES).await?;
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.insert(node, (address, channel.clone()));
        Ok(channel)
    }
}
