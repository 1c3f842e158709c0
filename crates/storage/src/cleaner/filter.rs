//! HOT: what stays of a batch, and how it is written. Nothing is allocated per record.
//!
//! Source: Kafka `Cleaner.cleanInto`, `MemoryRecords.filterTo`; KIP-534.

use std::collections::HashMap;

use ottla_protocol::compression::{Codec, Compression, compress};
use ottla_protocol::records::{
    Attributes, Batch, BatchBuilder, BatchOptions, Record, Scratch, TimestampType, empty_batch, layout,
    patch, put_varint, put_varlong, varint_size, varlong_size,
};

use super::error::CorruptBatch;
use super::offset_map::OffsetMap;
use super::stats::CleanerStats;
use super::transactions::{CleanedTransactions, MarkerFate};
use crate::index::AbortedTxn;
use crate::producer_state::LastRecord;

/// Attributes of a record that this version writes: none.
const RECORD_ATTRIBUTES: u8 = 0;

/// What is the same for all batches of a segment.
#[derive(Debug)]
pub(super) struct Filter<'c> {
    pub(super) map: &'c OffsetMap,
    pub(super) producers: &'c HashMap<i64, LastRecord>,
    pub(super) now_ms: i64,
    pub(super) delete_retention_ms: i64,
    pub(super) high_watermark: i64,
    /// Whether tombstones of magic 0 and 1 stay, which have no delete horizon.
    pub(super) retain_legacy_deletes: bool,
}

/// What is reused from batch to batch.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub(super) scratch: Scratch,
    /// Records that are kept of a batch, not compressed.
    records: Vec<u8>,
}

impl Buffers {
    /// Gives back what a large batch has taken.
    pub(super) fn trim(&mut self, keep_bytes: usize) {
        self.scratch.trim();
        if self.records.capacity() > keep_bytes {
            self.records = Vec::new();
        }
    }
}

/// What a pass over the records of a batch found.
#[derive(Debug, Clone, Copy)]
struct Pass {
    read: u64,
    kept: u32,
    tombstones: bool,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl Filter<'_> {
    /// Appends what is kept of `batch` to `out`: the batch as it is, a smaller one, one without records, or nothing.
    /// Returns the entry of the transaction index that goes with it.
    pub(super) fn apply(
        &self,
        batch: &Batch<'_>,
        transactions: &mut CleanedTransactions,
        buffers: &mut Buffers,
        out: &mut Vec<u8>,
        stats: &mut CleanerStats,
    ) -> Result<Option<AbortedTxn>, CorruptBatch> {
        let header = batch.header();
        let control = header.is_control();
        let fate = if control {
            transactions.on_control_batch(batch, &mut buffers.scratch)?
        } else {
            MarkerFate { can_discard: transactions.on_batch(header), aborted: None }
        };
        let horizon = header.delete_horizon_ms();
        // A marker is kept for a while after the last of its data went, as a tombstone is: a consumer that is in the
        // midst of the transaction has to see its end.
        let discard = fate.can_discard && (!control || horizon.is_some_and(|horizon| horizon <= self.now_ms));
        // The last batch of a producer that is active keeps its sequence, and the last one below the high watermark
        // its offset. They stay, if need be without records.
        let retain_empty = header.magic >= 2
            && ((header.has_producer_id() && self.is_last_of_producer(batch))
                || header.next_offset() == self.high_watermark);
        let start = out.len();
        if !discard {
            self.copy_kept(batch, control, fate.can_discard && control, buffers, out, stats)?;
        } else if retain_empty {
            stats.messages_read += u64::from(header.records_count.max(0) as u32);
        }
        if out.len() == start && retain_empty {
            let options = BatchOptions {
                base_offset: header.base_offset,
                partition_leader_epoch: header.partition_leader_epoch,
                timestamp_type: header.timestamp_type(),
                log_append_time: header.max_timestamp,
                producer_id: header.producer_id,
                producer_epoch: header.producer_epoch,
                base_sequence: header.base_sequence,
                transactional: header.is_transactional(),
                control,
                ..BatchOptions::default()
            };
            out.extend_from_slice(&empty_batch(&options, header.last_offset(), header.max_timestamp));
        }
        stats.bytes_read += batch.size() as u64;
        stats.bytes_written += (out.len() - start) as u64;
        Ok(fate.aborted)
    }

