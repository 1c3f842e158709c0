//! What the examiner says of sound directories, and of damaged ones.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::records::control::EndTxnMarker;
use ottla_protocol::records::{BatchBuilder, BatchOptions};
use ottla_protocol::types::Uuid;
use ottla_storage::dirs::{LogDirs, LogDirsOptions, MetaProperties};
use ottla_storage::disk::{DirEntry, DirLock, Disk, DiskFile, Metadata, OpenMode, OsDisk};
use ottla_storage::examine::{self, Effect, Expected, Finding, Problem, Report, Severity, Summary};
use ottla_storage::log::AppendOptions;
use ottla_storage::producer_state::AppendOrigin;
use ottla_storage::{LogConfig, TopicPartition};
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
    "txn-39-kill",
    "txn-39-clean",
    "compact-39-clean",
    "groups-39-kill",
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

/// Files in memory, any of which can be replaced.
#[derive(Debug, Clone, Default)]
struct Memory(BTreeMap<PathBuf, Arc<Vec<u8>>>);

#[derive(Debug)]
struct MemoryFile(Arc<Vec<u8>>);

impl DiskFile for MemoryFile {
    fn pread(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let from = usize::try_from(position).unwrap_or(usize::MAX).min(self.0.len());
        let count = buffer.len().min(self.0.len() - from);
        buffer[..count].copy_from_slice(&self.0[from..from + count]);
        Ok(count)
    }

    fn pwrite_all(&self, _bytes: &[u8], _position: u64) -> io::Result<()> {
        panic!("writes")
    }

    fn sync_data(&self) -> io::Result<()> {
        panic!("syncs")
    }

    fn sync_all(&self) -> io::Result<()> {
        panic!("syncs")
    }

    fn truncate(&self, _len: u64) -> io::Result<()> {
        panic!("cuts")
    }

    fn preallocate(&self, _len: u64) -> io::Result<()> {
        panic!("grows")
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn raw_fd(&self) -> Option<std::os::fd::RawFd> {
        None
    }
}

impl Disk for Memory {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        assert_eq!(mode, OpenMode::Read, "{}", path.display());
        let bytes = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(MemoryFile(Arc::clone(bytes))))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        ReadOnly.create_dir_all(path)
    }

    fn fsync_dir(&self, path: &Path) -> io::Result<()> {
        ReadOnly.fsync_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        ReadOnly.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        ReadOnly.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        ReadOnly.remove_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = BTreeMap::new();
        for (file, bytes) in &self.0 {
            let Ok(rest) = file.strip_prefix(path) else { continue };
            let mut parts = rest.components();
            let Some(name) = parts.next() else { continue };
            let name = name.as_os_str().to_string_lossy().into_owned();
            let is_dir = parts.next().is_some();
            let len = if is_dir { 0 } else { bytes.len() as u64 };
            entries.insert(name.clone(), DirEntry { name, is_dir, len });
        }
        if entries.is_empty() {
            Err(io::ErrorKind::NotFound.into())
        } else {
            Ok(entries.into_values().collect())
        }
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        if let Some(bytes) = self.0.get(path) {
            return Ok(Some(Metadata { is_dir: false, len: bytes.len() as u64, modified_ms: 0 }));
        }
        let is_dir = self.0.keys().any(|file| file.starts_with(path));
        Ok(is_dir.then_some(Metadata { is_dir, len: 0, modified_ms: 0 }))
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        ReadOnly.try_lock(path)
    }

    fn space(&self, _path: &Path) -> io::Result<Option<(u64, u64)>> {
        Ok(None)
    }
}

const ROOT: &str = "/d";
/// Bits that are flipped in the files of one kind together.
const FLIPS: usize = 40;

impl Memory {
    /// The first directory of a fixture with some of its partitions.
    fn of(name: &str, partitions: &[&str]) -> Memory {
        let fixture = Fixture::open(name);
        let dir = fixture.dirs()[0].clone();
        let mut files = BTreeMap::new();
        files_below(&dir, &mut files);
        let mut memory = Memory::default();
        for (path, bytes) in files {
            let name = path.strip_prefix(&dir).expect("below the directory");
            let first = name.components().next().expect("a name").as_os_str().to_string_lossy().into_owned();
            if name.components().count() == 1 || partitions.contains(&first.as_str()) {
                memory.0.insert(Path::new(ROOT).join(name), Arc::new(bytes));
            }
        }
        memory
    }

