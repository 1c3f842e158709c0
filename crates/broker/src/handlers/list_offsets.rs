//! ListOffsets: the earliest, latest or timestamped offset of partitions. Source: KIP-79, KIP-734, KIP-405, KIP-1005, KIP-1023.

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::list_offsets_request::ListOffsetsPartition;
use ottla_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use ottla_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use ottla_protocol::types::Str;
use ottla_storage::LogError;
use ottla_storage::log::FetchIsolation;
use ottla_storage::segment::TimestampAndOffset;

use super::now;
use crate::partition::Partition;
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
    let mut looks_up = false;
    let topics: Vec<(Str, Vec<(i32, Lookup)>)> = request
        .topics
        .into_iter()
        .map(|topic| {
            let lookups = topic.partitions.into_iter().map(|p| {
                let lookup = if twice.contains(&(topic.name.clone(), p.partition_index)) {
                    Lookup::Done(Err(ErrorCode::InvalidRequest))
                } else {
                    find(b, ctx.version, &topic.name, &p, isolation)
                };
                looks_up |= matches!(lookup, Lookup::ByTime { .. });
                (p.partition_index, lookup)
            });
            let lookups = lookups.collect();
            (topic.name, lookups)
        })
        .collect();
    if !looks_up {
        let topics = topics.into_iter().map(|(name, lookups)| {
            let found = lookups.into_iter().map(|(index, lookup)| match lookup {
                Lookup::Done(result) => (index, result),
                Lookup::ByTime { .. } => (index, Err(ErrorCode::UnknownServerError)),
            });
            answer(b, ctx, name, found.collect())
        });
        return now(ListOffsetsResponse { topics: topics.collect(), ..Default::default() });
    }
    let (b, ctx) = (Arc::clone(b), ctx.clone());
    Answer::later(async move {
        let mut answers = Vec::with_capacity(topics.len());
        for (name, lookups) in topics {
            let mut found = Vec::with_capacity(lookups.len());
            for (index, lookup) in lookups {
                let result = match lookup {
                    Lookup::Done(result) => result,
                    Lookup::ByTime { partition, timestamp, bound } => {
                        look_up(&b, partition, timestamp, bound).await
                    }
                };
                found.push((index, result));
            }
            answers.push(answer(&b, &ctx, name, found));
        }
        ListOffsetsResponse { topics: answers, ..Default::default() }
    })
}

type FoundOrNot = Result<Option<Found>, ErrorCode>;

fn answer(
    b: &Broker,
    ctx: &RequestContext,
    name: Str,
    found: Vec<(i32, FoundOrNot)>,
) -> ListOffsetsTopicResponse {
    let partitions = found.into_iter().map(|(partition_index, result)| {
        let mut response = ListOffsetsPartitionResponse {
            partition_index,
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
    });
    ListOffsetsTopicResponse { name, partitions: partitions.collect(), ..Default::default() }
}

struct Found {
    timestamp: i64,
    offset: i64,
    leader_epoch: i32,
}

/// What is asked of one partition.
enum Lookup {
    Done(FoundOrNot),
    /// Batches have to be read, perhaps from the disk.
    ByTime {
        partition: Arc<Partition>,
        timestamp: i64,
        bound: i64,
    },
}

fn find(
    b: &Broker,
    version: i16,
    topic: &Str,
    asked: &ListOffsetsPartition,
    isolation: FetchIsolation,
) -> Lookup {
    let needs = match asked.timestamp {
        EARLIEST_PENDING_UPLOAD => 11,
        LATEST_TIERED => 9,
        EARLIEST_LOCAL => 8,
        MAX_TIMESTAMP => 7,
        t if t < EARLIEST_PENDING_UPLOAD => i16::MAX,
        _ => 0,
    };
    if version < needs {
        return Lookup::Done(Err(ErrorCode::UnsupportedVersion));
    }
    let led = b.partitions.leader(&b.image.load(), topic, asked.partition_index);
    let led = led.and_then(|p| p.check_leader_epoch(asked.current_leader_epoch).map(|()| p));
    let partition = match led {
        Ok(partition) => partition,
        Err(code) => return Lookup::Done(Err(code)),
    };
    let bound = partition.bound(isolation);
    Lookup::Done(Ok(match asked.timestamp {
        LATEST => {
            let epoch = partition.log.latest_epoch().unwrap_or(-1);
            Some(Found { timestamp: -1, offset: bound, leader_epoch: epoch })
        }
        EARLIEST | EARLIEST_LOCAL => Some(partition.log.earliest_offset().into()),
        // Nothing is tiered: there is no last tiered offset, and all of the log would still be to upload.
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => None,
        timestamp => return Lookup::ByTime { partition, timestamp, bound },
    }))
}

/// Finds a record by its time, on a thread that may wait for the disk.
async fn look_up(b: &Broker, partition: Arc<Partition>, timestamp: i64, bound: i64) -> FoundOrNot {
    let dir = Arc::clone(partition.log.dir_state());
    let found = b.cold_readers.run(&dir, move || {
        let found = match timestamp {
            MAX_TIMESTAMP => partition.log.max_timestamp_offset(),
            timestamp => partition.log.offset_for_timestamp(timestamp),
        };
        found.map_err(|error| {
            // Damage is reported by the log, once for each place.
            if !matches!(error, LogError::Damaged { .. }) {
                tracing::error!(%partition, timestamp, %error, "cannot look up an offset");
            }
            match error.error_code() {
                ErrorCode::OffsetOutOfRange => ErrorCode::UnknownServerError,
                code => code,
            }
        })
    });
    let found = found.await.unwrap_or(Err(ErrorCode::KafkaStorageError))?;
    Ok(found.filter(|found| found.offset < bound).map(Found::from))
}

impl From<TimestampAndOffset> for Found {
    fn from(found: TimestampAndOffset) -> Found {
        Found {
            timestamp: found.timestamp,
            offset: found.offset,
            leader_epoch: found.leader_epoch.unwrap_or(-1),
        }
    }
}
