//! `abort`: ends a hanging transaction in one partition, past its coordinator.

use ottla_client::{Admin, ClientError, Target};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use ottla_protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use ottla_protocol::types::Str;

use super::{cluster, failed, partition_of};
use crate::args::Parsed;
use crate::error::{ToolError, ToolResult};

struct Producer {
    id: i64,
    epoch: i16,
    coordinator_epoch: i32,
}

async fn producer(admin: &Admin, options: &Parsed) -> Result<Producer, ToolError> {
    let partition = partition_of(options);
    if let Some(offset) = options.long("start-offset") {
        let producers = cluster::producers(admin, &partition, None)
            .await
            .map_err(|e| failed(format!("Failed to validate producer state for partition {partition}"), e))?;
        let found = producers.iter().find(|p| p.current_txn_start_offset == offset && offset >= 0);
        return found
            .map(|p| Producer {
                id: p.producer_id,
                epoch: p.producer_epoch as i16,
                coordinator_epoch: p.coordinator_epoch.max(0),
            })
            .ok_or_else(|| {
                ToolError::message(format!(
                    "Could not find any open transactions starting at offset {offset} on partition {partition}"
                ))
            });
    }
    let id = options.long("producer-id").ok_or_else(|| {
        ToolError::message(
            "The transaction to abort must be identified either with --start-offset (for brokers on 3.0 or \
             above) or with --producer-id, --producer-epoch, and --coordinator-epoch (for older brokers)",
        )
    })?;
    let missing = |name| ToolError::message(format!("Missing required argument --{name}"));
    let epoch = options.int("producer-epoch").ok_or_else(|| missing("producer-epoch"))?;
    let epoch = i16::try_from(epoch).map_err(|_| ToolError::message("--producer-epoch is too large"))?;
    let coordinator_epoch = options.int("coordinator-epoch").ok_or_else(|| missing("coordinator-epoch"))?;
    // A producer whose first transaction hangs knows no coordinator: 0 is below every epoch there is.
    Ok(Producer { id, epoch, coordinator_epoch: coordinator_epoch.max(0) })
}

pub async fn abort(admin: &Admin, options: &Parsed) -> ToolResult {
    let producer = producer(admin, options).await?;
    let partition = partition_of(options);
    let request = WriteTxnMarkersRequest {
        markers: vec![WritableTxnMarker {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            transaction_result: false,
            topics: vec![WritableTxnMarkerTopic {
                name: Str::from(partition.topic.as_str()),
                partition_indexes: vec![partition.partition],
                ..Default::default()
            }],
            coordinator_epoch: producer.coordinator_epoch,
            ..Default::default()
        }],
        ..Default::default()
    };
    let code = |r: &WriteTxnMarkersResponse| {
        let topic = r.markers.first().and_then(|m| m.topics.first());
        topic
            .and_then(|t| t.partitions.first())
            .map_or(ErrorCode::UnknownServerError, |p| ErrorCode::from_code(p.error_code))
    };
    let target = Target::Leader { topic: partition.topic.clone(), partition: partition.partition };
    let result = match admin.call_checked(&target, &request, code).await {
        Ok(response) => ClientError::check(code(&response).code(), None),
        Err(error) => Err(error),
    };
    result.map_err(|e| {
        let spec = format!(
            "AbortTransactionSpec(topicPartition={partition}, producerId={}, producerEpoch={}, coordinatorEpoch={})",
            producer.id, producer.epoch, producer.coordinator_epoch
        );
        failed(format!("Failed to abort transaction {spec}"), e)
    })
}
