//! Nodes come, stay and go: registration, heartbeats, fencing, controlled shutdown.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_protocol::messages::broker_heartbeat_response::BrokerHeartbeatResponse;
use ottla_protocol::messages::broker_registration_request::{self as reg, BrokerRegistrationRequest};
use ottla_protocol::messages::broker_registration_response::BrokerRegistrationResponse;
use ottla_protocol::messages::controller_registration_request::ControllerRegistrationRequest;
use ottla_protocol::messages::controller_registration_response::ControllerRegistrationResponse;
use ottla_protocol::messages::metadata_record::broker_registration_change_record::BrokerRegistrationChangeRecord;
use ottla_protocol::messages::metadata_record::register_broker_record::{
    BrokerEndpoint, BrokerFeature, RegisterBrokerRecord,
};
use ottla_protocol::messages::metadata_record::register_controller_record::{
    ControllerEndpoint, ControllerFeature, RegisterControllerRecord,
};
use ottla_protocol::messages::metadata_record::unregister_broker_record::UnregisterBrokerRecord;
use ottla_protocol::messages::metadata_record::unregister_controller_record::UnregisterControllerRecord;
use ottla_protocol::types::Uuid;

use super::{ApiError, Context, Controller, Decision};
use crate::features::METADATA_VERSION;
use crate::image::{NO_LEADER, directory};
use crate::record::VersionedRecord;

/// What a broker is to the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BrokerState {
    Fenced,
    Unfenced,
    ControlledShutdown,
    ShutdownNow,
}

fn invalid<T>(text: impl Into<String>) -> Result<T, ApiError> {
    Err(ApiError::new(ErrorCode::InvalidRegistration, text))
}

impl Controller {
    /// BrokerRegistration: a broker announces itself, fenced until it has caught up.
    pub fn decide_broker_registration(
        &mut self,
        ctx: &Context<'_>,
        request: &BrokerRegistrationRequest,
    ) -> Result<Decision<BrokerRegistrationResponse>, ApiError> {
        let version = self.image().metadata_version();
        if *request.cluster_id != *self.cluster_id {
            return Err(ApiError::new(
                ErrorCode::InconsistentClusterId,
                format!("Expected cluster ID {}, but got cluster ID {}", self.cluster_id, request.cluster_id),
            ));
        }
        let id = request.broker_id;
        let existing = self.image().cluster.brokers.get(&id).cloned();
        let same_incarnation = existing.as_ref().is_some_and(|b| b.incarnation_id == request.incarnation_id);
        if let Some(b) = &existing
            && !same_incarnation
            && self.sessions.is_valid(id, b.epoch, ctx.now_ms)
        {
            return Err(ApiError::new(
                ErrorCode::DuplicateBrokerRegistration,
                "Another broker is registered with that broker id. If the broker was recently restarted \
                 this should self-resolve once the heartbeat manager expires the broker's session.",
            ));
        }
        if request.is_migrating_zk_broker {
            return Err(ApiError::new(
                ErrorCode::BrokerIdNotRegistered,
                "Controller does not support registering ZK brokers.",
            ));
        }
        if version.is_directory_assignment_supported() {
            self.check_directories(id, &request.log_dirs)?;
        }
        let features = self.check_features(request)?;
        let mut record = RegisterBrokerRecord {
            broker_id: id,
            incarnation_id: request.incarnation_id,
            rack: request.rack.clone(),
            end_points: request
                .listeners
                .iter()
                .map(|l| BrokerEndpoint {
                    name: l.name.clone(),
                    host: l.host.clone(),
                    port: l.port,
                    security_protocol: l.security_protocol,
                    ..Default::default()
                })
                .collect(),
            features,
            fenced: true,
            ..Default::default()
        };
        if version.is_directory_assignment_supported() {
            record.log_dirs = request.log_dirs.clone();
        }
        let mut records = Vec::new();
        match &existing {
            Some(b) if same_incarnation => {
                record.fenced = b.fenced;
                record.in_controlled_shutdown = b.in_controlled_shutdown;
                record.broker_epoch = b.epoch;
            }
            _ => {
                let stored_epoch = existing.as_ref().map_or(-2, |b| b.epoch);
                // Only from version 3 on the broker says how it went down.
                let clean = ctx.version >= 3 && stored_epoch == request.previous_broker_epoch;
                self.add_shutdown_records(id, clean, &mut records);
                // As Kafka: the first offset of the decision, not of this very record.
                record.broker_epoch = ctx.next_offset;
                self.sessions.remove(id);
            }
        }
        let broker_epoch = record.broker_epoch;
        records.push(VersionedRecord::new(record, version.register_broker_record_version()));
        if same_incarnation {
            self.sessions.touch(id, broker_epoch, -1, ctx.now_ms);
        }
        let response = BrokerRegistrationResponse { broker_epoch, ..Default::default() };
        Ok(Decision::atomic(records, response))
    }

