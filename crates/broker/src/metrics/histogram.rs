//! A histogram of durations in microseconds with buckets a sixteenth of an octave wide (error below 4.5 %).

use std::sync::atomic::{AtomicU64, Ordering};

const SUB_BITS: u32 = 4;
/// Up to 2^36 us, about 19 hours; longer durations count in the last bucket.
const BUCKETS: usize = 33 << SUB_BITS;

#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
    count: AtomicU64,
    sum: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            count: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }
}

fn bucket_of(value: u64) -> usize {
    if value < 1 << SUB_BITS {
        return value as usize;
    }
    let octave = 63 - value.leading_zeros();
    let sub = (value >> (octave - SUB_BITS)) as usize & ((1 << SUB_BITS) - 1);
    ((((octave - SUB_BITS + 1) as usize) << SUB_BITS) + sub).min(BUCKETS - 1)
}

/// The middle of a bucket.
fn value_of(bucket: usize) -> u64 {
    let group = bucket >> SUB_BITS;
    let sub = (bucket & ((1 << SUB_BITS) - 1)) as u64;
    if group == 0 {
        return sub;
    }
    let width = 1u64 << (group - 1);
    (((1 << SUB_BITS) + sub) * width) + width / 2
}

impl Histogram {
    pub fn record(&self, value: u64) {
        self.buckets[bucket_of(value)].fetch_add(1, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }

    /// The values below which the given shares of all recorded values lie.
    pub fn quantiles<const N: usize>(&self, shares: [f64; N]) -> [u64; N] {
        let counts: Vec<u64> = self.buckets.iter().map(|b| b.load(Ordering::Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        shares.map(|share| {
            let rank = (share * total as f64).ceil().max(1.0) as u64;
            let mut seen = 0;
            for (bucket, n) in counts.iter().enumerate() {
                seen += n;
                if seen >= rank {
                    return value_of(bucket);
                }
            }
            0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_the_bucket_error() {
        let h = Histogram::default();
        for v in 1..=100_000u64 {
            h.record(v);
        }
        for (share, got) in [0.5, 0.99, 0.999].into_iter().zip(h.quantiles([0.5, 0.99, 0.999])) {
            let want = share * 100_000.0;
            assert!((got as f64 - want).abs() / want < 0.05, "{share}: {got} instead of {want}");
        }
        assert_eq!(Histogram::default().quantiles([0.5]), [0]);
        for v in [0, 1, 15, 16, 17, 1 << 20, u64::MAX] {
            assert!(bucket_of(v) < BUCKETS);
        }
    }
}
