//! The nodes of a cluster: registered brokers and controllers.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::messages::metadata_record::broker_registration_change_record::BrokerRegistrationChangeRecord;
use ottla_protocol::messages::metadata_record::register_broker_record::{
    BrokerEndpoint, BrokerFeature, RegisterBrokerRecord,
};
use ottla_protocol::messages::metadata_record::register_controller_record::{
    ControllerEndpoint, ControllerFeature, RegisterControllerRecord,
};
use ottla_protocol::types::{Str, Uuid};

use crate::features::MetadataVersion;
use crate::image::ReplayError;
use crate::record::VersionedRecord;

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEndpoint {
    /// The listener's name.
    pub name: Str,
    pub host: Str,
    pub port: u16,
    /// See `SecurityProtocol::id`.
    pub security_protocol: i16,
}

/// Levels `(min, max)` that a node supports, by feature.
pub type SupportedFeatures = BTreeMap<Str, (i16, i16)>;

/// A broker as it registered, with its state since then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerRegistration {
    pub id: i32,
    /// Offset of the record that registered it.
    pub epoch: i64,
    pub incarnation_id: Uuid,
    pub endpoints: Vec<NodeEndpoint>,
    pub supported_features: SupportedFeatures,
    pub rack: Option<Str>,
    pub fenced: bool,
    pub in_controlled_shutdown: bool,
    pub is_migrating_zk_broker: bool,
    /// Online log directories, sorted.
    pub directories: Vec<Uuid>,
    /// Directories that take no new replicas; `None` from a broker that cannot say.
    pub cordoned_directories: Option<Vec<Uuid>>,
}

impl BrokerRegistration {
    pub(crate) fn from_record(r: &RegisterBrokerRecord) -> Self {
        let mut directories = r.log_dirs.clone();
        directories.sort_unstable();
        BrokerRegistration {
            id: r.broker_id,
            epoch: r.broker_epoch,
            incarnation_id: r.incarnation_id,
            endpoints: r
                .end_points
                .iter()
                .map(|e| NodeEndpoint {
                    name: e.name.clone(),
                    host: e.host.clone(),
                    port: e.port,
                    security_protocol: e.security_protocol,
                })
                .collect(),
            supported_features: r
                .features
                .iter()
                .map(|f| {
                    let range = (f.min_supported_version, f.max_supported_version);
                    (f.name.clone(), range)
                })
                .collect(),
            rack: r.rack.clone(),
            fenced: r.fenced,
            in_controlled_shutdown: r.in_controlled_shutdown,
            is_migrating_zk_broker: r.is_migrating_zk_broker,
            directories,
            cordoned_directories: r.cordoned_log_dirs.clone(),
        }
    }

    /// The endpoint of a listener.
    pub fn endpoint(&self, listener: &str) -> Option<&NodeEndpoint> {
        self.endpoints.iter().find(|e| &*e.name == listener)
    }

    /// Whether the directory is one of the broker's online ones. A broker that reports no
    /// directories, and a replica without a directory yet, are given the benefit of the doubt.
    pub fn has_online_dir(&self, dir: &Uuid) -> bool {
        super::directory::is_online(dir, &self.directories)
    }

    pub(crate) fn to_record(&self, version: MetadataVersion) -> VersionedRecord {
        let directories = version.is_directory_assignment_supported();
        let record = RegisterBrokerRecord {
            broker_id: self.id,
            is_migrating_zk_broker: self.is_migrating_zk_broker,
            incarnation_id: self.incarnation_id,
            broker_epoch: self.epoch,
            end_points: self
                .endpoints
                .iter()
                .map(|e| BrokerEndpoint {
                    name: e.name.clone(),
                    host: e.host.clone(),
                    port: e.port,
                    security_protocol: e.security_protocol,
                    ..Default::default()
                })
                .collect(),
            features: self
                .supported_features
                .iter()
                .map(|(name, (min, max))| BrokerFeature {
                    name: name.clone(),
                    min_supported_version: *min,
                    max_supported_version: *max,
                    ..Default::default()
                })
                .collect(),
            rack: self.rack.clone(),
            fenced: self.fenced,
            in_controlled_shutdown: self.in_controlled_shutdown,
            log_dirs: if directories { self.directories.clone() } else { Vec::new() },
            cordoned_log_dirs: if version.is_cordoned_log_dirs_supported() {
                self.cordoned_directories.clone()
            } else {
                None
            },
            ..Default::default()
        };
        VersionedRecord::new(record, version.register_broker_record_version())
    }
}

