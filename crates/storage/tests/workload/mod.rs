//! A compacted log under a mixed load, with what a reader of committed records must find in it.
#![allow(dead_code)]

pub mod disk;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ottla_protocol::compression::{Codec, Compression};
use ottla_protocol::records::control::{ControlRecordType, EndTxnMarker};
use ottla_protocol::records::{BatchBuilder, BatchIter, BatchOptions, Scratch};
use ottla_storage::cleaner::{Cleaner, CleanerConfig, CleanerControl};
use ottla_storage::dirs::{Cleaning, LogDirs, LogDirsOptions};
use ottla_storage::disk::Disk;
use ottla_storage::log::{AppendInfo, AppendOptions, FetchIsolation, Log};
use ottla_storage::producer_state::{AppendOrigin, VerificationGuard};
use ottla_storage::{CleanupPolicy, LogConfig, LogError, TopicPartition};

pub const START_MS: i64 = 1_700_000_000_000;

/// A compacted topic of small segments.
pub fn compacted() -> LogConfig {
    LogConfig {
        segment_bytes: 2000,
        segment_index_bytes: 1200,
        index_interval_bytes: 200,
        cleanup_policy: CleanupPolicy { delete: false, compact: true },
        min_cleanable_dirty_ratio: 0.0,
        delete_retention_ms: 1000,
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    }
}

/// A clock that tests set.
#[derive(Debug)]
pub struct Clock(pub AtomicI64);

impl CleanerControl for Clock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn io(&self, _: usize, cancelled: &dyn Fn() -> bool) -> bool {
        !cancelled()
    }
}

pub fn cleaner_config() -> CleanerConfig {
    CleanerConfig { dedupe_buffer_size: 1 << 20, io_buffer_size: 16 << 10, ..CleanerConfig::default() }
}

pub struct Node {
    pub dirs: LogDirs,
    pub clock: Clock,
    pub cleaner: Cleaner,
}

pub fn partition() -> TopicPartition {
    TopicPartition::new("t", 0)
}

impl Node {
    pub fn open(disk: Arc<dyn Disk>, path: &Path, config: LogConfig, now_ms: i64) -> Node {
        Self::try_open(disk, vec![path.to_path_buf()], config, now_ms).expect("opens")
    }

    pub fn try_open(
        disk: Arc<dyn Disk>,
        paths: Vec<PathBuf>,
        config: LogConfig,
        now_ms: i64,
    ) -> Option<Node> {
        let options = LogDirsOptions {
            topic_configs: Arc::new(move |_| config.clone()),
            transaction_verification: false,
            recovery_threads_per_data_dir: 1,
            ..LogDirsOptions::new(paths)
        };
        let dirs = LogDirs::open(disk, options, 5).ok()?;
        dirs.load_logs(now_ms, &|_| false);
        let cleaner = Cleaner::new(&cleaner_config(), 3);
        Some(Node { dirs, clock: Clock(AtomicI64::new(now_ms)), cleaner })
    }

    pub fn log(&self) -> Arc<Log> {
        self.dirs.get_or_create(&partition(), None, None, self.now()).expect("the log")
    }

    pub fn now(&self) -> i64 {
        self.clock.0.load(Ordering::SeqCst)
    }

    pub fn pass(&self, ms: i64) {
        self.clock.0.fetch_add(ms, Ordering::SeqCst);
    }

    pub fn clean(&mut self) -> Option<Cleaning> {
        self.dirs.clean_filthiest(&mut self.cleaner, &self.clock).0
    }

    /// Closes the active segment and cleans everything before it.
    pub fn clean_all(&mut self) {
        let log = self.log();
        log.roll(self.now()).expect("rolls");
        while let Some(cleaning) = self.clean() {
            cleaning.result.expect("cleans");
        }
    }

    pub fn append(&self, batch: &mut [u8]) -> Result<AppendInfo, LogError> {
        let log = self.log();
        let info = log.append_as_leader(batch, &AppendOptions::new(AppendOrigin::Client, 0, self.now()))?;
        log.maybe_increment_high_watermark(log.log_end_offset());
        Ok(info)
    }

    pub fn put(&self, key: &str, value: Option<&str>) -> i64 {
        self.append(&mut batch(&BatchOptions::default(), self.now(), &[(key, value)]))
            .expect("appends")
            .first_offset
    }

