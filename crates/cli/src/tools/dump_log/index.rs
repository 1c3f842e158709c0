//! `.index`, `.timeindex`, `.txnindex` and `.snapshot`.

use std::io::{self, Write};
use std::path::Path;

use ottla_protocol::records::{NO_TIMESTAMP, Scratch};
use ottla_storage::producer_state::{SnapshotError, parse_snapshot};

use super::line::{Line, Lines};
use super::log::LogFile;
use super::{Findings, absolute, failed, offset_of_name, optional_long, warn};
use crate::error::{ToolError, ToolResult};

const OFFSET_ENTRY: usize = 8;
const TIME_ENTRY: usize = 12;
const ABORTED_ENTRY: usize = 34;
/// Indexes, snapshots: no broker writes larger ones (`segment.index.bytes` is an int).
const MAX_FILE_BYTES: u64 = 1 << 31;

/// What is done with indexes.
#[derive(Debug)]
pub struct IndexOptions {
    pub sanity_only: bool,
    pub verify_only: bool,
    pub max_message_size: i32,
}

fn read(path: &Path) -> Result<Vec<u8>, ToolError> {
    let length = std::fs::metadata(path)
        .map_err(|_| ToolError::message(format!("{} (No such file or directory)", path.display())))?
        .len();
    if length > MAX_FILE_BYTES {
        return Err(failed(path.display(), "too large"));
    }
    std::fs::read(path).map_err(|e| failed(path.display(), e))
}

fn int32(bytes: &[u8], at: usize) -> i32 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |raw| i32::from_be_bytes(*raw))
}

fn int64(bytes: &[u8], at: usize) -> i64 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |raw| i64::from_be_bytes(*raw))
}

/// Offset and position of the entries.
fn offset_entries(bytes: &[u8], base: i64) -> Vec<(i64, i32)> {
    let entries = bytes.as_chunks::<OFFSET_ENTRY>().0;
    entries.iter().map(|e| (base.wrapping_add(int32(e, 0).into()), int32(e, 4))).collect()
}

/// Timestamp and offset of the entries.
fn time_entries(bytes: &[u8], base: i64) -> Vec<(i64, i64)> {
    let entries = bytes.as_chunks::<TIME_ENTRY>().0;
    entries.iter().map(|e| (int64(e, 0), base.wrapping_add(int32(e, 8).into()))).collect()
}

fn told(error: io::Error) -> ToolError {
    failed("standard output", error)
}

pub fn dump_offset_index(
    path: &Path,
    options: &IndexOptions,
    findings: &mut Findings,
    out: &mut Lines<'_>,
) -> ToolResult {
    let base = offset_of_name(path)?;
    let mut log = LogFile::open(&path.with_extension("log"))?;
    let bytes = read(path)?;
    let entries = offset_entries(&bytes, base);
    let Some(last) = entries.last() else {
        let text = format!("{} is empty.", path.display());
        out.print(Line::said("empty", text).field("file", path.display().to_string())).map_err(told)?;
        return Ok(());
    };
    if options.sanity_only {
        let file = absolute(path);
        if last.0 < base {
            return Err(ToolError::message(format!(
                "Corrupt index found, index file {file} has non-zero size but the last offset is {} which is \
                 less than the base offset {base}",
                last.0
            )));
        }
        if !bytes.len().is_multiple_of(OFFSET_ENTRY) {
            return Err(ToolError::message(format!(
                "Index file {file} is corrupt, found {} bytes which is neither positive nor a multiple of \
                 {OFFSET_ENTRY}",
                bytes.len()
            )));
        }
        let text = format!("{} passed sanity check.", path.display());
        out.print(Line::said("sane", text).field("file", path.display().to_string())).map_err(told)?;
        return Ok(());
    }
    for (at, (offset, position)) in entries.into_iter().enumerate() {
        // The rest of an index that was not closed is zeros.
        if offset == base && at > 0 {
            return Ok(());
        }
        let start = u64::try_from(position).map_err(|_| {
            ToolError::message(format!("Invalid position: {position} in read from {}", path.display()))
        })?;
        if start > log.len() {
            return Err(ToolError::message(format!(
                "Slice from position {position} exceeds end position of {}",
                path.display()
            )));
        }
        let end = start.saturating_add(u64::try_from(options.max_message_size).unwrap_or(0));
        let found = log.batch_at(start, end)?.map(|batch| batch.header().last_offset());
        let found = found
            .ok_or_else(|| failed(path.display(), format!("no batch at position {position} of the log")))?;
        if found != offset {
            findings.index_mismatches.entry(absolute(path)).or_default().insert(offset, found);
        }
        if !options.verify_only {
            let line = Line::new("offsetIndexEntry").fact("offset", offset).fact("position", position);
            out.print(line).map_err(told)?;
        }
    }
    Ok(())
}

