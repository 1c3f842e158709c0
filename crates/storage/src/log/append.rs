//! HOT: appending. Checks run before the lock; under it: producer state, and one `pwritev` of a
//! header of our own and the records where the request has them.

use std::sync::atomic::Ordering;

use ottla_protocol::records::patch::PatchedBatch;
use ottla_protocol::records::{Batch, BatchIter, NO_TIMESTAMP, TimestampType};

use super::{Log, LogOffsetMetadata, Writer, with_scratch};
use crate::error::LogError;
use crate::mutation::{self, Mutation};
use crate::producer_state::{
    AppendOrigin, BatchMetadata, CompletedTxn, ProducerAppend, TRANSACTION_VERSION_UNKNOWN, VerificationGuard,
};
use crate::segment::RollParams;
use crate::validation::{
    Analysis, ValidBatch, ValidationContext, analyze, assigns_offsets, patched, validate_records,
};

/// After so many bytes the device is told to begin writing them.
const WRITEBACK_BYTES: u64 = 1 << 20;

/// What an append is told besides its batches.
#[derive(Debug, Clone, Copy)]
pub struct AppendOptions {
    /// Who appends.
    pub origin: AppendOrigin,
    /// The leader's epoch, which batches are stamped with.
    pub leader_epoch: i32,
    /// Wall clock, milliseconds since the epoch.
    pub now_ms: i64,
    /// Proof that a transactional batch may start a transaction here.
    pub verification_guard: VerificationGuard,
    /// Transaction version of a marker (KIP-890), [`TRANSACTION_VERSION_UNKNOWN`] for everything else.
    pub transaction_version: i16,
    /// Whether the caller waits for [`crate::dirs::Committer`] where `flush.messages` asks for a sync. Otherwise the append
    /// itself syncs before it returns.
    pub defer_commit: bool,
}

impl AppendOptions {
    /// An append without a verification and that is no marker.
    pub const fn new(origin: AppendOrigin, leader_epoch: i32, now_ms: i64) -> Self {
        AppendOptions {
            origin,
            leader_epoch,
            now_ms,
            verification_guard: VerificationGuard::SENTINEL,
            transaction_version: TRANSACTION_VERSION_UNKNOWN,
            defer_commit: false,
        }
    }
}

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendInfo {
    /// Offset of the first record; of a duplicate, the one that it has in the log. -1 without batches.
    pub first_offset: i64,
    /// Offset of the last record, -1 without batches.
    pub last_offset: i64,
    /// Largest timestamp.
    pub max_timestamp: i64,
    /// The time of append when the topic's timestamps are the broker's, or else -1; of a duplicate, its timestamp.
    pub log_append_time: i64,
    /// First offset of the log.
    pub log_start_offset: i64,
    /// Leader epoch of the last batch.
    pub last_leader_epoch: Option<i32>,
    /// Whether the batch was in the log already, so that nothing was appended.
    pub duplicate: bool,
    /// Bytes that were appended.
    pub size: usize,
    /// Number of records, as far as offsets tell.
    pub record_count: i64,
    /// Whether a segment was closed, which [`Log::maintain`] then makes durable.
    pub rolled: bool,
    /// Whether the records must be made durable, by [`crate::dirs::Committer::submit`], before they are acknowledged or seen
    /// by a reader. Only where [`AppendOptions::defer_commit`] was set.
    pub commit_due: bool,
    /// Whether more bytes than the limit are not durable, so that the log should be submitted without anybody waiting.
    pub flush_due: bool,
    /// Whether [`Log::start_writeback`] should be called, by [`crate::dirs::Committer::submit_writeback`].
    pub writeback_due: bool,
}

/// The batches of an append.
#[derive(Clone, Copy)]
pub(crate) enum Incoming<'a> {
    /// Batches that have their offsets.
    AsTheyAre(&'a [u8]),
    /// The batch of a producer or coordinator, with the header that it gets here.
    Patched(&'a PatchedBatch<'a>),
}

impl<'a> Incoming<'a> {
    /// The batches. Only headers and records are to be looked at.
    pub(crate) fn batches(self) -> impl Iterator<Item = Batch<'a>> {
        let (several, one) = match self {
            Incoming::AsTheyAre(bytes) => (bytes, None),
            Incoming::Patched(batch) => (&[][..], batch.batch().ok()),
        };
        one.into_iter().chain(BatchIter::new(several).flatten())
    }

    /// What is to be written, one behind the other.
    pub(crate) fn parts(self) -> [&'a [u8]; 2] {
        match self {
            Incoming::AsTheyAre(bytes) => [bytes, &[]],
            Incoming::Patched(batch) => batch.parts(),
        }
    }

    pub(crate) fn len(self) -> usize {
        self.parts().iter().map(|part| part.len()).sum()
    }
}

