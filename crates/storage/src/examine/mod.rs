//! Looks at data directories without changing anything, and says what is wrong, where, and what a start would lose.
//!
//! [`examine`] goes over `meta.properties`, the checkpoints, every partition with its segments, indexes, producer
//! snapshots and epochs, and the metadata log with its snapshots and `quorum-state`. It opens files for reading only,
//! takes no lock, and repairs nothing; a directory that a running node writes to looks damaged.
//!
//! What has a checksum or is written down twice cannot be damaged unseen. A checkpoint has neither: a number in it that
//! became another good one is found only where it contradicts the logs.

mod dirs;
mod finding;
mod index;
mod metadata;
mod partition;
mod producers;
mod segment;
mod text;

pub use finding::{Effect, Finding, Leftover, Problem, Severity};

use std::io;
use std::path::{Path, PathBuf};

use crate::dirs::{DirKind, parse_dir_name};
use crate::disk::Disk;
use crate::kraft::SnapshotId;

/// Findings of one file that are told one by one; of more only the number is.
const MAX_FINDINGS_PER_FILE: usize = 20;

/// What the examiner knows besides the directories.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// The node whose directories they are, if that is known.
    pub node_id: Option<i32>,
    /// The cluster, if that is known.
    pub cluster_id: Option<String>,
    /// The newest `metadata.version` that the program knows.
    pub newest_metadata_version: Option<i16>,
    /// Whether topics are compacted that do not say otherwise.
    pub compacted_by_default: bool,
}

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Log directories.
    pub directories: u64,
    /// Partitions.
    pub partitions: u64,
    /// Segments.
    pub segments: u64,
    /// Batches whose checksum is right.
    pub batches: u64,
    /// Bytes of segments and snapshots.
    pub bytes: u64,
    /// Findings that something is wrong.
    pub problems: u64,
    /// Other findings.
    pub notes: u64,
}

/// Whoever is told.
pub trait Report {
    /// Something was found.
    fn found(&mut self, finding: Finding);
    /// So many bytes of segments and snapshots more were read.
    fn read(&mut self, bytes: u64);
}

/// Examines the log directories of one node, or some of them.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] or another error of the disk when a directory itself cannot be listed. What goes wrong
/// inside of a directory is a finding.
pub fn examine(
    disk: &dyn Disk,
    dirs: &[PathBuf],
    expected: &Expected,
    report: &mut dyn Report,
) -> io::Result<Summary> {
    for dir in dirs {
        disk.list(dir)?;
    }
    let mut examiner =
        Examiner { disk, report, summary: Summary::default(), file: PathBuf::new(), of_file: 0 };
    dirs::examine_all(&mut examiner, dirs, expected);
    examiner.end_file();
    Ok(examiner.summary)
}

/// Bytes of the segments and snapshots below the directories: what [`Report::read`] adds up to.
///
/// # Errors
/// As the disk says.
pub fn bytes_to_read(disk: &dyn Disk, dirs: &[PathBuf]) -> io::Result<u64> {
    let mut bytes = 0;
    for dir in dirs {
        for entry in &disk.list(dir)? {
            if !entry.is_dir {
                bytes += if entry.name == dirs::BOOTSTRAP_CHECKPOINT { entry.len } else { 0 };
                continue;
            }
            match parse_dir_name(&entry.name) {
                Some((_, DirKind::Log | DirKind::Future)) => {}
                Some((_, DirKind::Delete | DirKind::Stray)) | None => continue,
            }
            let files = disk.list(&dir.join(&entry.name)).unwrap_or_default();
            let read = |name: &str| name.ends_with(".log") || SnapshotId::parse(name).is_some();
            bytes += files.iter().filter(|file| read(&file.name)).map(|file| file.len).sum::<u64>();
        }
    }
    Ok(bytes)
}

/// The disk, and what has been found.
struct Examiner<'e> {
    disk: &'e dyn Disk,
    report: &'e mut dyn Report,
    summary: Summary,
    /// The file of the last finding, and the findings that it has.
    file: PathBuf,
    of_file: usize,
}

impl Examiner<'_> {
    fn found(&mut self, finding: Finding) {
        match finding.severity {
            Severity::Problem => self.summary.problems += 1,
            Severity::Note => self.summary.notes += 1,
        }
        if finding.path != self.file {
            self.end_file();
            self.file.clone_from(&finding.path);
        }
        self.of_file += 1;
        if self.of_file <= MAX_FINDINGS_PER_FILE {
            self.report.found(finding);
        }
    }

    /// Tells how many findings of a file were left out.
    fn end_file(&mut self) {
        let more = self.of_file.saturating_sub(MAX_FINDINGS_PER_FILE);
        if more > 0 {
            self.report.found(Finding::note(&self.file, Problem::More { findings: more }, Effect::Nothing));
        }
        self.of_file = 0;
    }

    fn problem(&mut self, path: &Path, problem: Problem, effect: Effect) {
        self.found(Finding::problem(path, problem, effect));
    }

    fn note(&mut self, path: &Path, problem: Problem, effect: Effect) {
        self.found(Finding::note(path, problem, effect));
    }

    /// A file that cannot be read at all.
    fn unreadable(&mut self, path: &Path, error: io::Error, effect: Effect) {
        self.problem(path, Problem::Unreadable { error }, effect);
    }

    fn read_bytes(&mut self, bytes: u64) {
        self.summary.bytes += bytes;
        self.report.read(bytes);
    }
}
