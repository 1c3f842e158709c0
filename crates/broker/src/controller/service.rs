//! What a controller answers on its own listeners. Source: Kafka `ControllerApis`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_metadata::describe::{self, BrokerView};
use ottla_net::{Connection, FrameError, PeerInfo, Reply, Service};
use ottla_protocol::frame::{self, Header, write_response_header};
use ottla_protocol::messages as m;
use ottla_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use ottla_protocol::types::Str;
use ottla_protocol::wire::{Message, Reader, Writer};
use ottla_protocol::{APIS, ApiKey, ErrorCode};
use ottla_raft::{PeerRequest, PeerResponse};

use super::node::ControllerNode;
use super::publisher::in_force;
use super::{Asker, ControllerError, apis, raw_reply};
use crate::metrics::Metrics;
use crate::request::{Answer, RequestContext, count_done, decode, malformed, reply, serve};

const TIMEOUT: Duration = Duration::from_secs(60);

/// The service behind the listeners of `controller.listener.names`.
pub struct ControllerService {
    pub node: Arc<ControllerNode>,
    pub metrics: Arc<Metrics>,
}

impl Service for ControllerService {
    type Connection = ControllerConnection;

    fn connect(&self, peer: PeerInfo) -> ControllerConnection {
        ControllerConnection {
            node: Arc::clone(&self.node),
            metrics: Arc::clone(&self.metrics),
            peer: Arc::new(peer),
            told_off: false,
        }
    }
}

pub struct ControllerConnection {
    node: Arc<ControllerNode>,
    metrics: Arc<Metrics>,
    peer: Arc<PeerInfo>,
    told_off: bool,
}

/// The versions of an API that a controller answers.
fn served_versions(api: ApiKey, unstable: bool) -> Option<(i16, i16)> {
    let served = apis::is_decided_here(api)
        || matches!(
            api,
            ApiKey::ApiVersions
                | ApiKey::Fetch
                | ApiKey::FetchSnapshot
                | ApiKey::Vote
                | ApiKey::BeginQuorumEpoch
                | ApiKey::EndQuorumEpoch
                | ApiKey::DescribeQuorum
                | ApiKey::Envelope
                | ApiKey::DescribeCluster
                | ApiKey::DescribeConfigs
                | ApiKey::DescribeAcls
                | ApiKey::SaslHandshake
                | ApiKey::SaslAuthenticate
        );
    let info = api.info();
    let max = if unstable { info.max_version } else { info.latest_stable_version };
    served.then_some((info.min_version, max))
}

