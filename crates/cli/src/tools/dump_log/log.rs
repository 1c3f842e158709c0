//! `.log` and `.checkpoint`: batches and their records.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use ottla_protocol::compression::Codec;
use ottla_protocol::messages::{
    KRaftVersionRecord, LeaderChangeMessage, SnapshotFooterRecord, SnapshotHeaderRecord, VotersRecord,
};
use ottla_protocol::records::control::{ControlRecordType, EndTxnMarker};
use ottla_protocol::records::{Batch, BatchHeader, Record, Scratch, TimestampType, layout};
use ottla_protocol::wire::{Message, Reader};
use serde_json::Value;

use super::decoder::Decoder;
use super::line::{Line, Lines};
use super::{Findings, absolute, failed, offset_of_name, optional_long};
use crate::error::{ToolError, ToolResult};
use crate::output::{Cell, Progress};

const BOOTSTRAP: &str = "bootstrap.checkpoint";

/// What is printed of a log.
#[derive(Debug)]
pub struct LogOptions {
    pub contents: bool,
    pub deep: bool,
    pub skip_metadata: bool,
    pub max_bytes: i32,
    pub decoder: Decoder,
}

/// A log file, read one batch at a time.
#[derive(Debug)]
pub struct LogFile {
    file: File,
    name: String,
    /// Bytes that are looked at.
    end: u64,
    buffer: Vec<u8>,
}

impl LogFile {
    pub fn open(path: &Path) -> Result<LogFile, ToolError> {
        let file = File::open(path)
            .map_err(|_| ToolError::message(format!("{} (No such file or directory)", path.display())))?;
        let end = file.metadata().map_err(|e| failed(path.display(), e))?.len();
        Ok(LogFile { file, name: path.display().to_string(), end, buffer: Vec::new() })
    }

    pub fn len(&self) -> u64 {
        self.end
    }

    /// The batch at a position, or none when no whole batch follows before `end`.
    ///
    /// # Errors
    /// A length that cannot be, or a disk that does not answer.
    pub fn batch_at(&mut self, position: u64, end: u64) -> Result<Option<Batch<'_>>, ToolError> {
        let end = end.min(self.end);
        // A file that ends just behind the magic has no batch there either.
        if position.saturating_add(layout::HEADER_SIZE_UP_TO_MAGIC as u64) >= end {
            return Ok(None);
        }
        let mut header = [0; layout::LOG_OVERHEAD];
        self.file.read_exact_at(&mut header, position).map_err(|e| failed(&self.name, e))?;
        let size = i32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        if size < layout::LEGACY_RECORD_OVERHEAD_V0 as i32 {
            return Err(ToolError::message(format!(
                "Found record size {size} smaller than minimum record overhead ({}) in file {}.",
                layout::LEGACY_RECORD_OVERHEAD_V0,
                self.name
            )));
        }
        let whole = layout::LOG_OVERHEAD as u64 + size as u64;
        if position + whole > end {
            return Ok(None);
        }
        self.buffer.resize(whole as usize, 0);
        self.file.read_exact_at(&mut self.buffer, position).map_err(|e| failed(&self.name, e))?;
        Batch::parse(&self.buffer).map(Some).map_err(|e| failed(&self.name, e))
    }
}

