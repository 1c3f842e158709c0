//! The script runner of the transaction shard.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::Bytes;
use expect_test::Expect;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::add_offsets_to_txn_request::AddOffsetsToTxnRequest;
use ottla_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_protocol::messages::end_txn_request::EndTxnRequest;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::list_transactions_request::ListTransactionsRequest;
use ottla_protocol::types::Str;

use crate::context::ReplyToken;
use crate::transaction::*;

/// Hands out producer ids from 1 on, `left` of them.
pub(super) struct Ids {
    next: i64,
    left: i64,
}

impl ProducerIdSource for Ids {
    fn next_producer_id(&mut self) -> Result<i64, ErrorCode> {
        if self.left == 0 {
            return Err(ErrorCode::CoordinatorLoadInProgress);
        }
        self.left -= 1;
        self.next += 1;
        Ok(self.next)
    }
}

pub(super) struct World {
    pub(super) shard: TxnShard,
    ids: Ids,
    now_ms: i64,
    pub(super) log: Vec<(Bytes, Option<Bytes>)>,
    pub(super) sent: BTreeMap<Str, SendMarkers>,
    tokens: u64,
    pub(super) transcript: String,
}

impl World {
    pub(super) fn new(config: TxnConfig) -> World {
        let mut world = World {
            shard: TxnShard::new(config, 7),
            ids: Ids { next: 0, left: i64::MAX },
            now_ms: 0,
            log: Vec::new(),
            sent: BTreeMap::new(),
            tokens: 0,
            transcript: String::new(),
        };
        let outcome = world.shard.on_loaded(0);
        world.take("", &outcome);
        world
    }

    fn take(&mut self, name: &str, outcome: &TxnOutcome) {
        for record in &outcome.records {
            self.log.push((record.key_bytes(), record.value_bytes()));
            let text = match &record.metadata {
                Some(metadata) => format!(
                    "{} {} pid={} epoch={} next={} tv={} {:?}",
                    record.transactional_id,
                    metadata.state.name(),
                    metadata.producer_id,
                    metadata.producer_epoch,
                    metadata.next_producer_id,
                    metadata.client_transaction_version,
                    metadata.partitions,
                ),
                None => format!("{} gone", record.transactional_id),
            };
            writeln!(self.transcript, "  + {text}").unwrap();
        }
        self.shard.apply(outcome);
        for (_, response) in &outcome.replies {
            let code = |code: i16| ErrorCode::from_code(code).name();
            let text = match response {
                TxnResponse::InitProducerId(init) => {
                    format!(
                        "{} pid={} epoch={}",
                        code(init.error_code),
                        init.producer_id,
                        init.producer_epoch
                    )
                }
                TxnResponse::AddPartitionsToTxn(added) => {
                    let all: Vec<String> = added
                        .topic_results
                        .iter()
                        .flat_map(|topic| {
                            topic.results_by_partition.iter().map(move |partition| {
                                let error = code(partition.partition_error_code);
                                format!("{}-{}={error}", topic.name, partition.partition_index)
                            })
                        })
                        .collect();
                    all.join(" ")
                }
                TxnResponse::AddOffsetsToTxn(added) => code(added.error_code).to_owned(),
                TxnResponse::EndTxn(end) => {
                    format!("{} pid={} epoch={}", code(end.error_code), end.producer_id, end.producer_epoch)
                }
                TxnResponse::DescribeTransactions(described) => {
                    let one = &described[0];
                    let topics: Vec<String> = one
                        .topics
                        .iter()
                        .map(|topic| format!("{}:{:?}", topic.topic, topic.partitions))
                        .collect();
                    format!(
                        "{} {} pid={} epoch={} since={} {topics:?}",
                        code(one.error_code),
                        one.transaction_state,
                        one.producer_id,
                        one.producer_epoch,
                        one.transaction_start_time_ms
                    )
                }
                TxnResponse::ListTransactions(listed) => {
                    let ids: Vec<String> = listed
                        .transaction_states
                        .iter()
                        .map(|state| format!("{}/{}", state.transactional_id, state.transaction_state))
                        .collect();
                    format!(
                        "{} {} unknown={:?}",
                        code(listed.error_code),
                        ids.join(" "),
                        listed.unknown_state_filters
                    )
                }
            };
            writeln!(self.transcript, "  = {name}: {text}").unwrap();
        }
        for markers in &outcome.send_markers {
            writeln!(
                self.transcript,
                "  ! {} {} pid={} epoch={} tv={} {:?}",
                markers.transactional_id,
                if markers.commit { "commit" } else { "abort" },
                markers.producer_id,
                markers.producer_epoch,
                markers.transaction_version,
                markers.partitions
            )
            .unwrap();
            self.sent.insert(markers.transactional_id.clone(), markers.clone());
        }
        self.check_reload();
    }

