//! Record batches: the bytes of Produce, Fetch and `.log` files.
//!
//! [`BatchIter`] walks concatenated batches of magic 0, 1 and 2; [`Batch`] reads a header and hands out records that
//! borrow from the batch or from a decompression buffer ([`Scratch`]); [`patch`] changes a batch in place;
//! [`BatchBuilder`] writes magic 2; [`control`] has the control records. No reader trusts a count or a length.
//!
//! Source: Kafka `org.apache.kafka.common.record`, KIP-98 (magic 2), KIP-534 (delete horizon).

mod batch;
mod builder;
pub mod control;
mod crc;
mod error;
mod header;
mod legacy;
pub mod patch;
mod record;
mod varint;

#[cfg(test)]
mod tests;

pub use batch::{Batch, BatchIter, DEFAULT_DECOMPRESSION_BUDGET_BYTES, DEFAULT_MAX_RECORD_BYTES, Scratch};
pub use builder::{BatchBuilder, BatchOptions, empty_batch};
pub use crc::{crc32, crc32c};
pub use error::RecordsError;
pub use header::{Attributes, BatchHeader, TimestampType, layout};
pub use record::{Header, HeaderIter, Headers, Record, RecordIter};
pub use varint::{put_varint, put_varlong, varint_size, varlong_size};

/// The largest magic that exists.
pub const CURRENT_MAGIC: i8 = 2;
/// Timestamp of a record that has none.
pub const NO_TIMESTAMP: i64 = -1;
/// Producer id of a batch that is not idempotent.
pub const NO_PRODUCER_ID: i64 = -1;
/// Producer epoch of a batch that is not idempotent.
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// Sequence of a batch that is not idempotent.
pub const NO_SEQUENCE: i32 = -1;
/// Leader epoch of a batch that no leader has appended.
pub const NO_PARTITION_LEADER_EPOCH: i32 = -1;

/// The sequence `increment` after `sequence`; after 2^31 - 1 comes 0.
pub const fn increment_sequence(sequence: i32, increment: i32) -> i32 {
    if sequence > i32::MAX.wrapping_sub(increment) {
        increment.wrapping_sub(i32::MAX.wrapping_sub(sequence)).wrapping_sub(1)
    } else {
        sequence.wrapping_add(increment)
    }
}

/// The sequence `decrement` before `sequence`; before 0 comes 2^31 - 1.
pub const fn decrement_sequence(sequence: i32, decrement: i32) -> i32 {
    if sequence < decrement {
        i32::MAX.wrapping_sub(decrement.wrapping_sub(sequence)).wrapping_add(1)
    } else {
        sequence.wrapping_sub(decrement)
    }
}