    pub fn end_transaction(&self, producer_id: i64, epoch: i16, commit: bool) -> i64 {
        let bytes = EndTxnMarker { commit, coordinator_epoch: 1 }
            .batch(0, self.now(), 0, producer_id, epoch)
            .to_vec();
        let options = AppendOptions {
            verification_guard: VerificationGuard::SENTINEL,
            transaction_version: 0,
            ..AppendOptions::new(AppendOrigin::Coordinator, 0, self.now())
        };
        let log = self.log();
        let info = log.append_as_leader(&bytes, &options).expect("a marker");
        log.maybe_increment_high_watermark(log.log_end_offset());
        info.first_offset
    }
}

pub fn batch(options: &BatchOptions, now_ms: i64, records: &[(&str, Option<&str>)]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(*options);
    for (index, (key, value)) in records.iter().enumerate() {
        builder.append(now_ms + index as i64, Some(key.as_bytes()), value.map(str::as_bytes), []);
    }
    builder.build().expect("builds").to_vec()
}

/// A record as it is in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

/// Every batch's header and the records of data batches, in the order of the log.
pub fn all_records(log: &Log) -> Vec<Found> {
    let mut found = Vec::new();
    each_batch(log, FetchIsolation::LogEnd, |bytes, _| {
        let mut scratch = Scratch::default();
        for batch in BatchIter::new(bytes) {
            let batch = batch.expect("a batch");
            batch.ensure_valid().expect("a good checksum");
            if batch.header().is_control() {
                continue;
            }
            for record in batch.records(&mut scratch).expect("records") {
                let record = record.expect("a record");
                found.push(Found {
                    offset: record.offset,
                    timestamp: record.timestamp,
                    key: record.key.unwrap_or_default().to_vec(),
                    value: record.value.map(<[u8]>::to_vec),
                });
            }
        }
    });
    assert!(found.is_sorted_by(|a, b| a.offset < b.offset), "offsets grow");
    found
}

/// Base offset, last offset and number of records of every batch.
pub fn batches(log: &Log) -> Vec<(i64, i64, i32, bool)> {
    let mut all = Vec::new();
    each_batch(log, FetchIsolation::LogEnd, |bytes, _| {
        for batch in BatchIter::new(bytes) {
            let header = *batch.expect("a batch").header();
            all.push((header.base_offset, header.last_offset(), header.records_count, header.is_control()));
        }
    });
    all
}

fn each_batch(log: &Log, isolation: FetchIsolation, mut f: impl FnMut(&[u8], Vec<(i64, i64)>)) {
    let mut offset = log.log_start_offset();
    loop {
        let read = log.read(offset, 700, isolation, true).expect("reads");
        let bytes = read.slice.to_vec().expect("bytes");
        let aborted = read.aborted_transactions.unwrap_or_default();
        let mut next = offset;
        let mut whole = 0;
        for batch in BatchIter::new(&bytes) {
            let Ok(batch) = batch else { break };
            next = batch.header().next_offset();
            whole += batch.size();
        }
        if whole == 0 {
            return;
        }
        f(&bytes[..whole], aborted.iter().map(|txn| (txn.first_offset, txn.producer_id)).collect());
        offset = next;
    }
}

/// The last value of each key, as a consumer of committed records finds it.
pub fn committed_view(log: &Log) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut view = BTreeMap::new();
    let mut aborting: Vec<i64> = Vec::new();
    each_batch(log, FetchIsolation::TxnCommitted, |bytes, mut aborted| {
        aborted.sort();
        aborted.reverse();
        // Each fetch tells anew what is aborted in it.
        aborting.clear();
        let mut scratch = Scratch::default();
        for batch in BatchIter::new(bytes) {
            let batch = batch.expect("a batch");
            let header = *batch.header();
            while aborted.last().is_some_and(|(first, _)| *first <= header.last_offset()) {
                aborting.extend(aborted.pop().map(|(_, producer)| producer));
            }
            if header.is_control() {
                if let Some(Ok(record)) = batch.records(&mut scratch).expect("records").next()
                    && ControlRecordType::parse_key(record.key) == Ok(ControlRecordType::Abort)
                {
                    aborting.retain(|producer| *producer != header.producer_id);
                }
                continue;
            }
            if header.is_transactional() && aborting.contains(&header.producer_id) {
                continue;
            }
            for record in batch.records(&mut scratch).expect("records") {
                let record = record.expect("a record");
                let key = record.key.unwrap_or_default().to_vec();
                match record.value {
                    Some(value) => view.insert(key, value.to_vec()),
                    None => view.remove(&key),
                };
            }
        }
    });
    view
}

/// A small generator of choices.
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

#[derive(Debug, Default, Clone)]
struct Producer {
    sequence: i32,
    /// Offsets of its open transaction.
    pending: Option<Vec<i64>>,
}