/// A controller as it registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllerRegistration {
    pub id: i32,
    pub incarnation_id: Uuid,
    pub zk_migration_ready: bool,
    pub endpoints: Vec<NodeEndpoint>,
    pub supported_features: SupportedFeatures,
}

impl ControllerRegistration {
    pub(crate) fn from_record(r: &RegisterControllerRecord) -> Self {
        ControllerRegistration {
            id: r.controller_id,
            incarnation_id: r.incarnation_id,
            zk_migration_ready: r.zk_migration_ready,
            endpoints: r
                .end_points
                .iter()
                .map(|e| NodeEndpoint {
                    name: e.name.clone(),
                    host: e.host.clone(),
                    port: e.port,
                    security_protocol: e.security_protocol,
                })
                .collect(),
            supported_features: r
                .features
                .iter()
                .map(|f| {
                    let range = (f.min_supported_version, f.max_supported_version);
                    (f.name.clone(), range)
                })
                .collect(),
        }
    }

    pub(crate) fn to_record(&self) -> VersionedRecord {
        VersionedRecord::v0(RegisterControllerRecord {
            controller_id: self.id,
            incarnation_id: self.incarnation_id,
            zk_migration_ready: self.zk_migration_ready,
            end_points: self
                .endpoints
                .iter()
                .map(|e| ControllerEndpoint {
                    name: e.name.clone(),
                    host: e.host.clone(),
                    port: e.port,
                    security_protocol: e.security_protocol,
                    ..Default::default()
                })
                .collect(),
            features: self
                .supported_features
                .iter()
                .map(|(name, (min, max))| ControllerFeature {
                    name: name.clone(),
                    min_supported_version: *min,
                    max_supported_version: *max,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        })
    }
}

/// Every registered node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClusterImage {
    pub brokers: BTreeMap<i32, Arc<BrokerRegistration>>,
    pub controllers: BTreeMap<i32, Arc<ControllerRegistration>>,
}

impl ClusterImage {
    /// A broker that is registered and not fenced.
    pub fn active_broker(&self, id: i32) -> Option<&Arc<BrokerRegistration>> {
        self.brokers.get(&id).filter(|b| !b.fenced)
    }

    pub fn is_fenced(&self, id: i32) -> bool {
        self.brokers.get(&id).is_none_or(|b| b.fenced)
    }

    /// The broker's epoch, if it is registered.
    pub fn broker_epoch(&self, id: i32) -> Option<i64> {
        self.brokers.get(&id).map(|b| b.epoch)
    }

    fn broker_at_epoch(&mut self, id: i32, epoch: i64) -> Result<&mut BrokerRegistration, ReplayError> {
        match self.brokers.get_mut(&id) {
            Some(b) if b.epoch == epoch => Ok(Arc::make_mut(b)),
            _ => Err(ReplayError::UnknownBroker { id, epoch }),
        }
    }

    pub(crate) fn unregister(&mut self, id: i32, epoch: i64) -> Result<(), ReplayError> {
        self.broker_at_epoch(id, epoch)?;
        self.brokers.remove(&id);
        Ok(())
    }

    pub(crate) fn set_fenced(&mut self, id: i32, epoch: i64, fenced: bool) -> Result<(), ReplayError> {
        self.broker_at_epoch(id, epoch)?.fenced = fenced;
        Ok(())
    }

    pub(crate) fn change(&mut self, r: &BrokerRegistrationChangeRecord) -> Result<(), ReplayError> {
        let broker = self.broker_at_epoch(r.broker_id, r.broker_epoch)?;
        match r.fenced {
            1 => broker.fenced = true,
            -1 => broker.fenced = false,
            _ => {}
        }
        if r.in_controlled_shutdown == 1 {
            broker.in_controlled_shutdown = true;
        }
        if !r.log_dirs.is_empty() {
            broker.directories = r.log_dirs.clone();
            broker.directories.sort_unstable();
        }
        if let Some(cordoned) = &r.cordoned_log_dirs {
            broker.cordoned_directories = Some(cordoned.clone());
        }
        Ok(())
    }
}