struct ProducerOutcome {
    updated: Vec<ProducerAppend>,
    completed: Vec<CompletedTxn>,
    duplicate: Option<BatchMetadata>,
}

impl Log {
    /// Appends as the leader of the partition, assigning offsets (a raft leader has assigned them before).
    ///
    /// It is complete when this returns: readers see the records up to the high watermark, which the caller moves.
    ///
    /// # Errors
    /// What Kafka refuses, with its codes and texts; the disk.
    pub fn append_as_leader(&self, records: &[u8], options: &AppendOptions) -> Result<AppendInfo, LogError> {
        self.check_open()?;
        let config = self.config.load();
        let context = ValidationContext {
            partition: &self.partition,
            config: &config,
            origin: options.origin,
            leader_epoch: options.leader_epoch,
            now_ms: options.now_ms,
        };
        let mut analysis = analyze(records, &context)?;
        if analysis.valid_bytes == 0 {
            return Ok(self.nothing_appended(&analysis));
        }
        let Some(records) = records.get(..analysis.valid_bytes) else {
            return Ok(self.nothing_appended(&analysis));
        };
        if !assigns_offsets(options.origin) {
            let mut writer = self.writer();
            return self.append_locked(&mut writer, Incoming::AsTheyAre(records), &analysis, options);
        }
        let validated =
            with_scratch(|scratch| validate_records(records, analysis.source_codec, &context, scratch))?;
        analysis.max_timestamp = validated.max_timestamp;
        let batch = match &validated.batch {
            ValidBatch::AsItCame(batch) => *batch,
            ValidBatch::Rewritten(bytes) => patched(Batch::parse(bytes)?)?,
        };
        self.append_batch(batch, analysis, options, validated.record_count)
    }

    /// Appends what a leader has: offsets and epochs are those of the batches. Batches of an epoch above
    /// `leader_epoch`, and an incomplete one at the end, are left out.
    ///
    /// # Errors
    /// [`LogError::UnexpectedAppendOffset`] for offsets below the log's end; broken batches; the disk.
    pub fn append_as_follower(
        &self,
        records: &[u8],
        leader_epoch: i32,
        now_ms: i64,
    ) -> Result<AppendInfo, LogError> {
        self.check_open()?;
        let config = self.config.load();
        let options = AppendOptions::new(AppendOrigin::Replication, leader_epoch, now_ms);
        let context = ValidationContext {
            partition: &self.partition,
            config: &config,
            origin: options.origin,
            leader_epoch,
            now_ms,
        };
        let analysis = analyze(records, &context)?;
        match records.get(..analysis.valid_bytes) {
            Some(records) if !records.is_empty() => {
                let mut writer = self.writer();
                self.append_locked(&mut writer, Incoming::AsTheyAre(records), &analysis, &options)
            }
            _ => Ok(self.nothing_appended(&analysis)),
        }
    }

    fn nothing_appended(&self, analysis: &Analysis) -> AppendInfo {
        AppendInfo {
            first_offset: -1,
            last_offset: -1,
            max_timestamp: analysis.max_timestamp,
            log_append_time: NO_TIMESTAMP,
            log_start_offset: self.log_start_offset(),
            last_leader_epoch: None,
            duplicate: false,
            size: 0,
            record_count: 0,
            rolled: false,
            commit_due: false,
            flush_due: false,
            writeback_due: false,
        }
    }

    /// Takes the lock, assigns `record_count` offsets, and appends.
    fn append_batch(
        &self,
        mut batch: PatchedBatch<'_>,
        mut analysis: Analysis,
        options: &AppendOptions,
        record_count: i64,
    ) -> Result<AppendInfo, LogError> {
        let last_offset_delta = batch.batch()?.header().last_offset_delta;
        let mut writer = self.writer();
        let first = self.log_end_offset();
        // The last offset is assigned and the first follows from it, as Kafka does: the two differ for batches
        // whose records do not fill the offsets that they claim.
        batch.set_base_offset(first + record_count - 1 - i64::from(last_offset_delta));
        analysis.first_offset = Some(first);
        analysis.last_offset = first + record_count - 1;
        analysis.last_leader_epoch = Some(options.leader_epoch);
        self.append_locked(&mut writer, Incoming::Patched(&batch), &analysis, options)
    }

    fn append_locked(
        &self,
        writer: &mut Writer,
        records: Incoming<'_>,
        analysis: &Analysis,
        options: &AppendOptions,
    ) -> Result<AppendInfo, LogError> {
        self.append_checked(writer, records, analysis, options).inspect_err(|_| {
            // Epochs that were noted for later batches of the append start behind the end. The file is put right
            // with the next epoch, or at the next start.
            self.epochs_mut().forget_from(self.log_end_offset() + 1);
        })
    }

