//! The three indexes of a segment, compared with its batches while those are read.

use std::path::{Path, PathBuf};

use ottla_protocol::records::BatchHeader;

use super::Examiner;
use super::finding::{Effect, Finding, Problem};
use crate::disk::{OpenMode, read_full};
use crate::index::AbortedTxn;
use crate::segment::names;

const OFFSET_ENTRY: usize = 8;
const TIME_ENTRY: usize = 12;
const TXN_ENTRY: usize = 34;
/// A longer index is none of Kafka's.
const MAX_INDEX_BYTES: u64 = 1 << 30;

/// The entries of an index file. None when it is not there, or cannot be read and that has been told.
fn load<const N: usize>(examiner: &mut Examiner<'_>, path: &Path, effect: Effect) -> Option<Vec<[u8; N]>> {
    let read = || {
        let Some(metadata) = examiner.disk.metadata(path)? else { return Ok(None) };
        if metadata.len > MAX_INDEX_BYTES {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        let file = examiner.disk.open(path, OpenMode::Read)?;
        let mut bytes = vec![0; metadata.len as usize];
        let count = read_full(&*file, &mut bytes, 0)?;
        bytes.truncate(count);
        Ok(Some(bytes))
    };
    match read() {
        Ok(None) => None,
        Ok(Some(bytes)) => {
            let (entries, rest) = bytes.as_chunks::<N>();
            if !rest.is_empty() {
                let problem = Problem::IndexLength { length: bytes.len() as u64, entry: N as u64 };
                let position = (entries.len() * N) as u64;
                examiner.found(Finding::problem(path, problem, effect).at(position));
            }
            Some(entries.to_vec())
        }
        Err(error) => {
            examiner.unreadable(path, error, effect);
            None
        }
    }
}

/// Without the zeros behind the last entry: an index that is written to is longer than its entries.
fn without_padding<const N: usize>(mut entries: Vec<[u8; N]>) -> Vec<[u8; N]> {
    let used = entries.iter().rposition(|entry| entry.iter().any(|byte| *byte != 0)).map_or(0, |at| at + 1);
    entries.truncate(used);
    entries
}

fn int32(entry: &[u8], at: usize) -> i32 {
    entry.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |raw| i32::from_be_bytes(*raw))
}

fn int64(entry: &[u8], at: usize) -> i64 {
    entry.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |raw| i64::from_be_bytes(*raw))
}

#[derive(Debug, Clone, Copy)]
struct OffsetEntry {
    offset: i64,
    position: u32,
    /// Where the entry is in the index.
    at: u64,
}

#[derive(Debug, Clone, Copy)]
struct TimeEntry {
    timestamp: i64,
    offset: i64,
    at: u64,
}

/// The offset and time index of a segment, on the way through its batches.
pub(super) struct Indexes {
    offset_path: PathBuf,
    time_path: PathBuf,
    effect: Effect,
    /// By position.
    offsets: Vec<OffsetEntry>,
    next_offset: usize,
    /// By offset.
    times: Vec<TimeEntry>,
    next_time: usize,
    /// Places that could not be read; entries that lead there are not told again.
    holes: Vec<(u64, u64)>,
    hole_offsets: Vec<(i64, i64)>,
}

