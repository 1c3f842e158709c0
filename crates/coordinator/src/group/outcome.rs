//! What one step of a group shard asks its owner to do.

use super::messages::GroupResponse;
use super::record::GroupRecord;
use crate::context::{ProducerIdAndEpoch, ReplyToken};

/// Records to append, then apply, and replies to release once they are committed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupOutcome {
    /// In order; one batch, unless `atomic` is false.
    pub records: Vec<GroupRecord>,
    /// The batch is a transactional one of this producer.
    pub producer: Option<ProducerIdAndEpoch>,
    /// The records do not depend on each other and may be split over batches when they are too large for one.
    pub splittable: bool,
    /// Replies, of this request or of earlier ones that were waiting.
    pub replies: Vec<(ReplyToken, GroupResponse)>,
    /// The shard has already taken the records into its state while it decided (classic groups).
    pub(crate) applied: bool,
}

impl GroupOutcome {
    pub(crate) fn reply(&mut self, token: ReplyToken, response: GroupResponse) {
        self.replies.push((token, response));
    }

    /// Nothing to append and nobody to answer.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.replies.is_empty()
    }
}
