//! Whether a log directory can be used.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::commit::Committer;

type FailureHook = Box<dyn Fn(&Path) + Send + Sync>;

/// A log directory: online until an operation on it fails, offline from then on.
pub struct DirState {
    path: PathBuf,
    offline: AtomicBool,
    hook: Mutex<Option<FailureHook>>,
    committer: Committer,
    /// Bytes of one log that may be written and not durable before a sync is asked for.
    max_unflushed_bytes: AtomicU64,
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

    /// Bytes of one log that may be written and not durable before [`crate::log::AppendInfo::writeback_due`] asks for
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