    fn append_checked(
        &self,
        writer: &mut Writer,
        records: Incoming<'_>,
        analysis: &Analysis,
        options: &AppendOptions,
    ) -> Result<AppendInfo, LogError> {
        self.check_open()?;
        let config = self.config.load();
        let log_end_offset = self.log_end_offset();
        let first_or_last = analysis.first_offset.unwrap_or(analysis.last_offset_of_first_batch);
        if !assigns_offsets(options.origin) && first_or_last < log_end_offset {
            return Err(self.unexpected_offset(records, analysis, first_or_last));
        }
        self.note_epochs(records)?;
        if options.origin != AppendOrigin::Replication && records.len() > config.segment_bytes as usize {
            return Err(LogError::RecordBatchTooLarge {
                text: format!(
                    "Message batch size is {} bytes in append to partition {}, which exceeds the maximum configured \
                     segment size of {}.",
                    records.len(),
                    self.partition,
                    config.segment_bytes
                ),
            });
        }
        let params = RollParams {
            max_timestamp: analysis.max_timestamp,
            max_offset: analysis.last_offset,
            size: records.len(),
            now_ms: options.now_ms,
        };
        let write_error = |error| self.read_error("Error while appending records", error);
        let mut segment = self.active_segment();
        let rolled = segment.should_roll(&config, &params).map_err(write_error)?;
        if rolled {
            // Magic 0 and 1 do not say their first offset; this is certainly not above it.
            let roll_offset = analysis.first_offset.unwrap_or(analysis.last_offset - i64::from(i32::MAX));
            segment = self.roll_locked(writer, Some(roll_offset), options.now_ms)?;
        }
        let log_append_time = if assigns_offsets(options.origin)
            && config.message_timestamp_type == TimestampType::LogAppendTime
        {
            options.now_ms
        } else {
            NO_TIMESTAMP
        };
        let mut info = AppendInfo {
            first_offset: first_or_last,
            last_offset: analysis.last_offset,
            max_timestamp: analysis.max_timestamp,
            log_append_time,
            log_start_offset: self.log_start_offset(),
            last_leader_epoch: analysis.last_leader_epoch,
            duplicate: false,
            size: records.len(),
            record_count: analysis.last_offset - first_or_last + 1,
            rolled,
            commit_due: false,
            flush_due: false,
            writeback_due: false,
        };

        let start = LogOffsetMetadata {
            offset: first_or_last,
            segment_base_offset: segment.base_offset(),
            position: segment.size() as i64,
        };
        let outcome = self.check_producers(writer, records, start, options)?;
        if let Some(duplicate) = outcome.duplicate {
            info.first_offset = duplicate.first_offset();
            info.last_offset = duplicate.last_offset;
            info.log_append_time = duplicate.timestamp;
            info.duplicate = true;
            info.size = 0;
            info.record_count = 0;
            // The first attempt may still be waiting to be durable.
            if config.flush_messages == 1 && self.recovery_point() <= duplicate.last_offset {
                info.commit_due = self.commit(options)?;
            }
            return Ok(info);
        }

        segment.append(records, &config).map_err(write_error)?;
        self.publish_end(analysis.last_offset + 1);
        for producer in &outcome.updated {
            writer.producers.update(producer);
        }
        for completed in &outcome.completed {
            let last_stable_offset = writer.producers.last_stable_offset(completed);
            if completed.aborted {
                let entry = crate::index::AbortedTxn {
                    producer_id: completed.producer_id,
                    first_offset: completed.first_offset,
                    last_offset: completed.last_offset,
                    last_stable_offset,
                };
                segment.txn_index.append(entry).map_err(write_error)?;
            }
            writer.producers.complete(completed);
        }
        writer.producers.set_map_end_offset(analysis.last_offset + 1);
        self.publish_last_stable_offset(writer);

        let appended = self.appended_bytes.load(Ordering::Relaxed) + records.len() as u64;
        self.appended_bytes.store(appended, Ordering::Release);
        let unflushed = self.log_end_offset() - self.recovery_point.load(Ordering::Acquire);
        if unflushed >= config.flush_messages && !mutation::on(Mutation::AckBeforeFsync) {
            info.commit_due = self.commit(options)?;
        } else if appended - self.flushed_bytes.load(Ordering::Relaxed) > self.dir_state.max_unflushed_bytes()
        {
            info.flush_due = !self.flush_asked.swap(true, Ordering::Relaxed);
        } else if appended - self.writeback_bytes.load(Ordering::Relaxed) >= WRITEBACK_BYTES {
            self.writeback_bytes.store(appended, Ordering::Relaxed);
            info.writeback_due = true;
        }
        Ok(info)
    }

