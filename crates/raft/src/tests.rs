//! Tests of the core: one voter, observers, snapshots, answers to candidates.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::begin_quorum_epoch_request as begin;
use ottla_protocol::messages::describe_quorum_request as dq;
use ottla_protocol::messages::fetch_request::FetchRequest;
use ottla_protocol::messages::vote_request as vote;
use ottla_protocol::records::{BatchIter, Scratch};
use ottla_protocol::types::Uuid;
use ottla_protocol::wire::Message as _;
use proptest::prelude::*;

use super::*;

/// A log in memory, all of it flushed at once.
#[derive(Default, Clone)]
struct MemLog {
    start: i64,
    batches: Vec<(i64, i64, i32, Bytes)>,
    snapshots: BTreeMap<SnapshotId, Vec<u8>>,
    parts: BTreeMap<SnapshotId, Vec<u8>>,
}

impl MemLog {
    fn append(&mut self, bytes: &Bytes) {
        let mut position = 0;
        for batch in BatchIter::new(bytes) {
            let batch = batch.unwrap();
            let h = batch.header();
            assert_eq!(h.base_offset, self.end().offset, "a gap in the log");
            let slice = bytes.slice(position..position + batch.size());
            position += batch.size();
            self.batches.push((h.base_offset, h.next_offset(), h.partition_leader_epoch, slice));
        }
    }

    fn read(&self, offset: i64, max: usize) -> Bytes {
        let mut out = Vec::new();
        for (_, end, _, bytes) in &self.batches {
            if *end > offset {
                if !out.is_empty() && out.len() + bytes.len() > max {
                    break;
                }
                out.extend_from_slice(bytes);
            }
        }
        out.into()
    }

    fn values(&self) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        for (.., bytes) in &self.batches {
            for_each_record::<LogReadError>(bytes, |r| {
                out.push(r.value.to_vec());
                Ok(())
            })
            .unwrap();
        }
        out
    }

    fn install(&mut self, id: SnapshotId) -> ControlHistory {
        let bytes = self.parts.remove(&id).unwrap();
        let mut history = ControlHistory::new();
        history.replay_snapshot(&bytes, id.offset).unwrap();
        self.snapshots.clear();
        self.snapshots.insert(id, bytes);
        self.batches.clear();
        self.start = id.offset;
        history
    }

    /// Drops the log before a new snapshot.
    fn compact(&mut self, epoch: i32) -> SnapshotId {
        let id = SnapshotId::new(self.end().offset, epoch);
        let bytes = snapshot_bytes(id, 5, 6, 0, None, &[Bytes::from_static(b"state")]).unwrap();
        self.snapshots.clear();
        self.snapshots.insert(id, bytes);
        self.batches.clear();
        self.start = id.offset;
        id
    }
}

impl LogView for MemLog {
    fn start_offset(&self) -> i64 {
        self.start
    }
    fn end(&self) -> OffsetAndEpoch {
        match self.batches.last() {
            Some((_, end, epoch, _)) => OffsetAndEpoch::new(*end, *epoch),
            None => self.latest_snapshot().unwrap_or(OffsetAndEpoch::new(self.start, 0)),
        }
    }
    fn flushed_offset(&self) -> i64 {
        self.end().offset
    }
    fn end_of_epoch(&self, epoch: i32) -> OffsetAndEpoch {
        let found = self.batches.iter().rev().find(|b| b.2 <= epoch);
        match found {
            Some((_, end, e, _)) => OffsetAndEpoch::new(*end, *e),
            None => self
                .latest_snapshot()
                .filter(|s| s.epoch <= epoch)
                .unwrap_or(OffsetAndEpoch::new(self.start, 0)),
        }
    }
    fn latest_snapshot(&self) -> Option<SnapshotId> {
        self.snapshots.keys().next_back().copied()
    }
    fn earliest_snapshot(&self) -> Option<SnapshotId> {
        self.snapshots.keys().next().copied()
    }
    fn snapshot_size(&self, id: SnapshotId) -> Option<u64> {
        self.snapshots.get(&id).map(|s| s.len() as u64)
    }
}

fn dir(n: u64) -> Uuid {
    Uuid::from_halves(1, n)
}

