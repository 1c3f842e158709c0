//! What must be in a partition, computed from the list of batches alone.

use std::collections::BTreeMap;

use ottla_protocol::types::Uuid;
use ottla_storage::{LogConfig, TopicPartition};

use super::batches::MBatch;

/// Whether a partition must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Yes,
    /// Its creation or deletion was interrupted.
    Maybe,
}

/// A partition as it was promised to be.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: TopicPartition,
    pub(super) topic_id: Uuid,
    pub(super) config: LogConfig,
    pub(super) presence: Presence,
    /// Every batch since the log was made or wholly truncated, also of those that retention took.
    pub(super) batches: Vec<MBatch>,
    /// What an append that failed may have left at the end.
    pub(super) ghosts: Vec<MBatch>,
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) high_watermark: i64,
    /// Everything below is there after a power cut.
    pub(super) durable_end: i64,
    /// Everything below is there after a kill: the end, unless a truncation was interrupted.
    pub(super) kept_end: i64,
    /// The log's start after a crash is not below.
    pub(super) noted_start: i64,
    /// The log's start after a crash is not above: the start, unless a deletion was interrupted.
    pub(super) start_limit: i64,
    /// A truncation of the whole log was interrupted: anything of the model may be there.
    pub(super) loose: bool,
    /// The log starts at which producer state was rebuilt: what lies below may be forgotten.
    pub(super) forgotten_below: Vec<i64>,
    /// Every start that the log had.
    pub(super) starts: Vec<i64>,
    /// The end when producer state was last rebuilt: ended transactions below may hold back nobody any more.
    pub(super) rebuilt_end: i64,
    /// Batches below may have come back after their epochs were forgotten.
    pub(super) epochs_from: i64,
    /// Something was compacted: batches are no longer what was appended, and only the last record of each key counts.
    pub(super) compacted: bool,
    /// Batches that were not durable were lost: not every end of a batch is known any more.
    pub(super) holes: bool,
    /// Batches were deleted behind others that came back.
    pub(super) deleted_within: bool,
    pub(super) leader_epoch: i32,
    pub(super) coordinator_epoch: i32,
}

/// A producer as the model sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MProducer {
    pub(super) epoch: i16,
    pub(super) last_sequence: i32,
    pub(super) last_offset: i64,
    pub(super) coordinator_epoch: i32,
    pub(super) timestamp: i64,
    pub(super) txn_first: Option<i64>,
}

/// A transaction as the model sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MTxn {
    pub(super) producer_id: i64,
    pub(super) first: i64,
    /// Its marker; none while it is open.
    pub(super) end: Option<(i64, bool)>,
}

impl Part {
    pub(super) fn new(name: TopicPartition, topic_id: Uuid, config: LogConfig) -> Self {
        Part {
            name,
            topic_id,
            config,
            presence: Presence::Maybe,
            batches: Vec::new(),
            ghosts: Vec::new(),
            start: 0,
            end: 0,
            high_watermark: 0,
            durable_end: 0,
            kept_end: 0,
            noted_start: 0,
            start_limit: 0,
            loose: false,
            forgotten_below: vec![0],
            starts: vec![0],
            rebuilt_end: 0,
            epochs_from: 0,
            compacted: false,
            holes: false,
            deleted_within: false,
            leader_epoch: 0,
            coordinator_epoch: 0,
        }
    }

    /// Where the history of producers may begin: a start that rebuilds their state drops the snapshots up to the log's
    /// start, and replays from that start or from the beginning of a segment below it.
    pub(super) fn forgotten_points(&self) -> impl Iterator<Item = i64> {
        let newest = self.forgotten_below.iter().copied().max().unwrap_or(0);
        let bases = self.batches.iter().map(MBatch::base).filter(move |base| *base <= newest);
        bases.chain([newest]).filter(move |_| newest > 0)
    }

    /// The producers after the batches from `from` on.
    pub(super) fn producers(&self, from: i64) -> BTreeMap<i64, MProducer> {
        let mut all: BTreeMap<i64, MProducer> = BTreeMap::new();
        for batch in self.batches.iter().filter(|batch| batch.last() >= from) {
            let header = &batch.header;
            if !header.has_producer_id() {
                continue;
            }
            let entry = all.entry(header.producer_id).or_insert(MProducer {
                epoch: header.producer_epoch,
                last_sequence: -1,
                last_offset: -1,
                coordinator_epoch: -1,
                timestamp: -1,
                txn_first: None,
            });
            if entry.epoch != header.producer_epoch {
                entry.epoch = header.producer_epoch;
                entry.last_sequence = -1;
                entry.last_offset = -1;
            }
            entry.timestamp = header.max_timestamp;
            match batch.marker {
                Some((_, coordinator_epoch)) => {
                    entry.coordinator_epoch = coordinator_epoch;
                    entry.txn_first = None;
                }
                None => {
                    entry.last_sequence = header.last_sequence();
                    entry.last_offset = header.last_offset();
                    if header.is_transactional() && entry.txn_first.is_none() {
                        entry.txn_first = Some(header.base_offset);
                    }
                }
            }
        }
        all
    }

    /// Every transaction of the batches from `from` on, by its first offset.
    pub(super) fn transactions(&self, from: i64) -> Vec<MTxn> {
        let mut all: Vec<MTxn> = Vec::new();
        for batch in self.batches.iter().filter(|batch| batch.last() >= from) {
            let id = batch.header.producer_id;
            let open = all.iter().position(|txn| txn.producer_id == id && txn.end.is_none());
            match (batch.marker, open) {
                (Some((commit, _)), Some(open)) => all[open].end = Some((batch.base(), commit)),
                (None, None) if batch.header.is_transactional() => {
                    all.push(MTxn { producer_id: id, first: batch.base(), end: None });
                }
                _ => {}
            }
        }
        all
    }

    /// Forgets everything from `offset` on.
    pub(super) fn truncate(&mut self, offset: i64) {
        self.batches.retain(|batch| batch.base() < offset);
        self.ghosts.clear();
        self.end = offset;
        self.kept_end = self.end;
        self.durable_end = self.durable_end.min(self.end);
        self.start = self.start.min(self.end);
        self.start_limit = self.start;
        self.noted_start = self.noted_start.min(self.start);
        self.high_watermark = self.high_watermark.min(self.end);
        self.forgotten_below.push(self.start);
        self.rebuilt_end = self.end;
    }
}
