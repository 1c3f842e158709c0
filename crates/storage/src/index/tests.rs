//! Indexes whose memory is bounded: entries go at any time and lookups do not notice.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{AbortedTxn, IndexFile, IndexMemory, OffsetIndex, TransactionIndex};
use crate::disk::{Disk, OsDisk};

const BASE: i64 = 100;
/// Entries of an index: more than are written at once, and not a multiple of it.
const COUNT: u32 = 150;
const INDEX_BYTES: u32 = 4096;

struct Folder {
    path: tempfile::TempDir,
    memory: Arc<IndexMemory>,
}

impl Folder {
    fn new(limit: usize) -> Self {
        let memory = Arc::<IndexMemory>::default();
        memory.set_limit(limit);
        Folder { path: tempfile::tempdir().expect("a directory"), memory }
    }

    fn file(&self, name: &str) -> IndexFile {
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        IndexFile::new(disk, &self.memory, self.path.path().join(name))
    }

    /// An index that is appended to.
    fn active(&self, name: &str) -> OffsetIndex {
        let index = OffsetIndex::new(self.file(name), BASE);
        index.activate(INDEX_BYTES).expect("activates");
        for n in 0..COUNT {
            index.append(BASE + i64::from(n) * 10, n * 1000).expect("appends");
        }
        index
    }

    fn closed(&self, name: &str) -> OffsetIndex {
        let index = self.active(name);
        index.close().expect("closes");
        index
    }
}

fn check(index: &OffsetIndex) {
    for n in 0..COUNT {
        let found = index.lookup(BASE + i64::from(n) * 10 + 9).expect("a lookup");
        assert_eq!((found.offset, found.position), (BASE + i64::from(n) * 10, n * 1000));
    }
}

fn is_in_memory(index: &OffsetIndex) -> bool {
    match index.lookup_cached(BASE + 15) {
        Ok(found) => {
            assert_eq!(found.position, 1000);
            true
        }
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            false
        }
    }
}

#[test]
fn an_index_is_let_go_of_only_while_it_is_closed() {
    let folder = Folder::new(0);
    let active = folder.active("active");
    let closed: Vec<_> = ["a", "b"].map(|name| folder.closed(name)).into();
    assert!(!is_in_memory(&closed[0]));
    for _ in 0..3 {
        for index in &closed {
            check(index);
            assert!(is_in_memory(index), "the last one stays");
        }
        assert!(!is_in_memory(&closed[0]), "the one before it does not");
        assert!(is_in_memory(&active));
    }
    check(&active);

    active.close().expect("closes");
    assert!(!is_in_memory(&active));
    check(&active);
    assert!(is_in_memory(&active));
    check(&closed[0]);
    assert!(!is_in_memory(&active), "as any other");

    // Appended to again, it stays.
    active.activate(INDEX_BYTES).expect("activates");
    active.append(BASE + 5000, 1 << 20).expect("appends");
    check(&closed[0]);
    assert!(is_in_memory(&active));
    assert_eq!(active.lookup(BASE + 6000).expect("a lookup").position, 1 << 20);
}

#[test]
fn what_a_truncation_cut_is_not_found_in_what_was_kept() {
    let folder = Folder::new(1 << 20);
    let index = folder.closed("a");
    check(&index);
    index.truncate_to(BASE + 20).expect("truncates");
    assert_eq!(index.lookup(BASE + 500).expect("a lookup").position, 1000);
    assert_eq!(folder.memory.bytes(), 0, "its owner has it");
    index.activate(INDEX_BYTES).expect("activates");
    index.append(BASE + 30, 7777).expect("appends");
    index.close().expect("closes");
    assert_eq!(index.lookup(BASE + 500).expect("a lookup").position, 7777);

    index.reset().expect("resets");
    index.close().expect("closes");
    assert_eq!(index.lookup(BASE + 500).expect("a lookup").position, 0);
}

#[test]
fn an_index_whose_file_is_another_ones_does_not_read_it() {
    let folder = Folder::new(1 << 20);
    let (known, unknown, detached) = (folder.closed("a"), folder.closed("b"), folder.closed("c"));
    check(&known);
    known.orphan();
    unknown.orphan();
    detached.detach().expect("detaches");
    assert_eq!(folder.memory.bytes(), 0);
    for name in ["a", "b", "c"] {
        std::fs::write(folder.path.path().join(name), [0x11; 64]).expect("written");
    }
    check(&known);
    check(&detached);
    assert_eq!(unknown.lookup(BASE + 500).expect("a lookup").position, 0);
}

