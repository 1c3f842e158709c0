//! The batches of a segment, one after the other.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use ottla_protocol::records::control::EndTxnMarker;
use ottla_protocol::records::{Batch, BatchHeader, Scratch};

use super::Examiner;
use super::finding::{Effect, Finding, Problem};
use super::index::{Abort, Indexes, Transactions};
use crate::checkpoint::{EpochEntry, LEADER_EPOCH_CHECKPOINT};
use crate::disk::{DiskFile, OpenMode, read_full};
use crate::segment::names;
use crate::segment::runway::MOST as MAX_RUNWAY;
use crate::segment::scan::{BATCH_CHUNK, Scan, ScanError};

/// Places that are tried behind damage, to find where the log goes on.
const MAX_RESUMES: usize = 1_000;
/// Open transactions that are kept in mind; with more, transactions are no longer compared with their index.
const MAX_OPEN_TRANSACTIONS: usize = 1 << 20;

/// Whether offsets can be missing in a log that is in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// Every offset has its record.
    Plain,
    /// Compaction removes records.
    Compacted,
    /// Nobody says.
    Unknown,
}

/// What is known of a log before the next segment is read.
pub(super) struct LogState<'l> {
    pub(super) dir: PathBuf,
    pub(super) policy: Policy,
    pub(super) epochs: Vec<EpochEntry>,
    /// Whether the epochs are all of the log's: after a clean stop.
    pub(super) epochs_complete: bool,
    pub(super) log_start_offset: i64,
    /// The offset that has to come next.
    pub(super) expected: Option<i64>,
    pub(super) epoch: i32,
    /// First offsets of open transactions, by producer.
    open: BTreeMap<i64, i64>,
    /// Every open transaction is known.
    all_open_known: bool,
    /// Where a start ends the log.
    pub(super) cut: Option<Effect>,
    /// Hears every value of every record that is not a control record.
    pub(super) on_value: Option<&'l mut dyn FnMut(&mut Examiner<'_>, &Path, u64, i64, &[u8])>,
}

/// One segment and its place in the log.
pub(super) struct SegmentPlace {
    pub(super) base_offset: i64,
    pub(super) is_last: bool,
    /// Whether a start scans it.
    pub(super) scanned: bool,
    /// Where the next segment starts.
    pub(super) next_base: Option<i64>,
    /// Bytes of the segments behind it.
    pub(super) bytes_behind: u64,
    /// Where the log seems to end.
    pub(super) apparent_end: Option<i64>,
}

