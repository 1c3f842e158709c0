//! The quorum core: state, roles, and what moves it (KIP-595, KIP-630, KIP-853).

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::types::Uuid;

use crate::batches::{
    BuildError, BuiltBatch, LogReadError, build_batches, kraft_version_batch, leader_change_batch,
};
use crate::events::{Effect, Event, PeerAddress, PeerRequest, RequestId};
use crate::fetcher::Fetcher;
use crate::leader::LeaderState;
use crate::log::LogView;
use crate::quorum_state::ElectionState;
use crate::voters::{ControlHistory, KRAFT_VERSION_MAX, ListenerAddress, VoterNode, VoterSet};

/// The topic of the metadata log.
pub const METADATA_TOPIC: &str = "__cluster_metadata";
/// How long a fetch waits at the leader at most.
pub(crate) const MAX_FETCH_WAIT_MS: i32 = 500;
/// Observers that have not fetched for so long are forgotten.
pub(crate) const OBSERVER_SESSION_TIMEOUT_MS: i64 = 300_000;
/// Fetches that wait at the leader; more are answered at once.
pub(crate) const PARKED_FETCHES_MAX: usize = 1_000;
/// Observers that a leader keeps track of; more are served but not listed.
pub(crate) const OBSERVERS_MAX: usize = 10_000;

/// What a core is told once.
#[derive(Debug, Clone)]
pub struct CoreConfig {
    pub node_id: i32,
    /// Id of the metadata log directory.
    pub directory_id: Uuid,
    pub cluster_id: String,
    /// Whether the node has the controller role. Others only observe.
    pub can_vote: bool,
    /// `controller.quorum.voters`; empty in a dynamic quorum.
    pub static_voters: VoterSet,
    /// `controller.quorum.bootstrap.servers`.
    pub bootstrap_servers: Vec<(String, u16)>,
    /// The listener by which this node reaches controllers, upper case.
    pub listener: String,
    /// Where this node's own controller listeners are advertised.
    pub advertised: Vec<ListenerAddress>,
    /// `controller.quorum.fetch.timeout.ms`: without an answer for so long a leader counts as gone.
    pub fetch_timeout_ms: i64,
    /// `controller.quorum.retry.backoff.ms`.
    pub retry_backoff_ms: i64,
    /// `controller.quorum.fetch.max.bytes`.
    pub fetch_max_bytes: usize,
    /// `controller.quorum.fetch.snapshot.max.bytes`.
    pub fetch_snapshot_max_bytes: usize,
}

/// What a node is in its epoch.
#[derive(Debug, Clone)]
pub(crate) enum Role {
    /// Knows of no leader.
    Unattached,
    /// Follows, as a voter or as an observer.
    Follower,
    Leader(Box<LeaderState>),
    /// Was the leader and said good-bye.
    Resigned,
}

/// The role as others may know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleKind {
    Unattached,
    Follower,
    Leader,
    Resigned,
}

/// Why records were not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    #[error("this node does not lead the quorum")]
    NotLeader,
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error("the control records that were just built cannot be read")]
    Unreadable,
}

/// See the module.
///
/// Elects itself where it is the only voter. As one voter of several it grants votes and follows
/// whoever leads, but does not stand for election itself.
#[derive(Debug, Clone)]
pub struct QuorumCore {
    pub(crate) config: CoreConfig,
    pub(crate) role: Role,
    pub(crate) election: ElectionState,
    pub(crate) history: ControlHistory,
    pub(crate) high_watermark: Option<i64>,
    /// Where the leader said that it is.
    pub(crate) leader_address: Option<PeerAddress>,
    pub(crate) fetcher: Fetcher,
    next_request: u64,
}

