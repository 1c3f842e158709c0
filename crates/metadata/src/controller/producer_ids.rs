//! AllocateProducerIds.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::allocate_producer_ids_request::AllocateProducerIdsRequest;
use ottla_protocol::messages::allocate_producer_ids_response::AllocateProducerIdsResponse;
use ottla_protocol::messages::metadata_record::producer_ids_record::ProducerIdsRecord;

use super::{ApiError, Controller, Decision};
use crate::record::VersionedRecord;

/// Ids in one block.
pub const PRODUCER_ID_BLOCK_SIZE: i32 = 1000;

impl Controller {
    /// AllocateProducerIds: the next block of ids for a broker.
    pub fn decide_allocate_producer_ids(
        &self,
        request: &AllocateProducerIdsRequest,
    ) -> Result<Decision<AllocateProducerIdsResponse>, ApiError> {
        self.check_broker_epoch(request.broker_id, request.broker_epoch)?;
        let first = self.image().next_producer_id.0.max(0);
        let Some(next) = first.checked_add(i64::from(PRODUCER_ID_BLOCK_SIZE)) else {
            return Err(ApiError::new(
                ErrorCode::UnknownServerError,
                "Exhausted all producerIds as the next block's end producerId has exceeded the int64 type \
                 limit",
            ));
        };
        let record = ProducerIdsRecord {
            broker_id: request.broker_id,
            broker_epoch: request.broker_epoch,
            next_producer_id: next,
            ..Default::default()
        };
        let response = AllocateProducerIdsResponse {
            producer_id_start: first,
            producer_id_len: PRODUCER_ID_BLOCK_SIZE,
            ..Default::default()
        };
        Ok(Decision::of(vec![VersionedRecord::v0(record)], response))
    }
}
