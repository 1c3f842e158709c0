//! When brokers were last heard of. Lost with the controller: the next one starts every session anew.

use std::collections::BTreeMap;

#[derive(Debug, Clone)]
struct Session {
    epoch: i64,
    last_contact_ms: i64,
    /// How far the broker has read the metadata log.
    metadata_offset: i64,
    /// Last record of the broker's controlled shutdown; brokers must have read it before it may go.
    controlled_shutdown_offset: i64,
}

/// Sessions of registered brokers.
#[derive(Debug, Clone)]
pub(super) struct Sessions {
    timeout_ms: i64,
    by_broker: BTreeMap<i32, Session>,
}

impl Sessions {
    pub(super) fn new(timeout_ms: i64) -> Self {
        Sessions { timeout_ms, by_broker: BTreeMap::new() }
    }

    pub(super) fn touch(&mut self, id: i32, epoch: i64, metadata_offset: i64, now_ms: i64) {
        let session = self.by_broker.entry(id).or_insert(Session {
            epoch,
            last_contact_ms: now_ms,
            metadata_offset,
            controlled_shutdown_offset: -1,
        });
        if session.epoch != epoch {
            session.controlled_shutdown_offset = -1;
            session.epoch = epoch;
        }
        session.last_contact_ms = now_ms;
        session.metadata_offset = metadata_offset;
    }

    pub(super) fn remove(&mut self, id: i32) {
        self.by_broker.remove(&id);
    }

    pub(super) fn set_controlled_shutdown_offset(&mut self, id: i32, offset: i64) {
        if let Some(s) = self.by_broker.get_mut(&id) {
            s.controlled_shutdown_offset = s.controlled_shutdown_offset.max(offset);
        }
    }

    pub(super) fn controlled_shutdown_offset(&self, id: i32) -> i64 {
        self.by_broker.get(&id).map_or(-1, |s| s.controlled_shutdown_offset)
    }

    pub(super) fn metadata_offset(&self, id: i32) -> i64 {
        self.by_broker.get(&id).map_or(-1, |s| s.metadata_offset)
    }

    pub(super) fn is_valid(&self, id: i32, epoch: i64, now_ms: i64) -> bool {
        self.by_broker
            .get(&id)
            .is_some_and(|s| s.epoch == epoch && now_ms - s.last_contact_ms < self.timeout_ms)
    }

    /// Brokers whose session has expired.
    pub(super) fn expired(&self, now_ms: i64) -> impl Iterator<Item = i32> {
        self.by_broker
            .iter()
            .filter(move |(_, s)| now_ms - s.last_contact_ms >= self.timeout_ms)
            .map(|(id, _)| *id)
    }

    /// When the next session expires.
    pub(super) fn next_expiry_ms(&self) -> Option<i64> {
        self.by_broker.values().map(|s| s.last_contact_ms + self.timeout_ms).min()
    }
}
