//! The bits of Java whose results are visible to clients.

use ottla_protocol::java::string_hash;
use ottla_protocol::types::Uuid;

pub use ottla_protocol::java::partition_for;

/// Where a `java.util.HashMap` with its initial 16 buckets puts a key; decides ties that Kafka
/// leaves to the iteration order of such a map.
pub(crate) fn hash_map_bucket(text: &str) -> u32 {
    let hash = string_hash(text) as u32;
    (hash ^ (hash >> 16)) & 15
}

/// The text form of `java.util.UUID`: 8-4-4-4-12 hexadecimal digits.
pub(crate) fn uuid_text(uuid: Uuid) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in uuid.0.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// `String.length()`: UTF-16 code units.
pub(crate) fn string_length(text: &str) -> usize {
    text.encode_utf16().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_text_is_javas() {
        let uuid = Uuid::from_halves(0x123e_4567_e89b_12d3, 0xa456_4266_1417_4000);
        assert_eq!(uuid_text(uuid), "123e4567-e89b-12d3-a456-426614174000");
    }
}
