//! The shell of the group coordinator: a task per partition of `__consumer_offsets` that this broker leads.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use ottla_coordinator::append_error_to_coordinator_error;
use ottla_coordinator::context::{Env, ReplyToken, RequestContext};
use ottla_coordinator::group::{GroupConfig, GroupOutcome, GroupRequest, GroupResponse, GroupShard};
use ottla_coordinator::topics::TopicChanges;
use ottla_protocol::ErrorCode;
use ottla_protocol::java::partition_for;
use ottla_protocol::records::control::EndTxnMarker;
use ottla_protocol::types::Str;
use ottla_storage::producer_state::VerificationGuard;
use tokio::sync::{mpsc, oneshot};

use super::batch::PendingBatch;
use super::config::group_config;
use super::load;
use super::topics_view::ImageTopics;
use crate::metrics::Metrics;
use crate::partition::{Commit, Partition, all_committed, compression_of};
use crate::state::{Broker, random_uuid, wall_clock_ms};
use crate::topics::CONSUMER_OFFSETS;

/// Requests that may wait for one shard; more are answered COORDINATOR_LOAD_IN_PROGRESS, which clients retry.
const MAILBOX: usize = 8192;
/// Requests decided before what they decided is appended.
const DRAIN: usize = 512;
/// Room for a batch's header within `max.message.bytes`.
const BATCH_OVERHEAD: usize = 128;

enum Message {
    Request {
        request: GroupRequest,
        ctx: RequestContext,
        guard: VerificationGuard,
        reply: oneshot::Sender<GroupResponse>,
    },
    EndTxn {
        producer_id: i64,
        producer_epoch: i16,
        marker: EndTxnMarker,
        transaction_version: i16,
        reply: oneshot::Sender<ErrorCode>,
    },
    Topics(TopicChanges),
    Config(Box<GroupConfig>),
}

struct Handle {
    sender: mpsc::Sender<Message>,
    leader_epoch: i32,
    loaded: Arc<AtomicBool>,
}

/// The shards that run on this broker.
#[derive(Default)]
pub struct GroupCoordinator {
    shards: RwLock<HashMap<i32, Handle>>,
}

impl GroupCoordinator {
    /// Starts the shard of a partition that this broker leads now.
    pub fn on_elected(&self, broker: &Arc<Broker>, partition: Arc<Partition>) {
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        let leader_epoch = partition.leader_epoch();
        if shards
            .get(&partition.index)
            .is_some_and(|h| h.leader_epoch == leader_epoch && !h.sender.is_closed())
        {
            return;
        }
        let (sender, receiver) = mpsc::channel(MAILBOX);
        let loaded = Arc::new(AtomicBool::new(false));
        shards.insert(partition.index, Handle { sender, leader_epoch, loaded: Arc::clone(&loaded) });
        let broker = Arc::downgrade(broker);
        tokio::spawn(run(broker, partition, receiver, loaded));
    }

    /// Ends the shard of a partition that this broker leads no more. Requests in it are told so.
    pub fn on_resigned(&self, index: i32) {
        self.shards.write().unwrap_or_else(PoisonError::into_inner).remove(&index);
    }

    /// How many partitions are served, and how many are still being loaded.
    pub fn partition_counts(&self) -> (usize, usize) {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        let active = shards.values().filter(|h| h.loaded.load(Ordering::Acquire)).count();
        (active, shards.len() - active)
    }

