//! Metadata: brokers, topics and their partitions; creates topics on demand. Source: KIP-4, KIP-516, Kafka `KafkaApis.handleTopicMetadataRequest`.

use std::sync::Arc;

use ottla_metadata::image::{MetadataImage, PartitionRegistration, TopicImage};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::metadata_request::MetadataRequestTopic;
use ottla_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_protocol::messages::{MetadataRequest, MetadataResponse};
use ottla_protocol::types::{Str, Uuid};

use super::now;
use crate::request::{Answer, RequestContext};
use crate::state::Broker;
use crate::topics::{alive_brokers, is_internal, is_valid_name, operations};

pub fn handle(b: &Arc<Broker>, ctx: &RequestContext, request: MetadataRequest) -> Answer<MetadataResponse> {
    let image = b.image.load_full();
    let listener = &*ctx.peer.listener;
    let view = View {
        image: &image,
        listener,
        version: ctx.version,
        with_operations: request.include_topic_authorized_operations,
    };
    let mut response = MetadataResponse {
        brokers: alive_brokers(&image, listener)
            .filter_map(|broker| {
                let endpoint = broker.endpoint(listener)?;
                Some(MetadataResponseBroker {
                    node_id: broker.id,
                    host: endpoint.host.clone(),
                    port: i32::from(endpoint.port),
                    rack: broker.rack.clone(),
                    ..Default::default()
                })
            })
            .collect(),
        cluster_id: Some(b.cluster_id.clone()),
        controller_id: any_broker(&image, listener, b.node_id),
        ..Default::default()
    };
    if (8..=10).contains(&ctx.version) && request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = operations::CLUSTER;
    }
    // Versions 10 and 11 carry ids that brokers never used, and cannot say that a topic has no name.
    let unusable = |t: &MetadataRequestTopic| t.name.is_none() || !t.topic_id.is_zero();
    if ctx.version < 12 && request.topics.iter().flatten().any(unusable) {
        let topics = request.topics.unwrap_or_default().into_iter();
        return now(MetadataResponse {
            cluster_id: None,
            controller_id: -1,
            topics: topics
                .map(|t| MetadataResponseTopic {
                    error_code: ErrorCode::InvalidRequest.code(),
                    name: Some(t.name.unwrap_or_default()),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        });
    }
    let everything = match &request.topics {
        None => true,
        Some(topics) => ctx.version == 0 && topics.is_empty(),
    };
    if everything {
        response.topics = image.topics.iter_by_name().map(|t| view.topic(t)).collect();
        return now(response);
    }
    let mut missing = Vec::new();
    for asked in request.topics.unwrap_or_default() {
        let by_id = !asked.topic_id.is_zero();
        if by_id {
            // A name beside an id is not looked at.
            response.topics.push(match image.topics.by_id(&asked.topic_id) {
                Some(topic) => view.topic(topic),
                None => failed(ErrorCode::UnknownTopicId, None, asked.topic_id),
            });
            continue;
        }
        let Some(name) = asked.name else {
            response.topics.push(failed(ErrorCode::InvalidRequest, Some(Str::EMPTY), Uuid::ZERO));
            continue;
        };
        match image.topics.by_name(&name) {
            Some(topic) => response.topics.push(view.topic(topic)),
            None if !is_valid_name(&name) => {
                response.topics.push(failed(ErrorCode::InvalidTopicException, Some(name), Uuid::ZERO));
            }
            None => {
                missing.push(name.clone());
                response.topics.push(failed(ErrorCode::UnknownTopicOrPartition, Some(name), Uuid::ZERO));
            }
        }
    }
    if view.with_operations {
        for topic in &mut response.topics {
            topic.topic_authorized_operations = operations::TOPIC;
        }
    }
    let auto = (ctx.version < 4 || request.allow_auto_topic_creation)
        && b.config.load().get_bool("auto.create.topics.enable");
    if auto && !missing.is_empty() {
        // The answer says that the topics are not there; the client asks again and finds them.
        b.auto_creations.start(b, missing);
    }
    now(response)
}

/// In KRaft clients are told of any broker as the controller: requests for it are forwarded.
pub fn any_broker(image: &MetadataImage, listener: &str, preferred: i32) -> i32 {
    let mut alive = alive_brokers(image, listener).map(|b| b.id);
    let first = alive.next();
    if first == Some(preferred) || alive.any(|id| id == preferred) { preferred } else { first.unwrap_or(-1) }
}

fn failed(code: ErrorCode, name: Option<Str>, topic_id: Uuid) -> MetadataResponseTopic {
    let is_internal = name.as_deref().is_some_and(is_internal);
    MetadataResponseTopic { error_code: code.code(), name, topic_id, is_internal, ..Default::default() }
}

struct View<'a> {
    image: &'a MetadataImage,
    listener: &'a str,
    version: i16,
    with_operations: bool,
}

impl View<'_> {
    fn topic(&self, topic: &TopicImage) -> MetadataResponseTopic {
        MetadataResponseTopic {
            name: Some(topic.name.clone()),
            topic_id: topic.id,
            is_internal: is_internal(&topic.name),
            partitions: topic.partitions.iter().map(|(id, p)| self.partition(*id, p)).collect(),
            topic_authorized_operations: if self.with_operations { operations::TOPIC } else { i32::MIN },
            ..Default::default()
        }
    }

    fn reachable(&self, id: i32) -> bool {
        self.image.cluster.active_broker(id).is_some_and(|b| b.endpoint(self.listener).is_some())
    }

    fn partition(&self, index: i32, p: &PartitionRegistration) -> MetadataResponsePartition {
        // Version 0 clients cannot cope with replicas that they do not know as brokers.
        let filter = |ids: &[i32]| -> Vec<i32> {
            ids.iter().copied().filter(|id| self.version > 0 || self.reachable(*id)).collect()
        };
        let error = if p.leader >= 0 && self.reachable(p.leader) {
            ErrorCode::None
        } else if p.leader >= 0 && self.image.cluster.active_broker(p.leader).is_some() && self.version >= 6 {
            ErrorCode::ListenerNotFound
        } else {
            ErrorCode::LeaderNotAvailable
        };
        MetadataResponsePartition {
            error_code: error.code(),
            partition_index: index,
            leader_id: if error.is_ok() { p.leader } else { -1 },
            leader_epoch: p.leader_epoch,
            replica_nodes: filter(&p.replicas),
            isr_nodes: filter(&p.isr),
            offline_replicas: offline_replicas(self.image, self.listener, p),
            ..Default::default()
        }
    }
}

/// Replicas on brokers that are fenced, gone, or not on this listener, or in a directory that is lost.
pub fn offline_replicas(image: &MetadataImage, listener: &str, p: &PartitionRegistration) -> Vec<i32> {
    p.replicas
        .iter()
        .copied()
        .filter(|id| match image.cluster.active_broker(*id) {
            None => true,
            Some(broker) => {
                broker.endpoint(listener).is_none()
                    || p.directory_of(*id).is_some_and(|dir| !broker.has_online_dir(&dir))
            }
        })
        .collect()
}
