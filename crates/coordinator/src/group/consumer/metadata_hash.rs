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
