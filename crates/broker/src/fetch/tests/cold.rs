//! A disk that does not answer holds up those who read from it, and nobody else on the same thread of the runtime.

#[path = "../../../../storage/tests/hooked_disk/mod.rs"]
mod hooked_disk;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use hooked_disk::{HookedDisk, Hooks};
use ottla_protocol::ErrorCode;
use ottla_protocol::records::{BatchBuilder, BatchOptions};
use ottla_protocol::types::Uuid;
use ottla_storage::dirs::DirState;
use ottla_storage::disk::{Disk, DiskFile};
use ottla_storage::log::{AppendOptions, FetchIsolation, Log, LogOptions};
use ottla_storage::producer_state::AppendOrigin;
use ottla_storage::{LogConfig, TopicPartition};
use tokio::task::yield_now;

use super::super::{ColdReaders, PartitionData, Records, load, load_cached};
use crate::partition::Partition;

const NOW_MS: i64 = 1_700_000_000_000;
/// More than a log keeps in mind the places of.
const BATCHES: usize = 24;
const VALUE_BYTES: usize = 30_000;

/// Whether the disk answers, and how many wait for it.
#[derive(Debug, Default)]
struct Gate {
    closed: Mutex<bool>,
    changed: Condvar,
    waiting: AtomicUsize,
    most: AtomicUsize,
}

impl Gate {
    fn set_closed(&self, closed: bool) {
        *self.closed.lock().expect("the gate") = closed;
        self.changed.notify_all();
    }

    fn is_closed(&self) -> bool {
        *self.closed.lock().expect("the gate")
    }

