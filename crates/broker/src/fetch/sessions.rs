//! The fetch sessions of a broker, in shards so that connections seldom wait for each other.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ottla_protocol::ErrorCode;
use ottla_replication::fetch_session::{Begun, FetchSessionCache, SessionLimits, SessionRequest};

/// As many as Kafka has.
const SHARDS: usize = 8;

pub struct FetchSessions {
    shards: Vec<Mutex<FetchSessionCache>>,
}

impl FetchSessions {
    /// `max_sessions` is `max.incremental.fetch.session.cache.slots`.
    pub fn new(max_sessions: usize) -> FetchSessions {
        let limits = SessionLimits { max_sessions: max_sessions.div_ceil(SHARDS), ..Default::default() };
        FetchSessions { shards: (0..SHARDS).map(|_| Mutex::new(FetchSessionCache::new(limits))).collect() }
    }

    /// The shard that a session id lives in.
    pub fn shard(&self, session_id: i32) -> MutexGuard<'_, FetchSessionCache> {
        let index = session_id as u32 as usize % self.shards.len();
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds, makes or ends the session of a request.
    pub fn begin(&self, request: SessionRequest, now_ms: i64) -> Result<Begun, ErrorCode> {
        // Only a first request needs an id, and asking the system for a random one costs more than finding a session.
        if request.epoch == 0 {
            let new_id = random_id();
            if request.session_id != 0 {
                // The old session may live in another shard than the new one.
                let end = SessionRequest { epoch: -1, targets: vec![], forgotten: vec![], ..request };
                self.shard(request.session_id).begin(end, 0, now_ms)?;
            }
            return self.shard(new_id).begin(SessionRequest { session_id: 0, ..request }, new_id, now_ms);
        }
        self.shard(request.session_id).begin(request, 0, now_ms)
    }

    /// Sessions, their partitions, and how many were evicted so far.
    pub fn totals(&self) -> (usize, usize, u64) {
        self.shards.iter().fold((0, 0, 0), |(sessions, partitions, evicted), shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            (sessions + shard.len(), partitions + shard.partitions(), evicted + shard.evicted())
        })
    }
}

fn random_id() -> i32 {
    let id = crate::state::random_uuid().0;
    i32::from_be_bytes([id[0], id[1], id[2], id[3]]).unsigned_abs().clamp(1, i32::MAX as u32) as i32
}