    fn examine(&self) -> (Summary, Findings) {
        let mut findings = Findings::default();
        let dirs = [PathBuf::from(ROOT)];
        let summary = examine::examine(self, &dirs, &Expected::default(), &mut findings).expect("examines");
        (summary, findings)
    }

    fn with(&self, path: &Path, bytes: Vec<u8>) -> Memory {
        let mut damaged = self.clone();
        damaged.0.insert(path.to_path_buf(), Arc::new(bytes));
        damaged
    }

    fn files(&self, suffix: &str) -> Vec<PathBuf> {
        let files = self.0.keys().filter(|path| path.to_string_lossy().ends_with(suffix)).cloned();
        files.collect()
    }
}

fn transactions() -> Memory {
    Memory::of("txn-clean", &["t1-0", "__cluster_metadata-0"])
}

/// Flips bits of a file, all of them when it is small, and gives those about which nothing new is said of the file or
/// of what lies beside it.
fn silent_flips(disk: &Memory, path: &Path, most: usize) -> Vec<(usize, u8, Vec<u8>)> {
    let known = disk.examine().1.lines();
    let good = Arc::clone(&disk.0[path]);
    let bits = good.len() * 8;
    let step = (bits / most.max(1)).max(1) | 1;
    let mut silent = Vec::new();
    for bit in (0..bits).step_by(step) {
        let mut bytes = good.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let (_, findings) = disk.with(path, bytes.clone()).examine();
        let beside = path.parent().expect("a directory");
        let told = findings.all.iter().any(|finding| {
            let line = format!("{:?} {finding}; {}", finding.severity, finding.effect);
            !known.contains(&line) && finding.path.starts_with(beside)
        });
        if !told {
            silent.push((bit / 8, 1 << (bit % 8), bytes));
        }
    }
    silent
}

fn same_words(left: &[u8], right: &[u8]) -> bool {
    let words = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes).split_whitespace().map(str::to_owned).collect::<Vec<String>>()
    };
    words(left) == words(right)
}

#[test]
fn every_flipped_bit_of_a_log_its_indexes_and_snapshots_is_told() {
    let disk = transactions();
    assert_eq!(disk.examine().1.problems(), Vec::<String>::new());
    for suffix in [".log", ".index", ".timeindex", ".txnindex", ".snapshot", ".checkpoint"] {
        let files = disk.files(suffix);
        assert!(!files.is_empty(), "no {suffix}");
        let bits = FLIPS / files.len();
        for path in files {
            let silent = silent_flips(&disk, &path, bits);
            assert_eq!(
                silent.len(),
                0,
                "{}: {:?}",
                path.display(),
                silent.iter().map(|s| (s.0, s.1)).collect::<Vec<_>>()
            );
        }
    }
}

#[test]
fn every_flipped_bit_that_changes_epochs_or_a_topic_id_is_told() {
    let mut disk = transactions();
    // The segment in the middle is most of the log, and neither file is about it alone.
    disk.0.retain(|path, _| !path.to_string_lossy().contains("00000000000000000003."));
    for name in ["t1-0/leader-epoch-checkpoint", "t1-0/partition.metadata"] {
        let path = Path::new(ROOT).join(name);
        for (at, bit, bytes) in silent_flips(&disk, &path, 120) {
            // The last epoch has no record yet: nothing contradicts another number there.
            let unused = name.ends_with("checkpoint") && at == "0\n2\n0 0\n".len();
            assert!(unused || same_words(&bytes, &disk.0[&path]), "{name}: byte {at} ^ {bit}");
        }
    }
}

