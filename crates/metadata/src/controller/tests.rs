//! Tests of decisions: error codes, texts and records as Kafka's.

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::allocate_producer_ids_request::AllocateProducerIdsRequest;
use ottla_protocol::messages::alter_client_quotas_request as quotas;
use ottla_protocol::messages::alter_partition_reassignments_request as reassign;
use ottla_protocol::messages::alter_partition_request as isr;
use ottla_protocol::messages::alter_user_scram_credentials_request as scram_req;
use ottla_protocol::messages::assign_replicas_to_dirs_request as dirs;
use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_protocol::messages::broker_registration_request as reg;
use ottla_protocol::messages::controller_registration_request::ControllerRegistrationRequest;
use ottla_protocol::messages::create_acls_request::CreateAclsRequest;
use ottla_protocol::messages::create_partitions_request as parts;
use ottla_protocol::messages::create_topics_request as ct;
use ottla_protocol::messages::delete_topics_request as dt;
use ottla_protocol::messages::elect_leaders_request as elect;
use ottla_protocol::messages::incremental_alter_configs_request as alter;
use ottla_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use ottla_protocol::messages::update_features_request as feat;
use ottla_protocol::types::{Str, Uuid};

use super::*;
use crate::config::RawConfig;
use crate::features::supported_features;
use crate::format::{FormatPlan, FormatRequest};
use crate::image::{NO_LEADER, ResourceKind};

const CLUSTER: &str = "b3R0bGEtb3JhY2xlLS0tLQ";

struct World {
    c: Controller,
    offset: i64,
    now_ms: i64,
    seed: u64,
}

fn config(more: &str) -> Arc<StaticConfig> {
    let text = format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:19093\n\
         listeners=PLAINTEXT://127.0.0.1:19092,CONTROLLER://127.0.0.1:19093\n\
         controller.listener.names=CONTROLLER\n{more}"
    );
    let mut raw = RawConfig::new();
    raw.load("f", &text).unwrap();
    Arc::new(StaticConfig::build(&raw, &mut |_, _, _| None).unwrap())
}

fn dir(broker: i32, n: u64) -> Uuid {
    Uuid::from_halves(1000 + broker as u64, n)
}

impl World {
    fn with(more: &str) -> World {
        let config = config(more);
        let c = Controller::new(config.clone(), CLUSTER, vec![1], MetadataImage::default(), 0);
        let mut w = World { c, offset: 1, now_ms: 1_000, seed: 1 };
        let plan = FormatPlan::new(FormatRequest::default()).unwrap();
        let first = activation_records(&ImageBuilder::default(), &plan.records, &config);
        w.apply(&first);
        assert!(w.image().features.is_elr_enabled());
        w
    }

    /// Brokers 1 to n, all of them active.
    fn new(brokers: i32) -> World {
        let mut w = World::with("");
        for id in 1..=brokers {
            w.start(id);
        }
        w
    }

    fn image(&self) -> &MetadataImage {
        self.c.image()
    }

    fn apply(&mut self, records: &[VersionedRecord]) {
        for r in records {
            // What is decided must be what can be written and read.
            let r = VersionedRecord::decode(&r.encode().unwrap()).unwrap();
            self.c.replay(self.offset, &r.record).unwrap();
            self.offset += 1;
        }
    }