impl<'l> LogState<'l> {
    pub(super) fn new(dir: &Path, policy: Policy, all_open_known: bool) -> LogState<'l> {
        LogState {
            dir: dir.to_path_buf(),
            policy,
            epochs: Vec::new(),
            epochs_complete: false,
            log_start_offset: 0,
            expected: None,
            epoch: -1,
            open: BTreeMap::new(),
            all_open_known,
            cut: None,
            on_value: None,
        }
    }

    /// Reads a segment. What follows is only told when the log goes on behind it.
    pub(super) fn segment(
        &mut self,
        examiner: &mut Examiner<'_>,
        place: &SegmentPlace,
        scratch: &mut Scratch,
    ) {
        let path = names::file(&self.dir, place.base_offset, names::LOG_SUFFIX);
        let opened = examiner.disk.open(&path, OpenMode::Read).and_then(|file| Ok((file.len()?, file)));
        let (size, file) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                examiner.unreadable(&path, error, Effect::Offline);
                self.expected = None;
                return;
            }
        };
        examiner.summary.segments += 1;
        let index_effect = if place.scanned { Effect::Rebuilt } else { Effect::WrongSearch };
        let mut indexes = Indexes::load(examiner, &self.dir, place.base_offset, size == 0, index_effect);
        let mut walk = Walk {
            path: &path,
            file: &*file,
            size,
            place,
            transactions: Transactions::default(),
            damaged: false,
        };
        self.expect_offset(examiner, &walk, 0, place.base_offset, place.base_offset);
        if self.policy != Policy::Compacted {
            self.expected = self.expected.map(|expected| expected.max(place.base_offset));
        }
        let mut position = 0;
        while position < size {
            position = self.from(examiner, &mut walk, &mut indexes, position, scratch);
        }
        indexes.end(examiner);
        examiner.read_bytes(size);
        let compare = self.policy == Policy::Plain && !walk.damaged;
        let effect = if place.scanned { Effect::Rebuilt } else { Effect::AbortedVisible };
        let txn_path = names::file(&self.dir, place.base_offset, names::TXN_INDEX_SUFFIX);
        let range = (place.base_offset, self.expected.unwrap_or(i64::MAX));
        walk.transactions.check(examiner, &txn_path, range, compare, effect);
    }

    /// Reads from a position to the first damage; returns where to go on.
    fn from(
        &mut self,
        examiner: &mut Examiner<'_>,
        walk: &mut Walk<'_>,
        indexes: &mut Indexes,
        start: u64,
        scratch: &mut Scratch,
    ) -> u64 {
        let mut scan = Scan::new(walk.file, start, walk.size, BATCH_CHUNK);
        let mut position = start;
        loop {
            let (problem, size) = match scan.next_batch() {
                Ok(Some((at, batch))) => match batch.ensure_valid() {
                    Ok(()) => {
                        let header = *batch.header();
                        self.batch(examiner, walk, indexes, at, &batch, scratch);
                        position = at + header.size as u64;
                        continue;
                    }
                    Err(error) => (Problem::BadBatch { error }, Some(batch.header().size as u64)),
                },
                Ok(None) if position >= walk.size => return walk.size,
                Ok(None) => (Problem::Incomplete { bytes: walk.size - position }, None),
                Err(ScanError::Corrupt { error, .. }) => (Problem::BadBatch { error }, None),
                Err(ScanError::Io(error)) => {
                    let effect = self.damage(walk, position, None, false);
                    examiner.found(
                        Finding::problem(walk.path, Problem::Unreadable { error }, effect).at(position),
                    );
                    walk.damaged = true;
                    return walk.size;
                }
            };
            return self.damaged(examiner, walk, indexes, position, problem, size);
        }
    }

    /// Tells of damage, and finds where the log goes on.
    fn damaged(
        &mut self,
        examiner: &mut Examiner<'_>,
        walk: &mut Walk<'_>,
        indexes: &mut Indexes,
        position: u64,
        problem: Problem,
        size: Option<u64>,
    ) -> u64 {
        let left = walk.size - position;
        if walk.place.is_last && walk.place.scanned && left <= MAX_RUNWAY && walk.is_zero_from(position) {
            let finding = Finding::note(walk.path, Problem::ZerosAhead { bytes: left }, Effect::CutOff);
            examiner.found(finding.at(position));
            return walk.size;
        }
        walk.damaged = true;
        let incomplete = matches!(problem, Problem::Incomplete { .. });
        let problem = if walk.is_zero_from(position) {
            Problem::Zeros { bytes: walk.size - position }
        } else {
            problem
        };
        let next = size.map(|size| position + size);
        let candidates = next.into_iter().chain(indexes.positions_behind(position));
        let expected = self.expected.unwrap_or(walk.place.base_offset);
        let mut resumed = None;
        for candidate in candidates.take(MAX_RESUMES) {
            if let Some(header) = walk.good_batch_at(candidate, expected) {
                resumed = Some((candidate, header));
                break;
            }
        }
        let to = resumed.as_ref().map(|(_, header)| header.base_offset).or(walk.place.next_base);
        let structural = size.is_none() && !incomplete;
        let effect = self.damage(walk, position, to, structural);
        examiner.found(Finding::problem(walk.path, problem, effect).at(position).of_offset(expected));
        let end = resumed.as_ref().map_or(walk.size, |(at, _)| *at);
        indexes.hole((position, end), (expected, to.unwrap_or(i64::MAX)));
        // What was in the hole is told; it is not missing on top of that.
        self.expected = to;
        self.all_open_known = false;
        end
    }

    /// What damage at a position leads to.
    fn damage(&mut self, walk: &Walk<'_>, position: u64, to: Option<i64>, structural: bool) -> Effect {
        let from = self.expected.unwrap_or(walk.place.base_offset);
        if let Some(cut) = self.cut {
            return cut;
        }
        if walk.place.scanned {
            let bytes = walk.size - position + walk.place.bytes_behind;
            let cut = Effect::Cut { from, end: walk.place.apparent_end, bytes };
            self.cut = Some(cut);
            return cut;
        }
        if walk.place.is_last && structural && to.is_none() {
            return Effect::Offline;
        }
        Effect::Unreadable { from, to }
    }

    /// Checks that `first` may follow.
    fn expect_offset(
        &mut self,
        examiner: &mut Examiner<'_>,
        walk: &Walk<'_>,
        position: u64,
        first: i64,
        of: i64,
    ) {
        let Some(expected) = self.expected else { return };
        let finding = if first < expected {
            let problem = Problem::OffsetsGoBack { expected, found: first };
            let effect = self.damage(walk, position, None, false);
            Finding::problem(walk.path, problem, effect)
        } else if first > expected {
            let problem = Problem::OffsetsMissing { from: expected, to: first };
            let effect = Effect::Gone { from: expected, to: first };
            match self.policy {
                Policy::Compacted => return,
                Policy::Plain => Finding::problem(walk.path, problem, effect),
                Policy::Unknown => Finding::note(walk.path, problem, Effect::Nothing),
            }
        } else {
            return;
        };
        examiner.found(finding.at(position).of_offset(of));
    }

    fn batch(
        &mut self,
        examiner: &mut Examiner<'_>,
        walk: &mut Walk<'_>,
        indexes: &mut Indexes,
        position: u64,
        batch: &Batch<'_>,
        scratch: &mut Scratch,
    ) {
        let header = batch.header();
        let first = match batch.first_offset(scratch) {
            Ok(first) => first,
            Err(error) => {
                let effect = self.damage(walk, position, Some(header.next_offset()), false);
                let finding = Finding::problem(walk.path, Problem::BadBatch { error }, effect);
                examiner.found(finding.at(position).of_offset(header.base_offset));
                header.base_offset
            }
        };
        examiner.summary.batches += 1;
        let base = walk.place.base_offset;
        let last = header.last_offset();
        if first < base || last < first || last.wrapping_sub(base) > i64::from(i32::MAX) {
            let effect = self.damage(walk, position, None, false);
            let problem = Problem::OutsideSegment { base_offset: header.base_offset };
            examiner.found(Finding::problem(walk.path, problem, effect).at(position).of_offset(first));
            self.expected = None;
            walk.damaged = true;
            return;
        }
        self.expect_offset(examiner, walk, position, first, first);
        self.expected = Some(last + 1);
        self.check_epoch(examiner, walk, position, first, header);
        indexes.batch(examiner, position, first, header);
        if header.is_control() {
            self.control(examiner, walk, position, batch, scratch);
        } else {
            if header.is_transactional() && header.has_producer_id() {
                if let Entry::Vacant(entry) = self.open.entry(header.producer_id) {
                    entry.insert(first);
                    walk.transactions.begins(first, header.producer_id);
                }
                if self.open.len() > MAX_OPEN_TRANSACTIONS {
                    self.open.clear();
                    self.all_open_known = false;
                }
            }
            self.values(examiner, walk, position, batch, scratch);
        }
    }

    fn check_epoch(
        &mut self,
        examiner: &mut Examiner<'_>,
        walk: &Walk<'_>,
        position: u64,
        first: i64,
        header: &BatchHeader,
    ) {
        let found = header.partition_leader_epoch;
        if header.magic < 2 {
            return;
        }
        if (0..self.epoch).contains(&found) {
            let problem = Problem::EpochGoesBack { previous: self.epoch, found };
            let finding = Finding::problem(walk.path, problem, Effect::EpochsUnsure);
            examiner.found(finding.at(position).of_offset(first));
        }
        self.epoch = self.epoch.max(found);
        if first < self.log_start_offset {
            return;
        }
        let at = self.epochs.partition_point(|entry| entry.start_offset <= first);
        let Some(known) = at.checked_sub(1).and_then(|at| self.epochs.get(at)) else {
            if self.epochs_complete && found >= 0 {
                let problem = Problem::EpochNotNoted { epoch: found, offset: first };
                let path = self.dir.join(LEADER_EPOCH_CHECKPOINT);
                // In order when records that were deleted have come back: a kill before the new start was noted.
                examiner.found(Finding::note(&path, problem, Effect::EpochsUnsure).of_offset(first));
            }
            return;
        };
        let newer_than_noted = at == self.epochs.len() && found > known.epoch && !self.epochs_complete;
        if known.epoch != found && !newer_than_noted {
            let problem = Problem::OtherEpoch { expected: known.epoch, found };
            let finding = Finding::problem(walk.path, problem, Effect::EpochsUnsure);
            examiner.found(finding.at(position).of_offset(first));
        }
    }

    fn control(
        &mut self,
        examiner: &mut Examiner<'_>,
        walk: &mut Walk<'_>,
        position: u64,
        batch: &Batch<'_>,
        scratch: &mut Scratch,
    ) {
        let header = batch.header();
        let marker = match batch.records(scratch).map(|mut records| records.next()) {
            Ok(Some(Ok(record))) => EndTxnMarker::parse(&record),
            Ok(None) => Ok(None),
            Ok(Some(Err(error))) | Err(error) => Err(error),
        };
        let marker = match marker {
            Ok(Some(marker)) if header.has_producer_id() => marker,
            Ok(_) => return,
            Err(error) => {
                let effect = self.damage(walk, position, Some(header.next_offset()), false);
                let finding = Finding::problem(walk.path, Problem::BadBatch { error }, effect);
                examiner.found(finding.at(position).of_offset(header.base_offset));
                return;
            }
        };
        let first_offset = self.open.remove(&header.producer_id);
        if !marker.commit {
            let open = self.open.values().copied().min();
            let stable = open.unwrap_or(header.base_offset + 1);
            walk.transactions.aborted(Abort {
                producer_id: header.producer_id,
                first_offset: first_offset.filter(|_| self.all_open_known),
                last_offset: header.base_offset,
                last_stable_offset: self.all_open_known.then_some(stable),
            });
        }
    }

    fn values(
        &mut self,
        examiner: &mut Examiner<'_>,
        walk: &Walk<'_>,
        position: u64,
        batch: &Batch<'_>,
        scratch: &mut Scratch,
    ) {
        let Some(on_value) = self.on_value.as_deref_mut() else { return };
        let bad = |examiner: &mut Examiner<'_>, reason: String| {
            let problem = Problem::BadRecord { reason };
            let finding = Finding::problem(walk.path, problem, Effect::Refused);
            examiner.found(finding.at(position).of_offset(batch.header().base_offset));
        };
        match batch.records(scratch) {
            Ok(records) => {
                for record in records {
                    match record {
                        Ok(record) => {
                            let value = record.value.unwrap_or_default();
                            on_value(examiner, walk.path, position, record.offset, value);
                        }
                        Err(error) => return bad(examiner, error.to_string()),
                    }
                }
            }
            Err(error) => bad(examiner, error.to_string()),
        }
    }
}

