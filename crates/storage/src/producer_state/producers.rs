//! Every producer of a log, their open transactions, and the snapshots on disk.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::append::{CompletedTxn, ProducerAppend};
use super::entry::{LastRecord, ProducerEntry};
use super::snapshot::{parse_snapshot, render_snapshot};
use super::{AppendOrigin, VerificationGuard};
use crate::disk::{Disk, OpenMode};
use crate::log::LogOffsetMetadata;
use crate::mutation::{self, Mutation};
use crate::segment::names::{self, SNAPSHOT_SUFFIX};

/// The largest producer snapshot that is read.
const MAX_SNAPSHOT_BYTES: u64 = 1 << 30;

/// A verification that is under way for a producer (KIP-890).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verification {
    pub(crate) guard: VerificationGuard,
    pub(crate) timestamp: i64,
    pub(crate) lowest_sequence: i32,
    pub(crate) epoch: i16,
    pub(crate) supports_epoch_bump: bool,
}

#[derive(Debug, Clone, Copy)]
struct Txn {
    producer_id: i64,
    first_offset: LogOffsetMetadata,
    last_offset: Option<i64>,
}

/// The producers of a log.
#[derive(Debug)]
pub(crate) struct Producers {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    expiration_ms: i64,
    producers: HashMap<i64, ProducerEntry>,
    verifications: HashMap<i64, Verification>,
    next_guard: u64,
    /// Open transactions, by first offset.
    ongoing: BTreeMap<i64, Txn>,
    /// Ended ones whose marker is not below the high watermark yet.
    unreplicated: BTreeMap<i64, Txn>,
    snapshots: BTreeSet<i64>,
    last_map_offset: i64,
    last_snapshot_offset: i64,
    snapshot_is_durable: bool,
}

