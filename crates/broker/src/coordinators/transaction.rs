//! The shell of the transaction coordinator: a task per partition of `__transaction_state` that this broker leads.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use ottla_coordinator::transaction::{
    MarkerResult, SendMarkers, TxnConfig, TxnEnv, TxnOutcome, TxnRequest, TxnResponse, TxnShard,
};
use ottla_coordinator::{ReplyToken, append_error_to_coordinator_error, partition_for};
use ottla_metadata::features;
use ottla_protocol::ErrorCode;
use ottla_protocol::types::Str;
use ottla_storage::producer_state::VerificationGuard;
use tokio::sync::{mpsc, oneshot};

use super::batch::PendingBatch;
use super::load;
use super::markers;
use super::producer_ids::{ProducerIds, Source};
use crate::partition::{Commit, Partition, all_committed, compression_of};
use crate::state::{Broker, wall_clock_ms};
use crate::topics::TRANSACTION_STATE;

/// Requests that may wait for one shard.
const MAILBOX: usize = 8192;
const DRAIN: usize = 512;
const BATCH_OVERHEAD: usize = 128;

enum Message {
    Request { request: TxnRequest, api_version: i16, reply: oneshot::Sender<TxnResponse> },
    Markers { sent: Box<SendMarkers>, results: Vec<(Str, i32, MarkerResult)> },
}

struct Handle {
    sender: mpsc::Sender<Message>,
    leader_epoch: i32,
    loaded: Arc<AtomicBool>,
}

/// The shards that run on this broker, and the producer ids that they give out.
#[derive(Default)]
pub struct TransactionCoordinator {
    shards: RwLock<HashMap<i32, Handle>>,
    pub producer_ids: ProducerIds,
}

