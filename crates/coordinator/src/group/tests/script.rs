//! The script runner.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::{BufMut, Bytes, BytesMut};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_group_heartbeat_request::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};
use ottla_protocol::messages::consumer_protocol_subscription::{
    ConsumerProtocolSubscription, TopicPartition,
};
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_protocol::types::{Str, Uuid};
use ottla_protocol::wire::{Message, Writer};

use crate::context::{Env, ReplyToken, RequestContext};
use crate::group::classic::ClassicState;
use crate::group::{Group, GroupConfig, GroupOutcome, GroupRequest, GroupShard};
use crate::topics::{TopicChanges, TopicsView};

pub(super) const UUID_PREFIX: &str = "00000000-0000-0000-0000-00000000000";

#[derive(Debug, Clone, Default)]
pub(super) struct TestTopics {
    pub(super) version: i64,
    pub(super) topics: BTreeMap<Str, (Uuid, i32)>,
}

impl TestTopics {
    pub(super) fn add(&mut self, name: &str, partitions: i32) {
        self.version += 1;
        let number = self.topics.len() as u64 + 1;
        self.topics.insert(Str::from(name), (Uuid::from_halves(7, number), partitions));
    }
}

impl TopicsView for TestTopics {
    fn version(&self) -> i64 {
        self.version
    }
    fn topic_id(&self, name: &str) -> Option<Uuid> {
        self.topics.get(name).map(|topic| topic.0)
    }
    fn topic_name(&self, id: Uuid) -> Option<Str> {
        self.topics.iter().find(|(_, topic)| topic.0 == id).map(|(name, _)| name.clone())
    }
    fn partition_count(&self, id: Uuid) -> Option<i32> {
        self.topics.values().find(|topic| topic.0 == id).map(|topic| topic.1)
    }
    fn partition_racks(&self, _: Uuid, _: i32) -> Vec<Str> {
        Vec::new()
    }
    fn for_each_name(&self, visit: &mut dyn FnMut(&str)) {
        self.topics.keys().for_each(|name| visit(name));
    }
}

enum LogEntry {
    Record(Bytes, Option<Bytes>, Option<i64>),
    Marker(i64, bool),
}

/// A shard, its log, and a world.
pub(super) struct World {
    pub(super) shard: GroupShard,
    pub(super) topics: TestTopics,
    pub(super) now_ms: i64,
    log: Vec<LogEntry>,
    uuids: u64,
    tokens: u64,
    /// What a token was for.
    pub(super) names: BTreeMap<u64, String>,
    pub(super) transcript: String,
}

impl World {
    pub(super) fn new(config: GroupConfig) -> World {
        let mut topics = TestTopics::default();
        topics.add("t1", 3);
        topics.add("t2", 2);
        let mut world = World {
            shard: GroupShard::new(config),
            topics,
            now_ms: 0,
            log: Vec::new(),
            uuids: 0,
            tokens: 0,
            names: BTreeMap::new(),
            transcript: String::new(),
        };
        world.step(|shard, env| shard.on_loaded(env));
        world
    }