    fn is_last_of_producer(&self, batch: &Batch<'_>) -> bool {
        let header = batch.header();
        self.producers.get(&header.producer_id).is_some_and(|last| match last.last_data_offset {
            Some(offset) => header.last_offset() == offset,
            None => header.is_control() && header.producer_epoch == last.producer_epoch,
        })
    }

    /// Appends the kept records of a batch as a batch. `set_horizon` says that it is a marker without data.
    fn copy_kept(
        &self,
        batch: &Batch<'_>,
        control: bool,
        set_horizon: bool,
        buffers: &mut Buffers,
        out: &mut Vec<u8>,
        stats: &mut CleanerStats,
    ) -> Result<(), CorruptBatch> {
        let header = batch.header();
        if header.magic < 2 {
            return self.convert_kept(batch, buffers, out, stats);
        }
        let horizon = header.delete_horizon_ms();
        let mut invalid = 0;
        let mut pass = self.pass(batch, control, horizon, buffers, &mut invalid)?;
        stats.messages_read += pass.read;
        stats.messages_written += u64::from(pass.kept);
        stats.invalid_messages_read += invalid;
        if pass.kept == 0 {
            return Ok(());
        }
        let new_horizon = (pass.tombstones || set_horizon) && horizon.is_none();
        if u64::from(pass.kept) == pass.read && !new_horizon {
            out.extend_from_slice(batch.bytes());
            return Ok(());
        }
        if new_horizon {
            let horizon = self.now_ms.saturating_add(self.delete_retention_ms);
            // Timestamps are relative to what the horizon takes the place of.
            pass = self.pass(batch, control, Some(horizon), buffers, &mut invalid)?;
        }
        let start = out.len();
        out.extend_from_slice(&batch.bytes()[..layout::RECORD_BATCH_OVERHEAD]);
        match header.codec()? {
            Codec::None => out.extend_from_slice(&buffers.records),
            codec => compress(Compression::of(codec), &buffers.records, out)
                .map_err(|error| CorruptBatch::Compression { text: error.to_string() })?,
        }
        let written = &mut out[start..];
        let mut attributes = header.attributes.0;
        if new_horizon {
            attributes |= Attributes::DELETE_HORIZON;
        }
        let length = (written.len() - layout::LOG_OVERHEAD) as i32;
        let mut put = |at: usize, bytes: &[u8]| written[at..at + bytes.len()].copy_from_slice(bytes);
        put(layout::LENGTH, &length.to_be_bytes());
        put(layout::ATTRIBUTES, &[0, attributes]);
        put(layout::BASE_TIMESTAMP, &pass.base_timestamp.to_be_bytes());
        if header.timestamp_type() != TimestampType::LogAppendTime {
            put(layout::MAX_TIMESTAMP, &pass.max_timestamp.to_be_bytes());
        }
        put(layout::RECORDS_COUNT, &(pass.kept as i32).to_be_bytes());
        patch::refresh_crc(written);
        Ok(())
    }

    /// Writes the kept records of a batch into the buffer, relative to `horizon` or else to the first of them.
    fn pass(
        &self,
        batch: &Batch<'_>,
        control: bool,
        horizon: Option<i64>,
        buffers: &mut Buffers,
        invalid: &mut u64,
    ) -> Result<Pass, CorruptBatch> {
        let header = batch.header();
        let Buffers { scratch, records } = buffers;
        records.clear();
        let mut pass = Pass {
            read: 0,
            kept: 0,
            tombstones: false,
            base_timestamp: horizon.unwrap_or(header.base_timestamp),
            max_timestamp: i64::MIN,
        };
        let old_horizon = header.delete_horizon_ms();
        for record in batch.records(scratch)? {
            let record = record?;
            pass.read += 1;
            if !control && !self.keeps(&record, old_horizon, invalid) {
                continue;
            }
            if pass.kept == 0 && horizon.is_none() {
                pass.base_timestamp = record.timestamp;
            }
            pass.kept += 1;
            pass.tombstones |= record.value.is_none();
            pass.max_timestamp = pass.max_timestamp.max(record.timestamp);
            let timestamp_delta = record.timestamp.wrapping_sub(pass.base_timestamp);
            let offset_delta = record.offset.wrapping_sub(header.base_offset) as i32;
            put_record(records, &record, timestamp_delta, offset_delta);
        }
        Ok(pass)
    }

