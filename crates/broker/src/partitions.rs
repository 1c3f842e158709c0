//! The partitions that this broker hosts, kept in step with the metadata.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use ottla_metadata::config::{LogConfig as TopicConfig, StaticConfig, TimestampType as TopicTimestampType};
use ottla_metadata::image::{
    MetadataChanges, MetadataImage, PartitionRegistration, ResourceKind, TopicImage,
};
use ottla_protocol::ErrorCode;
use ottla_protocol::compression::Codec;
use ottla_protocol::records::TimestampType;
use ottla_protocol::types::{Str, Uuid};
use ottla_storage::dirs::{LogDirInfo, LogDirs};
use ottla_storage::{CleanupPolicy, CompressionType, LogConfig, LogError, TopicPartition};

use crate::partition::Partition;
use crate::state::wall_clock_ms;

type Table = HashMap<(Uuid, i32), Arc<Partition>>;

/// What a change of metadata did to the partitions of this broker.
#[derive(Default)]
pub struct Applied {
    /// Led by this broker from now on, or in a new epoch.
    pub elected: Vec<Arc<Partition>>,
    /// Led by this broker no more, or deleted.
    pub resigned: Vec<Arc<Partition>>,
    /// New replicas with the directory that they were put into, for the controller.
    pub placed: Vec<(Uuid, i32, Uuid)>,
}

pub struct Partitions {
    node_id: i32,
    log_dirs: Arc<LogDirs>,
    table: ArcSwap<Table>,
    /// One change at a time.
    applying: Mutex<()>,
    /// Partitions whose log could not be opened or made because the disk was full.
    unopened: Mutex<BTreeSet<(Uuid, i32)>>,
}

impl Partitions {
    pub fn new(node_id: i32, log_dirs: Arc<LogDirs>) -> Partitions {
        Partitions {
            node_id,
            log_dirs,
            table: ArcSwap::default(),
            applying: Mutex::new(()),
            unopened: Mutex::default(),
        }
    }

    pub fn log_dirs(&self) -> &Arc<LogDirs> {
        &self.log_dirs
    }

    pub fn get(&self, topic_id: &Uuid, index: i32) -> Option<Arc<Partition>> {
        self.table.load().get(&(*topic_id, index)).cloned()
    }

