//! Logs of real Kafka 4.4 brokers, replayed up to the high watermark at which a client asked the broker what was in
//! them: the shards must answer the same. `tests/data/*.expect` is what that client saw.

mod common;

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::Bytes;
use common::FixedTopics;
use ottla_coordinator::group::{GroupConfig, GroupRequest, GroupResponse, GroupShard};
use ottla_coordinator::transaction::{
    ProducerIdSource, TxnConfig, TxnEnv, TxnRequest, TxnResponse, TxnShard,
};
use ottla_coordinator::{Env, ReplyToken, RequestContext};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_protocol_assignment::ConsumerProtocolAssignment;
use ottla_protocol::messages::list_transactions_request::ListTransactionsRequest;
use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ottla_protocol::records::control::EndTxnMarker;
use ottla_protocol::records::{BatchIter, Scratch};
use ottla_protocol::types::{Str, Uuid};
use ottla_protocol::wire::{Message, Reader};

fn data(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Everything a log holds below an offset, in order.
enum Entry {
    Record { key: Vec<u8>, value: Option<Vec<u8>>, producer_id: Option<i64> },
    EndTxn { producer_id: i64, commit: bool },
}

fn read_log(bytes: &[u8], end_offset: i64) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut scratch = Scratch::default();
    for batch in BatchIter::new(bytes) {
        let batch = batch.unwrap();
        batch.ensure_valid().unwrap();
        let header = *batch.header();
        for record in batch.records(&mut scratch).unwrap() {
            let record = record.unwrap();
            if record.offset >= end_offset {
                return entries;
            }
            if header.is_control() {
                if let Some(marker) = EndTxnMarker::parse(&record).unwrap() {
                    entries.push(Entry::EndTxn { producer_id: header.producer_id, commit: marker.commit });
                }
                continue;
            }
            entries.push(Entry::Record {
                key: record.key.unwrap().to_vec(),
                value: record.value.map(<[u8]>::to_vec),
                producer_id: header.is_transactional().then_some(header.producer_id),
            });
        }
    }
    entries
}

struct NoIds;

impl ProducerIdSource for NoIds {
    fn next_producer_id(&mut self) -> Result<i64, ErrorCode> {
        Err(ErrorCode::CoordinatorLoadInProgress)
    }
}

fn ask(shard: &mut GroupShard, request: GroupRequest, topics: &FixedTopics) -> GroupResponse {
    let ctx =
        RequestContext { client_id: Str::EMPTY, client_host: Str::EMPTY, api_version: 9, topic_filter: None };
    let mut env = Env { now_ms: 1_795_321_400_000, topics, new_uuid: &mut || Uuid::ZERO };
    shard.handle(request, ReplyToken(1), &ctx, &mut env).replies.remove(0).1
}

fn partitions_text(partitions: impl Iterator<Item = (String, i32)>) -> String {
    let mut all: Vec<String> = partitions.map(|(topic, partition)| format!("{topic}-{partition}")).collect();
    all.sort();
    format!("[{}]", all.join(", "))
}

fn classic_assignment(bytes: &Bytes) -> String {
    let mut reader = Reader::new(bytes.clone());
    let version = reader.int16().unwrap();
    let assignment = ConsumerProtocolAssignment::decode(&mut reader, version).unwrap();
    partitions_text(assignment.assigned_partitions.iter().flat_map(|topic| {
        topic.partitions.iter().map(move |partition| (topic.topic.to_string(), *partition))
    }))
}