    fn keeps(&self, record: &Record<'_>, horizon: Option<i64>, invalid: &mut u64) -> bool {
        if record.offset > self.map.latest_offset() {
            return true;
        }
        let Some(key) = record.key else {
            *invalid += 1;
            return false;
        };
        record.offset >= self.map.get(key)
            && (record.value.is_some() || horizon.is_none_or(|horizon| self.now_ms < horizon))
    }

    /// A batch of magic 0 or 1: what is kept is written as magic 2.
    fn convert_kept(
        &self,
        batch: &Batch<'_>,
        buffers: &mut Buffers,
        out: &mut Vec<u8>,
        stats: &mut CleanerStats,
    ) -> Result<(), CorruptBatch> {
        let header = batch.header();
        let timestamp_type = match header.timestamp_type() {
            TimestampType::LogAppendTime => TimestampType::LogAppendTime,
            TimestampType::NoTimestampType | TimestampType::CreateTime => TimestampType::CreateTime,
        };
        let compression = Compression::of(header.codec()?);
        // Messages of these formats that have no horizon yet get one when they are converted.
        let expired = (!self.retain_legacy_deletes).then_some(i64::MIN);
        let mut invalid = 0;
        let mut tombstones = false;
        for record in batch.records(&mut buffers.scratch)? {
            let record = record?;
            stats.messages_read += 1;
            tombstones |= record.value.is_none() && self.keeps(&record, expired, &mut invalid);
        }
        let mut builder: Option<(i64, BatchBuilder)> = None;
        for record in batch.records(&mut buffers.scratch)? {
            let record = record?;
            if !self.keeps(&record, expired, &mut stats.invalid_messages_read) {
                continue;
            }
            stats.messages_written += 1;
            let (base_offset, builder) = builder.get_or_insert_with(|| {
                let options = BatchOptions {
                    base_offset: record.offset,
                    partition_leader_epoch: header.partition_leader_epoch,
                    compression,
                    timestamp_type,
                    log_append_time: header.max_timestamp,
                    delete_horizon_ms: tombstones
                        .then(|| self.now_ms.saturating_add(self.delete_retention_ms)),
                    ..BatchOptions::default()
                };
                (record.offset, BatchBuilder::new(options))
            });
            let delta = record.offset.wrapping_sub(*base_offset) as i32;
            builder.append_at_delta(delta, record.timestamp, record.key, record.value, record.headers);
        }
        match builder {
            Some((_, builder)) => {
                builder.write_to(out).map_err(|error| CorruptBatch::Compression { text: error.to_string() })
            }
            None => Ok(()),
        }
    }
}

fn bytes_size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint_size(bytes.len() as i32) + bytes.len())
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, bytes.len() as i32);
            out.extend_from_slice(bytes);
        }
    }
}

fn put_record(out: &mut Vec<u8>, record: &Record<'_>, timestamp_delta: i64, offset_delta: i32) {
    let headers = record.headers.len() as i32;
    let size = 1
        + varlong_size(timestamp_delta)
        + varint_size(offset_delta)
        + bytes_size(record.key)
        + bytes_size(record.value)
        + varint_size(headers)
        + record.headers.raw().len();
    put_varint(out, size as i32);
    out.push(RECORD_ATTRIBUTES);
    put_varlong(out, timestamp_delta);
    put_varint(out, offset_delta);
    put_bytes(out, record.key);
    put_bytes(out, record.value);
    put_varint(out, headers);
    out.extend_from_slice(record.headers.raw());
}
