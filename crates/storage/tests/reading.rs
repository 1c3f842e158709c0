//! Reads that wait for the device and reads that do not.

mod hooked_disk;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use hooked_disk::{HookedDisk, Hooks};
use ottla_protocol::records::{BatchBuilder, BatchIter, BatchOptions};
use ottla_storage::dirs::DirState;
use ottla_storage::disk::{Disk, DiskFile, Loaded, OpenMode, OsDisk, ReadAhead};
use ottla_storage::log::{AppendOptions, FetchIsolation, Log, LogOptions, ReadResult};
use ottla_storage::producer_state::AppendOrigin;
use ottla_storage::{LogConfig, TopicPartition};

const NOW_MS: i64 = 1_700_000_000_000;
const BATCHES: i64 = 64;
const VALUE_BYTES: usize = 1000;

/// What the disk has in memory.
#[derive(Debug, Default)]
struct Cache {
    cold: AtomicBool,
    /// Per cent of what is cold that is in memory all the same, here and there.
    percent: AtomicU64,
    cannot_tell: AtomicBool,
    cannot_forget: AtomicBool,
    /// Reads that wait, into the page cache and past it.
    waited: AtomicUsize,
    past: AtomicUsize,
}

impl Hooks for Cache {
    fn pread(&self, file: &dyn DiskFile, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.waited.fetch_add(1, Ordering::Relaxed);
        file.pread(buffer, position)
    }
    fn pread_cached(&self, file: &dyn DiskFile, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        if self.cannot_tell.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        if self.cold.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        file.pread(buffer, position)
    }
    fn cached_bytes(&self, _file: &dyn DiskFile, _position: u64, len: u64) -> io::Result<u64> {
        if self.cannot_tell.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(if self.cold.load(Ordering::Relaxed) {
            len * self.percent.load(Ordering::Relaxed) / 100
        } else {
            len
        })
    }
    fn pread_once(&self, file: &dyn DiskFile, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        if self.cannot_forget.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.past.fetch_add(1, Ordering::Relaxed);
        file.pread(buffer, position)
    }
}

struct Setup {
    _folder: tempfile::TempDir,
    cache: Arc<Cache>,
    state: Arc<DirState>,
    log: Arc<Log>,
}

fn append(log: &Log, fill: u8) {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(NOW_MS, None, Some(&[fill; VALUE_BYTES]), []);
    let bytes = builder.build().expect("builds").to_vec();
    let options = AppendOptions::new(AppendOrigin::Client, 0, NOW_MS);
    log.append_as_leader(&bytes, &options).expect("appends");
    log.maybe_increment_high_watermark(log.log_end_offset());
}

impl Setup {
    /// A log of `BATCHES` batches in several segments; whatever is not its end is far behind.
    fn new(segment_bytes: u32) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let cache = Arc::new(Cache::default());
        let disk: Arc<dyn Disk> = Arc::new(HookedDisk(Arc::clone(&cache)));
        let state = Arc::new(DirState::new(folder.path().to_path_buf()));
        state.set_catch_up_bytes(4 * VALUE_BYTES as u64);
        let config = LogConfig { segment_bytes, ..LogConfig::default() };
        let dir = folder.path().join("t-0");
        let options = LogOptions { config, ..LogOptions::new(TopicPartition::new("t", 0), dir, NOW_MS) };
        let log = Log::open(&disk, &state, options).expect("opens");
        for n in 0..BATCHES {
            append(&log, n as u8);
        }
        Setup { _folder: folder, cache, state, log }
    }

    fn set_cold(&self, cold: bool) {
        self.cache.cold.store(cold, Ordering::Relaxed);
    }

    fn waited(&self) -> usize {
        self.cache.waited.load(Ordering::Relaxed)
    }

    fn find(&self, offset: i64, max_bytes: usize) -> ReadResult {
        self.log.read(offset, max_bytes, FetchIsolation::HighWatermark, true).expect("reads")
    }

    fn find_cached(&self, offset: i64) -> Option<ReadResult> {
        self.log.read_cached(offset, 1, FetchIsolation::HighWatermark, true).expect("reads")
    }

    /// As a fetch does, with what is read ahead. Returns the bytes and whether they were in memory.
    fn fetch(&self, offset: i64, max_bytes: usize) -> (Vec<u8>, bool) {
        let cached = self.log.read_cached(offset, max_bytes, FetchIsolation::HighWatermark, true);
        let found = cached.expect("reads").unwrap_or_else(|| self.find(offset, max_bytes));
        let (loaded, was_cached) = match found.slice.load_cached().expect("loads") {
            Some((loaded, ahead)) => {
                ahead.into_iter().for_each(ReadAhead::run);
                (loaded, true)
            }
            None => (found.slice.load().expect("loads"), false),
        };
        match loaded {
            Loaded::Bytes(bytes) => (bytes.to_vec(), was_cached),
            Loaded::File(_) => panic!("a short slice is not sent from its file"),
        }
    }
}

