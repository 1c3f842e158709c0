//! Tests of replay, changes and snapshots of an image.

use ottla_protocol::messages::metadata_record::*;
use ottla_protocol::types::{Str, Uuid};
use proptest::prelude::*;

use super::*;
use crate::record::RecordError;

fn id(n: u64) -> Uuid {
    Uuid::from_halves(7, n)
}

fn topic(name: &str, n: u64) -> Record {
    topic_record::TopicRecord { name: name.into(), topic_id: id(n), ..Default::default() }.into()
}

fn partition(n: u64, p: i32) -> Record {
    partition_record::PartitionRecord {
        partition_id: p,
        topic_id: id(n),
        replicas: vec![1, 2],
        isr: vec![1, 2],
        leader: 1,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: vec![id(100), id(101)],
        ..Default::default()
    }
    .into()
}

fn feature(name: &str, level: i16) -> Record {
    feature_level_record::FeatureLevelRecord { name: name.into(), feature_level: level, ..Default::default() }
        .into()
}

fn config(kind: ResourceKind, resource: &str, name: &str, value: Option<&str>) -> Record {
    config_record::ConfigRecord {
        resource_type: kind.0,
        resource_name: resource.into(),
        name: name.into(),
        value: value.map(Str::from),
        ..Default::default()
    }
    .into()
}

fn register(broker: i32, epoch: i64) -> Record {
    register_broker_record::RegisterBrokerRecord {
        broker_id: broker,
        broker_epoch: epoch,
        log_dirs: vec![id(200), id(199)],
        end_points: vec![register_broker_record::BrokerEndpoint {
            name: "PLAINTEXT".into(),
            host: "h".into(),
            port: 9092,
            ..Default::default()
        }],
        ..Default::default()
    }
    .into()
}

fn build(records: &[Record]) -> MetadataImage {
    let mut image = MetadataImage::default();
    for r in records {
        image.replay(r).unwrap();
    }
    image
}

fn everything() -> Vec<Record> {
    vec![
        feature(METADATA_VERSION, 33),
        feature("eligible.leader.replicas.version", 1),
        feature("group.version", 1),
        register(1, 5),
        register(2, 6),
        unfence_broker_record::UnfenceBrokerRecord { id: 1, epoch: 5, ..Default::default() }.into(),
        register_controller_record::RegisterControllerRecord {
            controller_id: 1,
            incarnation_id: id(300),
            ..Default::default()
        }
        .into(),
        topic("a", 1),
        partition(1, 0),
        partition(1, 1),
        topic("b", 2),
        partition(2, 0),
        partition_change_record::PartitionChangeRecord {
            topic_id: id(1),
            partition_id: 1,
            leader: 2,
            isr: Some(vec![2]),
            eligible_leader_replicas: Some(vec![1]),
            ..Default::default()
        }
        .into(),
        config(ResourceKind::TOPIC, "a", "retention.ms", Some("5")),
        config(ResourceKind::BROKER, "", "log.cleaner.threads", Some("2")),
        client_quota_record::ClientQuotaRecord {
            entity: vec![client_quota_record::EntityData {
                entity_type: "user".into(),
                entity_name: None,
                ..Default::default()
            }],
            key: "producer_byte_rate".into(),
            value: 10.5,
            ..Default::default()
        }
        .into(),
        producer_ids_record::ProducerIdsRecord { next_producer_id: 1000, ..Default::default() }.into(),
        access_control_entry_record::AccessControlEntryRecord {
            id: id(400),
            principal: "User:a".into(),
            ..Default::default()
        }
        .into(),
        user_scram_credential_record::UserScramCredentialRecord {
            name: "u".into(),
            mechanism: 1,
            iterations: 4096,
            ..Default::default()
        }
        .into(),
        delegation_token_record::DelegationTokenRecord {
            token_id: "t".into(),
            owner: "User:a".into(),
            ..Default::default()
        }
        .into(),
    ]
}

#[test]
fn records_build_an_image_and_an_image_its_records() {
    let image = build(&everything());
    let a = image.topics.by_name("a").unwrap();
    let p = a.partition(1).unwrap();
    assert_eq!((p.leader, p.leader_epoch, p.partition_epoch), (2, 1, 1));
    assert_eq!((&p.isr[..], &p.elr[..]), (&[2][..], &[1][..]));
    assert!(!image.cluster.is_fenced(1) && image.cluster.is_fenced(2));
    assert_eq!(image.cluster.brokers[&1].directories, [id(199), id(200)]);
    assert_eq!(image.features.level("group.version"), 1);
    assert_eq!(image.metadata_version(), MetadataVersion::LATEST);

    let mut again = MetadataImage::default();
    for r in image.write() {
        let decoded = VersionedRecord::decode(&r.encode().unwrap()).unwrap();
        assert_eq!(decoded, r);
        again.replay(&decoded.record).unwrap();
    }
    assert_eq!(again, image);
}