    pub(super) fn step(
        &mut self,
        decide: impl FnOnce(&mut GroupShard, &mut Env<'_>) -> GroupOutcome,
    ) -> GroupOutcome {
        let mut uuids = self.uuids;
        let mut new_uuid = || {
            uuids += 1;
            Uuid::from_halves(0, uuids)
        };
        let mut env = Env { now_ms: self.now_ms, topics: &self.topics, new_uuid: &mut new_uuid };
        let outcome = decide(&mut self.shard, &mut env);
        self.uuids = uuids;
        for record in &outcome.records {
            let producer_id = outcome.producer.map(|producer| producer.producer_id);
            self.log.push(LogEntry::Record(record.key_bytes(), record.value_bytes(), producer_id));
        }
        self.shard.apply(&outcome);
        self.render(&outcome);
        self.check_reload();
        self.check_single_owner();
        outcome
    }

    pub(super) fn request(&mut self, name: &str, request: GroupRequest, api_version: i16) -> GroupOutcome {
        self.tokens += 1;
        self.names.insert(self.tokens, name.to_owned());
        let ctx = RequestContext {
            client_id: Str::from("c"),
            client_host: Str::from("/127.0.0.1"),
            api_version,
            topic_filter: None,
        };
        let token = ReplyToken(self.tokens);
        self.step(|shard, env| shard.handle(request, token, &ctx, env))
    }

    pub(super) fn marker(&mut self, producer_id: i64, commit: bool) {
        self.log.push(LogEntry::Marker(producer_id, commit));
        self.shard.replay_end_txn_marker(producer_id, commit);
        self.check_reload();
    }

    /// Lets time pass, handling what is due on the way.
    pub(super) fn advance(&mut self, by_ms: i64) {
        let until_ms = self.now_ms + by_ms;
        while let Some(deadline_ms) = self.shard.next_deadline_ms().filter(|at| *at <= until_ms) {
            self.now_ms = self.now_ms.max(deadline_ms);
            self.step(GroupShard::on_time);
        }
        self.now_ms = until_ms;
    }

    pub(super) fn reloaded(&self) -> GroupShard {
        let mut loaded = GroupShard::new(self.shard.config.clone());
        for entry in &self.log {
            match entry {
                LogEntry::Record(key, value, producer_id) => {
                    loaded.replay(key, value.as_deref(), *producer_id).expect("its own log loads");
                }
                LogEntry::Marker(producer_id, commit) => loaded.replay_end_txn_marker(*producer_id, *commit),
            }
        }
        loaded
    }

    /// Keys and values of the log.
    pub(super) fn log_bytes(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.log
            .iter()
            .filter_map(|entry| match entry {
                LogEntry::Record(key, value, _) => {
                    Some((key.to_vec(), value.as_deref().unwrap_or_default().to_vec()))
                }
                LogEntry::Marker(..) => None,
            })
            .collect()
    }

    /// Replaces the shard by one loaded from the log, as after a move of leadership.
    pub(super) fn reload(&mut self) {
        let waiting = self.shard.fail_all(ErrorCode::NotCoordinator);
        let outcome = GroupOutcome { replies: waiting, ..Default::default() };
        self.render(&outcome);
        self.shard = self.reloaded();
        self.step(|shard, env| shard.on_loaded(env));
    }

    fn check_reload(&self) {
        let loaded = self.reloaded();
        assert_eq!(loaded.offsets.normalized(), self.shard.offsets.normalized(), "offsets after a reload");
        assert_eq!(loaded.groups_by_topic, self.shard.groups_by_topic, "groups by topic after a reload");
        for (id, group) in &self.shard.groups {
            match (group, loaded.groups.get(id)) {
                (Group::Consumer(live), Some(Group::Consumer(loaded))) => {
                    assert_eq!(loaded.normalized(), live.normalized(), "{id} after a reload");
                }
                (Group::Classic(live), Some(Group::Classic(loaded))) => {
                    // Between generations the log has the last one.
                    if live.state == ClassicState::Stable {
                        assert_eq!(loaded.generation_id, live.generation_id);
                        assert_eq!(loaded.leader_id, live.leader_id);
                        assert_eq!(loaded.member_ids(), live.member_ids());
                        for (member_id, member) in live.members() {
                            let loaded = loaded.member(member_id).unwrap();
                            assert_eq!(loaded.assignment, member.assignment);
                            assert_eq!(loaded.instance_id, member.instance_id);
                        }
                    }
                }
                (live, loaded) => panic!("{id}: {live:?} became {loaded:?} after a reload"),
            }
        }
        assert_eq!(loaded.groups.len(), self.shard.groups.len(), "groups after a reload");
    }

    /// A partition of a consumer group is held by one member at most.
    fn check_single_owner(&self) {
        for group in self.shard.groups.values() {
            let Group::Consumer(group) = group else { continue };
            let mut owners = BTreeMap::new();
            for (member_id, member) in group.members() {
                for (topic_id, partitions) in member.assigned.iter().chain(&member.pending_revocation) {
                    for partition in partitions.keys() {
                        let other = owners.insert((*topic_id, *partition), member_id);
                        assert_eq!(other, None, "{topic_id}-{partition} has two owners");
                    }
                }
            }
        }
    }

    /// Runs a script; lines are `command key=value ...`.
    pub(super) fn run(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            writeln!(self.transcript, "> {line}").unwrap();
            // `#1` is the first UUID handed out, in Java's form.
            let line = line.replace('#', UUID_PREFIX);
            let mut words = line.split(' ').filter(|word| !word.is_empty());
            let command = words.next().unwrap();
            let arguments = Arguments::parse(words);
            self.command(command, &arguments);
        }
    }

