//! The sparse indexes of a segment.
//!
//! An index is a file of entries of one size. The index of the active segment is preallocated to
//! `segment.index.bytes`, as Kafka does, and trimmed when the segment is closed. Kafka maps the file; here the entries
//! of the active segment are kept in memory and written behind in groups, which is as safe: after an unclean stop
//! the indexes of every segment that was not flushed are built anew from the log. Those of closed segments are read when
//! they are needed, and kept as far as the memory for them goes ([`INDEX_MEMORY_BYTES`]).

mod entries;
mod file;
mod memory;
mod offset_index;
mod time_index;
mod txn_index;

#[cfg(test)]
mod tests;

pub(crate) use file::IndexFile;
pub use memory::INDEX_MEMORY_BYTES;
pub(crate) use memory::IndexMemory;
pub use offset_index::{OffsetIndex, OffsetPosition};
pub use time_index::{TimeIndex, TimestampOffset};
pub use txn_index::{AbortedTxn, TransactionIndex};
