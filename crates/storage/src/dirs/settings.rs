//! The settings of a node's logs that may change while it runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::{LogDirs, LogDirsOptions};

/// The settings of a node's logs that are no topic's, and may change while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDirsSettings {
    /// `log.segment.delete.delay.ms`, of whole partitions.
    pub file_delete_delay_ms: i64,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i64,
    /// `transaction.partition.verification.enable`.
    pub transaction_verification: bool,
    /// `cordoned.log.dirs`: directories that take no new logs (KIP-1066).
    pub cordoned_dirs: BTreeSet<PathBuf>,
    /// Whether all of them are, as `*` says.
    pub all_cordoned: bool,
}

impl LogDirsSettings {
    pub(super) fn of(options: &LogDirsOptions) -> Self {
        LogDirsSettings {
            file_delete_delay_ms: options.file_delete_delay_ms,
            producer_id_expiration_ms: options.producer_id_expiration_ms,
            transaction_verification: options.transaction_verification,
            cordoned_dirs: BTreeSet::new(),
            all_cordoned: false,
        }
    }

    /// Whether a directory takes no new logs.
    pub fn is_cordoned(&self, dir: &Path) -> bool {
        self.all_cordoned || self.cordoned_dirs.contains(dir)
    }
}

impl LogDirs {
    /// The settings in force.
    pub fn settings(&self) -> LogDirsSettings {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts other settings in force, in logs that are open, too.
    pub fn update_settings(&self, settings: LogDirsSettings) {
        let before = {
            let mut current = self.settings.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, settings.clone())
        };
        if before == settings {
            return;
        }
        for log in self.all().into_iter().chain(self.futures()) {
            log.set_producer_id_expiration_ms(settings.producer_id_expiration_ms);
            log.set_transaction_verification(settings.transaction_verification);
        }
    }
}
