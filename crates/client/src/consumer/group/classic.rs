//! The classic protocol: JoinGroup, SyncGroup, Heartbeat. Rebalances are eager. Source: Kafka `AbstractCoordinator`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_protocol_assignment::TopicPartition as AssignedTopic;
use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
};
use ottla_protocol::types::Str;
use ottla_protocol::wire::{Message, Reader, Writer};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::assignors::{self, Subscriber};
use super::{Event, Member, Shared};
use crate::{ClientError, Request, Target, TopicPartition};

/// The version in which subscriptions and assignments are written; every version can be read.
const PROTOCOL_VERSION: i16 = 3;
/// A JoinGroup may take as long as the slowest member, and the way back.
const JOIN_SLACK: Duration = Duration::from_secs(5);

/// Why the heartbeats ended.
enum Outcome {
    /// The group rebalances.
    Rejoin,
    /// The group does not know this member any more.
    Lost,
    Leave,
}

pub(super) async fn run(shared: &Arc<Shared>, mut left: oneshot::Receiver<()>) -> Result<(), ClientError> {
    let protocols: Vec<&'static str> =
        shared.config.assignors.iter().filter_map(|class| assignors::protocol_name(class)).collect();
    if protocols.is_empty() {
        return Err(ClientError::Config(format!(
            "none of the assignors {:?} is supported by this client",
            shared.config.assignors
        )));
    }
    let mut member = Member { id: String::new(), epoch: -1, instance_id: shared.config.instance_id.clone() };
    loop {
        let mut topics = shared.topics.clone();
        let wanted = topics.borrow_and_update().clone();
        let joined = tokio::select! {
            joined = join(shared, &mut member, &protocols, &wanted) => joined?,
            _ = &mut left => {
                leave(shared, &member).await;
                return Ok(());
            }
        };
        shared.set_member(Some(member.clone()));
        if !shared.tell(Event::Assigned(joined)).await {
            leave(shared, &member).await;
            return Ok(());
        }
        let outcome = tokio::select! {
            outcome = heartbeats(shared, &member, &mut topics) => outcome?,
            _ = &mut left => Outcome::Leave,
        };
        match outcome {
            Outcome::Leave => {
                leave(shared, &member).await;
                return Ok(());
            }
            Outcome::Lost => {
                shared.set_member(None);
                member.id = String::new();
                member.epoch = -1;
                shared.tell(Event::Lost).await;
            }
            Outcome::Rejoin => {
                let (done, answer) = oneshot::channel();
                if !shared.tell(Event::Revoking { keep: Vec::new(), done }).await {
                    leave(shared, &member).await;
                    return Ok(());
                }
                // The consumer commits in its next poll; the member stays alive until then.
                tokio::select! {
                    _ = answer => {}
                    _ = beat_until_refused(shared, &member) => {}
                    _ = &mut left => {
                        leave(shared, &member).await;
                        return Ok(());
                    }
                }
            }
        }
    }
}

async fn call<R: Request>(
    shared: &Shared,
    request: &R,
    timeout: Duration,
) -> Result<R::Response, ClientError> {
    let target = Target::Group(shared.group.clone());
    let connection = shared.client.route(&target, Instant::now() + timeout).await?;
    connection.call(request, i16::MAX, timeout).await
}

/// Waits before another attempt, with a fresh look for the coordinator.
async fn pause(shared: &Shared, attempt: &mut u32) {
    shared.client.forget_group(&shared.group);
    *attempt += 1;
    tokio::time::sleep(shared.client.backoff().delay(*attempt)).await;
}

