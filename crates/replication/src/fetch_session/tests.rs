use super::cache::{Begun, SessionRequest};
use super::*;
use ottla_protocol::ErrorCode;

fn target(partition: i32, offset: i64) -> FetchTarget {
    FetchTarget {
        key: PartitionKey { topic_id: Uuid([1; 16]), topic: "t".into(), partition },
        fetch_offset: offset,
        log_start_offset: -1,
        max_bytes: 1000,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
    }
}

fn request(session_id: i32, epoch: i32, targets: Vec<FetchTarget>) -> SessionRequest {
    SessionRequest { session_id, epoch, uses_topic_ids: true, privileged: false, targets, forgotten: vec![] }
}

fn outcome(records_bytes: usize, high_watermark: i64) -> PartitionOutcome {
    PartitionOutcome {
        error: ErrorCode::None,
        records_bytes,
        high_watermark,
        log_start_offset: 0,
        has_preferred_replica: false,
        has_diverging_epoch: false,
    }
}

#[test]
fn an_incremental_fetch_names_and_gets_only_what_changed() {
    let mut cache = FetchSessionCache::new(SessionLimits::default());
    let begun = cache.begin(request(0, 0, vec![target(0, 0), target(1, 0)]), 7, 0).expect("new session");
    assert!(matches!(begun, Begun::Full { session_id: 7, .. }));
    let keys = [target(0, 0).key, target(1, 0).key];
    let both = |a, b| vec![(keys[0].clone(), a), (keys[1].clone(), b)];
    let session = cache.get_mut(7).expect("session");
    assert_eq!(session.record(&both(outcome(10, 5), outcome(0, 0)), true), [true, true]);

    let begun = cache.begin(request(7, 1, vec![target(0, 5)]), 8, 1).expect("next epoch");
    let Begun::Incremental { targets, .. } = begun else { panic!("{begun:?}") };
    assert_eq!(targets.iter().map(|t| t.fetch_offset).collect::<Vec<_>>(), [5, 0]);
    let session = cache.get_mut(7).expect("session");
    assert_eq!(session.record(&both(outcome(0, 5), outcome(3, 1)), false), [false, true]);
    // The partition that had records is served last now; the other one keeps its place.
    assert_eq!(session.targets().iter().map(|t| t.key.partition).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(session.record(&both(outcome(4, 9), outcome(0, 1)), false), [true, false]);
    assert_eq!(session.targets().iter().map(|t| t.key.partition).collect::<Vec<_>>(), [1, 0]);
}

#[test]
fn an_error_is_told_each_time_and_its_end_too() {
    let mut cache = FetchSessionCache::new(SessionLimits::default());
    cache.begin(request(0, 0, vec![target(0, 0)]), 7, 0).expect("new session");
    let key = target(0, 0).key;
    let session = cache.get_mut(7).expect("session");
    let bad = PartitionOutcome { error: ErrorCode::NotLeaderOrFollower, ..outcome(0, -1) };
    assert_eq!(session.record(&[(key.clone(), outcome(0, 3))], true), [true]);
    assert_eq!(session.record(&[(key.clone(), bad)], false), [true]);
    assert_eq!(session.record(&[(key.clone(), bad)], false), [true]);
    assert_eq!(session.record(&[(key.clone(), outcome(0, 3))], false), [true]);
    assert_eq!(session.record(&[(key, outcome(0, 3))], false), [false]);
}

#[test]
fn unknown_sessions_and_wrong_epochs_are_refused() {
    let mut cache = FetchSessionCache::new(SessionLimits::default());
    assert_eq!(cache.begin(request(5, 1, vec![]), 7, 0), Err(ErrorCode::FetchSessionIdNotFound));
    cache.begin(request(0, 0, vec![target(0, 0)]), 7, 0).expect("new session");
    assert_eq!(cache.begin(request(7, 2, vec![]), 8, 0), Err(ErrorCode::InvalidFetchSessionEpoch));
    let by_name = SessionRequest { uses_topic_ids: false, ..request(7, 1, vec![]) };
    assert_eq!(cache.begin(by_name, 8, 0), Err(ErrorCode::FetchSessionTopicIdError));
    // Closing a session answers without one.
    let closed = cache.begin(request(7, -1, vec![target(0, 0)]), 8, 0).expect("closed");
    assert!(matches!(closed, Begun::Sessionless { .. }));
    assert!(cache.is_empty());
}

#[test]
fn a_session_whose_last_partition_is_forgotten_ends() {
    let mut cache = FetchSessionCache::new(SessionLimits::default());
    cache.begin(request(0, 0, vec![target(0, 0)]), 7, 0).expect("new session");
    let forget = SessionRequest { forgotten: vec![target(0, 0).key], ..request(7, 1, vec![]) };
    assert_eq!(cache.begin(forget, 8, 0), Ok(Begun::Sessionless { targets: vec![] }));
    assert!(cache.is_empty());
}

#[test]
fn a_full_cache_evicts_only_what_is_stale_smaller_or_unprivileged() {
    let mut cache = FetchSessionCache::new(SessionLimits { max_sessions: 1, eviction_ms: 100 });
    cache.begin(request(0, 0, vec![target(0, 0)]), 1, 0).expect("fits");
    let next = cache.begin(request(0, 0, vec![target(0, 0)]), 2, 50).expect("answered");
    assert!(matches!(next, Begun::Sessionless { .. }), "nothing may be evicted yet");
    let replica = SessionRequest { privileged: true, ..request(0, 0, vec![target(0, 0)]) };
    assert!(matches!(cache.begin(replica, 3, 50), Ok(Begun::Full { session_id: 3, .. })));
    let next = cache.begin(request(0, 0, vec![target(0, 0), target(1, 0)]), 4, 60).expect("answered");
    assert!(matches!(next, Begun::Sessionless { .. }), "a consumer does not evict a replica");
    assert!(matches!(cache.begin(request(0, 0, vec![target(0, 0)]), 5, 500), Ok(Begun::Full { .. })));
    assert_eq!((cache.len(), cache.evicted()), (1, 2));
}

#[test]
fn epochs_wrap_past_zero() {
    assert_eq!(next_epoch(i32::MAX), 1);
    assert_eq!(next_epoch(-1), -1);
    assert_eq!(next_epoch(0), 1);
}
