//! Batches of the metadata log: building and reading them.

use bytes::Bytes;
use ottla_protocol::messages::control_record::kraft_version_record::KRaftVersionRecord;
use ottla_protocol::messages::control_record::leader_change_message::{LeaderChangeMessage, Voter};
use ottla_protocol::messages::control_record::snapshot_footer_record::SnapshotFooterRecord;
use ottla_protocol::messages::control_record::snapshot_header_record::SnapshotHeaderRecord;
use ottla_protocol::records::control::{ControlRecordType, control_batch};
use ottla_protocol::records::{BatchBuilder, BatchIter, BatchOptions, RecordsError, Scratch};
use ottla_protocol::wire::{CodecError, Message};

use crate::log::SnapshotId;
use crate::voters::VoterSet;

/// No batch of the metadata log may be larger.
pub const MAX_BATCH_SIZE_BYTES: usize = 8 * 1024 * 1024;
/// Of one record without its value: length, attributes, deltas, key length, headers.
const RECORD_OVERHEAD_BYTES: usize = 32;
/// Of one batch without its records.
const BATCH_OVERHEAD_BYTES: usize = 61;

/// Bytes of the log or of a snapshot that cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogReadError {
    #[error("malformed batch")]
    Batch(#[from] RecordsError),
    #[error("malformed control record")]
    Message(#[from] CodecError),
    #[error("malformed control record")]
    Decode(#[from] ottla_protocol::wire::DecodeError),
}

/// A batch that was built: append `bytes` at `base_offset`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltBatch {
    pub base_offset: i64,
    /// Offset after its last record.
    pub end_offset: i64,
    pub bytes: Bytes,
}

/// What a batch of records could not be made of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// Atomic records, or one record alone, do not fit into a batch.
    #[error("records of {size} bytes do not fit into a batch of {MAX_BATCH_SIZE_BYTES}")]
    TooLarge { size: usize },
    #[error("records cannot be written")]
    Write,
}

fn options(base_offset: i64, epoch: i32) -> BatchOptions {
    BatchOptions { base_offset, partition_leader_epoch: epoch, ..Default::default() }
}

/// Packs record values into batches: one if `atomic`, else as many as their sizes ask for.
pub fn build_batches(
    values: &[Bytes],
    base_offset: i64,
    epoch: i32,
    now_ms: i64,
    atomic: bool,
) -> Result<Vec<BuiltBatch>, BuildError> {
    let mut out = Vec::new();
    let mut offset = base_offset;
    let mut rest = values;
    while !rest.is_empty() {
        let mut size = BATCH_OVERHEAD_BYTES;
        let mut count = 0;
        for v in rest {
            let with = size + v.len() + RECORD_OVERHEAD_BYTES;
            if with > MAX_BATCH_SIZE_BYTES && (count == 0 || atomic) {
                return Err(BuildError::TooLarge { size: with });
            }
            if with > MAX_BATCH_SIZE_BYTES {
                break;
            }
            size = with;
            count += 1;
        }
        let mut builder = BatchBuilder::new(options(offset, epoch));
        for v in &rest[..count] {
            builder.append(now_ms, None, Some(v), []);
        }
        let bytes = builder.build().map_err(|_| BuildError::Write)?;
        let base_offset = offset;
        offset += count as i64;
        out.push(BuiltBatch { base_offset, end_offset: offset, bytes });
        rest = &rest[count..];
    }
    Ok(out)
}

fn control(base_offset: i64, epoch: i32, now_ms: i64, records: &[(ControlRecordType, Bytes)]) -> BuiltBatch {
    let values = records.iter().map(|(kind, value)| (*kind, value.as_ref()));
    BuiltBatch {
        base_offset,
        end_offset: base_offset + records.len() as i64,
        bytes: control_batch(options(base_offset, epoch), now_ms, values),
    }
}

fn encoded<M: Message>(message: &M, version: i16) -> Bytes {
    message.to_bytes(version).expect("control records have no field that a version cannot say")
}

/// The voters as the log is told of them.
fn quorum_records(kraft_version: i16, voters: &VoterSet) -> Vec<(ControlRecordType, Bytes)> {
    let version = KRaftVersionRecord { version: 0, kraft_version, ..Default::default() };
    vec![
        (ControlRecordType::KRaftVersion, encoded(&version, 0)),
        (ControlRecordType::KRaftVoters, encoded(&voters.to_record(), 0)),
    ]
}

