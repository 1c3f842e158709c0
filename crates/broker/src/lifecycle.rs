//! A broker's life as the controller sees it: registered, fenced until it has caught up, serving, leaving. Source: Kafka `BrokerLifecycleManager`.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ottla_metadata::features;
use ottla_protocol::messages::broker_registration_request::{Feature, Listener};
use ottla_protocol::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse,
};
use ottla_protocol::types::Uuid;
use ottla_protocol::{ApiKey, ErrorCode};

use crate::controller::{ControllerNode, MetadataPublisher};
use crate::directories::{self, FailureReports};
use crate::listener_info::reachable;
use crate::partitions::log_config;
use crate::state::{Broker, BrokerState, random_uuid, wall_clock_ms};

/// Newest versions that this broker speaks with its controller.
const REGISTRATION_VERSION: i16 = 4;
const HEARTBEAT_VERSION: i16 = 2;
/// Pause between attempts while the controller is not there or has not caught up.
const RETRY: Duration = Duration::from_millis(20);
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a stop waits for the controller to move leaders away.
const STOP_PATIENCE: Duration = Duration::from_millis(5000);

/// Why a broker does not come up.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    #[error("the controller refused the registration of broker {id}: {code}")]
    Refused { id: i32, code: ErrorCode },
}

/// Registers, applies the metadata, loads the logs, and returns once the controller has unfenced the broker.
pub async fn start(
    broker: &Arc<Broker>,
    node: &Arc<ControllerNode>,
    mut publisher: MetadataPublisher,
    directories: Vec<Uuid>,
) -> Result<(), LifecycleError> {
    let incarnation = random_uuid();
    let previous_epoch = broker.partitions.log_dirs().previous_broker_epoch();
    let epoch = register(broker, incarnation, previous_epoch, &directories).await?;
    broker.broker_epoch.store(epoch, Ordering::Release);
    let mut view = node.view();
    // Everything up to the registration must be known before the first partition is served.
    let caught_up = view.wait_for(|v| v.image.provenance.last_offset >= epoch).await;
    let Some(image) = caught_up.ok().map(|v| Arc::clone(&v.image)) else { return Ok(()) };
    broker.set_state(BrokerState::Recovery);
    let loading = Arc::clone(broker);
    let names: BTreeSet<(String, Uuid)> = image.topics.iter().map(|t| (t.name.to_string(), t.id)).collect();
    let settings = Arc::clone(&image);
    publisher.prepare(&image);
    let loaded = tokio::task::spawn_blocking(move || {
        let dirs = loading.partitions.log_dirs();
        dirs.load_logs(wall_clock_ms(), &|log| {
            // A log of a topic that was deleted, or made again, while this broker was away.
            log.topic_id().is_some_and(|id| !names.contains(&(log.partition().topic.to_string(), id)))
        });
        // Settings of topics were not known for sure while the first logs were opened.
        for log in dirs.all() {
            log.update_config(log_config(&loading.config.load(), &settings, &log.partition().topic));
        }
    });
    let _ = loaded.await;
    publisher.apply(image);
    tokio::spawn(publisher.run(view));
    // The controller unfences a broker that has caught up with its own registration.
    loop {
        match heartbeat(broker, false, false).await {
            Ok(answer) if !answer.is_fenced => break,
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "no heartbeat yet"),
        }
        tokio::time::sleep(RETRY).await;
    }
    let mut applied = broker.applied_offset.subscribe();
    let unfenced = |b: &Broker| b.image.load().cluster.active_broker(b.node_id).is_some();
    while !unfenced(broker) {
        if tokio::time::timeout(CALL_TIMEOUT, applied.changed()).await.is_err() {
            tracing::warn!("still waiting for the metadata that says that this broker may serve");
        }
    }
    broker.set_state(BrokerState::Running);
    tokio::spawn(keep_alive(Arc::downgrade(broker), incarnation, directories));
    Ok(())
}