    fn command(&mut self, command: &str, arguments: &Arguments) {
        let group_id = arguments.str("g").unwrap_or_else(|| Str::from("g"));
        let name = arguments.positional.first().cloned().unwrap_or_else(|| command.to_owned());
        match command {
            "wait" => self.advance(name.parse().unwrap()),
            "reload" => self.reload(),
            "topic" => {
                let partitions = arguments.int("partitions", 1) as i32;
                match self.topics.topics.get_mut(name.as_str()) {
                    Some(topic) => {
                        topic.1 = partitions;
                        self.topics.version += 1;
                    }
                    None => self.topics.add(&name, partitions),
                }
                let changes =
                    TopicChanges { created: true, changed: vec![Str::from(&name)], deleted: Vec::new() };
                let topics = self.topics.clone();
                self.step(|shard, _| shard.on_metadata_update(&changes, &topics));
            }
            "drop" => {
                let (id, _) = self.topics.topics.remove(name.as_str()).unwrap();
                self.topics.version += 1;
                let changes = TopicChanges {
                    created: false,
                    changed: Vec::new(),
                    deleted: vec![(Str::from(&name), id)],
                };
                let topics = self.topics.clone();
                self.step(|shard, _| shard.on_metadata_update(&changes, &topics));
            }
            "marker" => self.marker(arguments.int("pid", 1), name == "commit"),
            _ => {
                let (request, version) = self.build(command, group_id, arguments);
                self.request(&name, request, arguments.int("v", version) as i16);
            }
        }
    }

