//! Fetch requests: one at a time per broker, for every partition there that has nothing buffered.

use std::collections::BTreeMap;

use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::{FetchRequest, FetchResponse};
use ottla_protocol::types::Str;

use super::ConsumerConfig;
use crate::{Client, ClientError, TopicPartition};

/// Newer versions name topics by id.
const MAX_VERSION: i16 = 12;

/// A partition in a request: where it was fetched from, and for which seek.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub partition: TopicPartition,
    pub offset: i64,
    pub leader_epoch: i32,
    pub seek: u64,
}

/// A fetch that has come back.
#[derive(Debug)]
pub(super) struct Answered {
    pub node: i32,
    pub wanted: Vec<Wanted>,
    pub result: Result<FetchResponse, ClientError>,
}

pub(super) async fn fetch(
    client: Client,
    config: ConsumerConfig,
    node: i32,
    wanted: Vec<Wanted>,
) -> Answered {
    let mut topics: BTreeMap<&str, Vec<FetchPartition>> = BTreeMap::new();
    for w in &wanted {
        topics.entry(&w.partition.topic).or_default().push(FetchPartition {
            partition: w.partition.partition,
            current_leader_epoch: w.leader_epoch,
            fetch_offset: w.offset,
            last_fetched_epoch: -1,
            log_start_offset: -1,
            partition_max_bytes: config.max_partition_bytes,
            ..Default::default()
        });
    }
    let request = FetchRequest {
        replica_id: -1,
        max_wait_ms: i32::try_from(config.fetch_max_wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: config.fetch_min_bytes,
        max_bytes: config.fetch_max_bytes,
        isolation_level: i8::from(config.read_committed),
        // Without a session: every request is complete (KIP-227).
        session_id: 0,
        session_epoch: -1,
        topics: topics
            .into_iter()
            .map(|(topic, partitions)| FetchTopic {
                topic: Str::from(topic),
                partitions,
                ..Default::default()
            })
            .collect(),
        rack_id: Str::from(config.rack.as_str()),
        ..Default::default()
    };
    let timeout = client.request_timeout() + config.fetch_max_wait;
    let result = client.call_once(node, &request, MAX_VERSION, timeout).await;
    Answered { node, wanted, result }
}
