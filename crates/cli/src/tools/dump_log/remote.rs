//! Records of `__remote_log_metadata`, printed as Kafka's classes print themselves. Source: `RemoteLogMetadataSerde`.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::messages::{
    RemoteLogSegmentMetadataRecord, RemoteLogSegmentMetadataSnapshotRecord,
    RemoteLogSegmentMetadataUpdateRecord, RemotePartitionDeleteMetadataRecord,
};
use ottla_protocol::types::Uuid;
use ottla_protocol::wire::Message;

use super::java_optional;
use super::metadata::unframe;

pub fn decode(value: &[u8]) -> Result<String, String> {
    let (kind, version, body) = unframe(value)?;
    match kind {
        RemoteLogSegmentMetadataRecord::KEY => read(body, version).map(|r| segment(&r)),
        RemoteLogSegmentMetadataUpdateRecord::KEY => read(body, version).map(|r| update(&r)),
        RemotePartitionDeleteMetadataRecord::KEY => read(body, version).map(|r| partition_delete(&r)),
        RemoteLogSegmentMetadataSnapshotRecord::KEY => read(body, version).map(|r| snapshot(&r)),
        _ => Err(format!("Unknown metadata id {kind}")),
    }
}

fn read<M: Message>(body: Bytes, version: i16) -> Result<M, String> {
    M::from_bytes(body, version).map_err(|_| format!("Failed to deserialize record with type {}", M::KEY))
}

fn segment_id(topic_id: Uuid, topic: &str, partition: i32, id: Uuid) -> String {
    format!("RemoteLogSegmentId{{topicIdPartition={topic_id}:{topic}-{partition}, id={id}}}")
}

fn custom_metadata(value: Option<&Bytes>) -> String {
    java_optional("Optional", value.map(|v| format!("CustomMetadata{{{} bytes}}", v.len())))
}

fn state(id: i8) -> &'static str {
    match id {
        0 => "COPY_SEGMENT_STARTED",
        1 => "COPY_SEGMENT_FINISHED",
        2 => "DELETE_SEGMENT_STARTED",
        3 => "DELETE_SEGMENT_FINISHED",
        _ => "null",
    }
}

fn epochs(entries: impl Iterator<Item = (i32, i64)>) -> String {
    let sorted: BTreeMap<i32, i64> = entries.collect();
    let texts: Vec<String> = sorted.iter().map(|(epoch, offset)| format!("{epoch}={offset}")).collect();
    format!("{{{}}}", texts.join(", "))
}

fn segment(r: &RemoteLogSegmentMetadataRecord) -> String {
    let id = &r.remote_log_segment_id;
    let partition = &id.topic_id_partition;
    format!(
        "RemoteLogSegmentMetadata{{remoteLogSegmentId={}, startOffset={}, endOffset={}, brokerId={}, \
         maxTimestampMs={}, eventTimestampMs={}, segmentLeaderEpochs={}, segmentSizeInBytes={}, \
         customMetadata={}, state={}, txnIdxEmpty={}}}",
        segment_id(partition.id, &partition.name, partition.partition, id.id),
        r.start_offset,
        r.end_offset,
        r.broker_id,
        r.max_timestamp_ms,
        r.event_timestamp_ms,
        epochs(r.segment_leader_epochs.iter().map(|e| (e.leader_epoch, e.offset))),
        r.segment_size_in_bytes,
        custom_metadata(r.custom_metadata.as_ref()),
        state(r.remote_log_segment_state),
        r.txn_index_empty
    )
}

fn update(r: &RemoteLogSegmentMetadataUpdateRecord) -> String {
    let id = &r.remote_log_segment_id;
    let partition = &id.topic_id_partition;
    format!(
        "RemoteLogSegmentMetadataUpdate{{remoteLogSegmentId={}, customMetadata={}, state={}, \
         eventTimestampMs={}, brokerId={}}}",
        segment_id(partition.id, &partition.name, partition.partition, id.id),
        custom_metadata(r.custom_metadata.as_ref()),
        state(r.remote_log_segment_state),
        r.event_timestamp_ms,
        r.broker_id
    )
}

fn partition_delete(r: &RemotePartitionDeleteMetadataRecord) -> String {
    let state = match r.remote_partition_delete_state {
        0 => "DELETE_PARTITION_MARKED",
        1 => "DELETE_PARTITION_STARTED",
        2 => "DELETE_PARTITION_FINISHED",
        _ => "null",
    };
    let partition = &r.topic_id_partition;
    format!(
        "RemotePartitionDeleteMetadata{{topicPartition={}:{}-{}, state={state}, eventTimestampMs={}, brokerId={}}}",
        partition.id, partition.name, partition.partition, r.event_timestamp_ms, r.broker_id
    )
}

fn snapshot(r: &RemoteLogSegmentMetadataSnapshotRecord) -> String {
    format!(
        "RemoteLogSegmentMetadataSnapshot{{segmentId={}, startOffset={}, endOffset={}, maxTimestampMs={}, \
         segmentLeaderEpochs={}, segmentSizeInBytes={}, customMetadata={}, state={}, txnIdxEmpty={}}}",
        r.segment_id,
        r.start_offset,
        r.end_offset,
        r.max_timestamp_ms,
        epochs(r.segment_leader_epochs.iter().map(|e| (e.leader_epoch, e.offset))),
        r.segment_size_in_bytes,
        custom_metadata(r.custom_metadata.as_ref()),
        state(r.remote_log_segment_state),
        r.txn_index_empty
    )
}
