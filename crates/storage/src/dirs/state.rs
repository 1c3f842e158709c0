//! Whether a log directory can be used.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::commit::Committer;
use crate::error::CorruptFile;
use crate::index::IndexMemory;
use crate::log::TopicPartition;
use crate::reading::{CATCH_UP_BYTES, DirReads};

/// Damaged places of a directory that are told apart. Of more than that only the number is kept: the log says by then
/// that the disk has to go.
const MAX_DAMAGED_PLACES: usize = 1000;

/// The least time between two lines that say that a directory is full.
const FULL_INTERVAL: Duration = Duration::from_secs(60);

type FailureHook = Box<dyn Fn(&Path) + Send + Sync>;

/// A log directory: online until an operation on it fails, offline from then on.
pub struct DirState {
    path: PathBuf,
    offline: AtomicBool,
    hook: Mutex<Option<FailureHook>>,
    committer: Committer,
    /// Bytes of one log that may be written and not durable before a sync is asked for.
    max_unflushed_bytes: AtomicU64,
    /// The last write found no room.
    full: AtomicBool,
    full_said: Mutex<Option<Instant>>,
    reads: DirReads,
    catch_up_bytes: AtomicU64,
    index_memory: Arc<IndexMemory>,
    /// Where readers met something that was not written there.
    damaged: Mutex<BTreeSet<(PathBuf, Option<u64>)>>,
    damaged_places: AtomicU64,
}

impl fmt::Debug for DirState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirState").field("path", &self.path).field("offline", &self.is_offline()).finish()
    }
}

impl DirState {
    /// A directory that is online.
    pub fn new(path: PathBuf) -> Self {
        DirState {
            path,
            offline: AtomicBool::new(false),
            hook: Mutex::new(None),
            committer: Committer::default(),
            max_unflushed_bytes: AtomicU64::new(u64::MAX),
            full: AtomicBool::new(false),
            full_said: Mutex::default(),
            reads: DirReads::default(),
            catch_up_bytes: AtomicU64::new(CATCH_UP_BYTES),
            index_memory: Arc::default(),
            damaged: Mutex::default(),
            damaged_places: AtomicU64::new(0),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The queue of appends that wait to be durable.
    pub fn committer(&self) -> &Committer {
        &self.committer
    }

    /// Bytes of one log that may be written and not durable before [`crate::log::AppendInfo::flush_due`] asks for
    /// a sync; no limit at first.
    pub fn max_unflushed_bytes(&self) -> u64 {
        self.max_unflushed_bytes.load(Ordering::Relaxed)
    }

    /// Sets that limit.
    pub fn set_max_unflushed_bytes(&self, bytes: u64) {
        self.max_unflushed_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Whether an operation failed, so that nothing in the directory may be used.
    pub fn is_offline(&self) -> bool {
        self.offline.load(Ordering::Acquire)
    }

    pub(crate) fn reads(&self) -> &DirReads {
        &self.reads
    }

    /// Reads of logs that had to wait for the device, and their bytes, since the start.
    pub fn cold_reads(&self) -> (u64, u64) {
        self.reads.cold()
    }

    /// A reader that is further behind the end of its log is catching up; 64 MiB at first.
    pub fn catch_up_bytes(&self) -> u64 {
        self.catch_up_bytes.load(Ordering::Relaxed)
    }

    /// Sets that.
    pub fn set_catch_up_bytes(&self, bytes: u64) {
        self.catch_up_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn index_memory(&self) -> &Arc<IndexMemory> {
        &self.index_memory
    }

    /// Bytes of memory that indexes of closed segments take.
    pub fn index_memory_bytes(&self) -> usize {
        self.index_memory.bytes()
    }

    /// Sets how many that may be, [`crate::index::INDEX_MEMORY_BYTES`] at first. A single index that is larger is kept
    /// until the next is read.
    pub fn set_max_index_memory_bytes(&self, bytes: usize) {
        self.index_memory.set_limit(bytes);
    }

    /// Says in the log that the directory is full: once until there was room, and not more often than once in
    /// [`FULL_INTERVAL`], since small writes may succeed between large ones that do not.
    pub(crate) fn note_full(&self, operation: &str, error: &io::Error) {
        if self.full.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut said = self.full_said.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if said.is_some_and(|said| said.elapsed() < FULL_INTERVAL) {
            return;
        }
        *said = Some(Instant::now());
        tracing::error!(
            dir = %self.path.display(), operation, %error,
            "the log directory is full, or the process out of file descriptors; what needs them is refused until there are some"
        );
    }

    /// Something was written.
    pub(crate) fn note_room(&self) {
        if self.full.load(Ordering::Relaxed) {
            self.full.store(false, Ordering::Release);
        }
    }

    /// Lets go of what was read ahead and nobody reads any more.
    pub(crate) fn expire_reads(&self) {
        self.reads.ahead.expire();
    }

    /// Counts a damaged place and says so in the log, the first time that it is met.
    pub(crate) fn report_damage(&self, partition: &TopicPartition, damage: &CorruptFile) {
        let mut known = self.damaged.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let is_full = known.len() >= MAX_DAMAGED_PLACES;
        let is_new = match is_full {
            true => !known.contains(&(damage.path.clone(), damage.position)),
            false => known.insert((damage.path.clone(), damage.position)),
        };
        drop(known);
        if !is_new {
            return;
        }
        self.damaged_places.fetch_add(1, Ordering::Relaxed);
        if !is_full {
            tracing::error!(
                %partition,
                file = %damage.path.display(),
                position = damage.position,
                error = %damage.source,
                "the file is damaged; what lies there cannot be read"
            );
        }
    }

    /// Places in files at which something else was found than was written, since the start.
    pub fn damaged_places(&self) -> u64 {
        self.damaged_places.load(Ordering::Relaxed)
    }

    /// Sets what is called, once, when the directory goes offline. It must not call back into a log.
    pub fn on_failure(&self, hook: impl Fn(&Path) + Send + Sync + 'static) {
        *self.hook.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(Box::new(hook));
    }

    /// Takes the directory offline.
    pub fn fail(&self, operation: &str, error: &io::Error) {
        if self.offline.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::error!(dir = %self.path.display(), operation, %error, "the log directory is offline");
        if let Some(hook) = &*self.hook.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            hook(&self.path);
        }
    }
}
