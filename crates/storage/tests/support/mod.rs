//! Data directories of Apache Kafka, unpacked, and what a reader must find in them.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::compression::{self, Codec};
use ottla_protocol::records::control::{ControlRecordType, EndTxnMarker};
use ottla_protocol::records::{BatchIter, Scratch, TimestampType};
use ottla_storage::dirs::{LogDirs, LogDirsOptions};
use ottla_storage::disk::OsDisk;
use ottla_storage::log::{FetchIsolation, Log};
use ottla_storage::{CleanupPolicy, LogConfig, TopicPartition};
use serde_json::Value;
use sha2::{Digest, Sha256};

pub struct Fixture {
    pub name: String,
    pub root: tempfile::TempDir,
    pub expected: Value,
}

impl Fixture {
    pub fn open(name: &str) -> Self {
        Self::open_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data"), name)
    }

    pub fn open_in(folder: &Path, name: &str) -> Self {
        let packed = fs::read(folder.join(format!("{name}.tar.zst"))).expect("the archive");
        let tar = compression::decompress(Codec::Zstd, &packed, 1 << 30).expect("zstd");
        let root = tempfile::tempdir().expect("a directory");
        untar(&tar, root.path());
        let json = fs::read(folder.join(format!("{name}.json.zst"))).expect("the expectation");
        let json = compression::decompress(Codec::Zstd, &json, 64 << 20).expect("zstd");
        let expected = serde_json::from_slice(&json).expect("json");
        Fixture { name: name.to_owned(), root, expected }
    }

    pub fn dirs(&self) -> Vec<PathBuf> {
        let dirs = self.expected["dataDirs"].as_array().expect("dirs");
        dirs.iter().map(|dir| self.root.path().join(dir.as_str().expect("text"))).collect()
    }

    /// The settings of a topic as far as files depend on them.
    pub fn config(&self, topic: &str) -> LogConfig {
        let broker = &self.expected["brokerProperties"];
        let number = |value: &Value| value.as_str().and_then(|text| text.parse::<i64>().ok());
        let mut config = LogConfig::default();
        if let Some(bytes) = number(&broker["log.index.size.max.bytes"]) {
            config.segment_index_bytes = bytes as u32;
        }
        let configs = &self.expected["expect"]["topics"][topic]["configs"];
        if let Some(bytes) = number(&configs["index.interval.bytes"]) {
            config.index_interval_bytes = bytes as u32;
        }
        for key in ["segment.bytes", "internal.segment.bytes"] {
            if let Some(bytes) = number(&configs[key]) {
                config.segment_bytes = bytes as u32;
            }
        }
        if let Some(policy) = configs["cleanup.policy"].as_str() {
            config.cleanup_policy =
                CleanupPolicy { delete: policy.contains("delete"), compact: policy.contains("compact") };
        }
        if configs["message.timestamp.type"] == "LogAppendTime" {
            config.message_timestamp_type = TimestampType::LogAppendTime;
        }
        config.retention_ms = -1;
        config
    }

    /// Opens every log. What a killed broker knew of its producers is found at a clock at which none has expired; a
    /// broker that was stopped in order had dropped those of records that are years old.
    pub fn load(&self) -> LogDirs {
        /// After the directories were made.
        const PACKED_MS: i64 = 1_795_330_000_000;
        let now_ms = if self.name.ends_with("clean") { PACKED_MS } else { 0 };
        let mut options = LogDirsOptions::new(self.dirs());
        options.producer_id_expiration_ms = i64::from(i32::MAX);
        let configs: BTreeMap<String, LogConfig> = self.expected["expect"]["topics"]
            .as_object()
            .expect("topics")
            .keys()
            .map(|topic| (topic.clone(), self.config(topic)))
            .collect();
        let fallback = self.config("");
        options.topic_configs =
            Arc::new(move |topic| configs.get(topic).cloned().unwrap_or_else(|| fallback.clone()));
        let dirs = LogDirs::open(Arc::new(OsDisk), options, 7).expect("the directories");
        dirs.load_logs(now_ms, &|_| false);
        dirs
    }

