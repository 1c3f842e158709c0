//! How long to sleep so that a rate is kept. No clock of its own.
//!
//! Source: Kafka `Throttler`.

/// How often the rate is looked at.
const CHECK_INTERVAL_NS: u64 = 300_000_000;

/// Keeps a rate over all threads that share it.
#[derive(Debug, Clone, Copy)]
pub struct Throttle {
    rate_per_second: f64,
    period_start_ns: u64,
    observed: f64,
}

impl Throttle {
    /// A throttle that allows `rate_per_second` of whatever is counted.
    pub fn new(rate_per_second: f64, now_ns: u64) -> Self {
        Throttle { rate_per_second, period_start_ns: now_ns, observed: 0.0 }
    }

    /// Changes the rate for what follows.
    pub fn set_rate(&mut self, rate_per_second: f64) {
        self.rate_per_second = rate_per_second;
    }

    /// Counts `observed` and says how many nanoseconds to sleep. `now_ns` is a clock that does not go back.
    pub fn observe(&mut self, observed: f64, now_ns: u64) -> u64 {
        self.observed += observed;
        let elapsed_ns = now_ns.saturating_sub(self.period_start_ns);
        if elapsed_ns <= CHECK_INTERVAL_NS || self.observed <= 0.0 {
            return 0;
        }
        let due_ns = self.observed / self.rate_per_second.max(f64::MIN_POSITIVE) * 1e9;
        let sleep_ns = (due_ns - elapsed_ns as f64).clamp(0.0, i64::MAX as f64) as u64;
        self.period_start_ns = now_ns.saturating_add(sleep_ns);
        self.observed = 0.0;
        sleep_ns
    }
}
