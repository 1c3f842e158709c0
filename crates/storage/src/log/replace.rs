//! Putting compacted segments in the place of those that they were made from, so that a crash at any step leaves the
//! old ones or the new ones.
//!
//! Source: Kafka `LocalLog.replaceSegments`, `LogLoader`.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Log;
use crate::error::LogError;
use crate::producer_state::LastRecord;
use crate::segment::Segment;
use crate::segment::names::{CLEANED_SUFFIX, SWAP_SUFFIX};

/// A segment that was written to `.cleaned` files, and is durable in them.
#[derive(Debug)]
pub(crate) struct Cleaned {
    pub(crate) segment: Segment,
    /// The offset after its last record, or its base offset without any.
    pub(crate) next_offset: i64,
}

/// The state of a log that a cleaning starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Snapshot {
    truncations: u64,
}

fn with_mark(plain: &std::path::Path, mark: &str) -> PathBuf {
    let mut name = plain.file_name().unwrap_or_default().to_os_string();
    name.push(mark);
    plain.with_file_name(name)
}

impl Log {
    /// Notes the state that [`Log::replace_segments`] compares with.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot { truncations: self.truncations.load(Ordering::Acquire) }
    }

    /// What each producer's last batch is: compaction keeps it.
    pub(crate) fn last_records_of_producers(&self) -> std::collections::HashMap<i64, LastRecord> {
        self.writer().producers.last_records()
    }

    /// Puts `new` in the place of `old`. Both are ascending, and `new` holds what is kept of `old`. Returns false, with
    /// nothing done, when the log was truncated since `snapshot` or an old segment is gone. Appends go on meanwhile.
    ///
    /// The steps, each durable before the next:
    /// 1. The new files have names, and are renamed from `.cleaned` to `.swap`, the last segment first. A start that finds
    ///    a `.cleaned` file drops it and every `.swap` file at or behind it.
    /// 2. The old files are renamed to `.deleted`. From here on a start finishes what is begun: the files of the log
    ///    within the offsets of the `.swap` files go.
    /// 3. The new `.log` files get their names, then their indexes: while a `.log.swap` is there, no index is in place.
    ///
    /// # Errors
    /// The disk; the directory is then offline, and the next start puts it right.
    pub(crate) fn replace_segments(
        &self,
        new: &[Cleaned],
        old: &[Arc<Segment>],
        snapshot: Snapshot,
        now_ms: i64,
    ) -> Result<bool, LogError> {
        let _structure = self.structure();
        self.check_open()?;
        let current = self.segments.load_full();
        let active = current.len().saturating_sub(1);
        let at = |segment: &Arc<Segment>| current.iter().position(|known| Arc::ptr_eq(known, segment));
        let all_there = old.iter().all(|segment| at(segment).is_some_and(|index| index < active));
        if self.snapshot() != snapshot || !all_there || new.is_empty() {
            return Ok(false);
        }
        let replaced = self.swap_files(new, old, now_ms).map_err(|error| {
            // Half of a swap may not be gone on with, whatever the reason.
            self.dir_state.fail("Error while swapping in cleaned segments", &error);
            self.storage_error("Error while swapping in cleaned segments", error)
        })?;

        let mut writer = self.writer();
        let kept = self.segments.load_full();
        let mut segments: Vec<Arc<Segment>> = kept
            .iter()
            .filter(|segment| !old.iter().any(|gone| Arc::ptr_eq(gone, segment)))
            .cloned()
            .chain(replaced)
            .collect();
        segments.sort_by_key(|segment| segment.base_offset());
        self.set_segments(segments);
        for segment in old {
            let base_offset = segment.base_offset();
            if new.iter().all(|cleaned| cleaned.segment.base_offset() != base_offset)
                && let Some(path) = writer.producers.forget_snapshot(base_offset)
            {
                self.delete_later(&path, now_ms)
                    .map_err(|error| self.storage_error("Error while deleting producer snapshots", error))?;
            }
        }
        Ok(true)
    }

    fn swap_files(
        &self,
        new: &[Cleaned],
        old: &[Arc<Segment>],
        now_ms: i64,
    ) -> io::Result<Vec<Arc<Segment>>> {
        let dir = self.dir();
        let config = self.config.load();
        // Readers find segments by the list that they hold, and indexes by name when they first need them.
        for segment in old {
            segment.detach()?;
        }
        let plain = |cleaned: &Cleaned| {
            cleaned.segment.files().map(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                path.with_file_name(name.strip_suffix(CLEANED_SUFFIX).unwrap_or(&name))
            })
        };
        // An index that is found as `.swap` alone, of a segment whose other files never got a name, would be put in the
        // place of the old one.
        self.disk.fsync_dir(&dir)?;
        for cleaned in new.iter().rev() {
            for path in plain(cleaned) {
                self.rename_if_there(&with_mark(&path, CLEANED_SUFFIX), &with_mark(&path, SWAP_SUFFIX))?;
            }
            self.disk.fsync_dir(&dir)?;
        }

        let end = new.last().map_or(0, |cleaned| cleaned.next_offset);
        for segment in old {
            let [log, indexes @ ..] = segment.files();
            self.delete_later(&log, now_ms)?;
            if segment.base_offset() >= end {
                // Nothing of it is left, so that a start would not know that the swap covers it: it may only come
                // back whole, and with everything behind it.
                self.disk.fsync_dir(&dir)?;
            }
            for path in indexes {
                self.delete_later(&path, now_ms)?;
            }
        }
        self.disk.fsync_dir(&dir)?;

        for cleaned in new {
            let [log, ..] = plain(cleaned);
            self.disk.rename(&with_mark(&log, SWAP_SUFFIX), &log)?;
        }
        self.disk.fsync_dir(&dir)?;
        for cleaned in new {
            let [_, indexes @ ..] = plain(cleaned);
            for path in indexes {
                self.rename_if_there(&with_mark(&path, SWAP_SUFFIX), &path)?;
            }
        }
        self.disk.fsync_dir(&dir)?;
        let memory = self.dir_state.index_memory();
        new.iter()
            .map(|cleaned| {
                let base_offset = cleaned.segment.base_offset();
                Segment::open(&self.disk, memory, &dir, base_offset, &config, now_ms).map(Arc::new)
            })
            .collect()
    }

    fn rename_if_there(&self, from: &std::path::Path, to: &std::path::Path) -> io::Result<()> {
        match self.disk.rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}
