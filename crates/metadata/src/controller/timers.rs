//! What the controller does by the clock: fencing silent brokers, no-op records, balancing leaders,
//! unclean elections.

use super::{Context, Controller};
use crate::config::StaticConfig;
use crate::image::NO_LEADER;
use crate::record::VersionedRecord;
use ottla_protocol::messages::metadata_record::no_op_record::NoOpRecord;

/// At most so many leaders are moved in one go.
const MAX_ELECTIONS_PER_IMBALANCE: usize = 1_000;

#[derive(Debug, Clone)]
pub(super) struct Timers {
    /// 0 for none.
    no_op_interval_ms: i64,
    next_no_op_ms: i64,
    balance_interval_ms: Option<i64>,
    next_balance_ms: i64,
    unclean_interval_ms: i64,
    next_unclean_ms: i64,
}

impl Timers {
    pub(super) fn new(config: &StaticConfig, now_ms: i64) -> Self {
        let no_op_interval_ms = config.get_long("metadata.max.idle.interval.ms");
        let balance_interval_ms = config
            .get_bool("auto.leader.rebalance.enable")
            .then(|| config.get_long("leader.imbalance.check.interval.seconds") * 1000);
        let unclean_interval_ms = config.get_long("unclean.leader.election.interval.ms");
        Timers {
            no_op_interval_ms,
            next_no_op_ms: now_ms + no_op_interval_ms,
            balance_interval_ms,
            next_balance_ms: now_ms + balance_interval_ms.unwrap_or(0),
            unclean_interval_ms,
            next_unclean_ms: now_ms + unclean_interval_ms,
        }
    }
}

impl Controller {
    /// When [`Controller::on_time`] wants to be called next, milliseconds since the epoch.
    pub fn next_deadline_ms(&self) -> i64 {
        let t = &self.timers;
        let mut next = t.next_unclean_ms;
        if t.no_op_interval_ms > 0 {
            next = next.min(t.next_no_op_ms);
        }
        if t.balance_interval_ms.is_some() {
            next = next.min(t.next_balance_ms);
        }
        match self.sessions.next_expiry_ms() {
            Some(expiry) => next.min(expiry),
            None => next,
        }
    }

    /// Decides what the clock asks for: records to append and replay. To be called again, with the
    /// records replayed, until it returns none.
    pub fn on_time(&mut self, ctx: &Context<'_>) -> Vec<VersionedRecord> {
        let now = ctx.now_ms;
        if let Some(records) = self.fence_one_stale_broker(now) {
            return records;
        }
        if now >= self.timers.next_unclean_ms {
            self.timers.next_unclean_ms = now + self.timers.unclean_interval_ms;
            let records = self.elect_unclean_leaders();
            if !records.is_empty() {
                return records;
            }
        }
        if let Some(interval) = self.timers.balance_interval_ms
            && now >= self.timers.next_balance_ms
        {
            self.timers.next_balance_ms = now + interval;
            let records = self.balance_leaders();
            if !records.is_empty() {
                return records;
            }
        }
        if self.timers.no_op_interval_ms > 0 && now >= self.timers.next_no_op_ms {
            self.timers.next_no_op_ms = now + self.timers.no_op_interval_ms;
            return vec![VersionedRecord::v0(NoOpRecord::default())];
        }
        Vec::new()
    }

    fn fence_one_stale_broker(&mut self, now_ms: i64) -> Option<Vec<VersionedRecord>> {
        let expired: Vec<i32> = self.sessions.expired(now_ms).collect();
        for id in expired {
            self.sessions.remove(id);
            let is_unfenced = self.image().cluster.brokers.get(&id).is_some_and(|b| !b.fenced);
            if is_unfenced {
                let mut records = Vec::new();
                self.add_fencing_records(id, &mut records);
                return Some(records);
            }
        }
        None
    }

    fn balance_leaders(&self) -> Vec<VersionedRecord> {
        let mut records = Vec::new();
        for topic in self.image().topics.iter() {
            for (id, p) in topic.partitions.iter() {
                if records.len() >= MAX_ELECTIONS_PER_IMBALANCE {
                    return records;
                }
                let imbalanced = p.preferred_replica().is_some_and(|r| r != p.leader);
                if imbalanced && let Some(r) = self.preferred_election(topic, *id, p) {
                    records.push(r);
                }
            }
        }
        records
    }

    fn elect_unclean_leaders(&self) -> Vec<VersionedRecord> {
        let mut records = Vec::new();
        for topic in self.image().topics.iter() {
            for (id, p) in topic.partitions.iter() {
                if records.len() >= MAX_ELECTIONS_PER_IMBALANCE {
                    return records;
                }
                if p.leader == NO_LEADER
                    && self.unclean_election_enabled(&topic.name)
                    && let Some(r) = self.unclean_election(topic, *id, p)
                {
                    records.push(r);
                }
            }
        }
        records
    }
}