#[test]
fn an_old_metadata_version_leaves_out_what_it_cannot_say() {
    let mut records = everything();
    records[0] = feature(METADATA_VERSION, 7);
    records.remove(1);
    let image = build(&records);
    let kinds: Vec<&str> = image.write().iter().map(|r| r.record.name()).collect();
    assert!(!kinds.contains(&"RegisterControllerRecord"));
    assert!(!kinds.contains(&"UserScramCredentialRecord"));
    for r in image.write() {
        r.encode().unwrap();
    }
}

#[test]
fn changes_are_found() {
    let old = build(&everything());
    let mut new = old.clone();
    let mut apply = |r: Record| new.replay(&r).unwrap();
    apply(topic("c", 3));
    apply(partition(3, 0));
    apply(remove_topic_record::RemoveTopicRecord { topic_id: id(1), ..Default::default() }.into());
    apply(partition(2, 1));
    apply(
        partition_change_record::PartitionChangeRecord {
            topic_id: id(2),
            partition_id: 0,
            leader: -1,
            ..Default::default()
        }
        .into(),
    );
    apply(fence_broker_record::FenceBrokerRecord { id: 1, epoch: 5, ..Default::default() }.into());
    let c = MetadataChanges::between(&old, &new);
    assert_eq!(&*c.topics_created[0].name, "c");
    assert_eq!(&*c.topics_deleted[0].name, "a");
    assert_eq!(c.topics_changed[0].partitions, [0, 1]);
    assert_eq!(c.brokers, [1]);
    assert_eq!(c.configs, [ConfigResource::topic("a")]);
    assert!(!c.features && !c.scram);
    assert!(MetadataChanges::between(&new, &new.clone()).is_empty());
    assert!(new.configs.topic("a").is_none());
}

#[test]
fn a_name_can_be_used_again() {
    let mut image = build(&everything());
    image
        .replay(&remove_topic_record::RemoveTopicRecord { topic_id: id(1), ..Default::default() }.into())
        .unwrap();
    assert!(image.topics.by_name("a").is_none());
    image.replay(&topic("a", 9)).unwrap();
    assert_eq!(image.topics.id_of("a"), Some(id(9)));
    assert_eq!(image.replay(&partition(1, 0)), Err(ReplayError::UnknownTopic { id: id(1) }));
}

#[test]
fn an_aborted_transaction_leaves_no_trace() {
    let mut b = ImageBuilder::default();
    let begin = Record::from(begin_transaction_record::BeginTransactionRecord::default());
    let abort = Record::from(abort_transaction_record::AbortTransactionRecord::default());
    let end = Record::from(end_transaction_record::EndTransactionRecord::default());
    b.replay(&begin).unwrap();
    b.replay(&topic("a", 1)).unwrap();
    assert!(b.image().topics.is_empty() && b.newest().topics.len() == 1);
    assert!(b.replay(&begin).is_err());
    b.replay(&abort).unwrap();
    assert!(b.newest().topics.is_empty());
    b.replay(&begin).unwrap();
    b.replay(&topic("b", 2)).unwrap();
    b.replay(&end).unwrap();
    assert_eq!(b.image().topics.len(), 1);
    assert!(b.replay(&end).is_err());
}

#[test]
fn clearing_elr_touches_only_what_has_any() {
    let mut image = build(&everything());
    image.replay(&clear_elr_record::ClearElrRecord::default().into()).unwrap();
    let a = image.topics.by_name("a").unwrap();
    assert!(a.partition(1).unwrap().elr.is_empty());
    assert_eq!(a.partition(1).unwrap().partition_epoch, 2);
    assert_eq!(a.partition(0).unwrap().partition_epoch, 0);
}

#[test]
fn values_removed_leave_no_empty_resource() {
    let mut image = build(&everything());
    image.replay(&config(ResourceKind::TOPIC, "a", "retention.ms", None)).unwrap();
    assert!(image.configs.topic("a").is_none());
}

#[test]
fn frames() {
    let noop = VersionedRecord::v0(no_op_record::NoOpRecord::default());
    assert_eq!(&noop.encode().unwrap()[..], [1, 20, 0, 0]);
    assert_eq!(VersionedRecord::decode(&[1, 20, 0, 0]), Ok(noop));
    assert_eq!(VersionedRecord::decode(&[2, 20, 0, 0]), Err(RecordError::FrameVersion(2)));
    assert_eq!(VersionedRecord::decode(&[1, 99, 0, 0]), Err(RecordError::UnknownType(99)));
    assert_eq!(
        VersionedRecord::decode(&[1, 20, 9, 0]),
        Err(RecordError::UnknownVersion { kind: 20, version: 9 })
    );
}

proptest! {
    #[test]
    fn mutated_records_never_panic(which in 0usize..20, at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<prop::sample::Index>()) {
        let image = build(&everything());
        let records = image.write();
        let mut bytes = records[which % records.len()].encode().unwrap().to_vec();
        let i = at.index(bytes.len());
        bytes[i] ^= 1 << bit;
        bytes.truncate(cut.index(bytes.len()) + 1);
        if let Ok(r) = VersionedRecord::decode(&bytes) {
            let mut image = image.clone();
            let _ = image.replay(&r.record);
        }
    }
}
