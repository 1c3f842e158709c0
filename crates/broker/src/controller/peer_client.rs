//! The quorum's own requests to other nodes, in the newest version that both sides know.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ottla_net::Channel;
use ottla_protocol::ApiKey;
use ottla_protocol::messages as m;
use ottla_protocol::types::Str;
use ottla_protocol::wire::Message;
use ottla_raft::{PeerAddress, PeerRequest, PeerResponse};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_RESPONSE_BYTES: usize = 100 * 1024 * 1024;
/// A Fetch waits at the leader for new records; this much more is allowed for its answer.
const FETCH_EXTRA: Duration = Duration::from_secs(2);

/// A connection with the versions that the other side serves.
#[derive(Clone)]
struct Peer {
    channel: Channel,
    versions: Arc<HashMap<i16, i16>>,
}

pub struct PeerClient {
    client_id: Str,
    timeout: Duration,
    peers: Mutex<HashMap<(String, u16), Peer>>,
}

impl PeerClient {
    pub fn new(node_id: i32, timeout: Duration) -> Arc<PeerClient> {
        Arc::new(PeerClient {
            client_id: format!("raft-client-{node_id}").into(),
            timeout,
            peers: Mutex::default(),
        })
    }

    /// None when the other side did not answer.
    pub async fn call(&self, to: &PeerAddress, request: PeerRequest) -> Option<PeerResponse> {
        let peer = self.peer(to).await?;
        match request {
            PeerRequest::Vote(r) => self.send(&peer, ApiKey::Vote, r).await.map(PeerResponse::Vote),
            PeerRequest::BeginQuorumEpoch(r) => {
                self.send(&peer, ApiKey::BeginQuorumEpoch, r).await.map(PeerResponse::BeginQuorumEpoch)
            }
            PeerRequest::EndQuorumEpoch(r) => {
                self.send(&peer, ApiKey::EndQuorumEpoch, r).await.map(PeerResponse::EndQuorumEpoch)
            }
            PeerRequest::Fetch(mut r) => {
                // From version 15 on the replica names itself in a field of its own (KIP-903).
                let theirs = peer.versions.get(&ApiKey::Fetch.code()).copied().unwrap_or(0);
                if theirs >= 15 {
                    r.replica_state.replica_id =
                        std::mem::replace(&mut r.replica_id, -1).max(r.replica_state.replica_id);
                } else {
                    r.replica_id = r.replica_id.max(r.replica_state.replica_id);
                    r.replica_state = Default::default();
                }
                self.send(&peer, ApiKey::Fetch, r).await.map(PeerResponse::Fetch)
            }
            PeerRequest::FetchSnapshot(r) => {
                self.send(&peer, ApiKey::FetchSnapshot, r).await.map(PeerResponse::FetchSnapshot)
            }
            PeerRequest::DescribeQuorum(r) => {
                self.send(&peer, ApiKey::DescribeQuorum, r).await.map(PeerResponse::DescribeQuorum)
            }
        }
    }

    async fn send<Req: Message, Resp: Message>(
        &self,
        peer: &Peer,
        api: ApiKey,
        request: Req,
    ) -> Option<Resp> {
        let theirs = peer.versions.get(&api.code()).copied()?;
        let version = theirs.min(api.info().max_version);
        match peer.channel.call(api, version, &request, self.timeout + FETCH_EXTRA).await {
            Ok(response) => Some(response),
            Err(error) => {
                tracing::debug!(%api, %error, "a quorum request was not answered");
                None
            }
        }
    }

    async fn peer(&self, to: &PeerAddress) -> Option<Peer> {
        let key = (to.host.clone(), to.port);
        let known = self.peers.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(peer) = known.filter(|p| !p.channel.is_closed()) {
            return Some(peer);
        }
        let address = format!("{}:{}", to.host, to.port);
        let channel = Channel::connect(&address, self.client_id.clone(), CONNECT_TIMEOUT, MAX_RESPONSE_BYTES)
            .await
            .ok()?;
        let hello = m::ApiVersionsRequest {
            client_software_name: "ottla".into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
            ..Default::default()
        };
        let versions: m::ApiVersionsResponse =
            channel.call(ApiKey::ApiVersions, 3, &hello, self.timeout).await.ok()?;
        let versions = versions.api_keys.iter().map(|k| (k.api_key, k.max_version)).collect();
        let peer = Peer { channel, versions: Arc::new(versions) };
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).insert(key, peer.clone());
        Some(peer)
    }
}
