//! What happens to the core, and what it wants done.

use bytes::Bytes;
use ottla_protocol::messages::begin_quorum_epoch_request::BeginQuorumEpochRequest;
use ottla_protocol::messages::begin_quorum_epoch_response::BeginQuorumEpochResponse;
use ottla_protocol::messages::describe_quorum_request::DescribeQuorumRequest;
use ottla_protocol::messages::describe_quorum_response::DescribeQuorumResponse;
use ottla_protocol::messages::end_quorum_epoch_request::EndQuorumEpochRequest;
use ottla_protocol::messages::end_quorum_epoch_response::EndQuorumEpochResponse;
use ottla_protocol::messages::fetch_request::FetchRequest;
use ottla_protocol::messages::fetch_response::FetchResponse;
use ottla_protocol::messages::fetch_snapshot_request::FetchSnapshotRequest;
use ottla_protocol::messages::fetch_snapshot_response::FetchSnapshotResponse;
use ottla_protocol::messages::vote_request::VoteRequest;
use ottla_protocol::messages::vote_response::VoteResponse;

use crate::batches::BuiltBatch;
use crate::log::SnapshotId;
use crate::voters::ControlHistory;

/// Names a request that came in, so that its answer can be sent later. Chosen by the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Names a request that was sent, so that its answer can be told apart. Chosen by the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A request from another node.
#[derive(Debug, Clone, PartialEq)]
pub enum PeerRequest {
    Vote(VoteRequest),
    BeginQuorumEpoch(BeginQuorumEpochRequest),
    EndQuorumEpoch(EndQuorumEpochRequest),
    Fetch(FetchRequest),
    FetchSnapshot(FetchSnapshotRequest),
    DescribeQuorum(DescribeQuorumRequest),
}

/// An answer to another node.
#[derive(Debug, Clone, PartialEq)]
pub enum PeerResponse {
    Vote(VoteResponse),
    BeginQuorumEpoch(BeginQuorumEpochResponse),
    EndQuorumEpoch(EndQuorumEpochResponse),
    Fetch(FetchResponse),
    FetchSnapshot(FetchSnapshotResponse),
    DescribeQuorum(DescribeQuorumResponse),
}

/// What happens to the core.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Time has passed. To be sent at `next_deadline_ms` at the latest, and once at the start.
    Tick,
    /// A request came in. `version` is that of the request.
    Request { token: Token, version: i16, request: PeerRequest },
    /// A request of the core was answered.
    Response { id: RequestId, response: PeerResponse },
    /// A request of the core was not answered: no connection, or no answer in time.
    Failed { id: RequestId },
    /// The log was flushed: its `flushed_offset` may have grown.
    Flushed,
    /// A fetched snapshot is complete on disk and the log starts at its end. `history` is what its
    /// control records say.
    SnapshotInstalled { id: SnapshotId, history: ControlHistory },
    /// The node shuts down: a leader tells the others.
    Shutdown,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerAddress {
    /// -1 for a bootstrap server, whose id is not known yet.
    pub node_id: i32,
    pub host: String,
    pub port: u16,
}

/// What the shell has to do, in this order. An effect may rely on those before it being durable.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Replace the file `quorum-state`, durably.
    PersistElection { json: String },
    /// Append a batch that the core built (as the leader) at the end of the log, then flush and send
    /// [`Event::Flushed`].
    Append(BuiltBatch),
    /// Append batches as they came from the leader, then flush and send [`Event::Flushed`].
    AppendFetched { batches: Bytes },
    /// Drop everything at and after `offset`, then send [`Event::Flushed`].
    Truncate { offset: i64 },
    /// Write a piece of a snapshot that is being fetched, under its temporary name.
    WriteSnapshotChunk { id: SnapshotId, position: u64, bytes: Bytes },
    /// The snapshot is complete: rename it, drop the log, start it anew at `id.offset`, then send
    /// [`Event::SnapshotInstalled`].
    InstallSnapshot { id: SnapshotId },
    /// Answer a request.
    Respond { token: Token, response: PeerResponse },
    /// Read batches from `offset` on into the only partition of `response`, at most `max_bytes` (but
    /// one batch in any case), and answer with it.
    RespondWithRecords { token: Token, response: FetchResponse, offset: i64, max_bytes: usize },
    /// Read a piece of a snapshot into the only partition of `response` and answer with it.
    RespondWithSnapshot {
        token: Token,
        response: FetchSnapshotResponse,
        id: SnapshotId,
        position: u64,
        max_bytes: usize,
    },
    /// Send a request.
    Send { id: RequestId, to: PeerAddress, request: PeerRequest },
    /// This node leads from now on. Once its high watermark passes `epoch_start_offset` it has the
    /// whole log.
    BecameLeader { epoch: i32, epoch_start_offset: i64 },
    /// This node leads no more: what it had not committed may be lost.
    LostLeadership { epoch: i32 },
    /// Another node leads, or none is known.
    LeaderChanged { leader_id: Option<i32>, epoch: i32 },
    /// Everything before this offset is committed.
    HighWatermark { offset: i64 },
}