    fn check_directories(&self, id: i32, dirs: &[Uuid]) -> Result<(), ApiError> {
        if dirs.is_empty() {
            return invalid("No directories specified in request");
        }
        if dirs.iter().any(directory::is_reserved) {
            return invalid("Reserved directory ID in request");
        }
        let mut sorted = dirs.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() != dirs.len() {
            return invalid("Duplicate directory ID in request");
        }
        for dir in dirs {
            let owner =
                self.image().cluster.brokers.values().find(|b| b.id != id && b.directories.contains(dir));
            if let Some(owner) = owner {
                return invalid(format!("Broker {} is already registered with directory {dir}", owner.id));
            }
        }
        Ok(())
    }

    fn check_features(&self, request: &BrokerRegistrationRequest) -> Result<Vec<BrokerFeature>, ApiError> {
        let finalized = &self.image().features;
        let check = |name: &str, min: i16, max: i16| {
            let level = finalized.level(name);
            if (min..=max).contains(&level) {
                return Ok(());
            }
            Err(ApiError::new(
                ErrorCode::UnsupportedVersion,
                format!(
                    "Unable to register because the broker does not support finalized version {level} of \
                     {name}. The broker wants a version between {min} and {max}, inclusive."
                ),
            ))
        };
        for f in &request.features {
            check(&f.name, f.min_supported_version, f.max_supported_version)?;
        }
        let has = |name: &str| request.features.iter().any(|f: &reg::Feature| &*f.name == name);
        if !has(METADATA_VERSION) {
            return invalid("Request features do not contain 'metadata.version'");
        }
        for name in finalized.finalized.keys().filter(|n| !has(n)) {
            check(name, 0, 0)?;
        }
        Ok(request
            .features
            .iter()
            .map(|f| BrokerFeature {
                name: f.name.clone(),
                min_supported_version: f.min_supported_version,
                max_supported_version: f.max_supported_version,
                ..Default::default()
            })
            .collect())
    }

    /// What the end of a broker's previous incarnation means for the partitions it was in.
    fn add_shutdown_records(&self, id: i32, clean: bool, records: &mut Vec<VersionedRecord>) {
        if self.image().features.is_elr_enabled() && !clean {
            self.add_leader_and_isr_updates(
                NO_LEADER,
                NO_LEADER,
                id,
                |p| p.isr.contains(&id) || p.elr.contains(&id),
                records,
            );
        } else {
            self.add_leader_and_isr_updates(id, NO_LEADER, NO_LEADER, |p| p.isr.contains(&id), records);
        }
    }

    pub(super) fn add_fencing_records(&self, id: i32, records: &mut Vec<VersionedRecord>) {
        self.add_leader_and_isr_updates(id, NO_LEADER, NO_LEADER, |p| p.isr.contains(&id), records);
        let epoch = self.image().cluster.broker_epoch(id).unwrap_or(-1);
        records.push(self.registration_change(
            BrokerRegistrationChangeRecord {
                broker_id: id,
                broker_epoch: epoch,
                fenced: 1,
                ..Default::default()
            },
            0,
        ));
    }

    fn registration_change(&self, record: BrokerRegistrationChangeRecord, version: i16) -> VersionedRecord {
        VersionedRecord::new(record, version)
    }

    fn has_leaderships(&self, id: i32) -> bool {
        self.image().topics.iter().any(|t| t.partitions.values().any(|p| p.leader == id))
    }

    /// The least offset that every active broker has read.
    fn lowest_active_offset(&self) -> i64 {
        self.image()
            .cluster
            .brokers
            .values()
            .filter(|b| !b.fenced && !b.in_controlled_shutdown)
            .map(|b| self.sessions.metadata_offset(b.id))
            .min()
            .unwrap_or(i64::MAX)
    }

