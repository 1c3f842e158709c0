//! The invariants.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use ottla_protocol::records::{BatchIter, Scratch};
use ottla_storage::Log;
use ottla_storage::disk::{FetchSlice, Loaded};
use ottla_storage::log::FetchIsolation;
use ottla_testkit::rng::Rng;

use super::batches::MBatch;
use super::model::{MProducer, MTxn, Part};
use super::observe::Observed;

/// How the node went down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Down {
    Clean,
    Kill,
    Power,
}

/// Compares the records of a log that was opened again with what was promised, and takes over what of the rest is there.
pub(super) fn recovered(part: &mut Part, seen: &Observed, down: Down) -> Result<(), String> {
    let least = match down {
        Down::Clean => part.end,
        Down::Kill => part.kept_end,
        Down::Power => part.durable_end,
    };
    let must_from = part.start.max(part.start_limit);
    if !part.loose {
        let wiped = seen.end == seen.start && least <= seen.start;
        // Behind a hole a log may end before it: nothing is there that could be missing.
        let missing = |batch: &MBatch| !batch.gone && batch.last() >= seen.end && batch.base() < least;
        let only_a_hole = part.holes && !part.batches.iter().any(missing);
        if seen.end < least && !wiped && !only_a_hole {
            return Err(format!(
                "ends at {}, but everything below {least} was promised ({down:?})",
                seen.end
            ));
        }
        if down == Down::Clean && (seen.start, seen.end) != (part.start, part.end) {
            return Err(format!("{}..{} was {}..{}", seen.start, seen.end, part.start, part.end));
        }
        if down == Down::Clean && seen.high_watermark != part.high_watermark {
            return Err(format!("high watermark {} was {}", seen.high_watermark, part.high_watermark));
        }
        if seen.start < part.noted_start || seen.start > must_from.max(least) {
            return Err(format!(
                "starts at {}, which is not within {}..={must_from}",
                seen.start, part.noted_start
            ));
        }
    }
    if seen.high_watermark < seen.start || seen.high_watermark > seen.end {
        return Err(format!("high watermark {} of {}..{}", seen.high_watermark, seen.start, seen.end));
    }
    if part.compacted {
        if !part.loose {
            compacted(part, seen, least)?;
        }
        adopt(part, seen);
        return Ok(());
    }
    // Nothing is invented: each batch is one of the model, byte for byte.
    let mut known = part.batches.iter().chain(&part.ghosts).peekable();
    for batch in seen.batches() {
        while known.next_if(|known| known.base() < batch.base()).is_some() {}
        match known.peek() {
            Some(known) if known.base() == batch.base() && known.bytes == batch.bytes => {}
            _ => return Err(format!("the batch at offset {} was never appended there", batch.base())),
        }
    }
    // Nothing is missing between the start and the end, unless nothing above the start was durable.
    if !part.loose && seen.end > seen.start {
        let mut seen_batches = seen.batches().peekable();
        for batch in part.batches.iter().chain(&part.ghosts) {
            if batch.gone || batch.last() < must_from.max(seen.start) || batch.base() >= seen.end {
                continue;
            }
            // The end of a closed segment that was not durable can be lost while the next segment is there.
            if down == Down::Power && batch.base() >= least {
                continue;
            }
            while seen_batches.next_if(|seen| seen.base() < batch.base()).is_some() {}
            if seen_batches.peek().is_none_or(|seen| seen.base() != batch.base()) {
                return Err(format!("the batch at offset {} is missing below {}", batch.base(), seen.end));
            }
        }
        let boundary = |batch: &MBatch| batch.last() + 1 == seen.end;
        let known_end = part.holes
            || seen.end == part.end
            || seen.end == seen.start
            || part.batches.iter().chain(&part.ghosts).any(boundary);
        if !known_end {
            return Err(format!("ends at {}, where no batch ended", seen.end));
        }
    }
    if seen.end == seen.start && seen.batches().next().is_none() {
        // The end was below the start that is noted: the log begins anew there.
        part.batches.clear();
        part.forgotten_below = vec![seen.start];
    }
    adopt(part, seen);
    Ok(())
}

