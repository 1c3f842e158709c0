//! The leader: serving fetches and snapshots, and describing the quorum.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_quorum_request::{self as dqr, DescribeQuorumRequest};
use ottla_protocol::messages::describe_quorum_response::{self as dq, DescribeQuorumResponse, ReplicaState};
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest};
use ottla_protocol::messages::fetch_response::{
    EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
    SnapshotId as SnapshotIdData,
};
use ottla_protocol::messages::fetch_snapshot_request::FetchSnapshotRequest;
use ottla_protocol::messages::fetch_snapshot_response::{self as fs, FetchSnapshotResponse};
use ottla_protocol::types::{Str, Uuid};

use crate::core::{
    METADATA_TOPIC, OBSERVER_SESSION_TIMEOUT_MS, OBSERVERS_MAX, PARKED_FETCHES_MAX, QuorumCore, Role,
};
use crate::events::{Effect, PeerResponse, Token};
use crate::log::{LogView, OffsetAndEpoch, SnapshotId, Validity, validate_position};

/// How far a replica has fetched.
#[derive(Debug, Clone, Copy)]
struct Replica {
    offset: i64,
    last_fetch_ms: i64,
    last_caught_up_ms: i64,
    /// End of the leader's log at the last fetch.
    leader_end: i64,
}

/// A fetch that waits for records or for the high watermark.
#[derive(Debug, Clone)]
struct ParkedFetch {
    token: Token,
    version: i16,
    offset: i64,
    /// What the replica already knows; never reached if it did not say.
    high_watermark: i64,
    deadline_ms: i64,
    max_bytes: usize,
}

/// What only a leader has.
#[derive(Debug, Clone)]
pub(crate) struct LeaderState {
    pub(crate) epoch_start_offset: i64,
    replicas: BTreeMap<(i32, Uuid), Replica>,
    parked: Vec<ParkedFetch>,
}

impl LeaderState {
    pub(crate) fn new(epoch_start_offset: i64, _now_ms: i64) -> Self {
        LeaderState { epoch_start_offset, replicas: BTreeMap::new(), parked: Vec::new() }
    }

    pub(crate) fn next_deadline_ms(&self) -> Option<i64> {
        self.parked.iter().map(|p| p.deadline_ms).min()
    }

    /// The offset that a voter has fetched up to.
    pub(crate) fn replica_offset(&self, id: i32) -> i64 {
        self.replicas.iter().filter(|((i, _), _)| *i == id).map(|(_, r)| r.offset).max().unwrap_or(-1)
    }

    pub(crate) fn observed(&self) -> BTreeMap<(i32, Uuid), i64> {
        self.replicas.iter().map(|(k, r)| (*k, r.offset)).collect()
    }

    fn on_fetch(&mut self, key: (i32, Uuid), offset: i64, leader_end: i64, now_ms: i64) {
        if key.0 < 0 {
            return;
        }
        self.replicas.retain(|_, r| now_ms - r.last_fetch_ms < OBSERVER_SESSION_TIMEOUT_MS);
        if self.replicas.len() >= OBSERVERS_MAX && !self.replicas.contains_key(&key) {
            return;
        }
        let replica = self.replicas.entry(key).or_insert(Replica {
            offset,
            last_fetch_ms: now_ms,
            last_caught_up_ms: -1,
            leader_end,
        });
        if offset >= leader_end {
            replica.last_caught_up_ms = now_ms;
        } else if offset >= replica.leader_end {
            replica.last_caught_up_ms = replica.last_caught_up_ms.max(replica.last_fetch_ms);
        }
        replica.offset = offset;
        replica.last_fetch_ms = now_ms;
        replica.leader_end = leader_end;
    }
}

