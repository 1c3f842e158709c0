//! Group coordinator and transaction coordinator of Ottla, as decide/replay shards.
//!
//! One [`group::GroupShard`] is the state of one partition of `__consumer_offsets`, one
//! [`transaction::TxnShard`] the state of one partition of `__transaction_state`. A shard has no
//! clock, no randomness and does no I/O. Its owner, one task of the broker, does for every request:
//!
//! 1. `let outcome = shard.handle(request, token, &ctx, &mut env)`. The shard decides.
//! 2. It appends `outcome.records` as one atomic batch (transactional when `outcome.producer` is set).
//! 3. `shard.apply(&outcome)` makes the records part of the shard's state.
//! 4. It releases `outcome.replies` (and effects) once the high watermark has passed the last record
//!    appended so far. That goes for outcomes without records too: what they say may rest on
//!    records that are not committed yet.
//!
//! Between requests it calls `shard.on_time(now)` for as long as `next_deadline_ms()` has passed,
//! and treats the outcome in the same way.
//!
//! A failed append means: answer every token with an error (those of the outcome, those that wait for
//! the high watermark, and `fail_all`), drop the shard, load it again. The one exception is a
//! transactional batch (`outcome.producer`), which may fail by itself (a fenced producer): nothing of
//! it has changed the shard, so its token alone is answered with the error.
//!
//! Loading a partition is `replay` for every record and `replay_end_txn_marker` for every control
//! record, then `on_loaded`.

pub mod context;
pub mod error;
pub mod group;
mod java;
pub mod offsets;
mod re2;
mod timers;
pub mod topics;
pub mod transaction;
mod xxh3;

pub use context::{Env, ProducerIdAndEpoch, ReplyToken, RequestContext, TopicFilter};
pub use error::{ReplayError, append_error_to_coordinator_error};
pub use java::partition_for;
pub use topics::{NoTopics, TopicChanges, TopicsView};