/// What a client sees of the groups of a shard, by group, in the form of the expectations.
fn groups_text(shard: &mut GroupShard, topics: &FixedTopics, seen: &mut BTreeMap<String, String>) {
    let list = GroupRequest::ListGroups { states_filter: Vec::new(), types_filter: Vec::new() };
    let GroupResponse::ListGroups { groups, .. } = ask(shard, list, topics) else { panic!() };
    for group in groups {
        let id = group.group_id.clone();
        let protocol = if group.protocol_type.is_empty() { "-" } else { &group.protocol_type };
        let mut members = Vec::new();
        let mut epoch = "-".to_owned();
        if group.group_type == "classic" {
            let request = GroupRequest::DescribeGroups { group_ids: vec![id.clone()] };
            let GroupResponse::DescribeGroups(described) = ask(shard, request, topics) else { panic!() };
            for member in &described[0].members {
                let instance = member.group_instance_id.as_deref().unwrap_or("-");
                let assignment = classic_assignment(&member.member_assignment);
                members.push(format!("member {id} {} {instance} - {assignment}", member.client_id));
            }
        } else if group.group_type == "consumer" {
            let request = GroupRequest::ConsumerGroupDescribe { group_ids: vec![id.clone()] };
            let GroupResponse::ConsumerGroupDescribe(described) = ask(shard, request, topics) else {
                panic!()
            };
            epoch = described[0].group_epoch.to_string();
            for member in &described[0].members {
                assert_eq!(member.assignment, member.target_assignment, "{id}");
                let owned = partitions_text(member.assignment.topic_partitions.iter().flat_map(|topic| {
                    topic.partitions.iter().map(move |partition| (topic.topic_name.to_string(), *partition))
                }));
                let instance = member.instance_id.as_deref().unwrap_or("-");
                members.push(format!(
                    "member {id} {} {instance} {} {owned}",
                    member.client_id, member.member_epoch
                ));
            }
        }
        let mut text = format!("group {id} {} {protocol} {} {epoch}\n", group.group_type, group.group_state);
        let fetch = OffsetFetchRequestGroup { group_id: id.clone(), topics: None, ..Default::default() };
        let request = GroupRequest::OffsetFetch { group: fetch, require_stable: false };
        let GroupResponse::OffsetFetch(offsets) = ask(shard, request, topics) else { panic!() };
        for topic in &offsets.topics {
            for partition in &topic.partitions {
                writeln!(
                    text,
                    "offset {id} {}-{} {} {} \"{}\"",
                    topic.name,
                    partition.partition_index,
                    partition.committed_offset,
                    partition.committed_leader_epoch,
                    partition.metadata.as_deref().unwrap_or_default()
                )
                .unwrap();
            }
        }
        members.sort();
        for member in members {
            writeln!(text, "{member}").unwrap();
        }
        seen.insert(id.to_string(), text);
    }
}

fn transactions_text(shard: &TxnShard, seen: &mut BTreeMap<String, String>) {
    let mut ids = NoIds;
    let mut ask = |request: TxnRequest| {
        let mut env = TxnEnv { now_ms: 1_795_321_400_000, producer_ids: &mut ids };
        shard.handle(request, ReplyToken(1), 2, &mut env).replies.remove(0).1
    };
    let list =
        TxnRequest::ListTransactions(ListTransactionsRequest { duration_filter: -1, ..Default::default() });
    let TxnResponse::ListTransactions(listed) = ask(list) else { panic!() };
    for listed in listed.transaction_states {
        let id = listed.transactional_id.clone();
        let request = TxnRequest::DescribeTransactions { transactional_ids: vec![id.clone()] };
        let TxnResponse::DescribeTransactions(described) = ask(request) else { panic!() };
        let transaction = &described[0];
        let partitions = partitions_text(transaction.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(move |partition| (topic.topic.to_string(), *partition))
        }));
        let start = match transaction.transaction_start_time_ms {
            -1 => "-".to_owned(),
            start => start.to_string(),
        };
        let text = format!(
            "transaction {id} {} {} {} {} {start} {partitions}\n",
            transaction.transaction_state,
            transaction.producer_id,
            transaction.producer_epoch,
            transaction.transaction_timeout_ms,
        );
        seen.insert(id.to_string(), text);
    }
}

