//! Answers to candidates and leaders: Vote, BeginQuorumEpoch, EndQuorumEpoch.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::begin_quorum_epoch_request::BeginQuorumEpochRequest;
use ottla_protocol::messages::begin_quorum_epoch_response::{self as begin, BeginQuorumEpochResponse};
use ottla_protocol::messages::end_quorum_epoch_request::EndQuorumEpochRequest;
use ottla_protocol::messages::end_quorum_epoch_response::{self as end, EndQuorumEpochResponse};
use ottla_protocol::messages::vote_request::{PartitionData as VotePartition, VoteRequest};
use ottla_protocol::messages::vote_response::{self as vote, VoteResponse};
use ottla_protocol::types::{Str, Uuid};

use crate::core::{METADATA_TOPIC, QuorumCore};
use crate::events::{Effect, PeerAddress, PeerRequest, PeerResponse, Token};
use crate::log::{LogView, OffsetAndEpoch};
use crate::quorum_state::ElectionState;

impl QuorumCore {
    pub(crate) fn on_request(
        &mut self,
        token: Token,
        version: i16,
        request: PeerRequest,
        log: &dyn LogView,
        now_ms: i64,
        out: &mut Vec<Effect>,
    ) {
        let response = match request {
            PeerRequest::Fetch(r) => {
                return self.on_fetch_request(token, version, &r, log, now_ms, out);
            }
            PeerRequest::FetchSnapshot(r) => {
                return self.on_fetch_snapshot_request(token, &r, log, out);
            }
            PeerRequest::DescribeQuorum(r) => {
                PeerResponse::DescribeQuorum(self.describe_quorum(&r, version, log, now_ms))
            }
            PeerRequest::Vote(r) => PeerResponse::Vote(self.on_vote(&r, log, out)),
            PeerRequest::BeginQuorumEpoch(r) => {
                PeerResponse::BeginQuorumEpoch(self.on_begin_quorum_epoch(&r, out))
            }
            PeerRequest::EndQuorumEpoch(r) => PeerResponse::EndQuorumEpoch(self.on_end_quorum_epoch(&r, out)),
        };
        out.push(Effect::Respond { token, response });
    }

    fn leader_or_none(&self) -> i32 {
        self.election.leader_id.unwrap_or(-1)
    }

    fn is_me(&self, id: i32, directory: Uuid) -> bool {
        (id < 0 || id == self.config.node_id)
            && (directory.is_zero() || directory == self.config.directory_id)
    }

