//! What a client knows of the cluster: an immutable picture that a newer one replaces.

use std::collections::BTreeMap;

use ottla_protocol::messages::MetadataResponse;
use ottla_protocol::types::Uuid;

/// A node that accepts connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerNode {
    pub id: i32,
    pub host: String,
    pub port: i32,
    pub rack: Option<String>,
}

impl BrokerNode {
    /// `host:port`, with brackets around an IPv6 address.
    pub fn address(&self) -> String {
        if self.host.contains(':') && !self.host.starts_with('[') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// A partition as Metadata describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionView {
    pub partition: i32,
    /// -1 when there is none.
    pub leader: i32,
    pub leader_epoch: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
    pub offline: Vec<i32>,
}

/// A topic as Metadata describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicView {
    pub name: String,
    pub id: Uuid,
    pub internal: bool,
    pub error_code: i16,
    pub partitions: BTreeMap<i32, PartitionView>,
}

/// What is known of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterView {
    pub cluster_id: Option<String>,
    pub controller_id: i32,
    pub brokers: BTreeMap<i32, BrokerNode>,
    pub topics: BTreeMap<String, TopicView>,
}

impl ClusterView {
    pub fn leader(&self, topic: &str, partition: i32) -> Option<i32> {
        let leader = self.topics.get(topic)?.partitions.get(&partition)?.leader;
        (leader >= 0).then_some(leader)
    }

    pub fn partition_count(&self, topic: &str) -> Option<usize> {
        self.topics.get(topic).filter(|t| t.error_code == 0).map(|t| t.partitions.len())
    }

    pub fn topic_by_id(&self, id: Uuid) -> Option<&TopicView> {
        self.topics.values().find(|t| t.id == id)
    }

    /// The picture after a response. Topics that it does not mention stay unless `all_topics`.
    pub(crate) fn merged(&self, response: &MetadataResponse, all_topics: bool) -> ClusterView {
        let mut view = ClusterView {
            cluster_id: response.cluster_id.as_ref().map(|id| id.to_string()),
            controller_id: response.controller_id,
            brokers: BTreeMap::new(),
            topics: if all_topics { BTreeMap::new() } else { self.topics.clone() },
        };
        for b in &response.brokers {
            let node = BrokerNode {
                id: b.node_id,
                host: b.host.to_string(),
                port: b.port,
                rack: b.rack.as_ref().map(|r| r.to_string()),
            };
            view.brokers.insert(node.id, node);
        }
        for topic in &response.topics {
            let Some(name) = &topic.name else { continue };
            let partitions = topic.partitions.iter().map(|p| {
                let partition = PartitionView {
                    partition: p.partition_index,
                    leader: p.leader_id,
                    leader_epoch: p.leader_epoch,
                    replicas: p.replica_nodes.clone(),
                    isr: p.isr_nodes.clone(),
                    offline: p.offline_replicas.clone(),
                };
                (p.partition_index, partition)
            });
            let topic_view = TopicView {
                name: name.to_string(),
                id: topic.topic_id,
                internal: topic.is_internal,
                error_code: topic.error_code,
                partitions: partitions.collect(),
            };
            view.topics.insert(name.to_string(), topic_view);
        }
        view
    }
}
