//! The sessions of a broker, bounded in number. Source: Kafka `FetchSessionCacheShard`.

use std::collections::HashMap;

use ottla_protocol::ErrorCode;

use super::{
    FINAL_EPOCH, FetchSession, FetchTarget, INITIAL_EPOCH, INVALID_SESSION_ID, PartitionKey, next_epoch,
};

/// How many sessions there may be, and how long an idle one is safe from eviction.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// `max.incremental.fetch.session.cache.slots`
    pub max_sessions: usize,
    /// Kafka's fixed two minutes.
    pub eviction_ms: i64,
}

impl Default for SessionLimits {
    fn default() -> Self {
        SessionLimits { max_sessions: 1000, eviction_ms: 120_000 }
    }
}

/// What a request asks of the cache.
#[derive(Debug)]
pub struct SessionRequest {
    pub session_id: i32,
    pub epoch: i32,
    pub uses_topic_ids: bool,
    /// A replica's session may evict those of consumers.
    pub privileged: bool,
    pub targets: Vec<FetchTarget>,
    pub forgotten: Vec<PartitionKey>,
}

/// How to answer a request.
#[derive(Debug, PartialEq)]
pub enum Begun {
    /// No session: every partition is answered, session id 0.
    Sessionless { targets: Vec<FetchTarget> },
    /// The first request of a new session: every partition is answered.
    Full { session_id: i32, targets: Vec<FetchTarget> },
    /// Only what is new is answered.
    Incremental { session_id: i32, targets: Vec<FetchTarget> },
}

#[derive(Debug)]
pub struct FetchSessionCache {
    limits: SessionLimits,
    sessions: HashMap<i32, FetchSession>,
    evicted: u64,
}

impl FetchSessionCache {
    pub fn new(limits: SessionLimits) -> FetchSessionCache {
        FetchSessionCache { limits, sessions: HashMap::new(), evicted: 0 }
    }

    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Partitions of all sessions together.
    pub fn partitions(&self) -> usize {
        self.sessions.values().map(FetchSession::len).sum()
    }

    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    pub fn get(&self, session_id: i32) -> Option<&FetchSession> {
        self.sessions.get(&session_id)
    }

    pub fn get_mut(&mut self, session_id: i32) -> Option<&mut FetchSession> {
        self.sessions.get_mut(&session_id)
    }

    /// Finds, makes or ends the session of a request. `new_id` is a random positive id for a new session.
    ///
    /// # Errors
    /// The session is unknown, the epoch is not the next one, or the session changed between names and ids.
    pub fn begin(&mut self, request: SessionRequest, new_id: i32, now_ms: i64) -> Result<Begun, ErrorCode> {
        if request.epoch == INITIAL_EPOCH || request.epoch == FINAL_EPOCH {
            if request.session_id != INVALID_SESSION_ID {
                self.sessions.remove(&request.session_id);
            }
            return Ok(if request.epoch == FINAL_EPOCH || !self.make_room(&request, now_ms, new_id) {
                Begun::Sessionless { targets: request.targets }
            } else {
                let targets = request.targets.clone();
                let session = FetchSession::new(
                    new_id,
                    request.uses_topic_ids,
                    request.privileged,
                    now_ms,
                    request.targets,
                );
                self.sessions.insert(new_id, session);
                Begun::Full { session_id: new_id, targets }
            });
        }
        let session = self.sessions.get_mut(&request.session_id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.epoch != request.epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.uses_topic_ids != request.uses_topic_ids {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        session.update(request.targets, &request.forgotten);
        if session.is_empty() {
            self.sessions.remove(&request.session_id);
            return Ok(Begun::Sessionless { targets: Vec::new() });
        }
        session.epoch = next_epoch(session.epoch);
        session.last_used_ms = now_ms;
        Ok(Begun::Incremental { session_id: session.id, targets: session.targets() })
    }

    /// Makes a slot free by the rules of KIP-227; false when the request must go without a session.
    fn make_room(&mut self, request: &SessionRequest, now_ms: i64, new_id: i32) -> bool {
        if new_id <= 0 || self.sessions.contains_key(&new_id) || request.targets.is_empty() {
            return false;
        }
        if self.sessions.len() < self.limits.max_sessions {
            return true;
        }
        let eviction_ms = self.limits.eviction_ms;
        let idle = |s: &FetchSession| now_ms - s.last_used_ms > eviction_ms;
        let stale = self.sessions.values().filter(|s| idle(s)).min_by_key(|s| (s.last_used_ms, s.id));
        let smaller = || {
            self.sessions
                .values()
                .filter(|s| {
                    request.privileged && !s.privileged || {
                        s.privileged == request.privileged
                            && s.len() < request.targets.len()
                            && now_ms - s.created_ms > eviction_ms
                    }
                })
                .min_by_key(|s| (s.privileged, s.len(), s.last_used_ms, s.id))
        };
        let Some(victim) = stale.or_else(smaller).map(|s| s.id) else { return false };
        self.sessions.remove(&victim);
        self.evicted += 1;
        true
    }
}
