//! Names of the files of a partition.

use std::path::{Path, PathBuf};

pub(crate) const LOG_SUFFIX: &str = ".log";
pub(crate) const INDEX_SUFFIX: &str = ".index";
pub(crate) const TIME_INDEX_SUFFIX: &str = ".timeindex";
pub(crate) const TXN_INDEX_SUFFIX: &str = ".txnindex";
pub(crate) const SNAPSHOT_SUFFIX: &str = ".snapshot";
pub(crate) const DELETED_SUFFIX: &str = ".deleted";
pub(crate) const CLEANED_SUFFIX: &str = ".cleaned";
pub(crate) const SWAP_SUFFIX: &str = ".swap";

/// The offset as it stands in file names: 20 digits.
pub(crate) fn offset_name(offset: i64) -> String {
    format!("{offset:020}")
}

pub(crate) fn file(dir: &Path, offset: i64, suffix: &str) -> PathBuf {
    dir.join(format!("{}{suffix}", offset_name(offset)))
}

/// The offset in front of the first dot of a file name, if there is one.
pub(crate) fn offset_of(name: &str) -> Option<i64> {
    let digits = name.split('.').next()?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}