#[test]
fn what_is_no_longer_a_text_of_its_kind_is_told_with_its_position() {
    use ottla_storage::checkpoint::parse_offsets;
    use ottla_storage::kraft::QuorumState;
    let mut disk = transactions();
    disk.0.retain(|path, _| path.parent() == Some(Path::new(ROOT)) || path.ends_with("quorum-state"));
    let readable: [(&str, fn(&[u8]) -> bool); 6] = [
        ("meta.properties", |bytes| MetaProperties::parse(bytes).is_ok()),
        ("__cluster_metadata-0/quorum-state", |bytes| QuorumState::parse(bytes).is_ok()),
        ("recovery-point-offset-checkpoint", |bytes| parse_offsets(bytes).is_ok()),
        ("replication-offset-checkpoint", |bytes| parse_offsets(bytes).is_ok()),
        ("log-start-offset-checkpoint", |bytes| parse_offsets(bytes).is_ok()),
        ("cleaner-offset-checkpoint", |bytes| parse_offsets(bytes).is_ok()),
    ];
    for (name, reads) in readable {
        let path = Path::new(ROOT).join(name);
        let Some(good) = disk.0.get(&path).cloned() else { panic!("no {name}") };
        for bit in 0..good.len() * 8 {
            let mut bytes = good.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if reads(&bytes) {
                continue;
            }
            let (summary, findings) = disk.with(&path, bytes).examine();
            let told = findings.all.iter().find(|f| f.path == path && f.severity == Severity::Problem);
            let told = told.unwrap_or_else(|| panic!("{name}: bit {bit}"));
            assert!(summary.problems > 0 && told.position.is_some(), "{name}: bit {bit}: {told}");
        }
    }
}

#[test]
fn what_would_be_lost_is_said() {
    // A log that was killed is scanned from its recovery point: it ends where the damage is.
    let disk = Memory::of("txn-kill", &["t1-0", "__cluster_metadata-0"]);
    let path = disk.files(".log").into_iter().rfind(|path| path.starts_with("/d/t1-0")).expect("a segment");
    let mut bytes = disk.0[&path].to_vec();
    let at = bytes.len() / 2;
    bytes[at] ^= 4;
    let (_, findings) = disk.with(&path, bytes).examine();
    let cut = findings.all.iter().find(|f| f.path == path).expect("a finding");
    let Effect::Cut { from, end: Some(end), bytes: lost } = cut.effect else {
        panic!("{cut}: {}", cut.effect)
    };
    assert!(from < end && lost > 0 && cut.position.is_some_and(|position| position <= at as u64), "{cut}");
    assert_eq!(cut.offset, Some(from));

    // After a clean stop nothing is scanned: the records stay, and cannot be read. What is behind them is found again.
    let disk = transactions();
    let path = PathBuf::from("/d/t1-0/00000000000000000003.log");
    let mut bytes = disk.0[&path].to_vec();
    bytes[70] ^= 1;
    let (_, findings) = disk.with(&path, bytes.clone()).examine();
    let unreadable: Vec<Effect> = findings.all.iter().filter(|f| f.path == path).map(|f| f.effect).collect();
    let [Effect::Unreadable { from: 3, to: Some(to) }] = unreadable[..] else { panic!("{unreadable:?}") };
    // Even where the length of a batch is what is damaged.
    bytes[70] ^= 1;
    bytes[9] ^= 0x10;
    let (_, findings) = disk.with(&path, bytes).examine();
    let effects: Vec<Effect> = findings.all.iter().filter(|f| f.path == path).map(|f| f.effect).collect();
    assert!(
        matches!(effects[..], [Effect::Unreadable { from: 3, to: Some(next) }] if next >= to),
        "{effects:?}"
    );

    // A file that is cut, and one that goes on with zeros.
    let (length, last) =
        (disk.0[&path].len(), disk.files(".log").into_iter().rfind(|p| p.starts_with("/d/t1-0")));
    let cut = disk.with(&path, disk.0[&path][..length - 5].to_vec()).examine().1;
    assert!(cut.all.iter().any(|f| matches!(f.problem, Problem::Incomplete { .. })), "{:?}", cut.lines());
    let last = last.expect("a segment");
    let zeros = disk.with(&last, [disk.0[&last].to_vec(), vec![0; 300]].concat()).examine().1;
    assert!(
        zeros.all.iter().any(|f| matches!(f.problem, Problem::Zeros { bytes: 300 })),
        "{:?}",
        zeros.lines()
    );
    // Where a start scans the segment, they are what a crash leaves of a log that is synced with every append.
    let mut crashed = disk.with(&last, [disk.0[&last].to_vec(), vec![0; 300]].concat());
    crashed.0.remove(Path::new("/d/.kafka_cleanshutdown"));
    let told = crashed.examine().1;
    let of_last: Vec<_> = told.all.iter().filter(|f| f.path == last).collect();
    assert!(
        matches!(&of_last[..], [f] if f.effect == Effect::CutOff && matches!(f.problem, Problem::ZerosAhead { bytes: 300 })),
        "{:?}",
        told.lines()
    );

    // A segment that is gone.
    let mut gone = disk.clone();
    let middle =
        disk.files(".log").into_iter().filter(|p| p.starts_with("/d/t1-0")).nth(1).expect("a segment");
    gone.0.remove(&middle);
    let (_, findings) = gone.examine();
    let told = findings
        .all
        .iter()
        .any(|f| matches!((&f.problem, f.effect), (Problem::OffsetsMissing { .. }, Effect::Gone { .. })));
    assert!(told, "{:?}", findings.lines());
}

