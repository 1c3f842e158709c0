//! Floor 2: Kafka's log files. Segments, indexes, producer state, checkpoints, log directories, recovery.
//!
//! # Map
//! - [`disk`]: the seam to the file system. Everything else takes an `Arc<dyn Disk>`; [`disk::OsDisk`] is the real one.
//! - [`dirs::LogDirs`]: all log directories of a node. Opens them ([`dirs::LogDirs::open`]), loads and recovers their
//!   logs ([`dirs::LogDirs::load_logs`]), finds, places and deletes partitions, writes the checkpoints.
//! - Compaction: [`cleaner`], one log at a time.
//! - [`log::Log`]: one partition. [`log::Log::append_as_leader`], [`log::Log::append_as_follower`],
//!   [`log::Log::read`], lookups, truncation, deletion. `Arc<Log>` from any thread.
//! - [`reading`]: how the bytes of a read come into memory: what waits for the device and what does not.
//! - [`validation`]: what is checked of a batch before the append lock.
//! - [`producer_state`]: idempotent and transactional producers of a log.
//! - [`kraft`]: `quorum-state` and metadata snapshots, as bytes and names; `__cluster_metadata-0` itself is a [`log::Log`].
//! - [`examine`]: what is wrong in data directories, found without changing them.
//! - [`error::LogError`]: everything that can go wrong, with Kafka's error code and text.
//!
//! # Use
//! A Produce: [`validation::validate_produce_request`] once per partition, then `log.append_as_leader(&bytes, ..)`,
//! then [`log::Log::maybe_increment_high_watermark`] with what the in-sync replicas have (with one replica: the log's end).
//! A Fetch: [`log::Log::read_cached`], and where that would wait for the device [`log::Log::read`] on a thread that may;
//! then [`disk::FetchSlice::load_cached`] and [`disk::FetchSlice::load`] of what was found, likewise.
//! Offsets (`log_start_offset`, `log_end_offset`, `high_watermark`, `last_stable_offset`) are atomics.
//!
//! # Background
//! No thread is started here. The node calls [`dirs::LogDirs::maintain`] every second or so (delayed deletion, syncing of
//! closed segments, `flush.ms`, producer expiry), [`dirs::LogDirs::checkpoint`] every
//! `log.flush.offset.checkpoint.interval.ms`, [`dirs::LogDirs::delete_old_segments`] every
//! `log.retention.check.interval.ms`, [`dirs::LogDirs::clean_filthiest`] from its cleaner threads, and
//! [`dirs::LogDirs::shutdown`] at the end. Whoever truncates a log that the directories hold does it with
//! [`dirs::LogDirs::truncate_to`], which keeps the cleaner away.
//!
//! # Promises
//! - An append is visible to readers only when all of it is in the file; a failed one leaves nothing behind.
//! - A failed write or sync takes the log directory offline ([`dirs::DirState`]); a full disk does not.
//! - A reader waits for no lock that is held while the disk works.

pub mod checkpoint;
pub mod cleaner;
pub mod config;
pub mod dirs;
pub mod disk;
pub mod error;
pub mod examine;
pub mod index;
pub mod kraft;
pub mod log;
#[cfg_attr(not(feature = "mutations"), doc(hidden))]
pub mod mutation;
pub mod producer_state;
pub mod reading;
pub mod segment;
pub mod validation;

pub use config::{CleanupPolicy, CompressionType, LogConfig};
pub use error::{CorruptFile, LogError, RecordError};
pub use log::{Log, TopicPartition};
