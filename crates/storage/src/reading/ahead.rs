//! Pieces of files that are read ahead of readers who catch up, in memory of our own instead of the page cache.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::CachedReads;
use crate::dirs::DirState;
use crate::disk::DiskFile;

/// Bytes read at once for a reader that catches up.
pub(super) const STEP_BYTES: u64 = 2 << 20;
/// Pieces in memory of one log directory, those included that are on their way to a client. Beyond it a reader that catches
/// up is served through the page cache like any other.
const MAX_HELD_BYTES: usize = 64 << 20;
/// Buffers of pieces that are kept for the next ones: a new one costs a page fault for every 4 KiB, and zeros.
const MAX_SPARE: usize = 4;
/// A piece that nobody read from for so long goes.
const IDLE: Duration = Duration::from_secs(5);
/// The longest that a read waits for a piece that is being read ahead before it reads itself.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// A piece of a segment.
#[derive(Debug)]
struct Piece {
    segment: u64,
    position: u64,
    bytes: Arc<Buffer>,
    used: Instant,
}

impl Piece {
    fn end(&self) -> u64 {
        self.position + self.bytes.bytes.len() as u64
    }

    /// Its bytes from a position on, `len` at most. They stay when the piece goes.
    fn slice(&self, position: u64, len: usize) -> Bytes {
        let bytes = Bytes::from_owner(Shared(Arc::clone(&self.bytes)));
        let start = (position - self.position) as usize;
        bytes.slice(start..bytes.len().min(start.saturating_add(len)))
    }

    fn holds(&self, segment: u64, position: u64) -> bool {
        self.segment == segment && self.position <= position && position < self.end()
    }
}

#[derive(Debug, Default)]
struct Inner {
    /// The least recently used first.
    pieces: VecDeque<Piece>,
    /// Segment and position of pieces that somebody is to read ahead, and whether they are being read.
    expected: Vec<(u64, u64, bool)>,
}

/// The pieces of one log directory.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    inner: Mutex<Inner>,
    /// Pieces; while there are none nobody takes the lock.
    count: AtomicUsize,
    /// One that was being read is there, or will not be.
    arrived: Condvar,
    memory: Arc<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// Bytes of pieces, those included that readers have.
    held: AtomicUsize,
    /// Buffers for the next pieces, [`MAX_SPARE`] at most.
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Memory {
    fn spare(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.spare.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Memory of a piece, given back when the last reader lets go of it.
#[derive(Debug)]
struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    memory: Arc<Memory>,
}

struct Shared(Arc<Buffer>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.memory.held.fetch_sub(self.len, Ordering::AcqRel);
        let mut spare = self.memory.spare();
        if self.bytes.capacity() == STEP_BYTES as usize && spare.len() < MAX_SPARE {
            spare.push(std::mem::take(&mut self.bytes));
        }
    }
}

/// What a reader gets, and where the next piece is to be read ahead.
pub(super) struct Hit {
    pub(super) bytes: Bytes,
    pub(super) next: Option<u64>,
}

impl Ahead {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Copies what is there of a range, from its start on.
    pub(super) fn copy(&self, segment: u64, position: u64, buffer: &mut [u8]) -> usize {
        if self.count.load(Ordering::Acquire) == 0 {
            return 0;
        }
        let mut copied = 0;
        let inner = self.inner();
        while copied < buffer.len() {
            let at = position + copied as u64;
            let Some(piece) = inner.pieces.iter().find(|piece| piece.holds(segment, at)) else { break };
            let from = &piece.bytes.bytes[(at - piece.position) as usize..];
            let len = from.len().min(buffer.len() - copied);
            buffer[copied..copied + len].copy_from_slice(&from[..len]);
            copied += len;
        }
        copied
    }

