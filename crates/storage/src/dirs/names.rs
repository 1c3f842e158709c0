//! Names of partition directories.

use ottla_protocol::types::Uuid;

use crate::log::TopicPartition;

/// The longest name that file systems take.
const MAX_NAME_BYTES: usize = 255;
const DELETE_SUFFIX: &str = "-delete";
const FUTURE_SUFFIX: &str = "-future";
const STRAY_SUFFIX: &str = "-stray";

/// What a directory in a log directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirKind {
    /// A partition's log.
    Log,
    /// A log on its way to this directory.
    Future,
    /// A log that is to be removed.
    Delete,
    /// A log that the cluster does not know.
    Stray,
}

/// The directory of a partition.
pub fn partition_dir_name(partition: &TopicPartition) -> String {
    partition.to_string()
}

/// The name of a directory that is to be removed. A long topic name is cut so that it fits.
pub fn delete_dir_name(partition: &TopicPartition, unique: Uuid) -> String {
    capped(partition, unique, DELETE_SUFFIX)
}

/// The name of the directory of a partition that the cluster does not know.
pub fn stray_dir_name(partition: &TopicPartition, unique: Uuid) -> String {
    capped(partition, unique, STRAY_SUFFIX)
}

/// The name of a directory that a log is moved to.
pub fn future_dir_name(partition: &TopicPartition, unique: Uuid) -> String {
    format!("{partition}.{}{FUTURE_SUFFIX}", hex(unique))
}

fn capped(partition: &TopicPartition, unique: Uuid, suffix: &str) -> String {
    let tail = format!("-{}.{}{suffix}", partition.partition, hex(unique));
    let room = MAX_NAME_BYTES.saturating_sub(tail.len());
    let topic = partition.topic.get(..partition.topic.len().min(room)).unwrap_or(&partition.topic);
    format!("{topic}{tail}")
}

fn hex(id: Uuid) -> String {
    id.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a directory's name says; none for a name that is no partition's.
pub fn parse_dir_name(name: &str) -> Option<(TopicPartition, DirKind)> {
    let marked =
        [(DELETE_SUFFIX, DirKind::Delete), (FUTURE_SUFFIX, DirKind::Future), (STRAY_SUFFIX, DirKind::Stray)];
    for (suffix, kind) in marked {
        if let Some(rest) = name.strip_suffix(suffix)
            && let Some((rest, unique)) = rest.rsplit_once('.')
            && !unique.is_empty()
            && let Some(partition) = parse_plain(rest)
        {
            return Some((partition, kind));
        }
    }
    parse_plain(name).map(|partition| (partition, DirKind::Log))
}

fn parse_plain(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let number: i32 = partition.parse().ok()?;
    (!topic.is_empty() && number >= 0 && !partition.starts_with('+'))
        .then(|| TopicPartition::new(topic, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        let partition = TopicPartition::new("a-b.c", 3);
        assert_eq!(parse_dir_name("a-b.c-3"), Some((partition.clone(), DirKind::Log)));
        let unique = Uuid([0xab; 16]);
        let deleted = delete_dir_name(&partition, unique);
        assert_eq!(deleted, format!("a-b.c-3.{}-delete", "ab".repeat(16)));
        assert_eq!(parse_dir_name(&deleted), Some((partition.clone(), DirKind::Delete)));
        assert_eq!(
            parse_dir_name(&future_dir_name(&partition, unique)),
            Some((partition.clone(), DirKind::Future))
        );
        assert_eq!(parse_dir_name(&stray_dir_name(&partition, unique)), Some((partition, DirKind::Stray)));
        let long = TopicPartition::new("n".repeat(249), 0);
        assert_eq!(delete_dir_name(&long, unique).len(), 255);
        assert_eq!(parse_dir_name("lost+found"), None);
        assert_eq!(parse_dir_name("t-x"), None);
        assert_eq!(parse_dir_name("-1"), None);
    }
}
