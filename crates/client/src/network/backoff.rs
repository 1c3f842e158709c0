//! How long to wait before trying again: doubling from `retry.backoff.ms` to `retry.backoff.max.ms`, with jitter.

use std::time::Duration;

use crate::{ClientConfig, ClientError};

/// Kafka's `ExponentialBackoff`: base 2, jitter 20 %.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    initial: Duration,
    max: Duration,
}

impl Backoff {
    pub fn new(config: &ClientConfig) -> Result<Backoff, ClientError> {
        Ok(Backoff {
            initial: config.millis("retry.backoff.ms", 100)?,
            max: config.millis("retry.backoff.max.ms", 1000)?,
        })
    }

    /// The wait before attempt `attempt` (the first retry is 1).
    pub fn delay(&self, attempt: u32) -> Duration {
        let factor = 1u32 << attempt.saturating_sub(1).min(16);
        let base = self.initial.saturating_mul(factor).min(self.max);
        let mut random = [0u8; 1];
        let jitter = if getrandom::fill(&mut random).is_ok() { f64::from(random[0]) / 255.0 } else { 0.5 };
        base.mul_f64(0.8 + 0.4 * jitter).min(self.max)
    }
}