impl QuorumCore {
    /// Refuses what only the leader of `epoch` may answer.
    fn check_leader_of(&self, epoch: i32) -> Result<(), ErrorCode> {
        if epoch < self.election.epoch {
            return Err(ErrorCode::FencedLeaderEpoch);
        }
        if epoch > self.election.epoch {
            return Err(ErrorCode::UnknownLeaderEpoch);
        }
        if !self.is_leader() {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        Ok(())
    }

    pub(crate) fn has_cluster_id(&self, claimed: Option<&Str>) -> bool {
        claimed.is_none_or(|id| **id == *self.config.cluster_id)
    }

    fn endpoint_of_leader(&self) -> Option<NodeEndpoint> {
        let id = self.election.leader_id?;
        let (host, port) = if id == self.config.node_id {
            let own = self.config.advertised.first()?;
            (own.host.clone(), own.port)
        } else {
            let address = self.leader_address()?;
            (address.host, address.port)
        };
        Some(NodeEndpoint { node_id: id, host: host.into(), port: i32::from(port), ..Default::default() })
    }

    fn fetch_response(&self, version: i16, partition: PartitionData) -> FetchResponse {
        let node_endpoints =
            if version >= 17 { self.endpoint_of_leader().into_iter().collect() } else { Vec::new() };
        FetchResponse {
            responses: vec![FetchableTopicResponse {
                topic: Str::from_static(METADATA_TOPIC),
                topic_id: Uuid::ONE,
                partitions: vec![partition],
                ..Default::default()
            }],
            node_endpoints,
            ..Default::default()
        }
    }

    fn partition_data(&self, error: ErrorCode, log: &dyn LogView) -> PartitionData {
        PartitionData {
            partition_index: 0,
            error_code: error.code(),
            high_watermark: self.high_watermark.unwrap_or(-1),
            log_start_offset: log.start_offset(),
            current_leader: LeaderIdAndEpoch {
                leader_id: self.election.leader_id.unwrap_or(-1),
                leader_epoch: self.election.epoch,
                ..Default::default()
            },
            records: Some(Bytes::new()),
            ..Default::default()
        }
    }

    pub(crate) fn on_fetch_request(
        &mut self,
        token: Token,
        version: i16,
        request: &FetchRequest,
        log: &dyn LogView,
        now_ms: i64,
        out: &mut Vec<Effect>,
    ) {
        let respond =
            |response: FetchResponse| Effect::Respond { token, response: PeerResponse::Fetch(response) };
        let top_error = |code: ErrorCode| FetchResponse { error_code: code.code(), ..Default::default() };
        if !self.has_cluster_id(request.cluster_id.as_ref()) {
            out.push(respond(top_error(ErrorCode::InconsistentClusterId)));
            return;
        }
        let Some(p) = only_partition(request, version) else {
            out.push(respond(top_error(ErrorCode::InvalidRequest)));
            return;
        };
        let malformed = request.max_wait_ms < 0
            || p.fetch_offset < 0
            || p.last_fetched_epoch < 0
            || p.current_leader_epoch < 0;
        let checked = if malformed {
            Err(ErrorCode::InvalidRequest)
        } else {
            self.check_leader_of(p.current_leader_epoch)
        };
        if let Err(code) = checked {
            let data = self.partition_data(code, log);
            out.push(respond(self.fetch_response(version, data)));
            return;
        }
        let at = OffsetAndEpoch::new(p.fetch_offset, p.last_fetched_epoch);
        let mut data = self.partition_data(ErrorCode::None, log);
        match validate_position(log, at) {
            Validity::Diverging(end) => {
                data.diverging_epoch =
                    EpochEndOffset { epoch: end.epoch, end_offset: end.offset, ..Default::default() };
                out.push(respond(self.fetch_response(version, data)));
                return;
            }
            Validity::Snapshot(id) => {
                data.snapshot_id =
                    SnapshotIdData { end_offset: id.offset, epoch: id.epoch, ..Default::default() };
                out.push(respond(self.fetch_response(version, data)));
                return;
            }
            Validity::Valid => {}
        }
        let replica = if version >= 15 { request.replica_state.replica_id } else { request.replica_id };
        let key = (replica, p.replica_directory_id);
        let end = log.end().offset;
        if let Role::Leader(leader) = &mut self.role {
            leader.on_fetch(key, p.fetch_offset, end, now_ms);
        }
        self.advance_high_watermark(log, now_ms, out);
        let asked = usize::try_from(request.max_bytes).unwrap_or(0);
        let parked = ParkedFetch {
            token,
            version,
            offset: p.fetch_offset,
            high_watermark: if version >= 18 { p.high_watermark } else { i64::MAX },
            deadline_ms: now_ms + i64::from(request.max_wait_ms),
            max_bytes: asked.min(self.config.fetch_max_bytes),
        };
        let full = match &self.role {
            Role::Leader(leader) => leader.parked.len() >= PARKED_FETCHES_MAX,
            _ => true,
        };
        if request.max_wait_ms == 0 || full || self.is_ready(&parked, log) {
            self.answer_fetch(&parked, log, out);
        } else if let Role::Leader(leader) = &mut self.role {
            leader.parked.push(parked);
        }
    }

    fn is_ready(&self, p: &ParkedFetch, log: &dyn LogView) -> bool {
        log.end().offset > p.offset || self.high_watermark.is_some_and(|hw| hw > p.high_watermark)
    }

    fn answer_fetch(&self, p: &ParkedFetch, log: &dyn LogView, out: &mut Vec<Effect>) {
        let data = self.partition_data(ErrorCode::None, log);
        let response = self.fetch_response(p.version, data);
        out.push(if log.end().offset > p.offset {
            Effect::RespondWithRecords { token: p.token, response, offset: p.offset, max_bytes: p.max_bytes }
        } else {
            Effect::Respond { token: p.token, response: PeerResponse::Fetch(response) }
        });
    }

    fn take_parked(&mut self, test: impl Fn(&Self, &ParkedFetch) -> bool) -> Vec<ParkedFetch> {
        let Role::Leader(leader) = &mut self.role else {
            return Vec::new();
        };
        let all = std::mem::take(&mut leader.parked);
        let (ready, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|p| test(self, p));
        if let Role::Leader(leader) = &mut self.role {
            leader.parked = rest;
        }
        ready
    }

    pub(crate) fn wake_fetches(&mut self, log: &dyn LogView, _now_ms: i64, out: &mut Vec<Effect>) {
        for p in self.take_parked(|core, p| core.is_ready(p, log)) {
            self.answer_fetch(&p, log, out);
        }
    }

    pub(crate) fn expire_fetches(&mut self, log: &dyn LogView, now_ms: i64, out: &mut Vec<Effect>) {
        for p in self.take_parked(|_, p| p.deadline_ms <= now_ms) {
            self.answer_fetch(&p, log, out);
        }
    }

    /// Answers what waits when leadership ends.
    pub(crate) fn drop_parked(&mut self, out: &mut Vec<Effect>) {
        for p in self.take_parked(|_, _| true) {
            let data = PartitionData {
                error_code: ErrorCode::NotLeaderOrFollower.code(),
                high_watermark: -1,
                current_leader: LeaderIdAndEpoch {
                    leader_id: -1,
                    leader_epoch: self.election.epoch,
                    ..Default::default()
                },
                records: Some(Bytes::new()),
                ..Default::default()
            };
            out.push(Effect::Respond {
                token: p.token,
                response: PeerResponse::Fetch(self.fetch_response(p.version, data)),
            });
        }
    }

    pub(crate) fn on_fetch_snapshot_request(
        &mut self,
        token: Token,
        request: &FetchSnapshotRequest,
        log: &dyn LogView,
        out: &mut Vec<Effect>,
    ) {
        let top_error = |code: ErrorCode| Effect::Respond {
            token,
            response: PeerResponse::FetchSnapshot(FetchSnapshotResponse {
                error_code: code.code(),
                ..Default::default()
            }),
        };
        if !self.has_cluster_id(request.cluster_id.as_ref()) {
            out.push(top_error(ErrorCode::InconsistentClusterId));
            return;
        }
        let partition = match request.topics.as_slice() {
            [t] if &*t.name == METADATA_TOPIC => match t.partitions.as_slice() {
                [p] if p.partition == 0 => Some(p),
                _ => None,
            },
            _ => None,
        };
        let Some(p) = partition else {
            out.push(top_error(ErrorCode::UnknownTopicOrPartition));
            return;
        };
        let id = SnapshotId::new(p.snapshot_id.end_offset, p.snapshot_id.epoch);
        let size = log.snapshot_size(id);
        let position = u64::try_from(p.position).ok();
        let checked = self.check_leader_of(p.current_leader_epoch).and_then(|()| {
            let size = size.ok_or(ErrorCode::SnapshotNotFound)?;
            match position {
                Some(position) if position < size => Ok((size, position)),
                _ => Err(ErrorCode::PositionOutOfRange),
            }
        });
        let code = checked.err().unwrap_or(ErrorCode::None);
        let response = FetchSnapshotResponse {
            topics: vec![fs::TopicSnapshot {
                name: Str::from_static(METADATA_TOPIC),
                partitions: vec![fs::PartitionSnapshot {
                    index: 0,
                    error_code: code.code(),
                    snapshot_id: fs::SnapshotId {
                        end_offset: id.offset,
                        epoch: id.epoch,
                        ..Default::default()
                    },
                    current_leader: fs::LeaderIdAndEpoch {
                        leader_id: self.election.leader_id.unwrap_or(-1),
                        leader_epoch: self.election.epoch,
                        ..Default::default()
                    },
                    size: checked.ok().and_then(|(size, _)| i64::try_from(size).ok()).unwrap_or(0),
                    position: if code == ErrorCode::None { p.position } else { 0 },
                    unaligned_records: Some(Bytes::new()),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        out.push(match checked {
            Ok((_, position)) => Effect::RespondWithSnapshot {
                token,
                response,
                id,
                position,
                max_bytes: usize::try_from(request.max_bytes)
                    .unwrap_or(0)
                    .min(self.config.fetch_snapshot_max_bytes),
            },
            Err(_) => Effect::Respond { token, response: PeerResponse::FetchSnapshot(response) },
        });
    }

    /// DescribeQuorum, which only the leader answers.
    pub fn describe_quorum(
        &self,
        request: &DescribeQuorumRequest,
        version: i16,
        log: &dyn LogView,
        now_ms: i64,
    ) -> DescribeQuorumResponse {
        let message = |code: ErrorCode| (version >= 2).then(|| Str::from(code.message()));
        let valid = match request.topics.as_slice() {
            [t] => &*t.topic_name == METADATA_TOPIC && t.partitions.len() == 1,
            _ => false,
        };
        if !valid {
            let code = ErrorCode::UnknownTopicOrPartition;
            let refused = |p: &dqr::PartitionData| dq::PartitionData {
                partition_index: p.partition_index,
                error_code: code.code(),
                error_message: message(code),
                ..Default::default()
            };
            return DescribeQuorumResponse {
                topics: request
                    .topics
                    .iter()
                    .map(|t| dq::TopicData {
                        topic_name: t.topic_name.clone(),
                        partitions: t.partitions.iter().map(refused).collect(),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            };
        }
        let Role::Leader(leader) = &self.role else {
            let code = ErrorCode::NotLeaderOrFollower;
            return DescribeQuorumResponse {
                topics: vec![dq::TopicData {
                    topic_name: Str::from_static(METADATA_TOPIC),
                    partitions: vec![dq::PartitionData {
                        partition_index: 0,
                        error_code: code.code(),
                        error_message: message(code),
                        leader_id: self.election.leader_id.unwrap_or(-1),
                        leader_epoch: self.election.epoch,
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                ..Default::default()
            };
        };
        let own = self.config.node_id;
        // Version 2 brought directory ids; older ones cannot say them.
        let shown = |directory: Uuid| if version >= 2 { directory } else { Uuid::ZERO };
        let mut current_voters = Vec::new();
        for v in self.voters().voters.values() {
            let directory = v.directory_id.unwrap_or(Uuid::ZERO);
            if v.id == own {
                current_voters.push(ReplicaState {
                    replica_id: own,
                    replica_directory_id: shown(directory),
                    log_end_offset: log.end().offset,
                    last_fetch_timestamp: now_ms,
                    last_caught_up_timestamp: now_ms,
                    ..Default::default()
                });
                continue;
            }
            let fetched = leader.replicas.iter().find(|((id, _), _)| *id == v.id);
            current_voters.push(replica_state(v.id, shown(directory), fetched.map(|f| f.1)));
        }
        let observers = leader
            .replicas
            .iter()
            .filter(|((id, dir), r)| {
                !self.voters().contains(*id, *dir) && now_ms - r.last_fetch_ms < OBSERVER_SESSION_TIMEOUT_MS
            })
            .map(|((id, dir), r)| replica_state(*id, shown(*dir), Some(r)))
            .collect();
        let nodes = if version >= 2 {
            self.voters()
                .voters
                .values()
                .map(|v| dq::Node {
                    node_id: v.id,
                    listeners: v
                        .endpoints
                        .iter()
                        .map(|e| dq::Listener {
                            name: Str::from(e.name.as_str()),
                            host: Str::from(e.host.as_str()),
                            port: e.port,
                            ..Default::default()
                        })
                        .collect(),
                    ..Default::default()
                })
                .collect()
        } else {
            Vec::new()
        };
        DescribeQuorumResponse {
            topics: vec![dq::TopicData {
                topic_name: Str::from_static(METADATA_TOPIC),
                partitions: vec![dq::PartitionData {
                    partition_index: 0,
                    leader_id: own,
                    leader_epoch: self.election.epoch,
                    high_watermark: self.high_watermark.unwrap_or(-1),
                    current_voters,
                    observers,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            nodes,
            ..Default::default()
        }
    }
}

fn replica_state(id: i32, directory: Uuid, replica: Option<&Replica>) -> ReplicaState {
    ReplicaState {
        replica_id: id,
        replica_directory_id: directory,
        log_end_offset: replica.map_or(-1, |r| r.offset),
        last_fetch_timestamp: replica.map_or(-1, |r| r.last_fetch_ms),
        last_caught_up_timestamp: replica.map_or(-1, |r| r.last_caught_up_ms),
        ..Default::default()
    }
}

/// The metadata partition, if the request asks for it and nothing else.
fn only_partition(request: &FetchRequest, version: i16) -> Option<&FetchPartition> {
    let [topic] = request.topics.as_slice() else {
        return None;
    };
    let named = if version >= 13 { topic.topic_id == Uuid::ONE } else { &*topic.topic == METADATA_TOPIC };
    match topic.partitions.as_slice() {
        [p] if named && p.partition == 0 => Some(p),
        _ => None,
    }
}
