//! The metadata log: what only it has (`quorum-state`, snapshots), and what its records say of the directories.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;
use ottla_protocol::messages::registry::MESSAGES;
use ottla_protocol::messages::{
    BrokerRegistrationChangeRecord, ConfigRecord, FeatureLevelRecord, RegisterBrokerRecord,
    RemoveTopicRecord, TopicRecord,
};
use ottla_protocol::records::Scratch;
use ottla_protocol::records::control::ControlRecordType;
use ottla_protocol::types::Uuid;
use ottla_protocol::wire::Message;

use super::Examiner;
use super::finding::{Effect, Finding, Problem};
use super::partition::{self, PartitionPlace};
use super::segment::Policy;
use super::text;
use crate::disk::OpenMode;
use crate::kraft::{QUORUM_STATE_FILE, QuorumState, QuorumStateError, SnapshotId};
use crate::segment::scan::{BATCH_CHUNK, Scan, ScanError};

const MAX_QUORUM_STATE_BYTES: u64 = 1 << 20;
/// Decompressed bytes of one batch of a snapshot.
const BUDGET: usize = 1 << 30;
/// Topics in a `ConfigRecord`.
const TOPIC_RESOURCE: i8 = 2;

/// What the cluster's metadata says of directories and topics.
#[derive(Debug, Default)]
pub(super) struct ClusterFacts {
    /// Whether there is any metadata.
    pub(super) known: bool,
    pub(super) topics: BTreeMap<String, Uuid>,
    cleanup: BTreeMap<String, String>,
    pub(super) directories: BTreeMap<i32, BTreeSet<Uuid>>,
    pub(super) metadata_version: Option<i16>,
}

impl ClusterFacts {
    /// Whether a topic is compacted.
    pub(super) fn policy(&self, topic: &str, compacted_by_default: bool) -> Policy {
        let compacted = match self.cleanup.get(topic) {
            Some(policy) => policy.contains("compact"),
            // A broker's dynamic default may say otherwise; then gaps are told although they are in order.
            None if self.known => compacted_by_default,
            None => return Policy::Unknown,
        };
        if compacted { Policy::Compacted } else { Policy::Plain }
    }

    /// Takes a record's value; what is wrong with it otherwise.
    fn take(&mut self, value: &[u8]) -> Result<(), String> {
        let mut rest = value;
        let frame = varint(&mut rest).ok_or("no frame")?;
        let key = varint(&mut rest).ok_or("no type")?;
        let version = varint(&mut rest).ok_or("no version")?;
        if frame != 1 {
            return Err(format!("frame version {frame}"));
        }
        let (Ok(key), Ok(version)) = (i16::try_from(key), i16::try_from(version)) else {
            return Err(format!("type {key} of version {version}"));
        };
        let record = MESSAGES.iter().find(|m| m.kind == "metadata-record" && m.key == key);
        let Some(record) = record else { return Err(format!("unknown type {key}")) };
        if !(record.min_version..=record.max_version).contains(&version) {
            return Err(format!("{} of unknown version {version}", record.name));
        }
        let body = Bytes::copy_from_slice(rest);
        self.apply(key, version, body).map_err(|reason| format!("{}: {reason}", record.name))
    }

