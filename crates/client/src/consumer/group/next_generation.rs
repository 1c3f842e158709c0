//! The protocol of KIP-848: one heartbeat carries everything, and the coordinator assigns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_protocol::messages::consumer_group_heartbeat_response::Assignment;
use ottla_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use ottla_protocol::types::{Str, Uuid};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Event, Member, Shared};
use crate::{ClientError, Target, TopicPartition};

const LEAVE_EPOCH: i32 = -1;
/// A static member that will come back (KIP-345).
const LEAVE_STATIC_EPOCH: i32 = -2;

struct State {
    member: Member,
    owned: BTreeSet<TopicPartition>,
    /// By the names that topics had when they were assigned.
    ids: BTreeMap<String, Uuid>,
    /// What the coordinator wants this member to own.
    target: Option<BTreeSet<TopicPartition>>,
    /// The next heartbeat says everything, not only what has changed.
    full: bool,
    interval: Duration,
    subscribed: Vec<String>,
}

pub(super) async fn run(shared: &Arc<Shared>, mut left: oneshot::Receiver<()>) -> Result<(), ClientError> {
    let mut topics = shared.topics.clone();
    let mut state = State {
        member: Member { id: random_id(), epoch: 0, instance_id: shared.config.instance_id.clone() },
        owned: BTreeSet::new(),
        ids: BTreeMap::new(),
        target: None,
        full: true,
        interval: Duration::ZERO,
        subscribed: topics.borrow_and_update().clone(),
    };
    let mut attempt = 0;
    let mut revoking: Option<oneshot::Receiver<()>> = None;
    loop {
        let mut revoked = false;
        tokio::select! {
            _ = tokio::time::sleep(state.interval) => {}
            _ = &mut left => {
                leave(shared, &state).await;
                return Ok(());
            }
            () = shared.events.closed() => {
                leave(shared, &state).await;
                return Ok(());
            }
            changed = topics.changed() => {
                if changed.is_err() {
                    leave(shared, &state).await;
                    return Ok(());
                }
                state.subscribed = topics.borrow_and_update().clone();
                state.full = true;
            }
            _ = async { match revoking.as_mut() { Some(r) => { let _ = r.await; } None => std::future::pending().await } } => {
                revoking = None;
                revoked = true;
            }
        }
        if revoked && let Some(target) = &state.target {
            state.owned = state.owned.intersection(target).cloned().collect();
            state.full = true;
        }
        if shared.poll_is_overdue() {
            leave(shared, &state).await;
            lost(shared, &mut state).await;
            revoking = None;
            continue;
        }
        let response = match heartbeat(shared, &state).await {
            Ok(response) => response,
            Err(error) if error.is_retriable() => {
                shared.client.forget_group(&shared.group);
                attempt += 1;
                state.interval = shared.client.backoff().delay(attempt);
                state.full = true;
                continue;
            }
            Err(error) => return Err(error),
        };
        match ErrorCode::from_code(response.error_code) {
            ErrorCode::None => attempt = 0,
            ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch => {
                lost(shared, &mut state).await;
                revoking = None;
                continue;
            }
            code if code.is_retriable() => {
                shared.client.forget_group(&shared.group);
                attempt += 1;
                state.interval = shared.client.backoff().delay(attempt);
                state.full = true;
                continue;
            }
            code => {
                let message = response.error_message.as_ref().map(|m| m.to_string());
                return Err(ClientError::Api { code, message });
            }
        }
        state.full = false;
        state.interval =
            Duration::from_millis(u64::try_from(response.heartbeat_interval_ms).unwrap_or(0).max(1));
        if let Some(id) = &response.member_id {
            state.member.id = id.to_string();
        }
        state.member.epoch = response.member_epoch;
        shared.set_member(Some(state.member.clone()));
        if let Some(assignment) = &response.assignment {
            state.target = Some(resolve(shared, &mut state.ids, assignment).await?);
        }
        if revoking.is_none() {
            revoking = reconcile(shared, &mut state).await;
        }
    }
}

