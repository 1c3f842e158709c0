//! Compaction: of each key only the last record stays.
//!
//! # Map
//! - [`candidate`]: what of a log may be cleaned, how dirty it is, whether it has to be cleaned now.
//! - [`manager`]: which logs are being cleaned, paused or set aside; up to where each is clean.
//! - [`run`]: one cleaning: the map of the dirty part, then group after group of segments copied and swapped in.
//! - [`offset_map`]: the last offset of each key, in bounded memory.
//! - [`grouping`]: which segments become one.
//! - [`filter`]: what stays of a batch, and how it is written.
//! - [`transactions`]: which transactions the cleaning is in the midst of, and which markers may go.
//! - [`checked_scan`]: reading that takes nothing for good that is not.
//! - [`destination`]: the `.cleaned` files.
//! - [`throttle`]: how long to sleep so that a rate is kept.
//!
//! No thread is started here: the node's cleaner threads call [`crate::dirs::LogDirs::clean_filthiest`].
//!
//! Source: Kafka `LogCleaner`, `Cleaner`, `LogCleanerManager`, `CleanedTransactionMetadata`, `SkimpyOffsetMap`; KIP-58,
//! KIP-354 (compaction lag), KIP-534 (delete horizon).

mod candidate;
mod checked_scan;
mod config;
mod destination;
mod error;
mod filter;
mod grouping;
mod manager;
mod offset_map;
mod run;
mod stats;
mod throttle;
mod transactions;

#[cfg(test)]
mod tests;

pub use candidate::PreCleanStats;
pub use config::{CleanerConfig, CleanerControl};
pub use error::CleanError;
pub use manager::UncleanableLogs;
pub use offset_map::OffsetMap;
pub use run::Cleaner;
pub use stats::CleanerStats;
pub use throttle::Throttle;

pub(crate) use candidate::{LogToClean, cleanable_bytes, cleanable_offsets, max_compaction_delay};
pub(crate) use manager::CleanerManager;
