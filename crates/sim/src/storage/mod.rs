//! Simulation of storage: one seed is one life of a node's log directories.
//!
//! A life is a mix of appends (idempotent, transactional, of several epochs and codecs), rolls, flushes, truncations,
//! retention, DeleteRecords, partitions that come and go, full disks, I/O errors, clean stops, kills and power cuts.
//! After each start everything is compared with a model that knows what was acknowledged and what was promised to be
//! durable. What a seed does depends on nothing else: the trace of two runs is the same.

mod batches;
mod check;
mod model;
mod observe;
mod outcome;
mod world;

pub use outcome::Outcome;
pub use world::run;

/// The batch that aborts a transaction.
pub(crate) fn abort_marker(now_ms: i64, producer_id: i64, producer_epoch: i16) -> Vec<u8> {
    batches::marker(false, 0, now_ms, producer_id, producer_epoch)
}
