//! What is found: where, what, and what follows from it. Facts; their sentences are in `Display`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use ottla_protocol::records::RecordsError;
use ottla_protocol::types::Uuid;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// In order, or put in order by any start; told for completeness.
    Note,
    /// Something is not as it was written.
    Problem,
}

/// What interrupted work left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftover {
    /// A file marked `.deleted`, or a directory marked `-delete`.
    Deleted,
    /// Half of a compaction or of an index.
    Cleaned,
    /// A compaction that was about to be put in place.
    Swap,
    /// A file that was not finished.
    Temporary,
    /// A partition on its way to this directory.
    Future,
    /// A partition that the cluster does not know.
    Stray,
    /// An index without its segment.
    IndexWithoutLog,
}

/// What is wrong.
#[derive(Debug)]
pub enum Problem {
    /// The disk does not give the file.
    Unreadable { error: io::Error },
    /// The content is not of the file's format.
    Malformed { reason: String },
    /// More of the same file.
    More { findings: usize },
    /// There is no `meta.properties`.
    NoMetaProperties,
    /// The directory is of another cluster.
    OtherCluster { expected: String, found: String },
    /// The directory is of another node.
    OtherNode { expected: i32, found: i32 },
    /// Another directory has the same id.
    SameDirectoryId { id: Uuid, other: PathBuf },
    /// The cluster knows other directories of this node.
    UnknownDirectoryId { id: Uuid },
    /// The node was not stopped in order.
    NotStoppedInOrder,
    /// A file or directory that is none of Kafka's.
    Unknown,
    /// What interrupted work left.
    Left { what: Leftover },
    /// An entry of a checkpoint for a partition that is not there.
    EntryWithoutLog { partition: String, offset: i64 },
    /// A partition that stands twice in a checkpoint.
    EntryTwice { partition: String },
    /// An offset beyond the end of the log.
    BeyondEnd { partition: String, offset: i64, end: i64 },
    /// A negative offset.
    NegativeOffset { partition: String, offset: i64 },
    /// After a clean stop the whole log is durable, and this says less.
    NotAtEnd { partition: String, offset: i64, end: i64 },
    /// A partition that another directory has too.
    TwoLogs { other: PathBuf },
    /// There is no `partition.metadata`.
    NoPartitionMetadata,
    /// The topic has another id.
    OtherTopicId { expected: Uuid, found: Uuid },
    /// The cluster has no such topic.
    UnknownTopic,
    /// A partition without a segment.
    NoSegments,
    /// The bytes are no batch, or not those that were written.
    BadBatch { error: RecordsError },
    /// The rest of the file is zero.
    Zeros { bytes: u64 },
    /// Zeros behind the last record, as a crash leaves them where every append is synced.
    ZerosAhead { bytes: u64 },
    /// The file ends within a batch.
    Incomplete { bytes: u64 },
    /// A batch whose offsets do not follow those before it.
    OffsetsGoBack { expected: i64, found: i64 },
    /// Offsets that are nowhere.
    OffsetsMissing { from: i64, to: i64 },
    /// A batch whose offsets cannot be in this segment.
    OutsideSegment { base_offset: i64 },
    /// An epoch that is smaller than the one before.
    EpochGoesBack { previous: i32, found: i32 },
    /// An epoch that is not the one of `leader-epoch-checkpoint`.
    OtherEpoch { expected: i32, found: i32 },
    /// An index that is not there.
    NoIndex,
    /// An index whose length is no multiple of its entries.
    IndexLength { length: u64, entry: u64 },
    /// Entries that do not ascend.
    EntryNotAscending,
    /// An entry that leads to a place where no batch starts.
    EntryWithoutBatch { offset: i64, position: u32 },
    /// An entry whose offset is below the batch it leads to.
    EntryAhead { offset: i64, batch: i64 },
    /// An entry that is not the last offset of its batch.
    EntryNotLast { offset: i64, last_offset: i64 },
    /// A timestamp that is not that of its batch.
    OtherTimestamp { offset: i64, expected: i64, found: i64 },
    /// An entry of the time index for an offset that no batch has.
    OffsetNotThere { offset: i64 },
    /// An aborted transaction of which the segment knows nothing.
    NoAbortMarker { producer_id: i64, offset: i64 },
    /// An aborted transaction that is not as the log tells it.
    OtherTransaction { producer_id: i64, offset: i64 },
    /// A transaction was aborted, and the index does not have it.
    AbortNotIndexed { producer_id: i64, offset: i64 },
    /// A snapshot of what is not in the log.
    SnapshotBeyondEnd { offset: i64, end: i64 },
    /// A producer in a snapshot that is not as the log tells it.
    OtherProducer { producer_id: i64 },
    /// Epochs that do not ascend.
    EpochsNotAscending { epoch: i32 },
    /// An epoch that starts beyond the end of the log.
    EpochBeyondEnd { epoch: i32, offset: i64, end: i64 },
    /// An epoch of the log that is not in the file.
    EpochNotNoted { epoch: i32, offset: i64 },
    /// The quorum forgot an epoch that the log has.
    QuorumEpochBehind { noted: i32, log: i32 },
    /// A node voted or leads that is no node.
    InvalidNode { id: i32 },
    /// A snapshot that does not begin and end as it should.
    SnapshotNotWhole,
    /// A metadata log whose beginning is in no snapshot.
    NoSnapshot { start: i64 },
    /// The cluster was raised to what only newer versions know.
    NewerMetadataVersion { level: i16, known: i16 },
    /// A record of the metadata log that cannot be read.
    BadRecord { reason: String },
}