    /// Every partition, by topic and index.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        let mut all: Vec<_> = self.table.load().values().cloned().collect();
        all.sort_by(|a, b| (&a.topic, a.index).cmp(&(&b.topic, b.index)));
        all
    }

    pub fn len(&self) -> usize {
        self.table.load().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The partition of a topic by name, if this broker leads it.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION, KAFKA_STORAGE_ERROR when its directory is offline, NOT_LEADER_OR_FOLLOWER.
    pub fn leader(
        &self,
        image: &MetadataImage,
        topic: &str,
        index: i32,
    ) -> Result<Arc<Partition>, ErrorCode> {
        let topic = image.topics.by_name(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        topic.partition(index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        match self.get(&topic.id, index) {
            Some(partition) if partition.log.dir_state().is_offline() => Err(ErrorCode::KafkaStorageError),
            Some(partition) => Ok(partition),
            None => Err(ErrorCode::NotLeaderOrFollower),
        }
    }

    /// Whether the partition is on a directory of this broker that failed.
    pub fn is_offline(&self, topic_id: &Uuid, index: i32) -> bool {
        self.get(topic_id, index).is_some_and(|p| p.log.dir_state().is_offline())
    }

    pub fn dirs(&self) -> Vec<LogDirInfo> {
        self.log_dirs.dirs()
    }

    /// The directory of a path, as the controller knows it.
    pub fn directory_id(&self, path: &Path) -> Option<Uuid> {
        self.dirs().into_iter().find(|d| d.path == path).and_then(|d| d.directory_id)
    }

    /// Follows the metadata from one image to the next.
    pub fn apply(&self, new: &MetadataImage, changes: &MetadataChanges) -> Applied {
        let _one = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let mut applied = Applied::default();
        let mut table: Table = (**self.table.load()).clone();
        for topic in &changes.topics_deleted {
            for (index, _) in topic.partitions.iter() {
                self.remove(&mut table, topic, *index, true, &mut applied);
            }
        }
        for topic in &changes.topics_created {
            for (index, registration) in topic.partitions.iter() {
                self.place(&mut table, topic, *index, registration, &mut applied);
            }
        }
        for change in &changes.topics_changed {
            for index in &change.partitions {
                match change.new.partition(*index) {
                    Some(registration) => {
                        self.place(&mut table, &change.new, *index, registration, &mut applied)
                    }
                    None => self.remove(&mut table, &change.old, *index, true, &mut applied),
                }
            }
        }
        self.table.store(Arc::new(table));
        for resource in changes.configs.iter().filter(|r| r.kind == ResourceKind::TOPIC) {
            self.log_dirs.update_topic_config(&resource.name);
        }
        if changes.configs.iter().any(|r| r.kind == ResourceKind::BROKER) {
            let mut names: Vec<&Str> = new.topics.iter().map(|t| &t.name).collect();
            names.sort();
            for name in names {
                self.log_dirs.update_topic_config(name);
            }
        }
        applied
    }

    /// Whether there are logs to be opened again.
    pub fn has_unopened(&self) -> bool {
        !self.unopened.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Tries once more to open the logs that could not be opened.
    pub fn open_again(&self, image: &MetadataImage) -> Applied {
        let _one = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let unopened = std::mem::take(&mut *self.unopened.lock().unwrap_or_else(PoisonError::into_inner));
        let mut applied = Applied::default();
        let mut table: Table = (**self.table.load()).clone();
        for (id, index) in unopened {
            if let Some(topic) = image.topics.by_id(&id)
                && let Some(registration) = topic.partition(index)
            {
                self.place(&mut table, topic, index, registration, &mut applied);
            }
        }
        self.table.store(Arc::new(table));
        applied
    }

    /// Makes the partition what the metadata says: led here, or not here.
    fn place(
        &self,
        table: &mut Table,
        topic: &TopicImage,
        index: i32,
        registration: &PartitionRegistration,
        applied: &mut Applied,
    ) {
        let key = (topic.id, index);
        if !registration.replicas.contains(&self.node_id) {
            self.remove(table, topic, index, true, applied);
            return;
        }
        if registration.leader != self.node_id {
            // A replica that nobody leads keeps its log for when this broker leads again.
            self.remove(table, topic, index, false, applied);
            return;
        }
        if let Some(known) = table.get(&key) {
            if known.leader_epoch() != registration.leader_epoch {
                self.start_epoch(known, registration.leader_epoch);
                applied.elected.push(Arc::clone(known));
            }
            return;
        }
        let name = TopicPartition::new(topic.name.to_string(), index);
        let assigned = registration.directory_of(self.node_id);
        let existed = self.log_dirs.get(&name).is_some();
        let log = match self.log_dirs.get_or_create(&name, Some(topic.id), assigned, wall_clock_ms()) {
            Ok(log) => log,
            Err(error) => {
                tracing::error!(partition = %name, %error, source = std::error::Error::source(&error).map(tracing::field::display), "cannot open the log of a partition");
                if error.is_shortage() {
                    self.unopened.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
                }
                return;
            }
        };
        if let Some(dir) = self.directory_id(log.dir_state().path())
            && assigned != Some(dir)
        {
            applied.placed.push((topic.id, index, dir));
        }
        if !existed {
            tracing::info!(partition = %name, dir = %log.dir().display(), "created log");
        }
        let sibling = topic.partitions.iter().find_map(|(other, _)| table.get(&(topic.id, *other)));
        let metrics = sibling.map_or_else(Arc::default, |p| Arc::clone(&p.topic_metrics));
        let (name, epoch) = (topic.name.clone(), registration.leader_epoch);
        let partition = Arc::new(Partition::new(name, topic.id, index, log, metrics, epoch));
        self.start_epoch(&partition, registration.leader_epoch);
        table.insert(key, Arc::clone(&partition));
        applied.elected.push(partition);
    }

    fn start_epoch(&self, partition: &Partition, epoch: i32) {
        partition.set_leader_epoch(epoch);
        if let Err(error) = partition.log.assign_epoch_start_offset(epoch, partition.log_end_offset()) {
            tracing::error!(%partition, %error, "cannot write the leader epoch checkpoint");
        }
    }

    fn remove(&self, table: &mut Table, topic: &TopicImage, index: i32, delete: bool, applied: &mut Applied) {
        if let Some(partition) = table.remove(&(topic.id, index)) {
            partition.retire();
            applied.resigned.push(partition);
        }
        if delete {
            let name = TopicPartition::new(topic.name.to_string(), index);
            if self.log_dirs.get(&name).is_some_and(|log| log.topic_id().is_none_or(|id| id == topic.id))
                && let Err(error) = self.log_dirs.delete(&name, wall_clock_ms())
            {
                tracing::error!(partition = %name, %error, "cannot delete the log of a partition");
            }
        }
    }

    /// Lets the copy of a partition that has caught up take the place of the original, which nobody appends to from then
    /// on. None when it has not caught up.
    ///
    /// # Errors
    /// The disk.
    pub fn finish_move(&self, topic_id: &Uuid, name: &TopicPartition) -> Result<Option<Applied>, LogError> {
        let _one = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(promoted) = self.log_dirs.finish_move(name, wall_clock_ms())? else { return Ok(None) };
        let mut applied = Applied::default();
        let mut table: Table = (**self.table.load()).clone();
        let key = (*topic_id, name.partition);
        if let Some(old) = table.get(&key).cloned() {
            let new = Arc::new(Partition::new(
                old.topic.clone(),
                *topic_id,
                old.index,
                promoted.new,
                Arc::clone(&old.topic_metrics),
                old.leader_epoch(),
            ));
            table.insert(key, Arc::clone(&new));
            self.table.store(Arc::new(table));
            // Whoever waits looks again, and finds the new one.
            old.retire();
            applied.resigned.push(old);
            applied.elected.push(new);
        }
        Ok(Some(applied))
    }

    /// Paths of the directories that are online.
    pub fn online_paths(&self) -> Vec<PathBuf> {
        self.dirs().into_iter().filter(|d| !d.offline).map(|d| d.path).collect()
    }
}

/// The settings of a topic's logs: its own configs over the broker's.
pub fn log_config(broker: &StaticConfig, image: &MetadataImage, topic: &str) -> LogConfig {
    let own = image.configs.topic(topic);
    let c = TopicConfig::resolve(broker, |key| own.and_then(|o| o.get(key)).map(|v| &**v));
    let codec = match c.compression_type.as_str() {
        "producer" => CompressionType::Producer,
        "gzip" => CompressionType::Codec(Codec::Gzip),
        "snappy" => CompressionType::Codec(Codec::Snappy),
        "lz4" => CompressionType::Codec(Codec::Lz4),
        "zstd" => CompressionType::Codec(Codec::Zstd),
        _ => CompressionType::Codec(Codec::None),
    };
    LogConfig {
        segment_bytes: c.segment_bytes.max(1) as u32,
        segment_ms: c.segment_ms,
        segment_jitter_ms: c.segment_jitter_ms,
        segment_index_bytes: c.segment_index_bytes.max(0) as u32,
        index_interval_bytes: c.index_interval_bytes.max(0) as u32,
        flush_messages: c.flush_messages,
        flush_ms: c.flush_ms,
        retention_bytes: c.retention_bytes,
        retention_ms: c.retention_ms,
        max_message_bytes: c.max_message_bytes,
        max_decompressed_message_bytes: c.max_decompressed_message_bytes,
        delete_retention_ms: c.delete_retention_ms,
        file_delete_delay_ms: c.file_delete_delay_ms,
        min_compaction_lag_ms: c.min_compaction_lag_ms,
        max_compaction_lag_ms: c.max_compaction_lag_ms,
        min_cleanable_dirty_ratio: c.min_cleanable_dirty_ratio,
        cleanup_policy: CleanupPolicy { delete: c.delete, compact: c.compact },
        unclean_leader_election_enable: c.unclean_leader_election_enable,
        min_insync_replicas: c.min_insync_replicas,
        compression_type: codec,
        compression_gzip_level: c.compression_gzip_level,
        compression_lz4_level: c.compression_lz4_level,
        compression_zstd_level: c.compression_zstd_level,
        preallocate: c.preallocate,
        message_timestamp_type: match c.message_timestamp_type {
            TopicTimestampType::CreateTime => TimestampType::CreateTime,
            TopicTimestampType::LogAppendTime => TimestampType::LogAppendTime,
        },
        message_timestamp_before_max_ms: c.message_timestamp_before_max_ms,
        message_timestamp_after_max_ms: c.message_timestamp_after_max_ms,
        remote_storage_enable: c.remote_storage_enable,
        local_retention_ms: c.local_retention_ms,
        local_retention_bytes: c.local_retention_bytes,
    }
}
