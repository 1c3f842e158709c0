//! What brokers know about topics beyond the metadata image: internal topics, names, nodes on a listener.

use ottla_metadata::image::{BrokerRegistration, MetadataImage};
use ottla_protocol::types::Str;

pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
pub const TRANSACTION_STATE: &str = "__transaction_state";
pub const SHARE_GROUP_STATE: &str = "__share_group_state";

/// Source: Kafka `Topic.isInternal`.
pub fn is_internal(topic: &str) -> bool {
    matches!(topic, CONSUMER_OFFSETS | TRANSACTION_STATE | SHARE_GROUP_STATE)
}

/// Source: Kafka `Topic.validate`.
pub fn is_valid_name(topic: &str) -> bool {
    !topic.is_empty()
        && topic != "."
        && topic != ".."
        && topic.len() <= 249
        && topic.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// The operations that exist on a resource, as the bit field of metadata answers. Without an authorizer
/// everybody may do all of them. Source: Kafka `AclEntry.supportedOperations`.
pub mod operations {
    pub const TOPIC: i32 = bits(&[3, 4, 5, 6, 7, 8, 10, 11]);
    pub const GROUP: i32 = bits(&[3, 6, 8, 10, 11]);
    pub const CLUSTER: i32 = bits(&[5, 7, 8, 9, 10, 11, 12]);

    const fn bits(codes: &[i32]) -> i32 {
        let (mut field, mut i) = (0, 0);
        while i < codes.len() {
            field |= 1 << codes[i];
            i += 1;
        }
        field
    }
}

/// Where clients of a listener reach a broker: host and port.
pub fn address<'a>(broker: &'a BrokerRegistration, listener: &str) -> Option<(&'a Str, i32)> {
    broker.endpoint(listener).map(|e| (&e.host, i32::from(e.port)))
}

/// Unfenced brokers that can be reached on a listener, by id.
pub fn alive_brokers<'a>(
    image: &'a MetadataImage,
    listener: &'a str,
) -> impl Iterator<Item = &'a BrokerRegistration> + 'a {
    image.cluster.brokers.values().map(|b| &**b).filter(move |b| !b.fenced && b.endpoint(listener).is_some())
}