/// Compares a compacted log with what was appended: each record is one of those, of each key the last committed one is
/// there, and where that is a tombstone that is gone nothing older is there either.
///
/// Batches from `least` on may be missing: they were not durable.
pub(super) fn compacted(part: &Part, seen: &Observed, least: i64) -> Result<(), String> {
    let mut truth = BTreeMap::new();
    let present: BTreeSet<i64> = seen.batches().map(MBatch::base).collect();
    let written = || {
        let all = part.batches.iter().chain(&part.ghosts).filter(|batch| batch.base() < seen.end);
        all.filter(|batch| batch.base() < least || present.contains(&batch.base()))
    };
    for batch in written().filter(|batch| batch.marker.is_none()) {
        for ((offset, time), content) in batch.records.iter().zip(&batch.content) {
            truth.insert(*offset, (*time, content));
        }
    }
    let mut there = BTreeSet::new();
    for batch in seen.batches().filter(|batch| !batch.header.is_control()) {
        for ((offset, time), content) in batch.records.iter().zip(&batch.content) {
            if truth.get(offset) != Some(&(*time, content)) {
                return Err(format!("the record at offset {offset} was never written there"));
            }
            there.insert(*offset);
        }
    }
    let newest_start = part.starts.iter().copied().max().unwrap_or(0).max(part.start).max(part.start_limit);
    // What each transaction came to, as far as its marker is in the log.
    let decided = part.transactions(i64::MIN);
    let outcome = |id: i64, offset: i64| {
        let of = |txn: &&MTxn| {
            txn.producer_id == id && txn.first <= offset && txn.end.is_none_or(|(marker, _)| marker > offset)
        };
        let end = decided.iter().find(of).and_then(|txn| txn.end);
        end.filter(|(marker, _)| *marker < seen.end).map(|(_, commit)| commit)
    };
    let mut last: BTreeMap<&[u8], (i64, bool)> = BTreeMap::new();
    let mut older: BTreeMap<&[u8], i64> = BTreeMap::new();
    for batch in written().filter(|batch| batch.marker.is_none()) {
        let committed =
            !batch.header.is_transactional() || outcome(batch.header.producer_id, batch.base()) == Some(true);
        for ((offset, _), (key, value)) in batch.records.iter().zip(&batch.content) {
            // Below any start that there was a cleaning may have taken what it liked.
            if !committed || *offset < newest_start {
                continue;
            }
            if let Some((before, _)) = last.insert(key, (*offset, value.is_none()))
                && there.contains(&before)
            {
                older.insert(key, before);
            }
        }
    }
    for (key, (offset, tombstone)) in last {
        let name = String::from_utf8_lossy(key);
        if there.contains(&offset) {
            continue;
        }
        if !tombstone {
            return Err(format!("the last record of key {name}, at offset {offset}, is gone"));
        }
        if let Some(before) = older.get(key) {
            return Err(format!("key {name} was deleted at {offset}, and its record at {before} is back"));
        }
    }
    Ok(())
}

fn adopt(part: &mut Part, seen: &Observed) {
    let ghosts = std::mem::take(&mut part.ghosts);
    part.batches.extend(ghosts);
    let bases: Vec<i64> = seen.batches().map(MBatch::base).collect();
    let durable = part.durable_end;
    let lost = |batch: &MBatch| {
        batch.base() >= durable && !batch.gone && bases.binary_search(&batch.base()).is_err()
    };
    // A deletion that was not durable came about for segments in the middle only.
    let is_seen = |batch: &MBatch| bases.binary_search(&batch.base()).is_ok();
    part.deleted_within |= part.batches.iter().any(|b| b.gone && b.base() >= seen.start && !is_seen(b));
    let before = part.batches.len();
    part.batches.retain(|batch| batch.base() < seen.end && (part.loose || !lost(batch)));
    part.holes |= part.batches.len() < before;
    for batch in &mut part.batches {
        batch.gone = bases.binary_search(&batch.base()).is_err();
    }
    if seen.start < part.start.max(part.start_limit) {
        // What came back was deleted with its epochs.
        part.epochs_from = part.epochs_from.max(part.start).max(part.start_limit);
    }
    part.start = seen.start;
    part.start_limit = seen.start;
    part.noted_start = part.noted_start.min(seen.start);
    part.end = seen.end;
    part.kept_end = seen.end;
    part.durable_end = part.durable_end.min(seen.end);
    part.high_watermark = seen.high_watermark;
    part.forgotten_below.push(seen.start);
    part.rebuilt_end = seen.end;
    part.loose = false;
}