impl ControllerConnection {
    fn refuse(&mut self, reason: &dyn std::fmt::Display) -> Reply {
        self.metrics.malformed_requests.inc();
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
            principal: "User:ANONYMOUS".into(),
            peer: Arc::clone(&self.peer),
            client_software: Arc::new((Str::EMPTY, Str::EMPTY)),
            on_controller_listener: true,
            received: Instant::now(),
        }
    }

    fn unstable(&self) -> bool {
        self.node.config.get_bool("unstable.api.versions.enable")
    }

    fn dispatch(&self, ctx: RequestContext, body: Bytes) -> Reply {
        let (node, metrics) = (&self.node, &self.metrics);
        match ctx.api {
            ApiKey::ApiVersions => serve(metrics, ctx, body, |ctx, r| self.api_versions(ctx, r)),
            ApiKey::DescribeCluster => serve(metrics, ctx, body, |ctx, r| {
                let view = node.view().borrow().clone();
                let response = describe::describe_cluster(
                    &view.image,
                    &node.cluster_id,
                    &ctx.peer.listener,
                    Some(view.leader_id.unwrap_or(-1)),
                    &r,
                    ctx.version,
                    0,
                );
                Answer::Now(response)
            }),
            ApiKey::DescribeConfigs => serve(metrics, ctx, body, |_, r| {
                let view = node.view().borrow().clone();
                let loggers = BTreeMap::new();
                let current = in_force(&node.config, &view.image, node.node_id);
                let view = BrokerView {
                    static_config: &node.config,
                    current: &current,
                    image: &view.image,
                    loggers: &loggers,
                };
                Answer::Now(describe::describe_configs(&view, &r))
            }),
            ApiKey::DescribeAcls => serve(metrics, ctx, body, |_, r| {
                let view = node.view().borrow().clone();
                Answer::Now(describe::describe_acls(&view.image.acls, node.config.has_authorizer(), &r))
            }),
            ApiKey::SaslHandshake => serve(metrics, ctx, body, |_, _: m::SaslHandshakeRequest| {
                Answer::Now(m::SaslHandshakeResponse {
                    error_code: ErrorCode::IllegalSaslState.code(),
                    ..Default::default()
                })
            }),
            ApiKey::SaslAuthenticate => serve(metrics, ctx, body, |_, _: m::SaslAuthenticateRequest| {
                Answer::Now(m::SaslAuthenticateResponse {
                    error_code: ErrorCode::IllegalSaslState.code(),
                    error_message: Some(
                        "SaslAuthenticate request received after successful authentication".into(),
                    ),
                    ..Default::default()
                })
            }),
            ApiKey::Envelope => self.envelope(ctx, body),
            ApiKey::Vote => self.peer_request(ctx, body, PeerRequest::Vote),
            ApiKey::BeginQuorumEpoch => self.peer_request(ctx, body, PeerRequest::BeginQuorumEpoch),
            ApiKey::EndQuorumEpoch => self.peer_request(ctx, body, PeerRequest::EndQuorumEpoch),
            ApiKey::Fetch => self.peer_request(ctx, body, PeerRequest::Fetch),
            ApiKey::FetchSnapshot => self.peer_request(ctx, body, PeerRequest::FetchSnapshot),
            _ => self.decided(ctx, body),
        }
    }

    fn api_versions(
        &self,
        ctx: &RequestContext,
        request: m::ApiVersionsRequest,
    ) -> Answer<m::ApiVersionsResponse> {
        let wrong_cluster = request.cluster_id.as_ref().is_some_and(|id| **id != *self.node.cluster_id);
        if wrong_cluster || (request.node_id >= 0 && request.node_id != self.node.node_id) {
            return Answer::Now(m::ApiVersionsResponse {
                error_code: ErrorCode::RebootstrapRequired.code(),
                ..Default::default()
            });
        }
        let unstable = self.unstable();
        let (image, kraft_version) = {
            let view = self.node.view();
            let seen = view.borrow();
            (Arc::clone(&seen.image), seen.kraft_version)
        };
        Answer::Now(m::ApiVersionsResponse {
            api_keys: APIS
                .iter()
                .filter_map(|api| {
                    let (min_version, max_version) = served_versions(api.key, unstable)?;
                    Some(ApiVersion {
                        api_key: api.key.code(),
                        min_version,
                        max_version,
                        ..Default::default()
                    })
                })
                .collect(),
            supported_features: crate::features::supported()
                .into_iter()
                .filter(|(_, min, _)| ctx.version >= 4 || *min > 0)
                .map(|(name, min_version, max_version)| SupportedFeatureKey {
                    name: name.into(),
                    min_version,
                    max_version,
                    ..Default::default()
                })
                .collect(),
            finalized_features: crate::features::finalized(&image, kraft_version)
                .into_iter()
                .map(|(name, level)| FinalizedFeatureKey {
                    name,
                    min_version_level: level,
                    max_version_level: level,
                    ..Default::default()
                })
                .collect(),
            finalized_features_epoch: image.provenance.last_offset.max(0),
            ..Default::default()
        })
    }

    /// A request of the quorum's own protocol goes to the core.
    fn peer_request<Req: Message>(
        &self,
        ctx: RequestContext,
        body: Bytes,
        make: impl FnOnce(Req) -> PeerRequest,
    ) -> Reply {
        let request = match decode::<Req>(body, ctx.version) {
            Ok(request) => make(request),
            Err(e) => return malformed(&self.metrics, &ctx, &e),
        };
        let (node, metrics) = (Arc::clone(&self.node), Arc::clone(&self.metrics));
        Reply::Later(Box::pin(async move {
            match node.peer(ctx.version, request).await {
                Some(PeerResponse::Vote(r)) => reply(&metrics, &ctx, &r),
                Some(PeerResponse::BeginQuorumEpoch(r)) => reply(&metrics, &ctx, &r),
                Some(PeerResponse::EndQuorumEpoch(r)) => reply(&metrics, &ctx, &r),
                Some(PeerResponse::Fetch(r)) => reply(&metrics, &ctx, &r),
                Some(PeerResponse::FetchSnapshot(r)) => reply(&metrics, &ctx, &r),
                Some(PeerResponse::DescribeQuorum(r)) => reply(&metrics, &ctx, &r),
                None => Reply::Close,
            }
        }))
    }

    fn decided(&self, ctx: RequestContext, body: Bytes) -> Reply {
        let (node, metrics) = (Arc::clone(&self.node), Arc::clone(&self.metrics));
        let asker = Asker {
            principal: Arc::clone(&ctx.principal),
            client_id: ctx.client_id.clone(),
            client_host: ctx.peer.peer.ip(),
            forwarded: false,
        };
        Reply::Later(Box::pin(async move {
            match answer(&node, asker, ctx.api, ctx.version, body).await {
                Ok(body) => {
                    count_done(&metrics, &ctx);
                    raw_reply(&ctx, body)
                }
                Err(error) => malformed(&metrics, &ctx, &error),
            }
        }))
    }

    /// A request that a broker took from a client and hands on (KIP-590).
    fn envelope(&self, ctx: RequestContext, body: Bytes) -> Reply {
        let request: m::EnvelopeRequest = match decode(body, ctx.version) {
            Ok(request) => request,
            Err(e) => return malformed(&self.metrics, &ctx, &e),
        };
        let mut r = Reader::new(request.request_data);
        let header = frame::read_request_header(&mut r);
        let Ok(Header::Known { api, version, correlation_id, client_id }) = header else {
            return malformed(&self.metrics, &ctx, &"the enveloped request's header cannot be read");
        };
        let unstable = self.unstable();
        let served = served_versions(api, unstable).is_some_and(|(min, max)| (min..=max).contains(&version));
        let failed = |code: ErrorCode| m::EnvelopeResponse { error_code: code.code(), ..Default::default() };
        if !served || !(apis::is_decided_here(api) || api == ApiKey::DescribeQuorum) {
            return reply(&self.metrics, &ctx, &failed(ErrorCode::InvalidRequest));
        }
        let principal = match request.request_principal.map(read_principal) {
            Some(Some(principal)) => principal,
            _ => return reply(&self.metrics, &ctx, &failed(ErrorCode::PrincipalDeserializationFailure)),
        };
        let client_host = match request.client_host_address.len() {
            4 => IpAddr::from(<[u8; 4]>::try_from(&request.client_host_address[..]).unwrap_or_default()),
            16 => IpAddr::from(<[u8; 16]>::try_from(&request.client_host_address[..]).unwrap_or_default()),
            _ => return reply(&self.metrics, &ctx, &failed(ErrorCode::InvalidRequest)),
        };
        let asker = Asker { principal, client_id, client_host, forwarded: true };
        let (node, metrics) = (Arc::clone(&self.node), Arc::clone(&self.metrics));
        let body = r.take_rest();
        Reply::Later(Box::pin(async move {
            let response = match node.ask(asker, api, version, body).await {
                Ok(answered) => {
                    let mut w = Writer::new();
                    match write_response_header(&mut w, api, version, correlation_id) {
                        Ok(()) => {
                            w.raw(&answered.body);
                            m::EnvelopeResponse { response_data: Some(w.into_bytes()), ..Default::default() }
                        }
                        Err(_) => failed(ErrorCode::UnknownServerError),
                    }
                }
                Err(error) => failed(error.error_code()),
            };
            reply(&metrics, &ctx, &response)
        }))
    }
}