    /// Ends all shards.
    pub fn stop(&self) {
        self.shards.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The partition of a group; None before the offsets topic exists.
    pub fn partition_of(&self, broker: &Broker, group_id: &str) -> Option<i32> {
        let image = broker.image.load();
        let topic = image.topics.by_name(CONSUMER_OFFSETS)?;
        Some(partition_for(group_id, topic.partitions.len() as i32))
    }

    /// Puts a request into the mailbox of its group's shard; the order of calls is the order of decisions.
    pub fn request(
        &self,
        broker: &Broker,
        group_id: &str,
        request: GroupRequest,
        ctx: RequestContext,
    ) -> impl Future<Output = GroupResponse> + Send + use<> {
        let index = self.partition_of(broker, group_id);
        let sent = match index {
            Some(index) => self.send(index, request, ctx, VerificationGuard::SENTINEL),
            None => Err(request.error_response(ErrorCode::NotCoordinator, None, ctx.api_version)),
        };
        wait(sent)
    }

    /// As [`request`](Self::request), for a commit within a transaction that `guard` was given for.
    pub fn request_in_transaction(
        &self,
        index: i32,
        request: GroupRequest,
        ctx: RequestContext,
        guard: VerificationGuard,
    ) -> impl Future<Output = GroupResponse> + Send + use<> {
        wait(self.send(index, request, ctx, guard))
    }

    /// The response to give when the shard ends before it answers comes along with the receiver.
    fn send(
        &self,
        index: i32,
        request: GroupRequest,
        ctx: RequestContext,
        guard: VerificationGuard,
    ) -> Result<(oneshot::Receiver<GroupResponse>, GroupResponse), GroupResponse> {
        let version = ctx.api_version;
        let gone = request.error_response(ErrorCode::NotCoordinator, None, version);
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        let Some(handle) = shards.get(&index) else { return Err(gone) };
        if !handle.loaded.load(Ordering::Acquire) {
            return Err(request.error_response(ErrorCode::CoordinatorLoadInProgress, None, version));
        }
        let (reply, waiting) = oneshot::channel();
        match handle.sender.try_send(Message::Request { request, ctx, guard, reply }) {
            Ok(()) => Ok((waiting, gone)),
            Err(mpsc::error::TrySendError::Full(Message::Request { request, .. })) => {
                Err(request.error_response(ErrorCode::CoordinatorLoadInProgress, None, version))
            }
            Err(_) => Err(gone),
        }
    }

    /// Splits group ids by shard and asks each; ids whose shard is elsewhere come back as errors.
    pub fn request_by_shard<F: Fn(Vec<Str>) -> GroupRequest>(
        &self,
        broker: &Broker,
        group_ids: Vec<Str>,
        ctx: &RequestContext,
        make: F,
    ) -> impl Future<Output = Vec<GroupResponse>> + Send + use<F> {
        let mut by_shard: BTreeMap<Option<i32>, Vec<Str>> = BTreeMap::new();
        for id in group_ids {
            by_shard.entry(self.partition_of(broker, &id)).or_default().push(id);
        }
        let sent: Vec<_> = by_shard
            .into_iter()
            .map(|(index, ids)| match index {
                Some(index) => self.send(index, make(ids), ctx.clone(), VerificationGuard::SENTINEL),
                None => Err(make(ids).error_response(ErrorCode::NotCoordinator, None, ctx.api_version)),
            })
            .collect();
        wait_all(sent)
    }

    /// Asks every shard of this broker.
    pub fn request_all<F: Fn() -> GroupRequest>(
        &self,
        ctx: &RequestContext,
        make: F,
    ) -> impl Future<Output = Vec<GroupResponse>> + Send + use<F> {
        let indexes: Vec<i32> =
            self.shards.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        let sent: Vec<_> = indexes
            .into_iter()
            .map(|index| self.send(index, make(), ctx.clone(), VerificationGuard::SENTINEL))
            .collect();
        wait_all(sent)
    }

    /// Writes the end of a transaction into an offsets partition, through the shard that owns it.
    pub fn end_txn(
        &self,
        index: i32,
        producer_id: i64,
        producer_epoch: i16,
        marker: EndTxnMarker,
        transaction_version: i16,
    ) -> impl Future<Output = ErrorCode> + Send + use<> {
        let (reply, waiting) = oneshot::channel();
        let sent = {
            let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
            match shards.get(&index) {
                None => Err(ErrorCode::NotLeaderOrFollower),
                Some(handle) => handle
                    .sender
                    .try_send(Message::EndTxn {
                        producer_id,
                        producer_epoch,
                        marker,
                        transaction_version,
                        reply,
                    })
                    .map_err(|_| ErrorCode::CoordinatorLoadInProgress),
            }
        };
        async move {
            match sent {
                Ok(()) => waiting.await.unwrap_or(ErrorCode::NotLeaderOrFollower),
                Err(code) => code,
            }
        }
    }

    /// Tells every shard what changed in the metadata.
    pub fn on_metadata(&self, broker: &Broker, changes: &TopicChanges, configs_changed: bool) {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        let topics = changes.created || !changes.changed.is_empty() || !changes.deleted.is_empty();
        let config =
            configs_changed.then(|| group_config(&broker.config.load(), &broker.image.load().configs));
        for handle in shards.values() {
            if topics {
                send_or_wait(&handle.sender, Message::Topics(changes.clone()));
            }
            if let Some(config) = &config {
                send_or_wait(&handle.sender, Message::Config(Box::new(config.clone())));
            }
        }
    }
}

/// What must not be lost waits for room in a full mailbox, in a task of its own.
fn send_or_wait(sender: &mpsc::Sender<Message>, message: Message) {
    if let Err(mpsc::error::TrySendError::Full(message)) = sender.try_send(message) {
        let sender = sender.clone();
        tokio::spawn(async move {
            let _ = sender.send(message).await;
        });
    }
}

/// A request that is in a mailbox, with the response to give if the shard goes; or the response itself.
type Sent = Result<(oneshot::Receiver<GroupResponse>, GroupResponse), GroupResponse>;

async fn wait(sent: Sent) -> GroupResponse {
    match sent {
        Ok((waiting, gone)) => waiting.await.unwrap_or(gone),
        Err(response) => response,
    }
}

async fn wait_all(sent: Vec<Sent>) -> Vec<GroupResponse> {
    let mut responses = Vec::with_capacity(sent.len());
    for sent in sent {
        responses.push(wait(sent).await);
    }
    responses
}

/// The task of one shard: loads it, then serves it until its handle is dropped.
async fn run(
    broker: Weak<Broker>,
    partition: Arc<Partition>,
    mut mailbox: mpsc::Receiver<Message>,
    loaded: Arc<AtomicBool>,
) {
    loop {
        let Some(b) = broker.upgrade() else { return };
        let config = group_config(&b.config.load(), &b.image.load().configs);
        let mut shard = GroupShard::new(config);
        let started = std::time::Instant::now();
        let result = load::load(&b.cold_readers, &partition, b.config.load().get_int("offsets.load.buffer.size"), |event| match event {
            load::Event::Record { key, value, producer_id } => {
                if let Err(error) = shard.replay(key, value, producer_id) {
                    tracing::warn!(partition = %partition, %error, "skipping a record of the offsets topic");
                }
            }
            load::Event::EndTxn { producer_id, commit } => shard.replay_end_txn_marker(producer_id, commit),
        })
        .await;
        if let Err(error) = result {
            b.metrics.groups.load_times.failed.inc();
            tracing::error!(partition = %partition, %error, "cannot load the groups of this partition");
            tokio::time::sleep(Duration::from_secs(1)).await;
            if mailbox.is_closed() {
                return;
            }
            continue;
        }
        b.metrics.groups.load_times.record(started.elapsed());
        let groups = shard.group_ids().count();
        if groups > 0 {
            tracing::info!(partition = %partition, groups, ms = started.elapsed().as_millis() as u64, "loaded groups");
        }
        let mut owner = Owner {
            partition: &partition,
            shard,
            tokens: BTreeMap::new(),
            next_token: 0,
            batch: PendingBatch::default(),
            held: Vec::new(),
            ended: Vec::new(),
            commits: Vec::new(),
            guard: VerificationGuard::SENTINEL,
            metrics: Arc::clone(&b.metrics),
        };
        let outcome = {
            let image = b.image.load_full();
            let view = ImageTopics(&image);
            owner.shard.on_loaded(&mut Env {
                now_ms: wall_clock_ms(),
                topics: &view,
                new_uuid: &mut random_uuid,
            })
        };
        drop(b);
        loaded.store(true, Ordering::Release);
        let ended = match owner.accept(outcome) {
            Ok(()) => owner.serve(&broker, &mut mailbox).await,
            Err(code) => Ended::Failed(code),
        };
        loaded.store(false, Ordering::Release);
        match ended {
            Ended::Resigned => {
                owner.fail_all(ErrorCode::NotCoordinator);
                return;
            }
            Ended::Failed(code) => {
                tracing::warn!(partition = %partition, %code, "an append failed: loading the groups again");
                owner.fail_all(code);
            }
        }
    }
}

enum Ended {
    Resigned,
    Failed(ErrorCode),
}

struct Owner<'a> {
    partition: &'a Arc<Partition>,
    shard: GroupShard,
    /// Who waits for which decision; dropping a sender tells the waiting request that the shard is gone.
    tokens: BTreeMap<ReplyToken, oneshot::Sender<GroupResponse>>,
    next_token: u64,
    batch: PendingBatch,
    /// Responses that go out when the pending batch is committed.
    held: Vec<(ReplyToken, GroupResponse)>,
    /// Ends of transactions that are told when their markers are committed.
    ended: Vec<oneshot::Sender<ErrorCode>>,
    /// Of what was appended to a log whose appends are to be durable.
    commits: Vec<Commit>,
    /// Of the request that is being decided.
    guard: VerificationGuard,
    metrics: Arc<Metrics>,
}

