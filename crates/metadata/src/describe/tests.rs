//! Tests of answers from the image, against what Kafka's `kafka-configs` printed of a real broker.

use std::collections::BTreeMap;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_client_quotas_request as dq;
use ottla_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_protocol::messages::describe_configs_response::DescribeConfigsResult;
use ottla_protocol::messages::incremental_alter_configs_request as alter;
use ottla_protocol::messages::list_config_resources_request::ListConfigResourcesRequest;
use ottla_protocol::messages::metadata_record::client_quota_record as quota;
use ottla_protocol::messages::metadata_record::config_record::ConfigRecord;
use ottla_protocol::messages::metadata_record::topic_record::TopicRecord;
use ottla_protocol::types::{Str, Uuid};

use super::*;
use crate::config::{RawConfig, StaticConfig};
use crate::image::{MetadataImage, ResourceKind};

const PROPERTIES: &str = "process.roles=broker,controller\nnode.id=1\n\
    controller.quorum.voters=1@127.0.0.1:21093\n\
    listeners=PLAINTEXT://127.0.0.1:21092,CONTROLLER://127.0.0.1:21093\n\
    advertised.listeners=PLAINTEXT://127.0.0.1:21092\n\
    controller.listener.names=CONTROLLER\nlog.dirs=/data\n\
    offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
    transaction.state.log.min.isr=1\nshare.coordinator.state.topic.replication.factor=1\n\
    share.coordinator.state.topic.min.isr=1\ngroup.initial.rebalance.delay.ms=0\n";

fn node() -> StaticConfig {
    let mut raw = RawConfig::new();
    raw.load("server.properties", PROPERTIES).unwrap();
    StaticConfig::build(&raw, &mut |_, _, _| None).unwrap()
}

fn image() -> MetadataImage {
    let mut image = MetadataImage::default();
    let topic = TopicRecord { name: "t1".into(), topic_id: Uuid::from_halves(1, 1), ..Default::default() };
    image.replay(&topic.into()).unwrap();
    for (kind, name, key, value) in [
        (ResourceKind::BROKER, "", "min.insync.replicas", "1"),
        (ResourceKind::BROKER, "", "log.retention.ms", "777777777"),
        (ResourceKind::BROKER, "", "log.cleaner.threads", "2"),
        (ResourceKind::BROKER, "1", "log.retention.ms", "666666666"),
        (ResourceKind::BROKER, "1", "num.io.threads", "9"),
        (ResourceKind::TOPIC, "t1", "retention.ms", "5"),
        (ResourceKind::TOPIC, "t1", "cleanup.policy", "compact"),
        (ResourceKind::TOPIC, "t1", "segment.ms", "12345"),
        (ResourceKind::TOPIC, "t1", "min.insync.replicas", "1"),
        (ResourceKind::GROUP, "g1", "consumer.session.timeout.ms", "50000"),
        (ResourceKind::CLIENT_METRICS, "s1", "interval.ms", "60000"),
        (ResourceKind::CLIENT_METRICS, "s1", "match", "client_id=abc.*"),
    ] {
        let record = ConfigRecord {
            resource_type: kind.0,
            resource_name: name.into(),
            name: key.into(),
            value: Some(value.into()),
            ..Default::default()
        };
        image.replay(&record.into()).unwrap();
    }
    image
}

fn describe(kind: ResourceKind, name: &str) -> DescribeConfigsResult {
    let (node, image) = (node(), image());
    let values = |r: &crate::image::ConfigResource| -> Vec<(Str, Str)> {
        image.configs.get(r).into_iter().flat_map(|m| m.iter()).map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    let all = values(&crate::image::ConfigResource::all_brokers());
    let own = values(&crate::image::ConfigResource::broker(1));
    let current =
        node.with_dynamic(all.iter().map(|(k, v)| (&**k, &**v)), own.iter().map(|(k, v)| (&**k, &**v)));
    let loggers = BTreeMap::from([("root".to_owned(), "INFO".to_owned())]);
    let view = BrokerView { static_config: &node, current: &current, image: &image, loggers: &loggers };
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: kind.0,
            resource_name: name.into(),
            configuration_keys: None,
            ..Default::default()
        }],
        include_synonyms: true,
        include_documentation: true,
        ..Default::default()
    };
    describe_configs(&view, &request).results.remove(0)
}