/// The first offset of the bytes, and the offset behind them; every record is what was appended.
fn check(bytes: &[u8]) -> (i64, i64) {
    let mut range = None;
    for batch in BatchIter::new(bytes) {
        let Ok(batch) = batch else { break };
        let offset = batch.header().base_offset;
        batch.ensure_valid().expect("a good batch");
        let value = [offset as u8; VALUE_BYTES];
        assert!(batch.bytes().windows(VALUE_BYTES).any(|window| window == value), "offset {offset}");
        let first = range.map_or(offset, |(first, _)| first);
        range = Some((first, offset + 1));
    }
    range.expect("a whole batch")
}

#[test]
fn nothing_is_waited_for_where_the_caller_may_not() {
    let setup = Setup::new(1 << 20);
    let before = setup.waited();
    assert!(setup.find_cached(3).is_some(), "everything is in memory");
    setup.set_cold(true);
    assert!(setup.find_cached(3).is_none(), "the place of the batch is on the disk");
    setup.set_cold(false);
    let found = setup.find_cached(3).expect("in memory");
    setup.set_cold(true);
    assert!(found.slice.load_cached().expect("no error").is_none(), "its bytes are on the disk");
    assert_eq!(setup.waited(), before, "nobody waited");
    let Loaded::Bytes(bytes) = found.slice.load().expect("loads") else { panic!("a short slice") };
    assert_eq!(check(&bytes), (3, 4));
}

#[test]
fn the_index_of_a_closed_segment_is_not_read_by_who_may_not_wait() {
    let setup = Setup::new(8 * VALUE_BYTES as u32);
    assert!(setup.log.segment_count() > 4);
    let before = setup.waited();
    assert!(setup.find_cached(3).is_none(), "the index was let go of with its roll");
    assert_eq!(setup.waited(), before);
    setup.find(3, 1);
    assert!(setup.find_cached(3).is_some(), "and is in memory now");
}

#[test]
fn the_index_of_the_active_segment_stays_whatever_else_is_read() {
    let setup = Setup::new(24 * VALUE_BYTES as u32);
    setup.state.set_max_index_memory_bytes(0);
    let segments = setup.log.segment_sizes();
    let active = segments.last().expect("a segment").0;
    assert!(segments.len() > 2 && active + 10 < BATCHES, "more batches than are kept in mind: {segments:?}");
    for (closed, _) in &segments[..segments.len() - 1] {
        assert!(setup.find_cached(*closed).is_none(), "that of another segment took its place");
        setup.find(*closed, 1);
        assert!(setup.find_cached(*closed).is_some());
        let before = setup.waited();
        for offset in active..BATCHES {
            assert!(setup.find_cached(offset).is_some(), "{offset}");
        }
        assert_eq!(setup.waited(), before);
    }
}

#[test]
fn a_reader_that_catches_up_is_served_from_large_pieces_past_the_page_cache() {
    let setup = Setup::new(1 << 20);
    setup.set_cold(true);
    let (mut offset, mut cold) = (0, 0);
    while offset < BATCHES - 8 {
        let (bytes, was_cached) = setup.fetch(offset, 3 * VALUE_BYTES);
        let (first, next) = check(&bytes);
        assert_eq!(first, offset);
        cold += usize::from(!was_cached);
        offset = next;
    }
    assert_eq!(cold, 1, "one read serves all that follow");
    assert_eq!(setup.cache.past.load(Ordering::Relaxed), 1);
    let (reads, bytes) = setup.state.cold_reads();
    assert_eq!(reads, 1);
    assert!(bytes > 60 * VALUE_BYTES as u64, "{bytes}");
}

