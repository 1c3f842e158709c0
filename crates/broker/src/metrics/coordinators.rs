//! `kafka.server:type=group-coordinator-metrics` and `transaction-coordinator-metrics`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ottla_coordinator::group::{GroupOutcome, GroupRecord};

use super::Counter;

/// How long it took to load partitions of an internal topic.
#[derive(Debug, Default)]
pub struct LoadTimes {
    loads: Counter,
    sum_ms: Counter,
    max_ms: AtomicU64,
    pub failed: Counter,
}

impl LoadTimes {
    pub fn record(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.loads.inc();
        self.sum_ms.add(ms);
        self.max_ms.fetch_max(ms, Ordering::Relaxed);
    }

    pub fn max_ms(&self) -> u64 {
        self.max_ms.load(Ordering::Relaxed)
    }

    /// The mean; 0 before the first load.
    pub fn avg_ms(&self) -> f64 {
        self.sum_ms.get() as f64 / self.loads.get().max(1) as f64
    }
}

/// What groups do, by the records that say so.
#[derive(Debug, Default)]
pub struct CoordinatorMetrics {
    pub load_times: LoadTimes,
    pub offset_commits: Counter,
    pub offset_deletions: Counter,
    pub offset_expirations: Counter,
    pub classic_rebalances: Counter,
    pub consumer_rebalances: Counter,
}

impl CoordinatorMetrics {
    /// Counts a decision; `by_time` when nobody asked for it.
    pub fn count(&self, outcome: &GroupOutcome, by_time: bool) {
        for record in &outcome.records {
            match record {
                GroupRecord::OffsetCommit { value: Some(_), .. } => self.offset_commits.inc(),
                GroupRecord::OffsetCommit { value: None, .. } if by_time => self.offset_expirations.inc(),
                GroupRecord::OffsetCommit { value: None, .. } => self.offset_deletions.inc(),
                // Written once a generation has its assignment; that of an empty group is no rebalance.
                GroupRecord::GroupMetadata { value: Some(group), .. } if !group.members.is_empty() => {
                    self.classic_rebalances.inc();
                }
                // A new epoch.
                GroupRecord::ConsumerGroupMetadata { value: Some(_), .. } => self.consumer_rebalances.inc(),
                _ => {}
            }
        }
    }
}