fn config(id: i32, can_vote: bool) -> CoreConfig {
    CoreConfig {
        node_id: id,
        directory_id: dir(id as u64),
        cluster_id: "c".to_owned(),
        can_vote,
        static_voters: VoterSet::from_static("CONTROLLER", [(1, "h1", 9093)].into_iter()),
        bootstrap_servers: Vec::new(),
        listener: "CONTROLLER".to_owned(),
        advertised: vec![ListenerAddress {
            name: "CONTROLLER".to_owned(),
            host: "h1".to_owned(),
            port: 9093,
        }],
        fetch_timeout_ms: 2_000,
        retry_backoff_ms: 20,
        fetch_max_bytes: 1 << 20,
        fetch_snapshot_max_bytes: 100,
    }
}

struct Node {
    core: QuorumCore,
    log: MemLog,
    json: Option<String>,
}

impl Node {
    fn new(config: CoreConfig) -> Self {
        let log = MemLog::default();
        let core = QuorumCore::new(config, None, ControlHistory::new(), &log);
        Node { core, log, json: None }
    }

    /// Handles an event and everything that follows from it inside the node. What is for others is
    /// returned.
    fn step(&mut self, event: Event, now_ms: i64) -> Vec<Effect> {
        let effects = self.core.on_event(event, &self.log, now_ms);
        self.carry_out(effects, now_ms)
    }

    fn carry_out(&mut self, effects: Vec<Effect>, now_ms: i64) -> Vec<Effect> {
        let mut outside = Vec::new();
        for effect in effects {
            match effect {
                Effect::PersistElection { json } => self.json = Some(json),
                Effect::Append(batch) => {
                    self.log.append(&batch.bytes);
                    outside.extend(self.step(Event::Flushed, now_ms));
                }
                Effect::AppendFetched { batches } => {
                    self.log.append(&batches);
                    outside.extend(self.step(Event::Flushed, now_ms));
                }
                Effect::Truncate { offset } => {
                    self.log.batches.retain(|b| b.1 <= offset);
                    outside.extend(self.step(Event::Flushed, now_ms));
                }
                Effect::WriteSnapshotChunk { id, position, bytes } => {
                    let part = self.log.parts.entry(id).or_default();
                    assert_eq!(part.len() as u64, position);
                    part.extend_from_slice(&bytes);
                }
                Effect::InstallSnapshot { id } => {
                    let history = self.log.install(id);
                    outside.extend(self.step(Event::SnapshotInstalled { id, history }, now_ms));
                }
                Effect::RespondWithRecords { token, mut response, offset, max_bytes } => {
                    response.responses[0].partitions[0].records = Some(self.log.read(offset, max_bytes));
                    let response = PeerResponse::Fetch(response);
                    outside.push(Effect::Respond { token, response });
                }
                Effect::RespondWithSnapshot { token, mut response, id, position, max_bytes } => {
                    let all = &self.log.snapshots[&id];
                    let from = position as usize;
                    let to = (from + max_bytes).min(all.len());
                    response.topics[0].partitions[0].unaligned_records =
                        Some(Bytes::copy_from_slice(&all[from..to]));
                    let response = PeerResponse::FetchSnapshot(response);
                    outside.push(Effect::Respond { token, response });
                }
                other => outside.push(other),
            }
        }
        outside
    }

    fn propose(&mut self, values: &[&str], now_ms: i64) -> Vec<Effect> {
        let values: Vec<Bytes> = values.iter().map(|v| Bytes::from(v.to_string())).collect();
        let batches = self.core.propose(&values, false, &self.log, now_ms).unwrap();
        for b in &batches {
            self.log.append(&b.bytes);
        }
        let mut effects = self.core.on_appended(&self.log, now_ms);
        effects.extend(self.core.on_event(Event::Flushed, &self.log, now_ms));
        self.carry_out(effects, now_ms)
    }
}

/// Lets an observer talk to the leader for a while.
fn run(leader: &mut Node, observer: &mut Node, from_ms: i64, steps: i64) {
    let mut sent: BTreeMap<u64, RequestId> = BTreeMap::new();
    let mut next = from_ms as u64 * 1_000_000;
    for now in from_ms..from_ms + steps {
        let mut to_observer = leader.step(Event::Tick, now);
        for effect in observer.step(Event::Tick, now) {
            let Effect::Send { id, request, .. } = effect else {
                continue;
            };
            next += 1;
            let token = next;
            sent.insert(token, id);
            to_observer
                .extend(leader.step(Event::Request { token: Token(token), version: 18, request }, now));
        }
        let mut messages = 0;
        while let Some(effect) = to_observer.pop() {
            messages += 1;
            assert!(messages < 1_000, "a loop without time passing: {effect:?}");
            let Effect::Respond { token, response } = effect else {
                continue;
            };
            // The answer to a fetch of an earlier run is lost.
            let Some(id) = sent.remove(&token.0) else {
                continue;
            };
            for e in observer.step(Event::Response { id, response }, now) {
                let Effect::Send { id, request, .. } = e else {
                    continue;
                };
                next += 1;
                let n = next;
                sent.insert(n, id);
                to_observer
                    .extend(leader.step(Event::Request { token: Token(n), version: 18, request }, now));
            }
        }
    }
}

