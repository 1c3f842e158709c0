//! Which partition a record goes to: murmur2 of its key, or one partition for a while. Source: KIP-480, KIP-794.

use std::collections::BTreeMap;

use ottla_protocol::java::murmur2;

use super::ProducerRecord;

/// Topics with a sticky partition. Bounded by the topics that the producer sends to.
#[derive(Debug)]
pub(super) struct Partitioner {
    /// Bytes after which another partition is chosen.
    stickiness: usize,
    ignore_keys: bool,
    sticky: BTreeMap<String, Sticky>,
}

#[derive(Debug)]
struct Sticky {
    partition: i32,
    bytes: usize,
}

impl Partitioner {
    pub fn new(batch_size: usize, ignore_keys: bool) -> Partitioner {
        Partitioner { stickiness: batch_size.max(1), ignore_keys, sticky: BTreeMap::new() }
    }

    /// `count` is at least 1.
    pub fn choose(&mut self, record: &ProducerRecord, count: usize, size: usize) -> i32 {
        if let Some(key) = record.key.as_deref().filter(|_| !self.ignore_keys) {
            return partition_of_key(key, count);
        }
        if !self.sticky.contains_key(&record.topic) {
            self.sticky.insert(record.topic.clone(), Sticky { partition: random(count), bytes: 0 });
        }
        let stickiness = self.stickiness;
        match self.sticky.get_mut(&record.topic) {
            Some(sticky) => {
                if sticky.bytes >= stickiness || sticky.partition as usize >= count {
                    *sticky = Sticky { partition: random(count), bytes: 0 };
                }
                sticky.bytes += size;
                sticky.partition
            }
            None => 0,
        }
    }
}

/// The partition of a key, as Kafka's default partitioner computes it.
pub(super) fn partition_of_key(key: &[u8], count: usize) -> i32 {
    let positive = murmur2(key) & i32::MAX;
    positive % i32::try_from(count).unwrap_or(i32::MAX)
}

fn random(count: usize) -> i32 {
    let mut bytes = [0u8; 4];
    if getrandom::fill(&mut bytes).is_err() {
        return 0;
    }
    (u32::from_le_bytes(bytes) as usize % count) as i32
}
