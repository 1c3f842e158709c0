//! Groups of the classic protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup.
//!
//! What a generation settled on is durable (GroupMetadata records). Everything between two generations, who has
//! joined again, who waits for what, is memory only, as in Kafka; the decisions here change it in place, and their
//! records come out already applied.

mod group;
mod heartbeat;
mod join;
mod join_existing;
mod leave;
mod member;
mod rebalance;
mod state;
mod sync;

pub(crate) use group::ClassicGroup;
pub(crate) use join::MEMBER_ID_REQUIRED_VERSION;
pub(crate) use join_existing::fail_parked;
pub(crate) use leave::response_for;
pub(crate) use member::{ClassicMember, Parked, own_protocols};
pub(crate) use rebalance::{
    complete_join, expire_heartbeat, expire_pending_sync, prepare_rebalance, reschedule_heartbeat,
    try_complete_initial_rebalance,
};
pub use state::ClassicState;
