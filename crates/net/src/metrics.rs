//! Counters of the network layer; read by whoever renders metrics.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

#[derive(Debug, Default)]
pub struct NetMetrics {
    pub connections: AtomicI64,
    pub connections_accepted_total: AtomicU64,
    pub connections_refused_total: AtomicU64,
    pub connections_closed_idle_total: AtomicU64,
    pub connections_killed_total: AtomicU64,
    pub bytes_in_total: AtomicU64,
    pub bytes_out_total: AtomicU64,
    pub frames_in_total: AtomicU64,
    pub bad_frames_total: AtomicU64,
}

impl NetMetrics {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}