impl QuorumCore {
    /// A core after a start. `election` is what `quorum-state` holds, `history` what the control
    /// records of the latest snapshot and of the log say.
    pub fn new(
        config: CoreConfig,
        election: Option<ElectionState>,
        history: ControlHistory,
        log: &dyn LogView,
    ) -> Self {
        let mut election = election.unwrap_or_default();
        // A log that is ahead of the file knows of a later epoch.
        let log_epoch = log.end().epoch;
        if log_epoch > election.epoch {
            election = ElectionState { epoch: log_epoch, leader_id: None, voted: None };
        }
        // A leader that restarts is none any more.
        let leader = election.leader_id.filter(|id| *id != config.node_id);
        let role = if leader.is_some() { Role::Follower } else { Role::Unattached };
        election.leader_id = leader;
        QuorumCore {
            role,
            election,
            history,
            high_watermark: None,
            leader_address: None,
            fetcher: Fetcher::default(),
            next_request: 0,
            config,
        }
    }

    pub fn epoch(&self) -> i32 {
        self.election.epoch
    }

    pub fn leader_id(&self) -> Option<i32> {
        self.election.leader_id
    }

    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    pub fn role(&self) -> RoleKind {
        match self.role {
            Role::Unattached => RoleKind::Unattached,
            Role::Follower => RoleKind::Follower,
            Role::Leader(_) => RoleKind::Leader,
            Role::Resigned => RoleKind::Resigned,
        }
    }

    /// Everything before it is committed; unknown until a leader said so.
    pub fn high_watermark(&self) -> Option<i64> {
        self.high_watermark
    }

    pub fn kraft_version(&self) -> i16 {
        self.history.kraft_version()
    }

    /// The voters by the log, else by configuration.
    pub fn voters(&self) -> &VoterSet {
        self.history.voters().map_or(&self.config.static_voters, |(_, set)| set)
    }

    /// The voters that the log itself names, for snapshots.
    pub fn logged_voters(&self) -> Option<&VoterSet> {
        self.history.voters().map(|(_, set)| set)
    }

    pub fn is_voter(&self) -> bool {
        self.config.can_vote && self.voters().contains(self.config.node_id, self.config.directory_id)
    }

    /// Where the leader is, for those who forward to it.
    pub fn leader_address(&self) -> Option<PeerAddress> {
        let id = self.election.leader_id?;
        if let Some(known) = self.leader_address.as_ref().filter(|a| a.node_id == id) {
            return Some(known.clone());
        }
        let voter = self.voters().voters.get(&id)?;
        let address = voter.address(&self.config.listener)?;
        Some(PeerAddress { node_id: id, host: address.host.clone(), port: address.port })
    }

