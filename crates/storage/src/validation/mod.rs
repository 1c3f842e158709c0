//! HOT: what a leader checks and changes of a batch before it takes the append lock. Nothing here knows the log.
//!
//! Offsets are assigned later, by patching bytes that the checksum does not cover; everything else (checksum,
//! structure, timestamps, keys, compression) is settled here. No allocation per record, and none at all for a good
//! batch that stays as it is.
//!
//! Source: Kafka `LogValidator`, `UnifiedLog.analyzeAndValidateRecords`, `ProduceRequest.validateRecords`.

mod request;

pub use request::validate_produce_request;

use ottla_protocol::compression::Codec;
use ottla_protocol::records::patch::PatchedBatch;
use ottla_protocol::records::{
    Batch, BatchBuilder, BatchHeader, BatchIter, BatchOptions, NO_TIMESTAMP, Record, Scratch, TimestampType,
};

use crate::config::LogConfig;
use crate::error::{LogError, RecordError};
use crate::log::TopicPartition;
use crate::producer_state::AppendOrigin;

/// What is needed to judge a batch.
#[derive(Debug, Clone, Copy)]
pub struct ValidationContext<'c> {
    /// Where the batch is to go; only for texts.
    pub partition: &'c TopicPartition,
    /// The topic's settings.
    pub config: &'c LogConfig,
    /// Who appends.
    pub origin: AppendOrigin,
    /// The leader's epoch.
    pub leader_epoch: i32,
    /// Wall clock, milliseconds since the epoch.
    pub now_ms: i64,
}

/// What the headers of an append say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Analysis {
    /// Bytes of complete batches.
    pub valid_bytes: usize,
    /// First offset; none for magic 0 and 1, which do not say.
    pub first_offset: Option<i64>,
    /// Last offset of the first batch.
    pub last_offset_of_first_batch: i64,
    /// Last offset, -1 without batches.
    pub last_offset: i64,
    /// Leader epoch of the last batch.
    pub last_leader_epoch: Option<i32>,
    /// Largest timestamp.
    pub max_timestamp: i64,
    /// Codec of the batches.
    pub source_codec: Codec,
}

/// A batch that may be appended once it has its offsets.
#[derive(Debug)]
pub enum ValidBatch<'a> {
    /// As it came, with a header of its own.
    AsItCame(PatchedBatch<'a>),
    /// Built anew, in another codec or with offsets that follow one another.
    Rewritten(Vec<u8>),
}

/// What became of the batch of an append.
#[derive(Debug)]
pub struct Validated<'a> {
    /// The batch.
    pub batch: ValidBatch<'a>,
    /// Offsets that it takes.
    pub record_count: i64,
    /// Largest timestamp.
    pub max_timestamp: i64,
}

/// Checks headers and checksums. O(bytes).
///
/// # Errors
/// The first batch that is broken, too large, or not what this origin may append.
pub fn analyze(records: &[u8], context: &ValidationContext<'_>) -> Result<Analysis, LogError> {
    let ValidationContext { partition, config, origin, leader_epoch, .. } = *context;
    let mut analysis = Analysis {
        valid_bytes: 0,
        first_offset: None,
        last_offset_of_first_batch: -1,
        last_offset: -1,
        last_leader_epoch: None,
        max_timestamp: NO_TIMESTAMP,
        source_codec: Codec::None,
    };
    let mut first = true;
    let mut monotonic = true;
    for batch in BatchIter::new(records) {
        let batch = batch?;
        let header = batch.header();
        if origin == AppendOrigin::RaftLeader && header.partition_leader_epoch != leader_epoch {
            return Err(LogError::InvalidRecord {
                text: format!(
                    "Append from Raft leader did not set the batch epoch correctly, expected {leader_epoch} but the \
                     batch has {}",
                    header.partition_leader_epoch
                ),
            });
        }
        if header.magic >= 2 && origin == AppendOrigin::Client && header.base_offset != 0 {
            return Err(LogError::InvalidRecord {
                text: format!(
                    "The baseOffset of the record batch in the append to {partition} should be 0, but it is {}",
                    header.base_offset
                ),
            });
        }
        // A leader that lost its place can still hand out batches of an epoch that this replica does not know yet.
        if origin == AppendOrigin::Replication && header.partition_leader_epoch > leader_epoch {
            break;
        }
        if first {
            first = false;
            if header.magic >= 2 {
                analysis.first_offset = Some(header.base_offset);
            }
            analysis.last_offset_of_first_batch = header.last_offset();
        }
        monotonic &= analysis.last_offset < header.last_offset();
        analysis.last_offset = header.last_offset();
        analysis.last_leader_epoch =
            (header.partition_leader_epoch >= 0).then_some(header.partition_leader_epoch);
        if origin != AppendOrigin::Replication && batch.size() as i64 > i64::from(config.max_message_bytes) {
            return Err(LogError::RecordTooLarge {
                text: format!(
                    "The record batch size in the append to {partition} is {} bytes which exceeds the maximum \
                     configured value of {}).",
                    batch.size(),
                    config.max_message_bytes
                ),
            });
        }
        if batch.ensure_valid().is_err() {
            return Err(LogError::CorruptRecord { stored: header.crc, partition: partition.clone() });
        }
        analysis.max_timestamp = analysis.max_timestamp.max(header.max_timestamp);
        analysis.valid_bytes += batch.size();
        let codec = header.codec()?;
        if codec != Codec::None {
            analysis.source_codec = codec;
        }
        if !assigns_offsets(origin) && !monotonic {
            return Err(LogError::OffsetsOutOfOrder { partition: partition.clone() });
        }
    }
    Ok(analysis)
}