#[test]
fn directories_that_do_not_belong_together_are_told() {
    let disk = transactions();
    let meta = Path::new(ROOT).join("meta.properties");
    let text = String::from_utf8(disk.0[&meta].to_vec()).expect("text");
    let changed = |from: &str, to: &str| {
        let line = text.lines().find(|line| line.starts_with(from)).expect("a line");
        disk.with(&meta, text.replace(line, &format!("{from}{to}")).into_bytes())
    };
    let told = |disk: Memory, expected: Expected| {
        let mut findings = Findings::default();
        examine::examine(&disk, &[PathBuf::from(ROOT)], &expected, &mut findings).expect("examines");
        findings.problems().join("\n")
    };
    let cluster = Expected { cluster_id: Some("b3R0bGEtb3JhY2xlLS0tLQ".to_owned()), ..Expected::default() };
    assert!(told(changed("cluster.id=", "AAAAAAAAAAAAAAAAAAAAAg"), cluster).contains("is of cluster"));
    let node = Expected { node_id: Some(1), ..Expected::default() };
    assert!(told(changed("node.id=", "2"), node).contains("is of node 2, not of 1; the node does not start"));
    let none = Expected::default();
    assert!(told(changed("directory.id=", "AAAAAAAAAAAAAAAAAAAAAg"), none).contains("never registered"));
    let mut unformatted = disk.clone();
    unformatted.0.remove(&meta);
    assert!(told(unformatted, Expected::default()).contains("is not formatted"));
}

fn directory_of_a_node(dir: &Path) -> (LogDirs, Uuid) {
    let id = "AAAAAAAAAAAAAAAAAAAAAg".parse().expect("an id");
    MetaProperties::new("b3R0bGEtb3JhY2xlLS0tLQ", 1, id).write(&OsDisk, dir, 0).expect("writes");
    let mut options = LogDirsOptions::new(vec![dir.to_path_buf()]);
    let config = LogConfig { segment_bytes: 4_000, index_interval_bytes: 200, ..LogConfig::default() };
    options.topic_configs = Arc::new(move |_| config.clone());
    let dirs = LogDirs::open(Arc::new(OsDisk), options, 3).expect("opens");
    dirs.load_logs(0, &|_| false);
    (dirs, id)
}