pub fn dump_time_index(
    path: &Path,
    options: &IndexOptions,
    findings: &mut Findings,
    out: &mut Lines<'_>,
) -> ToolResult {
    let base = offset_of_name(path)?;
    let mut log = LogFile::open(&path.with_extension("log"))?;
    let bytes = read(path)?;
    let entries = time_entries(&bytes, base);
    if options.sanity_only {
        time_sanity(path, base, bytes.len(), &entries)?;
        let text = format!("{} passed sanity check.", path.display());
        out.print(Line::said("sane", text).field("file", path.display().to_string())).map_err(told)?;
        return Ok(());
    }
    let index = path.with_extension("index");
    let mut positions = if index.exists() { offset_entries(&read(&index)?, base) } else { Vec::new() };
    let used =
        positions.iter().skip(1).position(|(offset, _)| *offset == base).map_or(positions.len(), |at| at + 1);
    positions.truncate(used);
    let mut scratch = Scratch::default();
    let mut previous = NO_TIMESTAMP;
    for (at, (timestamp, offset)) in entries.into_iter().enumerate() {
        if offset == base && at > 0 {
            return Ok(());
        }
        let above = positions.partition_point(|(o, _)| *o <= offset);
        let start = above.checked_sub(1).and_then(|slot| positions.get(slot)).map_or(0, |(_, p)| *p);
        let mut position = u64::try_from(start).unwrap_or(0);
        let mut found = None;
        while let Some(batch) = log.batch_at(position, u64::MAX)? {
            position += batch.size() as u64;
            let last = batch.header().last_offset();
            if last >= offset {
                let mut newest = NO_TIMESTAMP;
                if last == offset {
                    for record in batch.records(&mut scratch).map_err(|e| failed(path.display(), e))? {
                        newest = newest.max(record.map_err(|e| failed(path.display(), e))?.timestamp);
                    }
                }
                found = Some((last, newest));
                break;
            }
        }
        let file = || absolute(path);
        match found {
            Some((last, newest)) if last == offset => {
                if newest != timestamp {
                    findings.timestamp_mismatches.entry(file()).or_default().push((timestamp, newest));
                }
                if previous >= timestamp {
                    findings.out_of_order.entry(file()).or_default().push((timestamp, previous));
                }
            }
            other => {
                let last = other.map_or(-1, |(last, _)| last);
                findings.not_found.entry(file()).or_default().push((offset, last));
            }
        }
        if !options.verify_only {
            let line = Line::new("timeIndexEntry").fact("timestamp", timestamp).fact("offset", offset);
            out.print(line).map_err(told)?;
        }
        previous = timestamp;
    }
    Ok(())
}

fn time_sanity(path: &Path, base: i64, bytes: usize, entries: &[(i64, i64)]) -> ToolResult {
    let file = absolute(path);
    if let (Some((first, _)), Some((last, offset))) = (entries.first(), entries.last()) {
        if last < first {
            return Err(ToolError::message(format!(
                "Corrupt time index found, time index file ({file}) has non-zero size but the last timestamp \
                 is {last} which is less than the first timestamp {first}"
            )));
        }
        if *offset < base {
            return Err(ToolError::message(format!(
                "Corrupt time index found, time index file ({file}) has non-zero size but the last offset is \
                 {offset} which is less than the first offset {base}"
            )));
        }
    }
    if !bytes.is_multiple_of(TIME_ENTRY) {
        return Err(ToolError::message(format!(
            "Time index file {file} is corrupt, found {bytes} bytes which is neither positive nor a multiple \
             of {TIME_ENTRY}"
        )));
    }
    Ok(())
}

pub fn dump_aborted(path: &Path, out: &mut Lines<'_>) -> ToolResult {
    let bytes = read(path)?;
    let (entries, left) = bytes.as_chunks::<ABORTED_ENTRY>();
    for entry in entries {
        let version = (int32(entry, 0) >> 16) as i16;
        if version != 0 {
            return Err(ToolError::message(format!(
                "Unexpected aborted transaction version {version} in transaction index {}, current version is 0",
                absolute(path)
            )));
        }
        let line = Line::new("abortedTransaction")
            .fact("version", 0)
            .fact("producerId", int64(entry, 2))
            .fact("firstOffset", int64(entry, 10))
            .fact("lastOffset", int64(entry, 18))
            .fact("lastStableOffset", int64(entry, 26));
        out.print(line).map_err(told)?;
    }
    if !left.is_empty() {
        return Err(failed(path.display(), "ends within an entry"));
    }
    Ok(())
}

pub fn dump_producers(path: &Path, out: &mut Lines<'_>, err: &mut dyn Write) -> ToolResult {
    let entries = match parse_snapshot(&read(path)?) {
        Ok(entries) => entries,
        Err(error) => {
            let text = match error {
                SnapshotError::UnknownVersion { version } => {
                    format!("Snapshot contained an unknown file version {version}")
                }
                SnapshotError::WrongSize { .. } => format!("Snapshot failed schema validation: {error}"),
                SnapshotError::CrcMismatch { stored, computed } => format!(
                    "Snapshot is corrupt (CRC is no longer valid). Stored crc: {stored}. Computed crc: {computed}"
                ),
            };
            warn(err, out.json, &text);
            return Ok(());
        }
    };
    for entry in entries {
        let mut line = Line::new("producer")
            .fact("producerId", entry.producer_id)
            .fact("producerEpoch", entry.producer_epoch)
            .fact("coordinatorEpoch", entry.coordinator_epoch)
            .fact("currentTxnFirstOffset", optional_long(entry.current_txn_first_offset))
            .fact("lastTimestamp", entry.last_timestamp);
        if let Some(batch) = entry.batches().first() {
            line = line
                .fact("firstSequence", batch.first_sequence())
                .fact("lastSequence", batch.last_sequence)
                .fact("lastOffset", batch.last_offset)
                .fact("offsetDelta", batch.offset_delta)
                .fact("timestamp", batch.timestamp);
        }
        out.print(line).map_err(told)?;
    }
    Ok(())
}
