//! Starts and stops a node: directories, quorum, controller, broker, listeners, HTTP.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI16, AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use ottla_metadata::config::{ConfigValue, Endpoint, SecurityProtocol, StaticConfig};
use ottla_metadata::image::MetadataImage;
use ottla_net::{
    ConnectionLimits, ConnectionOptions, LimitSettings, Listener, ListenerHandle, ListenerOptions,
    MemoryBudget,
};
use ottla_protocol::types::Uuid;
use ottla_raft::{CoreConfig, ListenerAddress, VoterSet};
use ottla_storage::dirs::{LogDirs, LogDirsOptions, MetaProperties};
use ottla_storage::disk::{Disk, OsDisk};

use crate::connection::NodeService;
use crate::controller::{
    self, Applied, ControllerAccess, ControllerNode, ControllerService, MetadataPublisher, NodeOptions,
    RemoteController,
};
use crate::coordinators::{GroupCoordinator, TransactionCoordinator};
use crate::directories::{self, fatal_failure};
use crate::fetch::FetchSessions;
use crate::lifecycle;
use crate::listener_info::reachable;
use crate::metrics::Metrics;
use crate::metrics_page::NodePages;
use crate::partitions::{Partitions, log_config};
use crate::peers::Peers;
use crate::state::{Broker, BrokerState, random_uuid, wall_clock_ms};
use crate::telemetry::Telemetry;

/// Requests of one connection that may wait for their responses.
const MAX_IN_FLIGHT: usize = 256;
/// `queued.max.request.bytes` when it is not set: Kafka has no limit, this node has one.
const DEFAULT_REQUEST_BYTES: usize = 512 * 1024 * 1024;
/// How often deleted files are removed, closed segments synced, silent producers forgotten.
const MAINTENANCE: Duration = Duration::from_secs(1);
/// `socket.receive.buffer.bytes` of Kafka's defaults and of the `server.properties` that comes with it.
const KAFKAS_RECEIVE_BUFFER_BYTES: usize = 102_400;

/// Why a node does not start. The text says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartupError(String);

fn failed(e: impl std::fmt::Display) -> StartupError {
    StartupError(e.to_string())
}

/// What a started node tells its operator.
#[derive(Debug, Clone)]
pub struct Started {
    pub node_id: i32,
    pub cluster_id: String,
    pub listeners: Vec<(String, SocketAddr)>,
    pub http: Option<SocketAddr>,
    pub startup: Duration,
}

