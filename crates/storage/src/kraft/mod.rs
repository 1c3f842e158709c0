//! The files of the metadata quorum beside its log: `quorum-state` and snapshots. Bytes and names only; what they mean
//! is the quorum's business.

mod quorum_state;
mod snapshot;

pub use quorum_state::{QUORUM_STATE_FILE, QuorumState, QuorumStateError};
pub use snapshot::{SnapshotFiles, SnapshotId, SnapshotWriter};