impl Producers {
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: &Path, expiration_ms: i64) -> io::Result<Self> {
        let mut producers = Producers {
            disk,
            dir: dir.to_path_buf(),
            expiration_ms,
            producers: HashMap::new(),
            verifications: HashMap::new(),
            next_guard: 1,
            ongoing: BTreeMap::new(),
            unreplicated: BTreeMap::new(),
            snapshots: BTreeSet::new(),
            last_map_offset: 0,
            last_snapshot_offset: 0,
            snapshot_is_durable: true,
        };
        producers.reload_snapshots()?;
        Ok(producers)
    }

    pub(crate) fn reload_snapshots(&mut self) -> io::Result<()> {
        self.snapshots.clear();
        for entry in self.disk.list(&self.dir)? {
            if !entry.is_dir && entry.name.ends_with(SNAPSHOT_SUFFIX) {
                self.snapshots.extend(names::offset_of(&entry.name));
            }
        }
        Ok(())
    }

    pub(crate) fn path(&self, offset: i64) -> PathBuf {
        names::file(&self.dir, offset, SNAPSHOT_SUFFIX)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.producers.is_empty() && self.unreplicated.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.producers.len()
    }

    pub(crate) fn entry(&self, producer_id: i64) -> Option<&ProducerEntry> {
        self.producers.get(&producer_id)
    }

    /// Every producer, by id.
    pub(crate) fn all(&self) -> Vec<ProducerEntry> {
        let mut all: Vec<_> = self.producers.values().copied().collect();
        all.sort_by_key(|entry| entry.producer_id);
        all
    }

    /// The last batch of every producer.
    pub(crate) fn last_records(&self) -> HashMap<i64, LastRecord> {
        self.producers.iter().map(|(id, entry)| (*id, LastRecord::of(entry))).collect()
    }

    pub(crate) fn map_end_offset(&self) -> i64 {
        self.last_map_offset
    }

    pub(crate) fn set_map_end_offset(&mut self, offset: i64) {
        self.last_map_offset = offset;
    }

    pub(crate) fn latest_snapshot_offset(&self) -> Option<i64> {
        self.snapshots.last().copied()
    }

    fn is_expired(&self, now_ms: i64, entry: &ProducerEntry) -> bool {
        entry.current_txn_first_offset.is_none()
            && now_ms.saturating_sub(entry.last_timestamp) >= self.expiration_ms
    }

    pub(crate) fn remove_expired(&mut self, now_ms: i64) {
        let expiration_ms = self.expiration_ms;
        let mut kept = std::mem::take(&mut self.producers);
        kept.retain(|_, entry| !self.is_expired(now_ms, entry));
        self.producers = kept;
        self.verifications.retain(|_, entry| now_ms.saturating_sub(entry.timestamp) < expiration_ms);
    }

    pub(crate) fn set_expiration_ms(&mut self, expiration_ms: i64) {
        self.expiration_ms = expiration_ms;
    }

    // Verification (KIP-890 part 1).

    pub(crate) fn verification(&self, producer_id: i64) -> Option<Verification> {
        self.verifications.get(&producer_id).copied()
    }

    pub(crate) fn start_verification(
        &mut self,
        producer_id: i64,
        sequence: i32,
        epoch: i16,
        supports_epoch_bump: bool,
        now_ms: i64,
    ) -> VerificationGuard {
        let next_guard = &mut self.next_guard;
        let entry = self.verifications.entry(producer_id).or_insert_with(|| {
            let guard = VerificationGuard(*next_guard);
            *next_guard += 1;
            Verification { guard, timestamp: now_ms, lowest_sequence: sequence, epoch, supports_epoch_bump }
        });
        if epoch == entry.epoch && sequence < entry.lowest_sequence {
            entry.lowest_sequence = sequence;
        }
        if epoch > entry.epoch {
            entry.epoch = epoch;
            entry.lowest_sequence = sequence;
        }
        entry.guard
    }

    pub(crate) fn clear_verification(&mut self, producer_id: i64) {
        self.verifications.remove(&producer_id);
    }

    // Appends.

    pub(crate) fn prepare(&self, producer_id: i64, origin: AppendOrigin) -> ProducerAppend {
        let current = self.producers.get(&producer_id).copied();
        ProducerAppend::new(producer_id, current, origin, self.verification(producer_id))
    }

    pub(crate) fn update(&mut self, append: &ProducerAppend) {
        match self.producers.get_mut(&append.producer_id) {
            Some(entry) => entry.update(&append.updated),
            None => {
                self.producers.insert(append.producer_id, append.updated);
            }
        }
        for &first_offset in &append.started {
            let txn = Txn { producer_id: append.producer_id, first_offset, last_offset: None };
            self.ongoing.insert(first_offset.offset, txn);
        }
    }

    /// The last stable offset once `completed` is done, as the log ends behind its marker: transactions that begin later
    /// in the same append do not count. (Kafka's `ProducerStateManager.lastStableOffset` counts them, and the index of a
    /// follower then ends a search too early.)
    pub(crate) fn last_stable_offset(&self, completed: &CompletedTxn) -> i64 {
        let all_count = mutation::on(Mutation::LaterTransactionsCount);
        let behind = if all_count { i64::MAX } else { completed.last_offset };
        self.ongoing
            .range(..behind)
            .map(|(_, txn)| txn)
            .find(|txn| txn.producer_id != completed.producer_id)
            .map_or(completed.last_offset + 1, |txn| txn.first_offset.offset)
    }

    pub(crate) fn complete(&mut self, completed: &CompletedTxn) {
        if let Some(mut txn) = self.ongoing.remove(&completed.first_offset) {
            txn.last_offset = Some(completed.last_offset);
            if mutation::on(Mutation::MarkerDroppedEarly) {
                return;
            }
            self.unreplicated.insert(completed.first_offset, txn);
        }
    }

    /// The first offset that a transaction still holds back from readers of committed records.
    pub(crate) fn first_unstable_offset(&self) -> Option<LogOffsetMetadata> {
        let ongoing = self.ongoing.values().next();
        let unreplicated = self.unreplicated.values().next();
        [ongoing, unreplicated]
            .into_iter()
            .flatten()
            .map(|txn| txn.first_offset)
            .min_by_key(|first| first.offset)
    }

    /// First offset of the oldest open transaction.
    pub(crate) fn first_undecided_offset(&self) -> Option<i64> {
        self.ongoing.keys().next().copied()
    }

    /// Timestamp of the last record of the oldest open transaction.
    pub(crate) fn oldest_txn_last_timestamp(&self) -> Option<i64> {
        let txn = self.ongoing.values().next()?;
        Some(self.producers.get(&txn.producer_id)?.last_timestamp)
    }

    pub(crate) fn on_high_watermark_updated(&mut self, high_watermark: i64) {
        self.unreplicated.retain(|_, txn| txn.last_offset.is_none_or(|last| last >= high_watermark));
    }

    pub(crate) fn on_log_start_offset_incremented(&mut self, log_start_offset: i64) {
        self.on_high_watermark_updated(log_start_offset);
        self.last_map_offset = self.last_map_offset.max(log_start_offset);
        self.last_snapshot_offset = self.latest_snapshot_offset().unwrap_or(log_start_offset);
    }

    // Snapshots.

    /// Writes a snapshot as of the end of the map, unless there is one. Returns its path. With `sync` it is durable then,
    /// also when it was there.
    pub(crate) fn take_snapshot(&mut self, sync: bool) -> io::Result<Option<PathBuf>> {
        if self.last_map_offset <= self.last_snapshot_offset {
            if sync && !self.snapshot_is_durable && self.snapshots.contains(&self.last_snapshot_offset) {
                self.disk.open(&self.path(self.last_snapshot_offset), OpenMode::ReadWrite)?.sync_all()?;
                self.snapshot_is_durable = true;
            }
            return Ok(None);
        }
        let path = self.path(self.last_map_offset);
        let bytes = render_snapshot(self.producers.values());
        let file = self.disk.open(&path, OpenMode::ReadWrite)?;
        file.truncate(0)?;
        file.pwrite_all(&bytes, 0)?;
        if sync {
            file.sync_all()?;
        }
        self.snapshots.insert(self.last_map_offset);
        self.last_snapshot_offset = self.last_map_offset;
        self.snapshot_is_durable = sync;
        Ok(Some(path))
    }

    /// A recovery has written snapshots that it did not sync: the next one would find the same.
    pub(crate) fn snapshot_may_not_be_durable(&mut self) {
        self.snapshot_is_durable = false;
    }

    fn remove_snapshot(&mut self, offset: i64) -> io::Result<()> {
        self.snapshots.remove(&offset);
        self.disk.remove_file(&self.path(offset))
    }

    /// Forgets the snapshot at `offset`; the caller deals with its file.
    pub(crate) fn forget_snapshot(&mut self, offset: i64) -> Option<PathBuf> {
        self.snapshots.remove(&offset).then(|| self.path(offset))
    }

    /// Removes the snapshots that belong to no segment, but for the newest when it is behind the last segment's start.
    pub(crate) fn remove_stray_snapshots(&mut self, base_offsets: &[i64]) -> io::Result<()> {
        self.reload_snapshots()?;
        let stray: Vec<i64> =
            self.snapshots.iter().copied().filter(|offset| !base_offsets.contains(offset)).collect();
        let Some((newest, others)) = stray.split_last() else { return Ok(()) };
        for offset in others {
            self.remove_snapshot(*offset)?;
        }
        if base_offsets.iter().max().is_some_and(|last| newest < last) {
            self.remove_snapshot(*newest)?;
        }
        Ok(())
    }

    fn load_from_snapshot(&mut self, log_start_offset: i64, now_ms: i64) -> io::Result<()> {
        while let Some(offset) = self.latest_snapshot_offset() {
            let bytes = self.disk.read(&self.path(offset), MAX_SNAPSHOT_BYTES)?.unwrap_or_default();
            match parse_snapshot(&bytes) {
                Ok(entries) => {
                    for entry in entries {
                        if !self.is_expired(now_ms, &entry) {
                            self.load_entry(entry);
                        }
                    }
                    self.last_snapshot_offset = offset;
                    self.last_map_offset = offset;
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(path = %self.path(offset).display(), %error, "dropping a producer snapshot");
                    self.remove_snapshot(offset)?;
                }
            }
        }
        self.last_snapshot_offset = log_start_offset;
        self.last_map_offset = log_start_offset;
        Ok(())
    }

    fn load_entry(&mut self, entry: ProducerEntry) {
        if let Some(first) = entry.current_txn_first_offset {
            let first_offset = LogOffsetMetadata::offset_only(first);
            let txn = Txn { producer_id: entry.producer_id, first_offset, last_offset: None };
            self.ongoing.insert(first, txn);
        }
        self.producers.insert(entry.producer_id, entry);
    }

    fn clear(&mut self) {
        self.producers.clear();
        self.ongoing.clear();
        self.unreplicated.clear();
    }

    /// Goes back to the newest snapshot that is not behind `log_end_offset`.
    pub(crate) fn truncate_and_reload(
        &mut self,
        log_start_offset: i64,
        log_end_offset: i64,
        now_ms: i64,
    ) -> io::Result<()> {
        let outside: Vec<i64> = self
            .snapshots
            .iter()
            .copied()
            .filter(|&offset| {
                (offset > log_end_offset && !mutation::on(Mutation::FutureSnapshotKept))
                    || offset <= log_start_offset
            })
            .collect();
        for offset in outside {
            self.remove_snapshot(offset)?;
        }
        if log_end_offset == self.last_map_offset {
            self.on_log_start_offset_incremented(log_start_offset);
            return Ok(());
        }
        self.clear();
        self.load_from_snapshot(log_start_offset, now_ms)
    }

    pub(crate) fn truncate_fully_and_start_at(&mut self, offset: i64) -> io::Result<()> {
        self.clear();
        for snapshot in std::mem::take(&mut self.snapshots) {
            self.disk.remove_file(&self.path(snapshot))?;
        }
        self.last_snapshot_offset = 0;
        self.last_map_offset = offset;
        Ok(())
    }
}