#[test]
fn an_aborted_transaction_may_be_told_as_kafkas_followers_tell_it() {
    let now_ms = 1_700_000_000_000;
    let root = tempfile::tempdir().expect("a directory");
    let dir = root.path().to_path_buf();
    let (dirs, id) = directory_of_a_node(&dir);
    let log = dirs.get_or_create(&TopicPartition::new("t", 0), Some(id), None, now_ms).expect("a log");
    let data = |base_offset, producer_id, base_sequence| {
        let (producer_epoch, transactional) = (0, true);
        let mut batch = BatchBuilder::new(BatchOptions {
            base_offset,
            producer_id,
            producer_epoch,
            base_sequence,
            transactional,
            partition_leader_epoch: 0,
            ..BatchOptions::default()
        });
        batch.append(now_ms, None, Some(b"value"), []);
        batch.build().expect("builds").to_vec()
    };
    let abort = |base_offset| {
        let marker = EndTxnMarker { commit: false, coordinator_epoch: 0 };
        marker.batch(base_offset, now_ms, 0, 1, 0).to_vec()
    };
    // Two transactions of producer 1, aborted at 1 and 3; then one of it at 4 and one of producer 2 at 5 that stay open.
    let append =
        [data(0, 1, 0), abort(1), data(2, 1, 1), abort(3), data(4, 1, 2), data(5, 2, 0), data(6, 2, 1)];
    log.append_as_follower(&append.concat(), 0, now_ms).expect("appends");
    dirs.shutdown(now_ms, 5);
    // In the place of a partition whose topic is known not to be compacted.
    let mut disk = transactions();
    let place = PathBuf::from("/d/t1-0");
    disk.0.retain(|path, _| !path.starts_with(&place) || path.ends_with("partition.metadata"));
    let mut files = BTreeMap::new();
    files_below(&dir.join("t-0"), &mut files);
    for (path, bytes) in files {
        let name = path.file_name().expect("a name");
        disk.0.entry(place.join(name)).or_insert_with(|| Arc::new(bytes));
    }
    let index = place.join("00000000000000000000.txnindex");
    let good = disk.0[&index].to_vec();
    let known = disk.examine().1.problems();
    assert!(!known.iter().any(|problem| problem.contains("txnindex")), "{known:?}");
    for (entry, stable) in [(0, 2), (1, 4)] {
        let at = entry * 34 + 26;
        let taken = |told: &i64| {
            let mut bytes = good.clone();
            bytes[at..at + 8].copy_from_slice(&told.to_be_bytes());
            disk.with(&index, bytes).examine().1.problems() == known
        };
        let taken: Vec<i64> = (-1..10).filter(taken).collect();
        assert_eq!(taken, [stable, 5], "the end of the marker, and where the next producer begins");
    }
}

#[test]
fn what_this_program_leaves_is_in_order() {
    let root = tempfile::tempdir().expect("a directory");
    let dir = root.path().to_path_buf();
    let (dirs, id) = directory_of_a_node(&dir);
    let now_ms = 1_700_000_000_000;
    for partition in 0..3 {
        let partition = TopicPartition::new("t", partition);
        let log = dirs.get_or_create(&partition, Some(id), None, now_ms).expect("a log");
        for round in 0..100 {
            let producer = BatchOptions {
                producer_id: 7,
                producer_epoch: 0,
                base_sequence: round * 3,
                ..BatchOptions::default()
            };
            let mut batch = BatchBuilder::new(producer);
            for record in 0..3 {
                batch.append(now_ms + i64::from(round) + record, Some(b"key"), Some(b"value"), []);
            }
            let bytes = batch.build().expect("builds").to_vec();
            let append = AppendOptions::new(AppendOrigin::Client, round / 40, now_ms);
            log.append_as_leader(&bytes, &append).expect("appends");
            log.update_high_watermark(log.log_end_offset());
        }
    }
    dirs.checkpoint();
    let (summary, findings) = examine(std::slice::from_ref(&dir));
    assert_eq!((summary.problems, summary.notes), (0, 1), "running: {:?}", findings.lines());
    dirs.shutdown(now_ms, 5);
    let (summary, findings) = examine(&[dir]);
    assert_eq!((summary.problems, summary.notes), (0, 0), "stopped: {:?}", findings.lines());
    assert!(summary.segments > 6 && summary.batches == 300, "{summary:?}");
}

#[test]
fn a_newer_metadata_version_is_told() {
    let disk = transactions();
    let known = |level| Expected { newest_metadata_version: Some(level), ..Expected::default() };
    let problems = |expected: &Expected| {
        let mut findings = Findings::default();
        examine::examine(&disk, &[PathBuf::from(ROOT)], expected, &mut findings).expect("examines");
        findings.problems().join("\n")
    };
    assert_eq!(problems(&known(33)), "");
    assert!(problems(&known(32)).contains("metadata.version 33, and 32 is the newest known"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

    #[test]
    fn any_damage_is_only_told(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in prop::option::of(any::<prop::sample::Index>()),
        tail in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        thread_local! {
            static DISK: Memory = transactions();
        }
        DISK.with(|disk| {
            let path = which.get(&disk.0.keys().cloned().collect::<Vec<_>>()).clone();
            let mut bytes = disk.0[&path].to_vec();
            for (at, value) in edits {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = value;
                }
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len() + 1));
            }
            bytes.extend(tail);
            let (summary, findings) = disk.with(&path, bytes).examine();
            prop_assert!(summary.problems as usize + summary.notes as usize >= findings.all.len().min(1));
            Ok(())
        })?;
    }
}