/// As `kafka-configs --describe --all` prints an entry.
fn lines(result: &DescribeConfigsResult) -> Vec<String> {
    const SOURCES: &[&str] = &[
        "UNKNOWN",
        "DYNAMIC_TOPIC_CONFIG",
        "DYNAMIC_BROKER_CONFIG",
        "DYNAMIC_DEFAULT_BROKER_CONFIG",
        "STATIC_BROKER_CONFIG",
        "DEFAULT_CONFIG",
        "DYNAMIC_BROKER_LOGGER_CONFIG",
        "DYNAMIC_CLIENT_METRICS_CONFIG",
        "DYNAMIC_GROUP_CONFIG",
    ];
    let mut out: Vec<String> = result
        .configs
        .iter()
        .map(|c| {
            let synonyms: Vec<String> = c
                .synonyms
                .iter()
                .map(|s| {
                    format!(
                        "{}:{}={}",
                        SOURCES[s.source as usize],
                        s.name,
                        s.value.as_deref().unwrap_or("null")
                    )
                })
                .collect();
            format!(
                "  {}={} sensitive={} synonyms={{{}}}",
                c.name,
                c.value.as_deref().unwrap_or("null"),
                c.is_sensitive,
                synonyms.join(", ")
            )
        })
        .collect();
    out.sort();
    out
}

fn compare(kind: ResourceKind, name: &str, expected: &str) {
    let ours = lines(&describe(kind, name));
    let mut theirs: Vec<&str> = expected.lines().map(str::trim_end).collect();
    theirs.sort_unstable();
    let missing: Vec<&&str> = theirs.iter().filter(|l| !ours.iter().any(|o| o.trim_end() == **l)).collect();
    let extra: Vec<&String> = ours.iter().filter(|o| !theirs.contains(&o.trim_end())).collect();
    assert!(missing.is_empty() && extra.is_empty(), "Kafka says:\n{missing:#?}\nwe say:\n{extra:#?}");
}

#[test]
fn a_broker_as_kafka_describes_it() {
    compare(ResourceKind::BROKER, "1", include_str!("../../tests/data/describe-broker.txt"));
}

#[test]
fn the_default_of_brokers_as_kafka_describes_it() {
    compare(ResourceKind::BROKER, "", include_str!("../../tests/data/describe-default.txt"));
}

#[test]
fn a_topic_as_kafka_describes_it() {
    compare(ResourceKind::TOPIC, "t1", include_str!("../../tests/data/describe-topic.txt"));
}

#[test]
fn a_group_as_kafka_describes_it() {
    compare(ResourceKind::GROUP, "g1", include_str!("../../tests/data/describe-group.txt"));
}

#[test]
fn a_subscription_as_kafka_describes_it() {
    compare(ResourceKind::CLIENT_METRICS, "s1", include_str!("../../tests/data/describe-client-metrics.txt"));
}

#[test]
fn resources_that_cannot_be_described() {
    let error = |kind, name| {
        let r = describe(kind, name);
        let code = ErrorCode::from_code(r.error_code);
        (code, r.error_message.map(|m| m.to_string()))
    };
    assert_eq!(error(ResourceKind::TOPIC, "nope"), (ErrorCode::UnknownTopicOrPartition, Some(String::new())));
    assert_eq!(
        error(ResourceKind::BROKER, "2"),
        (
            ErrorCode::InvalidRequest,
            Some("Unexpected broker id, expected 1 or empty string, but received 2".to_owned())
        )
    );
    assert_eq!(
        error(ResourceKind::BROKER, "x"),
        (ErrorCode::InvalidRequest, Some("Broker id must be an integer, but it is: x".to_owned()))
    );
    assert_eq!(describe(ResourceKind::BROKER_LOGGER, "1").configs.len(), 1);
}