/// Compares what a log knows of its records with the records.
pub(super) fn state(part: &Part, seen: &Observed) -> Result<(), String> {
    if (seen.start, seen.end) != (part.start, part.end) {
        return Err(format!("{}..{} should be {}..{}", seen.start, seen.end, part.start, part.end));
    }
    if seen.high_watermark != part.high_watermark {
        return Err(format!("high watermark {} should be {}", seen.high_watermark, part.high_watermark));
    }
    epochs(part, seen)?;
    producers(part, seen)?;
    transactions(part, seen)
}

fn epochs(part: &Part, seen: &Observed) -> Result<(), String> {
    let ascending = seen
        .epochs
        .windows(2)
        .all(|pair| pair[0].epoch < pair[1].epoch && pair[0].start_offset < pair[1].start_offset);
    if !ascending {
        return Err(format!("epochs that do not ascend: {:?}", seen.epochs));
    }
    if let Some(last) = seen.epochs.last()
        && last.start_offset > part.end
    {
        return Err(format!(
            "epoch {} starts at {} behind the end {}",
            last.epoch, last.start_offset, part.end
        ));
    }
    for batch in part.batches.iter().filter(|batch| !batch.gone && batch.base() >= part.start) {
        let above = seen.epochs.partition_point(|entry| entry.start_offset <= batch.base());
        let epoch = above.checked_sub(1).map(|slot| seen.epochs[slot].epoch);
        if epoch != Some(batch.header.partition_leader_epoch) && batch.base() >= part.epochs_from {
            return Err(format!(
                "offset {} is of epoch {}, the cache says {epoch:?}: {:?}",
                batch.base(),
                batch.header.partition_leader_epoch,
                seen.epochs
            ));
        }
    }
    Ok(())
}

fn producers(part: &Part, seen: &Observed) -> Result<(), String> {
    let newest = part.forgotten_below.iter().copied().max().unwrap_or(0);
    let mut histories = vec![part.producers(i64::MIN)];
    if part.forgotten_below.iter().any(|from| *from > 0) {
        histories.extend(part.forgotten_points().map(|from| part.producers(from)));
    }
    if part.deleted_within {
        // A snapshot may know of what was deleted, or it may not.
        return Ok(());
    }
    if part.compacted {
        // Batches of producers that were not known when a log was cleaned may be gone. That the others stay is
        // tested with the cleaner.
        return Ok(());
    }
    let found = |id: i64| seen.producers.iter().find(|entry| entry.producer_id == id);
    for (id, full) in &histories[0] {
        let Some(entry) = found(*id) else {
            if histories.iter().all(|history| history.contains_key(id)) {
                return Err(format!("producer {id} is forgotten, it should be {full:?}"));
            }
            continue;
        };
        let entry = MProducer {
            epoch: entry.producer_epoch,
            last_sequence: entry.last_sequence(),
            last_offset: entry.last_data_offset(),
            coordinator_epoch: entry.coordinator_epoch,
            timestamp: entry.last_timestamp,
            txn_first: entry.current_txn_first_offset,
        };
        if !histories.iter().filter_map(|history| history.get(id)).any(|model| *model == entry) {
            return Err(format!(
                "producer {id} is {entry:?}, it should be {full:?} (forgotten below {newest})"
            ));
        }
    }
    match seen.producers.iter().find(|entry| !histories[0].contains_key(&entry.producer_id)) {
        Some(entry) => Err(format!("producer {} never wrote here", entry.producer_id)),
        None => Ok(()),
    }
}

