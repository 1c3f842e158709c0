//! DescribeTopicPartitions: topics page by page, with eligible leader replicas. Source: KIP-966, Kafka `DescribeTopicPartitionsRequestHandler`.

use std::sync::Arc;

use ottla_metadata::image::{MetadataImage, PartitionRegistration, TopicImage};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use ottla_protocol::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
use ottla_protocol::types::Str;

use super::metadata::offline_replicas;
use super::now;
use crate::request::{Answer, RequestContext};
use crate::state::Broker;
use crate::topics::{is_internal, is_valid_name, operations};

pub fn handle(
    b: &Arc<Broker>,
    ctx: &RequestContext,
    request: DescribeTopicPartitionsRequest,
) -> Answer<DescribeTopicPartitionsResponse> {
    let image = b.image.load_full();
    let limit = request
        .response_partition_limit
        .min(b.config.load().get_int("max.request.partition.size.limit"))
        .max(1) as usize;
    let everything = request.topics.is_empty();
    let mut names: Vec<Str> = if everything {
        image.topics.iter_by_name().map(|t| t.name.clone()).collect()
    } else {
        request.topics.into_iter().map(|t| t.name).collect()
    };
    names.sort();
    names.dedup();
    let (mut first_topic, mut first_partition) = (Str::EMPTY, 0);
    if let Some(cursor) = request.cursor {
        (first_topic, first_partition) = (cursor.topic_name, cursor.partition_index);
        if first_partition < 0 {
            // Kafka's handler throws here; the client sees the error in every topic it asked for.
            return now(DescribeTopicPartitionsResponse {
                topics: names.into_iter().map(|n| failed(n, ErrorCode::InvalidRequest)).collect(),
                ..Default::default()
            });
        }
        names.retain(|n| *n >= first_topic);
    }
    let mut response = DescribeTopicPartitionsResponse::default();
    let mut room = limit;
    for name in names {
        let Some(topic) = image.topics.by_name(&name) else {
            if !everything {
                let valid = is_valid_name(&name);
                let code =
                    if valid { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::InvalidTopicException };
                response.topics.push(failed(name, code));
            }
            continue;
        };
        let from = if name == first_topic { first_partition } else { 0 };
        if room == 0 {
            response.next_cursor =
                Some(Cursor { topic_name: name, partition_index: from, ..Default::default() });
            break;
        }
        let listener = &*ctx.peer.listener;
        let mut described = describe(&image, topic, listener, from, room);
        room -= described.partitions.len();
        let next = from + described.partitions.len() as i32;
        let more = topic.partitions.len() as i32 > next;
        described.topic_authorized_operations = operations::TOPIC;
        response.topics.push(described);
        if more {
            response.next_cursor =
                Some(Cursor { topic_name: name, partition_index: next, ..Default::default() });
            break;
        }
    }
    now(response)
}

fn failed(name: Str, code: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: code.code(),
        is_internal: is_internal(&name),
        name: Some(name),
        topic_authorized_operations: if code == ErrorCode::InvalidRequest {
            i32::MIN
        } else {
            operations::TOPIC
        },
        ..Default::default()
    }
}

fn describe(
    image: &MetadataImage,
    topic: &TopicImage,
    listener: &str,
    from: i32,
    room: usize,
) -> DescribeTopicPartitionsResponseTopic {
    let partition = |id: i32, p: &PartitionRegistration| {
        let reachable = image.cluster.active_broker(p.leader).is_some_and(|b| b.endpoint(listener).is_some());
        DescribeTopicPartitionsResponsePartition {
            error_code: if reachable { 0 } else { ErrorCode::LeaderNotAvailable.code() },
            partition_index: id,
            leader_id: if reachable { p.leader } else { -1 },
            leader_epoch: p.leader_epoch,
            replica_nodes: p.replicas.clone(),
            isr_nodes: p.isr.clone(),
            eligible_leader_replicas: Some(p.elr.clone()),
            last_known_elr: Some(p.last_known_elr.clone()),
            offline_replicas: offline_replicas(image, listener, p),
            ..Default::default()
        }
    };
    DescribeTopicPartitionsResponseTopic {
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        is_internal: is_internal(&topic.name),
        partitions: topic.partitions.range_from(&from).take(room).map(|(id, p)| partition(*id, p)).collect(),
        ..Default::default()
    }
}