/// A segment that is being read.
struct Walk<'w> {
    path: &'w Path,
    file: &'w dyn DiskFile,
    size: u64,
    place: &'w SegmentPlace,
    transactions: Transactions,
    damaged: bool,
}

impl Walk<'_> {
    fn is_zero_from(&self, position: u64) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        let mut at = position;
        while at < self.size {
            match read_full(self.file, &mut buffer, at) {
                Ok(0) | Err(_) => return at > position,
                Ok(count) if buffer[..count].iter().all(|byte| *byte == 0) => at += count as u64,
                Ok(_) => return false,
            }
        }
        true
    }

    /// The header of a batch at a position, if one starts there whose checksum and offset are right.
    fn good_batch_at(&self, position: u64, expected: i64) -> Option<BatchHeader> {
        let mut scan = Scan::new(self.file, position, self.size, 0);
        let (_, batch) = scan.next_batch().ok()??;
        let header = *batch.header();
        let inside = header.base_offset >= expected
            && header.last_offset() >= header.base_offset
            && header.last_offset().wrapping_sub(self.place.base_offset) <= i64::from(i32::MAX);
        (inside && batch.ensure_valid().is_ok()).then_some(header)
    }
}

/// Where a log seems to end: the last header of its last segment that can be read.
pub(super) fn apparent_end(file: &dyn DiskFile, size: u64, base_offset: i64) -> Option<i64> {
    let mut scan = Scan::new(file, 0, size, BATCH_CHUNK);
    let mut end = base_offset;
    loop {
        match scan.next_header() {
            Ok(Some((_, header))) => end = end.max(header.next_offset()),
            Ok(None) => return Some(end),
            Err(ScanError::Corrupt { .. } | ScanError::Io(_)) => return None,
        }
    }
}
