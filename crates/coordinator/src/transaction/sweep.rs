//! Sweeps over all transactional ids: abort what runs too long, forget what was not used for long.

use std::ops::Bound;

use ottla_protocol::types::Str;

use super::outcome::TxnOutcome;
use super::shard::{TxnEnv, TxnShard};
use super::state::TransactionState;

/// After this many records a sweep pauses; the rest comes with the next call.
const MAX_RECORDS_PER_STEP: usize = 1_000;

impl TxnShard {
    /// Goes on aborting after `after`; gives where to continue, or `None` at the end.
    pub(super) fn abort_timed_out(
        &self,
        after: Option<&Str>,
        env: &mut TxnEnv<'_>,
        out: &mut TxnOutcome,
    ) -> Option<Str> {
        out.splittable = true;
        for (transactional_id, metadata) in
            self.transactions.range::<Str, _>((start(after), Bound::Unbounded))
        {
            let timed_out = metadata.state == TransactionState::Ongoing
                && !metadata.is_two_phase_commit()
                && metadata.start_timestamp_ms.saturating_add(i64::from(metadata.timeout_ms)) < env.now_ms;
            // Without a producer id to go on with, the next sweep tries again.
            if timed_out && self.fence_and_abort(metadata, env, out).is_err() {
                continue;
            }
            if out.records.len() >= MAX_RECORDS_PER_STEP {
                return Some(transactional_id.clone());
            }
        }
        None
    }

    /// Goes on forgetting after `after`; gives where to continue, or `None` at the end.
    pub(super) fn remove_expired(
        &self,
        after: Option<&Str>,
        now_ms: i64,
        out: &mut TxnOutcome,
    ) -> Option<Str> {
        out.splittable = true;
        let before_ms = now_ms.saturating_sub(self.config.transactional_id_expiration_ms);
        for (transactional_id, metadata) in
            self.transactions.range::<Str, _>((start(after), Bound::Unbounded))
        {
            if metadata.state.may_expire() && metadata.last_update_timestamp_ms <= before_ms {
                out.records.push(self.tombstone(transactional_id.clone()));
            }
            if out.records.len() >= MAX_RECORDS_PER_STEP {
                return Some(transactional_id.clone());
            }
        }
        None
    }
}

fn start(after: Option<&Str>) -> Bound<Str> {
    after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.clone()))
}