    fn loaded(&self) -> TxnShard {
        let mut loaded = TxnShard::new(self.shard.config.clone(), 7);
        for (key, value) in &self.log {
            loaded.replay(key, value.as_deref()).expect("its own log loads");
        }
        loaded
    }

    /// The log has everything but the last epoch; with version 0, nothing of what came later either.
    fn check_reload(&self) {
        let keep_all = self.shard.config.transaction_version >= 1;
        let strip = |shard: &TxnShard| -> Vec<TransactionMetadata> {
            shard
                .transactions()
                .cloned()
                .map(|mut metadata| {
                    metadata.last_producer_epoch = NO_PRODUCER_EPOCH;
                    if !keep_all {
                        metadata.previous_producer_id = NO_PRODUCER_ID;
                        metadata.next_producer_id = NO_PRODUCER_ID;
                        metadata.client_transaction_version = 0;
                    }
                    metadata
                })
                .collect()
        };
        assert_eq!(strip(&self.loaded()), strip(&self.shard));
    }

    fn ask(&mut self, name: &str, request: TxnRequest, api_version: i16) {
        self.tokens += 1;
        let mut env = TxnEnv { now_ms: self.now_ms, producer_ids: &mut self.ids };
        let outcome = self.shard.handle(request, ReplyToken(self.tokens), api_version, &mut env);
        self.take(name, &outcome);
    }

    pub(super) fn advance(&mut self, by_ms: i64) {
        let until_ms = self.now_ms + by_ms;
        while let Some(at_ms) = self.shard.next_deadline_ms().filter(|at_ms| *at_ms <= until_ms) {
            self.now_ms = self.now_ms.max(at_ms);
            let mut env = TxnEnv { now_ms: self.now_ms, producer_ids: &mut self.ids };
            let outcome = self.shard.on_time(&mut env);
            self.take("", &outcome);
        }
        self.now_ms = until_ms;
    }

    fn markers(&mut self, id: &Str, result: MarkerResult, only: Option<&str>) {
        let Some(sent) = self.sent.get(id).cloned() else { return };
        let results: Vec<(Str, i32, MarkerResult)> = sent
            .partitions
            .iter()
            .flat_map(|(topic, partitions)| {
                partitions.iter().map(|partition| (topic.clone(), *partition, result))
            })
            .filter(|(topic, _, _)| only.is_none_or(|only| topic.as_str() == only))
            .collect();
        let outcome = self.shard.on_markers_written(&sent, &results, self.now_ms);
        self.take("", &outcome);
    }

