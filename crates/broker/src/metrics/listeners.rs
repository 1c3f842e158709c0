//! `kafka.server:type=socket-server-metrics`: connections by listener, and who waits.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ottla_net::NetMetrics;

/// The counters of each listener of the node.
#[derive(Debug, Default)]
pub struct ListenerMetrics(Mutex<Vec<(Arc<str>, Arc<NetMetrics>)>>);

impl ListenerMetrics {
    /// The counters of a listener; made when it is bound.
    pub fn of(&self, name: &str) -> Arc<NetMetrics> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, metrics)) = all.iter().find(|(n, _)| **n == *name) {
            return Arc::clone(metrics);
        }
        let metrics = Arc::new(NetMetrics::default());
        all.push((name.into(), Arc::clone(&metrics)));
        metrics
    }

    pub fn all(&self) -> Vec<(Arc<str>, Arc<NetMetrics>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Counts its owner among those who wait until it is dropped.
#[derive(Debug)]
pub struct Waiting(Arc<AtomicI64>);

impl Waiting {
    pub fn among(gauge: &Arc<AtomicI64>) -> Waiting {
        gauge.fetch_add(1, Ordering::Relaxed);
        Waiting(Arc::clone(gauge))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
