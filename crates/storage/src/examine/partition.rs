//! The directory of one partition.

use std::path::{Path, PathBuf};

use ottla_protocol::records::Scratch;
use ottla_protocol::types::Uuid;

use super::Examiner;
use super::finding::{Effect, Finding, Leftover, Problem};
use super::segment::{LogState, Policy, SegmentPlace, apparent_end};
use super::{producers, text};
use crate::checkpoint::{EpochEntry, LEADER_EPOCH_CHECKPOINT};
use crate::dirs::{PARTITION_METADATA_FILE, PartitionMetadata};
use crate::disk::{DirEntry, OpenMode};
use crate::kraft::{QUORUM_STATE_FILE, SnapshotId};
use crate::segment::names;

/// Decompressed bytes of one batch: more than any broker takes.
const BUDGET: usize = 1 << 30;

/// A partition and what its log directory says of it.
pub(super) struct PartitionPlace {
    pub(super) dir: PathBuf,
    pub(super) clean: bool,
    pub(super) recovery_point: i64,
    pub(super) log_start_offset: i64,
    pub(super) policy: Policy,
    /// The topic's id, where the cluster's metadata has it.
    pub(super) topic_id: Option<Uuid>,
    pub(super) is_metadata: bool,
}

/// What the partition turned out to be.
#[derive(Debug, Default)]
pub(super) struct PartitionFacts {
    pub(super) start: i64,
    /// The offset after the last record; none when the end is damaged.
    pub(super) end: Option<i64>,
    pub(super) last_epoch: i32,
}

pub(super) type OnValue<'v> = &'v mut dyn FnMut(&mut Examiner<'_>, &Path, u64, i64, &[u8]);

/// The files of a partition by what they are.
#[derive(Default)]
struct Files {
    segments: Vec<(i64, u64)>,
    snapshots: Vec<(i64, PathBuf)>,
}

pub(super) fn examine(
    examiner: &mut Examiner<'_>,
    place: &PartitionPlace,
    on_value: Option<OnValue<'_>>,
) -> PartitionFacts {
    examiner.summary.partitions += 1;
    let entries = match examiner.disk.list(&place.dir) {
        Ok(entries) => entries,
        Err(error) => {
            examiner.unreadable(&place.dir, error, Effect::Offline);
            return PartitionFacts::default();
        }
    };
    partition_metadata(examiner, place);
    let files = classify(examiner, place, &entries);
    if files.segments.is_empty() {
        examiner.problem(&place.dir, Problem::NoSegments, Effect::Nothing);
        return PartitionFacts::default();
    }
    let start = place.log_start_offset.max(files.segments[0].0);
    let mut log = LogState::new(&place.dir, place.policy, files.segments[0].0 == 0);
    log.on_value = on_value;
    log.log_start_offset = start;
    log.epochs = epochs(examiner, &place.dir);
    log.epochs_complete = place.clean;
    let epochs = log.epochs.clone();
    // The segment that holds the recovery point and all behind it are scanned, unless the stop was clean.
    let first_scanned = match place.clean {
        true => usize::MAX,
        false => files.segments.partition_point(|(base, _)| *base <= place.recovery_point).saturating_sub(1),
    };
    let mut scratch = Scratch::with_budget(BUDGET);
    let count = files.segments.len();
    let end = last_end(examiner, &place.dir, files.segments[count - 1]);
    for (index, (base_offset, _)) in files.segments.iter().enumerate() {
        let segment = SegmentPlace {
            base_offset: *base_offset,
            is_last: index + 1 == count,
            scanned: index >= first_scanned,
            next_base: files.segments.get(index + 1).map(|(base, _)| *base),
            bytes_behind: files.segments[index + 1..].iter().map(|(_, size)| size).sum(),
            apparent_end: end,
        };
        log.segment(examiner, &segment, &mut scratch);
    }
    let last_base = files.segments[count - 1].0;
    let end = log.expected.map(|end| end.max(last_base)).or_else(|| {
        // A segment without records ends where it starts.
        (files.segments[count - 1].1 == 0).then_some(last_base)
    });
    let path = place.dir.join(LEADER_EPOCH_CHECKPOINT);
    for entry in &epochs {
        if let Some(end) = end.filter(|end| entry.start_offset > *end) {
            let problem = Problem::EpochBeyondEnd { epoch: entry.epoch, offset: entry.start_offset, end };
            examiner.problem(&path, problem, Effect::CleanedUp);
        }
    }
    for (offset, path) in &files.snapshots {
        producers::snapshot(examiner, path, *offset, end);
    }
    PartitionFacts { start, end, last_epoch: log.epoch }
}

/// Where the last segment ends by its headers.
fn last_end(examiner: &Examiner<'_>, dir: &Path, (base_offset, size): (i64, u64)) -> Option<i64> {
    let path = names::file(dir, base_offset, names::LOG_SUFFIX);
    let file = examiner.disk.open(&path, OpenMode::Read).ok()?;
    apparent_end(&*file, size, base_offset)
}

fn partition_metadata(examiner: &mut Examiner<'_>, place: &PartitionPlace) {
    let path = place.dir.join(PARTITION_METADATA_FILE);
    let bytes = match examiner.disk.read(&path, 4096) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return examiner.note(&path, Problem::NoPartitionMetadata, Effect::Rebuilt),
        Err(error) => return examiner.unreadable(&path, error, Effect::Offline),
    };
    match std::str::from_utf8(&bytes).ok().and_then(PartitionMetadata::parse) {
        Some(found) => {
            if let Some(expected) = place.topic_id.filter(|id| *id != found.topic_id) {
                let position = text::position_of(&bytes, |line| line.starts_with("topic_id")).unwrap_or(0);
                let problem = Problem::OtherTopicId { expected, found: found.topic_id };
                examiner.found(Finding::problem(&path, problem, Effect::Ignored).at(position));
            } else if found.render().trim_end() != String::from_utf8_lossy(&bytes).trim_end() {
                let reason = "not as Kafka writes it".to_owned();
                examiner.found(Finding::note(&path, Problem::Malformed { reason }, Effect::Nothing).at(0));
            }
        }
        None => {
            // The end of a file that the power cut off is written again; anything else is not.
            let unfinished = matches!(PartitionMetadata::read(examiner.disk, &place.dir), Ok(None));
            let effect = if unfinished { Effect::Rebuilt } else { Effect::Offline };
            let version = text::position_of(&bytes, |line| line.trim() == "version: 0");
            let position = if version == Some(0) { text::line_position(&bytes, 1) } else { 0 };
            let reason = "neither a version 0 nor the id of a topic".to_owned();
            examiner.found(Finding::problem(&path, Problem::Malformed { reason }, effect).at(position));
        }
    }
}