    /// The request of a command and the version it comes in by default.
    fn build(&self, command: &str, group_id: Str, arguments: &Arguments) -> (GroupRequest, i64) {
        let member_id = arguments.str("member").unwrap_or_default();
        let instance_id = arguments.str("instance");
        match command {
            "join" => (
                GroupRequest::JoinGroup(JoinGroupRequest {
                    group_id,
                    session_timeout_ms: arguments.int("session", 10_000) as i32,
                    rebalance_timeout_ms: arguments.int("rebalance", 20_000) as i32,
                    member_id,
                    group_instance_id: instance_id,
                    protocol_type: arguments.str("type").unwrap_or_else(|| Str::from("consumer")),
                    protocols: arguments
                        .str("protocols")
                        .unwrap_or_else(|| Str::from("range"))
                        .split(',')
                        .map(|name| JoinGroupRequestProtocol {
                            name: Str::from(name),
                            metadata: subscription(&arguments.list("topics"), &arguments.partitions("owned")),
                            ..Default::default()
                        })
                        .collect(),
                    ..Default::default()
                }),
                9,
            ),
            "sync" => (
                GroupRequest::SyncGroup(SyncGroupRequest {
                    group_id,
                    generation_id: arguments.int("gen", 1) as i32,
                    member_id,
                    group_instance_id: instance_id,
                    protocol_type: arguments.str("type"),
                    protocol_name: arguments.str("protocol"),
                    assignments: arguments
                        .list("assign")
                        .iter()
                        .map(|entry| {
                            let (member, bytes) = entry.split_once(':').unwrap();
                            SyncGroupRequestAssignment {
                                member_id: Str::from(member),
                                assignment: Bytes::copy_from_slice(bytes.as_bytes()),
                                ..Default::default()
                            }
                        })
                        .collect(),
                    ..Default::default()
                }),
                4,
            ),
            "heartbeat" => (
                GroupRequest::Heartbeat(HeartbeatRequest {
                    group_id,
                    generation_id: arguments.int("gen", 1) as i32,
                    member_id,
                    group_instance_id: instance_id,
                    ..Default::default()
                }),
                4,
            ),
            "leave" => {
                let mut members: Vec<MemberIdentity> = arguments
                    .list("members")
                    .into_iter()
                    .map(|member_id| MemberIdentity { member_id, ..Default::default() })
                    .collect();
                members.extend(arguments.list("instances").into_iter().map(|instance_id| MemberIdentity {
                    group_instance_id: Some(instance_id),
                    ..Default::default()
                }));
                (
                    GroupRequest::LeaveGroup(LeaveGroupRequest {
                        group_id,
                        member_id,
                        members,
                        ..Default::default()
                    }),
                    5,
                )
            }
            "beat" => (
                GroupRequest::ConsumerGroupHeartbeat(ConsumerGroupHeartbeatRequest {
                    group_id,
                    member_id,
                    member_epoch: arguments.int("epoch", 0) as i32,
                    instance_id,
                    rack_id: arguments.str("rack"),
                    rebalance_timeout_ms: if arguments.has("topics") || arguments.has("regex") {
                        arguments.int("rebalance", 30_000) as i32
                    } else {
                        -1
                    },
                    subscribed_topic_names: arguments.has("topics").then(|| arguments.list("topics")),
                    subscribed_topic_regex: arguments.str("regex"),
                    server_assignor: arguments.str("assignor"),
                    topic_partitions: (arguments.has("owned") || arguments.int("epoch", 0) == 0)
                        .then(|| self.owned(&arguments.partitions("owned"))),
                    ..Default::default()
                }),
                1,
            ),
            "commit" => {
                let partitions = arguments.partitions("offsets");
                let commit = OffsetCommitRequest {
                    group_id,
                    generation_id_or_member_epoch: arguments.int("gen", -1) as i32,
                    member_id,
                    group_instance_id: instance_id,
                    retention_time_ms: arguments.int("retention", -1),
                    topics: partitions
                        .into_iter()
                        .map(|(topic, partitions)| OffsetCommitRequestTopic {
                            topic_id: self.topics.topic_id(&topic).unwrap_or_default(),
                            name: topic,
                            partitions: partitions
                                .into_iter()
                                .map(|partition| OffsetCommitRequestPartition {
                                    partition_index: partition,
                                    committed_offset: arguments.int("at", 10),
                                    committed_metadata: arguments.str("meta"),
                                    ..Default::default()
                                })
                                .collect(),
                            ..Default::default()
                        })
                        .collect(),
                    ..Default::default()
                };
                (GroupRequest::OffsetCommit(commit), 9)
            }
            "txncommit" => {
                let partitions = arguments.partitions("offsets");
                let commit = TxnOffsetCommitRequest {
                    group_id,
                    producer_id: arguments.int("pid", 1),
                    generation_id_or_member_epoch: arguments.int("gen", -1) as i32,
                    member_id,
                    topics: partitions
                        .into_iter()
                        .map(|(topic, partitions)| TxnOffsetCommitRequestTopic {
                            name: topic,
                            partitions: partitions
                                .into_iter()
                                .map(|partition| TxnOffsetCommitRequestPartition {
                                    partition_index: partition,
                                    committed_offset: arguments.int("at", 10),
                                    ..Default::default()
                                })
                                .collect(),
                            ..Default::default()
                        })
                        .collect(),
                    ..Default::default()
                };
                (GroupRequest::TxnOffsetCommit(commit), 5)
            }
            "fetch" => {
                let topics = arguments.has("offsets").then(|| {
                    arguments
                        .partitions("offsets")
                        .into_iter()
                        .map(|(name, partition_indexes)| OffsetFetchRequestTopics {
                            name,
                            partition_indexes,
                            ..Default::default()
                        })
                        .collect()
                });
                let group = OffsetFetchRequestGroup {
                    group_id,
                    member_id: arguments.str("member"),
                    member_epoch: arguments.int("epoch", -1) as i32,
                    topics,
                    ..Default::default()
                };
                (GroupRequest::OffsetFetch { group, require_stable: arguments.has("stable") }, 9)
            }
            "deloffsets" => {
                let request = OffsetDeleteRequest {
                    group_id,
                    topics: arguments
                        .partitions("offsets")
                        .into_iter()
                        .map(|(name, partitions)| OffsetDeleteRequestTopic {
                            name,
                            partitions: partitions
                                .into_iter()
                                .map(|partition_index| OffsetDeleteRequestPartition {
                                    partition_index,
                                    ..Default::default()
                                })
                                .collect(),
                            ..Default::default()
                        })
                        .collect(),
                    ..Default::default()
                };
                (GroupRequest::OffsetDelete(request), 0)
            }
            "list" => (
                GroupRequest::ListGroups {
                    states_filter: arguments.list("states"),
                    types_filter: arguments.list("types"),
                },
                5,
            ),
            "describe" => (GroupRequest::DescribeGroups { group_ids: vec![group_id] }, 6),
            "describe848" => (GroupRequest::ConsumerGroupDescribe { group_ids: vec![group_id] }, 1),
            "delete" => (GroupRequest::DeleteGroups { group_ids: vec![group_id] }, 2),
            other => panic!("no command {other}"),
        }
    }