pub fn dump_log(
    path: &Path,
    options: &LogOptions,
    findings: &mut Findings,
    out: &mut Lines<'_>,
) -> ToolResult {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let told = |e: io::Error| failed("standard output", e);
    if name.ends_with(".log") {
        let line = Line::new("log").fact_as("Log starting offset", "logStartOffset", offset_of_name(path)?);
        out.print(line).map_err(told)?;
    } else if name == BOOTSTRAP {
        out.print(Line::said("snapshot", "KRaft bootstrap snapshot".to_owned())).map_err(told)?;
    } else {
        let id = name.strip_suffix(".checkpoint").and_then(|id| id.split_once('-'));
        let id =
            id.and_then(|(offset, epoch)| Some((offset.parse::<i64>().ok()?, epoch.parse::<i32>().ok()?)));
        let (offset, epoch) = id.ok_or_else(|| failed(path.display(), "not the name of a snapshot"))?;
        let line = Line::said("snapshot", format!("Snapshot end offset: {offset}, epoch: {epoch}"));
        out.print(line.field("endOffset", offset).field("epoch", epoch)).map_err(told)?;
    }
    let mut file = LogFile::open(path)?;
    let end = file.len().min(u64::try_from(options.max_bytes).map_err(|_| {
        ToolError::message(format!("Invalid size: {} in read from {}", options.max_bytes, path.display()))
    })?);
    let mut position = 0;
    let mut last_offset = -1;
    let mut scratch = Scratch::default();
    let mut progress = Progress::new("bytes", Some(end));
    while let Some(batch) = file.batch_at(position, end)? {
        progress.set(position);
        position += print_batch(&batch, position, out).map_err(|e| failed(path.display(), e))?;
        if options.deep {
            print_records(&batch, path, options, &mut last_offset, &mut scratch, findings, out)?;
        }
    }
    if end > position && options.max_bytes == i32::MAX {
        let text = format!("Found {} invalid bytes at the end of {name}", end - position);
        out.print(Line::said("invalidBytes", text).field("bytes", end - position)).map_err(told)?;
    }
    Ok(())
}

fn timestamp_type(header: &BatchHeader) -> &'static str {
    match header.timestamp_type() {
        TimestampType::NoTimestampType => "NoTimestampType",
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

fn codec_name(codec: Codec) -> &'static str {
    match codec {
        Codec::None => "none",
        Codec::Gzip => "gzip",
        Codec::Snappy => "snappy",
        Codec::Lz4 => "lz4",
        Codec::Zstd => "zstd",
    }
}

fn print_batch(batch: &Batch<'_>, position: u64, out: &mut Lines<'_>) -> io::Result<u64> {
    let h = batch.header();
    let codec = h.codec().map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    let mut line = Line::new("batch");
    if h.magic >= 2 {
        line = line
            .fact("baseOffset", h.base_offset)
            .fact("lastOffset", h.last_offset())
            .fact("count", h.records_count)
            .fact("baseSequence", h.base_sequence)
            .fact("lastSequence", h.last_sequence())
            .fact("producerId", h.producer_id)
            .fact("producerEpoch", h.producer_epoch)
            .fact("partitionLeaderEpoch", h.partition_leader_epoch)
            .fact("isTransactional", h.is_transactional())
            .fact("isControl", h.is_control())
            .fact("deleteHorizonMs", optional_long(h.delete_horizon_ms()));
    } else {
        line = line.fact("offset", h.last_offset());
    }
    line = line
        .fact("position", position)
        .fact_as(timestamp_type(h), "maxTimestamp", h.max_timestamp)
        .field("timestampType", timestamp_type(h))
        .fact("size", h.size)
        .fact("magic", h.magic)
        .fact("compresscodec", codec_name(codec))
        .fact("crc", h.crc)
        .fact("isvalid", batch.ensure_valid().is_ok());
    out.print(line)?;
    Ok(h.size as u64)
}

fn print_records(
    batch: &Batch<'_>,
    path: &Path,
    options: &LogOptions,
    last_offset: &mut i64,
    scratch: &mut Scratch,
    findings: &mut Findings,
    out: &mut Lines<'_>,
) -> ToolResult {
    let told = |e: io::Error| failed("standard output", e);
    for record in batch.records(scratch).map_err(|e| failed(path.display(), e))? {
        let record = record.map_err(|e| failed(path.display(), e))?;
        if record.offset != last_offset.wrapping_add(1) {
            let pairs = findings.non_consecutive.entry(absolute(path)).or_default();
            pairs.insert(*last_offset, record.offset);
        }
        *last_offset = record.offset;
        let mut line = Line::new("record").prefix("| ");
        if !options.skip_metadata {
            line = metadata(line, batch, &record, path)?;
        }
        if options.contents && !batch.header().is_control() {
            let (key, value) = options.decoder.decode(&record)?;
            if let Some(key) = key {
                line = line.fact("key", options.decoder.cell(key));
            }
            if let Some(value) = value {
                line = line.fact("payload", options.decoder.cell(value));
            }
        }
        out.print(line).map_err(told)?;
    }
    Ok(())
}

