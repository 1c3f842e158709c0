//! ListOffsets: the earliest, latest or timestamped offset of partitions. Source: KIP-79, KIP-734, KIP-405, KIP-1005, KIP-1023.

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::list_offsets_request::ListOffsetsPartition;
use ottla_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use ottla_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use ottla_protocol::types::Str;
use ottla_storage::log::FetchIsolation;

use super::now;
use crate::request::{Answer, RequestContext, count_error};
use crate::state::Broker;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    request: ListOffsetsRequest,
) -> Answer<ListOffsetsResponse> {
    let mut seen = std::collections::BTreeSet::new();
    let mut twice = std::collections::BTreeSet::new();
    for topic in &request.topics {
        for p in &topic.partitions {
            if !seen.insert((topic.name.clone(), p.partition_index)) {
                twice.insert((topic.name.clone(), p.partition_index));
            }
        }
    }
    let isolation = if request.isolation_level == 1 {
        FetchIsolation::TxnCommitted
    } else {
        FetchIsolation::HighWatermark
    };
    let topics = request
        .topics
        .into_iter()
        .map(|topic| {
            let partitions = topic
                .partitions
                .into_iter()
                .map(|p| {
                    let index = p.partition_index;
                    let result = if twice.contains(&(topic.name.clone(), index)) {
                        Err(ErrorCode::InvalidRequest)
                    } else {
                        find(b, ctx.version, &topic.name, &p, isolation)
                    };
                    let mut response = ListOffsetsPartitionResponse {
                        partition_index: index,
                        timestamp: -1,
                        offset: -1,
                        leader_epoch: -1,
                        ..Default::default()
                    };
                    match result {
                        Ok(Some(found)) => {
                            response.timestamp = found.timestamp;
                            response.offset = found.offset;
                            if ctx.version >= 4 {
                                response.leader_epoch = found.leader_epoch;
                            }
                        }
                        Ok(None) => {}
                        Err(code) => {
                            count_error(&b.metrics, ctx, code);
                            response.error_code = code.code();
                        }
                    }
                    response
                })
                .collect();
            ListOffsetsTopicResponse { name: topic.name, partitions, ..Default::default() }
        })
        .collect();
    now(ListOffsetsResponse { topics, ..Default::default() })
}

struct Found {
    timestamp: i64,
    offset: i64,
    leader_epoch: i32,
}

fn find(
    b: &Broker,
    version: i16,
    topic: &Str,
    asked: &ListOffsetsPartition,
    isolation: FetchIsolation,
) -> Result<Option<Found>, ErrorCode> {
    let needs = match asked.timestamp {
        EARLIEST_PENDING_UPLOAD => 11,
        LATEST_TIERED => 9,
        EARLIEST_LOCAL => 8,
        MAX_TIMESTAMP => 7,
        t if t < EARLIEST_PENDING_UPLOAD => i16::MAX,
        _ => 0,
    };
    if version < needs {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let partition = b.partitions.leader(&b.image.load(), topic, asked.partition_index)?;
    partition.check_leader_epoch(asked.current_leader_epoch)?;
    let log = &partition.log;
    let bound = partition.bound(isolation);
    let failed = |error: ottla_storage::LogError| {
        let code = error.error_code();
        // Damage is reported by the log, once for each place.
        if !matches!(error, ottla_storage::LogError::Damaged { .. }) {
            tracing::error!(%partition, timestamp = asked.timestamp, %error, "cannot look up an offset");
        }
        if code == ErrorCode::OffsetOutOfRange { ErrorCode::UnknownServerError } else { code }
    };
    let found = match asked.timestamp {
        LATEST => {
            let epoch = log.latest_epoch().unwrap_or(-1);
            return Ok(Some(Found { timestamp: -1, offset: bound, leader_epoch: epoch }));
        }
        EARLIEST | EARLIEST_LOCAL => Some(log.earliest_offset()),
        // Nothing is tiered: there is no last tiered offset, and all of the log would still be to upload.
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => None,
        MAX_TIMESTAMP => log.max_timestamp_offset().map_err(failed)?.filter(|f| f.offset < bound),
        timestamp => log.offset_for_timestamp(timestamp).map_err(failed)?.filter(|f| f.offset < bound),
    };
    Ok(found.map(|f| Found {
        timestamp: f.timestamp,
        offset: f.offset,
        leader_epoch: f.leader_epoch.unwrap_or(-1),
    }))
}