fn config_of(broker: &Broker) -> TxnConfig {
    let config = broker.config.load();
    TxnConfig {
        transaction_max_timeout_ms: config.get_int("transaction.max.timeout.ms"),
        transactional_id_expiration_ms: i64::from(config.get_int("transactional.id.expiration.ms")),
        abort_timed_out_interval_ms: i64::from(
            config.get_int("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
        ),
        remove_expired_interval_ms: i64::from(
            config.get_int("transaction.remove.expired.transaction.cleanup.interval.ms"),
        ),
        two_phase_commit_enable: config.get_bool("transaction.two.phase.commit.enable"),
        transaction_version: broker.image.load().features.level(features::TRANSACTION_VERSION),
    }
}

impl TransactionCoordinator {
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
        let handle = Handle { sender: sender.clone(), leader_epoch, loaded: Arc::clone(&loaded) };
        shards.insert(partition.index, handle);
        // The task needs its own mailbox for the results of markers; it must not keep itself alive by it.
        let own = sender.downgrade();
        drop(sender);
        tokio::spawn(run(Arc::downgrade(broker), partition, receiver, own, loaded));
    }

    pub fn on_resigned(&self, index: i32) {
        self.shards.write().unwrap_or_else(PoisonError::into_inner).remove(&index);
    }

    /// How many partitions are served, and how many are still being loaded.
    pub fn partition_counts(&self) -> (usize, usize) {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        let active = shards.values().filter(|h| h.loaded.load(Ordering::Acquire)).count();
        (active, shards.len() - active)
    }

    pub fn stop(&self) {
        self.shards.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The partition of a transactional id; None before the topic exists.
    pub fn partition_of(&self, broker: &Broker, transactional_id: &str) -> Option<i32> {
        let image = broker.image.load();
        let topic = image.topics.by_name(TRANSACTION_STATE)?;
        Some(partition_for(transactional_id, topic.partitions.len() as i32))
    }

    /// Puts a request into the mailbox of the id's shard; the order of calls is the order of decisions.
    pub fn request(
        &self,
        broker: &Broker,
        transactional_id: &str,
        request: TxnRequest,
        api_version: i16,
    ) -> impl Future<Output = TxnResponse> + Send + use<> {
        let sent = match self.partition_of(broker, transactional_id) {
            _ if transactional_id.is_empty() => {
                Err(request.error_response(ErrorCode::InvalidRequest, api_version))
            }
            Some(index) => self.send(index, request, api_version),
            None => Err(request.error_response(ErrorCode::NotCoordinator, api_version)),
        };
        async move {
            match sent {
                Ok((waiting, gone)) => waiting.await.unwrap_or(gone),
                Err(response) => response,
            }
        }
    }

    fn send(
        &self,
        index: i32,
        request: TxnRequest,
        api_version: i16,
    ) -> Result<(oneshot::Receiver<TxnResponse>, TxnResponse), TxnResponse> {
        let gone = request.error_response(ErrorCode::NotCoordinator, api_version);
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        let Some(handle) = shards.get(&index) else { return Err(gone) };
        if !handle.loaded.load(Ordering::Acquire) {
            return Err(request.error_response(ErrorCode::CoordinatorLoadInProgress, api_version));
        }
        let (reply, waiting) = oneshot::channel();
        match handle.sender.try_send(Message::Request { request, api_version, reply }) {
            Ok(()) => Ok((waiting, gone)),
            Err(mpsc::error::TrySendError::Full(Message::Request { request, .. })) => {
                Err(request.error_response(ErrorCode::CoordinatorLoadInProgress, api_version))
            }
            Err(_) => Err(gone),
        }
    }

    /// Asks every shard of this broker.
    pub fn request_all(
        &self,
        request: TxnRequest,
        api_version: i16,
    ) -> impl Future<Output = Vec<TxnResponse>> + Send + use<> {
        let indexes: Vec<i32> =
            self.shards.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        let sent: Vec<_> = indexes.into_iter().map(|i| self.send(i, request.clone(), api_version)).collect();
        async move {
            let mut responses = Vec::with_capacity(sent.len());
            for sent in sent {
                responses.push(match sent {
                    Ok((waiting, gone)) => waiting.await.unwrap_or(gone),
                    Err(response) => response,
                });
            }
            responses
        }
    }
}

enum Ended {
    Resigned,
    Failed(ErrorCode),
}

async fn run(
    broker: Weak<Broker>,
    partition: Arc<Partition>,
    mut mailbox: mpsc::Receiver<Message>,
    own: mpsc::WeakSender<Message>,
    loaded: Arc<AtomicBool>,
) {
    loop {
        let Some(b) = broker.upgrade() else { return };
        let mut shard = TxnShard::new(config_of(&b), partition.leader_epoch());
        let mut broken = None;
        let started = std::time::Instant::now();
        let buffer = b.config.load().get_int("transaction.state.log.load.buffer.size");
        let result = load::load(&b.cold_readers, &partition, buffer, |event| {
            if let load::Event::Record { key, value, .. } = event
                && let Err(error) = shard.replay(key, value)
            {
                broken.get_or_insert(error);
            }
        })
        .await;
        b.metrics.transactions.record(started.elapsed());
        if let Some(error) = broken {
            tracing::error!(partition = %partition, %error, "skipped records of the transaction topic");
        }
        if let Err(error) = result {
            b.metrics.transactions.failed.inc();
            tracing::error!(partition = %partition, %error, "cannot load the transactions of this partition");
            tokio::time::sleep(Duration::from_secs(1)).await;
            if mailbox.is_closed() {
                return;
            }
            continue;
        }
        let mut owner = Owner {
            partition: &partition,
            shard,
            tokens: BTreeMap::new(),
            next_token: 0,
            batch: PendingBatch::default(),
            held: Vec::new(),
            markers: Vec::new(),
            commits: Vec::new(),
            own: own.clone(),
        };
        let outcome = owner.shard.on_loaded(wall_clock_ms());
        loaded.store(true, Ordering::Release);
        let decided = owner.accept(outcome).and_then(|()| owner.flush());
        let ended = match owner.settle(decided).await {
            Ok(()) => {
                owner.release(&b);
                drop(b);
                owner.serve(&broker, &mut mailbox).await
            }
            Err(code) => Ended::Failed(code),
        };
        loaded.store(false, Ordering::Release);
        owner.tokens.clear();
        match ended {
            Ended::Resigned => return,
            Ended::Failed(code) => {
                tracing::warn!(partition = %partition, %code, "an append failed: loading the transactions again");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

struct Owner<'a> {
    partition: &'a Arc<Partition>,
    shard: TxnShard,
    tokens: BTreeMap<ReplyToken, oneshot::Sender<TxnResponse>>,
    next_token: u64,
    batch: PendingBatch,
    held: Vec<(ReplyToken, TxnResponse)>,
    markers: Vec<SendMarkers>,
    /// Of what was appended to a log whose appends are to be durable.
    commits: Vec<Commit>,
    own: mpsc::WeakSender<Message>,
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
            let Some(b) = broker.upgrade() else { return Ended::Resigned };
            let decided = self.step(&b, &mut messages);
            drop(b);
            if let Err(code) = self.settle(decided).await {
                return Ended::Failed(code);
            }
            let Some(b) = broker.upgrade() else { return Ended::Resigned };
            self.release(&b);
        }
    }

    /// Waits until what was appended is durable where that is asked for.
    async fn settle(&mut self, decided: Result<(), ErrorCode>) -> Result<(), ErrorCode> {
        let durable = all_committed(&mut self.commits).await;
        decided.and(durable.map_err(append_error_to_coordinator_error))
    }

    fn step(&mut self, broker: &Arc<Broker>, messages: &mut Vec<Message>) -> Result<(), ErrorCode> {
        self.shard.set_config(config_of(broker));
        let mut source = Source(broker);
        let mut env = TxnEnv { now_ms: wall_clock_ms(), producer_ids: &mut source };
        for message in messages.drain(..) {
            let outcome = match message {
                Message::Request { request, api_version, reply } => {
                    self.next_token += 1;
                    let token = ReplyToken(self.next_token);
                    self.tokens.insert(token, reply);
                    self.shard.handle(request, token, api_version, &mut env)
                }
                Message::Markers { sent, results } => {
                    self.shard.on_markers_written(&sent, &results, env.now_ms)
                }
            };
            self.accept(outcome)?;
        }
        while self.shard.next_deadline_ms().is_some_and(|deadline| deadline <= env.now_ms) {
            let outcome = self.shard.on_time(&mut env);
            self.accept(outcome)?;
        }
        self.flush()
    }

    /// Applies a decision and adds its records to the pending batch.
    fn accept(&mut self, outcome: TxnOutcome) -> Result<(), ErrorCode> {
        let max = self.partition.max_message_bytes().saturating_sub(BATCH_OVERHEAD);
        self.shard.apply(&outcome);
        let TxnOutcome { records, splittable, replies, send_markers } = outcome;
        let mut own = PendingBatch::default();
        for record in &records {
            let (key, value) = (record.key_bytes(), record.value_bytes());
            if splittable && own.bytes() + key.len() + value.as_ref().map_or(0, |v| v.len()) > max / 2 {
                self.join(std::mem::take(&mut own), max)?;
            }
            own.push(key, value);
        }
        self.join(own, max)?;
        self.held.extend(replies);
        self.markers.extend(send_markers);
        Ok(())
    }

    fn join(&mut self, own: PendingBatch, max: usize) -> Result<(), ErrorCode> {
        if !self.batch.is_empty() && self.batch.bytes() + own.bytes() > max {
            self.append()?;
        }
        self.batch.extend(own);
        Ok(())
    }

    /// Appends what is pending.
    fn flush(&mut self) -> Result<(), ErrorCode> {
        if self.batch.is_empty() { Ok(()) } else { self.append() }
    }

    /// Lets responses and markers go, whose records are in the log.
    fn release(&mut self, broker: &Arc<Broker>) {
        for (token, response) in self.held.drain(..) {
            if let Some(reply) = self.tokens.remove(&token) {
                let _ = reply.send(response);
            }
        }
        for sent in self.markers.drain(..) {
            let own = self.own.clone();
            let results = markers::send(broker, &sent);
            tokio::spawn(async move {
                let results = results.await;
                if let Some(own) = own.upgrade() {
                    let _ = own.send(Message::Markers { sent: Box::new(sent), results }).await;
                }
            });
        }
    }

    fn append(&mut self) -> Result<(), ErrorCode> {
        let now_ms = wall_clock_ms();
        let batch = self
            .batch
            .build(now_ms, compression_of(self.partition), None)
            .map_err(|_| ErrorCode::UnknownServerError)?;
        let appended = self.partition.append_coordinator(batch, now_ms, VerificationGuard::SENTINEL);
        let commit = appended.map_err(|error| {
            tracing::error!(partition = %self.partition, %error, "cannot append transaction records");
            append_error_to_coordinator_error(error.error_code())
        })?;
        self.commits.extend(commit);
        Ok(())
    }
}