/// Whether the log assigns the offsets of an append, as opposed to taking those that the batches have.
pub(crate) fn assigns_offsets(origin: AppendOrigin) -> bool {
    match origin {
        AppendOrigin::Client | AppendOrigin::Coordinator => true,
        AppendOrigin::RaftLeader | AppendOrigin::Replication => false,
    }
}

/// Checks the records, and sets timestamps and leader epoch in a header of its own, or builds the batch anew when its
/// codec is not that of the topic. `records` is exactly the complete batches.
///
/// # Errors
/// What Kafka refuses, with its texts.
pub fn validate_records<'a>(
    records: &'a [u8],
    source_codec: Codec,
    context: &ValidationContext<'_>,
    scratch: &mut Scratch,
) -> Result<Validated<'a>, LogError> {
    let config = context.config;
    let target = config.target_compression(source_codec);
    config.limit_decompression(scratch);

    let first = single_batch(records)?;
    let compressed = source_codec != Codec::None || target.codec != Codec::None;
    // Control records are not compressed unless they come so.
    let keep_codec =
        source_codec == target.codec || (source_codec == Codec::None && first.header().is_control());
    validate_batch(first.header(), context)?;
    let outcome = check_records(&first, context, compressed && keep_codec, scratch)?;
    let header = *first.header();
    let append_time = config.message_timestamp_type == TimestampType::LogAppendTime;

    if compressed && !(keep_codec && outcome.consecutive) {
        let options = BatchOptions {
            base_offset: 0,
            partition_leader_epoch: context.leader_epoch,
            compression: target,
            timestamp_type: config.message_timestamp_type,
            log_append_time: context.now_ms,
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            transactional: header.is_transactional(),
            control: header.is_control(),
            delete_horizon_ms: None,
        };
        let mut builder = BatchBuilder::new(options);
        for record in first.records(scratch)? {
            let record = record?;
            builder.append(record.timestamp, record.key, record.value, record.headers);
        }
        let max_timestamp = builder.max_timestamp();
        let record_count = builder.count() as i64;
        let mut rewritten = Vec::new();
        builder.write_to(&mut rewritten).map_err(|error| {
            LogError::Records(ottla_protocol::records::RecordsError::Decompression(error))
        })?;
        if rewritten.len() as i64 > i64::from(config.max_message_bytes) {
            return Err(LogError::RecordTooLarge {
                text: format!(
                    "Message batch size is {} bytes in append to partition {} which exceeds the maximum configured \
                     size of {}.",
                    rewritten.len(),
                    context.partition,
                    config.max_message_bytes
                ),
            });
        }
        return Ok(Validated { batch: ValidBatch::Rewritten(rewritten), record_count, max_timestamp });
    }

    let max_timestamp = if append_time { context.now_ms } else { outcome.max_timestamp };
    let mut batch = patched(first)?;
    batch.set_partition_leader_epoch(context.leader_epoch);
    batch.set_max_timestamp(config.message_timestamp_type, max_timestamp);
    Ok(Validated { batch: ValidBatch::AsItCame(batch), record_count: outcome.count, max_timestamp })
}

/// A batch whose header may be changed. Only magic 2 comes here: [`validate_batch`] refuses the others.
pub(crate) fn patched(batch: Batch<'_>) -> Result<PatchedBatch<'_>, LogError> {
    PatchedBatch::new(batch).ok_or_else(|| LogError::InvalidRecord {
        text: format!("Batches of magic {} cannot be changed", batch.header().magic),
    })
}

fn single_batch(records: &[u8]) -> Result<Batch<'_>, LogError> {
    let mut batches = BatchIter::new(records);
    let first = batches
        .next()
        .ok_or_else(|| LogError::InvalidRecord { text: "Record batch has no batches at all".to_owned() })??;
    match batches.next() {
        Some(Err(error)) => Err(error.into()),
        Some(Ok(_)) => Err(LogError::InvalidRecord {
            text: "Compressed outer record has more than one batch".to_owned(),
        }),
        None => Ok(first),
    }
}