impl Indexes {
    /// Reads both. `empty` says that the segment has no bytes, `effect` what damage of an index leads to.
    pub(super) fn load(
        examiner: &mut Examiner<'_>,
        dir: &Path,
        base_offset: i64,
        empty: bool,
        effect: Effect,
    ) -> Indexes {
        let offset_path = names::file(dir, base_offset, names::INDEX_SUFFIX);
        let time_path = names::file(dir, base_offset, names::TIME_INDEX_SUFFIX);
        for path in [&offset_path, &time_path] {
            if !empty && matches!(examiner.disk.metadata(path), Ok(None)) {
                examiner.problem(path, Problem::NoIndex, Effect::Rebuilt);
            }
        }
        let offsets = load::<OFFSET_ENTRY>(examiner, &offset_path, effect).unwrap_or_default();
        let mut offsets: Vec<OffsetEntry> = without_padding(offsets)
            .iter()
            .enumerate()
            .map(|(slot, entry)| OffsetEntry {
                offset: base_offset.wrapping_add(int32(entry, 0).into()),
                position: int32(entry, 4) as u32,
                at: (slot * OFFSET_ENTRY) as u64,
            })
            .collect();
        for pair in offsets.windows(2) {
            if pair[1].offset <= pair[0].offset || pair[1].position <= pair[0].position {
                let finding = Finding::problem(&offset_path, Problem::EntryNotAscending, effect);
                examiner.found(finding.at(pair[1].at).of_offset(pair[1].offset));
            }
        }
        let times = load::<TIME_ENTRY>(examiner, &time_path, effect).unwrap_or_default();
        let mut times: Vec<TimeEntry> = without_padding(times)
            .iter()
            .enumerate()
            .map(|(slot, entry)| TimeEntry {
                timestamp: int64(entry, 0),
                offset: base_offset.wrapping_add(int32(entry, 8).into()),
                at: (slot * TIME_ENTRY) as u64,
            })
            .collect();
        for pair in times.windows(2) {
            if pair[1].offset <= pair[0].offset || pair[1].timestamp <= pair[0].timestamp {
                let finding = Finding::problem(&time_path, Problem::EntryNotAscending, effect);
                examiner.found(finding.at(pair[1].at).of_offset(pair[1].offset));
            }
        }
        offsets.sort_by_key(|entry| entry.position);
        times.sort_by_key(|entry| entry.offset);
        Indexes {
            offset_path,
            time_path,
            effect,
            offsets,
            next_offset: 0,
            times,
            next_time: 0,
            holes: Vec::new(),
            hole_offsets: Vec::new(),
        }
    }

    /// Positions behind `position` that the offset index leads to.
    pub(super) fn positions_behind(&self, position: u64) -> impl Iterator<Item = u64> + '_ {
        self.offsets.iter().map(|entry| u64::from(entry.position)).filter(move |at| *at > position)
    }

    /// Notes that what is between two positions, and between two offsets, cannot be read.
    pub(super) fn hole(&mut self, positions: (u64, u64), offsets: (i64, i64)) {
        self.holes.push(positions);
        self.hole_offsets.push(offsets);
    }

    /// A good batch, in order.
    pub(super) fn batch(
        &mut self,
        examiner: &mut Examiner<'_>,
        position: u64,
        first: i64,
        header: &BatchHeader,
    ) {
        self.skip_positions(examiner, position);
        while let Some(entry) = self.offsets.get(self.next_offset).copied()
            && u64::from(entry.position) == position
        {
            self.next_offset += 1;
            let last_offset = header.last_offset();
            let path = &self.offset_path;
            let finding = if entry.offset < first {
                let problem = Problem::EntryAhead { offset: entry.offset, batch: first };
                Finding::problem(path, problem, self.effect)
            } else if entry.offset != last_offset {
                // Searches find what they look for, starting earlier than they would have to. A follower that appends
                // several batches at once writes such entries in some versions of Kafka.
                let problem = Problem::EntryNotLast { offset: entry.offset, last_offset };
                Finding::note(path, problem, Effect::Nothing)
            } else {
                continue;
            };
            examiner.found(finding.at(entry.at).of_offset(entry.offset));
        }
        self.skip_times(examiner, first);
        while let Some(entry) = self.times.get(self.next_time).copied()
            && entry.offset <= header.last_offset()
        {
            self.next_time += 1;
            if entry.timestamp != header.max_timestamp {
                let problem = Problem::OtherTimestamp {
                    offset: entry.offset,
                    expected: header.max_timestamp,
                    found: entry.timestamp,
                };
                let finding = Finding::problem(&self.time_path, problem, self.effect);
                examiner.found(finding.at(entry.at).of_offset(entry.offset));
            }
        }
    }

    fn skip_positions(&mut self, examiner: &mut Examiner<'_>, position: u64) {
        while let Some(entry) = self.offsets.get(self.next_offset).copied()
            && u64::from(entry.position) < position
        {
            self.next_offset += 1;
            let at = u64::from(entry.position);
            if self.holes.iter().any(|(from, to)| (*from..*to).contains(&at)) {
                continue;
            }
            let problem = Problem::EntryWithoutBatch { offset: entry.offset, position: entry.position };
            let finding = Finding::problem(&self.offset_path, problem, self.effect);
            examiner.found(finding.at(entry.at).of_offset(entry.offset));
        }
    }

    fn skip_times(&mut self, examiner: &mut Examiner<'_>, offset: i64) {
        while let Some(entry) = self.times.get(self.next_time).copied()
            && entry.offset < offset
        {
            self.next_time += 1;
            if self.hole_offsets.iter().any(|(from, to)| (*from..*to).contains(&entry.offset)) {
                continue;
            }
            let problem = Problem::OffsetNotThere { offset: entry.offset };
            let finding = Finding::problem(&self.time_path, problem, self.effect);
            examiner.found(finding.at(entry.at).of_offset(entry.offset));
        }
    }

    /// The end of the segment: what is left leads nowhere.
    pub(super) fn end(&mut self, examiner: &mut Examiner<'_>) {
        self.skip_positions(examiner, u64::MAX);
        self.skip_times(examiner, i64::MAX);
    }
}

