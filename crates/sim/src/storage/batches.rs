//! Batches as the model keeps them.

use std::collections::BTreeMap;

use ottla_protocol::compression::{Codec, Compression};
use ottla_protocol::records::control::EndTxnMarker;
use ottla_protocol::records::{Batch, BatchBuilder, BatchHeader, BatchOptions, Scratch, patch};
use ottla_storage::producer_state::ProducerEntry;
use ottla_testkit::rng::Rng;

/// A batch that was appended, or may have been.
#[derive(Debug, Clone)]
pub(super) struct MBatch {
    pub(super) header: BatchHeader,
    pub(super) bytes: Vec<u8>,
    /// Offset and timestamp of each record.
    pub(super) records: Vec<(i64, i64)>,
    /// Key and value of each record; none for a tombstone.
    pub(super) content: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Commit or abort, and the coordinator's epoch.
    pub(super) marker: Option<(bool, i32)>,
    /// Retention or an interrupted operation took it.
    pub(super) gone: bool,
}

impl MBatch {
    /// The batch in the place that it is to have in the log.
    pub(super) fn placed(mut bytes: Vec<u8>, base_offset: i64, leader_epoch: i32) -> MBatch {
        patch::set_base_offset(&mut bytes, base_offset);
        patch::set_partition_leader_epoch(&mut bytes, leader_epoch);
        MBatch::parse(bytes)
    }

    pub(super) fn parse(bytes: Vec<u8>) -> MBatch {
        let mut scratch = Scratch::default();
        let mut marker = None;
        let mut content;
        let (header, records) = {
            let batch = Batch::parse(&bytes).expect("a batch of the simulation");
            let header = *batch.header();
            let mut records = Vec::new();
            content = Vec::new();
            for record in batch.records(&mut scratch).expect("records of the simulation") {
                let record = record.expect("a record of the simulation");
                records.push((record.offset, record.timestamp));
                content.push((record.key.unwrap_or_default().to_vec(), record.value.map(<[u8]>::to_vec)));
                if header.is_control() {
                    let end = EndTxnMarker::parse(&record).expect("a marker").expect("an end");
                    marker = Some((end.commit, end.coordinator_epoch));
                }
            }
            (header, records)
        };
        MBatch { header, bytes, records, content, marker, gone: false }
    }

    pub(super) fn base(&self) -> i64 {
        self.header.base_offset
    }

    pub(super) fn last(&self) -> i64 {
        self.header.last_offset()
    }
}

/// Who writes a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Writer {
    pub(super) producer_id: i64,
    pub(super) epoch: i16,
    pub(super) sequence: i32,
    pub(super) transactional: bool,
}

pub(super) const NOBODY: Writer = Writer { producer_id: -1, epoch: -1, sequence: -1, transactional: false };

const CODECS: [Codec; 8] =
    [Codec::None, Codec::None, Codec::None, Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

/// A batch of a client, with offsets from 0.
pub(super) fn data(rng: &mut Rng, writer: Writer, now_ms: i64) -> Vec<u8> {
    // Setting up gzip and zstd costs more than everything else here.
    let codec = if rng.chance(1, 3) { *rng.pick(&CODECS) } else { Codec::None };
    let mut builder = BatchBuilder::new(BatchOptions {
        compression: Compression::of(codec),
        producer_id: writer.producer_id,
        producer_epoch: writer.epoch,
        base_sequence: writer.sequence,
        transactional: writer.transactional,
        ..BatchOptions::default()
    });
    for _ in 0..rng.between(1, 4) {
        let mut value = [0u8; 256];
        let len = if rng.chance(1, 8) { rng.index(256) } else { rng.index(48) };
        for chunk in value[..len].chunks_mut(8) {
            let random = rng.next_u64().to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
        let key = [b'a' + rng.index(6) as u8];
        let timestamp = now_ms - rng.between(0, 500);
        builder.append(timestamp, Some(&key), (!rng.chance(1, 10)).then_some(&value[..len]), []);
    }
    builder.build().expect("builds").to_vec()
}

/// The end of a transaction.
pub(super) fn marker(commit: bool, coordinator_epoch: i32, now_ms: i64, id: i64, epoch: i16) -> Vec<u8> {
    EndTxnMarker { commit, coordinator_epoch }.batch(0, now_ms, 0, id, epoch).to_vec()
}

/// What a leader hands to its follower: batches of transactional producers and of nobody, and the ends of transactions.
pub(super) struct Leader {
    /// Epoch, next sequence and whether a transaction is open.
    producers: BTreeMap<i64, (i16, i32, bool)>,
}

impl Leader {
    /// One whose log is what the follower has.
    pub(super) fn after(entries: &[ProducerEntry]) -> Leader {
        let state = |entry: &ProducerEntry| {
            let open = entry.current_txn_first_offset.is_some();
            (entry.producer_id, (entry.producer_epoch, entry.last_sequence() + 1, open))
        };
        Leader { producers: entries.iter().filter(|entry| entry.producer_id >= 3).map(state).collect() }
    }

    pub(super) fn next(&mut self, rng: &mut Rng, coordinator_epoch: i32, now_ms: i64) -> Vec<u8> {
        if rng.chance(1, 3) {
            return data(rng, NOBODY, now_ms);
        }
        let producer_id = rng.between(3, 5);
        let (epoch, sequence, open) = self.producers.entry(producer_id).or_insert((0, 0, false));
        if *open && rng.chance(2, 3) {
            *open = false;
            return marker(rng.chance(1, 3), coordinator_epoch, now_ms, producer_id, *epoch);
        }
        let writer = Writer { producer_id, epoch: *epoch, sequence: *sequence, transactional: true };
        let bytes = data(rng, writer, now_ms);
        let records = Batch::parse(&bytes).expect("a batch of the simulation").header().last_offset_delta + 1;
        *sequence += records;
        *open = true;
        bytes
    }
}
