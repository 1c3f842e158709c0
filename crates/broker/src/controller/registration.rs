//! Keeps this node's controller role registered with the quorum, so that clients of `bootstrap.controllers` find it.
//! Source: KIP-919, Kafka `ControllerRegistrationManager`.

use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::features;
use ottla_protocol::messages::controller_registration_request::{Feature, Listener};
use ottla_protocol::messages::{ControllerRegistrationRequest, ControllerRegistrationResponse};
use ottla_protocol::types::Uuid;
use ottla_protocol::wire::Message;
use ottla_protocol::{ApiKey, ErrorCode};

use super::node::{ControllerNode, QuorumView};
use super::remote::RemoteController;
use super::{Asker, ControllerError};
use crate::listener_info::Reachable;
use crate::state::random_uuid;

const VERSION: i16 = 0;
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after an attempt that failed.
const RETRY: Duration = Duration::from_millis(100);

/// Registers whenever the committed metadata does not know this run of the controller. Ends with the node.
pub async fn keep_registered(node: Arc<ControllerNode>, listeners: Vec<Reachable>) {
    let incarnation_id = random_uuid();
    let remote = RemoteController::new(node.node_id, node.view());
    let mut view = node.view();
    let node_id = node.node_id;
    let node = {
        let weak = Arc::downgrade(&node);
        drop(node);
        weak
    };
    let request = request(node_id, incarnation_id, &listeners);
    loop {
        let missing = |v: &QuorumView| {
            v.leader_id.is_some()
                && v.image.metadata_version().is_controller_registration_supported()
                && v.image
                    .cluster
                    .controllers
                    .get(&node_id)
                    .is_none_or(|c| c.incarnation_id != incarnation_id)
        };
        if view.wait_for(missing).await.is_err() {
            return;
        }
        let Some(node) = node.upgrade() else { return };
        match register(&node, &remote, &request).await {
            Ok(ErrorCode::None) => {
                let known = view.wait_for(|v| !missing(v));
                if tokio::time::timeout(CALL_TIMEOUT, known).await.is_ok_and(|v| v.is_err()) {
                    return;
                }
            }
            Ok(code) => {
                tracing::warn!(controller = node_id, %code, "the quorum refused to register this controller");
                tokio::time::sleep(RETRY).await;
            }
            Err(error) => {
                tracing::debug!(controller = node_id, %error, "cannot register this controller yet");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

fn request(node_id: i32, incarnation_id: Uuid, listeners: &[Reachable]) -> ControllerRegistrationRequest {
    ControllerRegistrationRequest {
        controller_id: node_id,
        incarnation_id,
        zk_migration_ready: false,
        listeners: listeners
            .iter()
            .map(|l| Listener {
                name: l.name.as_str().into(),
                host: l.host.as_str().into(),
                port: l.port,
                security_protocol: l.security_protocol,
                ..Default::default()
            })
            .collect(),
        features: features::supported_features()
            .into_iter()
            .map(|(name, min, max)| Feature {
                name: name.into(),
                min_supported_version: min,
                max_supported_version: max,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

async fn register(
    node: &ControllerNode,
    remote: &RemoteController,
    request: &ControllerRegistrationRequest,
) -> Result<ErrorCode, ControllerError> {
    let body = request.to_bytes(VERSION)?;
    let api = ApiKey::ControllerRegistration;
    let answer = if node.is_active() {
        node.ask(Asker::node(), api, VERSION, body).await?.body
    } else {
        remote.ask(Asker::node(), api, VERSION, body, CALL_TIMEOUT).await?
    };
    let response = ControllerRegistrationResponse::from_bytes(answer, VERSION)?;
    Ok(ErrorCode::from_code(response.error_code))
}
