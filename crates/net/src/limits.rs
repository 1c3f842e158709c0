//! Who may connect, and how much memory requests may hold.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use tokio::sync::Notify;

/// The connection limits of a broker (`max.connections` and its family). All may change at run time.
#[derive(Debug)]
pub struct ConnectionLimits {
    settings: RwLock<LimitSettings>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Clone)]
pub struct LimitSettings {
    /// `max.connections`
    pub max_connections: usize,
    /// `max.connections.per.ip`
    pub max_connections_per_ip: usize,
    /// `max.connections.per.ip.overrides`
    pub per_ip_overrides: HashMap<IpAddr, usize>,
    /// `max.connection.creation.rate`, connections a second
    pub max_creation_rate: u32,
}

impl Default for LimitSettings {
    fn default() -> Self {
        LimitSettings {
            max_connections: usize::MAX,
            max_connections_per_ip: usize::MAX,
            per_ip_overrides: HashMap::new(),
            max_creation_rate: u32::MAX,
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    per_ip: HashMap<IpAddr, usize>,
    /// Token bucket for the creation rate: connections still allowed, and when that was computed.
    tokens: f64,
    refilled: Option<Instant>,
}

/// Why a connection is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Over `max.connections`: the acceptor waits until one closes.
    Full,
    /// Over the limit of this address: closed at once.
    TooManyFromIp,
    /// Over the creation rate: accepted later.
    TooFast,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        ConnectionLimits::new(LimitSettings::default())
    }
}

impl ConnectionLimits {
    pub fn new(settings: LimitSettings) -> ConnectionLimits {
        ConnectionLimits { settings: RwLock::new(settings), counts: Mutex::default() }
    }

    pub fn set(&self, settings: LimitSettings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    pub fn settings(&self) -> LimitSettings {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts a connection in, or says why not. Each `Ok` needs one [`release`](Self::release).
    pub fn admit(&self, ip: IpAddr, now: Instant) -> Result<(), Refusal> {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.total >= settings.max_connections {
            return Err(Refusal::Full);
        }
        let limit = settings.per_ip_overrides.get(&ip).copied().unwrap_or(settings.max_connections_per_ip);
        if counts.per_ip.get(&ip).copied().unwrap_or(0) >= limit {
            return Err(Refusal::TooManyFromIp);
        }
        if settings.max_creation_rate != u32::MAX {
            let rate = f64::from(settings.max_creation_rate);
            let elapsed = counts.refilled.map_or(1.0, |t| now.saturating_duration_since(t).as_secs_f64());
            counts.tokens = (counts.tokens + elapsed * rate).min(rate.max(1.0));
            counts.refilled = Some(now);
            if counts.tokens < 1.0 {
                return Err(Refusal::TooFast);
            }
            counts.tokens -= 1.0;
        }
        counts.total += 1;
        *counts.per_ip.entry(ip).or_default() += 1;
        Ok(())
    }

    pub fn release(&self, ip: IpAddr) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total = counts.total.saturating_sub(1);
        if let Some(n) = counts.per_ip.get_mut(&ip) {
            *n -= 1;
            if *n == 0 {
                counts.per_ip.remove(&ip);
            }
        }
    }
}

/// Bytes of requests that may be in memory at once (`queued.max.request.bytes`).
///
/// A connection that finds it used up stops reading until some of it comes back; one frame is always let in.
#[derive(Debug)]
pub struct MemoryBudget {
    limit: usize,
    used: AtomicUsize,
    freed: Notify,
}

impl MemoryBudget {
    pub fn new(limit: usize) -> Arc<MemoryBudget> {
        Arc::new(MemoryBudget { limit, used: AtomicUsize::new(0), freed: Notify::new() })
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub fn exhausted(&self) -> bool {
        self.used() >= self.limit
    }

    pub(crate) fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        if before >= self.limit && before - bytes < self.limit {
            self.freed.notify_waiters();
        }
    }

    pub(crate) async fn wait_for_room(&self) {
        loop {
            let freed = self.freed.notified();
            if !self.exhausted() {
                return;
            }
            freed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_count_by_address_and_in_total() {
        let limits = ConnectionLimits::new(LimitSettings {
            max_connections: 3,
            max_connections_per_ip: 2,
            ..Default::default()
        });
        let (a, b): (IpAddr, IpAddr) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let now = Instant::now();
        assert_eq!(limits.admit(a, now), Ok(()));
        assert_eq!(limits.admit(a, now), Ok(()));
        assert_eq!(limits.admit(a, now), Err(Refusal::TooManyFromIp));
        assert_eq!(limits.admit(b, now), Ok(()));
        assert_eq!(limits.admit(b, now), Err(Refusal::Full));
        limits.release(a);
        assert_eq!(limits.admit(b, now), Ok(()));
    }

    #[test]
    fn the_creation_rate_is_a_token_bucket() {
        let limits = ConnectionLimits::new(LimitSettings { max_creation_rate: 2, ..Default::default() });
        let ip: IpAddr = [127, 0, 0, 1].into();
        let now = Instant::now();
        assert_eq!(limits.admit(ip, now), Ok(()));
        assert_eq!(limits.admit(ip, now), Ok(()));
        assert_eq!(limits.admit(ip, now), Err(Refusal::TooFast));
        assert_eq!(limits.admit(ip, now + std::time::Duration::from_millis(500)), Ok(()));
    }
}