    pub(super) fn run(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            writeln!(self.transcript, "> {line}").unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            let named: BTreeMap<&str, &str> = words.iter().filter_map(|word| word.split_once('=')).collect();
            let int =
                |key: &str, default: i64| named.get(key).map_or(default, |value| value.parse().unwrap());
            let id = Str::from(*named.get("id").unwrap_or(&"tx"));
            let name = words.get(1).copied().unwrap_or_default();
            let topics = || -> Vec<AddPartitionsToTxnTopic> {
                named["to"]
                    .split(',')
                    .map(|entry| {
                        let (topic, numbers) = entry.split_once(':').unwrap();
                        AddPartitionsToTxnTopic {
                            name: Str::from(topic),
                            partitions: numbers.split('+').map(|number| number.parse().unwrap()).collect(),
                            ..Default::default()
                        }
                    })
                    .collect()
            };
            match words[0] {
                "wait" => self.advance(name.parse().unwrap()),
                "ids" => self.ids.left = name.parse().unwrap(),
                "reload" => {
                    self.shard = self.loaded();
                    let outcome = self.shard.on_loaded(self.now_ms);
                    self.take("", &outcome);
                }
                "written" => {
                    self.markers(&id, MarkerResult::Answered(ErrorCode::None), named.get("only").copied())
                }
                "failed" => self.markers(
                    &id,
                    MarkerResult::Answered(ErrorCode::NotLeaderOrFollower),
                    named.get("only").copied(),
                ),
                "fenced" => {
                    self.markers(&id, MarkerResult::Answered(ErrorCode::TransactionCoordinatorFenced), None)
                }
                "deleted" => self.markers(&id, MarkerResult::PartitionDeleted, named.get("only").copied()),
                "init" => self.ask(
                    name,
                    TxnRequest::InitProducerId(InitProducerIdRequest {
                        transactional_id: (named.get("id") != Some(&"null")).then_some(id),
                        transaction_timeout_ms: int("timeout", 60_000) as i32,
                        producer_id: int("pid", -1),
                        producer_epoch: int("epoch", -1) as i16,
                        enable2_pc: named.contains_key("2pc"),
                        keep_prepared_txn: named.contains_key("keep"),
                        ..Default::default()
                    }),
                    int("v", 5) as i16,
                ),
                "add" | "verify" => self.ask(
                    name,
                    TxnRequest::AddPartitionsToTxn(AddPartitionsToTxnTransaction {
                        transactional_id: id,
                        producer_id: int("pid", 1),
                        producer_epoch: int("epoch", 0) as i16,
                        verify_only: words[0] == "verify",
                        topics: topics(),
                        ..Default::default()
                    }),
                    int("v", 4) as i16,
                ),
                "offsets" => self.ask(
                    name,
                    TxnRequest::AddOffsetsToTxn {
                        request: AddOffsetsToTxnRequest {
                            transactional_id: id,
                            producer_id: int("pid", 1),
                            producer_epoch: int("epoch", 0) as i16,
                            group_id: Str::from("g"),
                            ..Default::default()
                        },
                        offsets_partition: 3,
                    },
                    int("v", 3) as i16,
                ),
                "commit" | "abort" => self.ask(
                    name,
                    TxnRequest::EndTxn(EndTxnRequest {
                        transactional_id: id,
                        producer_id: int("pid", 1),
                        producer_epoch: int("epoch", 0) as i16,
                        committed: words[0] == "commit",
                        ..Default::default()
                    }),
                    int("v", 5) as i16,
                ),
                "describe" => {
                    self.ask(name, TxnRequest::DescribeTransactions { transactional_ids: vec![id] }, 0);
                }
                "list" => self.ask(
                    name,
                    TxnRequest::ListTransactions(ListTransactionsRequest {
                        state_filters: named
                            .get("states")
                            .map_or(Vec::new(), |states| states.split(',').map(Str::from).collect()),
                        producer_id_filters: named
                            .get("pid")
                            .map_or(Vec::new(), |pid| vec![pid.parse().unwrap()]),
                        duration_filter: int("longer", -1),
                        transactional_id_pattern: named.get("pattern").map(|pattern| Str::from(*pattern)),
                        ..Default::default()
                    }),
                    2,
                ),
                other => panic!("no command {other}"),
            }
        }
    }

    /// Puts a transactional id at an epoch, as after very many transactions.
    pub(super) fn put_at_epoch(&mut self, producer_epoch: i16) {
        self.run("init i0");
        let mut metadata = self.shard.transaction("tx").unwrap().clone();
        metadata.producer_epoch = producer_epoch;
        let outcome = TxnOutcome { records: vec![self.shard.record(metadata)], ..Default::default() };
        self.transcript.clear();
        self.take("", &outcome);
    }
}

pub(super) fn check(script: &str, expected: &Expect) {
    check_at(2, script, expected);
}

pub(super) fn check_at(transaction_version: i16, script: &str, expected: &Expect) {
    let mut world = World::new(TxnConfig { transaction_version, ..TxnConfig::kafka_defaults() });
    world.run(script);
    expected.assert_eq(&world.transcript);
}