    fn apply(&mut self, key: i16, version: i16, body: Bytes) -> Result<(), String> {
        fn read<M: Message>(body: Bytes, version: i16) -> Result<M, String> {
            M::from_bytes(body, version).map_err(|error| error.to_string())
        }
        match key {
            TopicRecord::KEY => {
                let record: TopicRecord = read(body, version)?;
                self.topics.insert(record.name.to_string(), record.topic_id);
            }
            RemoveTopicRecord::KEY => {
                let record: RemoveTopicRecord = read(body, version)?;
                self.topics.retain(|_, id| *id != record.topic_id);
            }
            ConfigRecord::KEY => {
                let record: ConfigRecord = read(body, version)?;
                if record.resource_type == TOPIC_RESOURCE && record.name.as_str() == "cleanup.policy" {
                    let topic = record.resource_name.to_string();
                    match record.value {
                        Some(value) => self.cleanup.insert(topic, value.to_string()),
                        None => self.cleanup.remove(&topic),
                    };
                }
            }
            FeatureLevelRecord::KEY => {
                let record: FeatureLevelRecord = read(body, version)?;
                if record.name.as_str() == "metadata.version" {
                    self.metadata_version = Some(record.feature_level);
                }
            }
            RegisterBrokerRecord::KEY => {
                let record: RegisterBrokerRecord = read(body, version)?;
                self.directories.insert(record.broker_id, record.log_dirs.into_iter().collect());
            }
            BrokerRegistrationChangeRecord::KEY => {
                let record: BrokerRegistrationChangeRecord = read(body, version)?;
                if !record.log_dirs.is_empty() {
                    self.directories.insert(record.broker_id, record.log_dirs.into_iter().collect());
                }
            }
            _ => {
                let record = MESSAGES.iter().find(|m| m.kind == "metadata-record" && m.key == key);
                if let Some(record) = record {
                    (record.reencode)(body, version).map_err(|error| error.to_string())?;
                }
            }
        }
        Ok(())
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0u32;
    for shift in (0..35).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Examines `__cluster_metadata-0` and gives what it says.
pub(super) fn examine(examiner: &mut Examiner<'_>, dir: &Path, facts: &mut ClusterFacts) {
    let entries = match examiner.disk.list(dir) {
        Ok(entries) => entries,
        Err(error) => return examiner.unreadable(dir, error, Effect::Refused),
    };
    facts.known = true;
    let mut snapshots: Vec<SnapshotId> = entries
        .iter()
        .filter(|entry| !entry.is_dir)
        .filter_map(|entry| SnapshotId::parse(&entry.name))
        .collect();
    snapshots.sort_unstable();
    let newest = snapshots.last().copied();
    for id in &snapshots {
        let path = dir.join(id.file_name());
        let mut collect = |value: &[u8]| match Some(*id) == newest {
            true => facts.take(value),
            false => ClusterFacts::default().take(value),
        };
        snapshot(examiner, &path, Some(*id), &mut collect);
    }
    let place = PartitionPlace {
        dir: dir.to_path_buf(),
        // It is scanned from its start at every start.
        clean: false,
        recovery_point: 0,
        log_start_offset: 0,
        policy: Policy::Plain,
        topic_id: Some(Uuid::ONE),
        is_metadata: true,
    };
    let from = newest.map_or(0, |id| id.end_offset);
    let mut on_value =
        |examiner: &mut Examiner<'_>, path: &Path, position: u64, offset: i64, value: &[u8]| {
            let taken = if offset >= from { facts.take(value) } else { ClusterFacts::default().take(value) };
            if let Err(reason) = taken {
                let finding = Finding::problem(path, Problem::BadRecord { reason }, Effect::Refused);
                examiner.found(finding.at(position).of_offset(offset));
            }
        };
    let log = partition::examine(examiner, &place, Some(&mut on_value));
    let reached = snapshots.iter().any(|id| id.end_offset >= log.start);
    if log.start > 0 && !reached {
        examiner.problem(dir, Problem::NoSnapshot { start: log.start }, Effect::Refused);
    }
    quorum_state(examiner, dir, log.last_epoch);
}

fn quorum_state(examiner: &mut Examiner<'_>, dir: &Path, log_epoch: i32) {
    let path = dir.join(QUORUM_STATE_FILE);
    let bytes = match examiner.disk.read(&path, MAX_QUORUM_STATE_BYTES) {
        Ok(Some(bytes)) => bytes,
        // A node that never took part in a quorum has none.
        Ok(None) => return,
        Err(error) => return examiner.unreadable(&path, error, Effect::Refused),
    };
    let field = |name: &str| {
        let quoted = format!("\"{name}\"");
        let found = bytes.windows(quoted.len()).position(|window| window == quoted.as_bytes());
        found.unwrap_or(0) as u64
    };
    let found = |problem: Problem, at: u64| Finding::problem(&path, problem, Effect::Refused).at(at);
    match QuorumState::parse(&bytes) {
        Ok(state) => {
            if state.leader_epoch < log_epoch {
                let problem = Problem::QuorumEpochBehind { noted: state.leader_epoch, log: log_epoch };
                examiner.found(found(problem, field("leaderEpoch")));
            }
            for (id, name) in [(state.leader_id, "leaderId"), (state.voted_id, "votedId")] {
                if id < -1 {
                    examiner.found(found(Problem::InvalidNode { id }, field(name)));
                }
            }
        }
        Err(error) => {
            let position = match &error {
                QuorumStateError::NotJson => {
                    let json = serde_json::from_slice::<serde_json::Value>(&bytes);
                    let column = json.err().map_or(0, |e| {
                        text::line_position(&bytes, e.line().saturating_sub(1))
                            + e.column().saturating_sub(1) as u64
                    });
                    column.min(bytes.len() as u64)
                }
                QuorumStateError::UnknownVersion => field("data_version"),
                QuorumStateError::Invalid { field: name } => field(name),
            };
            examiner.found(found(Problem::Malformed { reason: error.to_string() }, position));
        }
    }
}

/// Reads a snapshot, or the records that a node is formatted with.
pub(super) fn snapshot(
    examiner: &mut Examiner<'_>,
    path: &Path,
    id: Option<SnapshotId>,
    take: &mut dyn FnMut(&[u8]) -> Result<(), String>,
) {
    let opened = examiner.disk.open(path, OpenMode::Read).and_then(|file| Ok((file.len()?, file)));
    let (size, file) = match opened {
        Ok(opened) => opened,
        Err(error) => return examiner.unreadable(path, error, Effect::Refused),
    };
    let found = |problem: Problem, at: u64| Finding::problem(path, problem, Effect::Refused).at(at);
    let mut scratch = Scratch::with_budget(BUDGET);
    let mut scan = Scan::new(&*file, 0, size, BATCH_CHUNK);
    let (mut end, mut expected, mut control) = (0, 0, Vec::new());
    loop {
        let (position, batch) = match scan.next_batch() {
            Ok(Some(next)) => next,
            Ok(None) if end < size => {
                examiner.found(found(Problem::Incomplete { bytes: size - end }, end));
                break;
            }
            Ok(None) => break,
            Err(ScanError::Corrupt { error, .. }) => {
                examiner.found(found(Problem::BadBatch { error }, end));
                break;
            }
            Err(ScanError::Io(error)) => return examiner.unreadable(path, error, Effect::Refused),
        };
        let header = *batch.header();
        end = position + header.size as u64;
        if let Err(error) = batch.ensure_valid() {
            examiner.found(found(Problem::BadBatch { error }, position));
            continue;
        }
        examiner.summary.batches += 1;
        if header.base_offset != expected {
            let problem = match header.base_offset < expected {
                true => Problem::OffsetsGoBack { expected, found: header.base_offset },
                false => Problem::OffsetsMissing { from: expected, to: header.base_offset },
            };
            examiner.found(found(problem, position));
        }
        expected = header.next_offset();
        if let Some(id) = id.filter(|id| id.epoch != header.partition_leader_epoch) {
            let problem = Problem::OtherEpoch { expected: id.epoch, found: header.partition_leader_epoch };
            examiner.found(found(problem, position));
        }
        let records = match batch.records(&mut scratch) {
            Ok(records) => records,
            Err(error) => {
                examiner.found(found(Problem::BadBatch { error }, position));
                continue;
            }
        };
        for record in records {
            let problem = match record {
                Ok(record) if header.is_control() => match ControlRecordType::parse_key(record.key) {
                    Ok(kind) => {
                        control.push((kind, position));
                        continue;
                    }
                    Err(error) => Problem::BadBatch { error },
                },
                Ok(record) => match take(record.value.unwrap_or_default()) {
                    Ok(()) => continue,
                    Err(reason) => Problem::BadRecord { reason },
                },
                Err(error) => Problem::BadBatch { error },
            };
            examiner.found(found(problem, position));
            break;
        }
    }
    examiner.read_bytes(size);
    let begins =
        control.first().is_some_and(|(kind, at)| *kind == ControlRecordType::SnapshotHeader && *at == 0);
    let ends = control.last().is_some_and(|(kind, _)| *kind == ControlRecordType::SnapshotFooter);
    if !(begins && ends) {
        examiner.found(found(Problem::SnapshotNotWhole, if begins { end } else { 0 }));
    }
}
