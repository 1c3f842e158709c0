//! Log directories: whose they are, their checkpoints, and the partitions in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ottla_protocol::types::Uuid;

use super::finding::{Effect, Finding, Leftover, Problem};
use super::metadata::{self, ClusterFacts};
use super::partition::{self, PartitionFacts, PartitionPlace};
use super::segment::Policy;
use super::{Examiner, Expected, text};
use crate::checkpoint::{
    CLEANER_OFFSET_CHECKPOINT, HIGH_WATERMARK_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT,
    RECOVERY_POINT_CHECKPOINT,
};
use crate::dirs::{
    CLEAN_SHUTDOWN_FILE, CLUSTER_METADATA_DIR, DirKind, LOCK_FILE, META_PROPERTIES_FILE, MetaProperties,
    MetaPropertiesError, parse_dir_name,
};
use crate::log::TopicPartition;

const MAX_META_PROPERTIES_BYTES: u64 = 64 * 1024;
/// The records that a node was formatted with, where Kafka before 4.0 keeps them.
pub(super) const BOOTSTRAP_CHECKPOINT: &str = "bootstrap.checkpoint";
const CHECKPOINTS: [&str; 4] = [
    RECOVERY_POINT_CHECKPOINT,
    LOG_START_OFFSET_CHECKPOINT,
    HIGH_WATERMARK_CHECKPOINT,
    CLEANER_OFFSET_CHECKPOINT,
];

/// Offsets by partition, with the places where they stand.
type Offsets = BTreeMap<TopicPartition, (i64, u64)>;

pub(super) fn examine_all(examiner: &mut Examiner<'_>, dirs: &[PathBuf], expected: &Expected) {
    let mut metas: Vec<Option<MetaProperties>> = Vec::new();
    for dir in dirs {
        metas.push(meta_properties(examiner, dir, dirs.len() > 1));
    }
    let mut facts = ClusterFacts::default();
    for dir in dirs.iter().map(|dir| dir.join(CLUSTER_METADATA_DIR)) {
        if matches!(examiner.disk.metadata(&dir), Ok(Some(found)) if found.is_dir) {
            metadata::examine(examiner, &dir, &mut facts);
            if let (Some(level), Some(known)) = (facts.metadata_version, expected.newest_metadata_version)
                && level > known
            {
                examiner.problem(&dir, Problem::NewerMetadataVersion { level, known }, Effect::Refused);
            }
        }
    }
    identities(examiner, dirs, &metas, expected, &facts);
    let mut seen = BTreeMap::new();
    for dir in dirs {
        examine_dir(examiner, dir, expected, &facts, &mut seen);
    }
}

fn meta_properties(examiner: &mut Examiner<'_>, dir: &Path, others: bool) -> Option<MetaProperties> {
    let path = dir.join(META_PROPERTIES_FILE);
    let bytes = match examiner.disk.read(&path, MAX_META_PROPERTIES_BYTES) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            // Beside a directory that is formatted, one that is not becomes one of the node's.
            let effect = if others { Effect::Nothing } else { Effect::Refused };
            examiner.problem(&path, Problem::NoMetaProperties, effect);
            return None;
        }
        Err(error) => {
            examiner.unreadable(&path, error, Effect::Offline);
            return None;
        }
    };
    let line = |key: &str| text::position_of(&bytes, |line| line.trim_start().starts_with(key)).unwrap_or(0);
    let malformed = |reason: String| Problem::Malformed { reason };
    match MetaProperties::parse(&bytes) {
        Ok(meta) => {
            if meta.version == 0 {
                let reason = "version 0 is of a node before KRaft, to be migrated with Kafka 3.9".to_owned();
                let finding = Finding::problem(&path, malformed(reason), Effect::Refused);
                examiner.found(finding.at(line("version")));
            }
            for (key, _) in &meta.other {
                let finding =
                    Finding::note(&path, malformed(format!("{key} is no property of it")), Effect::Nothing);
                examiner.found(finding.at(line(key)));
            }
            if meta.directory_id.is_none() {
                let reason = "it has no directory.id".to_owned();
                examiner.found(Finding::note(&path, malformed(reason), Effect::Rebuilt).at(0));
            }
            let odd_id = |id: &String| id.parse::<Uuid>().is_err();
            if let Some(id) = meta.cluster_id.as_ref().filter(|id| odd_id(id)) {
                let reason = format!("cluster.id {id} is not of the form that Kafka gives it");
                examiner
                    .found(Finding::note(&path, malformed(reason), Effect::Nothing).at(line("cluster.id")));
            }
            Some(meta)
        }
        Err(error) => {
            let position = match &error {
                MetaPropertiesError::NotText => {
                    std::str::from_utf8(&bytes).err().map_or(0, |error| error.valid_up_to() as u64)
                }
                MetaPropertiesError::UnknownVersion { .. } => line("version"),
                MetaPropertiesError::Invalid { key } => line(key),
            };
            examiner
                .found(Finding::problem(&path, malformed(error.to_string()), Effect::Refused).at(position));
            None
        }
    }
}