fn transactions(part: &Part, seen: &Observed) -> Result<(), String> {
    if part.deleted_within {
        return Ok(());
    }
    let newest = part.forgotten_below.iter().copied().max().unwrap_or(0);
    let all = part.transactions(i64::MIN);
    let hw = part.high_watermark;
    // What holds back the last stable offset, and what may.
    let mut required = hw;
    let mut possible = Vec::new();
    for txn in &all {
        let holds = txn.end.is_none_or(|(marker, _)| marker >= hw);
        if !holds || txn.first >= hw {
            continue;
        }
        let first = txn.first.max(part.start);
        let forgotten = txn.first < newest || txn.end.is_some_and(|(marker, _)| marker < part.rebuilt_end);
        if forgotten {
            possible.push(first);
        } else {
            required = required.min(first);
        }
    }
    // A producer whose past is forgotten starts a transaction where the full history goes on with one.
    for from in part.forgotten_points() {
        let again = part.transactions(from).into_iter().filter(|txn| !all.contains(txn) && txn.first < hw);
        possible.extend(again.map(|txn| txn.first.max(part.start)));
    }
    let stable = seen.last_stable;
    if stable != required && !(stable < required && possible.contains(&stable)) {
        return Err(format!("last stable offset {stable} should be {required} (high watermark {hw})"));
    }
    let first_segment = seen.segments.first().map_or(0, |(base, _)| *base);
    for txn in &all {
        let Some((marker, false)) = txn.end else { continue };
        let listed = seen
            .aborted
            .iter()
            .filter(|a| {
                (a.producer_id, a.first_offset, a.last_offset) == (txn.producer_id, txn.first, marker)
            })
            .count();
        let must = !part.compacted && marker >= part.start && marker >= first_segment && txn.first >= newest;
        if (must && listed == 0) || listed > 1 {
            return Err(format!("aborted transaction {txn:?} is listed {listed} times: {:?}", seen.aborted));
        }
    }
    for found in &seen.aborted {
        let known = all
            .iter()
            .any(|txn| txn.producer_id == found.producer_id && txn.end == Some((found.last_offset, false)));
        if !known {
            return Err(format!("{found:?} is no aborted transaction"));
        }
    }
    Ok(())
}

/// Looks up offsets and times, and compares each answer with a walk over all records.
pub(super) fn lookups(part: &Part, log: &Log, seen: &Observed, rng: &mut Rng) -> Result<(), String> {
    let batches: Vec<&MBatch> = seen.batches().collect();
    for _ in 0..6 {
        if part.end == part.start {
            break;
        }
        let offset = rng.between(part.start, part.end - 1);
        let isolation =
            *rng.pick(&[FetchIsolation::LogEnd, FetchIsolation::LogEnd, FetchIsolation::TxnCommitted]);
        let max_bytes = *rng.pick(&[1usize, 300, 2000]);
        let cached = log.read_cached(offset, max_bytes, isolation, true);
        let read = match cached.map_err(|e| format!("cached read of {offset}: {e}"))? {
            Some(read) => read,
            None => {
                log.read(offset, max_bytes, isolation, true).map_err(|e| format!("read of {offset}: {e}"))?
            }
        };
        let bytes = load(&read.slice).map_err(|e| format!("load from {offset}: {e}"))?;
        let bound = match isolation {
            FetchIsolation::TxnCommitted => seen.last_stable,
            _ => part.end,
        };
        let mut expected = batches.iter().filter(|batch| batch.last() >= offset && batch.last() < bound);
        let mut count = 0;
        let mut reached = offset;
        for batch in BatchIter::new(&bytes) {
            let batch = batch.map_err(|e| format!("read of {offset}: {e}"))?;
            match expected.next() {
                Some(model) if model.bytes == batch.bytes() => {}
                other => {
                    let other = other.map(|batch| batch.base());
                    let found = batch.header().base_offset;
                    return Err(format!("read of {offset} gives the batch at {found}, not {other:?}"));
                }
            }
            reached = batch.header().last_offset();
            count += 1;
        }
        if count == 0 && offset < bound && expected.next().is_some() {
            return Err(format!("read of {offset} gives nothing below {bound}"));
        }
        // Of what was deleted within, a transaction may have lost its beginning.
        let whole = !part.compacted && !part.deleted_within;
        if isolation == FetchIsolation::TxnCommitted && count > 0 && whole {
            let newest = part.forgotten_below.iter().copied().max().unwrap_or(0);
            let listed = read.aborted_transactions.unwrap_or_default();
            for txn in part.transactions(i64::MIN) {
                let Some((marker, false)) = txn.end else { continue };
                let concerns = marker >= offset && txn.first <= reached && txn.first >= newest;
                let is_listed =
                    listed.iter().any(|a| (a.producer_id, a.first_offset) == (txn.producer_id, txn.first));
                if concerns && !is_listed {
                    return Err(format!("read of {offset}..={reached} does not list the aborted {txn:?}"));
                }
            }
        }
    }
    times(part, log, seen, rng)
}

