//! DescribeProducers: the producers that a partition remembers. Source: KIP-664.

use std::sync::Arc;

use ottla_metadata::controller::validate_topic_name;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use ottla_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse};
use ottla_protocol::types::Str;

use super::now;
use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(
    b: &Arc<Broker>,
    _: &RequestContext,
    request: DescribeProducersRequest,
) -> Answer<DescribeProducersResponse> {
    let image = b.image.load();
    let topics = request
        .topics
        .into_iter()
        .map(|topic| {
            let unusable = validate_topic_name(&topic.name).err().map(Str::from);
            let partitions = topic
                .partition_indexes
                .into_iter()
                .map(|index| match b.partitions.leader(&image, &topic.name, index) {
                    _ if unusable.is_some() => PartitionResponse {
                        partition_index: index,
                        error_code: ErrorCode::InvalidTopicException.code(),
                        error_message: unusable.clone(),
                        ..Default::default()
                    },
                    Err(code) => PartitionResponse {
                        partition_index: index,
                        error_code: code.code(),
                        error_message: Some(Str::from_static(code.message())),
                        ..Default::default()
                    },
                    Ok(partition) => PartitionResponse {
                        partition_index: index,
                        active_producers: partition
                            .log
                            .active_producers()
                            .into_iter()
                            .map(|p| ProducerState {
                                producer_id: p.producer_id,
                                producer_epoch: i32::from(p.producer_epoch),
                                last_sequence: p.last_sequence,
                                last_timestamp: p.last_timestamp,
                                coordinator_epoch: p.coordinator_epoch,
                                current_txn_start_offset: p.current_txn_start_offset,
                                ..Default::default()
                            })
                            .collect(),
                        ..Default::default()
                    },
                })
                .collect();
            TopicResponse { name: topic.name, partitions, ..Default::default() }
        })
        .collect();
    now(DescribeProducersResponse { topics, ..Default::default() })
}