    fn ctx(&self, version: i16) -> Context<'static> {
        Context {
            now_ms: self.now_ms,
            next_offset: self.offset,
            principal: "User:ANONYMOUS",
            forwarded: true,
            version,
        }
    }

    fn random(&mut self) -> impl FnMut() -> u64 + use<> {
        self.seed += 1;
        let mut x = self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        move || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x
        }
    }

    fn registration(&self, id: i32, incarnation: u64) -> reg::BrokerRegistrationRequest {
        reg::BrokerRegistrationRequest {
            broker_id: id,
            cluster_id: CLUSTER.into(),
            incarnation_id: Uuid::from_halves(id as u64, incarnation),
            listeners: vec![reg::Listener {
                name: "PLAINTEXT".into(),
                host: "h".into(),
                port: 9092,
                ..Default::default()
            }],
            features: supported_features()
                .into_iter()
                .map(|(name, min, max)| reg::Feature {
                    name: name.into(),
                    min_supported_version: min,
                    max_supported_version: max,
                    ..Default::default()
                })
                .collect(),
            log_dirs: vec![dir(id, 1)],
            previous_broker_epoch: -1,
            ..Default::default()
        }
    }

    fn register(&mut self, id: i32, incarnation: u64) -> Result<i64, ApiError> {
        let ctx = self.ctx(4);
        let request = self.registration(id, incarnation);
        let d = self.c.decide_broker_registration(&ctx, &request)?;
        self.apply(&d.records);
        Ok(d.response.broker_epoch)
    }

    fn heartbeat(&mut self, id: i32, change: impl FnOnce(&mut BrokerHeartbeatRequest)) -> (bool, bool) {
        let mut request = BrokerHeartbeatRequest {
            broker_id: id,
            broker_epoch: self.image().cluster.broker_epoch(id).unwrap(),
            current_metadata_offset: self.offset,
            ..Default::default()
        };
        change(&mut request);
        let ctx = self.ctx(1);
        let d = self.c.decide_broker_heartbeat(&ctx, &request).unwrap();
        self.apply(&d.records);
        (d.response.is_fenced, d.response.should_shut_down)
    }

    fn start(&mut self, id: i32) {
        self.register(id, 1).unwrap();
        assert_eq!(self.heartbeat(id, |_| {}), (false, false));
    }

    /// Brokers' sessions end, but for those that are named.
    fn silence_all_but(&mut self, alive: &[i32]) {
        self.now_ms += 8_000;
        for id in alive {
            self.heartbeat(*id, |_| {});
        }
        self.now_ms += 1_500;
        loop {
            let ctx = self.ctx(0);
            let records = self.c.on_time(&ctx);
            if records.is_empty() || matches!(records[0].record, Record::NoOp(_)) {
                return;
            }
            self.apply(&records);
        }
    }

    fn create(&mut self, topic: ct::CreatableTopic) -> (ErrorCode, Option<String>) {
        let request = ct::CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let (ctx, mut random) = (self.ctx(7), self.random());
        let d = self.c.decide_create_topics(&ctx, &request, &mut random).unwrap();
        self.apply(&d.records);
        let t = &d.response.topics[0];
        (ErrorCode::from_code(t.error_code), t.error_message.as_ref().map(ToString::to_string))
    }

    fn topic(&mut self, name: &str, partitions: i32, factor: i16) {
        let (code, message) = self.create(plain(name, partitions, factor));
        assert_eq!(code, ErrorCode::None, "{message:?}");
    }

    fn partition(&self, topic: &str, id: i32) -> PartitionRegistration {
        let t = self.image().topics.by_name(topic).unwrap();
        PartitionRegistration::clone(t.partition(id).unwrap())
    }

    fn alter(
        &mut self,
        kind: ResourceKind,
        name: &str,
        changes: &[(&str, i8, Option<&str>)],
    ) -> (ErrorCode, Option<String>) {
        let request = alter::IncrementalAlterConfigsRequest {
            resources: vec![alter::AlterConfigsResource {
                resource_type: kind.0,
                resource_name: name.into(),
                configs: changes
                    .iter()
                    .map(|(k, op, v)| alter::AlterableConfig {
                        name: (*k).into(),
                        config_operation: *op,
                        value: v.map(Str::from),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let ctx = self.ctx(1);
        let d = self.c.decide_incremental_alter_configs(&ctx, &request).unwrap();
        self.apply(&d.records);
        let r = &d.response.responses[0];
        (ErrorCode::from_code(r.error_code), r.error_message.as_ref().map(ToString::to_string))
    }
}

fn plain(name: &str, partitions: i32, factor: i16) -> ct::CreatableTopic {
    ct::CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: factor,
        ..Default::default()
    }
}

fn manual(name: &str, assignments: &[(i32, &[i32])]) -> ct::CreatableTopic {
    ct::CreatableTopic {
        assignments: assignments
            .iter()
            .map(|(id, brokers)| ct::CreatableReplicaAssignment {
                partition_index: *id,
                broker_ids: brokers.to_vec(),
                ..Default::default()
            })
            .collect(),
        ..plain(name, -1, -1)
    }
}

fn error(code: ErrorCode, text: &str) -> (ErrorCode, Option<String>) {
    (code, Some(text.to_owned()))
}

#[test]
fn a_broker_is_fenced_until_it_has_caught_up() {
    let mut w = World::with("");
    let epoch = w.register(1, 1).unwrap();
    assert_eq!(epoch, w.offset - 1, "the epoch is the record's offset");
    assert!(w.image().cluster.is_fenced(1));
    assert_eq!(w.heartbeat(1, |r| r.current_metadata_offset = epoch - 1), (true, false));
    assert_eq!(w.heartbeat(1, |r| r.want_fence = true), (true, false));
    assert_eq!(w.heartbeat(1, |_| {}), (false, false));
    assert!(!w.image().cluster.is_fenced(1));
    // Again from the same start: nothing changes.
    assert_eq!(w.register(1, 1), Ok(epoch));
    assert!(!w.image().cluster.is_fenced(1));
}

#[test]
fn registrations_that_are_refused() {
    let mut w = World::new(2);
    let refused = |w: &mut World, change: &dyn Fn(&mut reg::BrokerRegistrationRequest)| {
        let mut request = w.registration(3, 1);
        change(&mut request);
        let ctx = w.ctx(4);
        let e = w.c.decide_broker_registration(&ctx, &request).unwrap_err();
        (e.code, e.message)
    };
    assert_eq!(
        refused(&mut w, &|r| r.cluster_id = "x".into()),
        error(
            ErrorCode::InconsistentClusterId,
            "Expected cluster ID b3R0bGEtb3JhY2xlLS0tLQ, but got cluster ID x"
        )
    );
    assert_eq!(refused(&mut w, &|r| r.broker_id = 1).0, ErrorCode::DuplicateBrokerRegistration);
    assert_eq!(
        refused(&mut w, &|r| r.log_dirs.clear()),
        error(ErrorCode::InvalidRegistration, "No directories specified in request")
    );
    assert_eq!(
        refused(&mut w, &|r| r.log_dirs = vec![dir(1, 1)]).1.unwrap(),
        format!("Broker 1 is already registered with directory {}", dir(1, 1))
    );
    assert_eq!(
        refused(&mut w, &|r| r.log_dirs = vec![Uuid::ZERO]).1.unwrap(),
        "Reserved directory ID in request"
    );
    assert_eq!(
        refused(&mut w, &|r| r.features.retain(|f| &*f.name != "group.version")),
        error(
            ErrorCode::UnsupportedVersion,
            "Unable to register because the broker does not support finalized version 1 of group.version. \
             The broker wants a version between 0 and 0, inclusive."
        )
    );
    assert_eq!(
        refused(&mut w, &|r| r.features.retain(|f| &*f.name != METADATA_VERSION)).1.unwrap(),
        "Request features do not contain 'metadata.version'"
    );
}

use crate::features::METADATA_VERSION;

#[test]
fn stale_epochs_are_fenced() {
    let mut w = World::new(1);
    let ctx = w.ctx(1);
    let beat =
        |id, epoch| BrokerHeartbeatRequest { broker_id: id, broker_epoch: epoch, ..Default::default() };
    let e = w.c.decide_broker_heartbeat(&ctx, &beat(9, 1)).unwrap_err();
    assert_eq!(
        (e.code, e.message),
        error(ErrorCode::StaleBrokerEpoch, "No broker registration found for broker id 9")
    );
    let e = w.c.decide_broker_heartbeat(&ctx, &beat(1, 1)).unwrap_err();
    assert_eq!(e.code, ErrorCode::StaleBrokerEpoch);
}

#[test]
fn topics_with_one_replica_spread_over_the_brokers() {
    let mut w = World::new(3);
    w.topic("a", 6, 1);
    let mut counts = [0; 4];
    for id in 0..6 {
        let p = w.partition("a", id);
        assert_eq!((p.replicas.len(), p.leader_epoch), (1, 0));
        assert_eq!(p.isr, [p.leader]);
        assert_eq!(p.directories, [dir(p.leader, 1)]);
        counts[p.leader as usize] += 1;
    }
    assert_eq!(counts, [0, 2, 2, 2]);
    w.topic("b", 3, 3);
    assert_eq!(w.partition("b", 0).isr.len(), 3);
    w.topic("defaults", -1, -1);
    assert_eq!(w.partition("defaults", 0).replicas.len(), 1);
}

#[test]
fn topics_that_cannot_be_created() {
    let mut w = World::new(2);
    w.topic("exists.a", 1, 1);
    let cases: Vec<(ct::CreatableTopic, ErrorCode, &str)> = vec![
        (plain("exists.a", 1, 1), ErrorCode::TopicAlreadyExists, "Topic 'exists.a' already exists."),
        (
            plain("exists_a", 1, 1),
            ErrorCode::InvalidTopicException,
            "Topic 'exists_a' collides with existing topic: exists.a",
        ),
        (
            plain("b d", 1, 1),
            ErrorCode::InvalidTopicException,
            "Topic name is invalid: 'b d' contains one or more characters other than ASCII alphanumerics, \
             '.', '_' and '-'",
        ),
        (
            plain("", 1, 1),
            ErrorCode::InvalidTopicException,
            "Topic name is invalid: the empty string is not allowed",
        ),
        (
            plain("__cluster_metadata", 1, 1),
            ErrorCode::InvalidRequest,
            "Creation of internal topic __cluster_metadata is prohibited.",
        ),
        (
            plain("x", 0, 1),
            ErrorCode::InvalidPartitions,
            "Number of partitions was set to an invalid non-positive value.",
        ),
        (
            plain("x", 1, 0),
            ErrorCode::InvalidReplicationFactor,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ),
        (
            plain("x", 1, 3),
            ErrorCode::InvalidReplicationFactor,
            "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be \
             reached because only 2 broker(s) are registered or some brokers have all their log directories \
             cordoned.",
        ),
        (
            manual("x", &[(0, &[9])]),
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes broker 9, but no such broker is registered.",
        ),
        (
            manual("x", &[(0, &[1, 1])]),
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes the broker 1 more than once.",
        ),
        (
            manual("x", &[(0, &[1]), (1, &[1, 2])]),
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes a partition with 2 replica(s), but this is not \
             consistent with previous partitions, which have 1 replica(s).",
        ),
        (
            manual("x", &[(0, &[1]), (2, &[1])]),
            ErrorCode::InvalidReplicaAssignment,
            "partitions should be a consecutive 0-based integer sequence",
        ),
        (
            manual("x", &[(0, &[])]),
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes an empty replica list.",
        ),
        (
            ct::CreatableTopic { num_partitions: 2, ..manual("x", &[(0, &[1])]) },
            ErrorCode::InvalidRequest,
            "A manual partition assignment was specified, but numPartitions was not set to -1.",
        ),
        (
            ct::CreatableTopic {
                configs: vec![ct::CreatableTopicConfig {
                    name: "retention.ms".into(),
                    value: Some("x".into()),
                    ..Default::default()
                }],
                ..plain("x", 1, 1)
            },
            ErrorCode::InvalidConfig,
            "Invalid value x for configuration retention.ms: Not a number of type LONG",
        ),
        (
            ct::CreatableTopic {
                configs: vec![ct::CreatableTopicConfig {
                    name: "a".into(),
                    value: None,
                    ..Default::default()
                }],
                ..plain("x", 1, 1)
            },
            ErrorCode::InvalidConfig,
            "Null value not supported for topic configs: a",
        ),
    ];
    for (topic, code, text) in cases {
        assert_eq!(w.create(topic), error(code, text));
    }
    assert_eq!(w.image().topics.len(), 1);
}

#[test]
fn a_whole_request_is_refused_or_only_checked() {
    let mut w = World::new(1);
    let (ctx, mut random) = (w.ctx(7), w.random());
    let many = ct::CreateTopicsRequest { topics: vec![plain("a", 10_001, 1)], ..Default::default() };
    let e = w.c.decide_create_topics(&ctx, &many, &mut random).unwrap_err();
    assert_eq!(
        (e.code, e.message),
        error(ErrorCode::PolicyViolation, "Excessively large number of partitions per request.")
    );
    let check = ct::CreateTopicsRequest {
        topics: vec![plain("a", 3, 1), plain("b", 1, 1), plain("b", 2, 1)],
        validate_only: true,
        ..Default::default()
    };
    let d = w.c.decide_create_topics(&ctx, &check, &mut random).unwrap();
    assert!(d.records.is_empty());
    let a = &d.response.topics[0];
    assert_eq!((a.num_partitions, a.replication_factor), (3, 1));
    let configs = a.configs.as_ref().unwrap();
    assert!(configs.iter().any(|c| &*c.name == "retention.ms"
        && c.value.as_deref() == Some("604800000")
        && c.config_source == 5));
    let b = &d.response.topics[1];
    assert_eq!(b.error_message.as_deref(), Some("Duplicate topic name."));
}

#[test]
fn topics_go_by_name_and_by_id() {
    let mut w = World::new(1);
    w.topic("a", 1, 1);
    w.topic("b", 1, 1);
    let b = w.image().topics.id_of("b").unwrap();
    let by = |name: Option<&str>, id| dt::DeleteTopicState {
        name: name.map(Str::from),
        topic_id: id,
        ..Default::default()
    };
    let request = dt::DeleteTopicsRequest {
        topics: vec![
            by(Some("a"), Uuid::ZERO),
            by(None, b),
            by(Some("nope"), Uuid::ZERO),
            by(None, Uuid::from_halves(9, 9)),
            by(None, Uuid::ZERO),
            by(Some("x"), b),
        ],
        ..Default::default()
    };
    let d = w.c.decide_delete_topics(&w.ctx(6), &request).unwrap();
    let mut codes: Vec<(String, ErrorCode, Option<String>)> = d
        .response
        .responses
        .iter()
        .map(|r| {
            (
                r.name.as_deref().unwrap_or("-").to_owned(),
                ErrorCode::from_code(r.error_code),
                r.error_message.as_ref().map(ToString::to_string),
            )
        })
        .collect();
    codes.sort_by(|a, b| (&a.0, &a.2).cmp(&(&b.0, &b.2)));
    let expected: Vec<(String, ErrorCode, Option<String>)> = [
        ("-", ErrorCode::InvalidRequest, Some("Neither topic name nor id were specified.")),
        ("-", ErrorCode::UnknownTopicId, Some("This server does not host this topic ID.")),
        ("a", ErrorCode::None, None),
        ("b", ErrorCode::None, None),
        ("nope", ErrorCode::UnknownTopicOrPartition, Some("This server does not host this topic-partition.")),
        ("x", ErrorCode::InvalidRequest, Some("You may not specify both topic name and topic id.")),
    ]
    .into_iter()
    .map(|(n, c, m)| (n.to_owned(), c, m.map(str::to_owned)))
    .collect();
    assert_eq!(codes, expected);
    w.apply(&d.records);
    assert!(w.image().topics.is_empty());

    let off = World::with("delete.topic.enable=false\n");
    let e = off.c.decide_delete_topics(&off.ctx(6), &request).unwrap_err();
    assert_eq!(e.code, ErrorCode::TopicDeletionDisabled);
}

#[test]
fn partitions_can_be_added() {
    let mut w = World::new(2);
    w.topic("a", 1, 1);
    let add = |w: &mut World, name: &str, count, assignments: Option<Vec<Vec<i32>>>| {
        let request = parts::CreatePartitionsRequest {
            topics: vec![parts::CreatePartitionsTopic {
                name: name.into(),
                count,
                assignments: assignments.map(|a| {
                    a.into_iter()
                        .map(|broker_ids| parts::CreatePartitionsAssignment {
                            broker_ids,
                            ..Default::default()
                        })
                        .collect()
                }),
                ..Default::default()
            }],
            ..Default::default()
        };
        let mut random = w.random();
        let d = w.c.decide_create_partitions(&request, &mut random).unwrap();
        w.apply(&d.records);
        let r = &d.response.results[0];
        (ErrorCode::from_code(r.error_code), r.error_message.as_ref().map(ToString::to_string))
    };
    assert_eq!(add(&mut w, "a", 3, None), (ErrorCode::None, None));
    assert_eq!(add(&mut w, "a", 4, Some(vec![vec![2]])), (ErrorCode::None, None));
    assert_eq!(w.partition("a", 3).replicas, [2]);
    assert_eq!(
        add(&mut w, "a", 4, None),
        error(ErrorCode::InvalidPartitions, "Topic already has 4 partition(s).")
    );
    assert_eq!(
        add(&mut w, "a", 2, None),
        error(
            ErrorCode::InvalidPartitions,
            "The topic a currently has 4 partition(s); 2 would not be an increase."
        )
    );
    assert_eq!(
        add(&mut w, "a", 6, Some(vec![vec![1]])),
        error(
            ErrorCode::InvalidReplicaAssignment,
            "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified."
        )
    );
    assert_eq!(add(&mut w, "nope", 6, None), (ErrorCode::UnknownTopicOrPartition, None));
}

#[test]
fn leaders_change_as_brokers_come_and_go() {
    let mut w = World::new(3);
    w.topic("one", 3, 1);
    w.create(manual("three", &[(0, &[1, 2, 3])]));
    w.silence_all_but(&[2, 3]);
    assert!(w.image().cluster.is_fenced(1));
    let p = w.partition("three", 0);
    assert_eq!((p.leader, &p.isr[..]), (2, &[2, 3][..]));
    let lost = (0..3).find(|id| w.partition("one", *id).replicas == [1]).unwrap();
    let p = w.partition("one", lost);
    assert_eq!(p.leader, NO_LEADER);
    // The only replica has everything: it stays eligible.
    assert_eq!((&p.isr[..], &p.elr[..]), (&[][..], &[1][..]));
    assert_eq!(p.last_known_elr, [1]);
    w.heartbeat(1, |_| {});
    let p = w.partition("one", lost);
    assert_eq!((p.leader, &p.isr[..]), (1, &[1][..]));
    assert!(p.elr.is_empty() && p.last_known_elr.is_empty());
    // Back in the replicas of the other one, but not in sync before its leader says so.
    assert_eq!(w.partition("three", 0).isr, [2, 3]);
}

#[test]
fn a_restart_with_a_new_incarnation() {
    let mut w = World::new(1);
    w.topic("one", 1, 1);
    let old = w.image().cluster.broker_epoch(1).unwrap();
    w.silence_all_but(&[]);
    let ctx = w.ctx(4);
    let mut request = w.registration(1, 2);
    request.previous_broker_epoch = old;
    let d = w.c.decide_broker_registration(&ctx, &request).unwrap();
    w.apply(&d.records);
    assert!(d.response.broker_epoch > old);
    w.heartbeat(1, |_| {});
    let p = w.partition("one", 0);
    assert_eq!((p.leader, &p.isr[..]), (1, &[1][..]));
}

#[test]
fn a_broker_goes_in_an_orderly_way() {
    let mut w = World::new(2);
    w.create(manual("a", &[(0, &[1, 2])]));
    assert_eq!(w.heartbeat(1, |r| r.want_shut_down = true), (false, false));
    assert_eq!(w.partition("a", 0).leader, 2);
    assert!(w.image().cluster.brokers[&1].in_controlled_shutdown);
    // The other broker has to learn of it first.
    let behind = w.offset - 10;
    w.heartbeat(2, |r| r.current_metadata_offset = behind);
    assert_eq!(w.heartbeat(1, |r| r.want_shut_down = true), (false, false));
    w.heartbeat(2, |_| {});
    assert_eq!(w.heartbeat(1, |r| r.want_shut_down = true), (true, true));
    assert!(w.image().cluster.is_fenced(1));
}

#[test]
fn a_leader_changes_its_isr() {
    let mut w = World::new(3);
    w.create(manual("a", &[(0, &[1, 2, 3])]));
    let id = w.image().topics.id_of("a").unwrap();
    let propose = |w: &mut World, broker: i32, isr_: &[i32], epoch: i32| {
        let epochs = |b: i32| w.image().cluster.broker_epoch(b).unwrap_or(7);
        let request = isr::AlterPartitionRequest {
            broker_id: broker,
            broker_epoch: epochs(broker),
            topics: vec![isr::TopicData {
                topic_id: id,
                partitions: vec![isr::PartitionData {
                    partition_index: 0,
                    leader_epoch: 0,
                    partition_epoch: epoch,
                    new_isr_with_epochs: isr_
                        .iter()
                        .map(|b| isr::BrokerState {
                            broker_id: *b,
                            broker_epoch: epochs(*b),
                            ..Default::default()
                        })
                        .collect(),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let d = w.c.decide_alter_partition(&w.ctx(3), &request).unwrap();
        w.apply(&d.records);
        let p = &d.response.topics[0].partitions[0];
        (ErrorCode::from_code(p.error_code), p.isr.clone(), p.partition_epoch)
    };
    assert_eq!(propose(&mut w, 1, &[1, 2], 0), (ErrorCode::None, vec![1, 2], 1));
    assert_eq!(w.partition("a", 0).leader_epoch, 0, "no bump on a shrink");
    let code = |r: (ErrorCode, Vec<i32>, i32)| r.0;
    assert_eq!(code(propose(&mut w, 1, &[1, 2, 3], 0)), ErrorCode::InvalidUpdateVersion);
    assert_eq!(code(propose(&mut w, 2, &[2], 1)), ErrorCode::InvalidRequest);
    assert_eq!(code(propose(&mut w, 1, &[1, 9], 1)), ErrorCode::InvalidRequest);
    assert_eq!(code(propose(&mut w, 1, &[1], 9)), ErrorCode::NotController);
    w.silence_all_but(&[1, 2]);
    assert_eq!(code(propose(&mut w, 1, &[1, 2, 3], 1)), ErrorCode::IneligibleReplica);
}

#[test]
fn elections_on_request() {
    let mut w = World::new(2);
    w.create(manual("a", &[(0, &[1, 2])]));
    let run = |w: &mut World, kind: i8, topic: &str, partition: i32| {
        let request = elect::ElectLeadersRequest {
            election_type: kind,
            topic_partitions: Some(vec![elect::TopicPartitions {
                topic: topic.into(),
                partitions: vec![partition],
                ..Default::default()
            }]),
            ..Default::default()
        };
        let d = w.c.decide_elect_leaders(&request).unwrap();
        w.apply(&d.records);
        let p = &d.response.replica_election_results[0].partition_result[0];
        (ErrorCode::from_code(p.error_code), p.error_message.as_ref().map(ToString::to_string))
    };
    let needless = error(ErrorCode::ElectionNotNeeded, "Leader election not needed for topic partition.");
    assert_eq!(run(&mut w, 0, "a", 0), needless);
    assert_eq!(run(&mut w, 1, "a", 0), needless);
    assert_eq!(run(&mut w, 0, "b", 0), error(ErrorCode::UnknownTopicOrPartition, "No such topic as b"));
    assert_eq!(run(&mut w, 0, "a", 5), error(ErrorCode::UnknownTopicOrPartition, "No such partition as a-5"));
    w.silence_all_but(&[2]);
    assert_eq!(run(&mut w, 0, "a", 0).0, ErrorCode::PreferredLeaderNotAvailable);
    let bad = elect::ElectLeadersRequest { election_type: 7, ..Default::default() };
    assert_eq!(
        w.c.decide_elect_leaders(&bad).unwrap_err().message.as_deref(),
        Some("Unknown election type 7")
    );
}

#[test]
fn reassignments() {
    let mut w = World::new(3);
    w.create(manual("a", &[(0, &[1, 2])]));
    let run = |w: &mut World, topic: &str, replicas: Option<Vec<i32>>, change: bool| {
        let request = reassign::AlterPartitionReassignmentsRequest {
            allow_replication_factor_change: change,
            topics: vec![reassign::ReassignableTopic {
                name: topic.into(),
                partitions: vec![reassign::ReassignablePartition {
                    partition_index: 0,
                    replicas,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let d = w.c.decide_alter_partition_reassignments(&request).unwrap();
        w.apply(&d.records);
        let p = &d.response.responses[0].partitions[0];
        (ErrorCode::from_code(p.error_code), p.error_message.as_ref().map(ToString::to_string))
    };
    assert_eq!(
        run(&mut w, "nope", None, true),
        error(ErrorCode::UnknownTopicOrPartition, "Unable to find a topic named nope.")
    );
    assert_eq!(
        run(&mut w, "a", None, true),
        error(ErrorCode::NoReassignmentInProgress, "No partition reassignment is in progress.")
    );
    assert_eq!(
        run(&mut w, "a", Some(vec![1]), false),
        error(ErrorCode::InvalidReplicationFactor, "The replication factor is changed from 2 to 1")
    );
    let list = |w: &World| {
        w.c.list_partition_reassignments(&ListPartitionReassignmentsRequest::default()).topics.len()
    };
    assert_eq!(list(&w), 0);
    assert_eq!(run(&mut w, "a", Some(vec![3, 2]), false), (ErrorCode::None, None));
    let p = w.partition("a", 0);
    assert_eq!(p.replicas, [3, 2, 1]);
    assert_eq!((&p.adding_replicas[..], &p.removing_replicas[..]), (&[3][..], &[1][..]));
    assert_eq!(list(&w), 1);
    assert_eq!(run(&mut w, "a", None, true), (ErrorCode::None, None));
    assert_eq!(w.partition("a", 0).replicas, [2, 1]);
    assert_eq!(list(&w), 0);
}

#[test]
fn configurations() {
    let mut w = World::new(1);
    w.topic("a", 1, 1);
    use ResourceKind as K;
    let ok = (ErrorCode::None, None);
    assert_eq!(w.alter(K::TOPIC, "a", &[("retention.ms", 0, Some("5"))]), ok);
    assert_eq!(w.alter(K::TOPIC, "a", &[("cleanup.policy", 2, Some("compact"))]), ok);
    let get = |w: &World, key: &str| {
        let r = ConfigResource::topic("a");
        w.image().configs.value(&r, key).map(ToString::to_string)
    };
    assert_eq!(get(&w, "cleanup.policy").as_deref(), Some("delete,compact"));
    assert_eq!(w.alter(K::TOPIC, "a", &[("cleanup.policy", 3, Some("delete"))]), ok);
    assert_eq!(get(&w, "cleanup.policy").as_deref(), Some("compact"));
    assert_eq!(w.alter(K::TOPIC, "a", &[("retention.ms", 1, None)]), ok);
    assert_eq!(get(&w, "retention.ms"), None);
    let cases: &[(K, &str, &str, i8, &str, ErrorCode, &str)] = &[
        (
            K::TOPIC,
            "a",
            "retention.ms",
            0,
            "x",
            ErrorCode::InvalidConfig,
            "Invalid value x for configuration retention.ms: Not a number of type LONG",
        ),
        (K::TOPIC, "a", "nope", 0, "x", ErrorCode::InvalidConfig, "Unknown topic config name: nope"),
        (
            K::TOPIC,
            "a",
            "retention.ms",
            2,
            "5",
            ErrorCode::InvalidConfig,
            "Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (
            K::TOPIC,
            "b",
            "retention.ms",
            0,
            "5",
            ErrorCode::UnknownTopicOrPartition,
            "The topic 'b' does not exist.",
        ),
        (
            K::TOPIC,
            "",
            "retention.ms",
            0,
            "5",
            ErrorCode::InvalidRequest,
            "Default topic resources are not allowed.",
        ),
        (
            K::BROKER,
            "x",
            "num.io.threads",
            0,
            "5",
            ErrorCode::InvalidRequest,
            "Unable to parse broker name as a base 10 number.",
        ),
        (
            K::BROKER,
            "1",
            "min.insync.replicas",
            0,
            "5",
            ErrorCode::InvalidConfig,
            "Broker-level min.insync.replicas cannot be altered while ELR is enabled.",
        ),
        (
            K::GROUP,
            "g",
            "consumer.session.timeout.ms",
            0,
            "1",
            ErrorCode::InvalidConfig,
            "consumer.session.timeout.ms must be in the range 45000 to 60000 inclusive.",
        ),
        (K::GROUP, "g", "nope", 0, "1", ErrorCode::InvalidConfig, "Unknown group config name: nope"),
        (
            K::CLIENT_METRICS,
            "s",
            "nope",
            0,
            "1",
            ErrorCode::InvalidRequest,
            "Unknown client metrics configuration: nope",
        ),
        (K(99), "s", "nope", 0, "1", ErrorCode::UnsupportedVersion, "Unknown resource type 99."),
    ];
    for (kind, resource, key, op, value, code, text) in cases {
        let got = w.alter(*kind, resource, &[(key, *op, Some(value))]);
        assert_eq!(got, error(*code, text), "{kind:?} {resource} {key}");
    }
    // A new minimum makes what was eligible before meaningless.
    let before = w.offset;
    assert_eq!(w.alter(K::TOPIC, "a", &[("min.insync.replicas", 0, Some("2"))]), ok);
    assert_eq!(w.offset - before, 2);
}

#[test]
fn feature_levels() {
    let mut w = World::new(1);
    w.c.decide_controller_registration(&ControllerRegistrationRequest::default()).unwrap();
    let update = |w: &mut World, name: &str, level: i16, kind: i8| {
        let request = feat::UpdateFeaturesRequest {
            feature_updates: vec![feat::FeatureUpdateKey {
                feature: name.into(),
                max_version_level: level,
                upgrade_type: kind,
                ..Default::default()
            }],
            ..Default::default()
        };
        let d =
            w.c.decide_update_features(&w.ctx(1), &request, KRaftVersion { level: 0, can_upgrade: false })
                .unwrap();
        w.apply(&d.records);
        (ErrorCode::from_code(d.response.error_code), d.response.error_message.map(|m| m.to_string()))
    };
    assert_eq!(update(&mut w, "group.version", 0, 2), (ErrorCode::None, None));
    assert_eq!(w.image().features.level("group.version"), 0);
    assert_eq!(update(&mut w, "group.version", 1, 1), (ErrorCode::None, None));
    let failed = |text: &str| {
        error(
            ErrorCode::InvalidUpdateVersion,
            &format!("The update failed for all features since the following feature had an error: {text}"),
        )
    };
    assert_eq!(
        update(&mut w, "group.version", 0, 1),
        failed(
            "Invalid update version 0 for feature group.version. Can't downgrade the version of this feature \
             without setting the upgrade type to either safe or unsafe downgrade."
        )
    );
    assert_eq!(
        update(&mut w, "group.version", 9, 1),
        failed(
            "Invalid update version 9 for feature group.version. Local controller 1 only supports versions \
             0-1"
        )
    );
    assert_eq!(
        update(&mut w, "nope", 1, 1),
        failed(
            "Invalid update version 1 for feature nope. Local controller 1 does not support this feature."
        )
    );
    assert_eq!(
        update(&mut w, METADATA_VERSION, 30, 2),
        failed(
            "Unsupported metadata.version downgrade from 33 to 30. Refusing to perform the requested \
             downgrade because it might delete metadata information."
        )
    );
}

#[test]
fn producer_ids_come_in_blocks() {
    let mut w = World::new(1);
    let epoch = w.image().cluster.broker_epoch(1).unwrap();
    let next = |w: &mut World| {
        let request = AllocateProducerIdsRequest { broker_id: 1, broker_epoch: epoch, ..Default::default() };
        let d = w.c.decide_allocate_producer_ids(&request).unwrap();
        w.apply(&d.records);
        (d.response.producer_id_start, d.response.producer_id_len)
    };
    assert_eq!(next(&mut w), (0, 1000));
    assert_eq!(next(&mut w), (1000, 1000));
}

#[test]
fn client_quotas() {
    let mut w = World::new(1);
    let set = |w: &mut World, entity: &[(&str, Option<&str>)], key: &str, value: Option<f64>| {
        let request = quotas::AlterClientQuotasRequest {
            entries: vec![quotas::EntryData {
                entity: entity
                    .iter()
                    .map(|(t, n)| quotas::EntityData {
                        entity_type: (*t).into(),
                        entity_name: n.map(Str::from),
                        ..Default::default()
                    })
                    .collect(),
                ops: vec![quotas::OpData {
                    key: key.into(),
                    value: value.unwrap_or(0.0),
                    remove: value.is_none(),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let d = w.c.decide_alter_client_quotas(&request).unwrap();
        w.apply(&d.records);
        let e = &d.response.entries[0];
        (ErrorCode::from_code(e.error_code), e.error_message.as_ref().map(ToString::to_string))
    };
    let user = [("user", Some("a"))];
    let ok = (ErrorCode::None, None);
    assert_eq!(set(&mut w, &user, "producer_byte_rate", Some(5.0)), ok);
    assert_eq!(w.image().client_quotas.entities.len(), 1);
    assert_eq!(set(&mut w, &user, "producer_byte_rate", None), ok);
    assert!(w.image().client_quotas.entities.is_empty());
    let bad = |text: &str| error(ErrorCode::InvalidRequest, text);
    assert_eq!(set(&mut w, &user, "nope", Some(1.0)), bad("Invalid configuration key nope"));
    assert_eq!(
        set(&mut w, &user, "producer_byte_rate", Some(1.5)),
        bad("producer_byte_rate cannot be a fractional value.")
    );
    assert_eq!(
        set(&mut w, &user, "producer_byte_rate", Some(-1.0)),
        bad("Quota producer_byte_rate must be greater than 0")
    );
    assert_eq!(set(&mut w, &[], "x", Some(1.0)), bad("Invalid empty client quota entity"));
    assert_eq!(
        set(&mut w, &[("planet", None)], "x", Some(1.0)),
        bad("Unhandled client quota entity type: planet")
    );
    assert_eq!(set(&mut w, &[("user", Some(""))], "x", Some(1.0)), bad("Empty user not supported"));
    assert_eq!(set(&mut w, &[("ip", None)], "connection_creation_rate", Some(7.0)), ok);
}

#[test]
fn scram_credentials() {
    let mut w = World::new(1);
    let upsert = |name: &str, mechanism, iterations| scram_req::ScramCredentialUpsertion {
        name: name.into(),
        mechanism,
        iterations,
        salt: bytes::Bytes::from_static(b"salt"),
        salted_password: bytes::Bytes::from_static(b"salted"),
        ..Default::default()
    };
    let delete = |name: &str| scram_req::ScramCredentialDeletion {
        name: name.into(),
        mechanism: 1,
        ..Default::default()
    };
    let run = |w: &mut World, deletions, upsertions| {
        let request =
            scram_req::AlterUserScramCredentialsRequest { deletions, upsertions, ..Default::default() };
        let d = w.c.decide_alter_user_scram_credentials(&request);
        w.apply(&d.records);
        let r = &d.response.results[0];
        (ErrorCode::from_code(r.error_code), r.error_message.as_ref().map(ToString::to_string))
    };
    let ok = (ErrorCode::None, None);
    assert_eq!(run(&mut w, vec![], vec![upsert("a", 1, 4096)]), ok);
    assert_eq!(
        run(&mut w, vec![], vec![upsert("a", 1, 100)]),
        error(ErrorCode::UnacceptableCredential, "Too few iterations")
    );
    assert_eq!(
        run(&mut w, vec![], vec![upsert("a", 9, 4096)]),
        error(ErrorCode::UnsupportedSaslMechanism, "Unknown SCRAM mechanism")
    );
    assert_eq!(
        run(&mut w, vec![], vec![upsert("", 1, 4096)]),
        error(ErrorCode::UnacceptableCredential, "Username must not be empty")
    );
    assert_eq!(
        run(&mut w, vec![delete("b")], vec![]),
        error(ErrorCode::ResourceNotFound, "Attempt to delete a user credential that does not exist")
    );
    assert_eq!(
        run(&mut w, vec![delete("a")], vec![upsert("a", 1, 4096)]),
        error(ErrorCode::DuplicateResource, "A user credential cannot be altered twice in the same request")
    );
    assert_eq!(run(&mut w, vec![delete("a")], vec![]), ok);
    assert!(w.image().scram.credentials.is_empty());
}

#[test]
fn what_is_switched_off_says_so() {
    let mut w = World::new(1);
    let mut random = w.random();
    let e = w.c.decide_create_acls(&CreateAclsRequest::default(), &mut random).unwrap_err();
    assert_eq!((e.code, e.message), error(ErrorCode::SecurityDisabled, "No Authorizer is configured."));
    let d = w.c.decide_create_delegation_token(&w.ctx(3), &Default::default());
    assert_eq!(ErrorCode::from_code(d.response.error_code), ErrorCode::DelegationTokenAuthDisabled);
    assert_eq!(d.response.principal_name, "ANONYMOUS");
}

#[test]
fn directories_of_replicas() {
    let mut w = World::new(1);
    w.topic("a", 1, 1);
    let id = w.image().topics.id_of("a").unwrap();
    let epoch = w.image().cluster.broker_epoch(1).unwrap();
    let other = dir(1, 77);
    let request = dirs::AssignReplicasToDirsRequest {
        broker_id: 1,
        broker_epoch: epoch,
        directories: vec![dirs::DirectoryData {
            id: other,
            topics: vec![dirs::TopicData {
                topic_id: id,
                partitions: vec![
                    dirs::PartitionData::default(),
                    dirs::PartitionData { partition_index: 9, ..Default::default() },
                ],
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let d = w.c.decide_assign_replicas_to_dirs(&request).unwrap();
    w.apply(&d.records);
    assert_eq!(w.partition("a", 0).directories, [other]);
    let codes: Vec<i16> =
        d.response.directories[0].topics[0].partitions.iter().map(|p| p.error_code).collect();
    assert_eq!(codes, [0, ErrorCode::UnknownTopicOrPartition.code()]);
}

#[test]
fn a_broker_is_forgotten() {
    let mut w = World::new(2);
    w.create(manual("a", &[(0, &[1, 2])]));
    w.silence_all_but(&[2]);
    let e = w.c.decide_unregister_broker(9).unwrap_err();
    assert_eq!(
        (e.code, e.message),
        error(ErrorCode::BrokerIdNotRegistered, "Broker ID 9 is not currently registered")
    );
    let d = w.c.decide_unregister_broker(1).unwrap();
    w.apply(&d.records);
    assert!(!w.image().cluster.brokers.contains_key(&1));
    assert_eq!(w.partition("a", 0).leader, 2);
    let e = w.c.decide_unregister_controller(9).unwrap_err();
    assert_eq!(
        (e.code, e.message),
        error(ErrorCode::ControllerIdNotRegistered, "Controller ID 9 is not currently registered.")
    );
}

#[test]
fn an_idle_controller_writes_a_no_op_now_and_then() {
    let mut w = World::new(1);
    w.now_ms = 2_000;
    let ctx = w.ctx(0);
    assert_eq!(w.c.on_time(&ctx).len(), 1);
    assert!(w.c.on_time(&ctx).is_empty());
    assert!(w.c.next_deadline_ms() <= 2_500);
}

#[test]
fn the_first_records_are_kafkas() {
    let plan = FormatPlan::new(FormatRequest::default()).unwrap();
    let config = config("");
    let names = |b: &ImageBuilder| -> Vec<&'static str> {
        activation_records(b, &plan.records, &config).iter().map(|r| r.record.name()).collect()
    };
    let mut b = ImageBuilder::default();
    let first = names(&b);
    assert_eq!(first.len(), 9);
    assert_eq!(first[0], "BeginTransactionRecord");
    assert_eq!(first[7], "ConfigRecord");
    assert_eq!(first[8], "EndTransactionRecord");
    // Half of them, then a crash: the rest of the transaction is given up.
    for r in activation_records(&b, &plan.records, &config).iter().take(3) {
        b.replay(&r.record).unwrap();
    }
    assert_eq!(names(&b)[..2], ["AbortTransactionRecord", "BeginTransactionRecord"]);
    let w = World::with("");
    let done = ImageBuilder::new(w.image().clone());
    assert!(names(&done).is_empty());
}
