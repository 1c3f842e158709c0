//! The metadata quorum's task: owns the quorum's core, the metadata log and, while this node leads, the controller.
//!
//! It runs on a thread of its own, because it waits for the disk. Requests come through a mailbox; what is committed
//! goes out as images on a watch channel.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ottla_metadata::config::StaticConfig;
use ottla_metadata::controller::{Context, Controller, KRaftVersion, activation_records};
use ottla_metadata::image::{ImageBuilder, MetadataImage, Provenance};
use ottla_metadata::record::VersionedRecord;
use ottla_protocol::ApiKey;
use ottla_protocol::messages as m;
use ottla_protocol::wire::Message as _;
use ottla_raft::{
    ControlHistory, CoreConfig, Effect, ElectionState, Event, KRAFT_VERSION_MAX, LogView, PeerAddress,
    PeerRequest, PeerResponse, QuorumCore, RequestId, SnapshotId, SnapshotPolicy, StoredSnapshot, Token,
    for_each_record, snapshot_bytes, snapshots_to_delete,
};
use ottla_storage::LogError;
use ottla_storage::disk::Disk;
use tokio::sync::{mpsc, oneshot, watch};

use super::apis;
use super::metadata_log::{MetadataLog, MetadataLogError};
use super::peer_client::PeerClient;
use super::{Asker, ControllerError};
use crate::metrics::Exposition;
use crate::request::decode;
use crate::state::{random_u64, wall_clock_ms};

/// Requests that may wait for the task.
const MAILBOX: usize = 4096;
/// Requests decided before the log is flushed.
const DRAIN: usize = 128;
/// Bytes of a snapshot that are read into one FetchSnapshot response.
const MAX_SNAPSHOT_CHUNK: usize = 8 * 1024 * 1024;

/// Between two looks at a full disk.
const FULL_DISK_PAUSE: Duration = Duration::from_millis(100);