#[test]
fn reading_ahead_ends_where_the_page_cache_has_what_comes_next() {
    let setup = Setup::new(16 << 20);
    for n in BATCHES..5000 {
        append(&setup.log, n as u8);
    }
    let past = || setup.cache.past.load(Ordering::Relaxed);
    setup.set_cold(true);
    assert!(!setup.fetch(0, 3 * VALUE_BYTES).1);
    setup.set_cold(false);
    let mut offset = 1;
    while offset < 4500 {
        let (bytes, was_cached) = setup.fetch(offset, 50 * VALUE_BYTES);
        let (first, next) = check(&bytes);
        assert_eq!((first, was_cached), (offset, true));
        offset = next;
    }
    assert_eq!(past(), 1, "one piece was cold, and nothing behind it");
    setup.set_cold(true);
    assert!(!setup.fetch(3000, 3 * VALUE_BYTES).1);
    assert_eq!(past(), 2, "cold again");
}

#[test]
fn what_was_evicted_here_and_there_goes_back_to_the_page_cache() {
    let setup = Setup::new(1 << 20);
    setup.set_cold(true);
    setup.cache.percent.store(75, Ordering::Relaxed);
    for offset in [0, 1] {
        let (bytes, was_cached) = setup.fetch(offset, VALUE_BYTES);
        assert_eq!((check(&bytes), was_cached), ((offset, offset + 1), false));
    }
    assert_eq!(setup.cache.past.load(Ordering::Relaxed), 0);
    setup.cache.percent.store(25, Ordering::Relaxed);
    setup.fetch(2, VALUE_BYTES);
    assert_eq!(setup.cache.past.load(Ordering::Relaxed), 1, "most of it is in nobody's memory");
}

#[test]
fn near_the_end_the_page_cache_is_used() {
    let setup = Setup::new(1 << 20);
    setup.set_cold(true);
    let (bytes, was_cached) = setup.fetch(BATCHES - 2, VALUE_BYTES);
    assert_eq!(check(&bytes), (BATCHES - 2, BATCHES - 1));
    assert!(!was_cached);
    assert_eq!(setup.cache.past.load(Ordering::Relaxed), 0);
}

#[test]
fn what_was_read_ahead_is_forgotten_when_it_is_truncated() {
    let setup = Setup::new(1 << 20);
    setup.set_cold(true);
    setup.fetch(0, VALUE_BYTES);
    assert!(setup.fetch(20, VALUE_BYTES).1, "read ahead");
    setup.log.truncate_to(10, NOW_MS).expect("truncates");
    for _ in 10..BATCHES {
        append(&setup.log, 200);
    }
    let (bytes, was_cached) = setup.fetch(20, VALUE_BYTES);
    assert!(!was_cached, "other bytes have taken its place");
    assert!(bytes.windows(VALUE_BYTES).any(|window| window == [200; VALUE_BYTES]), "the new bytes");
}

#[test]
fn a_file_system_that_cannot_tell_is_asked_once_and_its_newest_bytes_count_as_in_memory() {
    let setup = Setup::new(8 * VALUE_BYTES as u32);
    setup.cache.cannot_tell.store(true, Ordering::Relaxed);
    setup.cache.cannot_forget.store(true, Ordering::Relaxed);
    let newest = setup.find_cached(BATCHES - 1).expect("the end of the log");
    assert!(newest.slice.load_cached().expect("loads").is_some());
    setup.find(0, 1);
    assert!(setup.find_cached(0).is_none(), "old bytes may be anywhere");
    // It is served all the same.
    let (bytes, was_cached) = setup.fetch(0, VALUE_BYTES);
    assert_eq!(check(&bytes), (0, 1));
    assert!(!was_cached);
    assert!(setup.fetch(1, VALUE_BYTES).1, "and read ahead in memory of our own");
    assert_eq!(setup.cache.past.load(Ordering::Relaxed), 0);
}

#[test]
fn the_real_file_system_says_what_is_in_memory() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("file");
    let content: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
    std::fs::write(&path, &content).expect("written");
    let file = OsDisk.open(&path, OpenMode::Read).expect("opens");
    let mut buffer = vec![0; 100_000];
    match file.pread_cached(&mut buffer, 77) {
        Ok(read) => {
            assert!(read > 0);
            assert_eq!(buffer[..read], content[77..77 + read]);
            assert_eq!(file.cached_bytes(77, 100_000).expect("it could tell a moment ago"), 100_000);
        }
        // Some file systems cannot tell, and say so.
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::Unsupported),
    }
    match file.pread_once(&mut buffer, 999_000) {
        Ok(read) => assert_eq!(buffer[..read], content[999_000..999_000 + read]),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::Unsupported),
    }
    assert_eq!(file.pread_cached(&mut buffer, 2_000_000).unwrap_or(0), 0, "nothing is behind the end");
}
