//! A client's connection: reads the header of each frame and sends the request to its handler.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ottla_net::{Connection, FrameError, PeerInfo, Reply, Service};
use ottla_protocol::ApiKey;
use ottla_protocol::frame::{self, Header};
use ottla_protocol::types::Str;
use ottla_protocol::wire::Reader;

use crate::handlers;
use crate::request::RequestContext;
use crate::state::Broker;

/// The service behind every listener of a node.
pub struct NodeService {
    pub broker: Arc<Broker>,
    pub on_controller_listener: bool,
}

impl Service for NodeService {
    type Connection = ClientConnection;

    fn connect(&self, peer: PeerInfo) -> ClientConnection {
        ClientConnection {
            broker: Arc::clone(&self.broker),
            peer: Arc::new(peer),
            principal: "User:ANONYMOUS".into(),
            client_software: Arc::new((Str::from_static("unknown"), Str::from_static("unknown"))),
            on_controller_listener: self.on_controller_listener,
            told_off: false,
        }
    }
}

/// What is known about one connection.
pub struct ClientConnection {
    broker: Arc<Broker>,
    peer: Arc<PeerInfo>,
    principal: Arc<str>,
    client_software: Arc<(Str, Str)>,
    on_controller_listener: bool,
    told_off: bool,
}

impl ClientConnection {
    /// Closes the connection; says why once.
    fn refuse(&mut self, reason: &dyn std::fmt::Display) -> Reply {
        self.broker.metrics.malformed_requests.inc();
        if !std::mem::replace(&mut self.told_off, true) {
            tracing::info!(peer = %self.peer.peer, listener = %self.peer.listener, %reason, "closing the connection");
        }
        Reply::Close
    }

    fn context(
        &self,
        api: ApiKey,
        version: i16,
        correlation_id: i32,
        client_id: Option<Str>,
    ) -> RequestContext {
        RequestContext {
            api,
            version,
            correlation_id,
            client_id,
            principal: Arc::clone(&self.principal),
            peer: Arc::clone(&self.peer),
            client_software: Arc::clone(&self.client_software),
            on_controller_listener: self.on_controller_listener,
            received: Instant::now(),
        }
    }
}

impl Connection for ClientConnection {
    fn on_frame(&mut self, frame: Bytes) -> Reply {
        let size = frame.len() as u64;
        let mut r = Reader::new(frame);
        let (api, version, correlation_id, client_id) = match frame::read_request_header(&mut r) {
            Ok(Header::Known { api, version, correlation_id, client_id }) => {
                (api, version, correlation_id, client_id)
            }
            Ok(Header::Unknown { api_key, version, correlation_id }) => {
                // Only ApiVersions is answered in a version that is not known (KIP-511).
                if ApiKey::from_code(api_key) == Some(ApiKey::ApiVersions) {
                    let ctx = self.context(ApiKey::ApiVersions, 0, correlation_id, None);
                    return handlers::api_versions::unsupported_version(&self.broker, &ctx);
                }
                return self.refuse(&format_args!("API key {api_key} version {version} is not served"));
            }
            Err(e) => return self.refuse(&e),
        };
        let ctx = self.context(api, version, correlation_id, client_id);
        if !handlers::is_served(&self.broker, &ctx) {
            let listener = Arc::clone(&self.peer.listener);
            return self
                .refuse(&format_args!("{api} version {version} is not served on listener {listener}"));
        }
        self.broker.metrics.requests.of(api).request_bytes.add(size);
        if api == ApiKey::ApiVersions
            && let Some(software) = handlers::api_versions::client_software(r.clone(), version)
        {
            self.client_software = Arc::new(software);
        }
        let received = ctx.received;
        let reply = handlers::dispatch(&self.broker, ctx, r.take_rest());
        let local_us = received.elapsed().as_micros() as u64;
        self.broker.metrics.requests.of(api).local_time_us.record(local_us);
        reply
    }

    fn on_bad_frame(&mut self, error: &FrameError) {
        self.refuse(error);
    }
}