    fn pass(&self) {
        let waiting = self.waiting.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(waiting, Ordering::SeqCst);
        let closed = self.closed.lock().expect("the gate");
        drop(self.changed.wait_while(closed, |closed| *closed).expect("the gate"));
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Hooks for Gate {
    fn pread(&self, file: &dyn DiskFile, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.pass();
        file.pread(buffer, position)
    }
    fn pread_cached(&self, file: &dyn DiskFile, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        if self.is_closed() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        file.pread(buffer, position)
    }
    fn cached_bytes(&self, _file: &dyn DiskFile, _position: u64, len: u64) -> io::Result<u64> {
        Ok(if self.is_closed() { 0 } else { len })
    }
    fn pread_once(&self, _file: &dyn DiskFile, _buffer: &mut [u8], _position: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A partition on a disk of its own.
struct Setup {
    _folder: tempfile::TempDir,
    gate: Arc<Gate>,
    partition: Arc<Partition>,
    batch_bytes: usize,
}

impl Setup {
    fn new() -> Setup {
        let folder = tempfile::tempdir().expect("a directory");
        let gate = Arc::<Gate>::default();
        let disk: Arc<dyn Disk> = Arc::new(HookedDisk(Arc::clone(&gate)));
        let state = Arc::new(DirState::new(folder.path().to_path_buf()));
        let config = LogConfig { index_interval_bytes: 1, ..LogConfig::default() };
        let dir = folder.path().join("t-0");
        let options = LogOptions { config, ..LogOptions::new(TopicPartition::new("t", 0), dir, NOW_MS) };
        let log = Log::open(&disk, &state, options).expect("opens");
        let mut batch_bytes = 0;
        for n in 0..BATCHES {
            let mut builder = BatchBuilder::new(BatchOptions::default());
            builder.append(NOW_MS, None, Some(&[n as u8; VALUE_BYTES]), []);
            let bytes = builder.build().expect("builds").to_vec();
            batch_bytes = bytes.len();
            let options = AppendOptions::new(AppendOrigin::Client, 0, NOW_MS);
            log.append_as_leader(&bytes, &options).expect("appends");
        }
        let partition = Partition::new("t".into(), Uuid([1; 16]), 0, log, Arc::default(), 0);
        Setup { _folder: folder, gate, partition: Arc::new(partition), batch_bytes }
    }

    fn dir(&self) -> &Arc<DirState> {
        self.partition.log.dir_state()
    }

    /// What a fetch from `offset` finds, while the disk answers.
    fn find(&self, offset: i64, max_bytes: usize) -> PartitionData {
        let read = self.partition.read(offset, max_bytes, FetchIsolation::HighWatermark, true);
        PartitionData {
            records: Records::Found(read.expect("reads").slice),
            partition: Some(Arc::clone(&self.partition)),
            ..Default::default()
        }
    }
}

fn first_value(data: &PartitionData) -> u8 {
    match &data.records {
        Records::Bytes(bytes) => bytes[bytes.len() - 2],
        other => panic!("{other:?} is not in memory"),
    }
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        yield_now().await;
    }
}

#[tokio::test]
async fn a_cold_read_holds_up_nobody_else_on_its_thread() {
    let (slow, fast) = (Setup::new(), Setup::new());
    let readers = Arc::<ColdReaders>::default();
    let mut cold = vec![slow.find(3, 1), slow.find(1, 1)];
    slow.gate.set_closed(true);
    let shared = Arc::clone(&readers);
    let fetch = tokio::spawn(async move {
        load(&shared, &mut cold).await;
        cold
    });
    // Both reads wait for the disk at the same time, and the runtime's only thread does not.
    until(|| slow.gate.waiting.load(Ordering::SeqCst) == 2).await;
    for offset in 0..BATCHES {
        let mut hot = vec![fast.find(offset as i64, 1)];
        assert!(load_cached(&readers, &mut hot), "what is in memory is there at once");
        assert_eq!(first_value(&hot[0]), offset as u8);
    }
    // Also of the same log directory, for what waits is another thread: an append.
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(NOW_MS, None, Some(b"v"), []);
    let bytes = builder.build().expect("builds").to_vec();
    let options = AppendOptions::new(AppendOrigin::Client, 0, NOW_MS);
    assert_eq!(
        slow.partition.append_committed(&bytes, &options).expect("appends").0.first_offset,
        BATCHES as i64
    );
    assert!(!fetch.is_finished());
    slow.gate.set_closed(false);
    let cold = fetch.await.expect("the fetch");
    assert_eq!(cold.iter().map(first_value).collect::<Vec<_>>(), [3, 1], "each has its own bytes");
    assert!(cold.iter().all(|data| data.error == ErrorCode::None));
}

#[tokio::test]
async fn a_lookup_that_has_to_wait_is_left_to_a_thread_that_may() {
    let slow = Setup::new();
    let readers = ColdReaders::default();
    slow.gate.set_closed(true);
    let found = slow.partition.read_cached(2, 1, FetchIsolation::HighWatermark, true);
    assert!(found.expect("no error").is_none());
    assert_eq!(slow.gate.waiting.load(Ordering::SeqCst), 0, "nobody waited");
    let partition = Arc::clone(&slow.partition);
    let reading = readers.run(slow.dir(), move || partition.read(2, 1, FetchIsolation::HighWatermark, true));
    until(|| slow.gate.waiting.load(Ordering::SeqCst) == 1).await;
    slow.gate.set_closed(false);
    let read = reading.await.expect("was read").expect("reads");
    assert_eq!(read.slice.len, slow.batch_bytes);
}

#[tokio::test]
async fn a_long_slice_that_is_cold_is_in_the_page_cache_before_it_is_sent() {
    let slow = Setup::new();
    let readers = ColdReaders::default();
    let mut data = vec![slow.find(0, 4 * slow.batch_bytes)];
    slow.gate.set_closed(true);
    assert!(!load_cached(&readers, &mut data));
    slow.gate.set_closed(false);
    load(&readers, &mut data).await;
    assert!(matches!(&data[0].records, Records::File(slice) if slice.len == 4 * slow.batch_bytes));
}

#[tokio::test]
async fn reads_of_one_directory_wait_for_each_other_beyond_a_limit_and_for_no_other_directory() {
    let (slow, fast) = (Setup::new(), Setup::new());
    let readers = ColdReaders::default();
    slow.gate.set_closed(true);
    let reads: Vec<_> = (0..40)
        .map(|_| {
            let gate = Arc::clone(&slow.gate);
            readers.run(slow.dir(), move || gate.pass())
        })
        .collect();
    until(|| slow.gate.waiting.load(Ordering::SeqCst) == 6).await;
    readers.run(fast.dir(), || ()).await.expect("the other directory goes on");
    readers.run_catch_up(slow.dir(), || ()).await.expect("so do large reads of the same one");
    slow.gate.set_closed(false);
    for read in reads {
        read.await.expect("was done");
    }
    assert_eq!(slow.gate.most.load(Ordering::SeqCst), 6);
}

#[tokio::test]
async fn a_read_that_panics_costs_nothing_but_itself() {
    let setup = Setup::new();
    let readers = ColdReaders::default();
    readers.run(setup.dir(), || panic!("on purpose")).await.expect_err("was not done");
    assert_eq!(readers.run(setup.dir(), || 7).await.expect("was done"), 7);
}