fn validate_batch(header: &BatchHeader, context: &ValidationContext<'_>) -> Result<(), LogError> {
    let partition = context.partition;
    let invalid = |text: String| Err(LogError::InvalidRecord { text });
    if header.magic < 2 {
        return invalid(format!(
            "Batches of magic {} cannot be appended to topic partition {partition}",
            header.magic
        ));
    }
    if context.origin != AppendOrigin::Client {
        return Ok(());
    }
    let range = header.last_offset().wrapping_sub(header.base_offset).wrapping_add(1);
    if range <= 0 {
        return invalid(format!(
            "Batch has an invalid offset range: [{}, {}] in topic partition {partition}",
            header.base_offset,
            header.last_offset()
        ));
    }
    let count = i64::from(header.records_count);
    if count <= 0 {
        return invalid(format!(
            "Invalid reported count for record batch: {count} in topic partition {partition}"
        ));
    }
    if range != count {
        return invalid(format!(
            "Inconsistent batch offset range [{}, {}] and count of records {count} in topic partition {partition}",
            header.base_offset,
            header.last_offset()
        ));
    }
    if header.is_control() {
        return invalid(format!(
            "Clients are not allowed to write control records in topic partition {partition}"
        ));
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        return invalid(format!(
            "Invalid sequence number {} in record batch with producerId {} in topic partition {partition}",
            header.base_sequence, header.producer_id
        ));
    }
    Ok(())
}

struct Outcome {
    count: i64,
    max_timestamp: i64,
    /// Whether the offsets of the records follow one another from the base offset on.
    consecutive: bool,
}

fn check_records(
    batch: &Batch<'_>,
    context: &ValidationContext<'_>,
    partial: bool,
    scratch: &mut Scratch,
) -> Result<Outcome, LogError> {
    let header = batch.header();
    let mut outcome = Outcome { count: 0, max_timestamp: NO_TIMESTAMP, consecutive: true };
    let mut errors = Vec::new();
    let mut timestamps_wrong = false;
    batch.each_record(scratch, |record| -> Result<(), LogError> {
        match check_record(&record, header, outcome.count as i32, context, partial) {
            None => {}
            Some((is_timestamp, error)) => {
                timestamps_wrong |= is_timestamp;
                errors.push(error);
            }
        }
        outcome.consecutive &= record.offset == header.base_offset.wrapping_add(outcome.count);
        outcome.max_timestamp = outcome.max_timestamp.max(record.timestamp);
        outcome.count += 1;
        Ok(())
    })?;
    if errors.is_empty() {
        Ok(outcome)
    } else if timestamps_wrong {
        Err(LogError::InvalidTimestamp { errors })
    } else {
        Err(LogError::RecordsRejected { errors })
    }
}

/// What is wrong with a record, and whether it is its timestamp.
fn check_record(
    record: &Record<'_>,
    header: &BatchHeader,
    batch_index: i32,
    context: &ValidationContext<'_>,
    partial: bool,
) -> Option<(bool, RecordError)> {
    let config = context.config;
    if config.cleanup_policy.compact && record.key.is_none() {
        let message = format!(
            "Compacted topic cannot accept message without key in topic partition {}",
            context.partition
        );
        return Some((false, RecordError { batch_index, message }));
    }
    if config.message_timestamp_type == TimestampType::CreateTime && record.timestamp != NO_TIMESTAMP {
        let before = config.message_timestamp_before_max_ms;
        let after = config.message_timestamp_after_max_ms;
        let age = context.now_ms.wrapping_sub(record.timestamp);
        if age > before || age.wrapping_neg() > after {
            let message = format!(
                "Timestamp {} of message with offset {} is out of range. The timestamp should be within [{}, {}]",
                record.timestamp,
                record.offset,
                context.now_ms.wrapping_sub(before),
                context.now_ms.wrapping_add(after)
            );
            return Some((true, RecordError { batch_index, message }));
        }
    } else if header.timestamp_type() == TimestampType::LogAppendTime {
        let size =
            |bytes: Option<&[u8]>| bytes.map_or(if partial { -1 } else { 0 }, |bytes| bytes.len() as i64);
        let name = if partial && header.is_compressed() { "PartialDefaultRecord" } else { "DefaultRecord" };
        let message = format!(
            "Invalid timestamp type in message {name}(offset={}, timestamp={}, key={} bytes, value={} bytes). \
             Producer should not set timestamp type to LogAppendTime.",
            record.offset,
            record.timestamp,
            size(record.key),
            size(record.value)
        );
        return Some((true, RecordError { batch_index, message }));
    }
    None
}