/// The batch that raises `kraft.version` and writes down the voters.
pub(crate) fn kraft_version_batch(
    base_offset: i64,
    epoch: i32,
    now_ms: i64,
    kraft_version: i16,
    voters: &VoterSet,
) -> BuiltBatch {
    let records = quorum_records(kraft_version, voters);
    let values = records.iter().map(|(kind, value)| (*kind, value.as_ref()));
    BuiltBatch {
        base_offset,
        end_offset: base_offset + records.len() as i64,
        bytes: control_batch(options(base_offset, epoch), now_ms, values),
    }
}

/// The batch that starts a leader's epoch. `from_bootstrap`: the voters are known only from the
/// bootstrap snapshot, which other replicas do not have, and are written down.
pub(crate) fn leader_change_batch(
    base_offset: i64,
    epoch: i32,
    now_ms: i64,
    leader: i32,
    voters: &VoterSet,
    granting: &[i32],
    kraft_version: i16,
    from_bootstrap: bool,
) -> BuiltBatch {
    // Version 0 whatever kraft.version is: Kafka reads no other, so directory ids cannot be said.
    let as_voter = |voter_id: i32| Voter { voter_id, ..Default::default() };
    let message = LeaderChangeMessage {
        version: 0,
        leader_id: leader,
        voters: voters.ids().map(as_voter).collect(),
        granting_voters: granting.iter().map(|id| as_voter(*id)).collect(),
        ..Default::default()
    };
    let mut records = vec![(ControlRecordType::LeaderChange, encoded(&message, 0))];
    if kraft_version > 0 && from_bootstrap {
        records.extend(quorum_records(kraft_version, voters));
    }
    control(base_offset, epoch, now_ms, &records)
}

/// A whole snapshot: header, records, footer. `voters` are written from `kraft.version` 1 on. Source:
/// Kafka `RecordsSnapshotWriter`.
pub fn snapshot_bytes(
    id: SnapshotId,
    last_contained_log_timestamp_ms: i64,
    now_ms: i64,
    kraft_version: i16,
    voters: Option<&VoterSet>,
    values: &[Bytes],
) -> Result<Vec<u8>, BuildError> {
    let header = SnapshotHeaderRecord {
        version: 0,
        last_contained_log_timestamp: last_contained_log_timestamp_ms,
        ..Default::default()
    };
    let mut records = vec![(ControlRecordType::SnapshotHeader, encoded(&header, 0))];
    if let (true, Some(voters)) = (kraft_version > 0, voters) {
        records.extend(quorum_records(kraft_version, voters));
    }
    let first = control(0, id.epoch, now_ms, &records);
    let mut out = first.bytes.to_vec();
    let mut offset = first.end_offset;
    for batch in build_batches(values, offset, id.epoch, now_ms, false)? {
        out.extend_from_slice(&batch.bytes);
        offset = batch.end_offset;
    }
    let footer = SnapshotFooterRecord { version: 0, ..Default::default() };
    let last = [(ControlRecordType::SnapshotFooter, encoded(&footer, 0))];
    out.extend_from_slice(&control(offset, id.epoch, now_ms, &last).bytes);
    Ok(out)
}

/// The file name of a snapshot.
pub fn snapshot_file_name(id: SnapshotId) -> String {
    format!("{:020}-{:010}.checkpoint", id.offset, id.epoch)
}

/// The snapshot that a file name stands for.
pub fn parse_snapshot_file_name(name: &str) -> Option<SnapshotId> {
    let (offset, epoch) = name.strip_suffix(".checkpoint")?.split_once('-')?;
    if offset.len() != 20 || epoch.len() != 10 {
        return None;
    }
    Some(SnapshotId::new(offset.parse().ok()?, epoch.parse().ok()?))
}

/// Hands every record that is not a control record to `each`, with offset, epoch and timestamp.
/// Batches are checked (CRC) before they are read.
pub fn for_each_record<E: From<LogReadError>>(
    batches: &[u8],
    mut each: impl FnMut(LogRecord<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut scratch = Scratch::default();
    for batch in BatchIter::new(batches) {
        let batch = batch.map_err(LogReadError::from)?;
        batch.ensure_valid().map_err(LogReadError::from)?;
        let header = batch.header();
        if header.is_control() {
            continue;
        }
        let epoch = header.partition_leader_epoch;
        for record in batch.records(&mut scratch).map_err(LogReadError::from)? {
            let record = record.map_err(LogReadError::from)?;
            each(LogRecord {
                offset: record.offset,
                epoch,
                timestamp_ms: record.timestamp,
                value: record.value.unwrap_or_default(),
            })?;
        }
    }
    Ok(())
}

/// One data record of the log or of a snapshot.
#[derive(Debug, Clone, Copy)]
pub struct LogRecord<'a> {
    pub offset: i64,
    pub epoch: i32,
    pub timestamp_ms: i64,
    pub value: &'a [u8],
}