/// What follows at a start of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing is lost.
    Nothing,
    /// A start makes it anew.
    Rebuilt,
    /// A start removes it, or finishes it.
    CleanedUp,
    /// A start cuts off what holds no record.
    CutOff,
    /// A start scans what was not durable for certain.
    Scanned,
    /// It stays as it is: nobody serves it.
    Ignored,
    /// A start cuts the log there.
    Cut { from: i64, end: Option<i64>, bytes: u64 },
    /// A start leaves it, and readers of these offsets get an error.
    Unreadable { from: i64, to: Option<i64> },
    /// The records are gone already.
    Gone { from: i64, to: i64 },
    /// Searches by offset or time may fail or find the wrong place, until the file is removed and made anew.
    WrongSearch,
    /// read_committed consumers may get records of aborted transactions.
    AbortedVisible,
    /// Retries of producers may be taken twice, or refused.
    ProducersUnsure,
    /// Replicas may cut at the wrong offset after a change of leaders.
    EpochsUnsure,
    /// The partition cannot be opened; its directory goes offline.
    Offline,
    /// The node does not start.
    Refused,
}

/// Something that was found.
#[derive(Debug)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file or directory.
    pub path: PathBuf,
    /// Where in the file, when that means something.
    pub position: Option<u64>,
    /// The offset of the log that is concerned.
    pub offset: Option<i64>,
    /// What is wrong.
    pub problem: Problem,
    /// What follows.
    pub effect: Effect,
}

impl Finding {
    pub(super) fn problem(path: &Path, problem: Problem, effect: Effect) -> Finding {
        let severity = Severity::Problem;
        Finding { severity, path: path.to_path_buf(), position: None, offset: None, problem, effect }
    }

    pub(super) fn note(path: &Path, problem: Problem, effect: Effect) -> Finding {
        Finding { severity: Severity::Note, ..Finding::problem(path, problem, effect) }
    }

    pub(super) fn at(self, position: u64) -> Finding {
        Finding { position: Some(position), ..self }
    }

