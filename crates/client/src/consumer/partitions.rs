//! What is known of each partition that is being read: position, buffered records, seeks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::ConsumerRecord;
use super::fetch::Wanted;
use super::records::Fetched;
use crate::admin::OffsetSpec;
use crate::{ClientError, TopicPartition};

#[derive(Debug, Default)]
struct State {
    /// The next record to hand out.
    position: Option<i64>,
    /// Where to look for a position first, from a seek.
    reset: Option<OffsetSpec>,
    paused: bool,
    /// Counts seeks: a fetch from before one is dropped.
    seek: u64,
    buffer: VecDeque<ConsumerRecord>,
    /// The position once the buffer is empty.
    next_offset: i64,
}

/// The partitions of a consumer. Buffered records are bounded by one fetch per partition.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    states: BTreeMap<TopicPartition, State>,
    /// Makes seeks of a partition that went and came back differ.
    seeks: u64,
    /// The partition to hand records out of first, for fairness.
    turn: Option<TopicPartition>,
}

impl Partitions {
    /// Keeps the state of partitions that stay.
    pub fn assign(&mut self, partitions: BTreeSet<TopicPartition>) {
        self.states.retain(|p, _| partitions.contains(p));
        for partition in partitions {
            self.seeks += 1;
            let seek = self.seeks;
            self.states.entry(partition).or_insert_with(|| State { seek, ..Default::default() });
        }
    }

    pub fn all(&self) -> Vec<TopicPartition> {
        self.states.keys().cloned().collect()
    }

    pub fn seek(
        &mut self,
        partition: &TopicPartition,
        position: Option<i64>,
        reset: Option<OffsetSpec>,
    ) -> bool {
        self.seeks += 1;
        let Some(state) = self.states.get_mut(partition) else { return false };
        state.position = position;
        state.reset = reset;
        state.seek = self.seeks;
        state.buffer.clear();
        true
    }

    pub fn pause(&mut self, partition: &TopicPartition, paused: bool) {
        if let Some(state) = self.states.get_mut(partition) {
            state.paused = paused;
        }
    }

    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.states.get(partition)?.position
    }

    pub fn positions(&self) -> BTreeMap<TopicPartition, i64> {
        self.states.iter().filter_map(|(p, s)| Some((p.clone(), s.position?))).collect()
    }

    pub fn without_position(&self) -> Vec<(TopicPartition, Option<OffsetSpec>)> {
        let states = self.states.iter().filter(|(_, s)| s.position.is_none());
        states.map(|(p, s)| (p.clone(), s.reset)).collect()
    }

    pub fn found(&mut self, partition: &TopicPartition, offset: i64) {
        if let Some(state) = self.states.get_mut(partition).filter(|s| s.position.is_none()) {
            state.position = Some(offset);
            state.reset = None;
        }
    }

    /// Partitions with a position and nothing buffered.
    pub fn to_fetch(&self) -> Vec<Wanted> {
        let states = self.states.iter().filter(|(_, s)| !s.paused && s.buffer.is_empty());
        states
            .filter_map(|(partition, s)| {
                let offset = s.position?;
                Some(Wanted { partition: partition.clone(), offset, leader_epoch: -1, seek: s.seek })
            })
            .collect()
    }

    /// Whether the answer to this fetch is still wanted.
    pub fn is_current(&self, wanted: &Wanted) -> bool {
        self.states.get(&wanted.partition).is_some_and(|s| {
            s.seek == wanted.seek && s.position == Some(wanted.offset) && s.buffer.is_empty()
        })
    }

    pub fn arrived(&mut self, partition: &TopicPartition, fetched: Fetched) {
        let Some(state) = self.states.get_mut(partition) else { return };
        state.buffer = fetched.records;
        state.next_offset = fetched.next_offset;
        if state.buffer.is_empty() {
            state.position = Some(fetched.next_offset);
        }
    }

    /// Hands out buffered records, beginning with the partition after the one that was last.
    pub fn take(&mut self, max: usize) -> Result<Vec<ConsumerRecord>, ClientError> {
        let mut taken = Vec::new();
        let mut order: Vec<TopicPartition> = self
            .states
            .iter()
            .filter(|(_, s)| !s.buffer.is_empty() && !s.paused)
            .map(|(p, _)| p.clone())
            .collect();
        if let Some(turn) = &self.turn {
            let at = order.iter().position(|p| p > turn).unwrap_or(0);
            order.rotate_left(at);
        }
        for partition in order {
            let Some(state) = self.states.get_mut(&partition) else { continue };
            let count = state.buffer.len().min(max - taken.len());
            taken.extend(state.buffer.drain(..count));
            match state.buffer.front() {
                Some(next) => state.position = Some(next.offset),
                None => {
                    state.position = Some(state.next_offset);
                    self.turn = Some(partition);
                }
            }
            if taken.len() >= max {
                break;
            }
        }
        Ok(taken)
    }
}