    /// When [`Event::Tick`] is due next; `None` for not before something else happens.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        match &self.role {
            Role::Leader(leader) => leader.next_deadline_ms(),
            Role::Resigned => None,
            Role::Unattached | Role::Follower => Some(self.fetcher.next_deadline_ms()),
        }
    }

    /// Handles one event.
    pub fn on_event(&mut self, event: Event, log: &dyn LogView, now_ms: i64) -> Vec<Effect> {
        let mut out = Vec::new();
        match event {
            Event::Tick => self.on_tick(log, now_ms, &mut out),
            Event::Request { token, version, request } => {
                self.on_request(token, version, request, log, now_ms, &mut out)
            }
            Event::Response { id, response } => {
                self.on_response(id, response, log, now_ms, &mut out);
                self.on_tick(log, now_ms, &mut out);
            }
            Event::Failed { id } => self.on_failed(id, now_ms),
            Event::Flushed => {
                self.fetcher.on_flushed();
                self.advance_high_watermark(log, now_ms, &mut out);
                if !self.is_leader() {
                    self.on_tick(log, now_ms, &mut out);
                }
            }
            Event::SnapshotInstalled { id, history } => {
                self.history = history;
                self.fetcher.on_snapshot_installed();
                self.raise_high_watermark(id.offset, &mut out);
                self.on_tick(log, now_ms, &mut out);
            }
            Event::Shutdown => self.on_shutdown(&mut out),
        }
        out
    }

    /// Packs record values into batches for the leader's log. The shell appends them in this order,
    /// flushes, and sends [`Event::Flushed`]; the values are committed once the high watermark
    /// passes the last batch's end. Nothing else may be appended in between.
    pub fn propose(
        &mut self,
        values: &[Bytes],
        atomic: bool,
        log: &dyn LogView,
        now_ms: i64,
    ) -> Result<Vec<BuiltBatch>, ProposeError> {
        if !self.is_leader() {
            return Err(ProposeError::NotLeader);
        }
        let end = log.end();
        Ok(build_batches(values, end.offset, self.election.epoch, now_ms, atomic)?)
    }

    /// Whether this leader may raise `kraft.version` from 0 to `level`. Only for a quorum whose one voter it is: of
    /// others neither directory ids nor supported versions are known.
    pub fn can_upgrade_kraft_version(&self, level: i16) -> bool {
        self.is_leader()
            && self.kraft_version() == 0
            && level == KRAFT_VERSION_MAX
            && self.voters().is_only(self.config.node_id, self.config.directory_id)
    }

    /// The batch that makes a static quorum dynamic (KIP-853, Kafka `LeaderState.maybeAppendUpgradedKRaftVersion`). To
    /// be appended as the batches of [`Self::propose`].
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`] where [`Self::can_upgrade_kraft_version`] does not hold.
    pub fn propose_kraft_version(
        &mut self,
        level: i16,
        log: &dyn LogView,
        now_ms: i64,
    ) -> Result<BuiltBatch, ProposeError> {
        if !self.can_upgrade_kraft_version(level) {
            return Err(ProposeError::NotLeader);
        }
        let voter = VoterNode {
            id: self.config.node_id,
            directory_id: Some(self.config.directory_id),
            endpoints: self.config.advertised.clone(),
            kraft_versions: (0, KRAFT_VERSION_MAX),
        };
        let voters = VoterSet { voters: [(voter.id, voter)].into_iter().collect() };
        let batch = kraft_version_batch(log.end().offset, self.election.epoch, now_ms, level, &voters);
        self.history.replay_log(&batch.bytes).map_err(|_| ProposeError::Unreadable)?;
        Ok(batch)
    }

    /// Tells the core of batches that were appended, so that waiting fetches are answered.
    pub fn on_appended(&mut self, log: &dyn LogView, now_ms: i64) -> Vec<Effect> {
        let mut out = Vec::new();
        self.wake_fetches(log, now_ms, &mut out);
        out
    }

    fn on_tick(&mut self, log: &dyn LogView, now_ms: i64, out: &mut Vec<Effect>) {
        let (id, directory) = (self.config.node_id, self.config.directory_id);
        let alone = self.config.can_vote && self.voters().is_only(id, directory);
        match &self.role {
            Role::Leader(_) => self.expire_fetches(log, now_ms, out),
            Role::Resigned => {}
            Role::Unattached | Role::Follower if alone => self.become_leader(log, now_ms, out),
            Role::Unattached | Role::Follower => self.fetch_next(log, now_ms, out),
        }
    }

    fn become_leader(&mut self, log: &dyn LogView, now_ms: i64, out: &mut Vec<Effect>) {
        let id = self.config.node_id;
        let end = log.end();
        let epoch = self.election.epoch.max(end.epoch).saturating_add(1);
        // As any candidate: first the vote for itself, then, with every vote, the leadership.
        self.set_election(
            ElectionState { epoch, leader_id: None, voted: Some((id, self.config.directory_id)) },
            out,
        );
        self.set_election(ElectionState { epoch, leader_id: Some(id), voted: None }, out);
        let from_bootstrap = self.history.voters().is_some_and(|(at, _)| at < 0);
        let batch = leader_change_batch(
            end.offset,
            epoch,
            now_ms,
            id,
            self.voters(),
            &[id],
            self.kraft_version(),
            from_bootstrap,
        );
        if from_bootstrap && let Err(e) = self.history.replay_log(&batch.bytes) {
            unreachable!("a batch that was just built cannot be read: {e}");
        }
        self.role = Role::Leader(Box::new(LeaderState::new(end.offset, now_ms)));
        out.push(Effect::Append(batch));
        out.push(Effect::BecameLeader { epoch, epoch_start_offset: end.offset });
    }

    fn on_shutdown(&mut self, out: &mut Vec<Effect>) {
        if self.is_leader() {
            out.push(Effect::LostLeadership { epoch: self.election.epoch });
        }
        self.drop_parked(out);
        self.role = Role::Resigned;
    }

    pub(crate) fn set_election(&mut self, election: ElectionState, out: &mut Vec<Effect>) {
        if self.election == election {
            return;
        }
        self.election = election;
        let voters: Vec<i32> = self.voters().ids().collect();
        out.push(Effect::PersistElection { json: election.to_json(self.kraft_version(), &voters) });
    }

    /// Leaves whatever role it has for `leader` (or nobody) in `epoch`.
    pub(crate) fn follow(&mut self, leader: Option<i32>, epoch: i32, out: &mut Vec<Effect>) {
        let unchanged = self.election.epoch == epoch && self.election.leader_id == leader;
        if unchanged && !self.is_leader() {
            return;
        }
        if self.is_leader() {
            out.push(Effect::LostLeadership { epoch: self.election.epoch });
            self.drop_parked(out);
        }
        let voted = if epoch == self.election.epoch { self.election.voted } else { None };
        self.set_election(ElectionState { epoch, leader_id: leader, voted }, out);
        self.role = match leader {
            Some(_) => Role::Follower,
            None => Role::Unattached,
        };
        self.fetcher.on_new_leader();
        out.push(Effect::LeaderChanged { leader_id: leader, epoch });
    }

    /// Takes over what a response or request says of epoch and leader. Returns whether it is from the
    /// epoch that this node is in afterwards.
    pub(crate) fn learn_leader(&mut self, leader: Option<i32>, epoch: i32, out: &mut Vec<Effect>) -> bool {
        if epoch < self.election.epoch {
            return false;
        }
        let known = self.election.leader_id;
        if epoch > self.election.epoch || (known.is_none() && leader.is_some()) {
            self.follow(leader.filter(|id| *id != self.config.node_id), epoch, out);
        }
        true
    }

    pub(crate) fn raise_high_watermark(&mut self, offset: i64, out: &mut Vec<Effect>) {
        if self.high_watermark.is_none_or(|hw| hw < offset) {
            self.high_watermark = Some(offset);
            out.push(Effect::HighWatermark { offset });
        }
    }

    /// As the leader: what a majority of voters has on disk, once that includes a record of this
    /// epoch.
    pub(crate) fn advance_high_watermark(&mut self, log: &dyn LogView, now_ms: i64, out: &mut Vec<Effect>) {
        let Role::Leader(leader) = &self.role else {
            return;
        };
        let mut offsets: Vec<i64> = self
            .voters()
            .ids()
            .map(
                |id| {
                    if id == self.config.node_id { log.flushed_offset() } else { leader.replica_offset(id) }
                },
            )
            .collect();
        offsets.sort_unstable_by(|a, b| b.cmp(a));
        let majority = offsets.get(offsets.len() / 2).copied().unwrap_or(0);
        if majority <= leader.epoch_start_offset {
            return;
        }
        let before = self.high_watermark;
        self.raise_high_watermark(majority, out);
        if self.high_watermark != before {
            self.wake_fetches(log, now_ms, out);
        }
    }

    pub(crate) fn send(&mut self, to: PeerAddress, request: PeerRequest, out: &mut Vec<Effect>) -> RequestId {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        out.push(Effect::Send { id, to, request });
        id
    }

    /// Reads the control records of batches that are about to be appended.
    pub(crate) fn learn_batches(&mut self, batches: &[u8]) -> Result<(), LogReadError> {
        self.history.replay_log(batches)
    }

    /// Nodes that fetch, by id and directory, as the leader saw them last.
    pub fn observed(&self) -> BTreeMap<(i32, Uuid), i64> {
        match &self.role {
            Role::Leader(leader) => leader.observed(),
            _ => BTreeMap::new(),
        }
    }
}