/// Runs a node until `shutdown` completes. `on_started` is called once it serves.
pub async fn run(
    config: Arc<StaticConfig>,
    shutdown: impl Future<Output = ()>,
    on_started: impl FnOnce(&Started),
) -> Result<(), StartupError> {
    let began = Instant::now();
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let identity = identity(&config, &*disk)?;
    let metrics = Arc::new(Metrics::default());
    refuse_unserved_protocols(&config)?;

    let shared = Shared::new(&config, Arc::clone(&metrics));
    let mut bound = Vec::new();
    for endpoint in &config.listeners {
        bound.push((endpoint.listener.clone(), shared.bind(&config, endpoint)?));
    }
    let ports: BTreeMap<String, u16> = bound
        .iter()
        .map(|(name, listener)| Ok((name.clone(), listener.local_addr()?.port())))
        .collect::<Result<_, std::io::Error>>()
        .map_err(failed)?;

    let log_dirs = match config.roles.broker {
        true => Some(open_log_dirs(&config, &disk)?),
        false => None,
    };
    let node = ControllerNode::start(NodeOptions {
        config: Arc::clone(&config),
        cluster_id: identity.cluster_id.clone(),
        core: core_config(&config, &identity, &ports),
        disk: Arc::clone(&disk),
        metadata_dir: PathBuf::from(&config.metadata_log_dir),
    })
    .map_err(failed)?;

    let mut handles: Vec<ListenerHandle> = Vec::new();
    let mut listeners = Vec::new();
    let mut broker_listeners = Vec::new();
    for (name, listener) in bound {
        listeners.push((name.clone(), listener.local_addr().map_err(failed)?));
        if config.is_controller_listener(&name) {
            let service = ControllerService { node: Arc::clone(&node), metrics: Arc::clone(&metrics) };
            handles.push(listener.start(Arc::new(service)).map_err(failed)?);
        } else {
            broker_listeners.push(listener);
        }
    }
    let pages = Arc::new(NodePages {
        metrics: Arc::clone(&metrics),
        broker: OnceLock::new(),
        controller: Some(Arc::clone(&node)),
    });
    let http = match config.get_string("ottla.http.listen").filter(|a| !a.is_empty()) {
        Some(address) => Some(
            crate::http::serve(address, Arc::clone(&pages))
                .await
                .map_err(|e| StartupError(format!("ottla.http.listen: cannot listen on {address}: {e}")))?,
        ),
        None => None,
    };

    if config.roles.controller {
        let told = reachable(&config.advertised_controller_listeners, |name| ports.get(name).copied());
        tokio::spawn(controller::keep_registered(Arc::clone(&node), told));
    }

    tokio::pin!(shutdown);
    let mut running = None;
    if let Some((log_dirs, settings)) = log_dirs {
        let broker = make_broker(&config, &identity, &node, metrics, Arc::clone(&log_dirs), ports);
        let _ = pages.broker.set(Arc::downgrade(&broker));
        let publisher = MetadataPublisher::new(Arc::clone(&broker), settings);
        let start = lifecycle::start(&broker, &node, publisher, identity.directory_ids());
        tokio::select! {
            result = start => result.map_err(failed)?,
            () = node.ended() => {
                let text = node.failure();
                node.stop();
                return Err(StartupError(text));
            }
            () = &mut shutdown => {
                node.stop();
                log_dirs.shutdown(wall_clock_ms(), -1);
                return Ok(());
            }
        }
        let service = Arc::new(NodeService { broker: Arc::clone(&broker), on_controller_listener: false });
        for listener in broker_listeners {
            handles.push(listener.start(Arc::clone(&service)).map_err(failed)?);
        }
        spawn_committers(&log_dirs);
        spawn_maintenance(&broker, &log_dirs);
        directories::watch_failures(&broker);
        broker.mover.wake(&broker);
        running = Some((broker, log_dirs));
    }
    on_started(&Started {
        node_id: config.node_id,
        cluster_id: identity.cluster_id.clone(),
        listeners,
        http,
        startup: began.elapsed(),
    });
    // As Kafka's, a node that has lost its metadata log ends, so that whoever supervises it learns of it.
    let lost = tokio::select! {
        () = &mut shutdown => false,
        () = node.ended() => true,
    };

    if let Some((broker, log_dirs)) = running {
        lifecycle::stop(&broker).await;
        for handle in &handles {
            handle.stop();
        }
        broker.groups.stop();
        broker.transactions.stop();
        broker.set_state(BrokerState::ShuttingDown);
        let epoch = broker.broker_epoch.load(Ordering::Acquire);
        let closing = tokio::task::spawn_blocking(move || {
            broker.cleaner.stop();
            log_dirs.shutdown(wall_clock_ms(), epoch);
        });
        let _ = closing.await;
    }
    for handle in &handles {
        handle.stop();
    }
    let stopping = Arc::clone(&node);
    let _ = tokio::task::spawn_blocking(move || stopping.stop()).await;
    if lost {
        return Err(StartupError(format!("{}: the node has stopped", node.failure())));
    }
    Ok(())
}

/// Who the directories say this node is.
struct Identity {
    cluster_id: String,
    metadata_directory: Uuid,
    log_directories: Vec<Uuid>,
}

impl Identity {
    fn directory_ids(&self) -> Vec<Uuid> {
        self.log_directories.clone()
    }
}

