//! One request as handlers see it, and how their answers become responses.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ottla_net::{PeerInfo, Reply, Response};
use ottla_protocol::types::Str;
use ottla_protocol::wire::{EncodeError, Message, Reader};
use ottla_protocol::{ApiKey, ErrorCode, frame};

use crate::metrics::Metrics;

/// Who sent a request, and in which form the answer must go back.
#[derive(Debug, Clone)]
pub struct RequestContext {
    pub api: ApiKey,
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: Option<Str>,
    /// `User:ANONYMOUS` on a listener without authentication.
    pub principal: Arc<str>,
    pub peer: Arc<PeerInfo>,
    pub client_software: Arc<(Str, Str)>,
    /// The listener is one of `controller.listener.names`.
    pub on_controller_listener: bool,
    pub received: Instant,
}

impl RequestContext {
    /// The host of the client as Kafka prints it: `/127.0.0.1`.
    pub fn client_host(&self) -> String {
        format!("/{}", self.peer.peer.ip())
    }

    /// The part that coordinators look at.
    pub fn for_coordinator(&self) -> ottla_coordinator::context::RequestContext {
        ottla_coordinator::context::RequestContext {
            client_id: self.client_id.as_ref().map(Str::detached).unwrap_or_default(),
            client_host: self.client_host().into(),
            api_version: self.version,
            topic_filter: None,
        }
    }
}

/// What a handler has: the response, or a promise of it.
pub enum Answer<R> {
    Now(R),
    Later(Pin<Box<dyn Future<Output = R> + Send>>),
    /// Close the connection; the reason has been logged.
    Close,
}

impl<R> Answer<R> {
    pub fn later(future: impl Future<Output = R> + Send + 'static) -> Answer<R> {
        Answer::Later(Box::pin(future))
    }
}

impl<R> From<R> for Answer<R> {
    fn from(response: R) -> Self {
        Answer::Now(response)
    }
}

/// Decodes a request, runs its handler and turns the answer into a reply.
pub fn serve<Req: Message, Resp: Message + 'static>(
    metrics: &Arc<Metrics>,
    ctx: RequestContext,
    body: Bytes,
    handler: impl FnOnce(&RequestContext, Req) -> Answer<Resp>,
) -> Reply {
    let request = match decode::<Req>(body, ctx.version) {
        Ok(request) => request,
        Err(e) => return malformed(metrics, &ctx, &e),
    };
    match handler(&ctx, request) {
        Answer::Now(response) => reply(metrics, &ctx, &response),
        Answer::Later(future) => {
            let metrics = Arc::clone(metrics);
            Reply::Later(Box::pin(async move {
                let response = future.await;
                reply(&metrics, &ctx, &response)
            }))
        }
        Answer::Close => Reply::Close,
    }
}

/// Reads a request. Bytes behind it are ignored, as Kafka ignores them: librdkafka sends some after Metadata.
pub fn decode<Req: Message>(body: Bytes, version: i16) -> Result<Req, ottla_protocol::wire::DecodeError> {
    Req::decode(&mut Reader::new(body), version)
}

/// A request that cannot be read costs its connection, as in Kafka.
pub fn malformed(metrics: &Metrics, ctx: &RequestContext, error: &dyn std::fmt::Display) -> Reply {
    metrics.malformed_requests.inc();
    tracing::info!(
        api = %ctx.api, version = ctx.version, peer = %ctx.peer.peer, listener = %ctx.peer.listener, %error,
        "closing the connection: the request cannot be read"
    );
    Reply::Close
}

/// Encodes a response and counts the request as done.
pub fn reply<Resp: Message>(metrics: &Metrics, ctx: &RequestContext, response: &Resp) -> Reply {
    match frame::response_frame(ctx.api, ctx.version, ctx.correlation_id, response) {
        Ok(bytes) => {
            count_done(metrics, ctx);
            Reply::Now(Response::bytes(bytes))
        }
        Err(e) => unencodable(ctx, &e),
    }
}

/// A response that its version cannot carry is our bug; the client gets a closed connection, not a lie.
pub fn unencodable(ctx: &RequestContext, error: &EncodeError) -> Reply {
    tracing::error!(api = %ctx.api, version = ctx.version, %error, "cannot encode the response");
    Reply::Close
}

pub fn count_done(metrics: &Metrics, ctx: &RequestContext) {
    let api = metrics.requests.of(ctx.api);
    api.requests.inc();
    api.total_time_us.record(ctx.received.elapsed().as_micros() as u64);
}

/// Counts an error code of a response under the request's API.
pub fn count_error(metrics: &Metrics, ctx: &RequestContext, code: ErrorCode) {
    metrics.requests.of(ctx.api).error(code);
}
