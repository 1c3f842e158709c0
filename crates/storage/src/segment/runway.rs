//! Zeros written ahead of a log whose every append is synced.
//!
//! A sync after an append to the end of a file makes the file system write its own books too: the new length, the blocks,
//! and with a journal a commit of it. Over zeros that are on the disk already a sync writes the records and nothing else,
//! in about half the time. The file is then longer than its batches, as one of Kafka's with `log.preallocate`: closing
//! the segment cuts it to size, and after a crash the recovery does.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::disk::{DiskFile, read_full};
use crate::error::is_shortage;

/// Least that is written ahead at a time, bytes.
const LEAST: u64 = 32 * 1024;
/// Most that is written ahead at a time, bytes: the sync that follows has to write it, and somebody waits for that.
pub(crate) const MOST: u64 = 256 * 1024;
/// What zeros are written from.
static ZEROS: [u8; 32 * 1024] = [0; 32 * 1024];

/// How far the zeros of a file reach.
#[derive(Debug, Default)]
pub(crate) struct Runway {
    /// Where they end; 0 without any, [`u64::MAX`] when the disk was full.
    end: AtomicU64,
}

impl Runway {
    /// Lets the zeros reach beyond `end`, where the next append ends: by a quarter of what the file holds, within limits,
    /// and not beyond `limit`. A full disk is no error: what follows is appended without.
    pub(super) fn extend(&self, file: &dyn DiskFile, end: u64, limit: u64) -> io::Result<()> {
        let zeroed = self.end.load(Ordering::Relaxed);
        if end <= zeroed {
            return Ok(());
        }
        let reached = (end + (end / 4).clamp(LEAST, MOST)).min(limit);
        let mut position = end;
        while position < reached {
            let count = (reached - position).min(ZEROS.len() as u64);
            match file.pwrite_all(&ZEROS[..count as usize], position) {
                Ok(()) => position += count,
                Err(error) if is_shortage(&error) => {
                    self.end.store(u64::MAX, Ordering::Relaxed);
                    return file.truncate(end);
                }
                Err(error) => return Err(error),
            }
        }
        self.end.store(reached, Ordering::Relaxed);
        Ok(())
    }

    /// Whether a crash left zeros of this kind between two positions, so that nothing is lost when they are cut off.
    pub(crate) fn is_left_between(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<bool> {
        let len = to.saturating_sub(from);
        if len > MOST {
            return Ok(false);
        }
        let mut left = vec![0; len as usize];
        let read = read_full(file, &mut left, from)?;
        Ok(read == left.len() && left.iter().all(|byte| *byte == 0))
    }

    /// Forgets the zeros, which somebody cuts off; returns whether there may be any behind `len`.
    pub(super) fn take_behind(&self, len: u64) -> bool {
        self.end.swap(0, Ordering::Relaxed) > len
    }
}
