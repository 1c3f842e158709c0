//! Consumer groups: many members of one group, in both protocols, and committed offsets. No stock client has a thousand
//! members in one process, so that the members are bare requests.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ottla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
    OffsetCommitRequest, OffsetCommitResponse, SyncGroupRequest, SyncGroupResponse,
};
use ottla_protocol::types::{Str, Uuid};
use ottla_protocol::{ApiKey, ErrorCode, frame};

use super::{Context, watch};
use crate::load::rpc::{self, Rpc};
use crate::load::{admin, raw};
use crate::stats::Figure;
use crate::system::Node;

const MEMBERS: u64 = 1_000;
const TOPIC: &str = "shared";
const JOIN: i16 = 9;
const SYNC: i16 = 5;
const HEARTBEAT: i16 = 4;
const CONSUMER_HEARTBEAT: i16 = 1;
/// The newest version that names topics instead of giving their ids.
const COMMIT: i16 = 9;
/// How often a classic member heartbeats. Kafka's clients do it every 3 s; a rebalance is heard of no sooner.
const BEAT: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(120);

pub fn groups(ctx: &Context<'_>) -> Result<Vec<Figure>, String> {
    let node = ctx.start(
        "max.connections.per.ip=100000\ngroup.consumer.max.size=10000\ngroup.coordinator.rebalance.protocols=classic,consumer\n",
    )?;
    let members = ctx.either(MEMBERS, MEMBERS / 5) as usize;
    admin::create_topics(&node.bootstrap(), &[TOPIC.to_owned()], members as i32, &[])?;
    let mut figures = Vec::new();
    ctx.say("offset commits");
    commits(ctx, &node, &mut figures)?;
    ctx.say(&format!("{members} classic members"));
    classic(&node, "classic-warm", members / 10)?;
    let (elapsed, spent) = watch(&node, || classic(&node, "classic", members))?;
    let name = format!("{members} classic members join");
    figures.push(Figure::less(
        format!("{name}, until all are in one generation"),
        "ms",
        elapsed.as_secs_f64() * 1e3,
    ));
    figures.push(Figure::less(format!("{name}: CPU"), "s", spent.broker.cpu_s()));
    ctx.say(&format!("{members} KIP-848 members"));
    consumer_members(ctx, &node, members, &mut figures)?;
    figures.push(Figure::less("RSS with these groups", "MB", node.rss_mb()));
    Ok(figures)
}

