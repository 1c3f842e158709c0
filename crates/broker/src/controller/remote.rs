//! The way to an active controller in another process: one connection, forwarded requests in an Envelope (KIP-590).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ottla_net::{Channel, ChannelError};
use ottla_protocol::frame::{request_frame_of_parts, write_response_header};
use ottla_protocol::messages as m;
use ottla_protocol::types::Str;
use ottla_protocol::wire::{DecodeError, EncodeError, JsonWriter, Message, Reader, Writer};
use ottla_protocol::{ApiKey, ErrorCode};
use ottla_raft::PeerAddress;
use tokio::sync::watch;
use tokio::time::Instant;

use super::node::QuorumView;
use super::{Asker, ControllerError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_RESPONSE_BYTES: usize = 100 * 1024 * 1024;
/// Pause before the controller is looked for again.
const RETRY: Duration = Duration::from_millis(50);

pub struct RemoteController {
    node_id: i32,
    view: watch::Receiver<QuorumView>,
    channel: Mutex<Option<(PeerAddress, Channel)>>,
}

/// A body that is bytes already, as a message of any version.
#[derive(Default)]
struct Raw(Bytes);

impl Message for Raw {
    const NAME: &'static str = "Raw";
    const KEY: i16 = -1;
    const MIN_VERSION: i16 = 0;
    const MAX_VERSION: i16 = i16::MAX;
    const FIRST_FLEXIBLE_VERSION: i16 = i16::MAX;

    fn decode_body(r: &mut Reader, _: i16) -> Result<Self, DecodeError> {
        Ok(Raw(r.take_rest()))
    }

    fn encode_body(&self, w: &mut Writer, _: i16) -> Result<(), EncodeError> {
        w.raw(&self.0);
        Ok(())
    }

    fn json_body(&self, j: &mut JsonWriter, _: i16) {
        j.bytes(&self.0);
    }
}

impl RemoteController {
    pub fn new(node_id: i32, view: watch::Receiver<QuorumView>) -> RemoteController {
        RemoteController { node_id, view, channel: Mutex::new(None) }
    }

    /// Asks the controller, looking for it as long as the time lasts.
    pub async fn ask(
        &self,
        asker: Asker,
        api: ApiKey,
        version: i16,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, ControllerError> {
        let deadline = Instant::now() + timeout;
        loop {
            let result = self.try_ask(&asker, api, version, &body, timeout).await;
            match result {
                Err(ControllerError::NotController | ControllerError::NotAvailable(_))
                    if Instant::now() + RETRY < deadline =>
                {
                    *self.channel.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    tokio::time::sleep(RETRY).await;
                }
                result => return result,
            }
        }
    }

    async fn try_ask(
        &self,
        asker: &Asker,
        api: ApiKey,
        version: i16,
        body: &Bytes,
        timeout: Duration,
    ) -> Result<Bytes, ControllerError> {
        let channel = self.channel().await?;
        let failed = |e: ChannelError| ControllerError::NotAvailable(e.to_string());
        if !asker.forwarded {
            let pending =
                channel.send_raw::<Raw>(api, version, std::slice::from_ref(body)).await.map_err(failed)?;
            return Ok(pending.wait(timeout).await.map_err(failed)?.0);
        }
        let frame =
            request_frame_of_parts(api, version, 0, asker.client_id.clone(), std::slice::from_ref(body))?;
        let (kind, name) = asker.principal.split_once(':').unwrap_or(("User", &asker.principal));
        let principal =
            m::DefaultPrincipalData { r#type: kind.into(), name: name.into(), ..Default::default() };
        // The serialized principal starts with its own version. Source: Kafka `DefaultKafkaPrincipalBuilder`.
        let mut w = Writer::new();
        w.int16(0);
        principal.encode(&mut w, 0)?;
        let envelope = m::EnvelopeRequest {
            request_data: frame.slice(4..),
            request_principal: Some(w.into_bytes()),
            client_host_address: match asker.client_host {
                std::net::IpAddr::V4(ip) => Bytes::copy_from_slice(&ip.octets()),
                std::net::IpAddr::V6(ip) => Bytes::copy_from_slice(&ip.octets()),
            },
            ..Default::default()
        };
        let answer: m::EnvelopeResponse =
            channel.call(ApiKey::Envelope, 0, &envelope, timeout).await.map_err(failed)?;
        match ErrorCode::from_code(answer.error_code) {
            ErrorCode::None => {}
            ErrorCode::NotController => return Err(ControllerError::NotController),
            code => return Err(ControllerError::NotAvailable(code.to_string())),
        }
        let response = answer.response_data.unwrap_or_default();
        let mut header = Writer::new();
        write_response_header(&mut header, api, version, 0)?;
        let skip = header.len().min(response.len());
        Ok(response.slice(skip..))
    }

    async fn channel(&self) -> Result<Channel, ControllerError> {
        let leader = self.view.borrow().leader.clone();
        let leader = leader.ok_or_else(|| ControllerError::NotAvailable("no leader is known".to_owned()))?;
        let known = self.channel.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((address, channel)) = known
            && address == leader
            && !channel.is_closed()
        {
            return Ok(channel);
        }
        let address = format!("{}:{}", leader.host, leader.port);
        let client_id = Str::from(format!("broker-{}-to-controller", self.node_id));
        let channel = Channel::connect(&address, client_id, CONNECT_TIMEOUT, MAX_RESPONSE_BYTES)
            .await
            .map_err(|e| ControllerError::NotAvailable(e.to_string()))?;
        *self.channel.lock().unwrap_or_else(PoisonError::into_inner) = Some((leader, channel.clone()));
        Ok(channel)
    }
}
