//! The bootstrap snapshot: feature levels, credentials and the first voters.

use bytes::Bytes;
use ottla_protocol::messages::control_record::kraft_version_record::KRaftVersionRecord;
use ottla_protocol::messages::control_record::snapshot_footer_record::SnapshotFooterRecord;
use ottla_protocol::messages::control_record::snapshot_header_record::SnapshotHeaderRecord;
use ottla_protocol::messages::control_record::voters_record::VotersRecord;
use ottla_protocol::records::control::{ControlRecordType, control_batch};
use ottla_protocol::records::{BatchBuilder, BatchIter, BatchOptions, Scratch};
use ottla_protocol::wire::Message;

use super::FormatError;
use crate::record::VersionedRecord;

/// The name of the bootstrap snapshot in `__cluster_metadata-0`.
pub const BOOTSTRAP_CHECKPOINT_FILE: &str = "00000000000000000000-0000000000.checkpoint";

fn options(base_offset: i64) -> BatchOptions {
    BatchOptions { base_offset, partition_leader_epoch: 0, ..Default::default() }
}

fn encoded<M: Message>(message: &M) -> Result<Bytes, FormatError> {
    message.to_bytes(0).map_err(|e| FormatError(format!("cannot write a control record: {e}")))
}

/// Header, records and footer of the bootstrap snapshot. `kraft.version` and voters go into the header
/// batch of a dynamic quorum.
pub fn bootstrap_checkpoint(
    records: &[VersionedRecord],
    kraft_version: i16,
    voters: Option<&VotersRecord>,
    now_ms: i64,
) -> Result<Vec<u8>, FormatError> {
    let header =
        SnapshotHeaderRecord { version: 0, last_contained_log_timestamp: now_ms, ..Default::default() };
    let mut control = vec![(ControlRecordType::SnapshotHeader, encoded(&header)?)];
    if kraft_version > 0 {
        let version = KRaftVersionRecord { version: 0, kraft_version, ..Default::default() };
        control.push((ControlRecordType::KRaftVersion, encoded(&version)?));
        if let Some(voters) = voters {
            control.push((ControlRecordType::KRaftVoters, encoded(voters)?));
        }
    }
    let mut offset = control.len() as i64;
    let values = control.iter().map(|(kind, value)| (*kind, value.as_ref()));
    let mut out = control_batch(options(0), now_ms, values).to_vec();
    if !records.is_empty() {
        let mut builder = BatchBuilder::new(options(offset));
        for r in records {
            let value =
                r.encode().map_err(|e| FormatError(format!("cannot write {}: {e}", r.record.name())))?;
            builder.append(now_ms, None, Some(&value), []);
        }
        let batch =
            builder.build().map_err(|e| FormatError(format!("cannot write the bootstrap records: {e}")))?;
        out.extend_from_slice(&batch);
        offset += records.len() as i64;
    }
    let footer = encoded(&SnapshotFooterRecord { version: 0, ..Default::default() })?;
    let last = [(ControlRecordType::SnapshotFooter, footer.as_ref())];
    out.extend_from_slice(&control_batch(options(offset), now_ms, last));
    Ok(out)
}

/// The metadata records of a bootstrap snapshot, or of a `bootstrap.checkpoint` that an older Kafka
/// wrote: what the first controller appends.
pub fn read_bootstrap_records(bytes: &[u8]) -> Result<Vec<VersionedRecord>, FormatError> {
    let malformed =
        |e: &dyn std::fmt::Display| FormatError(format!("the bootstrap snapshot cannot be read: {e}"));
    let mut scratch = Scratch::default();
    let mut out = Vec::new();
    for batch in BatchIter::new(bytes) {
        let batch = batch.map_err(|e| malformed(&e))?;
        batch.ensure_valid().map_err(|e| malformed(&e))?;
        if batch.header().is_control() {
            continue;
        }
        for record in batch.records(&mut scratch).map_err(|e| malformed(&e))? {
            let record = record.map_err(|e| malformed(&e))?;
            let value = record.value.unwrap_or_default();
            out.push(VersionedRecord::decode(value).map_err(|e| malformed(&e))?);
        }
    }
    Ok(out)
}