async fn join(
    shared: &Shared,
    member: &mut Member,
    protocols: &[&'static str],
    topics: &[String],
) -> Result<Vec<TopicPartition>, ClientError> {
    let mut attempt = 0;
    loop {
        let response =
            match call(shared, &join_request(shared, member, protocols, topics)?, join_timeout(shared)).await
            {
                Ok(response) => response,
                Err(error) if error.is_retriable() => {
                    tracing::debug!("joining {} failed: {error}", shared.group);
                    pause(shared, &mut attempt).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
        match ErrorCode::from_code(response.error_code) {
            ErrorCode::None => {}
            ErrorCode::MemberIdRequired => {
                member.id = response.member_id.to_string();
                continue;
            }
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => {
                member.id = String::new();
                continue;
            }
            code if code.is_retriable() || code == ErrorCode::RebalanceInProgress => {
                pause(shared, &mut attempt).await;
                continue;
            }
            code => return Err(ClientError::Api { code, message: None }),
        }
        member.id = response.member_id.to_string();
        member.epoch = response.generation_id;
        match sync(shared, member, &response).await {
            Ok(assignment) => return Ok(assignment),
            Err(error) => match error.code() {
                ErrorCode::RebalanceInProgress => continue,
                ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => {
                    member.id = String::new();
                    continue;
                }
                _ if error.is_retriable() => pause(shared, &mut attempt).await,
                _ => return Err(error),
            },
        }
    }
}

fn join_timeout(shared: &Shared) -> Duration {
    shared.client.request_timeout().max(shared.config.max_poll_interval + JOIN_SLACK)
}

fn join_request(
    shared: &Shared,
    member: &Member,
    protocols: &[&'static str],
    topics: &[String],
) -> Result<JoinGroupRequest, ClientError> {
    let subscription = ConsumerProtocolSubscription {
        topics: topics.iter().map(|t| Str::from(t.as_str())).collect(),
        rack_id: (!shared.config.rack.is_empty()).then(|| Str::from(shared.config.rack.as_str())),
        ..Default::default()
    };
    let metadata = versioned(&subscription)?;
    let millis = |d: Duration| i32::try_from(d.as_millis()).unwrap_or(i32::MAX);
    Ok(JoinGroupRequest {
        group_id: Str::from(shared.group.as_str()),
        session_timeout_ms: millis(shared.config.session_timeout),
        rebalance_timeout_ms: millis(shared.config.max_poll_interval),
        member_id: Str::from(member.id.as_str()),
        group_instance_id: member.instance_id.as_deref().map(Str::from),
        protocol_type: Str::from_static("consumer"),
        protocols: protocols
            .iter()
            .map(|name| JoinGroupRequestProtocol {
                name: Str::from_static(name),
                metadata: metadata.clone(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    })
}

/// A message of the consumer protocol with its version in front.
fn versioned<M: Message>(message: &M) -> Result<Bytes, ClientError> {
    let mut w = Writer::new();
    w.int16(PROTOCOL_VERSION);
    message
        .encode(&mut w, PROTOCOL_VERSION)
        .map_err(|e| ClientError::InvalidState(format!("cannot write {}: {e}", M::NAME)))?;
    Ok(w.into_bytes())
}

/// Reads a message with its version in front; newer versions are read as the newest known.
fn read_versioned<M: Message>(bytes: &Bytes) -> Option<M> {
    let mut r = Reader::new(bytes.clone());
    let version = r.int16().ok()?.min(M::MAX_VERSION);
    M::decode(&mut r, version).ok()
}

async fn sync(
    shared: &Shared,
    member: &Member,
    joined: &JoinGroupResponse,
) -> Result<Vec<TopicPartition>, ClientError> {
    let is_leader = joined.leader == joined.member_id && !joined.skip_assignment;
    let assignments = if is_leader { lead(shared, joined).await? } else { Vec::new() };
    let request = SyncGroupRequest {
        group_id: Str::from(shared.group.as_str()),
        generation_id: member.epoch,
        member_id: Str::from(member.id.as_str()),
        group_instance_id: member.instance_id.as_deref().map(Str::from),
        protocol_type: Some(Str::from_static("consumer")),
        protocol_name: joined.protocol_name.clone(),
        assignments,
        ..Default::default()
    };
    let response = call(shared, &request, join_timeout(shared)).await?;
    ClientError::check(response.error_code, None)?;
    let assignment: ConsumerProtocolAssignment = match response.assignment.is_empty() {
        true => ConsumerProtocolAssignment::default(),
        false => read_versioned(&response.assignment)
            .ok_or_else(|| ClientError::InvalidState("the assignment cannot be read".to_owned()))?,
    };
    let partitions = assignment.assigned_partitions.iter();
    Ok(partitions
        .flat_map(|t| t.partitions.iter().map(|p| TopicPartition::new(t.topic.as_str(), *p)))
        .collect())
}

/// Assigns partitions to all members: the work of the group's leader.
async fn lead(
    shared: &Shared,
    joined: &JoinGroupResponse,
) -> Result<Vec<SyncGroupRequestAssignment>, ClientError> {
    let mut members = Vec::new();
    let mut topics: BTreeSet<String> = BTreeSet::new();
    for m in &joined.members {
        let subscription: ConsumerProtocolSubscription = read_versioned(&m.metadata).unwrap_or_default();
        let wanted: BTreeSet<String> = subscription.topics.iter().map(|t| t.to_string()).collect();
        topics.extend(wanted.iter().cloned());
        members.push(Subscriber {
            member_id: m.member_id.to_string(),
            instance_id: m.group_instance_id.as_ref().map(|i| i.to_string()),
            topics: wanted,
        });
    }
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let view = shared.client.refresh(Some(&names)).await?;
    let counts: BTreeMap<String, usize> =
        topics.iter().filter_map(|t| Some((t.clone(), view.partition_count(t)?))).collect();
    let protocol = joined.protocol_name.as_deref().unwrap_or("range");
    let mut result = Vec::new();
    for (member_id, partitions) in assignors::assign(protocol, members, &counts) {
        let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for p in &partitions {
            by_topic.entry(&p.topic).or_default().push(p.partition);
        }
        let assignment = ConsumerProtocolAssignment {
            assigned_partitions: by_topic
                .into_iter()
                .map(|(topic, partitions)| AssignedTopic {
                    topic: Str::from(topic),
                    partitions,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        result.push(SyncGroupRequestAssignment {
            member_id: Str::from(member_id),
            assignment: versioned(&assignment)?,
            ..Default::default()
        });
    }
    Ok(result)
}

async fn beat(shared: &Shared, member: &Member) -> Result<ErrorCode, ClientError> {
    let request = HeartbeatRequest {
        group_id: Str::from(shared.group.as_str()),
        generation_id: member.epoch,
        member_id: Str::from(member.id.as_str()),
        group_instance_id: member.instance_id.as_deref().map(Str::from),
        ..Default::default()
    };
    let response = call(shared, &request, shared.client.request_timeout()).await?;
    Ok(ErrorCode::from_code(response.error_code))
}

async fn heartbeats(
    shared: &Shared,
    member: &Member,
    topics: &mut tokio::sync::watch::Receiver<Vec<String>>,
) -> Result<Outcome, ClientError> {
    let mut last_answer = Instant::now();
    let mut attempt = 0;
    loop {
        tokio::select! {
            _ = tokio::time::sleep(shared.config.heartbeat_interval) => {}
            changed = topics.changed() => return Ok(if changed.is_ok() { Outcome::Rejoin } else { Outcome::Leave }),
            () = shared.events.closed() => return Ok(Outcome::Leave),
        }
        if shared.poll_is_overdue() {
            tracing::warn!(
                "consumer poll timeout has expired: the time between polls was longer than max.poll.interval.ms"
            );
            leave(shared, member).await;
            return Ok(Outcome::Lost);
        }
        match beat(shared, member).await {
            Ok(ErrorCode::None) => {
                last_answer = Instant::now();
                attempt = 0;
            }
            Ok(ErrorCode::RebalanceInProgress) => return Ok(Outcome::Rejoin),
            Ok(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration) => return Ok(Outcome::Lost),
            Ok(code) if code.is_retriable() => pause(shared, &mut attempt).await,
            Ok(code) => return Err(ClientError::Api { code, message: None }),
            Err(error) if error.is_retriable() => pause(shared, &mut attempt).await,
            Err(error) => return Err(error),
        }
        if last_answer.elapsed() > shared.config.session_timeout {
            return Ok(Outcome::Lost);
        }
    }
}

/// Keeps the member alive while the consumer is asked to give its partitions back.
async fn beat_until_refused(shared: &Shared, member: &Member) {
    loop {
        tokio::time::sleep(shared.config.heartbeat_interval).await;
        if shared.poll_is_overdue() {
            return;
        }
        match beat(shared, member).await {
            Ok(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration) => return,
            Ok(_) => {}
            Err(error) => tracing::debug!("heartbeat failed: {error}"),
        }
    }
}

/// Static members stay in the group until their session ends (KIP-345).
async fn leave(shared: &Shared, member: &Member) {
    if member.id.is_empty() || member.instance_id.is_some() {
        return;
    }
    let request = LeaveGroupRequest {
        group_id: Str::from(shared.group.as_str()),
        members: vec![MemberIdentity {
            member_id: Str::from(member.id.as_str()),
            reason: Some(Str::from_static("the consumer is being closed")),
            ..Default::default()
        }],
        ..Default::default()
    };
    if let Err(error) = call(shared, &request, shared.client.request_timeout()).await {
        tracing::debug!("leaving {} failed: {error}", shared.group);
    }
}