    /// Every partition that is expected, with its log.
    pub fn partitions(&self, dirs: &LogDirs) -> Vec<(Arc<Log>, Value)> {
        let mut all = Vec::new();
        for (topic, value) in self.expected["expect"]["topics"].as_object().expect("topics") {
            for partition in value["partitions"].as_array().expect("partitions") {
                let number = partition["partition"].as_i64().expect("a number") as i32;
                let name = TopicPartition::new(topic.as_str(), number);
                let log = dirs.get(&name).unwrap_or_else(|| panic!("{}: no log of {name}", self.name));
                all.push((log, partition.clone()));
            }
        }
        all
    }
}

/// The part of tar that the archives use: plain files, directories, and GNU's long names.
fn untar(mut tar: &[u8], root: &Path) {
    let text = |field: &[u8]| {
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
        String::from_utf8_lossy(&field[..end]).into_owned()
    };
    let mut long_name = None;
    while tar.len() >= 512 && tar[0] != 0 {
        let (header, rest) = tar.split_at(512);
        let size = usize::from_str_radix(text(&header[124..136]).trim(), 8).expect("a size");
        let content = &rest[..size];
        tar = &rest[size.div_ceil(512) * 512..];
        let name = long_name.take().unwrap_or_else(|| text(&header[..100]));
        match header[156] {
            b'L' => long_name = Some(text(content)),
            b'5' => fs::create_dir_all(root.join(name)).expect("a directory"),
            b'0' | 0 => {
                let path = root.join(name);
                fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
                fs::write(path, content).expect("a file");
            }
            other => panic!("tar entry of type {other}"),
        }
    }
}

/// Reads a log from its start as a consumer does, in fetches of `max_bytes`: the number of records and their digest.
pub fn digest(log: &Log, isolation: FetchIsolation, max_bytes: usize) -> (u64, String) {
    let mut digest = Sha256::new();
    let mut count = 0;
    let mut scratch = Scratch::default();
    let mut next = log.log_start_offset();
    loop {
        let read = log.read(next, max_bytes, isolation, true).expect("reads");
        if read.slice.len == 0 {
            break;
        }
        let bytes = read.slice.to_vec().expect("reads");
        assert_eq!(bytes.len(), read.slice.len, "the range is in the file");
        let mut aborted = read.aborted_transactions.unwrap_or_default();
        aborted.sort_by_key(|txn| txn.first_offset);
        let mut aborted = aborted.into_iter().peekable();
        let mut ongoing = std::collections::BTreeSet::new();
        let before = next;
        for batch in BatchIter::new(&bytes) {
            let batch = batch.expect("a batch");
            batch.ensure_valid().expect("a good checksum");
            let header = *batch.header();
            while aborted.next_if(|txn| txn.first_offset <= header.last_offset()).is_some_and(|txn| {
                ongoing.insert(txn.producer_id);
                true
            }) {}
            let mut skip = header.is_control();
            for record in batch.records(&mut scratch).expect("records") {
                let record = record.expect("a record");
                if header.is_control() {
                    if ControlRecordType::parse_key(record.key).expect("a type") == ControlRecordType::Abort {
                        assert!(EndTxnMarker::parse(&record).is_ok());
                        ongoing.remove(&header.producer_id);
                    }
                    continue;
                }
                skip |= header.is_transactional() && ongoing.contains(&header.producer_id);
                if skip || record.offset < next {
                    continue;
                }
                count += 1;
                digest.update(record.offset.to_be_bytes());
                digest.update(record.timestamp.to_be_bytes());
                digest.update([u8::from(header.timestamp_type() == TimestampType::LogAppendTime)]);
                let mut bytes = |bytes: Option<&[u8]>| match bytes {
                    None => digest.update((-1i32).to_be_bytes()),
                    Some(bytes) => {
                        digest.update((bytes.len() as i32).to_be_bytes());
                        digest.update(bytes);
                    }
                };
                bytes(record.key);
                bytes(record.value);
                digest.update((record.headers.len() as i32).to_be_bytes());
                for header in record.headers {
                    let mut bytes = |bytes: Option<&[u8]>| match bytes {
                        None => digest.update((-1i32).to_be_bytes()),
                        Some(bytes) => {
                            digest.update((bytes.len() as i32).to_be_bytes());
                            digest.update(bytes);
                        }
                    };
                    bytes(Some(header.key));
                    bytes(header.value);
                }
            }
            next = header.next_offset();
        }
        assert!(next > before, "a fetch brings at least one batch");
    }
    (count, digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