/// Whether the directories belong together, and to the node.
fn identities(
    examiner: &mut Examiner<'_>,
    dirs: &[PathBuf],
    metas: &[Option<MetaProperties>],
    expected: &Expected,
    facts: &ClusterFacts,
) {
    let first = metas.iter().flatten().next();
    let cluster = expected.cluster_id.clone().or_else(|| first.and_then(|meta| meta.cluster_id.clone()));
    let node = expected.node_id.or_else(|| first.and_then(|meta| meta.node_id));
    let mut ids: BTreeMap<Uuid, &Path> = BTreeMap::new();
    for (dir, meta) in dirs.iter().zip(metas) {
        let Some(meta) = meta else { continue };
        let path = dir.join(META_PROPERTIES_FILE);
        if let (Some(expected), Some(found)) = (&cluster, &meta.cluster_id)
            && expected != found
        {
            let problem = Problem::OtherCluster { expected: expected.clone(), found: found.clone() };
            examiner.problem(&path, problem, Effect::Refused);
        }
        if let (Some(expected), Some(found)) = (node, meta.node_id)
            && expected != found
        {
            examiner.problem(&path, Problem::OtherNode { expected, found }, Effect::Refused);
        }
        let Some(id) = meta.directory_id else { continue };
        if let Some(other) = ids.insert(id, dir) {
            let problem = Problem::SameDirectoryId { id, other: other.to_path_buf() };
            examiner.problem(&path, problem, Effect::Refused);
        }
        let known = meta.node_id.and_then(|node| facts.directories.get(&node));
        if known.is_some_and(|known| !known.is_empty() && !known.contains(&id)) {
            examiner.problem(&path, Problem::UnknownDirectoryId { id }, Effect::Nothing);
        }
    }
}

fn examine_dir(
    examiner: &mut Examiner<'_>,
    dir: &Path,
    expected: &Expected,
    facts: &ClusterFacts,
    seen: &mut BTreeMap<TopicPartition, PathBuf>,
) {
    examiner.summary.directories += 1;
    let entries = match examiner.disk.list(dir) {
        Ok(entries) => entries,
        Err(error) => return examiner.unreadable(dir, error, Effect::Offline),
    };
    let clean = clean_shutdown(examiner, dir);
    let [recovery_points, log_starts, high_watermarks, cleaned] =
        CHECKPOINTS.map(|name| offsets(examiner, &dir.join(name)));
    let mut logs: BTreeMap<TopicPartition, PartitionFacts> = BTreeMap::new();
    for entry in &entries {
        let path = dir.join(&entry.name);
        if !entry.is_dir {
            file(examiner, &path, &entry.name);
            continue;
        }
        if entry.name == CLUSTER_METADATA_DIR {
            continue;
        }
        let Some((partition, kind)) = parse_dir_name(&entry.name) else {
            examiner.note(&path, Problem::Unknown, Effect::Ignored);
            continue;
        };
        match kind {
            DirKind::Delete => {
                examiner.note(&path, Problem::Left { what: Leftover::Deleted }, Effect::CleanedUp);
                continue;
            }
            DirKind::Stray => {
                examiner.note(&path, Problem::Left { what: Leftover::Stray }, Effect::Ignored);
                continue;
            }
            DirKind::Future => {
                examiner.note(&path, Problem::Left { what: Leftover::Future }, Effect::CleanedUp);
            }
            DirKind::Log => {
                if let Some(other) = seen.insert(partition.clone(), path.clone()) {
                    examiner.problem(&path, Problem::TwoLogs { other }, Effect::Ignored);
                }
                if facts.known && !facts.topics.contains_key(&*partition.topic) {
                    examiner.note(&path, Problem::UnknownTopic, Effect::Ignored);
                }
            }
        }
        let offset = |offsets: &Offsets| offsets.get(&partition).map_or(0, |(offset, _)| *offset);
        let policy = match facts.policy(&partition.topic, expected.compacted_by_default) {
            Policy::Plain | Policy::Unknown if cleaned.contains_key(&partition) => Policy::Compacted,
            Policy::Unknown if &*partition.topic == "__consumer_offsets" => Policy::Compacted,
            policy => policy,
        };
        let place = PartitionPlace {
            dir: path,
            clean,
            recovery_point: offset(&recovery_points),
            log_start_offset: offset(&log_starts),
            policy,
            topic_id: facts.topics.get(&*partition.topic).copied(),
            is_metadata: false,
        };
        let found = partition::examine(examiner, &place, None);
        if kind == DirKind::Log {
            logs.insert(partition, found);
        }
    }
    for (name, offsets) in CHECKPOINTS.iter().zip([&recovery_points, &log_starts, &high_watermarks, &cleaned])
    {
        compare(examiner, &dir.join(name), name, offsets, &logs, clean);
    }
    let unclean = !clean && !logs.is_empty();
    if unclean {
        examiner.note(dir, Problem::NotStoppedInOrder, Effect::Scanned);
    }
}