impl Owner<'_> {
    async fn serve(&mut self, broker: &Weak<Broker>, mailbox: &mut mpsc::Receiver<Message>) -> Ended {
        let mut messages = Vec::with_capacity(64);
        loop {
            let wait = self.shard.next_deadline_ms().map_or(Duration::from_secs(3600), |deadline| {
                Duration::from_millis(deadline.saturating_sub(wall_clock_ms()).max(0) as u64)
            });
            tokio::select! {
                n = mailbox.recv_many(&mut messages, DRAIN) => if n == 0 { return Ended::Resigned },
                () = tokio::time::sleep(wait) => {}
            }
            let Some(broker) = broker.upgrade() else { return Ended::Resigned };
            let decided = self.step(&broker, &mut messages);
            drop(broker);
            let durable = all_committed(&mut self.commits).await;
            match decided.and(durable.map_err(append_error_to_coordinator_error)) {
                Ok(()) => self.release(),
                Err(code) => return Ended::Failed(code),
            }
        }
    }

    /// Decides what has come and what is due, and appends it.
    fn step(&mut self, broker: &Broker, messages: &mut Vec<Message>) -> Result<(), ErrorCode> {
        let image = broker.image.load_full();
        let view = ImageTopics(&image);
        let mut new_uuid = random_uuid;
        let mut env = Env { now_ms: wall_clock_ms(), topics: &view, new_uuid: &mut new_uuid };
        for message in messages.drain(..) {
            match message {
                Message::Request { request, ctx, guard, reply } => {
                    self.guard = guard;
                    self.next_token += 1;
                    let token = ReplyToken(self.next_token);
                    self.tokens.insert(token, reply);
                    let outcome = self.shard.handle(request, token, &ctx, &mut env);
                    self.metrics.groups.count(&outcome, false);
                    self.accept(outcome)?;
                }
                Message::EndTxn { producer_id, producer_epoch, marker, transaction_version, reply } => {
                    self.flush()?;
                    let result = self.partition.append_marker(
                        env.now_ms,
                        producer_id,
                        producer_epoch,
                        marker,
                        transaction_version,
                    );
                    match result {
                        Ok(commit) => {
                            self.commits.extend(commit);
                            self.shard.replay_end_txn_marker(producer_id, marker.commit);
                            self.ended.push(reply);
                        }
                        Err(error) => {
                            let _ = reply.send(error.error_code());
                        }
                    }
                }
                Message::Topics(changes) => {
                    let outcome = self.shard.on_metadata_update(&changes, &view);
                    self.accept(outcome)?;
                }
                Message::Config(config) => self.shard.set_config(*config),
            }
        }
        while self.shard.next_deadline_ms().is_some_and(|deadline| deadline <= env.now_ms) {
            let outcome = self.shard.on_time(&mut env);
            self.metrics.groups.count(&outcome, true);
            self.accept(outcome)?;
        }
        self.flush()
    }

    /// Applies a decision and adds its records to the pending batch.
    fn accept(&mut self, outcome: GroupOutcome) -> Result<(), ErrorCode> {
        let max = self.partition.max_message_bytes().saturating_sub(BATCH_OVERHEAD);
        if outcome.producer.is_some() {
            return self.commit_in_transaction(outcome);
        }
        self.shard.apply(&outcome);
        let GroupOutcome { records, splittable, replies, .. } = outcome;
        let mut own = PendingBatch::default();
        for record in &records {
            let (key, value) = (record.key_bytes(), record.value_bytes());
            if splittable && self.batch.bytes() + key.len() + value.as_ref().map_or(0, |v| v.len()) + 36 > max
            {
                self.flush()?;
            }
            if splittable { self.batch.push(key, value) } else { own.push(key, value) }
        }
        if !own.is_empty() {
            if self.batch.bytes() + own.bytes() > max {
                self.flush()?;
            }
            self.batch.extend(own);
        }
        self.held.extend(replies);
        Ok(())
    }

    /// Offsets of a transaction have the producer in their batch's header: a batch of their own. A producer that
    /// is fenced by the log concerns its own request alone.
    fn commit_in_transaction(&mut self, outcome: GroupOutcome) -> Result<(), ErrorCode> {
        self.flush()?;
        let Some(producer) = outcome.producer else { return Ok(()) };
        let mut batch = PendingBatch::default();
        for record in &outcome.records {
            batch.push(record.key_bytes(), record.value_bytes());
        }
        let now_ms = wall_clock_ms();
        let compression = compression_of(self.partition);
        let producer = (producer.producer_id, producer.producer_epoch);
        let batch =
            batch.build(now_ms, compression, Some(producer)).map_err(|_| ErrorCode::UnknownServerError)?;
        match self.partition.append_coordinator(batch, now_ms, self.guard) {
            Ok(commit) => {
                self.commits.extend(commit);
                self.shard.apply(&outcome);
                self.held.extend(outcome.replies);
                self.release();
                Ok(())
            }
            Err(error) => {
                let code = append_error_to_coordinator_error(error.error_code());
                for (token, response) in outcome.replies {
                    let GroupResponse::TxnOffsetCommit(mut response) = response else { continue };
                    for p in response.topics.iter_mut().flat_map(|t| &mut t.partitions) {
                        p.error_code = code.code();
                    }
                    if let Some(reply) = self.tokens.remove(&token) {
                        let _ = reply.send(GroupResponse::TxnOffsetCommit(response));
                    }
                }
                Ok(())
            }
        }
    }

    /// Appends what is pending, and answers.
    fn flush(&mut self) -> Result<(), ErrorCode> {
        if self.batch.is_empty() {
            self.release();
            return Ok(());
        }
        let now_ms = wall_clock_ms();
        let guard = VerificationGuard::SENTINEL;
        let compression = compression_of(self.partition);
        let batch = self.batch.build(now_ms, compression, None).map_err(|_| ErrorCode::UnknownServerError)?;
        match self.partition.append_coordinator(batch, now_ms, guard) {
            Ok(commit) => {
                self.commits.extend(commit);
                self.release();
                Ok(())
            }
            Err(error) => {
                tracing::error!(partition = %self.partition, %error, "cannot append group records");
                Err(append_error_to_coordinator_error(error.error_code()))
            }
        }
    }

    /// Answers what was decided and is in the log; where the log is to be durable that waits for all of [`Self::commits`].
    fn release(&mut self) {
        if !self.commits.is_empty() {
            return;
        }
        for ended in self.ended.drain(..) {
            let _ = ended.send(ErrorCode::None);
        }
        for (token, response) in self.held.drain(..) {
            if let Some(reply) = self.tokens.remove(&token) {
                let _ = reply.send(response);
            }
        }
    }

    /// Tells everybody who waits that it will not happen here.
    fn fail_all(&mut self, code: ErrorCode) {
        let parked = self.shard.fail_all(code);
        for (token, response) in parked {
            if let Some(reply) = self.tokens.remove(&token) {
                let _ = reply.send(response);
            }
        }
        self.tokens.clear();
    }
}