fn check(name: &str) {
    let expect = String::from_utf8(data(&format!("{name}.expect"))).unwrap();
    let mut topics = FixedTopics::default();
    for line in expect.lines().filter_map(|line| line.strip_prefix("topic ")) {
        let fields: Vec<&str> = line.split(' ').collect();
        topics.topics.insert(fields[0].to_owned(), (fields[1].parse().unwrap(), fields[2].parse().unwrap()));
    }
    let mut groups = BTreeMap::new();
    let mut transactions = BTreeMap::new();
    for line in expect.lines().filter_map(|line| line.strip_prefix("log ")) {
        let (file, end_offset) = line.split_once(' ').unwrap();
        let entries = read_log(&data(file), end_offset.parse().unwrap());
        if file.contains("__transaction_state") {
            let mut shard = TxnShard::new(TxnConfig::kafka_defaults(), 0);
            for entry in &entries {
                let Entry::Record { key, value, .. } = entry else { panic!("a marker in {file}") };
                shard.replay(key, value.as_deref()).unwrap();
            }
            transactions_text(&shard, &mut transactions);
            continue;
        }
        let mut shard = GroupShard::new(GroupConfig::kafka_defaults());
        for entry in &entries {
            match entry {
                Entry::Record { key, value, producer_id } => {
                    shard.replay(key, value.as_deref(), *producer_id).unwrap();
                }
                Entry::EndTxn { producer_id, commit } => shard.replay_end_txn_marker(*producer_id, *commit),
            }
        }
        groups_text(&mut shard, &topics, &mut groups);
    }
    let actual: String = groups.into_values().chain(transactions.into_values()).collect();
    let expected: String = expect
        .lines()
        .filter(|line| !line.starts_with("log ") && !line.starts_with("topic "))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(actual, expected);
}

#[test]
fn groups_of_a_cleanly_stopped_broker_are_loaded_as_it_reported_them() {
    check("groups-clean");
}

#[test]
fn groups_of_a_killed_broker_are_loaded_as_it_reported_them() {
    check("groups-kill");
}

#[test]
fn transactions_and_their_offsets_are_loaded_as_the_broker_reported_them() {
    check("txn-clean");
}

#[test]
fn a_whole_log_can_be_replayed() {
    for file in ["groups-clean__consumer_offsets-0.log", "groups-clean__consumer_offsets-1.log"] {
        let mut shard = GroupShard::new(GroupConfig::kafka_defaults());
        let mut count = 0;
        for entry in read_log(&data(file), i64::MAX) {
            let Entry::Record { key, value, producer_id } = entry else { panic!() };
            shard.replay(&key, value.as_deref(), producer_id).unwrap();
            count += 1;
        }
        assert!(count > 40, "{file}: {count}");
    }
}

/// What Kafka wrote is what this writes: every record of the logs, decoded and encoded again.
#[test]
fn records_of_consumer_groups_and_offsets_are_encoded_as_kafka_does() {
    use ottla_coordinator::group::GroupRecord;
    use ottla_coordinator::transaction::TxnRecord;
    let mut compared = 0;
    for number in 0..3 {
        let log = data(&format!("groups-clean__consumer_offsets-{number}.log"));
        for entry in read_log(&log, i64::MAX) {
            let Entry::Record { key, value, .. } = entry else { panic!() };
            let record = GroupRecord::decode(&key, value.as_deref()).unwrap().unwrap();
            if matches!(record, GroupRecord::Foreign { .. }) {
                continue;
            }
            assert_eq!(record.key_bytes(), key);
            assert_eq!(record.value_bytes().as_deref(), value.as_deref(), "{record:?}");
            compared += 1;
        }
    }
    for number in [0, 2] {
        let log = data(&format!("txn-clean__transaction_state-{number}.log"));
        for entry in read_log(&log, i64::MAX) {
            let Entry::Record { key, value, .. } = entry else { panic!() };
            let record = TxnRecord::decode(&key, value.as_deref()).unwrap().unwrap();
            assert_eq!(record.key_bytes(), key);
            let value_bytes = record.value_bytes();
            assert_eq!(value_bytes.as_ref().map(Bytes::len), value.as_ref().map(Vec::len), "{record:?}");
            // Kafka writes several partitions in the order of a hash set.
            let partitions =
                record.metadata.iter().flat_map(|metadata| metadata.partitions.values().flatten());
            if partitions.count() < 2 {
                assert_eq!(value_bytes.as_deref(), value.as_deref(), "{record:?}");
            }
            compared += 1;
        }
    }
    assert!(compared > 300, "{compared}");
}