async fn register(
    broker: &Arc<Broker>,
    incarnation: Uuid,
    previous_epoch: i64,
    directories: &[Uuid],
) -> Result<i64, LifecycleError> {
    let config = broker.config.load_full();
    let listeners = reachable(&config.advertised_broker_listeners, |name| broker.bound_port(name))
        .into_iter()
        .map(|l| Listener {
            name: l.name.into(),
            host: l.host.into(),
            port: l.port,
            security_protocol: l.security_protocol,
            ..Default::default()
        })
        .collect();
    let features = features::supported_features()
        .into_iter()
        .map(|(name, min, max)| Feature {
            name: name.into(),
            min_supported_version: min,
            max_supported_version: max,
            ..Default::default()
        })
        .collect();
    let mut log_dirs = directories.to_vec();
    log_dirs.sort();
    let request = BrokerRegistrationRequest {
        broker_id: broker.node_id,
        cluster_id: broker.cluster_id.clone(),
        incarnation_id: incarnation,
        listeners,
        features,
        rack: config.rack.as_deref().map(Into::into),
        log_dirs,
        previous_broker_epoch: previous_epoch,
        ..Default::default()
    };
    loop {
        let answer: Result<BrokerRegistrationResponse, _> = broker
            .controller
            .call(ApiKey::BrokerRegistration, REGISTRATION_VERSION, &request, CALL_TIMEOUT)
            .await;
        match answer.map(|r| (ErrorCode::from_code(r.error_code), r.broker_epoch)) {
            Ok((ErrorCode::None, epoch)) => return Ok(epoch),
            // The previous run of this broker counts as alive until its session is over.
            Ok((ErrorCode::NotController | ErrorCode::DuplicateBrokerRegistration, _)) | Err(_) => {}
            Ok((code, _)) => {
                return Err(LifecycleError::Refused { id: broker.node_id, code });
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn heartbeat(
    broker: &Arc<Broker>,
    want_fence: bool,
    want_shut_down: bool,
) -> Result<BrokerHeartbeatResponse, String> {
    let image = broker.image.load();
    let cordoned = image
        .metadata_version()
        .is_cordoned_log_dirs_supported()
        .then(|| directories::cordoned_ids(broker.partitions.log_dirs()));
    let request = BrokerHeartbeatRequest {
        broker_id: broker.node_id,
        broker_epoch: broker.broker_epoch.load(Ordering::Acquire),
        current_metadata_offset: broker.image.load().provenance.last_offset,
        want_fence,
        want_shut_down,
        cordoned_log_dirs: cordoned,
        offline_log_dirs: directories::offline_ids(broker.partitions.log_dirs()),
        ..Default::default()
    };
    let answer: BrokerHeartbeatResponse = broker
        .controller
        .call(ApiKey::BrokerHeartbeat, HEARTBEAT_VERSION, &request, CALL_TIMEOUT)
        .await
        .map_err(|e| e.to_string())?;
    match ErrorCode::from_code(answer.error_code) {
        ErrorCode::None => Ok(answer),
        code => Err(code.to_string()),
    }
}

/// Sends heartbeats until the broker stops; registers again when the controller has forgotten it.
async fn keep_alive(broker: Weak<Broker>, incarnation: Uuid, directories: Vec<Uuid>) {
    let mut failures = FailureReports::default();
    loop {
        let Some(b) = broker.upgrade() else { return };
        let interval = b.config.load().get_int("broker.heartbeat.interval.ms").max(1) as u64;
        if !b.is_running() {
            return;
        }
        let failed = directories::offline_ids(b.partitions.log_dirs());
        failures.failed(&failed, Instant::now());
        match heartbeat(&b, false, false).await {
            Ok(answer) => {
                failures.told(&failed);
                if answer.is_fenced {
                    tracing::warn!("the controller has fenced this broker");
                }
            }
            Err(error) if error == ErrorCode::StaleBrokerEpoch.name() => {
                tracing::warn!("the controller does not know this broker any more; registering again");
                let previous = b.broker_epoch.load(Ordering::Acquire);
                if let Ok(epoch) = register(&b, incarnation, previous, &directories).await {
                    b.broker_epoch.store(epoch, Ordering::Release);
                }
                failures.forgotten(Instant::now());
            }
            Err(error) => tracing::warn!(%error, "the controller did not take the heartbeat"),
        }
        let timeout =
            Duration::from_millis(b.static_config.get_long("log.dir.failure.timeout.ms").max(1) as u64);
        if let Some(dir) = failures.overdue(timeout, Instant::now()) {
            tracing::error!(
                "Shutting down because couldn't communicate offline log dir {dir} with controllers"
            );
            std::process::exit(1);
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(interval)) => {}
            () = b.directories_changed.notified() => {}
        }
    }
}

/// Tells the controller that this broker goes, and waits until it may (controlled shutdown).
pub async fn stop(broker: &Arc<Broker>) {
    let was_running = broker.is_running();
    broker.set_state(BrokerState::PendingControlledShutdown);
    if !was_running || !broker.config.load().get_bool("controlled.shutdown.enable") {
        return;
    }
    let leaving = async {
        loop {
            match heartbeat(broker, false, true).await {
                Ok(answer) if answer.should_shut_down => return,
                Ok(_) => {}
                Err(_) => return,
            }
            tokio::time::sleep(RETRY).await;
        }
    };
    let _ = tokio::time::timeout(STOP_PATIENCE, leaving).await;
}