    pub(super) fn of_offset(self, offset: i64) -> Finding {
        Finding { offset: Some(offset), ..self }
    }
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Leftover::Deleted => "was deleted and is still there",
            Leftover::Cleaned => "is half of a compaction that did not come to its end",
            Leftover::Swap => "is a compaction that was about to be put in place",
            Leftover::Temporary => "was not finished",
            Leftover::Future => "is a partition on its way to this directory",
            Leftover::Stray => "is a partition that the cluster does not know",
            Leftover::IndexWithoutLog => "belongs to a segment that is not there",
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Unreadable { error } => write!(f, "cannot be read: {error}"),
            Problem::Malformed { reason } => write!(f, "is damaged: {reason}"),
            Problem::More { findings } => write!(f, "{findings} more findings of this file"),
            Problem::NoMetaProperties => f.write_str("is not there: the directory is not formatted"),
            Problem::OtherCluster { expected, found } => {
                write!(f, "is of cluster {found}, not of {expected}")
            }
            Problem::OtherNode { expected, found } => write!(f, "is of node {found}, not of {expected}"),
            Problem::SameDirectoryId { id, other } => {
                write!(f, "has the directory id {id}, which {} has too", other.display())
            }
            Problem::UnknownDirectoryId { id } => {
                write!(f, "has the directory id {id}, which the node never registered with the cluster")
            }
            Problem::NotStoppedInOrder => f.write_str("the node was not stopped in order"),
            Problem::Unknown => f.write_str("is no file of Kafka"),
            Problem::Left { what } => what.fmt(f),
            Problem::EntryWithoutLog { partition, offset } => {
                write!(f, "has offset {offset} for {partition}, which is not in this directory")
            }
            Problem::EntryTwice { partition } => write!(f, "has {partition} twice"),
            Problem::BeyondEnd { partition, offset, end } => {
                write!(f, "has offset {offset} for {partition}, whose log ends at {end}")
            }
            Problem::NegativeOffset { partition, offset } => {
                write!(f, "has offset {offset} for {partition}: no offset is negative")
            }
            Problem::NotAtEnd { partition, offset, end } => write!(
                f,
                "has offset {offset} for {partition}, whose log ends at {end} and was closed in order"
            ),
            Problem::TwoLogs { other } => write!(f, "is the same partition as {}", other.display()),
            Problem::NoPartitionMetadata => f.write_str("is not there"),
            Problem::OtherTopicId { expected, found } => {
                write!(f, "has the topic id {found}, but the topic's id is {expected}")
            }
            Problem::UnknownTopic => f.write_str("is of a topic that the cluster's metadata does not have"),
            Problem::NoSegments => f.write_str("has no segment"),
            Problem::BadBatch { error } => write!(f, "does not hold the batch that was written: {error}"),
            Problem::ZerosAhead { bytes } => write!(
                f,
                "ends with {bytes} bytes of zeros, written ahead as in a log that is synced with every append (or, in another, all that a power cut left of the last records)"
            ),
            Problem::Zeros { bytes } => write!(f, "holds nothing but zeros from here on ({bytes} bytes)"),
            Problem::Incomplete { bytes } => {
                write!(f, "ends within a batch, of which {bytes} bytes are there")
            }
            Problem::OffsetsGoBack { expected, found } => {
                write!(f, "goes back: offset {found} where at least {expected} was expected")
            }
            Problem::OffsetsMissing { from, to } => write!(f, "misses the offsets {from} to {}", to - 1),
            Problem::OutsideSegment { base_offset } => {
                write!(f, "has a batch of offset {base_offset}, which cannot be in this segment")
            }
            Problem::EpochGoesBack { previous, found } => {
                write!(f, "goes back from leader epoch {previous} to {found}")
            }
            Problem::OtherEpoch { expected, found } => {
                write!(f, "has leader epoch {found} where leader-epoch-checkpoint says {expected}")
            }
            Problem::NoIndex => f.write_str("is not there"),
            Problem::IndexLength { length, entry } => {
                write!(f, "is {length} bytes long, which is no multiple of {entry}")
            }
            Problem::EntryNotAscending => f.write_str("has an entry that does not ascend"),
            Problem::EntryWithoutBatch { offset, position } => {
                write!(f, "leads to position {position} for offset {offset}, where no batch starts")
            }
            Problem::EntryAhead { offset, batch } => {
                write!(f, "leads for offset {offset} to a batch that starts at {batch}")
            }
            Problem::EntryNotLast { offset, last_offset } => {
                write!(f, "has offset {offset} for a batch that ends at {last_offset}")
            }
            Problem::OtherTimestamp { offset, expected, found } => {
                write!(f, "has timestamp {found} for offset {offset}, whose batch has {expected}")
            }
            Problem::OffsetNotThere { offset } => write!(f, "has offset {offset}, which no batch has"),
            Problem::NoAbortMarker { producer_id, offset } => write!(
                f,
                "has a transaction of producer {producer_id} aborted at offset {offset}, where no such marker is"
            ),
            Problem::OtherTransaction { producer_id, offset } => write!(
                f,
                "tells the transaction of producer {producer_id} that was aborted at offset {offset} otherwise than the log"
            ),
            Problem::AbortNotIndexed { producer_id, offset } => {
                write!(
                    f,
                    "misses the transaction of producer {producer_id} that was aborted at offset {offset}"
                )
            }
            Problem::SnapshotBeyondEnd { offset, end } => {
                write!(f, "speaks of offset {offset}, and the log ends at {end}")
            }
            Problem::OtherProducer { producer_id } => {
                write!(f, "tells producer {producer_id} otherwise than the log")
            }
            Problem::EpochsNotAscending { epoch } => write!(f, "does not ascend at epoch {epoch}"),
            Problem::EpochBeyondEnd { epoch, offset, end } => {
                write!(f, "lets epoch {epoch} start at {offset}, and the log ends at {end}")
            }
            Problem::EpochNotNoted { epoch, offset } => {
                write!(f, "misses epoch {epoch}, which starts at offset {offset}")
            }
            Problem::QuorumEpochBehind { noted, log } => {
                write!(f, "has epoch {noted}, and the metadata log already has epoch {log}")
            }
            Problem::InvalidNode { id } => write!(f, "names node {id}, and no node has a number below 0"),
            Problem::SnapshotNotWhole => {
                f.write_str("does not begin with a snapshot's header and end with its footer")
            }
            Problem::NoSnapshot { start } => {
                write!(f, "starts at offset {start}, and no snapshot has what came before")
            }
            Problem::NewerMetadataVersion { level, known } => write!(
                f,
                "is of metadata.version {level}, and {known} is the newest known: it belongs to a newer version"
            ),
            Problem::BadRecord { reason } => write!(f, "holds a record that cannot be read: {reason}"),
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Effect::Nothing => f.write_str("nothing is lost"),
            Effect::Rebuilt => f.write_str("nothing is lost: a start makes it anew"),
            Effect::CleanedUp => f.write_str("nothing is lost: a start removes or finishes it"),
            Effect::CutOff => f.write_str("a start cuts them off: no record is in them"),
            Effect::Scanned => f.write_str("nothing is lost by that: a start scans what was written last"),
            Effect::Ignored => f.write_str("a start leaves it alone; it takes space and is not served"),
            Effect::Cut { from, end, bytes } => {
                let upto = end.filter(|end| end > from).map(|end| format!(" to {}", end - 1)).unwrap_or_default();
                write!(f, "a start ends the log here: offsets {from}{upto} would be lost ({bytes} bytes)")
            }
            Effect::Unreadable { from, to } => {
                let upto = to.filter(|to| to > from).map(|to| format!(" to {}", to - 1)).unwrap_or_default();
                write!(f, "a start leaves it as it is: consumers of offsets {from}{upto} get an error")
            }
            Effect::Gone { from, to } => write!(f, "offsets {from} to {} are gone already", to - 1),
            Effect::WrongSearch => f.write_str(
                "searches by offset or time can fail or find the wrong place; stop the node and remove the file, and a start makes it anew",
            ),
            Effect::AbortedVisible => f.write_str(
                "read_committed consumers can get records of aborted transactions; stop the node and remove the file together with the .index beside it, and a start makes both anew",
            ),
            Effect::ProducersUnsure => f.write_str(
                "retries of idempotent producers may be refused or taken twice; stop the node and remove the file, and a start makes it anew",
            ),
            Effect::EpochsUnsure => f.write_str("after a change of leaders replicas can cut at the wrong offset"),
            Effect::Offline => {
                f.write_str("a start takes this log directory offline, with every partition in it")
            }
            Effect::Refused => f.write_str("the node does not start"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(position) = self.position {
            write!(f, " at position {position}")?;
        }
        if let Some(offset) = self.offset {
            write!(f, " (offset {offset})")?;
        }
        write!(f, ": {}", self.problem)
    }
}