/// Source: Kafka `DefaultKafkaPrincipalBuilder.deserialize`.
fn read_principal(bytes: Bytes) -> Option<Arc<str>> {
    let mut r = Reader::new(bytes);
    let version = r.int16().ok()?;
    let data = m::DefaultPrincipalData::decode(&mut r, version).ok()?;
    Some(format!("{}:{}", data.r#type, data.name).into())
}

/// The response body, be it an error that the API has a place for.
async fn answer(
    node: &Arc<ControllerNode>,
    asker: Asker,
    api: ApiKey,
    version: i16,
    body: Bytes,
) -> Result<Bytes, apis::RequestError> {
    let asked = tokio::time::timeout(TIMEOUT, node.ask(asker, api, version, body.clone())).await;
    match asked.unwrap_or(Err(ControllerError::Timeout)) {
        Ok(answered) => Ok(answered.body),
        Err(ControllerError::Decode(e)) => Err(e.into()),
        Err(error) => {
            let error = ottla_metadata::controller::ApiError::plain(error.error_code());
            apis::error_response(api, version, body, &error)
        }
    }
}

impl Connection for ControllerConnection {
    fn on_frame(&mut self, frame: Bytes) -> Reply {
        let mut r = Reader::new(frame);
        let (api, version, correlation_id, client_id) = match frame::read_request_header(&mut r) {
            Ok(Header::Known { api, version, correlation_id, client_id }) => {
                (api, version, correlation_id, client_id)
            }
            Ok(Header::Unknown { api_key, version, correlation_id }) => {
                if ApiKey::from_code(api_key) == Some(ApiKey::ApiVersions) {
                    let ctx = self.context(ApiKey::ApiVersions, 0, correlation_id, None);
                    let info = ApiKey::ApiVersions.info();
                    let response = m::ApiVersionsResponse {
                        error_code: ErrorCode::UnsupportedVersion.code(),
                        api_keys: vec![ApiVersion {
                            api_key: ApiKey::ApiVersions.code(),
                            min_version: info.min_version,
                            max_version: info.latest_stable_version,
                            ..Default::default()
                        }],
                        ..Default::default()
                    };
                    return reply(&self.metrics, &ctx, &response);
                }
                return self.refuse(&format_args!("API key {api_key} version {version} is not served"));
            }
            Err(e) => return self.refuse(&e),
        };
        if !served_versions(api, self.unstable()).is_some_and(|(min, max)| (min..=max).contains(&version)) {
            return self.refuse(&format_args!("{api} version {version} is not served by a controller"));
        }
        let ctx = self.context(api, version, correlation_id, client_id);
        self.dispatch(ctx, r.take_rest())
    }

    fn on_bad_frame(&mut self, error: &FrameError) {
        self.refuse(error);
    }
}