/// As a fetch does: from memory where that is possible, or else from the disk.
fn load(slice: &FetchSlice) -> io::Result<Vec<u8>> {
    if slice.len == 0 {
        return Ok(Vec::new());
    }
    let loaded = match slice.load_cached()? {
        Some((loaded, ahead)) => {
            if let Some(ahead) = ahead {
                ahead.run();
            }
            loaded
        }
        None => slice.load()?,
    };
    match loaded {
        Loaded::Bytes(bytes) => Ok(bytes.to_vec()),
        Loaded::File(_) => Err(io::Error::other("a simulated file has no descriptor")),
    }
}

fn times(part: &Part, log: &Log, seen: &Observed, rng: &mut Rng) -> Result<(), String> {
    let largest = |batches: &[MBatch]| batches.iter().map(|batch| batch.header.max_timestamp).max();
    let all: Vec<i64> =
        seen.batches().flat_map(|batch| batch.records.iter().map(|(_, time)| *time)).collect();
    if all.is_empty() {
        return Ok(());
    }
    // An empty segment has the time of its file.
    if seen.segments.iter().any(|(_, batches)| batches.is_empty()) && seen.segments.len() > 1 {
        let (last, before) = seen.segments.split_last().expect("is not empty");
        if before.iter().any(|(_, batches)| batches.is_empty()) || !last.1.is_empty() {
            return Ok(());
        }
    }
    for _ in 0..4 {
        let target = *rng.pick(&all) + rng.between(-2, 2);
        let first = seen.segments.partition_point(|(base, _)| *base <= part.start).saturating_sub(1);
        let segment = seen.segments[first..].iter().find(|(_, b)| largest(b).is_some_and(|l| l >= target));
        let expected = segment.and_then(|(_, batches)| {
            let mut records = batches.iter().flat_map(|batch| batch.records.iter());
            records.find(|(offset, time)| *time >= target && *offset >= part.start).copied()
        });
        let found = log.offset_for_timestamp(target).map_err(|e| format!("time {target}: {e}"))?;
        let found = found.map(|found| (found.offset, found.timestamp));
        if expected.is_some() && found != expected {
            return Err(format!("time {target} is found at {found:?}, it is at {expected:?}"));
        }
    }
    let newest = all.iter().copied().max();
    let found = log.max_timestamp_offset().map_err(|e| format!("largest time: {e}"))?;
    if found.map(|found| found.timestamp) != newest {
        return Err(format!("the largest time is {newest:?}, found {found:?}"));
    }
    // Every record can be read as such.
    let mut scratch = Scratch::default();
    if let Some(batch) = seen.batches().next() {
        let parsed = ottla_protocol::records::Batch::parse(&batch.bytes).map_err(|e| e.to_string())?;
        let good = parsed.records(&mut scratch).map_err(|e| e.to_string())?.all(|record| record.is_ok());
        if !good {
            return Err(format!("a record of the batch at {} cannot be read", batch.base()));
        }
    }
    Ok(())
}