/// A transaction that the log says was aborted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Abort {
    pub(super) producer_id: i64,
    /// None when it began before what is in the log.
    pub(super) first_offset: Option<i64>,
    pub(super) last_offset: i64,
    /// None when it cannot be known.
    pub(super) last_stable_offset: Option<i64>,
}

/// What a segment says of transactions.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    aborts: Vec<Abort>,
    /// First offset and producer of the first transaction that begins behind each abort, and of the first that is of
    /// yet another producer: among them is, for each abort, the next one of another producer than its own.
    begins: Vec<(i64, i64)>,
    /// Where those behind the last abort start.
    behind_last: usize,
}

impl Transactions {
    pub(super) fn aborted(&mut self, abort: Abort) {
        self.aborts.push(abort);
        self.behind_last = self.begins.len();
    }

    pub(super) fn begins(&mut self, first_offset: i64, producer_id: i64) {
        let is_new = match &self.begins[self.behind_last..] {
            [] => !self.aborts.is_empty(),
            [(_, only)] => *only != producer_id,
            _ => false,
        };
        if is_new {
            self.begins.push((first_offset, producer_id));
        }
    }

    /// Compares the transaction index with what the segment says. `compare` is off where compaction may have removed
    /// what the index tells.
    pub(super) fn check(
        &self,
        examiner: &mut Examiner<'_>,
        path: &Path,
        segment: (i64, i64),
        compare: bool,
        effect: Effect,
    ) {
        let aborts = &self.aborts;
        let entries = load::<TXN_ENTRY>(examiner, path, effect).unwrap_or_default();
        let mut known: Vec<i64> = Vec::with_capacity(entries.len());
        let mut previous = i64::MIN;
        for (slot, entry) in entries.iter().enumerate() {
            let at = (slot * TXN_ENTRY) as u64;
            let Some(txn) = AbortedTxn::parse(entry) else {
                let reason = "unknown version in a transaction index".to_owned();
                examiner.found(Finding::problem(path, Problem::Malformed { reason }, Effect::Rebuilt).at(at));
                continue;
            };
            known.push(txn.last_offset);
            let (producer_id, offset) = (txn.producer_id, txn.last_offset);
            let inside = (segment.0..segment.1).contains(&offset) && txn.first_offset <= offset;
            let told =
                aborts.iter().find(|abort| abort.last_offset == offset && abort.producer_id == producer_id);
            let problem = match told {
                _ if offset <= previous => Problem::EntryNotAscending,
                None if compare || !inside => Problem::NoAbortMarker { producer_id, offset },
                Some(abort) if compare && self.differs(abort, &txn) => {
                    Problem::OtherTransaction { producer_id, offset }
                }
                _ => {
                    previous = offset;
                    continue;
                }
            };
            previous = offset;
            examiner.found(Finding::problem(path, problem, effect).at(at).of_offset(offset));
        }
        if compare {
            for abort in aborts.iter().filter(|abort| abort.first_offset.is_some()) {
                if !known.contains(&abort.last_offset) {
                    let problem = Problem::AbortNotIndexed {
                        producer_id: abort.producer_id,
                        offset: abort.last_offset,
                    };
                    examiner.found(Finding::problem(path, problem, effect).of_offset(abort.last_offset));
                }
            }
        }
    }

    fn differs(&self, abort: &Abort, txn: &AbortedTxn) -> bool {
        let stable = txn.stable_offset_behind();
        // Kafka's followers tell where the next transaction of another producer begins: see `stable_offset_behind`.
        let next = || {
            let behind = self.begins.partition_point(|(first, _)| *first <= txn.last_offset);
            self.begins[behind..].iter().find(|(_, producer_id)| *producer_id != txn.producer_id)
        };
        let is_next = stable < txn.last_stable_offset
            && next().is_some_and(|(first, _)| *first == txn.last_stable_offset);
        let told = if is_next { stable } else { txn.last_stable_offset };
        abort.first_offset.is_some_and(|first| first != txn.first_offset)
            || abort.last_stable_offset.is_some_and(|stable| stable != told)
    }
}