    pub(super) fn owned(&self, partitions: &BTreeMap<Str, Vec<i32>>) -> Vec<TopicPartitions> {
        partitions
            .iter()
            .map(|(topic, partitions)| TopicPartitions {
                topic_id: self.topics.topic_id(topic).unwrap_or_default(),
                partitions: partitions.clone(),
                ..Default::default()
            })
            .collect()
    }
}

/// A subscription as a classic member sends it.
pub(super) fn subscription(topics: &[Str], owned: &BTreeMap<Str, Vec<i32>>) -> Bytes {
    let message = ConsumerProtocolSubscription {
        topics: topics.to_vec(),
        owned_partitions: owned
            .iter()
            .map(|(topic, partitions)| TopicPartition {
                topic: topic.clone(),
                partitions: partitions.clone(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let mut buffer = BytesMut::new();
    buffer.put_i16(3);
    let mut writer = Writer::from_buf(buffer);
    message.encode(&mut writer, 3).unwrap();
    writer.into_bytes()
}

struct Arguments {
    positional: Vec<String>,
    named: BTreeMap<String, String>,
}

impl Arguments {
    fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Arguments {
        let mut arguments = Arguments { positional: Vec::new(), named: BTreeMap::new() };
        for word in words {
            match word.split_once('=') {
                Some((key, value)) => {
                    arguments.named.insert(key.to_owned(), value.to_owned());
                }
                None => arguments.positional.push(word.to_owned()),
            }
        }
        arguments
    }

    fn has(&self, key: &str) -> bool {
        self.named.contains_key(key) || self.positional.iter().any(|word| word == key)
    }

    fn str(&self, key: &str) -> Option<Str> {
        self.named.get(key).map(Str::from)
    }

    fn int(&self, key: &str, default: i64) -> i64 {
        self.named.get(key).map_or(default, |value| value.parse().unwrap())
    }

    fn list(&self, key: &str) -> Vec<Str> {
        match self.named.get(key) {
            Some(value) if !value.is_empty() => value.split(',').map(Str::from).collect(),
            _ => Vec::new(),
        }
    }

    /// `t1:0+2,t2:1`
    fn partitions(&self, key: &str) -> BTreeMap<Str, Vec<i32>> {
        self.list(key)
            .iter()
            .map(|entry| {
                let (topic, numbers) = entry.split_once(':').unwrap();
                (Str::from(topic), numbers.split('+').map(|number| number.parse().unwrap()).collect())
            })
            .collect()
    }
}

/// Runs a script in a fresh world and compares everything that came out.
pub(super) fn check(script: &str, expected: &expect_test::Expect) {
    check_with(GroupConfig::kafka_defaults(), script, expected);
}

pub(super) fn check_with(config: GroupConfig, script: &str, expected: &expect_test::Expect) {
    let mut world = World::new(config);
    world.run(script);
    expected.assert_eq(&world.transcript.replace(UUID_PREFIX, "#"));
}
