//! Where new replicas go: striped over racks and brokers (`StripedReplicaPlacer`), and topic names.

use std::collections::BTreeMap;

use ottla_protocol::ErrorCode;
use ottla_protocol::types::Str;

use super::{ApiError, Controller, Random, below};

const TOPIC_NAME_MAX: usize = 249;

/// Kafka's rule for topic names (`Topic.validate`); the error is its text.
pub fn validate_topic_name(name: &str) -> Result<(), String> {
    let reason = if name.is_empty() {
        "the empty string is not allowed".to_owned()
    } else if name == "." {
        "'.' is not allowed".to_owned()
    } else if name == ".." {
        "'..' is not allowed".to_owned()
    } else if name.len() > TOPIC_NAME_MAX {
        format!("the length of '{name}' is longer than the max allowed length {TOPIC_NAME_MAX}")
    } else if !name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-')) {
        format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
    } else {
        return Ok(());
    };
    Err(format!("Topic name is invalid: {reason}"))
}

fn shuffle<T>(list: &mut [T], random: &mut dyn Random) {
    for i in (1..list.len()).rev() {
        list.swap(i, below(random, i + 1));
    }
}

#[derive(Default)]
struct BrokerList {
    brokers: Vec<i32>,
    index: usize,
    offset: usize,
    epoch: u64,
}

impl BrokerList {
    fn initialize(&mut self, random: &mut dyn Random) {
        if !self.brokers.is_empty() {
            self.brokers.sort_unstable();
            self.offset = below(random, self.brokers.len());
        }
    }

    fn next(&mut self, epoch: u64) -> Option<i32> {
        if self.brokers.is_empty() {
            return None;
        }
        if self.epoch != epoch {
            self.epoch = epoch;
            self.index = 0;
            self.offset = (self.offset + 1) % self.brokers.len();
        }
        if self.index >= self.brokers.len() {
            return None;
        }
        let broker = self.brokers[(self.index + self.offset) % self.brokers.len()];
        self.index += 1;
        Some(broker)
    }
}

#[derive(Default)]
struct Rack {
    fenced: BrokerList,
    unfenced: BrokerList,
}

/// Brokers by rack, handed out in stripes.
pub(super) struct Placer {
    racks: BTreeMap<Option<Str>, Rack>,
    order: Vec<Option<Str>>,
    total: usize,
    unfenced: usize,
    /// Counts partitions.
    epoch: u64,
    /// Partitions since the brokers were last shuffled.
    since_shuffle: usize,
    offset: usize,
}

impl Controller {
    /// A placer over the brokers that take new replicas.
    pub(super) fn placer(&self, random: &mut dyn Random) -> Placer {
        let mut racks: BTreeMap<Option<Str>, Rack> = BTreeMap::new();
        let (mut total, mut unfenced) = (0, 0);
        for (id, b) in &self.image().cluster.brokers {
            if b.in_controlled_shutdown || !has_uncordoned_dirs(b) {
                continue;
            }
            let rack = racks.entry(b.rack.clone()).or_default();
            if b.fenced {
                rack.fenced.brokers.push(*id);
            } else {
                rack.unfenced.brokers.push(*id);
                unfenced += 1;
            }
            total += 1;
        }
        for rack in racks.values_mut() {
            rack.fenced.initialize(random);
            rack.unfenced.initialize(random);
        }
        let order: Vec<Option<Str>> = racks.keys().cloned().collect();
        let offset = if order.is_empty() { 0 } else { below(random, order.len()) };
        Placer { racks, order, total, unfenced, epoch: 0, since_shuffle: 0, offset }
    }
}

/// Whether a broker has a directory that takes new replicas.
pub(super) fn has_uncordoned_dirs(b: &crate::image::BrokerRegistration) -> bool {
    match &b.cordoned_directories {
        Some(cordoned) if !b.directories.is_empty() => b.directories.iter().any(|d| !cordoned.contains(d)),
        _ => true,
    }
}

impl Placer {
    /// The replicas of one new partition.
    pub(super) fn place(
        &mut self,
        replication_factor: i16,
        random: &mut dyn Random,
    ) -> Result<Vec<i32>, ApiError> {
        let fail = |text: String| Err(ApiError::new(ErrorCode::InvalidReplicationFactor, text));
        let wanted = usize::try_from(replication_factor).unwrap_or(0);
        if wanted == 0 {
            return fail(format!(
                "Invalid replication factor {replication_factor}: the replication factor must be positive."
            ));
        }
        if self.unfenced == 0 {
            return fail(
                "All brokers are currently fenced, or have all their log directories cordoned.".to_owned(),
            );
        }
        if wanted > self.total {
            return fail(format!(
                "The target replication factor of {wanted} cannot be reached because only {} broker(s) are \
                 registered or some brokers have all their log directories cordoned.",
                self.total
            ));
        }
        // After as many partitions as brokers the stripes would repeat.
        if self.since_shuffle == self.unfenced && self.unfenced > 1 {
            shuffle(&mut self.order, random);
            for rack in self.racks.values_mut() {
                shuffle(&mut rack.fenced.brokers, random);
                shuffle(&mut rack.unfenced.brokers, random);
            }
            self.since_shuffle = 0;
        }
        if self.offset == self.order.len() {
            self.offset = 0;
        }
        let mut brokers = Vec::with_capacity(wanted);
        let mut first_rack = self.offset;
        // The first replica, which will lead, is an unfenced one; some rack has one.
        loop {
            let epoch = self.epoch;
            if let Some(b) = self.rack(first_rack).unfenced.next(epoch) {
                brokers.push(b);
                break;
            }
            first_rack = (first_rack + 1) % self.order.len();
        }
        let mut skip = Some(first_rack);
        let mut rack = self.offset;
        while brokers.len() < wanted {
            let found = if skip == Some(rack) {
                skip = None;
                None
            } else {
                let epoch = self.epoch;
                let r = self.rack(rack);
                r.unfenced.next(epoch).or_else(|| r.fenced.next(epoch))
            };
            rack = (rack + 1) % self.order.len();
            brokers.extend(found);
        }
        self.epoch += 1;
        self.since_shuffle += 1;
        self.offset += 1;
        Ok(brokers)
    }

    fn rack(&mut self, index: usize) -> &mut Rack {
        let name = &self.order[index];
        self.racks.get_mut(name).expect("the order has the racks' own names")
    }
}