/// A load on the log of a node, with what it should add up to.
#[derive(Debug, Clone)]
pub struct Workload {
    pub dice: Dice,
    /// Every record that was appended, by offset.
    pub appended: BTreeMap<i64, Found>,
    /// Offsets of records that were never committed.
    aborted: BTreeSet<i64>,
    producers: BTreeMap<i64, Producer>,
    /// Values are all different.
    counter: u64,
}

impl Workload {
    pub fn new(seed: u64) -> Self {
        Workload {
            dice: Dice(seed),
            appended: BTreeMap::new(),
            aborted: BTreeSet::new(),
            producers: BTreeMap::new(),
            counter: 0,
        }
    }

    fn records(&mut self) -> Vec<(String, Option<String>)> {
        let count = 1 + self.dice.roll(5);
        (0..count)
            .map(|_| {
                let key = format!("k{}", self.dice.roll(30));
                self.counter += 1;
                let filler = self.dice.roll(40) as usize;
                let value = format!("v{} {}", self.counter, "x".repeat(filler));
                (key, (self.dice.roll(5) > 0).then_some(value))
            })
            .collect()
    }

    /// One step of the load: a batch of somebody, or the end of a transaction.
    pub fn step(&mut self, node: &Node) {
        let records = self.records();
        let codec = match self.dice.roll(6) {
            0 => Codec::Zstd,
            1 => Codec::Lz4,
            2 => Codec::Gzip,
            _ => Codec::None,
        };
        let mut options = BatchOptions { compression: Compression::of(codec), ..BatchOptions::default() };
        let id = match self.dice.roll(4) {
            0 | 1 => None,
            2 => Some(100 + self.dice.roll(3) as i64),
            _ => Some(200 + self.dice.roll(3) as i64),
        };
        let Some(id) = id else {
            self.append(node, &options, &records);
            return;
        };
        let transactional = id >= 200;
        let ends = self.dice.roll(3);
        let producer = self.producers.entry(id).or_default();
        if transactional && producer.pending.is_some() && ends > 0 {
            self.end(node, id, ends == 1);
            return;
        }
        options.producer_id = id;
        options.producer_epoch = 0;
        options.base_sequence = producer.sequence;
        options.transactional = transactional;
        producer.sequence += records.len() as i32;
        let offsets = self.append(node, &options, &records);
        if transactional {
            let producer = self.producers.entry(id).or_default();
            producer.pending.get_or_insert_default().extend(offsets);
        }
    }

    fn end(&mut self, node: &Node, id: i64, commit: bool) {
        let Some(pending) = self.producers.entry(id).or_default().pending.take() else { return };
        node.end_transaction(id, 0, commit);
        if !commit {
            self.aborted.extend(pending);
        }
    }

    fn append(
        &mut self,
        node: &Node,
        options: &BatchOptions,
        records: &[(String, Option<String>)],
    ) -> Vec<i64> {
        let records: Vec<(&str, Option<&str>)> =
            records.iter().map(|(key, value)| (&**key, value.as_deref())).collect();
        let now_ms = node.now();
        let info = node.append(&mut batch(options, now_ms, &records)).expect("appends");
        let mut offsets = Vec::new();
        for (index, (key, value)) in records.iter().enumerate() {
            let offset = info.first_offset + index as i64;
            let found = Found {
                offset,
                timestamp: now_ms + index as i64,
                key: key.as_bytes().to_vec(),
                value: value.map(|value| value.as_bytes().to_vec()),
            };
            self.appended.insert(offset, found);
            offsets.push(offset);
        }
        node.pass(1);
        offsets
    }

    /// Ends every open transaction.
    pub fn settle(&mut self, node: &Node) {
        let open: Vec<i64> = self.producers.keys().copied().collect();
        for id in open {
            let commit = self.dice.roll(2) == 0;
            self.end(node, id, commit);
        }
    }

    /// The last committed value of each key below `offset`.
    pub fn model(&self, offset: i64) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut view = BTreeMap::new();
        for found in self.appended.range(..offset).map(|(_, found)| found) {
            if self.aborted.contains(&found.offset) {
                continue;
            }
            match &found.value {
                Some(value) => view.insert(found.key.clone(), value.clone()),
                None => view.remove(&found.key),
            };
        }
        view
    }

    /// Checks the log: every record that is there was appended there, and a consumer of committed records finds the
    /// last value of each key.
    pub fn check(&self, log: &Log) {
        for found in all_records(log) {
            assert_eq!(Some(&found), self.appended.get(&found.offset), "nothing is invented or changed");
        }
        assert_eq!(committed_view(log), self.model(log.last_stable_offset()), "the last value of each key");
    }
}