    /// What is there of a range, from its start on; none when that is fewer than `least` bytes. `segment_bytes` is where
    /// reading ahead ends.
    pub(super) fn get(
        &self,
        segment: u64,
        position: u64,
        least: usize,
        len: usize,
        segment_bytes: u64,
    ) -> Option<Hit> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut inner = self.inner();
        let index = inner.pieces.iter().position(|piece| piece.holds(segment, position))?;
        let mut piece = inner.pieces.remove(index)?;
        piece.used = Instant::now();
        let mut end = piece.end();
        let mut bytes = piece.slice(position, len);
        inner.pieces.push_back(piece);
        if bytes.len() < len
            && let Some(next) = inner.pieces.iter().position(|piece| piece.holds(segment, end))
        {
            // A batch lies across two pieces, or a long answer does. Pieces may overlap.
            let piece = &inner.pieces[next];
            let more = piece.slice(end, len - bytes.len());
            bytes = [&bytes[..], &more[..]].concat().into();
            end = piece.end();
        }
        if bytes.len() < least {
            return None;
        }
        // Whoever reads on needs nothing that lies far behind.
        inner.pieces.retain(|piece| piece.segment != segment || piece.end() + STEP_BYTES > position);
        self.count.store(inner.pieces.len(), Ordering::Release);
        let is_there = inner.pieces.iter().any(|piece| piece.holds(segment, end))
            || inner.expected.iter().any(|(s, p, _)| (*s, *p) == (segment, end));
        let next = (end < segment_bytes && !is_there).then_some(end);
        if next.is_some() {
            inner.expected.push((segment, end, false));
        }
        Some(Hit { bytes, next })
    }

    /// Memory for a piece; none when there is no more. Those that were used least recently go first.
    pub(super) fn reserve(&self, len: usize) -> bool {
        loop {
            let held = &self.memory.held;
            let now = held.load(Ordering::Acquire);
            if now.saturating_add(len) <= MAX_HELD_BYTES {
                let taken = held.compare_exchange(now, now + len, Ordering::AcqRel, Ordering::Acquire);
                if taken.is_ok() {
                    return true;
                }
                continue;
            }
            let mut inner = self.inner();
            // One that is on its way to a client would give nothing back.
            let oldest = inner.pieces.iter().position(|piece| Arc::strong_count(&piece.bytes) == 1);
            let oldest = oldest.and_then(|index| inner.pieces.remove(index));
            self.count.store(inner.pieces.len(), Ordering::Release);
            drop(inner);
            if oldest.is_none() {
                return false;
            }
        }
    }

    /// A buffer of `len` bytes to be read into; what it holds before is of no meaning.
    pub(super) fn buffer(&self, len: usize) -> Vec<u8> {
        let spare = if len <= STEP_BYTES as usize { self.memory.spare().pop() } else { None };
        let mut buffer = spare.unwrap_or_default();
        buffer.resize(len, 0);
        buffer
    }

    /// Gives memory back that was reserved and not used.
    pub(super) fn give_back(&self, len: usize) {
        self.memory.held.fetch_sub(len, Ordering::AcqRel);
    }

    /// Adds a piece of the memory that was reserved for it.
    pub(super) fn insert(&self, segment: u64, position: u64, bytes: Vec<u8>, reserved: usize) -> Bytes {
        let buffer = Buffer { bytes, len: reserved, memory: Arc::clone(&self.memory) };
        let piece = Piece { segment, position, bytes: Arc::new(buffer), used: Instant::now() };
        let bytes = piece.slice(position, usize::MAX);
        let mut inner = self.inner();
        inner.pieces.push_back(piece);
        self.count.store(inner.pieces.len(), Ordering::Release);
        bytes
    }

    /// Waits while a piece is being read that begins within `len` bytes from `position`. Returns whether there was one.
    pub(super) fn wait(&self, segment: u64, position: u64, len: usize) -> bool {
        let is_coming = |inner: &mut Inner| {
            let near = position.saturating_sub(STEP_BYTES)..=position + len as u64;
            inner.expected.iter().any(|(s, p, running)| *running && *s == segment && near.contains(p))
        };
        let mut inner = self.inner();
        if !is_coming(&mut inner) {
            return false;
        }
        let waited = self.arrived.wait_timeout_while(inner, MAX_WAIT, is_coming);
        drop(waited);
        true
    }

    fn begin(&self, segment: u64, position: u64) {
        let mut inner = self.inner();
        for (s, p, running) in &mut inner.expected {
            *running |= (*s, *p) == (segment, position);
        }
    }

    fn end(&self, segment: u64, position: u64) {
        self.inner().expected.retain(|(s, p, _)| (*s, *p) != (segment, position));
        self.arrived.notify_all();
    }

    /// Lets go of pieces that nobody reads from any more.
    pub(crate) fn expire(&self) {
        if self.count.load(Ordering::Acquire) > 0 {
            let mut inner = self.inner();
            inner.pieces.retain(|piece| piece.used.elapsed() < IDLE);
            self.count.store(inner.pieces.len(), Ordering::Release);
        }
        if self.count.load(Ordering::Acquire) == 0 {
            *self.memory.spare() = Vec::new();
        }
    }
}

/// A piece that is to be read ahead, by a thread that may wait for the device.
#[derive(Debug)]
pub struct ReadAhead {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) dir: Arc<DirState>,
    pub(super) segment: u64,
    pub(super) position: u64,
    pub(super) segment_bytes: u64,
}

impl ReadAhead {
    /// Reads it, unless the page cache has it: the reader is served from there when it comes to it, and has caught up with
    /// what is in memory. An error is left for the reader to meet.
    pub fn run(self) {
        let reads = self.dir.reads();
        reads.ahead.begin(self.segment, self.position);
        let len = STEP_BYTES.min(self.segment_bytes.saturating_sub(self.position)) as usize;
        // Where a file system does not tell, a reader that is read ahead for is behind whatever counts as in memory.
        let cached = CachedReads { dir: reads, segment: self.segment, hot_from: u64::MAX };
        let in_memory = cached.cached_bytes(&*self.file, self.position, len as u64);
        if len == 0 || in_memory.is_ok_and(|bytes| bytes == len as u64) {
            return;
        }
        if !reads.ahead.reserve(len) {
            return;
        }
        let mut bytes = reads.ahead.buffer(len);
        match reads.read_once(&*self.file, &mut bytes, self.position) {
            Ok(read) if read > 0 => {
                bytes.truncate(read);
                reads.count_cold(read);
                reads.ahead.insert(self.segment, self.position, bytes, len);
            }
            _ => reads.ahead.give_back(len),
        }
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.dir.reads().ahead.end(self.segment, self.position);
    }
}