fn is_full(kind: std::io::ErrorKind) -> bool {
    matches!(kind, std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// What the task is started with.
pub struct NodeOptions {
    pub config: Arc<StaticConfig>,
    pub cluster_id: String,
    pub core: CoreConfig,
    pub disk: Arc<dyn Disk>,
    pub metadata_dir: PathBuf,
}

/// What the rest of the node sees of the quorum.
#[derive(Debug, Clone)]
pub struct QuorumView {
    pub image: Arc<MetadataImage>,
    pub leader: Option<PeerAddress>,
    pub leader_id: Option<i32>,
    pub epoch: i32,
    pub high_watermark: i64,
    pub log_end_offset: i64,
    pub kraft_version: i16,
}

/// An answer with the offset up to which metadata must be applied for it to be seen.
#[derive(Debug)]
pub struct Answered {
    pub body: Bytes,
    pub offset: i64,
}

enum Mail {
    Ask {
        asker: Asker,
        api: ApiKey,
        version: i16,
        body: Bytes,
        reply: oneshot::Sender<Result<Answered, ControllerError>>,
    },
    Peer {
        version: i16,
        request: PeerRequest,
        reply: oneshot::Sender<PeerResponse>,
    },
    PeerAnswered {
        id: RequestId,
        response: Option<PeerResponse>,
    },
    Stop,
}

/// A handle to the task.
pub struct ControllerNode {
    mailbox: mpsc::Sender<Mail>,
    view: watch::Receiver<QuorumView>,
    active: Arc<AtomicBool>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    decided: Arc<AtomicI64>,
    stopping: Arc<AtomicBool>,
    failure: Arc<OnceLock<String>>,
    pub node_id: i32,
    pub cluster_id: String,
    pub config: Arc<StaticConfig>,
}

impl ControllerNode {
    /// Opens the metadata log and starts the task.
    pub fn start(options: NodeOptions) -> Result<Arc<ControllerNode>, MetadataLogError> {
        let log = MetadataLog::open(Arc::clone(&options.disk), &options.metadata_dir, &options.config)?;
        let (mailbox, mail) = mpsc::channel(MAILBOX);
        let active = Arc::new(AtomicBool::new(false));
        let decided = Arc::new(AtomicI64::new(0));
        let stopping = Arc::new(AtomicBool::new(false));
        let (config, cluster_id, node_id) =
            (Arc::clone(&options.config), options.cluster_id.clone(), options.core.node_id);
        let (task, view) = Task::new(
            options,
            log,
            mailbox.downgrade(),
            [&active, &stopping].map(Arc::clone),
            Arc::clone(&decided),
        )?;
        let failure = Arc::clone(&task.failure);
        let thread = std::thread::Builder::new()
            .name("quorum".into())
            .spawn(move || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(task.run(mail)),
                Err(error) => tracing::error!(%error, "cannot start the quorum's runtime"),
            })
            .map_err(|source| MetadataLogError::Io { dir: PathBuf::new(), source })?;
        Ok(Arc::new(ControllerNode {
            mailbox,
            view,
            active,
            decided,
            stopping,
            failure,
            thread: Mutex::new(Some(thread)),
            node_id,
            cluster_id,
            config,
        }))
    }

    pub fn view(&self) -> watch::Receiver<QuorumView> {
        self.view.clone()
    }

    /// Whether this node leads the quorum and has the whole log.
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// Whether a leader is known.
    pub fn is_ready(&self) -> bool {
        self.view.borrow().leader_id.is_some()
    }

    /// Asks the active controller; fails when it is not this node.
    pub async fn ask(
        &self,
        asker: Asker,
        api: ApiKey,
        version: i16,
        body: Bytes,
    ) -> Result<Answered, ControllerError> {
        let (reply, answer) = oneshot::channel();
        let gone = || ControllerError::NotAvailable("the controller is stopping".to_owned());
        self.mailbox.send(Mail::Ask { asker, api, version, body, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Hands in a request of the quorum's own protocol.
    pub async fn peer(&self, version: i16, request: PeerRequest) -> Option<PeerResponse> {
        let (reply, answer) = oneshot::channel();
        self.mailbox.send(Mail::Peer { version, request, reply }).await.ok()?;
        answer.await.ok()
    }

    /// Completes when the task has ended: after [`stop`](Self::stop), or because its disk failed.
    pub async fn ended(&self) {
        let mut view = self.view.clone();
        while view.changed().await.is_ok() {}
    }

    /// Why the task ended by itself, and what to do.
    pub fn failure(&self) -> String {
        self.failure.get().cloned().unwrap_or_else(|| "the metadata log failed".to_owned())
    }

    /// Stops the task and waits for it.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        // The task drains its mailbox all the time; a full one means that it is gone.
        let _ = self.mailbox.try_send(Mail::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    pub fn render(&self, out: &mut Exposition) {
        let view = self.view.borrow().clone();
        let active = self.is_active();
        out.gauge("kafka_controller_kafkacontroller_activecontrollercount", &[], i32::from(active));
        out.gauge("kafka_server_raft_metrics_current_leader", &[], view.leader_id.unwrap_or(-1));
        out.gauge("kafka_server_raft_metrics_current_epoch", &[], view.epoch);
        out.gauge("kafka_server_raft_metrics_high_watermark", &[], view.high_watermark);
        out.gauge("kafka_server_raft_metrics_log_end_offset", &[], view.log_end_offset);
        let state = match (active, view.leader_id) {
            (true, _) => "leader",
            (false, None) => "unattached",
            (false, Some(_)) if self.config.roles.controller => "follower",
            (false, Some(_)) => "observer",
        };
        out.gauge("kafka_server_raft_metrics_current_state", &[("state", &state)], 1);
        let applied = view.image.provenance.last_offset;
        out.gauge("kafka_controller_kafkacontroller_lastappliedrecordoffset", &[], applied);
        out.gauge("kafka_controller_kafkacontroller_lastcommittedrecordoffset", &[], view.high_watermark - 1);
        out.gauge("kafka_controller_kafkacontroller_metadataerrorcount", &[], 0);
        if active {
            let topics = view.image.topics.len();
            let partitions: usize = view.image.topics.iter().map(|t| t.partitions.len()).sum();
            let offline =
                view.image.topics.iter().flat_map(|t| t.partitions.values()).filter(|p| p.leader < 0).count();
            let fenced = view.image.cluster.brokers.values().filter(|b| b.fenced).count();
            out.gauge("kafka_controller_kafkacontroller_globaltopiccount", &[], topics);
            out.gauge("kafka_controller_kafkacontroller_globalpartitioncount", &[], partitions);
            out.gauge("kafka_controller_kafkacontroller_offlinepartitionscount", &[], offline);
            let unpreferred = view.image.topics.iter().flat_map(|t| t.partitions.values());
            let unpreferred = unpreferred.filter(|p| p.replicas.first() != Some(&p.leader)).count();
            out.gauge("kafka_controller_kafkacontroller_preferredreplicaimbalancecount", &[], unpreferred);
            out.gauge("kafka_controller_kafkacontroller_fencedbrokercount", &[], fenced);
            out.gauge(
                "kafka_controller_kafkacontroller_activebrokercount",
                &[],
                view.image.cluster.brokers.len() - fenced,
            );
            out.counter(
                "ottla_controller_requests_total",
                &[],
                self.decided.load(Ordering::Relaxed).max(0) as u64,
            );
        }
    }
}

/// A response that waits for its records to be committed.
struct Waiting {
    offset: i64,
    reply: oneshot::Sender<Result<Answered, ControllerError>>,
    body: Bytes,
}

struct Task {
    config: Arc<StaticConfig>,
    cluster_id: String,
    metadata_dir: PathBuf,
    core: QuorumCore,
    log: MetadataLog,
    /// The committed state.
    builder: ImageBuilder,
    /// Offset of the next record to apply.
    applied: i64,
    policy: SnapshotPolicy,
    controller: Option<Controller>,
    /// Set between becoming the leader and having the whole log.
    leading_from: Option<i64>,
    waiting: VecDeque<Waiting>,
    peers: HashMap<Token, oneshot::Sender<PeerResponse>>,
    next_token: u64,
    snapshot_in_progress: Option<(SnapshotId, Vec<u8>)>,
    client: Arc<PeerClient>,
    own: mpsc::WeakSender<Mail>,
    view: watch::Sender<QuorumView>,
    active: Arc<AtomicBool>,
    decided: Arc<AtomicI64>,
    unflushed: bool,
    failed: bool,
    /// Somebody wants the task to end.
    stopping: Arc<AtomicBool>,
    /// Why it ended by itself.
    failure: Arc<OnceLock<String>>,
}

impl Task {
    fn new(
        options: NodeOptions,
        log: MetadataLog,
        own: mpsc::WeakSender<Mail>,
        [active, stopping]: [Arc<AtomicBool>; 2],
        decided: Arc<AtomicI64>,
    ) -> Result<(Task, watch::Receiver<QuorumView>), MetadataLogError> {
        let dir = log.dir().to_path_buf();
        let invalid = |e: &dyn std::fmt::Display| MetadataLogError::Io {
            dir: dir.clone(),
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, e.to_string()),
        };
        let mut history = ControlHistory::new();
        let mut builder = ImageBuilder::new(MetadataImage::default());
        let mut applied = 0;
        if let Some(id) = log.latest_snapshot()
            && let Some(bytes) = log.read_snapshot(id)?
        {
            let file =
                ottla_storage::kraft::SnapshotId { end_offset: id.offset, epoch: id.epoch }.file_name();
            let damaged = |e: &dyn std::fmt::Display| {
                invalid(&format_args!(
                    "{file}: {e}. Copy the snapshot from another node of the quorum; without one the cluster's metadata is lost"
                ))
            };
            history.replay_snapshot(&bytes, id.offset).map_err(|e| damaged(&e))?;
            // The snapshot at 0 is the formatter's: its records count once the first controller has written them to
            // the log (which is what Kafka reads them from).
            if id.offset > 0 {
                load_snapshot(&mut builder, id, &bytes).map_err(|e| damaged(&e))?;
            }
            applied = id.offset;
        }
        let mut offset = log.start_offset().max(applied.min(log.end().offset));
        while offset < log.end().offset {
            let bytes = log.read(offset)?;
            let next = end_of(&bytes).unwrap_or(offset);
            if next <= offset {
                break;
            }
            history.replay_log(&bytes).map_err(|e| invalid(&e))?;
            offset = next;
        }
        let forgotten = |e: &dyn std::fmt::Display| {
            invalid(&format_args!(
                "{e}. Put the file quorum-state back as it was; without its vote a node can vote twice. Where it is the only \
                 voter, remove the file"
            ))
        };
        let election = match log.read_quorum_state_text().map_err(|e| forgotten(&e))? {
            Some(text) => Some(ElectionState::from_json(&text).map_err(|e| forgotten(&e))?),
            None => None,
        };
        let config = options.config;
        let core = QuorumCore::new(options.core.clone(), election, history, &log);
        let policy = SnapshotPolicy::new(
            config.get_long("metadata.log.max.record.bytes.between.snapshots").max(1) as u64,
            config.get_long("metadata.log.max.snapshot.interval.ms"),
            wall_clock_ms(),
        );
        let (view, receiver) = watch::channel(QuorumView {
            image: Arc::new(builder.image().clone()),
            leader: None,
            leader_id: None,
            epoch: core.epoch(),
            high_watermark: -1,
            log_end_offset: log.end().offset,
            kraft_version: core.kraft_version(),
        });
        let timeout =
            Duration::from_millis(config.get_int("controller.quorum.request.timeout.ms").max(1) as u64);
        let task = Task {
            client: PeerClient::new(options.core.node_id, timeout),
            config,
            cluster_id: options.cluster_id,
            metadata_dir: options.metadata_dir,
            core,
            log,
            builder,
            applied,
            policy,
            controller: None,
            leading_from: None,
            waiting: VecDeque::new(),
            peers: HashMap::new(),
            next_token: 0,
            snapshot_in_progress: None,
            own,
            view,
            active,
            decided,
            unflushed: false,
            failed: false,
            stopping,
            failure: Arc::new(OnceLock::new()),
        };
        Ok((task, receiver))
    }

    async fn run(mut self, mut mail: mpsc::Receiver<Mail>) {
        let mut batch = Vec::with_capacity(DRAIN);
        self.event(Event::Tick);
        self.settle();
        loop {
            let now = wall_clock_ms();
            let deadlines = [
                self.core.next_deadline_ms(),
                self.controller.as_ref().map(Controller::next_deadline_ms),
                self.policy.next_deadline_ms(),
            ];
            let wait = deadlines.into_iter().flatten().min().map_or(1000, |d| (d - now).clamp(0, 1000));
            tokio::select! {
                n = mail.recv_many(&mut batch, DRAIN) => if n == 0 { break },
                () = tokio::time::sleep(Duration::from_millis(wait as u64)) => {}
            }
            let mut stop = false;
            for mail in batch.drain(..) {
                match mail {
                    Mail::Ask { asker, api, version, body, reply } => {
                        self.ask(&asker, api, version, body, reply)
                    }
                    Mail::Peer { version, request, reply } => {
                        self.next_token += 1;
                        let token = Token(self.next_token);
                        self.peers.insert(token, reply);
                        self.event(Event::Request { token, version, request });
                    }
                    Mail::PeerAnswered { id, response: Some(response) } => {
                        self.event(Event::Response { id, response });
                    }
                    Mail::PeerAnswered { id, response: None } => self.event(Event::Failed { id }),
                    Mail::Stop => stop = true,
                }
            }
            self.settle();
            if stop || self.failed {
                break;
            }
        }
        self.event(Event::Shutdown);
        self.settle();
        self.log.close();
    }

    /// Does what time asks for, makes the log durable, and tells everybody what came of it.
    fn settle(&mut self) {
        self.event(Event::Tick);
        self.flush();
        self.on_time();
        self.flush();
        self.release();
        self.maybe_snapshot();
        self.publish();
    }

    fn event(&mut self, event: Event) {
        let effects = self.core.on_event(event, &self.log, wall_clock_ms());
        self.perform(effects);
    }

    fn flush(&mut self) {
        while std::mem::take(&mut self.unflushed) {
            self.event(Event::Flushed);
            let effects = self.core.on_appended(&self.log, wall_clock_ms());
            self.perform(effects);
        }
    }

    /// A disk that fails under the metadata log ends the node's part in the quorum.
    fn fail(&mut self, error: &dyn std::fmt::Display) {
        tracing::error!(%error, "the metadata log failed; this node leaves the quorum");
        let text = format!(
            "the metadata log in {} cannot be used: {error}. `ottla storage check` says what is wrong with it",
            self.log.dir().display()
        );
        let _ = self.failure.set(text);
        self.failed = true;
        self.lose_leadership();
    }

    /// Writes, and waits while the disk is full: a node that goes on without its metadata log is worse than one that
    /// stands still, and other voters elect another leader meanwhile.
    fn once_there_is_room<E: std::fmt::Display>(
        &self,
        is_full: impl Fn(&E) -> bool,
        write: impl Fn(&MetadataLog) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut told = false;
        loop {
            let result = write(&self.log);
            let Err(error) = &result else {
                if told {
                    tracing::info!("the disk of the metadata log has room again");
                }
                return result;
            };
            if !is_full(error) || self.stopping.load(Ordering::Acquire) {
                return result;
            }
            if !std::mem::replace(&mut told, true) {
                tracing::error!(%error, "the disk of the metadata log is full: waiting for room");
            }
            std::thread::sleep(FULL_DISK_PAUSE);
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if self.failed {
                return;
            }
            match effect {
                Effect::PersistElection { json } => {
                    let full = |e: &std::io::Error| is_full(e.kind());
                    if let Err(e) = self.once_there_is_room(full, |log| log.write_quorum_state_text(&json)) {
                        self.fail(&e);
                    }
                }
                Effect::Append(batch) => {
                    let epoch = self.core.epoch();
                    let append = |log: &MetadataLog| log.append_as_leader(&batch.bytes, epoch);
                    match self.once_there_is_room(LogError::is_shortage, append) {
                        Ok(()) => self.unflushed = true,
                        Err(e) => self.fail(&e),
                    }
                }
                Effect::AppendFetched { batches } => {
                    let epoch = self.core.epoch();
                    let voter = self.core.is_voter();
                    let append = |log: &MetadataLog| log.append_as_follower(&batches, epoch, voter);
                    match self.once_there_is_room(LogError::is_shortage, append) {
                        Ok(()) => self.unflushed = true,
                        Err(e) => self.fail(&e),
                    }
                }
                Effect::Truncate { offset } => {
                    if let Err(e) = self.log.truncate_to(offset) {
                        self.fail(&e);
                    }
                }
                Effect::WriteSnapshotChunk { id, position, bytes } => {
                    let (current, buffer) = self.snapshot_in_progress.get_or_insert_with(|| (id, Vec::new()));
                    if *current != id || position == 0 {
                        *current = id;
                        buffer.clear();
                    }
                    if buffer.len() as u64 == position {
                        buffer.extend_from_slice(&bytes);
                    }
                }
                Effect::InstallSnapshot { id } => self.install_snapshot(id),
                Effect::Respond { token, response } => self.respond(token, response),
                Effect::RespondWithRecords { token, mut response, offset, max_bytes } => {
                    match self.log.read_slice(offset, max_bytes).map(|s| s.to_vec()) {
                        Ok(Ok(bytes)) => {
                            if let Some(p) =
                                response.responses.first_mut().and_then(|t| t.partitions.first_mut())
                            {
                                p.records = Some(bytes.into());
                            }
                        }
                        Ok(Err(error)) => tracing::error!(%error, "cannot read the metadata log"),
                        Err(error) => tracing::error!(%error, "cannot read the metadata log"),
                    }
                    self.respond(token, PeerResponse::Fetch(response));
                }
                Effect::RespondWithSnapshot { token, mut response, id, position, max_bytes } => {
                    if let Some(mut slice) = self.log.open_snapshot(id)
                        && let Some(p) = response.topics.first_mut().and_then(|t| t.partitions.first_mut())
                    {
                        let len = (slice.len as u64).saturating_sub(position);
                        slice.position += position;
                        slice.len = len.min(max_bytes.min(MAX_SNAPSHOT_CHUNK) as u64) as usize;
                        if let Ok(bytes) = slice.to_vec() {
                            p.unaligned_records = Some(bytes.into());
                        }
                    }
                    self.respond(token, PeerResponse::FetchSnapshot(response));
                }
                Effect::Send { id, to, request } => {
                    let own = self.own.clone();
                    let client = Arc::clone(&self.client);
                    tokio::spawn(async move {
                        let response = client.call(&to, request).await;
                        if let Some(own) = own.upgrade() {
                            let _ = own.send(Mail::PeerAnswered { id, response }).await;
                        }
                    });
                }
                Effect::BecameLeader { epoch, epoch_start_offset } => {
                    tracing::info!(epoch, "this node leads the metadata quorum");
                    self.leading_from = Some(epoch_start_offset);
                }
                Effect::LostLeadership { epoch } => {
                    tracing::info!(epoch, "this node leads the metadata quorum no more");
                    self.lose_leadership();
                }
                Effect::LeaderChanged { leader_id, epoch } => {
                    tracing::info!(leader = leader_id.unwrap_or(-1), epoch, "leader of the metadata quorum");
                }
                Effect::HighWatermark { offset } => self.on_high_watermark(offset),
            }
        }
    }

    fn respond(&mut self, token: Token, response: PeerResponse) {
        if let Some(reply) = self.peers.remove(&token) {
            let _ = reply.send(response);
        }
    }

    fn lose_leadership(&mut self) {
        self.controller = None;
        self.leading_from = None;
        self.active.store(false, Ordering::Release);
        for waiting in self.waiting.drain(..) {
            let _ = waiting.reply.send(Err(ControllerError::NotController));
        }
    }

    fn install_snapshot(&mut self, id: SnapshotId) {
        let Some((have, bytes)) = self.snapshot_in_progress.take() else { return };
        if have != id {
            return;
        }
        let mut history = ControlHistory::new();
        let mut builder = ImageBuilder::new(MetadataImage::default());
        let result = history
            .replay_snapshot(&bytes, id.offset)
            .map_err(|e| e.to_string())
            .and_then(|()| load_snapshot(&mut builder, id, &bytes).map_err(|e| e.to_string()))
            .and_then(|()| self.log.write_snapshot(id, &bytes).map_err(|e| e.to_string()))
            .and_then(|()| self.log.start_after_snapshot(id).map_err(|e| e.to_string()));
        match result {
            Ok(()) => {
                self.builder = builder;
                self.applied = id.offset;
                self.policy.on_snapshot(wall_clock_ms());
                self.event(Event::SnapshotInstalled { id, history });
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Applies what has been committed to the image.
    fn on_high_watermark(&mut self, offset: i64) {
        self.log.set_high_watermark(offset);
        while self.applied < offset {
            let bytes = match self.log.read(self.applied) {
                Ok(bytes) if !bytes.is_empty() => bytes,
                Ok(_) => break,
                Err(e) => return self.fail(&e),
            };
            let before = self.applied;
            let mut last = self.builder.image().provenance;
            let builder = &mut self.builder;
            let result = for_each_record(&bytes, |record| -> Result<(), Broken> {
                if record.offset < before || record.offset >= offset {
                    return Ok(());
                }
                let decoded = VersionedRecord::decode(record.value)
                    .map_err(|e| Broken(format!("offset {}: {e}", record.offset)))?;
                builder
                    .replay(&decoded.record)
                    .map_err(|e| Broken(format!("offset {}: {e}", record.offset)))?;
                last = Provenance {
                    last_offset: record.offset,
                    last_epoch: record.epoch,
                    last_timestamp_ms: record.timestamp_ms,
                };
                Ok(())
            });
            if let Err(error) = result {
                return self.fail(&error);
            }
            let end = end_of(&bytes).unwrap_or(before).min(offset);
            if end <= before {
                break;
            }
            self.applied = end;
            last.last_offset = last.last_offset.max(end - 1);
            last.last_epoch = last.last_epoch.max(epoch_of(&bytes).unwrap_or(-1));
            self.builder.set_provenance(last);
            self.policy.on_committed(bytes.len() as u64);
        }
        if let Some(start) = self.leading_from
            && self.controller.is_none()
            && offset > start
        {
            self.activate();
        }
    }

    /// The new leader has the whole log: its controller takes over.
    fn activate(&mut self) {
        let voters = self.core.voters().ids().collect();
        let image = self.builder.newest().clone();
        let controller =
            Controller::new(Arc::clone(&self.config), &self.cluster_id, voters, image, wall_clock_ms());
        let bootstrap = match self.bootstrap_records() {
            Ok(records) => records,
            Err(error) => return self.fail(&error),
        };
        let records = activation_records(&self.builder, &bootstrap, &self.config);
        self.controller = Some(controller);
        self.append(records, false);
        self.active.store(true, Ordering::Release);
    }

    /// What `kafka-storage format` left for the first controller.
    fn bootstrap_records(&self) -> Result<Vec<VersionedRecord>, Broken> {
        let path = self.metadata_dir.join("bootstrap.checkpoint");
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                // A directory formatted with initial controllers has the records in its first snapshot.
                match self.log.read_snapshot(SnapshotId::new(0, 0)) {
                    Ok(Some(bytes)) => bytes,
                    Ok(None) => {
                        let version = ottla_metadata::features::MetadataVersion::LATEST;
                        return Ok(ottla_metadata::controller::bootstrap_records(
                            version,
                            &Default::default(),
                            vec![],
                        ));
                    }
                    Err(e) => return Err(Broken(e.to_string())),
                }
            }
            Err(e) => return Err(Broken(format!("{}: {e}", path.display()))),
        };
        let mut records = Vec::new();
        for_each_record(&bytes, |record| -> Result<(), Broken> {
            let decoded = VersionedRecord::decode(record.value)
                .map_err(|e| Broken(format!("{}: {e}", path.display())))?;
            records.push(decoded);
            Ok(())
        })?;
        Ok(records)
    }

    /// Appends records of the controller and replays them. Returns the offset behind them.
    fn append(&mut self, records: Vec<VersionedRecord>, atomic: bool) -> Option<i64> {
        if records.is_empty() {
            return Some(self.log.end().offset);
        }
        let mut values = Vec::with_capacity(records.len());
        for record in &records {
            match record.encode() {
                Ok(bytes) => values.push(bytes),
                Err(e) => {
                    self.fail(&format_args!("a record of the controller has no encoding: {e}"));
                    return None;
                }
            }
        }
        let mut offset = self.log.end().offset;
        let batches = match self.core.propose(&values, atomic, &self.log, wall_clock_ms()) {
            Ok(batches) => batches,
            Err(e) => {
                self.fail(&e);
                return None;
            }
        };
        let epoch = self.core.epoch();
        for batch in &batches {
            let append = |log: &MetadataLog| log.append_as_leader(&batch.bytes, epoch);
            if let Err(e) = self.once_there_is_room(LogError::is_shortage, append) {
                self.fail(&e);
                return None;
            }
            self.unflushed = true;
        }
        if let Some(controller) = &mut self.controller {
            for record in &records {
                if let Err(error) = controller.replay(offset, &record.record) {
                    // The controller wrote what it cannot read: it must not go on.
                    self.fail(&error);
                    return None;
                }
                offset += 1;
            }
        }
        Some(self.log.end().offset)
    }

    fn upgrade_kraft_version(&mut self, level: i16) {
        let appended = match self.core.propose_kraft_version(level, &self.log, wall_clock_ms()) {
            Ok(batch) => self.log.append_as_leader(&batch.bytes, self.core.epoch()),
            Err(e) => return self.fail(&e),
        };
        match appended {
            Ok(()) => self.unflushed = true,
            Err(e) => self.fail(&e),
        }
    }

    fn ask(
        &mut self,
        asker: &Asker,
        api: ApiKey,
        version: i16,
        body: Bytes,
        reply: oneshot::Sender<Result<Answered, ControllerError>>,
    ) {
        if api == ApiKey::DescribeQuorum {
            return self.describe_quorum(version, body, reply);
        }
        let next_offset = self.log.end().offset;
        let kraft_version = KRaftVersion {
            level: self.core.kraft_version(),
            can_upgrade: self.core.can_upgrade_kraft_version(KRAFT_VERSION_MAX),
        };
        let Some(controller) = &mut self.controller else {
            let _ = reply.send(Err(ControllerError::NotController));
            return;
        };
        self.decided.fetch_add(1, Ordering::Relaxed);
        let ctx = Context {
            now_ms: wall_clock_ms(),
            next_offset,
            principal: &asker.principal,
            forwarded: asker.forwarded,
            version,
        };
        match apis::decide(controller, &ctx, api, body, &mut random_u64, kraft_version) {
            Ok(decided) => {
                let body = decided.response;
                if let Some(level) = decided.kraft_upgrade {
                    self.upgrade_kraft_version(level);
                }
                match self.append(decided.records, decided.atomic) {
                    Some(offset) => self.waiting.push_back(Waiting { offset, reply, body }),
                    None => drop(reply.send(Err(ControllerError::NotController))),
                }
            }
            Err(error) => {
                let _ = reply.send(Err(ControllerError::NotAvailable(error.to_string())));
            }
        }
    }

    fn describe_quorum(
        &mut self,
        version: i16,
        body: Bytes,
        reply: oneshot::Sender<Result<Answered, ControllerError>>,
    ) {
        let request: m::DescribeQuorumRequest = match decode(body, version) {
            Ok(request) => request,
            Err(e) => return drop(reply.send(Err(ControllerError::Decode(e)))),
        };
        self.next_token += 1;
        let token = Token(self.next_token);
        let (peer, mut answer) = oneshot::channel();
        self.peers.insert(token, peer);
        self.event(Event::Request { token, version, request: PeerRequest::DescribeQuorum(request) });
        let result = match answer.try_recv() {
            Ok(PeerResponse::DescribeQuorum(response)) => response
                .to_bytes(version)
                .map(|body| Answered { body, offset: 0 })
                .map_err(ControllerError::Encode),
            _ => Err(ControllerError::NotController),
        };
        let _ = reply.send(result);
    }

    /// Fences silent brokers and what else the controller does by itself.
    fn on_time(&mut self) {
        loop {
            let now_ms = wall_clock_ms();
            let next_offset = self.log.end().offset;
            let Some(controller) = &mut self.controller else { return };
            if controller.next_deadline_ms() > now_ms {
                return;
            }
            let ctx =
                Context { now_ms, next_offset, principal: "User:ANONYMOUS", forwarded: false, version: 0 };
            let records = controller.on_time(&ctx);
            if records.is_empty() || self.append(records, false).is_none() {
                return;
            }
        }
    }

    /// Sends the responses whose records are committed.
    fn release(&mut self) {
        let committed = self.core.high_watermark().unwrap_or(-1);
        while self.waiting.front().is_some_and(|w| w.offset <= committed) {
            if let Some(w) = self.waiting.pop_front() {
                // Whoever asked must find it in the image that is published next.
                self.publish();
                let _ = w.reply.send(Ok(Answered { body: w.body, offset: w.offset - 1 }));
            }
        }
    }

    fn publish(&mut self) {
        let high_watermark = self.core.high_watermark().unwrap_or(-1);
        let leader = self.core.leader_address();
        let (leader_id, epoch, end) = (self.core.leader_id(), self.core.epoch(), self.log.end().offset);
        let kraft_version = self.core.kraft_version();
        let image = self.builder.image();
        self.view.send_if_modified(|view| {
            let image_changed = view.image.provenance != image.provenance;
            let changed = image_changed
                || view.leader != leader
                || view.leader_id != leader_id
                || view.epoch != epoch
                || view.kraft_version != kraft_version
                || view.high_watermark != high_watermark;
            if image_changed {
                view.image = Arc::new(image.clone());
            }
            view.leader = leader;
            view.leader_id = leader_id;
            view.epoch = epoch;
            view.high_watermark = high_watermark;
            view.log_end_offset = end;
            view.kraft_version = kraft_version;
            changed
        });
    }

    fn maybe_snapshot(&mut self) {
        let now_ms = wall_clock_ms();
        if self.policy.due(now_ms).is_none() || self.builder.is_in_transaction() || self.failed {
            return;
        }
        let image = self.builder.image();
        let id = SnapshotId::new(self.applied, image.provenance.last_epoch);
        if self.log.latest_snapshot().is_some_and(|latest| latest.offset >= id.offset) {
            self.policy.on_snapshot(now_ms);
            return;
        }
        let result = self.write_snapshot(id, image, now_ms);
        match result {
            Ok(bytes) => {
                tracing::info!(
                    offset = id.offset,
                    epoch = id.epoch,
                    bytes,
                    "wrote a snapshot of the metadata"
                );
                self.policy.on_snapshot(now_ms);
                self.clean_snapshots(now_ms);
            }
            Err(error) => {
                tracing::error!(%error, "cannot write a snapshot of the metadata");
                // Tried again when as much has come as would have been due anyway.
                self.policy.on_snapshot(now_ms);
            }
        }
    }

    fn write_snapshot(&self, id: SnapshotId, image: &MetadataImage, now_ms: i64) -> Result<usize, Broken> {
        let mut values = Vec::new();
        for record in image.write() {
            values.push(record.encode().map_err(|e| Broken(e.to_string()))?);
        }
        let bytes = snapshot_bytes(
            id,
            image.provenance.last_timestamp_ms,
            now_ms,
            self.core.kraft_version(),
            self.core.logged_voters(),
            &values,
        )
        .map_err(|e| Broken(e.to_string()))?;
        self.log.write_snapshot(id, &bytes).map_err(|e| Broken(e.to_string()))?;
        Ok(bytes.len())
    }

    fn clean_snapshots(&mut self, now_ms: i64) {
        let stored: Vec<StoredSnapshot> = self
            .log
            .snapshots()
            .into_iter()
            .map(|(id, size_bytes)| StoredSnapshot {
                id,
                size_bytes,
                last_contained_log_timestamp_ms: self.log.snapshot_modified_ms(id).unwrap_or(now_ms),
            })
            .collect();
        let doomed = snapshots_to_delete(
            &stored,
            self.log.log().size(),
            self.config.get_long("metadata.max.retention.bytes"),
            self.config.get_long("metadata.max.retention.ms"),
            now_ms,
        );
        for id in doomed {
            if let Err(error) = self.log.delete_snapshot(id) {
                tracing::warn!(%error, "cannot delete a snapshot of the metadata");
            }
        }
        if let Some(oldest) = self.log.earliest_snapshot().filter(|s| s.offset > self.log.start_offset())
            && let Err(error) = self.log.delete_before(oldest.offset)
        {
            tracing::warn!(%error, "cannot cut the metadata log");
        }
        self.log.maintain();
    }
}

/// Bytes of the metadata log that do not make sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Broken(String);

impl From<ottla_raft::LogReadError> for Broken {
    fn from(e: ottla_raft::LogReadError) -> Self {
        Broken(e.to_string())
    }
}

fn load_snapshot(builder: &mut ImageBuilder, id: SnapshotId, bytes: &[u8]) -> Result<(), Broken> {
    let mut timestamp = -1;
    for_each_record(bytes, |record| -> Result<(), Broken> {
        let decoded = VersionedRecord::decode(record.value)
            .map_err(|e| Broken(format!("snapshot {}: {e}", id.offset)))?;
        builder.replay(&decoded.record).map_err(|e| Broken(format!("snapshot {}: {e}", id.offset)))?;
        timestamp = record.timestamp_ms;
        Ok(())
    })?;
    builder.set_provenance(Provenance {
        last_offset: id.offset - 1,
        last_epoch: id.epoch,
        last_timestamp_ms: timestamp,
    });
    Ok(())
}

fn headers(bytes: &[u8]) -> impl Iterator<Item = ottla_protocol::records::BatchHeader> + '_ {
    ottla_protocol::records::BatchIter::new(bytes).map_while(Result::ok).map(|b| *b.header())
}

/// The offset behind the last whole batch.
fn end_of(bytes: &[u8]) -> Option<i64> {
    headers(bytes).last().map(|h| h.next_offset())
}

fn epoch_of(bytes: &[u8]) -> Option<i32> {
    headers(bytes).last().map(|h| h.partition_leader_epoch)
}
