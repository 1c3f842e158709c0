//! Sends the ends of transactions to the leaders of their partitions. Source: Kafka `TransactionMarkerChannelManager`.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ottla_coordinator::transaction::{MarkerResult, SendMarkers};
use ottla_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use ottla_protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use ottla_protocol::records::control::EndTxnMarker;
use ottla_protocol::types::Str;
use ottla_protocol::{ApiKey, ErrorCode};

use crate::handlers::write_txn_markers::write_marker;
use crate::state::Broker;

const TIMEOUT: Duration = Duration::from_secs(30);
const WRITE_TXN_MARKERS_VERSION: i16 = 2;

type Results = Vec<(Str, i32, MarkerResult)>;

/// Writes the markers of this broker's partitions at once and asks other brokers for theirs.
pub fn send(broker: &Arc<Broker>, sent: &SendMarkers) -> impl Future<Output = Results> + Send + use<> {
    let image = broker.image.load_full();
    let marker = EndTxnMarker { commit: sent.commit, coordinator_epoch: sent.coordinator_epoch };
    let mut done: Results = Vec::new();
    let mut local: Vec<(Str, i32, Pin<Box<dyn Future<Output = ErrorCode> + Send>>)> = Vec::new();
    let mut remote: BTreeMap<i32, BTreeMap<Str, Vec<i32>>> = BTreeMap::new();
    for (topic, partitions) in &sent.partitions {
        for index in partitions {
            let registration = image.topics.by_name(topic).and_then(|t| t.partition(*index));
            match registration.map(|r| r.leader) {
                None => done.push((topic.clone(), *index, MarkerResult::PartitionDeleted)),
                Some(leader) if leader == broker.node_id => {
                    let written = write_marker(
                        broker,
                        topic,
                        *index,
                        sent.producer_id,
                        sent.producer_epoch,
                        marker,
                        sent.transaction_version,
                    );
                    local.push((topic.clone(), *index, written));
                }
                Some(leader) if leader < 0 => done.push((topic.clone(), *index, MarkerResult::NotAnswered)),
                Some(leader) => {
                    remote.entry(leader).or_default().entry(topic.clone()).or_default().push(*index);
                }
            }
        }
    }
    let requests: Vec<_> = remote
        .into_iter()
        .map(|(node, topics)| {
            let request = WriteTxnMarkersRequest {
                markers: vec![WritableTxnMarker {
                    producer_id: sent.producer_id,
                    producer_epoch: sent.producer_epoch,
                    transaction_result: sent.commit,
                    coordinator_epoch: sent.coordinator_epoch,
                    transaction_version: sent.transaction_version.max(0) as i8,
                    topics: topics
                        .iter()
                        .map(|(name, indexes)| WritableTxnMarkerTopic {
                            name: name.clone(),
                            partition_indexes: indexes.clone(),
                            ..Default::default()
                        })
                        .collect(),
                    ..Default::default()
                }],
                ..Default::default()
            };
            (node, topics, request)
        })
        .collect();
    let broker = Arc::clone(broker);
    async move {
        for (topic, index, written) in local {
            done.push((topic, index, MarkerResult::Answered(written.await)));
        }
        for (node, topics, request) in requests {
            done.extend(ask(&broker, node, topics, &request).await);
        }
        done
    }
}

async fn ask(
    broker: &Arc<Broker>,
    node: i32,
    topics: BTreeMap<Str, Vec<i32>>,
    request: &WriteTxnMarkersRequest,
) -> Results {
    let answer: Result<WriteTxnMarkersResponse, _> = broker
        .peers
        .call(broker, node, ApiKey::WriteTxnMarkers, WRITE_TXN_MARKERS_VERSION, request, TIMEOUT)
        .await;
    let answered: BTreeMap<(Str, i32), ErrorCode> = match answer {
        Ok(response) => response
            .markers
            .into_iter()
            .flat_map(|m| m.topics)
            .flat_map(|t| {
                let name = t.name;
                t.partitions
                    .into_iter()
                    .map(move |p| ((name.clone(), p.partition_index), ErrorCode::from_code(p.error_code)))
            })
            .collect(),
        Err(error) => {
            tracing::debug!(node, %error, "markers were not answered");
            BTreeMap::new()
        }
    };
    topics
        .into_iter()
        .flat_map(|(topic, indexes)| indexes.into_iter().map(move |i| (topic.clone(), i)))
        .map(|(topic, index)| {
            let result = answered
                .get(&(topic.clone(), index))
                .map_or(MarkerResult::NotAnswered, |code| MarkerResult::Answered(*code));
            (topic, index, result)
        })
        .collect()
}
