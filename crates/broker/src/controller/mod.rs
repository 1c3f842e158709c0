//! How a node decides: the active controller of this process, or a connection to the one elsewhere.
//!
//! Both are asked with the same bytes. A broker's request to a controller in its own process is a call of the
//! handler that a socket would have led to.

mod apis;
mod auto_creation;
mod metadata_log;
mod node;
mod peer_client;
mod publisher;
mod registration;
mod remote;
mod service;

pub use auto_creation::AutoCreations;
pub use node::{ControllerNode, NodeOptions};
pub use publisher::{MetadataPublisher, elections};
pub use registration::keep_registered;
pub use remote::RemoteController;
pub use service::ControllerService;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_metadata::controller::ApiError;
use ottla_net::Reply;
use ottla_protocol::types::Str;
use ottla_protocol::wire::{DecodeError, EncodeError, Message};
use ottla_protocol::{ApiKey, ErrorCode};

use crate::request::{RequestContext, count_done, malformed};
use crate::state::Broker;

/// A forwarded request is given up after this.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer waits for its own broker to apply it.
const APPLY_PATIENCE: Duration = Duration::from_secs(1);

/// Why the controller did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    #[error("{}", ErrorCode::NotController.message())]
    NotController,
    #[error("the controller did not answer in time")]
    Timeout,
    #[error("the controller is not available: {0}")]
    NotAvailable(String),
    #[error("cannot read what the controller answered: {0}")]
    Decode(#[from] DecodeError),
    #[error("cannot write the request to the controller: {0}")]
    Encode(#[from] EncodeError),
}

impl ControllerError {
    pub fn error_code(&self) -> ErrorCode {
        match self {
            ControllerError::NotController => ErrorCode::NotController,
            ControllerError::Timeout => ErrorCode::RequestTimedOut,
            ControllerError::NotAvailable(_) => ErrorCode::NotController,
            ControllerError::Decode(_) | ControllerError::Encode(_) => ErrorCode::UnknownServerError,
        }
    }
}

/// Who asks the controller: the principal and host of a forwarded request, or the broker itself.
#[derive(Debug, Clone)]
pub struct Asker {
    pub principal: Arc<str>,
    pub client_id: Option<Str>,
    pub client_host: std::net::IpAddr,
    pub forwarded: bool,
}

impl Asker {
    pub fn node() -> Asker {
        Asker {
            principal: "User:ANONYMOUS".into(),
            client_id: None,
            client_host: std::net::Ipv4Addr::LOCALHOST.into(),
            forwarded: false,
        }
    }

    pub fn forwarding(ctx: &RequestContext) -> Asker {
        Asker {
            principal: Arc::clone(&ctx.principal),
            client_id: ctx.client_id.clone(),
            client_host: ctx.peer.peer.ip(),
            forwarded: true,
        }
    }
}

/// How far this broker has applied the metadata.
pub struct Applied(pub tokio::sync::watch::Receiver<i64>);

impl Applied {
    /// Waits until the record at `offset` has been applied, but not long: a broker that is starting applies nothing.
    async fn wait(&self, offset: i64) {
        let mut applied = self.0.clone();
        if *applied.borrow() < 0 {
            return;
        }
        let _ = tokio::time::timeout(APPLY_PATIENCE, applied.wait_for(|at| *at >= offset)).await;
    }
}

/// A broker's way to the active controller.
pub enum ControllerAccess {
    /// In this process. An answer is held until this broker has applied what it says, so that a client that
    /// created a topic finds it with its next request.
    Local {
        node: Arc<ControllerNode>,
        applied: Applied,
    },
    Remote(Arc<RemoteController>),
}

impl ControllerAccess {
    /// Sends a request body and gets the response body.
    pub async fn ask(
        &self,
        asker: Asker,
        api: ApiKey,
        version: i16,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, ControllerError> {
        let answer = async {
            match self {
                ControllerAccess::Local { node, applied } => {
                    let answered = node.ask(asker, api, version, body).await?;
                    applied.wait(answered.offset).await;
                    Ok(answered.body)
                }
                ControllerAccess::Remote(remote) => remote.ask(asker, api, version, body, timeout).await,
            }
        };
        tokio::time::timeout(timeout, answer).await.map_err(|_| ControllerError::Timeout)?
    }

    /// A request of this node.
    pub async fn call<Req: Message, Resp: Message>(
        &self,
        api: ApiKey,
        version: i16,
        request: &Req,
        timeout: Duration,
    ) -> Result<Resp, ControllerError> {
        let body = self.ask(Asker::node(), api, version, request.to_bytes(version)?, timeout).await?;
        Ok(Resp::from_bytes(body, version)?)
    }

    /// A request on behalf of a client.
    pub async fn call_as<Req: Message, Resp: Message>(
        &self,
        ctx: &RequestContext,
        api: ApiKey,
        version: i16,
        request: &Req,
        timeout: Duration,
    ) -> Result<Resp, ControllerError> {
        let body =
            self.ask(Asker::forwarding(ctx), api, version, request.to_bytes(version)?, timeout).await?;
        Ok(Resp::from_bytes(body, version)?)
    }
}

/// Hands a client's request to the controller, and its answer back (KIP-590).
pub fn forward(b: &Arc<Broker>, ctx: RequestContext, body: Bytes) -> Reply {
    let b = Arc::clone(b);
    Reply::Later(Box::pin(async move {
        let asker = Asker::forwarding(&ctx);
        let answer = b.controller.ask(asker, ctx.api, ctx.version, body.clone(), FORWARD_TIMEOUT).await;
        let body = match answer {
            Ok(body) => body,
            Err(error) => {
                let error = ApiError::new(error.error_code(), error.to_string());
                match apis::error_response(ctx.api, ctx.version, body, &error) {
                    Ok(body) => body,
                    Err(e) => return malformed(&b.metrics, &ctx, &e),
                }
            }
        };
        count_done(&b.metrics, &ctx);
        raw_reply(&ctx, body)
    }))
}

/// A reply around a response body that is encoded already.
pub(crate) fn raw_reply(ctx: &RequestContext, body: Bytes) -> Reply {
    use ottla_protocol::frame::write_response_header;
    use ottla_protocol::wire::Writer;
    let mut head = Writer::with_capacity(16);
    if let Err(e) = write_response_header(&mut head, ctx.api, ctx.version, ctx.correlation_id) {
        return crate::request::unencodable(ctx, &e);
    }
    let mut out = Writer::with_capacity(4 + head.len() + body.len());
    out.int32((head.len() + body.len()) as i32);
    out.raw(&head.into_bytes());
    out.raw(&body);
    Reply::Now(ottla_net::Response::bytes(out.into_bytes()))
}
