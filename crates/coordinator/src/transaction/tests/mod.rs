//! Scripts against a transaction shard. After every step the shard is loaded anew from its log and compared with itself.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::Bytes;
use expect_test::{Expect, expect};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::add_offsets_to_txn_request::AddOffsetsToTxnRequest;
use ottla_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_protocol::messages::end_txn_request::EndTxnRequest;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::list_transactions_request::ListTransactionsRequest;
use ottla_protocol::types::Str;
use proptest::prelude::*;

use super::*;
use crate::context::ReplyToken;

/// Hands out producer ids from 1 on, `left` of them.
struct Ids {
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

struct World {
    shard: TxnShard,
    ids: Ids,
    now_ms: i64,
    log: Vec<(Bytes, Option<Bytes>)>,
    sent: BTreeMap<Str, SendMarkers>,
    tokens: u64,
    transcript: String,
}

impl World {
    fn new(config: TxnConfig) -> World {
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

    fn advance(&mut self, by_ms: i64) {
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

    fn run(&mut self, script: &str) {
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
    fn put_at_epoch(&mut self, producer_epoch: i16) {
        self.run("init i0");
        let mut metadata = self.shard.transaction("tx").unwrap().clone();
        metadata.producer_epoch = producer_epoch;
        let outcome = TxnOutcome { records: vec![self.shard.record(metadata)], ..Default::default() };
        self.transcript.clear();
        self.take("", &outcome);
    }
}

fn check(script: &str, expected: &Expect) {
    check_at(2, script, expected);
}

fn check_at(transaction_version: i16, script: &str, expected: &Expect) {
    let mut world = World::new(TxnConfig { transaction_version, ..TxnConfig::kafka_defaults() });
    world.run(script);
    expected.assert_eq(&world.transcript);
}

#[test]
fn a_transaction_goes_from_begin_to_end_and_bumps_the_epoch() {
    check(
        "init i1
         verify v1 to=t1:0
         add a1 to=t1:0+1,t2:0
         verify v2 to=t1:0,t3:0
         add a2 to=t1:1
         describe d1
         commit e1
         add a3 to=t1:0 epoch=1
         verify v3 to=t1:0 epoch=1
         commit e2
         init i2
         written only=t1
         describe d2
         written only=t2
         commit e3
         abort e4
         describe d3
         add a4 epoch=1 to=t1:0
         abort e5 epoch=1
         written
         abort e6 epoch=1
         commit e7 epoch=1",
        &expect![[r#"
            > init i1
              + tx Empty pid=1 epoch=0 next=-1 tv=0 {}
              = i1: NONE pid=1 epoch=0
            > verify v1 to=t1:0
              = v1: t1-0=TRANSACTION_ABORTABLE
            > add a1 to=t1:0+1,t2:0
              + tx Ongoing pid=1 epoch=0 next=-1 tv=2 {"t1": {0, 1}, "t2": {0}}
              = a1: t1-0=NONE t1-1=NONE t2-0=NONE
            > verify v2 to=t1:0,t3:0
              = v2: t1-0=NONE t3-0=TRANSACTION_ABORTABLE
            > add a2 to=t1:1
              = a2: t1-1=NONE
            > describe d1
              = d1: NONE Ongoing pid=1 epoch=0 since=0 ["t1:[0, 1]", "t2:[0]"]
            > commit e1
              + tx PrepareCommit pid=1 epoch=1 next=-1 tv=2 {"t1": {0, 1}, "t2": {0}}
              = e1: NONE pid=1 epoch=1
              ! tx commit pid=1 epoch=1 tv=2 {"t1": {0, 1}, "t2": {0}}
            > add a3 to=t1:0 epoch=1
              = a3: t1-0=CONCURRENT_TRANSACTIONS
            > verify v3 to=t1:0 epoch=1
              = v3: t1-0=CONCURRENT_TRANSACTIONS
            > commit e2
              = e2: CONCURRENT_TRANSACTIONS pid=-1 epoch=-1
            > init i2
              = i2: CONCURRENT_TRANSACTIONS pid=-1 epoch=-1
            > written only=t1
            > describe d2
              = d2: NONE PrepareCommit pid=1 epoch=1 since=0 ["t2:[0]"]
            > written only=t2
              + tx CompleteCommit pid=1 epoch=1 next=-1 tv=2 {}
            > commit e3
              = e3: NONE pid=1 epoch=1
            > abort e4
              = e4: INVALID_TXN_STATE pid=-1 epoch=-1
            > describe d3
              = d3: NONE CompleteCommit pid=1 epoch=1 since=0 []
            > add a4 epoch=1 to=t1:0
              + tx Ongoing pid=1 epoch=1 next=-1 tv=2 {"t1": {0}}
              = a4: t1-0=NONE
            > abort e5 epoch=1
              + tx PrepareAbort pid=1 epoch=2 next=-1 tv=2 {"t1": {0}}
              = e5: NONE pid=1 epoch=2
              ! tx abort pid=1 epoch=2 tv=2 {"t1": {0}}
            > written
              + tx CompleteAbort pid=1 epoch=2 next=-1 tv=2 {}
            > abort e6 epoch=1
              = e6: NONE pid=1 epoch=2
            > commit e7 epoch=1
              = e7: INVALID_TXN_STATE pid=-1 epoch=-1
        "#]],
    );
}

#[test]
fn before_version_2_the_epoch_stays() {
    let script = "init i1
         add a1 v=3 to=t1:0
         offsets o1
         commit e1 v=4
         commit e2 v=4
         written
         commit e3 v=4
         abort e4 v=4
         add a2 v=3 to=t1:0
         init i2
         written
         init i3
         commit e5 v=4
         commit e6 v=1
         add a3 v=1 to=t1:0
         offsets o2 v=1";
    check_at(
        0,
        script,
        &expect![[r#"
        > init i1
          + tx Empty pid=1 epoch=0 next=-1 tv=0 {}
          = i1: NONE pid=1 epoch=0
        > add a1 v=3 to=t1:0
          + tx Ongoing pid=1 epoch=0 next=-1 tv=0 {"t1": {0}}
          = a1: t1-0=NONE
        > offsets o1
          + tx Ongoing pid=1 epoch=0 next=-1 tv=0 {"__consumer_offsets": {3}, "t1": {0}}
          = o1: NONE
        > commit e1 v=4
          + tx PrepareCommit pid=1 epoch=0 next=-1 tv=0 {"__consumer_offsets": {3}, "t1": {0}}
          = e1: NONE pid=-1 epoch=-1
          ! tx commit pid=1 epoch=0 tv=0 {"__consumer_offsets": {3}, "t1": {0}}
        > commit e2 v=4
          = e2: CONCURRENT_TRANSACTIONS pid=-1 epoch=-1
        > written
          + tx CompleteCommit pid=1 epoch=0 next=-1 tv=0 {}
        > commit e3 v=4
          = e3: NONE pid=-1 epoch=-1
        > abort e4 v=4
          = e4: INVALID_TXN_STATE pid=-1 epoch=-1
        > add a2 v=3 to=t1:0
          + tx Ongoing pid=1 epoch=0 next=-1 tv=0 {"t1": {0}}
          = a2: t1-0=NONE
        > init i2
          + tx PrepareAbort pid=1 epoch=1 next=-1 tv=0 {"t1": {0}}
          = i2: CONCURRENT_TRANSACTIONS pid=-1 epoch=-1
          ! tx abort pid=1 epoch=1 tv=0 {"t1": {0}}
        > written
          + tx CompleteAbort pid=1 epoch=1 next=-1 tv=0 {}
        > init i3
          + tx Empty pid=1 epoch=2 next=-1 tv=0 {}
          = i3: NONE pid=1 epoch=2
        > commit e5 v=4
          = e5: PRODUCER_FENCED pid=-1 epoch=-1
        > commit e6 v=1
          = e6: INVALID_PRODUCER_EPOCH pid=-1 epoch=-1
        > add a3 v=1 to=t1:0
          = a3: t1-0=INVALID_PRODUCER_EPOCH
        > offsets o2 v=1
          = o2: INVALID_PRODUCER_EPOCH
    "#]],
    );
    check_at(
        1,
        script,
        &expect![[r#"
        > init i1
          + tx Empty pid=1 epoch=0 next=-1 tv=0 {}
          = i1: NONE pid=1 epoch=0
        > add a1 v=3 to=t1:0
          + tx Ongoing pid=1 epoch=0 next=-1 tv=0 {"t1": {0}}
          = a1: t1-0=NONE
        > offsets o1
          + tx Ongoing pid=1 epoch=0 next=-1 tv=0 {"__consumer_offsets": {3}, "t1": {0}}
          = o1: NONE
        > commit e1 v=4
          + tx PrepareCommit pid=1 epoch=0 next=-1 tv=0 {"__consumer_offsets": {3}, "t1": {0}}
          = e1: NONE pid=-1 epoch=-1
          ! tx commit pid=1 epoch=0 tv=0 {"__consumer_offsets": {3}, "t1": {0}}
        > commit e2 v=4
          = e2: CONCURRENT_TRANSACTIONS pid=-1 epoch=-1
        > written
          + tx CompleteCommit pid=1 epoch=0 next=-1 tv=0 {}
        > commit e3 v=4
          = e3: NONE pid=-1 epoch=-1
        > abort e4 v=4
          = e4: INVALID_TXN_STATE pid=-1 epoch=-1
        > add a2 v=3 to=t1:0
          + tx Ongoing pid=1 epoch=0 next=-1 tv=0 {"t1": {0}}
          = a2: t1-0=NONE
        > init i2
          + tx PrepareAbort pid=1 epoch=1 next=-1 tv=0 {"t1": {0}}
          = i2: CONCURRENT_TRANSACTIONS pid=-1 epoch=-1
          ! tx abort pid=1 epoch=1 tv=0 {"t1": {0}}
        > written
          + tx CompleteAbort pid=1 epoch=1 next=-1 tv=0 {}
        > init i3
          + tx Empty pid=1 epoch=2 next=-1 tv=0 {}
          = i3: NONE pid=1 epoch=2
        > commit e5 v=4
          = e5: PRODUCER_FENCED pid=-1 epoch=-1
        > commit e6 v=1
          = e6: INVALID_PRODUCER_EPOCH pid=-1 epoch=-1
        > add a3 v=1 to=t1:0
          = a3: t1-0=INVALID_PRODUCER_EPOCH
        > offsets o2 v=1
          = o2: INVALID_PRODUCER_EPOCH
    "#]],
    );
}

#[test]
fn a_new_producer_fences_the_old_one_and_aborts_its_transaction() {
    check(
        "init i1
         add a1 to=t1:0
         init i2
         init i3
         written
         init i4
         commit e1
         add a2 to=t1:0
         init i5 pid=1 epoch=0
         init i6 v=3 pid=1 epoch=0
         init i7 pid=9 epoch=2
         init i8 pid=1 epoch=2
         init i9 pid=1 epoch=2",
        &expect![[r#"
            > init i1
              + tx Empty pid=1 epoch=0 next=-1 tv=0 {}
              = i1: NONE pid=1 epoch=0
            > add a1 to=t1:0
              + tx Ongoing pid=1 epoch=0 next=-1 tv=2 {"t1": {0}}
              = a1: t1-0=NONE
            > init i2
              + tx PrepareAbort pid=1 epoch=1 next=-1 tv=2 {"t1": {0}}
              = i2: CONCURRENT_TRANSACTIONS pid=-1 epoch=-1
              ! tx abort pid=1 epoch=1 tv=2 {"t1": {0}}
            > init i3
              = i3: CONCURRENT_TRANSACTIONS pid=-1 epoch=-1
            > written
              + tx CompleteAbort pid=1 epoch=1 next=-1 tv=2 {}
            > init i4
              + tx Empty pid=1 epoch=2 next=-1 tv=2 {}
              = i4: NONE pid=1 epoch=2
            > commit e1
              = e1: PRODUCER_FENCED pid=-1 epoch=-1
            > add a2 to=t1:0
              = a2: t1-0=PRODUCER_FENCED
            > init i5 pid=1 epoch=0
              = i5: PRODUCER_FENCED pid=-1 epoch=-1
            > init i6 v=3 pid=1 epoch=0
              = i6: INVALID_PRODUCER_EPOCH pid=-1 epoch=-1
            > init i7 pid=9 epoch=2
              = i7: PRODUCER_FENCED pid=-1 epoch=-1
            > init i8 pid=1 epoch=2
              + tx Empty pid=1 epoch=3 next=-1 tv=2 {}
              = i8: NONE pid=1 epoch=3
            > init i9 pid=1 epoch=2
              + tx Empty pid=1 epoch=3 next=-1 tv=2 {}
              = i9: NONE pid=1 epoch=3
        "#]],
    );
}

#[test]
fn an_abort_without_partitions_is_complete_at_once() {
    check(
        "init i1
         abort e1
         abort e2
         abort e3 epoch=1
         commit e4 epoch=2",
        &expect![[r#"
            > init i1
              + tx Empty pid=1 epoch=0 next=-1 tv=0 {}
              = i1: NONE pid=1 epoch=0
            > abort e1
              + tx PrepareAbort pid=1 epoch=1 next=-1 tv=2 {}
              + tx CompleteAbort pid=1 epoch=1 next=-1 tv=2 {}
              = e1: NONE pid=1 epoch=1
            > abort e2
              = e2: NONE pid=1 epoch=1
            > abort e3 epoch=1
              + tx PrepareAbort pid=1 epoch=2 next=-1 tv=2 {}
              + tx CompleteAbort pid=1 epoch=2 next=-1 tv=2 {}
              = e3: NONE pid=1 epoch=2
            > commit e4 epoch=2
              = e4: INVALID_TXN_STATE pid=-1 epoch=-1
        "#]],
    );
}

#[test]
fn requests_that_cannot_be_are_refused() {
    check(
        "init i1 id=
         init i2 timeout=0
         init i3 timeout=900001
         init i4 pid=1
         init i5 epoch=1
         init i6 2pc=1
         init i7 keep=1
         init i8 id=null
         add a1 to=t1:0
         add a2 id= to=t1:0
         verify v1 to=t1:0
         commit e1
         commit e2 id=
         describe d1
         describe d2 id=
         ids 0
         init i9
         init i10 id=null
         ids 1
         init i11
         add a3 pid=9 to=t1:0
         add a4 pid=2 epoch=9 to=t1:0
         add a5 v=1 pid=2 epoch=9 to=t1:0
         commit e3 pid=2
         commit e4 pid=2 epoch=3
         commit e5 v=1 pid=2 epoch=3",
        &expect![[r#"
            > init i1 id=
              = i1: INVALID_REQUEST pid=-1 epoch=-1
            > init i2 timeout=0
              = i2: INVALID_TRANSACTION_TIMEOUT pid=-1 epoch=-1
            > init i3 timeout=900001
              = i3: INVALID_TRANSACTION_TIMEOUT pid=-1 epoch=-1
            > init i4 pid=1
              = i4: INVALID_REQUEST pid=-1 epoch=-1
            > init i5 epoch=1
              = i5: INVALID_REQUEST pid=-1 epoch=-1
            > init i6 2pc=1
              = i6: TRANSACTIONAL_ID_AUTHORIZATION_FAILED pid=-1 epoch=-1
            > init i7 keep=1
              = i7: UNSUPPORTED_VERSION pid=-1 epoch=-1
            > init i8 id=null
              = i8: NONE pid=1 epoch=0
            > add a1 to=t1:0
              = a1: t1-0=INVALID_PRODUCER_ID_MAPPING
            > add a2 id= to=t1:0
              = a2: t1-0=INVALID_REQUEST
            > verify v1 to=t1:0
              = v1: t1-0=INVALID_PRODUCER_ID_MAPPING
            > commit e1
              = e1: INVALID_PRODUCER_ID_MAPPING pid=-1 epoch=-1
            > commit e2 id=
              = e2: INVALID_REQUEST pid=-1 epoch=-1
            > describe d1
              = d1: TRANSACTIONAL_ID_NOT_FOUND  pid=0 epoch=0 since=0 []
            > describe d2 id=
              = d2: INVALID_REQUEST  pid=0 epoch=0 since=0 []
            > ids 0
            > init i9
              = i9: COORDINATOR_LOAD_IN_PROGRESS pid=-1 epoch=-1
            > init i10 id=null
              = i10: COORDINATOR_LOAD_IN_PROGRESS pid=-1 epoch=-1
            > ids 1
            > init i11
              + tx Empty pid=2 epoch=0 next=-1 tv=0 {}
              = i11: NONE pid=2 epoch=0
            > add a3 pid=9 to=t1:0
              = a3: t1-0=INVALID_PRODUCER_ID_MAPPING
            > add a4 pid=2 epoch=9 to=t1:0
              = a4: t1-0=PRODUCER_FENCED
            > add a5 v=1 pid=2 epoch=9 to=t1:0
              = a5: t1-0=INVALID_PRODUCER_EPOCH
            > commit e3 pid=2
              = e3: INVALID_TXN_STATE pid=-1 epoch=-1
            > commit e4 pid=2 epoch=3
              = e4: PRODUCER_FENCED pid=-1 epoch=-1
            > commit e5 v=1 pid=2 epoch=3
              = e5: INVALID_PRODUCER_EPOCH pid=-1 epoch=-1
        "#]],
    );
}

#[test]
fn markers_are_tried_until_they_are_written() {
    check(
        "init i1
         add a1 to=t1:0+1,t2:0
         commit e1
         written only=t2
         failed only=t1
         wait 99
         wait 1
         written only=t1
         add a2 epoch=1 to=t1:0
         commit e2 epoch=1
         reload
         deleted
         add a3 epoch=2 to=t1:0
         abort e3 epoch=2
         fenced
         wait 100000
         describe d1",
        &expect![[r#"
            > init i1
              + tx Empty pid=1 epoch=0 next=-1 tv=0 {}
              = i1: NONE pid=1 epoch=0
            > add a1 to=t1:0+1,t2:0
              + tx Ongoing pid=1 epoch=0 next=-1 tv=2 {"t1": {0, 1}, "t2": {0}}
              = a1: t1-0=NONE t1-1=NONE t2-0=NONE
            > commit e1
              + tx PrepareCommit pid=1 epoch=1 next=-1 tv=2 {"t1": {0, 1}, "t2": {0}}
              = e1: NONE pid=1 epoch=1
              ! tx commit pid=1 epoch=1 tv=2 {"t1": {0, 1}, "t2": {0}}
            > written only=t2
            > failed only=t1
            > wait 99
            > wait 1
              ! tx commit pid=1 epoch=1 tv=2 {"t1": {0, 1}}
            > written only=t1
              + tx CompleteCommit pid=1 epoch=1 next=-1 tv=2 {}
            > add a2 epoch=1 to=t1:0
              + tx Ongoing pid=1 epoch=1 next=-1 tv=2 {"t1": {0}}
              = a2: t1-0=NONE
            > commit e2 epoch=1
              + tx PrepareCommit pid=1 epoch=2 next=-1 tv=2 {"t1": {0}}
              = e2: NONE pid=1 epoch=2
              ! tx commit pid=1 epoch=2 tv=2 {"t1": {0}}
            > reload
              ! tx commit pid=1 epoch=2 tv=2 {"t1": {0}}
            > deleted
              + tx CompleteCommit pid=1 epoch=2 next=-1 tv=2 {}
            > add a3 epoch=2 to=t1:0
              + tx Ongoing pid=1 epoch=2 next=-1 tv=2 {"t1": {0}}
              = a3: t1-0=NONE
            > abort e3 epoch=2
              + tx PrepareAbort pid=1 epoch=3 next=-1 tv=2 {"t1": {0}}
              = e3: NONE pid=1 epoch=3
              ! tx abort pid=1 epoch=3 tv=2 {"t1": {0}}
            > fenced
            > wait 100000
            > describe d1
              = d1: NONE PrepareAbort pid=1 epoch=3 since=100 ["t1:[0]"]
        "#]],
    );
}

#[test]
fn results_of_an_earlier_transaction_are_ignored() {
    let mut world = World::new(TxnConfig::kafka_defaults());
    world.run("init i1\nadd a1 to=t1:0\ncommit e1");
    let earlier = world.sent[&Str::from("tx")].clone();
    world.run("written\nadd a2 epoch=1 to=t1:0\ncommit e2 epoch=1");
    let results = [(Str::from("t1"), 0, MarkerResult::Answered(ErrorCode::None))];
    assert!(world.shard.on_markers_written(&earlier, &results, 0).is_empty());
    assert_eq!(world.shard.pending_markers("tx").len(), 1);
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted() {
    check(
        "init i1 timeout=15000
         add a1 to=t1:0
         wait 19999
         wait 1
         commit e1
         written
         commit e2
         init i2 pid=1 epoch=0
         init i3",
        &expect![[r#"
            > init i1 timeout=15000
              + tx Empty pid=1 epoch=0 next=-1 tv=0 {}
              = i1: NONE pid=1 epoch=0
            > add a1 to=t1:0
              + tx Ongoing pid=1 epoch=0 next=-1 tv=2 {"t1": {0}}
              = a1: t1-0=NONE
            > wait 19999
            > wait 1
              + tx PrepareAbort pid=1 epoch=1 next=-1 tv=2 {"t1": {0}}
              ! tx abort pid=1 epoch=1 tv=2 {"t1": {0}}
            > commit e1
              = e1: CONCURRENT_TRANSACTIONS pid=-1 epoch=-1
            > written
              + tx CompleteAbort pid=1 epoch=1 next=-1 tv=2 {}
            > commit e2
              = e2: INVALID_TXN_STATE pid=-1 epoch=-1
            > init i2 pid=1 epoch=0
              + tx Empty pid=1 epoch=1 next=-1 tv=2 {}
              = i2: NONE pid=1 epoch=1
            > init i3
              + tx Empty pid=1 epoch=2 next=-1 tv=2 {}
              = i3: NONE pid=1 epoch=2
        "#]],
    );
    check_at(
        0,
        "init i1 timeout=15000
         add a1 v=3 to=t1:0
         wait 20000
         commit e1 v=4
         written
         init i2",
        &expect![[r#"
            > init i1 timeout=15000
              + tx Empty pid=1 epoch=0 next=-1 tv=0 {}
              = i1: NONE pid=1 epoch=0
            > add a1 v=3 to=t1:0
              + tx Ongoing pid=1 epoch=0 next=-1 tv=0 {"t1": {0}}
              = a1: t1-0=NONE
            > wait 20000
              + tx PrepareAbort pid=1 epoch=1 next=-1 tv=0 {"t1": {0}}
              ! tx abort pid=1 epoch=1 tv=0 {"t1": {0}}
            > commit e1 v=4
              = e1: PRODUCER_FENCED pid=-1 epoch=-1
            > written
              + tx CompleteAbort pid=1 epoch=1 next=-1 tv=0 {}
            > init i2
              + tx Empty pid=1 epoch=2 next=-1 tv=0 {}
              = i2: NONE pid=1 epoch=2
        "#]],
    );
}

#[test]
fn transactional_ids_that_are_not_used_are_forgotten() {
    let mut world = World::new(TxnConfig {
        transactional_id_expiration_ms: 7_200_000,
        transaction_max_timeout_ms: i32::MAX,
        ..TxnConfig::kafka_defaults()
    });
    world.run(
        "init i1 id=a
         init i2 id=b timeout=2147483647
         add a1 id=b pid=2 to=t1:0
         wait 7199999
         list l1
         wait 1
         list l2",
    );
    expect![[r#"
        > init i1 id=a
          + a Empty pid=1 epoch=0 next=-1 tv=0 {}
          = i1: NONE pid=1 epoch=0
        > init i2 id=b timeout=2147483647
          + b Empty pid=2 epoch=0 next=-1 tv=0 {}
          = i2: NONE pid=2 epoch=0
        > add a1 id=b pid=2 to=t1:0
          + b Ongoing pid=2 epoch=0 next=-1 tv=2 {"t1": {0}}
          = a1: t1-0=NONE
        > wait 7199999
        > list l1
          = l1: NONE a/Empty b/Ongoing unknown=[]
        > wait 1
          + a gone
        > list l2
          = l2: NONE b/Ongoing unknown=[]
    "#]]
    .assert_eq(&world.transcript);
}

#[test]
fn a_producer_id_is_replaced_when_its_epochs_are_used_up() {
    let mut world = World::new(TxnConfig::kafka_defaults());
    world.put_at_epoch(i16::MAX - 2);
    world.run(
        "add a1 epoch=32765 to=t1:0
         commit e1 epoch=32765
         written
         add a2 epoch=32766 to=t1:0
         commit e2 epoch=32766
         written
         commit e3 epoch=32766
         add a3 pid=2 epoch=0 to=t1:0
         init i1 pid=1 epoch=32766",
    );
    expect![[r#"
          + tx Empty pid=1 epoch=32765 next=-1 tv=0 {}
        > add a1 epoch=32765 to=t1:0
          + tx Ongoing pid=1 epoch=32765 next=-1 tv=2 {"t1": {0}}
          = a1: t1-0=NONE
        > commit e1 epoch=32765
          + tx PrepareCommit pid=1 epoch=32766 next=-1 tv=2 {"t1": {0}}
          = e1: NONE pid=1 epoch=32766
          ! tx commit pid=1 epoch=32766 tv=2 {"t1": {0}}
        > written
          + tx CompleteCommit pid=1 epoch=32766 next=-1 tv=2 {}
        > add a2 epoch=32766 to=t1:0
          + tx Ongoing pid=1 epoch=32766 next=-1 tv=2 {"t1": {0}}
          = a2: t1-0=NONE
        > commit e2 epoch=32766
          + tx PrepareCommit pid=1 epoch=32767 next=2 tv=2 {"t1": {0}}
          = e2: NONE pid=2 epoch=0
          ! tx commit pid=1 epoch=32767 tv=2 {"t1": {0}}
        > written
          + tx CompleteCommit pid=2 epoch=0 next=-1 tv=2 {}
        > commit e3 epoch=32766
          = e3: NONE pid=2 epoch=0
        > add a3 pid=2 epoch=0 to=t1:0
          + tx Ongoing pid=2 epoch=0 next=-1 tv=2 {"t1": {0}}
          = a3: t1-0=NONE
        > init i1 pid=1 epoch=32766
          = i1: PRODUCER_FENCED pid=-1 epoch=-1
    "#]]
    .assert_eq(&world.transcript);
    let mut world = World::new(TxnConfig { transaction_version: 0, ..TxnConfig::kafka_defaults() });
    world.put_at_epoch(i16::MAX - 2);
    world.run(
        "init i1
         init i2
         init i3 pid=1 epoch=32766
         init i4 pid=1 epoch=32765",
    );
    expect![[r#"
          + tx Empty pid=1 epoch=32765 next=-1 tv=0 {}
        > init i1
          + tx Empty pid=1 epoch=32766 next=-1 tv=0 {}
          = i1: NONE pid=1 epoch=32766
        > init i2
          + tx Empty pid=2 epoch=0 next=-1 tv=0 {}
          = i2: NONE pid=2 epoch=0
        > init i3 pid=1 epoch=32766
          = i3: PRODUCER_FENCED pid=-1 epoch=-1
        > init i4 pid=1 epoch=32765
          = i4: PRODUCER_FENCED pid=-1 epoch=-1
    "#]]
    .assert_eq(&world.transcript);
}

#[test]
fn transactions_are_listed_by_state_producer_duration_and_pattern() {
    check(
        "init i1 id=a1
         init i2 id=a2
         init i3 id=b1
         wait 5000
         add x1 id=a2 pid=2 to=t1:0
         wait 5000
         list l1
         list l2 states=Ongoing
         list l3 states=Ongoing,Nonsense
         list l4 states=Nonsense
         list l5 pid=3
         list l6 longer=4999 states=Ongoing
         list l7 longer=5000 states=Ongoing
         list l8 pattern=a.
         list l9 pattern=a
         list l10 pattern=[",
        &expect![[r#"
            > init i1 id=a1
              + a1 Empty pid=1 epoch=0 next=-1 tv=0 {}
              = i1: NONE pid=1 epoch=0
            > init i2 id=a2
              + a2 Empty pid=2 epoch=0 next=-1 tv=0 {}
              = i2: NONE pid=2 epoch=0
            > init i3 id=b1
              + b1 Empty pid=3 epoch=0 next=-1 tv=0 {}
              = i3: NONE pid=3 epoch=0
            > wait 5000
            > add x1 id=a2 pid=2 to=t1:0
              + a2 Ongoing pid=2 epoch=0 next=-1 tv=2 {"t1": {0}}
              = x1: t1-0=NONE
            > wait 5000
            > list l1
              = l1: NONE a1/Empty a2/Ongoing b1/Empty unknown=[]
            > list l2 states=Ongoing
              = l2: NONE a2/Ongoing unknown=[]
            > list l3 states=Ongoing,Nonsense
              = l3: NONE a2/Ongoing unknown=["Nonsense"]
            > list l4 states=Nonsense
              = l4: NONE  unknown=["Nonsense"]
            > list l5 pid=3
              = l5: NONE b1/Empty unknown=[]
            > list l6 longer=4999 states=Ongoing
              = l6: NONE a2/Ongoing unknown=[]
            > list l7 longer=5000 states=Ongoing
              = l7: NONE  unknown=[]
            > list l8 pattern=a.
              = l8: NONE a1/Empty a2/Ongoing unknown=[]
            > list l9 pattern=a
              = l9: NONE  unknown=[]
            > list l10 pattern=[
              = l10: INVALID_REGULAR_EXPRESSION  unknown=[]
        "#]],
    );
}

#[derive(Debug, Clone)]
enum Step {
    Init { id: u8, current: bool },
    Add { id: u8, back: i16, version: i16, partition: i32 },
    End { id: u8, back: i16, version: i16, commit: bool },
    Markers { id: u8, result: u8 },
    Wait(i64),
    Reload,
}

fn step() -> impl Strategy<Value = Step> {
    let back = prop_oneof![6 => Just(0i16), 1 => Just(1i16), 1 => Just(-1i16)];
    prop_oneof![
        (0..3u8, any::<bool>()).prop_map(|(id, current)| Step::Init { id, current }),
        (0..3u8, back.clone(), 2..5i16, 0..3).prop_map(|(id, back, version, partition)| Step::Add {
            id,
            back,
            version,
            partition
        }),
        (0..3u8, back, 3..6i16, any::<bool>()).prop_map(|(id, back, version, commit)| Step::End {
            id,
            back,
            version,
            commit
        }),
        (0..3u8, 0..5u8).prop_map(|(id, result)| Step::Markers { id, result }),
        (0..20_000i64).prop_map(Step::Wait),
        Just(Step::Reload),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes in whatever order: no panic, a reload gives the same state, epochs of a producer never go back,
    /// and once markers are written a transaction that was prepared is complete.
    #[test]
    fn any_sequence_keeps_the_log_and_the_state_equal(
        steps in proptest::collection::vec(step(), 1..60),
        transaction_version in 0..3i16,
    ) {
        let mut world = World::new(TxnConfig { transaction_version, ..TxnConfig::kafka_defaults() });
        let mut last: BTreeMap<Str, (i64, i16)> = BTreeMap::new();
        for step in steps {
            let known = |id: u8| {
                let id = Str::from(format!("tx{id}"));
                let found = world.shard.transaction(&id).map(|m| (m.producer_id, m.producer_epoch));
                (id, found.unwrap_or((1, 0)))
            };
            let (line, ends) = match step {
                Step::Init { id, current } => {
                    let (id, (pid, epoch)) = known(id);
                    let line = if current { format!("init i id={id} pid={pid} epoch={epoch}") } else { format!("init i id={id}") };
                    (line, None)
                }
                Step::Add { id, back, version, partition } => {
                    let (id, (pid, epoch)) = known(id);
                    (format!("add a id={id} pid={pid} epoch={} v={version} to=t:{partition}", epoch.saturating_sub(back)), None)
                }
                Step::End { id, back, version, commit } => {
                    let (id, (pid, epoch)) = known(id);
                    let word = if commit { "commit" } else { "abort" };
                    (format!("{word} e id={id} pid={pid} epoch={} v={version}", epoch.saturating_sub(back)), None)
                }
                Step::Markers { id, result } => {
                    let (id, _) = known(id);
                    let word = ["written", "written", "failed", "deleted", "written"][usize::from(result)];
                    (format!("{word} id={id}"), (word != "failed").then_some(id))
                }
                Step::Wait(ms) => (format!("wait {ms}"), None),
                Step::Reload => ("reload".to_owned(), None),
            };
            world.run(&line);
            if let Some(id) = ends
                && let Some(metadata) = world.shard.transaction(&id)
            {
                prop_assert!(!metadata.state.is_completing(), "{:?}", metadata);
            }
            for metadata in world.shard.transactions() {
                let now = (metadata.producer_id, metadata.producer_epoch);
                let before = last.insert(metadata.transactional_id.clone(), now);
                if let Some(before) = before.filter(|before| before.0 == now.0) {
                    prop_assert!(now.1 >= before.1, "{} went back from {} to {}", metadata.transactional_id, before.1, now.1);
                }
            }
        }
    }

    /// No bytes make a load panic.
    #[test]
    fn any_bytes_as_a_record_are_an_error_at_worst(
        key in proptest::collection::vec(any::<u8>(), 0..40),
        value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..80)),
        flip in any::<(u16, u8)>(),
    ) {
        let mut world = World::new(TxnConfig::kafka_defaults());
        let _ = world.shard.replay(&key, value.as_deref());
        world.run("init i1\nadd a1 to=t1:0");
        let mut shard = TxnShard::new(TxnConfig::kafka_defaults(), 0);
        for (key, value) in &world.log {
            let mut value = value.as_deref().unwrap_or_default().to_vec();
            let at = usize::from(flip.0) % value.len();
            value[at] ^= flip.1;
            let _ = shard.replay(key, Some(&value));
            let _ = shard.replay(key, Some(&value[..at]));
        }
        shard.on_loaded(0);
    }
}