    /// Makes the log durable, or leaves it to a caller who waits for the commit thread. Returns whether it does.
    fn commit(&self, options: &AppendOptions) -> Result<bool, LogError> {
        if options.defer_commit && self.dir_state.committer().is_running() {
            return Ok(true);
        }
        self.flush(options.now_ms)?;
        Ok(false)
    }

    fn unexpected_offset(&self, records: Incoming<'_>, analysis: &Analysis, first_or_last: i64) -> LogError {
        let first_offset = analysis.first_offset.unwrap_or(first_or_last);
        let name =
            if analysis.first_offset.is_some() { "First offset" } else { "Last offset of the first batch" };
        let mut offsets = Vec::new();
        for batch in records.batches() {
            with_scratch(|scratch| {
                if let Ok(found) = batch.records(scratch) {
                    let wanted = 10usize.saturating_sub(offsets.len());
                    offsets.extend(found.flatten().take(wanted).map(|record| record.offset.to_string()));
                }
            });
            if offsets.len() >= 10 {
                break;
            }
        }
        LogError::UnexpectedAppendOffset {
            text: format!(
                "Unexpected offset in append to {}. {name} {first_or_last} is less than the next offset {}. First 10 \
                 offsets in append: {}, last offset in append: {}. Log start offset = {}",
                self.partition,
                self.log_end_offset(),
                offsets.join(", "),
                analysis.last_offset,
                self.log_start_offset()
            ),
            first_offset,
            last_offset: analysis.last_offset,
        }
    }

    /// Notes where new leader epochs start. A flush makes them durable before it makes their records durable.
    fn note_epochs(&self, records: Incoming<'_>) -> Result<(), LogError> {
        for batch in records.batches() {
            let header = batch.header();
            let result = if header.magic < 2 {
                if self.epochs().entries().is_empty() { Ok(()) } else { self.epochs_mut().clear() }
            } else if self.epochs().needs(header.partition_leader_epoch, header.base_offset) {
                self.epochs_mut().assign(header.partition_leader_epoch, header.base_offset);
                Ok(())
            } else {
                Ok(())
            };
            result.map_err(|error| self.storage_error("Error while appending records", error))?;
        }
        Ok(())
    }

    fn check_producers(
        &self,
        writer: &mut Writer,
        records: Incoming<'_>,
        start: LogOffsetMetadata,
        options: &AppendOptions,
    ) -> Result<ProducerOutcome, LogError> {
        let mut outcome = ProducerOutcome { updated: Vec::new(), completed: Vec::new(), duplicate: None };
        let mut position = start.position;
        for batch in records.batches() {
            let header = batch.header();
            if !header.has_producer_id() {
                position += batch.size() as i64;
                continue;
            }
            let (id, epoch) = (header.producer_id, header.producer_epoch);
            if options.origin == AppendOrigin::Client
                && let Some(entry) = writer.producers.entry(id)
                && let Some(duplicate) =
                    entry.find_duplicate(epoch, header.base_sequence, header.last_sequence())
            {
                outcome.duplicate = Some(duplicate);
                return Ok(outcome);
            }
            let verified = matches!(options.origin, AppendOrigin::Client | AppendOrigin::Coordinator);
            if verified && header.is_transactional() && !writer.producers.has_ongoing(id, epoch) {
                self.check_verification(writer, &batch, options.verification_guard)?;
            }
            let first_offset = LogOffsetMetadata { offset: header.base_offset, position, ..start };
            let index = match outcome.updated.iter().position(|producer| producer.producer_id == id) {
                Some(index) => index,
                None => {
                    outcome.updated.push(writer.producers.prepare(id, options.origin));
                    outcome.updated.len() - 1
                }
            };
            let producer = &mut outcome.updated[index];
            let version = options.transaction_version;
            let completed = with_scratch(|scratch| {
                producer.append(&batch, first_offset, version, &self.partition, scratch)
            })?;
            outcome.completed.extend(completed);
            if header.is_transactional() {
                writer.producers.clear_verification(id);
            }
            position += batch.size() as i64;
        }
        Ok(outcome)
    }

    fn check_verification(
        &self,
        writer: &Writer,
        batch: &Batch<'_>,
        guard: VerificationGuard,
    ) -> Result<(), LogError> {
        let header = batch.header();
        self.check_stale_epoch(writer, header.producer_id, header.producer_epoch)?;
        let expected = writer.producers.verification(header.producer_id).map(|known| known.guard);
        let verified = guard != VerificationGuard::SENTINEL && expected == Some(guard);
        if self.transaction_verification.load(Ordering::Relaxed) && !header.is_control() && !verified {
            return Err(LogError::InvalidTxnState {
                text: "Record was not part of an ongoing transaction".to_owned(),
            });
        }
        Ok(())
    }
}
