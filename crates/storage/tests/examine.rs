//! What the examiner says of sound directories, and of damaged ones.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_storage::disk::{DirEntry, DirLock, Disk, DiskFile, Metadata, OpenMode, OsDisk};
use ottla_storage::examine::{self, Effect, Expected, Finding, Problem, Report, Severity, Summary};
use proptest::prelude::*;
use support::Fixture;

const FIXTURES: &[&str] = &[
    "plain-kill",
    "plain-clean",
    "compact-kill",
    "compact-clean",
    "txn-kill",
    "txn-clean",
    "groups-kill",
    "groups-clean",
    "metadata-kill",
    "metadata-clean",
    "jbod-kill",
    "jbod-clean",
];

/// The machine's disk, for reading only.
#[derive(Debug)]
struct ReadOnly;

impl Disk for ReadOnly {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        assert_eq!(mode, OpenMode::Read, "{}", path.display());
        OsDisk.open(path, mode)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        panic!("makes {}", path.display())
    }

    fn fsync_dir(&self, path: &Path) -> io::Result<()> {
        panic!("syncs {}", path.display())
    }

    fn rename(&self, from: &Path, _to: &Path) -> io::Result<()> {
        panic!("renames {}", from.display())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        panic!("removes {}", path.display())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        panic!("removes {}", path.display())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        OsDisk.list(path)
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        OsDisk.metadata(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        panic!("locks {}", path.display())
    }

    fn space(&self, path: &Path) -> io::Result<Option<(u64, u64)>> {
        OsDisk.space(path)
    }
}

#[derive(Default)]
struct Findings {
    all: Vec<Finding>,
    bytes: u64,
}

impl Report for Findings {
    fn found(&mut self, finding: Finding) {
        // Every sentence can be said.
        let _ = (finding.to_string(), finding.effect.to_string());
        self.all.push(finding);
    }

    fn read(&mut self, bytes: u64) {
        self.bytes += bytes;
    }
}

impl Findings {
    fn lines(&self) -> Vec<String> {
        self.all.iter().map(|f| format!("{:?} {f}; {}", f.severity, f.effect)).collect()
    }

    fn problems(&self) -> Vec<String> {
        let problems = self.all.iter().filter(|finding| finding.severity == Severity::Problem);
        problems.map(|f| format!("{f}; {}", f.effect)).collect()
    }
}

fn examine(dirs: &[PathBuf]) -> (Summary, Findings) {
    let mut findings = Findings::default();
    let summary = examine::examine(&ReadOnly, dirs, &Expected::default(), &mut findings).expect("examines");
    (summary, findings)
}

fn files_below(dir: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(dir).expect("lists") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.insert(path.clone(), fs::read(&path).expect("reads"));
        }
    }
}

#[test]
fn directories_of_kafka_are_in_order() {
    for name in FIXTURES {
        let fixture = Fixture::open(name);
        let mut before = BTreeMap::new();
        files_below(fixture.root.path(), &mut before);
        let (summary, findings) = examine(&fixture.dirs());
        assert_eq!(findings.problems(), Vec::<String>::new(), "{name}");
        assert_eq!(summary.problems, 0, "{name}");
        assert!(
            summary.partitions > 4 && summary.segments > 4 && summary.batches > 10,
            "{name}: {summary:?}"
        );
        assert_eq!(summary.bytes, findings.bytes, "{name}");
        assert_eq!(
            summary.bytes,
            examine::bytes_to_read(&ReadOnly, &fixture.dirs()).expect("lists"),
            "{name}"
        );
        let stopped = findings.all.iter().any(|f| matches!(f.problem, Problem::NotStoppedInOrder));
        assert_eq!(stopped, name.ends_with("kill"), "{name}");
        let mut after = BTreeMap::new();
        files_below(fixture.root.path(), &mut after);
        assert!(before == after, "{name}: something was changed");
    }
}
