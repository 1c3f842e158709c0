//! One fetch session: its partitions in the order in which they are served, and what was last told of each.

use std::collections::{BTreeMap, HashMap};

use ottla_protocol::ErrorCode;

use super::{INITIAL_EPOCH, PartitionKey, next_epoch};

/// What a client wants of one partition.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchTarget {
    pub key: PartitionKey,
    pub fetch_offset: i64,
    pub log_start_offset: i64,
    pub max_bytes: i32,
    pub current_leader_epoch: i32,
    pub last_fetched_epoch: i32,
}

/// What the leader found for one partition, as far as a session cares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PartitionOutcome {
    pub error: ErrorCode,
    pub records_bytes: usize,
    pub high_watermark: i64,
    pub log_start_offset: i64,
    pub has_preferred_replica: bool,
    pub has_diverging_epoch: bool,
}

#[derive(Debug, Clone)]
struct Cached {
    target: FetchTarget,
    /// Last told; -1 makes the next answer include the partition.
    high_watermark: i64,
    told_log_start_offset: i64,
}

impl Cached {
    fn new(target: FetchTarget) -> Cached {
        Cached { target, high_watermark: -1, told_log_start_offset: -1 }
    }

    /// Remembers what is being told, and says whether there is anything to tell.
    fn update(&mut self, outcome: &PartitionOutcome) -> bool {
        let mut respond = outcome.records_bytes > 0;
        if self.high_watermark != outcome.high_watermark {
            respond = true;
            self.high_watermark = outcome.high_watermark;
        }
        if self.told_log_start_offset != outcome.log_start_offset {
            respond = true;
            self.told_log_start_offset = outcome.log_start_offset;
        }
        if outcome.has_preferred_replica || outcome.has_diverging_epoch {
            respond = true;
        }
        if !outcome.error.is_ok() {
            // Errors are told every time; the next answer must say when they are over.
            respond = true;
            self.high_watermark = -1;
        }
        respond
    }
}

/// The state of one session. The owner of the cache it lives in is its only writer.
#[derive(Debug)]
pub struct FetchSession {
    pub id: i32,
    pub uses_topic_ids: bool,
    pub privileged: bool,
    pub created_ms: i64,
    pub last_used_ms: i64,
    /// The epoch that the next request must carry.
    pub epoch: i32,
    order: BTreeMap<u64, Cached>,
    index: HashMap<PartitionKey, u64>,
    next_order: u64,
}

impl FetchSession {
    pub fn new(
        id: i32,
        uses_topic_ids: bool,
        privileged: bool,
        now_ms: i64,
        targets: Vec<FetchTarget>,
    ) -> Self {
        let mut session = FetchSession {
            id,
            uses_topic_ids,
            privileged,
            created_ms: now_ms,
            last_used_ms: now_ms,
            epoch: next_epoch(INITIAL_EPOCH),
            order: BTreeMap::new(),
            index: HashMap::new(),
            next_order: 0,
        };
        session.update(targets, &[]);
        session
    }

    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Adds or changes partitions, then drops the forgotten ones.
    pub fn update(&mut self, targets: Vec<FetchTarget>, forgotten: &[PartitionKey]) {
        for target in targets {
            match self.index.get(&target.key).and_then(|order| self.order.get_mut(order)) {
                Some(cached) => cached.target = target,
                None => {
                    self.index.insert(target.key.clone(), self.next_order);
                    self.order.insert(self.next_order, Cached::new(target));
                    self.next_order += 1;
                }
            }
        }
        for key in forgotten {
            if let Some(order) = self.index.remove(key) {
                self.order.remove(&order);
            }
        }
    }

    /// The partitions in the order in which they are to be read.
    pub fn targets(&self) -> Vec<FetchTarget> {
        self.order.values().map(|c| c.target.clone()).collect()
    }

    /// Takes what was found, in any order; the answer says for each whether it belongs into the response.
    ///
    /// `full` is true for the first response of a session, which has every partition. A partition that had
    /// records moves to the end, so that the others come first next time.
    pub fn record(&mut self, outcomes: &[(PartitionKey, PartitionOutcome)], full: bool) -> Vec<bool> {
        outcomes
            .iter()
            .map(|(key, outcome)| {
                let Some(order) = self.index.get_mut(key) else { return full };
                let Some(cached) = self.order.get_mut(order) else { return full };
                let respond = cached.update(outcome);
                if outcome.records_bytes > 0
                    && !full
                    && let Some(cached) = self.order.remove(order)
                {
                    *order = self.next_order;
                    self.order.insert(self.next_order, cached);
                    self.next_order += 1;
                }
                respond || full
            })
            .collect()
    }

    /// What [`record`](Self::record) would answer, without remembering it: whether a waiting fetch has news.
    pub fn would_respond(&self, key: &PartitionKey, outcome: &PartitionOutcome) -> bool {
        match self.index.get(key).and_then(|o| self.order.get(o)) {
            Some(cached) => cached.clone().update(outcome),
            None => false,
        }
    }
}
