//! Membership of a group: a task that joins, sends heartbeats and tells the consumer what is assigned to it.
//!
//! The task works between polls, so heartbeats go on while records are processed. It gives partitions back only
//! after the consumer has been told, and has committed, in its next poll.

mod assignors;
mod classic;
mod next_generation;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::ConsumerConfig;
use crate::{Client, ClientError, TopicPartition};

/// Events that wait for the consumer's next poll.
const EVENTS: usize = 16;

/// Who this member is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    pub id: String,
    /// The generation, or the member epoch of KIP-848.
    pub epoch: i32,
    pub instance_id: Option<String>,
}

/// What the consumer has to know.
#[derive(Debug)]
pub(super) enum Event {
    /// These partitions, and no others, belong to the consumer from now on.
    Assigned(Vec<TopicPartition>),
    /// Everything outside of `keep` is going away: commit, then answer.
    Revoking {
        keep: Vec<TopicPartition>,
        done: oneshot::Sender<()>,
    },
    /// The group has gone on without this member; nothing can be committed.
    Lost,
    Failed(ClientError),
}

/// What the task and the consumer share.
#[derive(Debug)]
struct Shared {
    client: Client,
    config: ConsumerConfig,
    group: String,
    member: Mutex<Option<Member>>,
    /// Milliseconds from `started` to the latest poll.
    last_poll_ms: AtomicU64,
    started: Instant,
    topics: watch::Receiver<Vec<String>>,
    events: mpsc::Sender<Event>,
}

impl Shared {
    fn set_member(&self, member: Option<Member>) {
        *self.member.lock().unwrap_or_else(PoisonError::into_inner) = member;
    }

    fn poll_is_overdue(&self) -> bool {
        let now = self.started.elapsed().as_millis() as u64;
        let last = self.last_poll_ms.load(Ordering::Relaxed);
        u128::from(now.saturating_sub(last)) > self.config.max_poll_interval.as_millis()
    }

    /// Gives an event to the consumer; false when there is no consumer any more.
    async fn tell(&self, event: Event) -> bool {
        self.events.send(event).await.is_ok()
    }
}

/// A consumer's handle to its membership.
#[derive(Debug)]
pub(super) struct Membership {
    shared: Arc<Shared>,
    pub events: mpsc::Receiver<Event>,
    topics: watch::Sender<Vec<String>>,
    leave: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

impl Membership {
    pub fn start(client: Client, config: ConsumerConfig, group: String, topics: Vec<String>) -> Membership {
        let (topics_sender, topics) = watch::channel(topics);
        let (sender, events) = mpsc::channel(EVENTS);
        let (leave, left) = oneshot::channel();
        let next_generation = config.next_generation;
        let shared = Arc::new(Shared {
            client,
            config,
            group,
            member: Mutex::new(None),
            last_poll_ms: AtomicU64::new(0),
            started: Instant::now(),
            topics,
            events: sender,
        });
        let own = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let result = match next_generation {
                true => next_generation::run(&own, left).await,
                false => classic::run(&own, left).await,
            };
            own.set_member(None);
            if let Err(error) = result {
                own.tell(Event::Failed(error)).await;
            }
        });
        Membership { shared, events, topics: topics_sender, leave: Some(leave), task }
    }

    pub fn member(&self) -> Option<Member> {
        self.shared.member.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn polled(&self) {
        self.shared.last_poll_ms.store(self.shared.started.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// The topics to be subscribed to; the group is joined again when they differ.
    pub fn subscribe(&self, topics: Vec<String>) {
        self.topics.send_if_modified(|old| {
            let changed = *old != topics;
            *old = topics;
            changed
        });
    }

    /// Leaves the group and ends the task.
    pub async fn leave(mut self) {
        if let Some(leave) = self.leave.take() {
            let _ = leave.send(());
        }
        // Room for what the task still wants to say; a revocation is agreed to by dropping it.
        self.events.close();
        while self.events.recv().await.is_some() {}
        let limit = self.shared.client.request_timeout();
        if tokio::time::timeout(limit, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}