/// Reads `meta.properties` of every directory and refuses what does not belong together.
fn identity(config: &StaticConfig, disk: &dyn Disk) -> Result<Identity, StartupError> {
    let mut paths: Vec<&String> = config.log_dirs.iter().collect();
    if !paths.contains(&&config.metadata_log_dir) {
        paths.push(&config.metadata_log_dir);
    }
    let mut found: Vec<(&String, MetaProperties)> = Vec::new();
    let mut unformatted = Vec::new();
    for path in paths {
        match MetaProperties::read(disk, Path::new(path)) {
            Ok(Some(meta)) => found.push((path, meta)),
            Ok(None) => unformatted.push(path),
            // A disk that does not answer takes its partitions with it, not the node.
            Err(e) if e.kind() != std::io::ErrorKind::InvalidData && *path != config.metadata_log_dir => {
                tracing::error!(path, error = %e, "the log directory cannot be read; it is offline");
            }
            // The error names the file.
            Err(e) => {
                return Err(StartupError(format!(
                    "{e}. Put the file back as it was (those of the node's other directories differ in directory.id only), \
                     or take the directory out of log.dirs"
                )));
            }
        }
    }
    let format_first = |path: &str| {
        StartupError(format!(
            "No `meta.properties` found in {path} (have you run `ottla kafka-storage format` on this configuration?)"
        ))
    };
    let Some((first_path, first)) = found.first() else {
        return Err(format_first(&config.metadata_log_dir));
    };
    let cluster_id = first
        .cluster_id
        .clone()
        .ok_or_else(|| StartupError(format!("{first_path}/meta.properties has no cluster.id")))?;
    for (path, meta) in &found {
        if meta.version != 1 {
            return Err(StartupError(format!(
                "{path}/meta.properties has version {}: the directory was written before KRaft, and has to be migrated with Kafka 3.9 first",
                meta.version
            )));
        }
        if meta.cluster_id.as_deref() != Some(cluster_id.as_str()) {
            return Err(StartupError(format!(
                "{path}/meta.properties belongs to cluster {}, but {first_path} belongs to cluster {cluster_id}: remove the directory that is not of this cluster from log.dirs",
                meta.cluster_id.as_deref().unwrap_or("(none)")
            )));
        }
        if meta.node_id != Some(config.node_id) {
            return Err(StartupError(format!(
                "Stored node id {} doesn't match previous node id {} in {path}/meta.properties. If you moved your data, make sure your configured node id matches. If you intend to create a new node, you should remove all data in your data directories.",
                meta.node_id.unwrap_or(-1),
                config.node_id
            )));
        }
    }
    if found.iter().all(|(path, _)| **path != config.metadata_log_dir) {
        return Err(format_first(&config.metadata_log_dir));
    }
    for path in unformatted {
        // A directory that is new beside formatted ones becomes one of this node.
        let meta = MetaProperties::new(cluster_id.clone(), config.node_id, random_uuid());
        let written = disk
            .create_dir_all(Path::new(path))
            .and_then(|()| meta.write(disk, Path::new(path), wall_clock_ms()));
        match written {
            Ok(()) => found.push((path, meta)),
            Err(e) => {
                tracing::error!(path, error = %e, "the log directory cannot be formatted; it is offline")
            }
        }
    }
    let mut metadata_directory = Uuid::ZERO;
    let mut log_directories = Vec::new();
    for (path, meta) in &mut found {
        let id = match meta.directory_id {
            Some(id) => id,
            None => {
                let id = random_uuid();
                meta.directory_id = Some(id);
                meta.write(disk, Path::new(path.as_str()), wall_clock_ms())
                    .map_err(|e| StartupError(format!("{path}/meta.properties: {e}")))?;
                id
            }
        };
        if **path == config.metadata_log_dir {
            metadata_directory = id;
        }
        if config.log_dirs.contains(path) {
            log_directories.push(id);
        }
    }
    Ok(Identity { cluster_id, metadata_directory, log_directories })
}

/// Only plain connections are served; anything else must not look as if it were.
fn refuse_unserved_protocols(config: &StaticConfig) -> Result<(), StartupError> {
    for endpoint in &config.listeners {
        if endpoint.security_protocol != SecurityProtocol::Plaintext {
            return Err(StartupError(format!(
                "listeners: {} uses {}, but this version serves only PLAINTEXT listeners",
                endpoint.listener,
                endpoint.security_protocol.name()
            )));
        }
    }
    Ok(())
}

/// What all listeners of the node share.
struct Shared {
    metrics: Arc<Metrics>,
    limits: Arc<ConnectionLimits>,
    budget: Arc<MemoryBudget>,
}