/// A file in a log directory.
fn file(examiner: &mut Examiner<'_>, path: &Path, name: &str) {
    let known = [META_PROPERTIES_FILE, CLEAN_SHUTDOWN_FILE, LOCK_FILE];
    if known.contains(&name) || CHECKPOINTS.contains(&name) {
        return;
    }
    if name == BOOTSTRAP_CHECKPOINT {
        let mut take = |_: &[u8]| Ok(());
        return metadata::snapshot(examiner, path, None, &mut take);
    }
    if name.ends_with(".tmp") {
        examiner.note(path, Problem::Left { what: Leftover::Temporary }, Effect::CleanedUp);
    } else {
        examiner.note(path, Problem::Unknown, Effect::Ignored);
    }
}

/// Whether the node was stopped in order.
fn clean_shutdown(examiner: &mut Examiner<'_>, dir: &Path) -> bool {
    let path = dir.join(CLEAN_SHUTDOWN_FILE);
    match examiner.disk.read(&path, MAX_META_PROPERTIES_BYTES) {
        Ok(None) => false,
        Ok(Some(bytes)) => {
            // Kafka before 3.7 leaves it empty.
            let parsed = serde_json::from_slice::<serde_json::Value>(&bytes);
            let good = parsed.as_ref().is_ok_and(|json| {
                json.get("version") == Some(&0.into())
                    && json.get("brokerEpoch").is_some_and(|epoch| epoch.is_i64())
            });
            if !good && !bytes.is_empty() {
                let reason = "neither empty nor the epoch of a broker".to_owned();
                let position = parsed.err().map_or(0, |error| error.column().saturating_sub(1) as u64);
                let problem = Problem::Malformed { reason };
                examiner.found(Finding::problem(&path, problem, Effect::Nothing).at(position));
            }
            true
        }
        Err(error) => {
            examiner.unreadable(&path, error, Effect::Offline);
            false
        }
    }
}

fn offsets(examiner: &mut Examiner<'_>, path: &Path) -> Offsets {
    // Without it everything is recovered, or starts at its first segment; high watermarks are found anew.
    let effect = match path.file_name().and_then(|name| name.to_str()) {
        Some(HIGH_WATERMARK_CHECKPOINT) => Effect::Offline,
        _ => Effect::Rebuilt,
    };
    let entries = text::checkpoint(examiner, path, effect, |line| {
        let mut words = line.split_whitespace();
        let (topic, partition, offset) = (words.next()?, words.next()?, words.next()?);
        let entry = (TopicPartition::new(topic, partition.parse().ok()?), offset.parse().ok()?);
        words.next().is_none().then_some(entry)
    });
    let mut offsets = Offsets::new();
    for entry in entries.unwrap_or_default() {
        let (partition, offset): (TopicPartition, i64) = entry.value;
        if offset < 0 {
            let problem = Problem::NegativeOffset { partition: partition.to_string(), offset };
            examiner.found(Finding::problem(path, problem, Effect::Nothing).at(entry.position));
        }
        if offsets.contains_key(&partition) {
            let problem = Problem::EntryTwice { partition: partition.to_string() };
            examiner.found(Finding::problem(path, problem, Effect::Nothing).at(entry.position));
        }
        offsets.insert(partition, (offset, entry.position));
    }
    offsets
}

/// Whether a checkpoint and the logs agree.
fn compare(
    examiner: &mut Examiner<'_>,
    path: &Path,
    name: &str,
    offsets: &Offsets,
    logs: &BTreeMap<TopicPartition, PartitionFacts>,
    clean: bool,
) {
    for (partition, (offset, position)) in offsets {
        let (offset, partition_name) = (*offset, partition.to_string());
        let Some(log) = logs.get(partition) else {
            let problem = Problem::EntryWithoutLog { partition: partition_name, offset };
            examiner.found(Finding::note(path, problem, Effect::Nothing).at(*position));
            continue;
        };
        let Some(end) = log.end else { continue };
        let finding = if offset > end {
            let effect = match name {
                RECOVERY_POINT_CHECKPOINT | HIGH_WATERMARK_CHECKPOINT => {
                    Effect::Gone { from: end, to: offset }
                }
                LOG_START_OFFSET_CHECKPOINT => Effect::Cut { from: log.start, end: Some(end), bytes: 0 },
                _ => Effect::Nothing,
            };
            Finding::problem(path, Problem::BeyondEnd { partition: partition_name, offset, end }, effect)
        } else if name == RECOVERY_POINT_CHECKPOINT && clean && offset < end - 1 {
            // Kafka notes the end; this program the last record, so that its segment is scanned after a crash.
            Finding::note(path, Problem::NotAtEnd { partition: partition_name, offset, end }, Effect::Nothing)
        } else {
            continue;
        };
        examiner.found(finding.at(*position));
    }
}