fn leader() -> Node {
    let mut node = Node::new(config(1, true));
    node.step(Event::Tick, 100);
    node
}

#[test]
fn the_only_voter_elects_itself_and_commits() {
    let mut node = leader();
    assert!(node.core.is_leader());
    assert_eq!(node.core.epoch(), 1);
    assert_eq!(
        node.json.as_deref(),
        Some(
            "{\"clusterId\":\"\",\"leaderId\":1,\"leaderEpoch\":1,\"votedId\":-1,\"appliedOffset\":0,\
             \"currentVoters\":[{\"voterId\":1}],\"data_version\":0}"
        )
    );
    assert_eq!(node.core.high_watermark(), Some(1));
    let out = node.propose(&["a", "b"], 101);
    assert!(out.contains(&Effect::HighWatermark { offset: 3 }), "{out:?}");
    assert_eq!(node.log.values(), [b"a", b"b"]);
}

#[test]
fn a_static_quorum_of_one_becomes_dynamic() {
    let mut node = leader();
    assert!(node.core.can_upgrade_kraft_version(1));
    assert_eq!(node.core.kraft_version(), 0);
    let batch = node.core.propose_kraft_version(1, &node.log, 101).unwrap();
    assert_eq!((batch.base_offset, batch.end_offset), (1, 3));
    assert_eq!(node.core.kraft_version(), 1);
    let voter = &node.core.voters().voters[&1];
    assert_eq!(voter.directory_id, Some(config(1, true).directory_id));
    assert_eq!(voter.endpoints, config(1, true).advertised);
    assert!(!node.core.can_upgrade_kraft_version(1));
    let observer = Node::new(config(2, false));
    assert!(!observer.core.can_upgrade_kraft_version(1));
}

#[test]
fn a_restart_takes_a_new_epoch() {
    let mut node = leader();
    node.propose(&["a"], 101);
    let election = ElectionState::from_json(node.json.as_ref().unwrap()).unwrap();
    let core = QuorumCore::new(config(1, true), Some(election), ControlHistory::new(), &node.log);
    let mut again = Node { core, log: node.log.clone(), json: None };
    again.step(Event::Tick, 200);
    assert_eq!(again.core.epoch(), 2);
    assert_eq!(again.core.high_watermark(), Some(3));
}

#[test]
fn an_observer_follows() {
    let mut l = leader();
    let mut o = Node::new(config(2, false));
    l.propose(&["a"], 101);
    run(&mut l, &mut o, 110, 50);
    assert_eq!(o.core.leader_id(), Some(1));
    assert_eq!(o.core.high_watermark(), Some(2));
    l.propose(&["b"], 170);
    run(&mut l, &mut o, 171, 3_000);
    assert_eq!(o.log.values(), [b"a", b"b"]);
    assert_eq!(o.core.high_watermark(), Some(3));
    let d = l.core.describe_quorum(&describe(), 2, &l.log, 4_000);
    let p = &d.topics[0].partitions[0];
    assert_eq!((p.leader_id, p.high_watermark), (1, 3));
    assert_eq!(p.observers[0].replica_id, 2);
    assert_eq!(p.observers[0].log_end_offset, 3);
    assert_eq!(d.nodes[0].listeners[0].port, 9093);
    for version in 0..=2 {
        // What a version cannot say must not be in it.
        assert!(l.core.describe_quorum(&describe(), version, &l.log, 4_000).to_bytes(version).is_ok());
    }
}

#[test]
fn an_observer_that_is_late_gets_the_snapshot() {
    let mut l = leader();
    l.propose(&["a"], 101);
    let id = l.log.compact(1);
    l.propose(&["b"], 102);
    let mut o = Node::new(config(2, false));
    run(&mut l, &mut o, 110, 200);
    assert_eq!(o.log.latest_snapshot(), Some(id));
    assert_eq!(o.log.values(), [b"b"]);
    assert_eq!(o.core.high_watermark(), Some(3));
}

