//! Mutates good files at random, from a seed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ottla_protocol::records::patch;
use ottla_testkit::rng::Rng;

use super::Target;

/// Inputs do not grow past this.
const MAX_BYTES: usize = 4096;
/// Inputs taken at once by a thread.
const CHUNK: u64 = 256;

/// An input that makes a target panic.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The number of the execution, which with the target gives the input again.
    pub execution: u64,
    /// What the panic said.
    pub what: String,
    /// The input.
    pub input: Vec<u8>,
}

/// The input of an execution.
pub fn input(seeds: &[Vec<u8>], execution: u64) -> Vec<u8> {
    let mut rng = Rng::new(execution.wrapping_mul(0x9E37_79B9).wrapping_add(17));
    if seeds.is_empty() || rng.chance(1, 50) {
        return (0..rng.below(200)).map(|_| rng.next_u64() as u8).collect();
    }
    let mut bytes = rng.pick(seeds).clone();
    for _ in 0..rng.between(1, 6) {
        mutate(&mut bytes, seeds, &mut rng);
    }
    bytes.truncate(MAX_BYTES);
    // Behind a wrong checksum nothing is read: put it right as often as not.
    if bytes.len() > 61 && bytes[16] == 2 && rng.chance(1, 2) {
        let length = i32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        let end = (length as usize).saturating_add(12);
        if let Some(batch) = bytes.get_mut(..end).filter(|batch| batch.len() > 61) {
            patch::refresh_crc(batch);
        }
    }
    bytes
}

fn mutate(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], rng: &mut Rng) {
    const INTERESTING: [u64; 10] =
        [0, 1, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, i64::MAX as u64, u64::MAX];
    let at = rng.index(bytes.len().max(1));
    match rng.below(9) {
        0 | 1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.below(8);
            }
        }
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = rng.next_u64() as u8;
            }
        }
        3 => bytes.truncate(at),
        4 => {
            let width = *rng.pick(&[1, 2, 4, 8]);
            let value = rng.pick(&INTERESTING).to_be_bytes();
            for (byte, new) in bytes.iter_mut().skip(at).zip(&value[8 - width..]) {
                *byte = *new;
            }
        }
        5 => {
            let other = rng.pick(seeds);
            let from = rng.index(other.len().max(1));
            let piece = other.get(from..).unwrap_or_default();
            let piece = piece[..rng.index(piece.len() + 1)].to_vec();
            bytes.splice(at.min(bytes.len())..at.min(bytes.len()), piece);
        }
        6 => {
            let end = (at + rng.index(40)).min(bytes.len());
            bytes.drain(at.min(end)..end);
        }
        7 => {
            let end = (at + rng.index(64)).min(bytes.len());
            let piece = bytes[at.min(end)..end].to_vec();
            bytes.extend(piece);
        }
        _ => bytes.extend((0..rng.below(70)).map(|_| rng.next_u64() as u8)),
    }
}

/// Runs executions `from..from + count` on every core; stops at the first panic. `progress` hears how many are done.
pub fn run(target: &Target, from: u64, count: u64, progress: &(dyn Fn(u64) + Sync)) -> Option<Finding> {
    let seeds = (target.seeds)();
    let next = AtomicU64::new(from);
    let stop = AtomicBool::new(false);
    let found = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let begin = next.fetch_add(CHUNK, Ordering::Relaxed);
                    if begin >= from + count {
                        return;
                    }
                    for execution in begin..(begin + CHUNK).min(from + count) {
                        let input = input(&seeds, execution);
                        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(&input))) {
                            let text = panic.downcast_ref::<String>().cloned();
                            let text =
                                text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                            let what = text.unwrap_or_default();
                            *found.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) =
                                Some(Finding { execution, what, input });
                            stop.store(true, Ordering::Relaxed);
                            return;
                        }
                    }
                    progress(begin + CHUNK - from);
                }
            });
        }
    });
    found.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
}