    fn next_state(&self, request: &BrokerHeartbeatRequest, registered_at: i64) -> (BrokerState, BrokerState) {
        let id = request.broker_id;
        let Some(broker) = self.image().cluster.brokers.get(&id) else {
            return (BrokerState::Fenced, BrokerState::Fenced);
        };
        if broker.fenced {
            let caught_up = request.current_metadata_offset >= registered_at;
            let next = if request.want_shut_down {
                BrokerState::ShutdownNow
            } else if !request.want_fence && caught_up {
                BrokerState::Unfenced
            } else {
                BrokerState::Fenced
            };
            return (BrokerState::Fenced, next);
        }
        if broker.in_controlled_shutdown {
            let may_go = !self.has_leaderships(id)
                && self.sessions.controlled_shutdown_offset(id) <= self.lowest_active_offset();
            let next = if may_go { BrokerState::ShutdownNow } else { BrokerState::ControlledShutdown };
            return (BrokerState::ControlledShutdown, next);
        }
        let next = match (request.want_fence, request.want_shut_down) {
            (true, true) => BrokerState::ShutdownNow,
            (true, false) => BrokerState::Fenced,
            (false, true) if self.has_leaderships(id) => BrokerState::ControlledShutdown,
            (false, true) => BrokerState::ShutdownNow,
            (false, false) => BrokerState::Unfenced,
        };
        (BrokerState::Unfenced, next)
    }

    /// BrokerHeartbeat: keeps a broker's session, and lets it be unfenced or go.
    pub fn decide_broker_heartbeat(
        &mut self,
        ctx: &Context<'_>,
        request: &BrokerHeartbeatRequest,
    ) -> Result<Decision<BrokerHeartbeatResponse>, ApiError> {
        let (id, epoch) = (request.broker_id, request.broker_epoch);
        self.check_broker_epoch(id, epoch)?;
        let registered_at = self.registration_offsets.get(&id).copied().unwrap_or(epoch);
        let (current, next) = self.next_state(request, registered_at);
        let mut records = Vec::new();
        if current != next {
            match next {
                BrokerState::Fenced | BrokerState::ShutdownNow => {
                    self.add_fencing_records(id, &mut records);
                }
                BrokerState::Unfenced => self.add_unfencing_records(id, epoch, &mut records),
                BrokerState::ControlledShutdown => {
                    self.add_controlled_shutdown_records(id, epoch, &mut records);
                }
            }
        }
        let version = self.image().metadata_version();
        if version.is_directory_assignment_supported() {
            self.add_offline_dir_records(id, epoch, &request.offline_log_dirs, &mut records);
        }
        if version.is_cordoned_log_dirs_supported()
            && let Some(cordoned) = &request.cordoned_log_dirs
        {
            self.add_cordoned_dir_records(id, epoch, cordoned, &mut records);
        }
        self.sessions.touch(id, epoch, request.current_metadata_offset, ctx.now_ms);
        if next == BrokerState::ControlledShutdown && !records.is_empty() {
            let last = ctx.next_offset + records.len() as i64 - 1;
            self.sessions.set_controlled_shutdown_offset(id, last);
        }
        let response = BrokerHeartbeatResponse {
            is_caught_up: request.current_metadata_offset >= registered_at,
            is_fenced: matches!(next, BrokerState::Fenced | BrokerState::ShutdownNow),
            should_shut_down: next == BrokerState::ShutdownNow,
            ..Default::default()
        };
        Ok(Decision::of(records, response))
    }

    fn add_unfencing_records(&self, id: i32, epoch: i64, records: &mut Vec<VersionedRecord>) {
        records.push(self.registration_change(
            BrokerRegistrationChangeRecord {
                broker_id: id,
                broker_epoch: epoch,
                fenced: -1,
                ..Default::default()
            },
            0,
        ));
        self.add_leader_and_isr_updates(NO_LEADER, id, NO_LEADER, |p| p.leader == NO_LEADER, records);
    }

    fn add_controlled_shutdown_records(&self, id: i32, epoch: i64, records: &mut Vec<VersionedRecord>) {
        records.push(self.registration_change(
            BrokerRegistrationChangeRecord {
                broker_id: id,
                broker_epoch: epoch,
                in_controlled_shutdown: 1,
                ..Default::default()
            },
            1,
        ));
        self.add_leader_and_isr_updates(id, NO_LEADER, NO_LEADER, |p| p.isr.contains(&id), records);
    }

