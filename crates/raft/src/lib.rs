//! The KRaft quorum as a state machine: events in, effects out. No I/O, no clock, no randomness.
//!
//! [`QuorumCore`] is the only voter of its quorum, a voter that follows, or an observer that fetches
//! the metadata log from the leader. The shell owns files and sockets: it hands events in with a
//! [`LogView`] of the log as it is, and carries the effects out in their order.

mod batches;
mod core;
mod events;
mod fetcher;
mod leader;
mod log;
mod quorum_state;
mod snapshot_policy;
mod voters;
mod votes;

#[cfg(test)]
mod tests;

pub use batches::{
    BuildError, BuiltBatch, LogReadError, LogRecord, MAX_BATCH_SIZE_BYTES, build_batches, for_each_record,
    parse_snapshot_file_name, snapshot_bytes, snapshot_file_name,
};
pub use core::{CoreConfig, METADATA_TOPIC, ProposeError, QuorumCore, RoleKind};
pub use events::{Effect, Event, PeerAddress, PeerRequest, PeerResponse, RequestId, Token};
pub use log::{LogView, OffsetAndEpoch, SnapshotId};
pub use quorum_state::{ElectionState, QuorumStateError};
pub use snapshot_policy::{SnapshotPolicy, SnapshotReason, StoredSnapshot, snapshots_to_delete};
pub use voters::{ControlHistory, KRAFT_VERSION_MAX, ListenerAddress, VoterNode, VoterSet};
