//! DeleteRecords: moves the start of partitions forward. Source: KIP-107.

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use ottla_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use ottla_protocol::types::Str;

use super::now;
use crate::request::{Answer, RequestContext, count_error};
use crate::state::Broker;
use crate::topics::is_internal;

/// Low watermark of a partition that was not touched.
const INVALID_LOW_WATERMARK: i64 = -1;

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    request: DeleteRecordsRequest,
) -> Answer<DeleteRecordsResponse> {
    let topics = request
        .topics
        .into_iter()
        .map(|topic| {
            let partitions = topic
                .partitions
                .into_iter()
                .map(|p| {
                    let result = delete(b, &topic.name, p.partition_index, p.offset);
                    if let Err(code) = result {
                        count_error(&b.metrics, ctx, code);
                    }
                    DeleteRecordsPartitionResult {
                        partition_index: p.partition_index,
                        low_watermark: result.unwrap_or(INVALID_LOW_WATERMARK),
                        error_code: result.err().map_or(0, ErrorCode::code),
                        ..Default::default()
                    }
                })
                .collect();
            DeleteRecordsTopicResult { name: topic.name, partitions, ..Default::default() }
        })
        .collect();
    now(DeleteRecordsResponse { topics, ..Default::default() })
}

fn delete(b: &Broker, topic: &Str, index: i32, offset: i64) -> Result<i64, ErrorCode> {
    let partition = b.partitions.leader(&b.image.load(), topic, index)?;
    if is_internal(topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    let policy = partition.log.config().cleanup_policy;
    if !policy.delete && policy.compact {
        return Err(ErrorCode::PolicyViolation);
    }
    partition.log.delete_records(offset).map_err(|e| e.error_code())
}