/// Gives up what has to go, after the consumer agreed, and takes what came. A revocation under way is returned.
async fn reconcile(shared: &Shared, state: &mut State) -> Option<oneshot::Receiver<()>> {
    let target = state.target.clone()?;
    if state.owned.difference(&target).next().is_some() {
        let (done, answer) = oneshot::channel();
        let keep = state.owned.intersection(&target).cloned().collect();
        shared.tell(Event::Revoking { keep, done }).await;
        return Some(answer);
    }
    if target != state.owned {
        state.owned = target;
        state.full = true;
        // Tell the coordinator at once, so that the group can go on.
        state.interval = Duration::ZERO;
        shared.tell(Event::Assigned(state.owned.iter().cloned().collect())).await;
    }
    None
}

async fn lost(shared: &Shared, state: &mut State) {
    shared.set_member(None);
    shared.tell(Event::Lost).await;
    state.owned.clear();
    state.target = None;
    state.member.epoch = 0;
    state.full = true;
    state.interval = Duration::ZERO;
}

async fn heartbeat(shared: &Shared, state: &State) -> Result<ConsumerGroupHeartbeatResponse, ClientError> {
    let full = state.full || state.member.epoch == 0;
    let owned = || {
        let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for p in &state.owned {
            by_topic.entry(&p.topic).or_default().push(p.partition);
        }
        let topics = by_topic.into_iter();
        topics
            .filter_map(|(topic, partitions)| {
                let topic_id = *state.ids.get(topic)?;
                Some(TopicPartitions { topic_id, partitions, ..Default::default() })
            })
            .collect()
    };
    let request = ConsumerGroupHeartbeatRequest {
        group_id: Str::from(shared.group.as_str()),
        member_id: Str::from(state.member.id.as_str()),
        member_epoch: state.member.epoch,
        instance_id: state.member.instance_id.as_deref().map(Str::from),
        rack_id: (full && !shared.config.rack.is_empty()).then(|| Str::from(shared.config.rack.as_str())),
        rebalance_timeout_ms: match full {
            true => i32::try_from(shared.config.max_poll_interval.as_millis()).unwrap_or(i32::MAX),
            false => -1,
        },
        subscribed_topic_names: full
            .then(|| state.subscribed.iter().map(|t| Str::from(t.as_str())).collect()),
        server_assignor: match full {
            true => shared.config.remote_assignor.as_deref().map(Str::from),
            false => None,
        },
        topic_partitions: full.then(owned),
        ..Default::default()
    };
    send(shared, &request).await
}

async fn send(
    shared: &Shared,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<ConsumerGroupHeartbeatResponse, ClientError> {
    let timeout = shared.client.request_timeout();
    let connection =
        shared.client.route(&Target::Group(shared.group.clone()), Instant::now() + timeout).await?;
    connection.call(request, i16::MAX, timeout).await
}

async fn leave(shared: &Shared, state: &State) {
    if state.member.epoch <= 0 {
        return;
    }
    let request = ConsumerGroupHeartbeatRequest {
        group_id: Str::from(shared.group.as_str()),
        member_id: Str::from(state.member.id.as_str()),
        member_epoch: if state.member.instance_id.is_some() { LEAVE_STATIC_EPOCH } else { LEAVE_EPOCH },
        instance_id: state.member.instance_id.as_deref().map(Str::from),
        rebalance_timeout_ms: -1,
        ..Default::default()
    };
    if let Err(error) = send(shared, &request).await {
        tracing::debug!("leaving {} failed: {error}", shared.group);
    }
}

/// Topic ids as names. Ids that no broker knows yet are left out; the coordinator repeats an assignment.
async fn resolve(
    shared: &Shared,
    ids: &mut BTreeMap<String, Uuid>,
    assignment: &Assignment,
) -> Result<BTreeSet<TopicPartition>, ClientError> {
    let mut view = shared.client.view();
    if assignment.topic_partitions.iter().any(|t| view.topic_by_id(t.topic_id).is_none()) {
        view = shared.client.refresh(None).await?;
    }
    let mut partitions = BTreeSet::new();
    for topic in &assignment.topic_partitions {
        let Some(found) = view.topic_by_id(topic.topic_id) else { continue };
        ids.insert(found.name.clone(), topic.topic_id);
        partitions.extend(topic.partitions.iter().map(|p| TopicPartition::new(found.name.as_str(), *p)));
    }
    Ok(partitions)
}

/// KIP-1082: members choose their own id.
fn random_id() -> String {
    let mut bytes = [0u8; 16];
    let _ = getrandom::fill(&mut bytes);
    Uuid::from_random(bytes).to_string()
}