#[test]
fn an_index_that_goes_leaves_nothing_in_memory() {
    let folder = Folder::new(1 << 20);
    let index = folder.closed("a");
    check(&index);
    assert!(folder.memory.bytes() > COUNT as usize * 8);
    drop(index);
    assert_eq!(folder.memory.bytes(), 0);
}

#[test]
fn a_search_goes_on_behind_an_entry_that_counted_a_later_transaction() {
    // As Kafka's replicas write it: a transaction that began at 90 came in the append of both markers.
    let txn = |first_offset| AbortedTxn {
        producer_id: 1,
        first_offset,
        last_offset: first_offset + 9,
        last_stable_offset: 90,
    };
    let folder = Folder::new(0);
    let index = TransactionIndex::new(folder.file("txn"));
    index.activate().expect("activates");
    for first_offset in [10, 40, 70] {
        index.append(txn(first_offset)).expect("appends");
    }
    let mut found = Vec::new();
    let complete = index.collect(0, 45, false, &mut found).expect("collects");
    assert_eq!((complete, &found[..]), (true, &[txn(10), txn(40)][..]));
    found.clear();
    assert!(!index.collect(30, 85, false, &mut found).expect("collects"), "later segments may have more");
    assert_eq!(found, [txn(40), txn(70)]);
}

#[test]
fn aborted_transactions_are_let_go_of_only_while_the_index_is_closed() {
    let txn = |n: i64| AbortedTxn {
        producer_id: n,
        first_offset: n * 10,
        last_offset: n * 10 + 5,
        last_stable_offset: n * 10,
    };
    let folder = Folder::new(0);
    let other = folder.closed("other");
    let index = TransactionIndex::new(folder.file("txn"));
    let found = |only_cached| {
        let mut found = Vec::new();
        index.collect(0, 1000, only_cached, &mut found).map(|_| found.len())
    };
    index.activate().expect("activates");
    assert_eq!(found(true).expect("in memory"), 0);
    for n in 0..5 {
        index.append(txn(n)).expect("appends");
        check(&other);
        assert_eq!(found(true).expect("in memory"), n as usize + 1);
    }
    index.deactivate();
    assert_eq!(found(true).expect_err("not in memory").kind(), io::ErrorKind::WouldBlock);
    assert_eq!(found(false).expect("reads"), 5);
    assert_eq!(found(true).expect("in memory"), 5);
    check(&other);
    assert_eq!(found(true).expect_err("not in memory").kind(), io::ErrorKind::WouldBlock);

    // It is appended to behind what is there.
    index.append(txn(5)).expect("appends");
    index.deactivate();
    assert_eq!(index.all().expect("reads").len(), 6);
    index.truncate_to(30).expect("truncates");
    index.deactivate();
    assert_eq!(index.all().expect("reads"), [txn(0), txn(1), txn(2)]);
}

#[test]
fn aborted_transactions_of_a_segment_that_went_are_never_taken_for_none() {
    let txn = AbortedTxn { producer_id: 1, first_offset: 10, last_offset: 15, last_stable_offset: 16 };
    let folder = Folder::new(1 << 20);
    let path = folder.path.path();
    let (whole, damaged, none) = (folder.file("whole"), folder.file("damaged"), folder.file("none"));
    let [whole, damaged, none] = [whole, damaged, none].map(TransactionIndex::new);
    whole.append(txn).expect("appends");
    whole.deactivate();
    std::fs::write(path.join("damaged"), [7; 68]).expect("written");
    for index in [&whole, &damaged, &none] {
        index.orphan();
    }
    for name in ["whole", "none"] {
        std::fs::write(path.join(name), [7; 68]).expect("written");
    }
    std::fs::remove_file(path.join("damaged")).expect("removed");
    assert_eq!(whole.all().expect("known"), [txn]);
    assert_eq!(none.all().expect("known"), []);
    assert_eq!(damaged.all().expect_err("unknown").kind(), io::ErrorKind::InvalidData);
}

#[test]
fn an_unknown_version_is_damage_every_time() {
    let folder = Folder::new(1 << 20);
    let path: &Path = folder.path.path();
    std::fs::write(path.join("txn"), [7; 68]).expect("written");
    let index = TransactionIndex::new(folder.file("txn"));
    for _ in 0..2 {
        assert_eq!(index.all().expect_err("damage").kind(), io::ErrorKind::InvalidData);
    }
    assert!(!index.is_sane(0));
}
