//! What a log says and holds, read through its own interface and from its files.

use ottla_protocol::records::BatchIter;
use ottla_storage::checkpoint::EpochEntry;
use ottla_storage::index::AbortedTxn;
use ottla_storage::producer_state::ProducerEntry;
use ottla_storage::{Log, LogError};

use super::batches::MBatch;
use crate::fs::SimFs;

/// Everything that can be seen of a log.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) high_watermark: i64,
    pub(super) last_stable: i64,
    /// Base offset of each segment, and its batches.
    pub(super) segments: Vec<(i64, Vec<MBatch>)>,
    pub(super) producers: Vec<ProducerEntry>,
    pub(super) epochs: Vec<EpochEntry>,
    pub(super) aborted: Vec<AbortedTxn>,
}

impl Observed {
    pub(super) fn batches(&self) -> impl Iterator<Item = &MBatch> {
        self.segments.iter().flat_map(|(_, batches)| batches)
    }

    /// Reads a log. Every batch must have a good checksum and its place.
    pub(super) fn of(fs: &SimFs, log: &Log) -> Result<Observed, String> {
        let dir = log.dir();
        let mut segments = Vec::new();
        let mut next = i64::MIN;
        for (base, size) in log.segment_sizes() {
            let path = dir.join(format!("{base:020}.log"));
            let bytes = match fs.disk().files(&path).first() {
                Some((_, content)) => content.to_vec(),
                None => return Err(format!("segment {base} has no file")),
            };
            let Some(bytes) = bytes.get(..size as usize) else {
                return Err(format!("segment {base} is of {size} bytes, its file of {}", bytes.len()));
            };
            let mut batches = Vec::new();
            let mut iter = BatchIter::new(bytes);
            for batch in iter.by_ref() {
                let batch = batch.map_err(|e| format!("segment {base}: a batch that is none: {e}"))?;
                batch.ensure_valid().map_err(|e| {
                    format!("segment {base}: batch at offset {}: {e}", batch.header().base_offset)
                })?;
                let header = *batch.header();
                if header.base_offset < next || header.base_offset < base {
                    return Err(format!("segment {base}: offset {} behind {next}", header.base_offset));
                }
                next = header.next_offset();
                batches.push(MBatch::parse(batch.bytes().to_vec()));
            }
            if !iter.remaining().is_empty() {
                return Err(format!("segment {base} ends within a batch"));
            }
            segments.push((base, batches));
        }
        if next > log.log_end_offset() {
            return Err(format!("records up to {next} behind the log's end {}", log.log_end_offset()));
        }
        let said = |error: LogError| error.to_string();
        Ok(Observed {
            start: log.log_start_offset(),
            end: log.log_end_offset(),
            high_watermark: log.high_watermark(),
            last_stable: log.last_stable_offset(),
            segments,
            producers: log.producer_entries(),
            epochs: log.epoch_entries(),
            aborted: log
                .collect_aborted_transactions(log.log_start_offset(), log.log_end_offset())
                .map_err(said)?,
        })
    }

    /// What two looks at the same log must agree on.
    pub(super) fn same_as(&self, other: &Observed, compacted: bool) -> Result<(), String> {
        let content = |seen: &Observed| -> Vec<(i64, Vec<Vec<u8>>)> {
            let of = |batches: &[MBatch]| batches.iter().map(|batch| batch.bytes.clone()).collect();
            seen.segments.iter().map(|(base, batches)| (*base, of(batches))).collect()
        };
        if (self.start, self.end) != (other.start, other.end) {
            return Err(format!("{}..{} was {}..{}", other.start, other.end, self.start, self.end));
        }
        if content(self) != content(other) {
            return Err("other batches".to_owned());
        }
        // What only deleted records say may be forgotten by any start, as in Kafka.
        type Short = (i64, i16, i32, i64);
        let short = |e: &ProducerEntry| -> Short {
            (e.producer_id, e.producer_epoch, e.last_sequence(), e.last_data_offset())
        };
        let after: Vec<Short> = other.producers.iter().map(short).collect();
        let before = self.producers.iter().filter(|e| e.last_data_offset() >= self.start).map(short);
        if let Some(lost) = before.into_iter().find(|before| !after.contains(before)) {
            return Err(format!("producer {lost:?} is not among {after:?}"));
        }
        let epochs = |seen: &Observed| -> Vec<_> {
            seen.epochs
                .iter()
                .copied()
                .filter(|entry| (self.start + 1..self.end).contains(&entry.start_offset))
                .collect()
        };
        // A scan can find that an epoch began earlier than was noted.
        let lost = |entry: &EpochEntry| {
            !other.epochs.iter().any(|o| o.epoch == entry.epoch && o.start_offset <= entry.start_offset)
        };
        if epochs(self).iter().any(lost) {
            return Err(format!("epochs {:?} were {:?}", other.epochs, self.epochs));
        }
        let aborted = |seen: &Observed| -> Vec<_> {
            let whole = seen.aborted.iter().filter(|txn| txn.first_offset >= self.start);
            whole.map(|txn| (txn.producer_id, txn.last_offset)).collect()
        };
        let after: Vec<_> = other.aborted.iter().map(|txn| (txn.producer_id, txn.last_offset)).collect();
        // Of a transaction whose records were compacted away nothing need be known.
        if !compacted && aborted(self).iter().any(|before| !after.contains(before)) {
            return Err(format!("aborted {:?} were {:?}", other.aborted, self.aborted));
        }
        Ok(())
    }
}
