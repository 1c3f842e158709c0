//! The hash of the topics a group subscribes to, by which it notices that they changed (KIP-1101).

use std::collections::BTreeMap;

use ottla_protocol::types::Str;

use super::subscription::SubscriptionCounts;
use crate::java::string_length;
use crate::topics::TopicsView;
use crate::xxh3::xxh3_64;

/// First byte of what is hashed of a topic; tells layouts apart.
const TOPIC_HASH_MAGIC_BYTE: u8 = 0;

/// Hash over the hashes of the topics that exist, in the order of their names; 0 when there are none.
///
/// Source: Kafka `Utils.computeGroupHash`, `ModernGroup.computeMetadataHash`.
pub(super) fn group_hash(
    counts: &SubscriptionCounts,
    topic_hashes: &mut BTreeMap<Str, i64>,
    topics: &dyn TopicsView,
) -> i64 {
    // Java compares strings by UTF-16 units; topic names are ASCII, so bytes give the same order.
    let mut bytes = Vec::new();
    for name in counts.names() {
        let hash = match topic_hashes.get(name) {
            Some(hash) if topics.topic_id(name).is_some() => *hash,
            _ => match topic_hash(name, topics) {
                Some(hash) => {
                    topic_hashes.insert(name.clone(), hash);
                    hash
                }
                None => continue,
            },
        };
        bytes.extend_from_slice(&hash.to_le_bytes());
    }
    if bytes.is_empty() { 0 } else { xxh3_64(&bytes) as i64 }
}

/// Hash of id, name, partitions and racks of a topic; `None` when it does not exist.
///
/// Source: Kafka `Utils.computeTopicHash`. Numbers are little-endian, strings UTF-16 units followed by their count,
/// as hash4j feeds them.
pub(super) fn topic_hash(name: &str, topics: &dyn TopicsView) -> Option<i64> {
    let topic_id = topics.topic_id(name)?;
    let partition_count = topics.partition_count(topic_id)?;
    let mut bytes = vec![TOPIC_HASH_MAGIC_BYTE];
    let (most, least) = topic_id.0.split_at(8);
    bytes.extend(most.iter().rev());
    bytes.extend(least.iter().rev());
    put_string(&mut bytes, name);
    bytes.extend_from_slice(&partition_count.to_le_bytes());
    for partition in 0..partition_count {
        bytes.extend_from_slice(&partition.to_le_bytes());
        let mut racks = topics.partition_racks(topic_id, partition);
        racks.sort_unstable();
        for rack in &racks {
            bytes.extend_from_slice(&(string_length(rack) as i32).to_le_bytes());
            put_string(&mut bytes, rack);
        }
    }
    Some(xxh3_64(&bytes) as i64)
}

fn put_string(bytes: &mut Vec<u8>, text: &str) {
    for unit in text.encode_utf16() {
        bytes.extend_from_slice(&unit.to_le_bytes());
    }
    bytes.extend_from_slice(&(string_length(text) as i32).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::types::Uuid;

    struct Topics(Vec<(&'static str, &'static str, i32)>);

    impl TopicsView for Topics {
        fn version(&self) -> i64 {
            1
        }
        fn topic_id(&self, name: &str) -> Option<Uuid> {
            self.0.iter().find(|topic| topic.0 == name).map(|topic| topic.1.parse().unwrap())
        }
        fn topic_name(&self, _: Uuid) -> Option<Str> {
            None
        }
        fn partition_count(&self, id: Uuid) -> Option<i32> {
            self.0.iter().find(|topic| topic.1.parse() == Ok(id)).map(|topic| topic.2)
        }
        fn partition_racks(&self, _: Uuid, _: i32) -> Vec<Str> {
            Vec::new()
        }
        fn for_each_name(&self, _: &mut dyn FnMut(&str)) {}
    }

    /// Hashes that a Kafka 4.4 broker wrote for groups with these topics.
    #[test]
    fn hashes_are_those_kafka_writes() {
        let topics = Topics(vec![("g1", "aYmWC0ORRs6fkEH6inl7Ew", 4), ("g2", "Q7A4_uC5Tg6Fm7KwzxR7wQ", 2)]);
        let mut counts = SubscriptionCounts::default();
        counts.add_name(&Str::from("g2"));
        assert_eq!(group_hash(&counts, &mut BTreeMap::new(), &topics), -4_607_274_489_902_757_255);
        counts.add_name(&Str::from("g1"));
        counts.add_name(&Str::from("missing"));
        assert_eq!(group_hash(&counts, &mut BTreeMap::new(), &topics), -967_089_660_613_447_203);
        assert_eq!(group_hash(&SubscriptionCounts::default(), &mut BTreeMap::new(), &topics), 0);
    }
}
