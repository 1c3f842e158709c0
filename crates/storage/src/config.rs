//! The settings of one log: Kafka's topic configs, by their keys.

use ottla_protocol::compression::{Codec, Compression};
use ottla_protocol::records::{Scratch, TimestampType};

/// The smallest decompression budget of a batch; a larger `max.message.bytes` makes it larger.
const MIN_DECOMPRESSION_BUDGET_BYTES: usize = 128 << 20;
/// How much larger than `max.message.bytes` the content of a batch may be at least.
const BUDGET_PER_MESSAGE_BYTE: usize = 16;

/// `compression.type` of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionType {
    /// Keep what the producer chose.
    Producer,
    /// Rewrite batches of another codec. [`Codec::None`] stands for `uncompressed`.
    Codec(Codec),
}

/// `cleanup.policy` of a topic: either, both or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Old segments go.
    pub delete: bool,
    /// Of each key only the last record stays.
    pub compact: bool,
}

/// The settings of one log. Fields have the names of Kafka's keys; the default is Kafka's.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment larger than this is closed.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment older than this is closed.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: at most this is taken off `segment.ms`, at random per segment.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: room of an index.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: bytes of log between two entries of an index.
    pub index_interval_bytes: u32,
    /// `flush.messages`: records after which the log is synced.
    pub flush_messages: i64,
    /// `flush.ms`: time after which the log is synced.
    pub flush_ms: i64,
    /// `retention.bytes`: -1 for no limit.
    pub retention_bytes: i64,
    /// `retention.ms`: -1 for no limit.
    pub retention_ms: i64,
    /// `max.message.bytes`: the largest batch of a producer.
    pub max_message_bytes: i32,
    /// `max.decompressed.message.bytes`: the most that one record may have when decompressed.
    pub max_decompressed_message_bytes: i32,
    /// `delete.retention.ms`: how long tombstones stay.
    pub delete_retention_ms: i64,
    /// `file.delete.delay.ms`: how long a deleted segment's files stay.
    pub file_delete_delay_ms: i64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`.
    pub max_compaction_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`.
    pub min_cleanable_dirty_ratio: f64,
    /// `cleanup.policy`.
    pub cleanup_policy: CleanupPolicy,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election_enable: bool,
    /// `min.insync.replicas`.
    pub min_insync_replicas: i32,
    /// `compression.type`.
    pub compression_type: CompressionType,
    /// `compression.gzip.level`.
    pub compression_gzip_level: i32,
    /// `compression.lz4.level`.
    pub compression_lz4_level: i32,
    /// `compression.zstd.level`.
    pub compression_zstd_level: i32,
    /// `preallocate`: whether a segment's file is made at its full size.
    pub preallocate: bool,
    /// `message.timestamp.type`.
    pub message_timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub message_timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub message_timestamp_after_max_ms: i64,
    /// `remote.storage.enable`.
    pub remote_storage_enable: bool,
    /// `local.retention.ms`: -2 for the same as `retention.ms`.
    pub local_retention_ms: i64,
    /// `local.retention.bytes`: -2 for the same as `retention.bytes`.
    pub local_retention_bytes: i64,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            retention_bytes: -1,
            retention_ms: 7 * 24 * 3_600_000,
            max_message_bytes: (1 << 20) + 12,
            max_decompressed_message_bytes: ottla_protocol::records::DEFAULT_MAX_RECORD_BYTES,
            delete_retention_ms: 24 * 3_600_000,
            file_delete_delay_ms: 60_000,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_dirty_ratio: 0.5,
            cleanup_policy: CleanupPolicy { delete: true, compact: false },
            unclean_leader_election_enable: false,
            min_insync_replicas: 1,
            compression_type: CompressionType::Producer,
            compression_gzip_level: Codec::Gzip.default_level(),
            compression_lz4_level: Codec::Lz4.default_level(),
            compression_zstd_level: Codec::Zstd.default_level(),
            preallocate: false,
            message_timestamp_type: TimestampType::CreateTime,
            message_timestamp_before_max_ms: i64::MAX,
            message_timestamp_after_max_ms: 3_600_000,
            remote_storage_enable: false,
            local_retention_ms: -2,
            local_retention_bytes: -2,
        }
    }
}

impl LogConfig {
    /// The codec and level that a batch of `source` is stored with.
    pub fn target_compression(&self, source: Codec) -> Compression {
        let codec = match self.compression_type {
            CompressionType::Producer => return Compression::of(source),
            CompressionType::Codec(codec) => codec,
        };
        let level = match codec {
            Codec::Gzip => self.compression_gzip_level,
            Codec::Lz4 => self.compression_lz4_level,
            Codec::Zstd => self.compression_zstd_level,
            Codec::None | Codec::Snappy => codec.default_level(),
        };
        Compression { codec, level }
    }

    /// Bytes that the content of a batch may have when decompressed.
    pub fn decompression_budget_bytes(&self) -> usize {
        let max_message_bytes = usize::try_from(self.max_message_bytes).unwrap_or(0);
        MIN_DECOMPRESSION_BUDGET_BYTES.max(max_message_bytes.saturating_mul(BUDGET_PER_MESSAGE_BYTE))
    }

    /// Holds what follows to the topic's limits: batches that are appended, and those in the log whose records are read.
    pub fn limit_decompression(&self, scratch: &mut Scratch) {
        scratch.set_max_record_bytes(self.max_decompressed_message_bytes);
        scratch.set_budget(self.decompression_budget_bytes());
    }

    /// `segment.ms`, or for a compacted topic the smaller of it and `max.compaction.lag.ms`.
    pub fn max_segment_ms(&self) -> i64 {
        if self.cleanup_policy.compact && self.max_compaction_lag_ms > 0 {
            self.max_compaction_lag_ms.min(self.segment_ms)
        } else {
            self.segment_ms
        }
    }
}
