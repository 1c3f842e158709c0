//! WriteTxnMarkers: ends transactions in the partitions of this broker. Source: KIP-98, KIP-1228.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::write_txn_markers_request::WritableTxnMarker;
use ottla_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use ottla_protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use ottla_protocol::records::control::EndTxnMarker;
use ottla_protocol::types::Str;

use crate::partition::committed;
use crate::request::{Answer, RequestContext};
use crate::state::{Broker, wall_clock_ms};
use crate::topics::CONSUMER_OFFSETS;

pub fn handle(
    b: &Arc<Broker>,
    _: &RequestContext,
    request: WriteTxnMarkersRequest,
) -> Answer<WriteTxnMarkersResponse> {
    let waiting: Vec<_> = request.markers.into_iter().map(|m| (m.producer_id, write(b, m))).collect();
    Answer::later(async move {
        let mut markers = Vec::with_capacity(waiting.len());
        for (producer_id, topics) in waiting {
            let mut results = Vec::new();
            for (name, partitions) in topics {
                let mut out = Vec::new();
                for (partition_index, code) in partitions {
                    out.push(WritableTxnMarkerPartitionResult {
                        partition_index,
                        error_code: code.await.code(),
                        ..Default::default()
                    });
                }
                results.push(WritableTxnMarkerTopicResult { name, partitions: out, ..Default::default() });
            }
            markers.push(WritableTxnMarkerResult { producer_id, topics: results, ..Default::default() });
        }
        WriteTxnMarkersResponse { markers, ..Default::default() }
    })
}

/// What becomes of the marker in one partition.
pub type Written = Pin<Box<dyn Future<Output = ErrorCode> + Send>>;

fn write(b: &Arc<Broker>, marker: WritableTxnMarker) -> Vec<(Str, Vec<(i32, Written)>)> {
    let end = EndTxnMarker { commit: marker.transaction_result, coordinator_epoch: marker.coordinator_epoch };
    let version = i16::from(marker.transaction_version);
    marker
        .topics
        .into_iter()
        .map(|topic| {
            let partitions = topic
                .partition_indexes
                .into_iter()
                .map(|index| {
                    let written = write_marker(
                        b,
                        &topic.name,
                        index,
                        marker.producer_id,
                        marker.producer_epoch,
                        end,
                        version,
                    );
                    (index, written)
                })
                .collect();
            (topic.name, partitions)
        })
        .collect()
}

/// Writes one marker; into the offsets topic through the group shard, which owns that partition.
pub fn write_marker(
    b: &Arc<Broker>,
    topic: &str,
    index: i32,
    producer_id: i64,
    producer_epoch: i16,
    marker: EndTxnMarker,
    transaction_version: i16,
) -> Written {
    if topic == CONSUMER_OFFSETS {
        return Box::pin(b.groups.end_txn(index, producer_id, producer_epoch, marker, transaction_version));
    }
    let appended = b.partitions.leader(&b.image.load(), topic, index).and_then(|partition| {
        let now_ms = wall_clock_ms();
        partition.append_marker(now_ms, producer_id, producer_epoch, marker, transaction_version).map_err(
            |error| {
                tracing::warn!(%partition, producer_id, %error, "cannot write the end of a transaction");
                error.error_code()
            },
        )
    });
    Box::pin(async move {
        let durable = match appended {
            Ok(Some(commit)) => committed(commit).await,
            Ok(None) => Ok(()),
            Err(code) => Err(code),
        };
        durable.err().unwrap_or(ErrorCode::None)
    })
}
