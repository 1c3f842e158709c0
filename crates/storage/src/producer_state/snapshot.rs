//! `.snapshot`: the producers of a log as of the offset in the file's name.

use ottla_protocol::records::crc32c;
use thiserror::Error;

use super::entry::{BatchMetadata, ProducerEntry};

const VERSION: i16 = 1;
const HEADER: usize = 10;
const CRC_COVERS: usize = 6;
const ENTRY: usize = 46;

/// Why a producer snapshot cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SnapshotError {
    /// The file ends too early or has bytes left over.
    #[error("snapshot of {len} bytes does not hold what it says")]
    WrongSize {
        /// Bytes of the file.
        len: usize,
    },
    /// An unknown version.
    #[error("snapshot contained an unknown file version {version}")]
    UnknownVersion {
        /// The version field.
        version: i16,
    },
    /// A wrong checksum.
    #[error("snapshot is corrupt (CRC is no longer valid). Stored crc: {stored}. Computed crc: {computed}")]
    CrcMismatch {
        /// The checksum in the file.
        stored: u32,
        /// The checksum of its bytes.
        computed: u32,
    },
}

/// Reads the producers of a snapshot.
///
/// # Errors
/// [`SnapshotError`].
pub fn parse_snapshot(bytes: &[u8]) -> Result<Vec<ProducerEntry>, SnapshotError> {
    let wrong_size = SnapshotError::WrongSize { len: bytes.len() };
    let (header, rest) = bytes.split_first_chunk::<HEADER>().ok_or(wrong_size)?;
    let version = i16::from_be_bytes([header[0], header[1]]);
    if version != VERSION {
        return Err(SnapshotError::UnknownVersion { version });
    }
    let stored = u32::from_be_bytes([header[2], header[3], header[4], header[5]]);
    let computed = crc32c(&bytes[CRC_COVERS..]);
    if stored != computed {
        return Err(SnapshotError::CrcMismatch { stored, computed });
    }
    let count = i32::from_be_bytes([header[6], header[7], header[8], header[9]]);
    let (entries, left) = rest.as_chunks::<ENTRY>();
    if usize::try_from(count) != Ok(entries.len()) || !left.is_empty() {
        return Err(wrong_size);
    }
    Ok(entries.iter().map(parse_entry).collect())
}

fn parse_entry(raw: &[u8; ENTRY]) -> ProducerEntry {
    let int32 = |at: usize| i32::from_be_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]);
    let int64 = |at: usize| (i64::from(int32(at)) << 32) | i64::from(int32(at + 4) as u32);
    let producer_epoch = i16::from_be_bytes([raw[8], raw[9]]);
    let (last_sequence, last_offset, offset_delta) = (int32(10), int64(14), int32(22));
    let (timestamp, coordinator_epoch, first) = (int64(26), int32(34), int64(38));
    let txn = (first >= 0).then_some(first);
    let mut entry = ProducerEntry::new(int64(0), producer_epoch, coordinator_epoch, timestamp, txn);
    if last_offset >= 0 {
        entry
            .add_batch(producer_epoch, BatchMetadata { last_sequence, last_offset, offset_delta, timestamp });
    }
    entry
}

/// Writes a snapshot of `producers`, in the order that Kafka's hash map has for them.
pub fn render_snapshot<'p>(producers: impl IntoIterator<Item = &'p ProducerEntry>) -> Vec<u8> {
    let mut producers: Vec<&ProducerEntry> = producers.into_iter().collect();
    // `java.util.HashMap` starts with 16 buckets and doubles above three quarters; the order has no meaning, but the
    // same bytes make files comparable.
    let mut buckets = 16u32;
    while producers.len() as u32 > buckets / 4 * 3 {
        buckets *= 2;
    }
    producers.sort_by_key(|entry| {
        let hash = (entry.producer_id ^ ((entry.producer_id as u64 >> 32) as i64)) as u32;
        ((hash ^ (hash >> 16)) & (buckets - 1), entry.producer_id)
    });
    let mut out = Vec::with_capacity(HEADER + producers.len() * ENTRY);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(producers.len() as i32).to_be_bytes());
    for entry in producers {
        out.extend_from_slice(&entry.producer_id.to_be_bytes());
        out.extend_from_slice(&entry.producer_epoch.to_be_bytes());
        out.extend_from_slice(&entry.last_sequence().to_be_bytes());
        out.extend_from_slice(&entry.last_data_offset().to_be_bytes());
        out.extend_from_slice(&entry.last_offset_delta().to_be_bytes());
        out.extend_from_slice(&entry.last_timestamp.to_be_bytes());
        out.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        out.extend_from_slice(&entry.current_txn_first_offset.unwrap_or(-1).to_be_bytes());
    }
    let crc = crc32c(&out[CRC_COVERS..]);
    out[2..6].copy_from_slice(&crc.to_be_bytes());
    out
}
