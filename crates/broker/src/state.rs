//! What all handlers of a broker share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI16, AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use ottla_metadata::config::StaticConfig;
use ottla_metadata::image::MetadataImage;
use ottla_protocol::types::{Str, Uuid};

use crate::controller::{AutoCreations, ControllerAccess};
use crate::coordinators::{GroupCoordinator, TransactionCoordinator};
use crate::fetch::{ColdReaders, Deadlines, FetchSessions};
use crate::metrics::Metrics;
use crate::partitions::Partitions;
use crate::peers::Peers;
use crate::telemetry::Telemetry;

/// Milliseconds since 1970 on the wall clock.
pub fn wall_clock_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

/// Random bits for choices that need no secrecy.
pub fn random_u64() -> u64 {
    let id = random_uuid().0;
    u64::from_be_bytes([id[0], id[1], id[2], id[3], id[4], id[5], id[15], id[14]])
}

/// A random version 4 UUID, never one that Kafka reserves.
pub fn random_uuid() -> Uuid {
    loop {
        let mut bytes = [0; 16];
        if getrandom::fill(&mut bytes).is_err() {
            // The system has no randomness to give: time and a counter still differ between calls.
            static COUNTER: AtomicI64 = AtomicI64::new(0);
            let n = COUNTER.fetch_add(1, Ordering::Relaxed) as u128;
            bytes =
                ((wall_clock_ms() as u128) << 64 | n << 16 | u128::from(std::process::id())).to_be_bytes();
        }
        let id = Uuid::from_random(bytes);
        if !id.is_reserved() && !id.to_string().starts_with('-') {
            return id;
        }
    }
}

/// The states of a broker as Kafka numbers them. Source: Kafka `BrokerState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum BrokerState {
    NotRunning = 0,
    Starting = 1,
    Recovery = 2,
    Running = 3,
    PendingControlledShutdown = 6,
    ShuttingDown = 7,
}

/// One broker.
pub struct Broker {
    pub node_id: i32,
    pub cluster_id: Str,
    /// The static configuration with the dynamic one on top.
    pub config: ArcSwap<StaticConfig>,
    /// The static configuration alone.
    pub static_config: Arc<StaticConfig>,
    /// The newest committed metadata that this broker has applied.
    pub image: ArcSwap<MetadataImage>,
    pub partitions: Partitions,
    pub peers: Peers,
    pub groups: GroupCoordinator,
    pub transactions: TransactionCoordinator,
    pub controller: ControllerAccess,
    pub fetch_sessions: FetchSessions,
    pub cold_readers: ColdReaders,
    /// Of the fetches that wait.
    pub deadlines: Deadlines,
    pub telemetry: Telemetry,
    pub cleaner: crate::cleaner::LogCleaner,
    pub mover: crate::alter_dirs::ReplicaMover,
    /// A directory failed, or was cordoned: the controller is to know.
    pub directories_changed: tokio::sync::Notify,
    pub metrics: Arc<Metrics>,
    pub state: AtomicU8,
    /// Epoch of the registration with the controller; -1 before it.
    pub broker_epoch: AtomicI64,
    /// Bound port by listener name, for listeners that asked for port 0.
    pub bound_ports: Mutex<BTreeMap<String, u16>>,
    /// Levels set by BROKER_LOGGER: logger name to level.
    pub loggers: crate::logging::Loggers,
    /// `unstable.api.versions.enable`, which every request asks for.
    pub unstable_apis: bool,
    /// Finalized level of `kraft.version`, which the quorum's own records hold.
    pub kraft_version: AtomicI16,
    /// Offset of the last metadata record that requests see, and that coordinators have been told of.
    pub applied_offset: tokio::sync::watch::Sender<i64>,
    /// Topics that are being created because clients asked for them.
    pub auto_creations: AutoCreations,
}

impl Broker {
    pub fn unstable_api_versions(&self) -> bool {
        self.unstable_apis
    }

    pub fn set_state(&self, state: BrokerState) {
        self.state.store(state as u8, Ordering::Release);
    }

    pub fn is_running(&self) -> bool {
        self.state.load(Ordering::Acquire) == BrokerState::Running as u8
    }

    /// Whether the broker is on its way out.
    pub fn is_stopping(&self) -> bool {
        let state = self.state.load(Ordering::Acquire);
        state == BrokerState::PendingControlledShutdown as u8 || state == BrokerState::ShuttingDown as u8
    }

    pub fn bound_port(&self, listener: &str) -> Option<u16> {
        self.bound_ports.lock().unwrap_or_else(PoisonError::into_inner).get(listener).copied()
    }
}