fn commits(ctx: &Context<'_>, node: &Node, figures: &mut Vec<Figure>) -> Result<(), String> {
    let mut rpc = Rpc::connect(node.port)?;
    let request = |group: usize| OffsetCommitRequest {
        group_id: format!("commits-{group}").as_str().into(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: TOPIC.into(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset: 0,
                committed_metadata: Some("".into()),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    // Whoever asks for a coordinator first has the topic of offsets made.
    let began = Instant::now();
    loop {
        let find =
            FindCoordinatorRequest { coordinator_keys: vec!["commits-0".into()], ..Default::default() };
        let _: FindCoordinatorResponse = rpc.call(ApiKey::FindCoordinator, 4, &find)?;
        let answer: OffsetCommitResponse = rpc.call(ApiKey::OffsetCommit, COMMIT, &request(0))?;
        match commit_error(&answer) {
            None => break,
            Some(error) if began.elapsed() > PATIENCE => return Err(format!("offset commit: error {error}")),
            Some(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
    let check = |bytes: Vec<u8>| {
        let answer: OffsetCommitResponse = rpc::decode(ApiKey::OffsetCommit, COMMIT, bytes)?;
        commit_error(&answer).map_or(Ok(()), |error| Err(format!("offset commit: error {error}")))
    };
    let run = |lasting| {
        let mut connections = Vec::new();
        for i in 0..10 {
            let frame =
                frame::request_frame(ApiKey::OffsetCommit, COMMIT, 1, Some("bench".into()), &request(i))
                    .map_err(|e| e.to_string())?;
            connections.push((raw::connect(node.port, None)?, vec![frame.to_vec()]));
        }
        raw::pipeline(connections, 5, u64::MAX, lasting, &check)
    };
    run(ctx.lasting(6))?;
    let (done, spent) = watch(node, || run(ctx.lasting(10)))?;
    figures.push(Figure::more("offset commits: 10 groups, 10 connections, 5 in flight", "1/s", done.per_s()));
    figures.push(Figure::less("CPU per offset commit", "us", spent.us_per(done.requests)));
    figures.push(Figure::beside("load generator's CPU, commits", "% of a core", spent.generator));
    Ok(())
}

fn commit_error(answer: &OffsetCommitResponse) -> Option<i16> {
    answer.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code).find(|e| *e != 0)
}

/// Who is in which generation, and whether the group is whole.
struct Muster {
    wanted: usize,
    in_generation: Mutex<BTreeMap<i32, usize>>,
    whole: AtomicBool,
    failed: Mutex<Option<String>>,
}

/// Lets so many members, each a thread with a connection, join one group; returns when all are in one generation and
/// have their assignments.
fn classic(node: &Node, group: &str, members: usize) -> Result<Duration, String> {
    let muster = Muster {
        wanted: members,
        in_generation: Mutex::default(),
        whole: AtomicBool::new(false),
        failed: Mutex::new(None),
    };
    let mut open = Vec::new();
    for _ in 0..members {
        open.push(Rpc::connect(node.port)?);
    }
    let began = Instant::now();
    let mut whole_after = None;
    std::thread::scope(|scope| {
        for mut rpc in open {
            let muster = &muster;
            let spawned = std::thread::Builder::new().stack_size(128 << 10).spawn_scoped(scope, move || {
                if let Err(error) = member(&mut rpc, group, muster, began)
                    && !muster.whole.load(Ordering::Acquire)
                {
                    muster.failed.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(error);
                    muster.whole.store(true, Ordering::Release);
                }
            });
            if let Err(error) = spawned {
                muster.failed.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(error.to_string());
                muster.whole.store(true, Ordering::Release);
            }
        }
        while !muster.whole.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(2));
        }
        whole_after = Some(began.elapsed());
    });
    match muster.failed.into_inner().unwrap_or_else(|e| e.into_inner()) {
        Some(error) => Err(error),
        None => Ok(whole_after.unwrap_or_default()),
    }
}

fn member(rpc: &mut Rpc, group: &str, muster: &Muster, began: Instant) -> Result<(), String> {
    let mut id = Str::from_static("");
    while !muster.whole.load(Ordering::Acquire) {
        if began.elapsed() > PATIENCE {
            return Err(format!("{group} is not whole within {PATIENCE:?}"));
        }
        let join = JoinGroupRequest {
            group_id: group.into(),
            session_timeout_ms: 60_000,
            rebalance_timeout_ms: 60_000,
            member_id: id.clone(),
            protocol_type: "consumer".into(),
            protocols: vec![JoinGroupRequestProtocol {
                name: "range".into(),
                metadata: subscription(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let joined: JoinGroupResponse = rpc.call(ApiKey::JoinGroup, JOIN, &join)?;
        match ErrorCode::from_code(joined.error_code) {
            ErrorCode::None => id = joined.member_id.clone(),
            ErrorCode::MemberIdRequired => {
                id = joined.member_id;
                continue;
            }
            ErrorCode::RebalanceInProgress
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator => continue,
            other => return Err(format!("a member cannot join: {}", other.name())),
        }
        let assignments = joined
            .members
            .iter()
            .enumerate()
            .map(|(i, m)| SyncGroupRequestAssignment {
                member_id: m.member_id.clone(),
                assignment: assignment(i as i32),
                ..Default::default()
            })
            .collect();
        let sync = SyncGroupRequest {
            group_id: group.into(),
            generation_id: joined.generation_id,
            member_id: id.clone(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments,
            ..Default::default()
        };
        let synced: SyncGroupResponse = rpc.call(ApiKey::SyncGroup, SYNC, &sync)?;
        if synced.error_code != 0 {
            continue;
        }
        {
            let mut all = muster.in_generation.lock().unwrap_or_else(|e| e.into_inner());
            let count = all.entry(joined.generation_id).or_default();
            *count += 1;
            if *count == muster.wanted {
                muster.whole.store(true, Ordering::Release);
            }
        }
        let beat = HeartbeatRequest {
            group_id: group.into(),
            generation_id: joined.generation_id,
            member_id: id.clone(),
            ..Default::default()
        };
        while !muster.whole.load(Ordering::Acquire) {
            std::thread::sleep(BEAT);
            let heard: HeartbeatResponse = rpc.call(ApiKey::Heartbeat, HEARTBEAT, &beat)?;
            if heard.error_code != 0 {
                break;
            }
        }
    }
    Ok(())
}

/// Version 0 of what a consumer tells of itself: its topics, and no user data.
fn subscription() -> bytes::Bytes {
    let mut out = vec![0, 0, 0, 0, 0, 1, 0, TOPIC.len() as u8];
    out.extend_from_slice(TOPIC.as_bytes());
    out.extend_from_slice(&[0xff; 4]);
    out.into()
}

/// Version 0 of an assignment of one partition.
fn assignment(partition: i32) -> bytes::Bytes {
    let mut out = vec![0, 0, 0, 0, 0, 1, 0, TOPIC.len() as u8];
    out.extend_from_slice(TOPIC.as_bytes());
    out.extend_from_slice(&1i32.to_be_bytes());
    out.extend_from_slice(&partition.to_be_bytes());
    out.extend_from_slice(&[0xff; 4]);
    out.into()
}

/// A member of a KIP-848 group.
#[derive(Clone)]
struct Member {
    id: Str,
    epoch: i32,
    owned: Vec<(Uuid, Vec<i32>)>,
}

impl Member {
    fn heartbeat(&self, group: &str, whole: bool) -> ConsumerGroupHeartbeatRequest {
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id: group.into(),
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            ..Default::default()
        };
        if whole {
            request.rebalance_timeout_ms = 60_000;
            request.subscribed_topic_names = Some(vec![TOPIC.into()]);
            let owned = |(topic_id, partitions): &(Uuid, Vec<i32>)| TopicPartitions {
                topic_id: *topic_id,
                partitions: partitions.clone(),
                ..Default::default()
            };
            request.topic_partitions = Some(self.owned.iter().map(owned).collect());
        }
        request
    }

    fn beat(&mut self, rpc: &mut Rpc, group: &str) -> Result<(), String> {
        let request = self.heartbeat(group, true);
        let answer: ConsumerGroupHeartbeatResponse =
            rpc.call(ApiKey::ConsumerGroupHeartbeat, CONSUMER_HEARTBEAT, &request)?;
        if answer.error_code != 0 {
            return Err(format!("heartbeat: error {} {:?}", answer.error_code, answer.error_message));
        }
        self.epoch = answer.member_epoch;
        if let Some(assignment) = answer.assignment {
            self.owned =
                assignment.topic_partitions.into_iter().map(|t| (t.topic_id, t.partitions)).collect();
        }
        Ok(())
    }
}

/// How many members have exactly so many partitions.
fn with_their_share(members: &[Member], share: usize) -> usize {
    members.iter().filter(|m| m.owned.iter().map(|(_, p)| p.len()).sum::<usize>() == share).count()
}

fn consumer_members(
    ctx: &Context<'_>,
    node: &Node,
    count: usize,
    figures: &mut Vec<Figure>,
) -> Result<(), String> {
    let mut rpc = Rpc::connect(node.port)?;
    // As many as there are members of the group that is measured.
    let partitions = count;
    let mut settle = |group: &str, count: usize| -> Result<Vec<Member>, String> {
        let mut members: Vec<Member> = (0..count)
            .map(|i| Member { id: format!("member-{i:06}").as_str().into(), epoch: 0, owned: Vec::new() })
            .collect();
        let began = Instant::now();
        // Every member joins, and then heartbeats in turn until all have the epoch of the group and their share.
        for m in &mut members {
            m.beat(&mut rpc, group)?;
        }
        loop {
            let last = members.iter().map(|m| m.epoch).max();
            let even = members.iter().all(|m| Some(m.epoch) == last);
            if even && with_their_share(&members, partitions / count) == count {
                return Ok(members);
            }
            if began.elapsed() > PATIENCE {
                let own = with_their_share(&members, partitions / count);
                return Err(format!("{group} does not settle: {own} of {count} members have their share"));
            }
            // Assignments are computed at intervals: heartbeats in between change nothing.
            std::thread::sleep(Duration::from_millis(100));
            for m in &mut members {
                m.beat(&mut rpc, group)?;
            }
        }
    };
    settle("consumer-warm", count / 10)?;
    let (members, spent) = watch(node, || settle("consumer", count))?;
    let name = format!("{count} KIP-848 members join");
    figures.push(Figure::less(
        format!("{name}, until all have their partition"),
        "ms",
        spent.elapsed.as_secs_f64() * 1e3,
    ));
    figures.push(Figure::less(format!("{name}: CPU"), "s", spent.broker.cpu_s()));

    // Steady state: nothing changes, a thousand heartbeats a second.
    let lasting = ctx.lasting(10);
    let paced = || -> Result<u64, String> {
        let mut rpc = Rpc::connect(node.port)?;
        let (began, mut sent) = (Instant::now(), 0u64);
        while began.elapsed() < lasting {
            let m = &members[sent as usize % members.len()];
            let request = m.heartbeat("consumer", false);
            let answer: ConsumerGroupHeartbeatResponse =
                rpc.call(ApiKey::ConsumerGroupHeartbeat, CONSUMER_HEARTBEAT, &request)?;
            if answer.error_code != 0 {
                return Err(format!("heartbeat: error {} {:?}", answer.error_code, answer.error_message));
            }
            sent += 1;
            std::thread::sleep(Duration::from_millis(sent).saturating_sub(began.elapsed()));
        }
        Ok(sent)
    };
    let (sent, spent) = watch(node, paced)?;
    let cpu = spent.broker.cpu_s() / spent.elapsed.as_secs_f64() * 100.0;
    figures.push(Figure::less("CPU with 1,000 KIP-848 heartbeats a second", "% of a core", cpu));
    figures.push(Figure::less("CPU per KIP-848 heartbeat, paced", "us", spent.us_per(sent)));

    let check = |bytes: Vec<u8>| {
        let answer: ConsumerGroupHeartbeatResponse =
            rpc::decode(ApiKey::ConsumerGroupHeartbeat, CONSUMER_HEARTBEAT, bytes)?;
        match answer.error_code {
            0 => Ok(()),
            code => Err(format!("heartbeat: error {code} {:?}", answer.error_message)),
        }
    };
    let flat_out = || {
        let mut connections = Vec::new();
        for c in 0..10 {
            let mut frames = Vec::new();
            for m in members.iter().skip(c).step_by(10) {
                let request = m.heartbeat("consumer", false);
                let bytes = frame::request_frame(
                    ApiKey::ConsumerGroupHeartbeat,
                    CONSUMER_HEARTBEAT,
                    1,
                    Some("bench".into()),
                    &request,
                );
                frames.push(bytes.map_err(|e| e.to_string())?.to_vec());
            }
            connections.push((raw::connect(node.port, None)?, frames));
        }
        raw::pipeline(connections, 5, u64::MAX, lasting, &check)
    };
    let (done, spent) = watch(node, flat_out)?;
    figures.push(Figure::more("KIP-848 heartbeats: 10 connections, 5 in flight", "1/s", done.per_s()));
    figures.push(Figure::less("CPU per KIP-848 heartbeat, flat out", "us", spent.us_per(done.requests)));
    Ok(())
}