fn size_of(bytes: Option<&[u8]>) -> i64 {
    bytes.map_or(-1, |bytes| bytes.len() as i64)
}

fn metadata(mut line: Line, batch: &Batch<'_>, record: &Record<'_>, path: &Path) -> Result<Line, ToolError> {
    let header = batch.header();
    line = line
        .fact("offset", record.offset)
        .fact_as(timestamp_type(header), "timestamp", record.timestamp)
        .field("timestampType", timestamp_type(header))
        .fact("keySize", size_of(record.key))
        .fact("valueSize", size_of(record.value));
    if header.magic >= 2 {
        let keys: Vec<_> =
            record.headers.iter().map(|h| String::from_utf8_lossy(h.key).into_owned()).collect();
        line = line
            .fact("sequence", record.sequence)
            .fact("headerKeys", Cell::new(format!("[{}]", keys.join(",")), keys));
    } else if !header.is_compressed() {
        line = line.fact("isValid", batch.ensure_valid().is_ok()).fact("crc", header.crc);
    }
    if header.is_control() {
        line = control(line, record).map_err(|e| failed(path.display(), e))?;
    }
    Ok(line)
}

/// A control value as JSON in the version that its first field names.
fn versioned_json<M: Message>(record: &Record<'_>) -> Result<String, String> {
    let value = record.value.unwrap_or_default();
    let version = value.first_chunk::<2>().map_or(0, |raw| i16::from_be_bytes(*raw));
    let version = version.clamp(M::MIN_VERSION, M::MAX_VERSION);
    let message = M::decode(&mut Reader::new(value.to_vec().into()), version).map_err(|e| e.to_string())?;
    Ok(message.to_json(version))
}

/// A control record by its name in the text and its message.
fn control(line: Line, record: &Record<'_>) -> Result<Line, String> {
    let kind = ControlRecordType::parse_key(record.key).map_err(|e| e.to_string())?;
    let (name, text, json) = match kind {
        ControlRecordType::Abort | ControlRecordType::Commit => {
            let marker = EndTxnMarker::parse(record).map_err(|e| e.to_string())?;
            let epoch = marker.map_or(-1, |marker| marker.coordinator_epoch);
            let name = if kind == ControlRecordType::Commit { "COMMIT" } else { "ABORT" };
            return Ok(line.fact("endTxnMarker", name).fact("coordinatorEpoch", epoch));
        }
        ControlRecordType::Unknown(id) => {
            return Ok(line.fact("controlType", Cell::new(format!("UNKNOWN({id})"), id)));
        }
        ControlRecordType::LeaderChange => {
            ("LeaderChange", "LeaderChange:", versioned_json::<LeaderChangeMessage>(record)?)
        }
        ControlRecordType::SnapshotHeader => {
            ("SnapshotHeader", "SnapshotHeader", versioned_json::<SnapshotHeaderRecord>(record)?)
        }
        ControlRecordType::SnapshotFooter => {
            ("SnapshotFooter", "SnapshotFooter", versioned_json::<SnapshotFooterRecord>(record)?)
        }
        ControlRecordType::KRaftVersion => {
            ("KRaftVersion", "KRaftVersion", versioned_json::<KRaftVersionRecord>(record)?)
        }
        ControlRecordType::KRaftVoters => {
            ("KRaftVoters", "KRaftVoters", versioned_json::<VotersRecord>(record)?)
        }
    };
    let value = serde_json::from_str(&json).unwrap_or_else(|_| Value::from(json.as_str()));
    Ok(line.text(&format!("{text} {json}")).field("controlType", name).field("control", value))
}