impl Shared {
    fn new(config: &StaticConfig, metrics: Arc<Metrics>) -> Shared {
        let number = |key: &str| usize::try_from(config.get_int(key)).unwrap_or(usize::MAX);
        let overrides = config
            .get_string("max.connections.per.ip.overrides")
            .unwrap_or_default()
            .split(',')
            .filter_map(|pair| pair.rsplit_once(':'))
            .filter_map(|(host, n)| {
                let limit = n.trim().parse().ok()?;
                Some(resolve(host.trim(), 0)?.into_iter().map(move |a| (a.ip(), limit)).collect::<Vec<_>>())
            })
            .flatten()
            .collect();
        let limits = LimitSettings {
            max_connections: number("max.connections"),
            max_connections_per_ip: number("max.connections.per.ip"),
            per_ip_overrides: overrides,
            max_creation_rate: u32::try_from(config.get_int("max.connection.creation.rate"))
                .unwrap_or(u32::MAX),
        };
        let budget = match config.get_long("queued.max.request.bytes") {
            n if n > 0 => n as usize,
            _ => DEFAULT_REQUEST_BYTES,
        };
        Shared { metrics, limits: Arc::new(ConnectionLimits::new(limits)), budget: MemoryBudget::new(budget) }
    }

    fn bind(&self, config: &StaticConfig, endpoint: &Endpoint) -> Result<Listener, StartupError> {
        let host = endpoint.host.as_deref().unwrap_or_default();
        let key = format!("listeners: {}://{host}:{}", endpoint.listener, endpoint.port);
        let addresses = if host.is_empty() {
            vec![SocketAddr::new(IpAddr::from([0, 0, 0, 0]), endpoint.port)]
        } else {
            resolve(host, endpoint.port).ok_or_else(|| StartupError(format!("{key}: unknown host {host}")))?
        };
        let size = |key: &str| usize::try_from(config.get_int(key)).ok();
        let own = |key: &str| match config.listener_value(&endpoint.listener, key) {
            ConfigValue::Int(n) => usize::try_from(n).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        let options = ListenerOptions {
            name: endpoint.listener.as_str().into(),
            connection: ConnectionOptions {
                max_frame_bytes: config.get_int("socket.request.max.bytes").max(1) as usize,
                max_in_flight: MAX_IN_FLIGHT,
                max_idle: Duration::from_millis(config.get_long("connections.max.idle.ms").max(0) as u64),
                budget: Arc::clone(&self.budget),
            },
            limits: Arc::clone(&self.limits),
            listener_limits: Arc::new(ConnectionLimits::new(LimitSettings {
                max_connections: own("max.connections"),
                ..Default::default()
            })),
            metrics: self.metrics.listeners.of(&endpoint.listener),
            send_buffer_bytes: size("socket.send.buffer.bytes"),
            receive_buffer_bytes: receive_buffer_bytes(config.get_int("socket.receive.buffer.bytes")),
            backlog: config.get_int("socket.listen.backlog.size"),
        };
        let mut last = None;
        for address in addresses {
            match Listener::bind(address, options.clone()) {
                Ok(listener) => return Ok(listener),
                Err(e) => last = Some(e),
            }
        }
        let reason = last.map_or_else(|| "no address".to_owned(), |e| e.to_string());
        Err(StartupError(format!("{key}: cannot listen: {reason}")))
    }
}

/// What `socket.receive.buffer.bytes` asks of the system: nothing (None) where it is negative, as in Kafka, and where it is
/// Kafka's own value, which nobody chose. The system then has the buffer of a connection grow with what its client sends
/// (decision 11).
fn receive_buffer_bytes(configured: i32) -> Option<usize> {
    usize::try_from(configured).ok().filter(|bytes| *bytes != KAFKAS_RECEIVE_BUFFER_BYTES)
}

/// Addresses of a host, IPv4 first as Java prefers them.
fn resolve(host: &str, port: u16) -> Option<Vec<SocketAddr>> {
    let mut addresses: Vec<SocketAddr> = (host, port).to_socket_addrs().ok()?.collect();
    addresses.sort_by_key(|a| a.is_ipv6());
    (!addresses.is_empty()).then_some(addresses)
}

/// Settings of logs: the configuration and the image that they are taken from.
type TopicSettings = Arc<ArcSwap<(Arc<StaticConfig>, Arc<MetadataImage>)>>;

fn open_log_dirs(
    config: &Arc<StaticConfig>,
    disk: &Arc<dyn Disk>,
) -> Result<(Arc<LogDirs>, TopicSettings), StartupError> {
    let settings: TopicSettings =
        Arc::new(ArcSwap::from_pointee((Arc::clone(config), Arc::new(MetadataImage::default()))));
    let for_topics = Arc::clone(&settings);
    let options = LogDirsOptions {
        topic_configs: Arc::new(move |topic| {
            let now = for_topics.load();
            log_config(&now.0, &now.1, topic)
        }),
        recovery_threads_per_data_dir: config.get_int("num.recovery.threads.per.data.dir").max(1) as usize,
        producer_id_expiration_ms: i64::from(config.get_int("producer.id.expiration.ms")),
        transaction_verification: config.get_bool("transaction.partition.verification.enable"),
        file_delete_delay_ms: config.get_long("log.segment.delete.delay.ms"),
        max_unflushed_bytes_per_partition: config.get_long("ottla.log.unflushed.bytes.per.partition").max(0)
            as u64,
        max_unflushed_bytes_per_dir: config.get_long("ottla.log.unflushed.bytes.per.dir").max(0) as u64,
        ..LogDirsOptions::new(config.log_dirs.iter().map(PathBuf::from).collect())
    };
    let unique = u128::from_be_bytes(random_uuid().0);
    let log_dirs = LogDirs::open(Arc::clone(disk), options, unique).map_err(failed)?;
    Ok((Arc::new(log_dirs), settings))
}

fn core_config(config: &StaticConfig, identity: &Identity, ports: &BTreeMap<String, u16>) -> CoreConfig {
    let listener = config.controller_listener_names.first().cloned().unwrap_or_default();
    let voters = config.quorum_voters.iter().map(|v| {
        // A voter that is this node and asked for any port has the one that it got.
        let port = if v.id == config.node_id && v.port == 0 {
            ports.get(&listener).copied().unwrap_or(0)
        } else {
            v.port
        };
        (v.id, v.host.as_str(), port)
    });
    CoreConfig {
        node_id: config.node_id,
        directory_id: identity.metadata_directory,
        cluster_id: identity.cluster_id.clone(),
        can_vote: config.roles.controller,
        static_voters: VoterSet::from_static(&listener, voters),
        bootstrap_servers: config.quorum_bootstrap_servers.clone(),
        listener,
        advertised: config
            .advertised_controller_listeners
            .iter()
            .map(|e| ListenerAddress {
                name: e.listener.clone(),
                host: e.host.clone().unwrap_or_default(),
                port: if e.port == 0 { ports.get(&e.listener).copied().unwrap_or(0) } else { e.port },
            })
            .collect(),
        fetch_timeout_ms: i64::from(config.get_int("controller.quorum.fetch.timeout.ms")),
        retry_backoff_ms: i64::from(config.get_int("controller.quorum.retry.backoff.ms")),
        fetch_max_bytes: config.get_int("controller.quorum.fetch.max.bytes").max(1) as usize,
        fetch_snapshot_max_bytes: config.get_int("controller.quorum.fetch.snapshot.max.bytes").max(1)
            as usize,
    }
}

fn make_broker(
    config: &Arc<StaticConfig>,
    identity: &Identity,
    node: &Arc<ControllerNode>,
    metrics: Arc<Metrics>,
    log_dirs: Arc<LogDirs>,
    ports: BTreeMap<String, u16>,
) -> Arc<Broker> {
    let (applied_offset, applied) = tokio::sync::watch::channel(-1);
    let controller = if config.roles.controller {
        ControllerAccess::Local { node: Arc::clone(node), applied: Applied(applied) }
    } else {
        ControllerAccess::Remote(Arc::new(RemoteController::new(config.node_id, node.view())))
    };
    Arc::new(Broker {
        node_id: config.node_id,
        cluster_id: identity.cluster_id.as_str().into(),
        config: ArcSwap::new(Arc::clone(config)),
        static_config: Arc::clone(config),
        image: ArcSwap::default(),
        partitions: Partitions::new(config.node_id, log_dirs),
        peers: Peers::default(),
        groups: GroupCoordinator::default(),
        transactions: TransactionCoordinator::default(),
        controller,
        fetch_sessions: FetchSessions::new(
            config.get_int("max.incremental.fetch.session.cache.slots").max(0) as usize,
        ),
        cold_readers: Default::default(),
        deadlines: Default::default(),
        telemetry: Telemetry::default(),
        cleaner: Default::default(),
        mover: Default::default(),
        directories_changed: Default::default(),
        metrics,
        state: AtomicU8::new(BrokerState::Starting as u8),
        broker_epoch: AtomicI64::new(-1),
        bound_ports: Mutex::new(ports),
        loggers: Default::default(),
        auto_creations: Default::default(),
        unstable_apis: config.get_bool("unstable.api.versions.enable"),
        kraft_version: AtomicI16::new(node.view().borrow().kraft_version),
        applied_offset,
    })
}

/// A thread per log directory that makes durable what waits for it.
fn spawn_committers(log_dirs: &Arc<LogDirs>) {
    for state in log_dirs.states() {
        let dir = state.path().to_path_buf();
        let spawned = std::thread::Builder::new()
            .name("commit".into())
            .spawn(move || state.committer().run(wall_clock_ms));
        if let Err(error) = spawned {
            tracing::error!(dir = %dir.display(), %error, "cannot start the commit thread; appends sync by themselves");
        }
    }
}

/// The work of the storage floor that nobody waits for, on a thread of its own.
fn spawn_maintenance(broker: &Arc<Broker>, log_dirs: &Arc<LogDirs>) {
    let broker = Arc::downgrade(broker);
    let log_dirs = Arc::clone(log_dirs);
    let spawned = std::thread::Builder::new().name("maintenance".into()).spawn(move || {
        let (mut checkpointed, mut retained, mut expired) = (Instant::now(), Instant::now(), Instant::now());
        let mut first_retention = true;
        loop {
            std::thread::sleep(MAINTENANCE);
            let Some(b) = broker.upgrade() else { return };
            if !b.is_running() {
                return;
            }
            let now_ms = wall_clock_ms();
            log_dirs.maintain(now_ms);
            let config = b.config.load();
            if let Some(reason) = fatal_failure(&b.static_config, &log_dirs) {
                tracing::error!("{reason}");
                std::process::exit(1);
            }
            b.cleaner.apply(&config, &log_dirs);
            let checkpoint = config.get_int("log.flush.offset.checkpoint.interval.ms").max(1000) as u64;
            if checkpointed.elapsed() >= Duration::from_millis(checkpoint) {
                checkpointed = Instant::now();
                log_dirs.checkpoint();
            }
            let expiry = config.get_int("producer.id.expiration.check.interval.ms").max(1) as u64;
            if expired.elapsed() >= Duration::from_millis(expiry) {
                expired = Instant::now();
                let expiration_ms = i64::from(config.get_int("producer.id.expiration.ms"));
                for log in log_dirs.all() {
                    log.set_producer_id_expiration_ms(expiration_ms);
                    log.remove_expired_producers(now_ms);
                }
            }
            let key =
                if first_retention { "log.initial.task.delay.ms" } else { "log.retention.check.interval.ms" };
            if retained.elapsed() >= Duration::from_millis(config.get_long(key).max(1) as u64) {
                first_retention = false;
                retained = Instant::now();
                let deleted = log_dirs.delete_old_segments(now_ms);
                if deleted > 0 {
                    tracing::info!(segments = deleted, "deleted old segments");
                }
            }
        }
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "cannot start the maintenance thread");
    }
}

#[cfg(test)]
mod tests {
    use super::receive_buffer_bytes;

    #[test]
    fn the_system_sizes_receive_buffers_unless_another_size_was_chosen() {
        assert_eq!(receive_buffer_bytes(-1), None);
        assert_eq!(receive_buffer_bytes(102_400), None);
        assert_eq!(receive_buffer_bytes(65_536), Some(65_536));
        assert_eq!(receive_buffer_bytes(1_048_576), Some(1_048_576));
    }
}
