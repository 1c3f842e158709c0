//! Committed offsets of all groups of a shard: plain ones, and those of transactions that have not ended.

mod commit;
mod delete;
mod expire;
mod fetch;
mod store;

pub use store::OffsetAndMetadata;
pub(crate) use store::OffsetStore;

/// Since when an offset counts as unused (KIP-211).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExpirationBase {
    /// Since it was committed.
    Commit,
    /// Since this time, when its group became empty.
    Fixed(i64),
}