    fn add_offline_dir_records(
        &self,
        id: i32,
        epoch: i64,
        offline: &[Uuid],
        records: &mut Vec<VersionedRecord>,
    ) {
        let Some(broker) = self.image().cluster.brokers.get(&id) else {
            return;
        };
        let newly: Vec<Uuid> = broker.directories.iter().copied().filter(|d| offline.contains(d)).collect();
        if newly.is_empty() {
            return;
        }
        self.add_leader_and_isr_updates(
            id,
            NO_LEADER,
            NO_LEADER,
            |p| p.directory_of(id).is_some_and(|d| newly.contains(&d)),
            records,
        );
        records.push(self.registration_change(
            BrokerRegistrationChangeRecord {
                broker_id: id,
                broker_epoch: epoch,
                log_dirs: broker.directories.iter().copied().filter(|d| !newly.contains(d)).collect(),
                ..Default::default()
            },
            2,
        ));
    }

    fn add_cordoned_dir_records(
        &self,
        id: i32,
        epoch: i64,
        cordoned: &[Uuid],
        records: &mut Vec<VersionedRecord>,
    ) {
        let current = self
            .image()
            .cluster
            .brokers
            .get(&id)
            .and_then(|b| b.cordoned_directories.clone())
            .unwrap_or_default();
        let same = current.len() == cordoned.len() && current.iter().all(|d| cordoned.contains(d));
        if same {
            return;
        }
        records.push(self.registration_change(
            BrokerRegistrationChangeRecord {
                broker_id: id,
                broker_epoch: epoch,
                cordoned_log_dirs: Some(cordoned.to_vec()),
                ..Default::default()
            },
            3,
        ));
    }

    /// UnregisterBroker: forgets a broker that is gone for good.
    pub fn decide_unregister_broker(&self, id: i32) -> Result<Decision<()>, ApiError> {
        let Some(epoch) = self.image().cluster.broker_epoch(id) else {
            return Err(ApiError::new(
                ErrorCode::BrokerIdNotRegistered,
                format!("Broker ID {id} is not currently registered"),
            ));
        };
        let mut records = Vec::new();
        self.add_leader_and_isr_updates(
            id,
            NO_LEADER,
            NO_LEADER,
            |p| p.isr.contains(&id) || p.elr.contains(&id),
            &mut records,
        );
        records.push(VersionedRecord::v0(UnregisterBrokerRecord {
            broker_id: id,
            broker_epoch: epoch,
            ..Default::default()
        }));
        Ok(Decision::of(records, ()))
    }

    /// ControllerRegistration.
    pub fn decide_controller_registration(
        &self,
        request: &ControllerRegistrationRequest,
    ) -> Result<Decision<ControllerRegistrationResponse>, ApiError> {
        let version = self.image().metadata_version();
        if !version.is_controller_registration_supported() {
            return Err(ApiError::new(
                ErrorCode::UnsupportedVersion,
                "The current MetadataVersion is too old to support controller registrations.",
            ));
        }
        let record = RegisterControllerRecord {
            controller_id: request.controller_id,
            incarnation_id: request.incarnation_id,
            zk_migration_ready: false,
            end_points: request
                .listeners
                .iter()
                .map(|l| ControllerEndpoint {
                    name: l.name.clone(),
                    host: l.host.clone(),
                    port: l.port,
                    security_protocol: l.security_protocol,
                    ..Default::default()
                })
                .collect(),
            features: request
                .features
                .iter()
                .map(|f| ControllerFeature {
                    name: f.name.clone(),
                    min_supported_version: f.min_supported_version,
                    max_supported_version: f.max_supported_version,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        Ok(Decision::atomic(vec![VersionedRecord::v0(record)], ControllerRegistrationResponse::default()))
    }

    /// UnregisterController (KIP-1312).
    pub fn decide_unregister_controller(&self, id: i32) -> Result<Decision<()>, ApiError> {
        let version = self.image().metadata_version();
        if !version.is_controller_unregistration_supported() {
            return Err(ApiError::new(
                ErrorCode::UnsupportedVersion,
                "The current MetadataVersion is too old to support controller unregistration.",
            ));
        }
        if !self.image().cluster.controllers.contains_key(&id) {
            return Err(ApiError::new(
                ErrorCode::ControllerIdNotRegistered,
                format!("Controller ID {id} is not currently registered."),
            ));
        }
        Ok(Decision::atomic(
            vec![VersionedRecord::v0(UnregisterControllerRecord { controller_id: id, ..Default::default() })],
            (),
        ))
    }
}
