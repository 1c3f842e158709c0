//! A member of a classic group.

use bytes::Bytes;
use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::types::Str;

use crate::context::ReplyToken;

/// A request that waits inside a group, and the version its answer is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parked {
    pub(crate) token: ReplyToken,
    pub(crate) api_version: i16,
}

/// Source: Kafka `ClassicGroupMember`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClassicMember {
    pub(crate) member_id: Str,
    pub(crate) instance_id: Option<Str>,
    pub(crate) client_id: Str,
    pub(crate) client_host: Str,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) session_timeout_ms: i32,
    /// In the member's order of preference.
    pub(crate) protocols: Vec<(Str, Bytes)>,
    pub(crate) assignment: Bytes,
    /// Soft: has not been through a generation yet, so it can expire even while it waits.
    pub(crate) is_new: bool,
    pub(crate) awaiting_join: Option<Parked>,
    pub(crate) awaiting_sync: Option<Parked>,
}

/// The protocols of a request, owning their bytes; of entries with the same name the first counts.
pub(crate) fn own_protocols(protocols: &[JoinGroupRequestProtocol]) -> Vec<(Str, Bytes)> {
    let mut owned: Vec<(Str, Bytes)> = Vec::new();
    for protocol in protocols {
        if !owned.iter().any(|(name, _)| *name == protocol.name) {
            owned.push((protocol.name.detached(), Bytes::copy_from_slice(&protocol.metadata)));
        }
    }
    owned
}

impl ClassicMember {
    pub(crate) fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols.iter().find(|(name, _)| name.as_str() == protocol).map(|(_, metadata)| metadata)
    }

    /// Waiting for the group counts as a sign of life, except before the first generation.
    pub(crate) fn has_satisfied_heartbeat(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }

    pub(crate) fn is_static(&self) -> bool {
        self.instance_id.is_some()
    }
}