#[test]
fn an_observer_that_differs_truncates() {
    let mut l = leader();
    l.propose(&["a"], 101);
    let mut o = Node::new(config(2, false));
    run(&mut l, &mut o, 110, 50);
    // A tail that the next leader does not have.
    let stray = build_batches(&[Bytes::from_static(b"x")], 2, 1, 160, false).unwrap();
    o.log.append(&stray[0].bytes);
    let election = ElectionState::from_json(l.json.as_ref().unwrap()).unwrap();
    l.core = QuorumCore::new(config(1, true), Some(election), ControlHistory::new(), &l.log);
    l.step(Event::Tick, 200);
    l.propose(&["b"], 201);
    run(&mut l, &mut o, 202, 3_000);
    assert_eq!(o.core.epoch(), 2);
    assert_eq!(o.log.values(), [b"a", b"b"]);
}

fn describe() -> dq::DescribeQuorumRequest {
    dq::DescribeQuorumRequest {
        topics: vec![dq::TopicData {
            topic_name: METADATA_TOPIC.into(),
            partitions: vec![dq::PartitionData::default()],
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[test]
fn fetches_that_make_no_sense_are_refused() {
    let mut l = leader();
    let fetch = |l: &mut Node, change: &dyn Fn(&mut FetchRequest)| {
        let mut o = Node::new(config(2, false));
        let sent = o.step(Event::Tick, 0);
        let Some(Effect::Send { request: PeerRequest::Fetch(mut r), .. }) = sent.into_iter().next() else {
            panic!("no fetch");
        };
        r.max_wait_ms = 0;
        r.topics[0].partitions[0].current_leader_epoch = 1;
        change(&mut r);
        let request = PeerRequest::Fetch(r);
        let event = Event::Request { token: Token(1), version: 18, request };
        let out = l.step(event, 200);
        match out.into_iter().next() {
            Some(Effect::Respond { response: PeerResponse::Fetch(r), .. }) => {
                let code = r.responses.first().map_or(r.error_code, |t| t.partitions[0].error_code);
                ErrorCode::from_code(code)
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(fetch(&mut l, &|_| {}), ErrorCode::None);
    assert_eq!(fetch(&mut l, &|r| r.cluster_id = Some("x".into())), ErrorCode::InconsistentClusterId);
    assert_eq!(fetch(&mut l, &|r| r.topics.clear()), ErrorCode::InvalidRequest);
    let epoch = |r: &mut FetchRequest, e| r.topics[0].partitions[0].current_leader_epoch = e;
    assert_eq!(fetch(&mut l, &|r| epoch(r, 0)), ErrorCode::FencedLeaderEpoch);
    assert_eq!(fetch(&mut l, &|r| epoch(r, 9)), ErrorCode::UnknownLeaderEpoch);
}

fn vote_request(epoch: i32, candidate: i32, log: OffsetAndEpoch, pre: bool) -> PeerRequest {
    PeerRequest::Vote(vote::VoteRequest {
        cluster_id: Some("c".into()),
        voter_id: 1,
        topics: vec![vote::TopicData {
            topic_name: METADATA_TOPIC.into(),
            partitions: vec![vote::PartitionData {
                replica_epoch: epoch,
                replica_id: candidate,
                last_offset: log.offset,
                last_offset_epoch: log.epoch,
                pre_vote: pre,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    })
}

fn ask(node: &mut Node, request: PeerRequest) -> PeerResponse {
    let event = Event::Request { token: Token(7), version: 2, request };
    let out = node.step(event, 500);
    out.into_iter()
        .find_map(|e| match e {
            Effect::Respond { response, .. } => Some(response),
            _ => None,
        })
        .unwrap()
}

fn vote_result(response: PeerResponse) -> (ErrorCode, bool, i32) {
    let PeerResponse::Vote(r) = response else {
        panic!("not a vote");
    };
    let p = &r.topics[0].partitions[0];
    (ErrorCode::from_code(p.error_code), p.vote_granted, p.leader_epoch)
}

#[test]
fn candidates_get_correct_answers() {
    let mut three = config(1, true);
    three.static_voters =
        VoterSet::from_static("CONTROLLER", [(1, "h1", 1), (2, "h2", 2), (3, "h3", 3)].into_iter());
    let mut node = Node::new(three);
    node.step(Event::Tick, 0);
    assert!(!node.core.is_leader());
    let empty = OffsetAndEpoch::new(0, 0);
    let vote = |node: &mut Node, epoch, id, pre| vote_result(ask(node, vote_request(epoch, id, empty, pre)));
    assert_eq!(vote(&mut node, 0, 2, true), (ErrorCode::None, true, 0));
    assert_eq!(vote(&mut node, 3, 2, false), (ErrorCode::None, true, 3));
    assert!(node.json.as_ref().unwrap().contains("\"votedId\":2"));
    // One vote in an epoch, but the same candidate may ask again.
    assert_eq!(vote(&mut node, 3, 3, false), (ErrorCode::None, false, 3));
    assert_eq!(vote(&mut node, 3, 2, false), (ErrorCode::None, true, 3));
    assert_eq!(vote(&mut node, 2, 3, false), (ErrorCode::FencedLeaderEpoch, false, 3));
    let begin = PeerRequest::BeginQuorumEpoch(begin::BeginQuorumEpochRequest {
        cluster_id: Some("c".into()),
        voter_id: 1,
        topics: vec![begin::TopicData {
            topic_name: METADATA_TOPIC.into(),
            partitions: vec![begin::PartitionData { leader_id: 2, leader_epoch: 3, ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    });
    ask(&mut node, begin);
    assert_eq!(node.core.leader_id(), Some(2));
    assert_eq!(vote(&mut node, 3, 2, true), (ErrorCode::None, false, 3));
}

#[test]
fn a_leader_of_its_own_quorum_yields_to_no_stranger_with_an_old_log() {
    let mut l = leader();
    l.propose(&["a"], 101);
    let request = vote_request(5, 9, OffsetAndEpoch::new(0, 0), false);
    let (code, granted, epoch) = vote_result(ask(&mut l, request));
    assert_eq!((code, granted, epoch), (ErrorCode::None, false, 5));
    // It leads again, in a later epoch.
    l.step(Event::Tick, 600);
    assert!(l.core.is_leader());
    assert_eq!(l.core.epoch(), 6);
}

#[test]
fn a_dynamic_quorum_writes_its_voters_into_the_log() {
    let mut voters = VoterSet::from_static("CONTROLLER", [(1, "h1", 9093)].into_iter());
    voters.voters.get_mut(&1).unwrap().directory_id = Some(dir(1));
    let id = SnapshotId::new(0, 0);
    let bytes = snapshot_bytes(id, 1, 2, 1, Some(&voters), &[Bytes::from_static(b"f")]).unwrap();
    let mut history = ControlHistory::new();
    history.replay_snapshot(&bytes, 0).unwrap();
    assert_eq!(history.kraft_version(), 1);
    assert_eq!(history.voters(), Some((-1, &voters)));
    let mut values = Vec::new();
    for_each_record::<LogReadError>(&bytes, |r| {
        values.push((r.offset, r.value.to_vec()));
        Ok(())
    })
    .unwrap();
    assert_eq!(values, [(3, b"f".to_vec())]);

    let mut c = config(1, true);
    c.static_voters = VoterSet::default();
    let log = MemLog::default();
    let core = QuorumCore::new(c, None, history, &log);
    let mut node = Node { core, log, json: None };
    node.step(Event::Tick, 10);
    assert!(node.core.is_leader());
    assert_eq!(
        node.json.as_deref(),
        Some(
            "{\"leaderId\":1,\"leaderEpoch\":1,\"votedId\":-1,\"votedDirectoryId\":\
             \"AAAAAAAAAAAAAAAAAAAAAA\",\"data_version\":1}"
        )
    );
    assert_eq!(node.core.high_watermark(), Some(3));
    let mut again = ControlHistory::new();
    again.replay_log(&node.log.batches[0].3).unwrap();
    assert_eq!(again.voters(), Some((2, &voters)));
    let batch = BatchIter::new(&node.log.batches[0].3).next().unwrap().unwrap();
    let mut scratch = Scratch::default();
    let first = batch.records(&mut scratch).unwrap().next().unwrap().unwrap();
    // Version 0, the leader, one voter, one vote: what Kafka's own leader writes here.
    let expected = [0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 1, 0, 2, 0, 0, 0, 1, 0, 0];
    assert_eq!(first.value.unwrap(), expected);
}

#[test]
fn snapshots_are_due_by_bytes_and_by_time() {
    let mut p = SnapshotPolicy::new(100, 1_000, 0);
    assert_eq!(p.due(5_000), None, "nothing to write");
    p.on_committed(60);
    assert_eq!(p.due(999), None);
    assert_eq!(p.due(1_000), Some(SnapshotReason::Time));
    p.on_committed(60);
    assert_eq!(p.due(1), Some(SnapshotReason::Bytes));
    p.on_snapshot(2_000);
    assert_eq!((p.due(9_000), p.next_deadline_ms()), (None, None));
}

#[test]
fn old_snapshots_go_and_the_newest_stays() {
    let s = |offset, size_bytes, last_contained_log_timestamp_ms| StoredSnapshot {
        id: SnapshotId::new(offset, 1),
        size_bytes,
        last_contained_log_timestamp_ms,
    };
    let all = [s(1, 10, 0), s(2, 10, 50), s(3, 10, 90)];
    let ids = |v: Vec<SnapshotId>| v.iter().map(|s| s.offset).collect::<Vec<_>>();
    assert!(snapshots_to_delete(&all, 100, -1, -1, 1_000).is_empty());
    assert_eq!(ids(snapshots_to_delete(&all, 100, 0, -1, 1_000)), [1, 2]);
    assert_eq!(ids(snapshots_to_delete(&all, 100, 125, -1, 1_000)), [1]);
    assert_eq!(ids(snapshots_to_delete(&all, 0, -1, 60, 100)), [1]);
}

#[test]
fn snapshot_names() {
    let id = SnapshotId::new(1375, 2);
    let name = snapshot_file_name(id);
    assert_eq!(name, "00000000000000001375-0000000002.checkpoint");
    assert_eq!(parse_snapshot_file_name(&name), Some(id));
    assert_eq!(parse_snapshot_file_name("1-2.checkpoint"), None);
}

#[test]
fn large_decisions_are_split_unless_atomic() {
    let value = Bytes::from(vec![0u8; 3 * 1024 * 1024]);
    let values = vec![value; 5];
    let batches = build_batches(&values, 10, 1, 0, false).unwrap();
    let ends: Vec<i64> = batches.iter().map(|b| b.end_offset).collect();
    assert_eq!(ends, [12, 14, 15]);
    assert!(matches!(build_batches(&values, 10, 1, 0, true), Err(BuildError::TooLarge { .. })));
}

proptest! {
    #[test]
    fn any_text_is_read_as_quorum_state_without_panic(text in "\\PC{0,60}") {
        let _ = ElectionState::from_json(&text);
    }

    #[test]
    fn mutated_control_records_never_panic(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut voters = VoterSet::from_static("CONTROLLER", [(1, "h1", 9093)].into_iter());
        voters.voters.get_mut(&1).unwrap().directory_id = Some(dir(1));
        let mut bytes =
            snapshot_bytes(SnapshotId::new(0, 0), 1, 2, 1, Some(&voters), &[]).unwrap();
        let i = at.index(bytes.len());
        bytes[i] ^= 1 << bit;
        let _ = ControlHistory::new().replay_snapshot(&bytes, 0);
        let _ = for_each_record::<LogReadError>(&bytes, |_| Ok(()));
    }

    #[test]
    fn an_observer_ends_with_the_leaders_log(
        script in prop::collection::vec((0u8..4, 1usize..4), 1..12)
    ) {
        let mut l = leader();
        let mut o = Node::new(config(2, false));
        let mut now = 200;
        for (i, (what, n)) in script.iter().enumerate() {
            match what {
                0 => {
                    let epoch = l.core.epoch();
                    if l.log.end().offset > l.log.start {
                        l.log.compact(epoch);
                    }
                }
                1 => {
                    let election = ElectionState::from_json(l.json.as_ref().unwrap()).unwrap();
                    l.core = QuorumCore::new(
                        config(1, true), Some(election), ControlHistory::new(), &l.log);
                    l.step(Event::Tick, now);
                }
                2 => {
                    let values: Vec<String> = (0..*n).map(|k| format!("{i}-{k}")).collect();
                    let values: Vec<&str> = values.iter().map(String::as_str).collect();
                    l.propose(&values, now);
                }
                _ => run(&mut l, &mut o, now, 30),
            }
            now += 40;
        }
        run(&mut l, &mut o, now, 6_000);
        prop_assert_eq!(o.log.end(), l.log.end());
        prop_assert_eq!(o.core.high_watermark(), l.core.high_watermark());
        let tail = |log: &MemLog| log.batches.last().map(|b| b.3.clone());
        prop_assert_eq!(tail(&o.log).is_some() || tail(&l.log).is_none() || o.log.start == l.log.end().offset, true);
    }
}
