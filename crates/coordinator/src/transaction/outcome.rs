//! What one step of a transaction shard asks its owner to do.

use ottla_protocol::types::Str;

use super::messages::TxnResponse;
use super::metadata::{TransactionMetadata, TxnPartitions};
use super::record::TxnRecord;
use super::state::TransactionState;
use crate::context::ReplyToken;

/// Records to append, then apply; replies and markers to let go once they are committed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TxnOutcome {
    pub records: Vec<TxnRecord>,
    /// The records do not depend on each other and may be split over batches.
    pub splittable: bool,
    pub replies: Vec<(ReplyToken, TxnResponse)>,
    /// Not before the records are committed: a marker cannot be taken back.
    pub send_markers: Vec<SendMarkers>,
}

impl TxnOutcome {
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.replies.is_empty() && self.send_markers.is_empty()
    }
}

/// Markers to write to the leaders of partitions (WriteTxnMarkers), whose results go to
/// [`super::TxnShard::on_markers_written`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendMarkers {
    pub transactional_id: Str,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub commit: bool,
    pub coordinator_epoch: i32,
    pub transaction_version: i16,
    pub partitions: TxnPartitions,
}

impl SendMarkers {
    pub(super) fn new(
        metadata: &TransactionMetadata,
        partitions: TxnPartitions,
        coordinator_epoch: i32,
    ) -> SendMarkers {
        SendMarkers {
            transactional_id: metadata.transactional_id.clone(),
            producer_id: metadata.producer_id,
            producer_epoch: metadata.producer_epoch,
            commit: metadata.state == TransactionState::PrepareCommit,
            coordinator_epoch,
            transaction_version: metadata.client_transaction_version,
            partitions,
        }
    }
}