fn classify(examiner: &mut Examiner<'_>, place: &PartitionPlace, entries: &[DirEntry]) -> Files {
    let mut files = Files::default();
    let has_log = |offset: i64| {
        let name = format!("{}{}", names::offset_name(offset), names::LOG_SUFFIX);
        entries.iter().any(|entry| entry.name == name)
    };
    for entry in entries {
        let (name, path) = (entry.name.as_str(), place.dir.join(&entry.name));
        let of_metadata = name == QUORUM_STATE_FILE || SnapshotId::parse(name).is_some();
        let known = name == PARTITION_METADATA_FILE || name == LEADER_EPOCH_CHECKPOINT;
        let left = |what: Leftover| (Problem::Left { what }, Effect::CleanedUp);
        let offset = names::offset_of(name);
        let is = |suffix: &str| {
            offset.is_some_and(|offset| name == format!("{}{suffix}", names::offset_name(offset)))
        };
        let (problem, effect) = if entry.is_dir {
            (Problem::Unknown, Effect::Ignored)
        } else if name.ends_with(names::DELETED_SUFFIX) {
            left(Leftover::Deleted)
        } else if name.ends_with(names::CLEANED_SUFFIX) {
            left(Leftover::Cleaned)
        } else if name.ends_with(names::SWAP_SUFFIX) {
            left(Leftover::Swap)
        } else if name.ends_with(".tmp") || name.ends_with(".part") {
            left(Leftover::Temporary)
        } else if is(names::LOG_SUFFIX) {
            files.segments.extend(offset.map(|offset| (offset, entry.len)));
            continue;
        } else if is(names::SNAPSHOT_SUFFIX) {
            files.snapshots.extend(offset.map(|offset| (offset, path)));
            continue;
        } else if is(names::INDEX_SUFFIX) || is(names::TIME_INDEX_SUFFIX) || is(names::TXN_INDEX_SUFFIX) {
            if offset.is_some_and(has_log) {
                continue;
            }
            left(Leftover::IndexWithoutLog)
        } else if known || (place.is_metadata && of_metadata) {
            continue;
        } else {
            (Problem::Unknown, Effect::Ignored)
        };
        examiner.note(&path, problem, effect);
    }
    files.segments.sort_unstable();
    files
}

fn epochs(examiner: &mut Examiner<'_>, dir: &Path) -> Vec<EpochEntry> {
    let path = dir.join(LEADER_EPOCH_CHECKPOINT);
    let entries = text::checkpoint(examiner, &path, Effect::Offline, |line| {
        let (epoch, offset) = line.split_once(' ')?;
        Some(EpochEntry { epoch: epoch.parse().ok()?, start_offset: offset.trim().parse().ok()? })
    });
    let entries = entries.unwrap_or_default();
    let mut good: Vec<EpochEntry> = Vec::with_capacity(entries.len());
    for entry in entries {
        let EpochEntry { epoch, start_offset } = entry.value;
        let ascends = good.last().is_none_or(|last| epoch > last.epoch && start_offset > last.start_offset);
        if ascends && epoch >= 0 && start_offset >= 0 {
            good.push(entry.value);
        } else {
            let finding =
                Finding::problem(&path, Problem::EpochsNotAscending { epoch }, Effect::EpochsUnsure);
            examiner.found(finding.at(entry.position).of_offset(start_offset));
        }
    }
    good
}