#[test]
fn changes_are_checked_before_they_are_forwarded() {
    let (node, image) = (node(), image());
    let check = |kind: ResourceKind, name: &str, key: &str, op: i8, value: Option<&str>| {
        let request = alter::IncrementalAlterConfigsRequest {
            resources: vec![alter::AlterConfigsResource {
                resource_type: kind.0,
                resource_name: name.into(),
                configs: vec![alter::AlterableConfig {
                    name: key.into(),
                    config_operation: op,
                    value: value.map(Str::from),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        match preprocess_incremental(&node, &image.configs, &request).remove(0) {
            Preprocessed::Refused(e) => Err((e.code, e.message.unwrap_or_default())),
            other => Ok(other),
        }
    };
    assert_eq!(check(ResourceKind::TOPIC, "t1", "x", 0, Some("1")), Ok(Preprocessed::Forward));
    assert_eq!(check(ResourceKind::BROKER_LOGGER, "1", "x", 0, Some("INFO")), Ok(Preprocessed::Logger));
    assert_eq!(
        check(ResourceKind::TOPIC, "t1", "x", 0, None),
        Err((ErrorCode::InvalidRequest, "Null value not supported for : x".to_owned()))
    );
    assert_eq!(
        check(ResourceKind::BROKER, "1", "num.partitions", 0, Some("5")),
        Err((
            ErrorCode::InvalidRequest,
            "Cannot update these configs dynamically: [num.partitions]".to_owned()
        ))
    );
    assert_eq!(
        check(ResourceKind::BROKER, "7", "num.io.threads", 0, Some("5")),
        Err((ErrorCode::InvalidRequest, "Unexpected broker id, expected 1, but received 7".to_owned()))
    );
    assert_eq!(
        check(ResourceKind::BROKER, "", "num.io.threads", 2, Some("5")),
        Err((
            ErrorCode::InvalidConfig,
            "Config value append is not allowed for config key: num.io.threads".to_owned()
        ))
    );
}

#[test]
fn resources_with_configurations() {
    let image = image();
    let list = |types: Vec<i8>, version| {
        let request = ListConfigResourcesRequest { resource_types: types, ..Default::default() };
        let r = list_config_resources(&image, "PLAINTEXT", &request, version);
        let names: Vec<String> = r.config_resources.iter().map(|c| c.resource_name.to_string()).collect();
        (ErrorCode::from_code(r.error_code), names.join(","))
    };
    assert_eq!(list(vec![], 0), (ErrorCode::None, "s1".to_owned()));
    assert_eq!(list(vec![], 1), (ErrorCode::None, "g1,s1,t1".to_owned()));
    assert_eq!(list(vec![32], 1), (ErrorCode::None, "g1".to_owned()));
    assert_eq!(list(vec![99], 1).0, ErrorCode::UnsupportedVersion);
    assert_eq!(list(vec![2], 0).0, ErrorCode::UnsupportedVersion);
}

#[test]
fn quotas_by_filter() {
    let mut image = MetadataImage::default();
    for entity in
        [vec![("user", Some("a"))], vec![("user", None)], vec![("user", Some("a")), ("client-id", Some("c"))]]
    {
        let record = quota::ClientQuotaRecord {
            entity: entity
                .into_iter()
                .map(|(t, n)| quota::EntityData {
                    entity_type: t.into(),
                    entity_name: n.map(Str::from),
                    ..Default::default()
                })
                .collect(),
            key: "producer_byte_rate".into(),
            value: 1.0,
            ..Default::default()
        };
        image.replay(&record.into()).unwrap();
    }
    let count = |parts: &[(&str, i8, Option<&str>)], strict| {
        let request = dq::DescribeClientQuotasRequest {
            components: parts
                .iter()
                .map(|(t, m, n)| dq::ComponentData {
                    entity_type: (*t).into(),
                    match_type: *m,
                    r#match: n.map(Str::from),
                    ..Default::default()
                })
                .collect(),
            strict,
            ..Default::default()
        };
        let r = describe_client_quotas(&image.client_quotas, &request);
        r.entries.map(|e| e.len()).ok_or(r.error_message)
    };
    assert_eq!(count(&[], false), Ok(3));
    assert_eq!(count(&[], true), Ok(0));
    assert_eq!(count(&[("user", 0, Some("a"))], false), Ok(2));
    assert_eq!(count(&[("user", 0, Some("a"))], true), Ok(1));
    assert_eq!(count(&[("user", 1, None)], true), Ok(1));
    assert_eq!(count(&[("user", 2, None)], false), Ok(3));
    assert_eq!(count(&[("planet", 2, None)], false), Err(Some("Unsupported entity type planet".into())));
}