    fn on_vote(&mut self, request: &VoteRequest, log: &dyn LogView, out: &mut Vec<Effect>) -> VoteResponse {
        if !self.has_cluster_id(request.cluster_id.as_ref()) {
            return VoteResponse {
                error_code: ErrorCode::InconsistentClusterId.code(),
                ..Default::default()
            };
        }
        let partition = match request.topics.as_slice() {
            [t] if &*t.topic_name == METADATA_TOPIC => t.partitions.first(),
            _ => None,
        };
        let Some(p) = partition else {
            return VoteResponse { error_code: ErrorCode::InvalidRequest.code(), ..Default::default() };
        };
        let (code, granted) = match self.vote(request.voter_id, p, log, out) {
            Ok(granted) => (ErrorCode::None, granted),
            Err(code) => (code, false),
        };
        VoteResponse {
            topics: vec![vote::TopicData {
                topic_name: Str::from_static(METADATA_TOPIC),
                partitions: vec![vote::PartitionData {
                    partition_index: p.partition_index,
                    error_code: code.code(),
                    leader_id: self.leader_or_none(),
                    leader_epoch: self.election.epoch,
                    vote_granted: granted,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    fn vote(
        &mut self,
        voter_id: i32,
        p: &VotePartition,
        log: &dyn LogView,
        out: &mut Vec<Effect>,
    ) -> Result<bool, ErrorCode> {
        // A candidate stands in a later epoch than its log ends in; a pre-candidate in no later one.
        let epoch_limit = if p.pre_vote { p.replica_epoch.saturating_add(1) } else { p.replica_epoch };
        let malformed = p.last_offset < 0 || p.last_offset_epoch < 0 || p.replica_id < 0;
        if malformed || p.last_offset_epoch >= epoch_limit {
            return Err(ErrorCode::InvalidRequest);
        }
        if p.replica_epoch < self.election.epoch {
            return Err(ErrorCode::FencedLeaderEpoch);
        }
        if p.replica_epoch > self.election.epoch && !p.pre_vote {
            self.follow(None, p.replica_epoch, out);
        }
        if !self.config.can_vote || !self.is_me(voter_id, p.voter_directory_id) {
            return Err(ErrorCode::InvalidVoterKey);
        }
        let candidate_log = OffsetAndEpoch::new(p.last_offset, p.last_offset_epoch);
        let up_to_date = candidate_log >= log.end();
        if p.pre_vote {
            return Ok(up_to_date && self.election.leader_id.is_none());
        }
        let free = match self.election.voted {
            None => self.election.leader_id.is_none(),
            Some((id, directory)) => {
                id == p.replica_id && (directory.is_zero() || directory == p.replica_directory_id)
            }
        };
        if !up_to_date || !free {
            return Ok(false);
        }
        let epoch = self.election.epoch;
        self.set_election(
            ElectionState { epoch, leader_id: None, voted: Some((p.replica_id, p.replica_directory_id)) },
            out,
        );
        Ok(true)
    }

    fn on_begin_quorum_epoch(
        &mut self,
        request: &BeginQuorumEpochRequest,
        out: &mut Vec<Effect>,
    ) -> BeginQuorumEpochResponse {
        if !self.has_cluster_id(request.cluster_id.as_ref()) {
            return BeginQuorumEpochResponse {
                error_code: ErrorCode::InconsistentClusterId.code(),
                ..Default::default()
            };
        }
        let partition = match request.topics.as_slice() {
            [t] if &*t.topic_name == METADATA_TOPIC => t.partitions.first(),
            _ => None,
        };
        let Some(p) = partition else {
            return BeginQuorumEpochResponse {
                error_code: ErrorCode::InvalidRequest.code(),
                ..Default::default()
            };
        };
        let code = if p.leader_epoch < self.election.epoch {
            ErrorCode::FencedLeaderEpoch
        } else if p.leader_id < 0 || p.leader_id == self.config.node_id {
            ErrorCode::InvalidRequest
        } else {
            let listener = &self.config.listener;
            let endpoint = request.leader_endpoints.iter().find(|e| *e.name == **listener);
            if let Some(e) = endpoint {
                self.leader_address =
                    Some(PeerAddress { node_id: p.leader_id, host: e.host.to_string(), port: e.port });
            }
            self.learn_leader(Some(p.leader_id), p.leader_epoch, out);
            if self.is_me(request.voter_id, p.voter_directory_id) {
                ErrorCode::None
            } else {
                ErrorCode::InvalidVoterKey
            }
        };
        BeginQuorumEpochResponse {
            topics: vec![begin::TopicData {
                topic_name: Str::from_static(METADATA_TOPIC),
                partitions: vec![begin::PartitionData {
                    partition_index: p.partition_index,
                    error_code: code.code(),
                    leader_id: self.leader_or_none(),
                    leader_epoch: self.election.epoch,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    fn on_end_quorum_epoch(
        &mut self,
        request: &EndQuorumEpochRequest,
        out: &mut Vec<Effect>,
    ) -> EndQuorumEpochResponse {
        if !self.has_cluster_id(request.cluster_id.as_ref()) {
            return EndQuorumEpochResponse {
                error_code: ErrorCode::InconsistentClusterId.code(),
                ..Default::default()
            };
        }
        let partition = match request.topics.as_slice() {
            [t] if &*t.topic_name == METADATA_TOPIC => t.partitions.first(),
            _ => None,
        };
        let Some(p) = partition else {
            return EndQuorumEpochResponse {
                error_code: ErrorCode::InvalidRequest.code(),
                ..Default::default()
            };
        };
        let code = if p.leader_epoch < self.election.epoch {
            ErrorCode::FencedLeaderEpoch
        } else if p.leader_id < 0 || p.leader_id == self.config.node_id {
            ErrorCode::InvalidRequest
        } else {
            self.learn_leader(Some(p.leader_id), p.leader_epoch, out);
            if self.election.leader_id == Some(p.leader_id) {
                let epoch = self.election.epoch;
                self.follow(None, epoch, out);
            }
            ErrorCode::None
        };
        EndQuorumEpochResponse {
            topics: vec![end::TopicData {
                topic_name: Str::from_static(METADATA_TOPIC),
                partitions: vec![end::PartitionData {
                    partition_index: p.partition_index,
                    error_code: code.code(),
                    leader_id: self.leader_or_none(),
                    leader_epoch: self.election.epoch,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }
    }
}
