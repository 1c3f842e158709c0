//! Fetch: reads what is there, or waits until there is enough. Source: KIP-74, KIP-227, KIP-516, Kafka `ReplicaManager.fetchMessages`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_net::Reply;
use ottla_protocol::messages::FetchRequest;
use ottla_protocol::messages::fetch_response::NodeEndpoint;
use ottla_protocol::types::Str;
use ottla_protocol::{ApiKey, ErrorCode};
use ottla_replication::fetch_session::{Begun, FetchTarget, PartitionKey, SessionRequest};
use ottla_storage::log::FetchIsolation;
use tokio::time::Instant;

use crate::fetch::{FetchHead, PartitionData, ReadLimits, Reading, encode, load, load_cached};
use crate::metrics::{Metrics, Waiting};
use crate::partition::FetchWaiter;
use crate::request::{RequestContext, count_done, decode, malformed, unencodable};
use crate::state::{Broker, wall_clock_ms};
use crate::topics::address;

/// A fetch whose session has been found.
struct Fetch {
    broker: Arc<Broker>,
    ctx: RequestContext,
    targets: Vec<FetchTarget>,
    /// Session id of the response, and whether only news are answered.
    session_id: i32,
    incremental: bool,
    isolation: FetchIsolation,
    limits: ReadLimits,
}

pub fn handle(b: &Arc<Broker>, ctx: RequestContext, body: Bytes) -> Reply {
    let request: FetchRequest = match decode(body, ctx.version) {
        Ok(request) => request,
        Err(e) => return malformed(&b.metrics, &ctx, &e),
    };
    let max_wait = Duration::from_millis(request.max_wait_ms.max(0) as u64);
    let fetch = match begin(b, ctx, request) {
        Ok(fetch) => fetch,
        Err(reply) => return reply,
    };
    let mut reading = fetch.reading();
    if reading.read_cached(b, &fetch.targets) && (max_wait.is_zero() || fetch.is_enough(&reading.data)) {
        if load_cached(&b.cold_readers, &mut reading.data) {
            return fetch.respond(reading.data);
        }
        return Reply::Later(Box::pin(fetch.load(reading.data)));
    }
    Reply::Later(Box::pin(fetch.wait(reading, Instant::now() + max_wait)))
}

fn begin(b: &Arc<Broker>, ctx: RequestContext, request: FetchRequest) -> Result<Fetch, Reply> {
    let by_id = ctx.version >= 13;
    let image = b.image.load();
    // A name of its own for each topic, not for each partition: a session must not keep the whole request alive.
    let name = |topic_id, topic: &Str| {
        if by_id { image.topics.name_of(&topic_id).cloned().unwrap_or_default() } else { topic.detached() }
    };
    let mut targets = Vec::with_capacity(request.topics.iter().map(|t| t.partitions.len()).sum());
    for t in &request.topics {
        let (topic, topic_id) = (name(t.topic_id, &t.topic), t.topic_id);
        targets.extend(t.partitions.iter().map(|p| FetchTarget {
            key: PartitionKey { topic: topic.clone(), topic_id, partition: p.partition },
            fetch_offset: p.fetch_offset,
            log_start_offset: p.log_start_offset,
            max_bytes: p.partition_max_bytes,
            current_leader_epoch: p.current_leader_epoch,
            last_fetched_epoch: p.last_fetched_epoch,
        }));
    }
    let mut forgotten = Vec::new();
    for t in &request.forgotten_topics_data {
        let (topic, topic_id) = (name(t.topic_id, &t.topic), t.topic_id);
        let keys =
            t.partitions.iter().map(|p| PartitionKey { topic: topic.clone(), topic_id, partition: *p });
        forgotten.extend(keys);
    }
    let (session_id, epoch) =
        if ctx.version >= 7 { (request.session_id, request.session_epoch) } else { (0, -1) };
    let session =
        SessionRequest { session_id, epoch, uses_topic_ids: by_id, privileged: false, targets, forgotten };
    drop(image);
    let (session_id, incremental, targets) = match b.fetch_sessions.begin(session, wall_clock_ms()) {
        Ok(Begun::Sessionless { targets }) => (0, false, targets),
        Ok(Begun::Full { session_id, targets }) => (session_id, false, targets),
        Ok(Begun::Incremental { session_id, targets }) => (session_id, true, targets),
        Err(error) => {
            let head =
                FetchHead { version: ctx.version, correlation_id: ctx.correlation_id, error, session_id: 0 };
            count_done(&b.metrics, &ctx);
            return Err(match encode(&head, &mut [], &[]) {
                Ok(response) => Reply::Now(response),
                Err(e) => unencodable(&ctx, &e),
            });
        }
    };
    let max = b.config.load().get_int("fetch.max.bytes").min(request.max_bytes).max(0) as usize;
    Ok(Fetch {
        broker: Arc::clone(b),
        targets,
        session_id,
        incremental,
        isolation: if request.isolation_level == 1 {
            FetchIsolation::TxnCommitted
        } else {
            FetchIsolation::HighWatermark
        },
        limits: ReadLimits { max_bytes: max, min_bytes: (request.min_bytes.max(0) as usize).min(max) },
        ctx,
    })
}

impl Fetch {
    fn by_id(&self) -> bool {
        self.ctx.version >= 13
    }

    fn reading(&self) -> Reading {
        Reading::new(self.by_id(), self.isolation, self.limits)
    }

    /// Answers with what was found, once it is in memory.
    async fn load(self, mut data: Vec<PartitionData>) -> Reply {
        load(&self.broker.cold_readers, &mut data).await;
        self.respond(data)
    }

    /// Whether the answer goes out now: enough bytes, an error, or nothing that could ever come.
    fn is_enough(&self, data: &[PartitionData]) -> bool {
        data.is_empty()
            || data.iter().any(|d| !d.error.is_ok())
            || data.iter().map(PartitionData::records_bytes).sum::<usize>() >= self.limits.min_bytes
    }

    /// Reads what is left to be read, waits for appends to the partitions as long as it is not enough, and reads again when
    /// enough may have come.
    async fn wait(self, mut reading: Reading, deadline: Instant) -> Reply {
        reading.read(&self.broker, &self.targets).await;
        let mut data = reading.data;
        let waiting = Waiting::among(&self.broker.metrics.waiting_fetches);
        while !self.is_enough(&data) && Instant::now() < deadline {
            let have: usize = data.iter().map(PartitionData::records_bytes).sum();
            let waiter = FetchWaiter::new(self.limits.min_bytes.saturating_sub(have).max(1));
            let registered: Vec<_> =
                data.iter().filter_map(|d| d.partition.as_ref().map(|p| p.watch(&waiter))).collect();
            // What was appended between the read and the registration did not wake the waiter.
            let moved = data.iter().any(|d| {
                d.partition.as_ref().is_some_and(|p| p.bound(self.isolation) != d.bound || p.is_gone())
            });
            let timed_out = !moved && self.broker.deadlines.before(deadline, waiter.enough()).await.is_none();
            drop(registered);
            let mut reading = self.reading();
            reading.read(&self.broker, &self.targets).await;
            data = reading.data;
            if timed_out {
                break;
            }
        }
        drop(waiting);
        self.load(data).await
    }

    fn respond(self, data: Vec<PartitionData>) -> Reply {
        let Fetch { broker, ctx, targets, session_id, incremental, .. } = self;
        let mut entries: Vec<(PartitionKey, PartitionData)> =
            targets.into_iter().map(|t| t.key).zip(data).collect();
        if session_id != 0 {
            let outcomes: Vec<_> = entries.iter().map(|(k, d)| (k.clone(), d.outcome())).collect();
            let mut shard = broker.fetch_sessions.shard(session_id);
            if let Some(session) = shard.get_mut(session_id) {
                let keep = session.record(&outcomes, !incremental);
                drop(shard);
                let mut keep = keep.into_iter();
                entries.retain(|_| keep.next().unwrap_or(true));
            }
        }
        let metrics = &broker.metrics;
        count(metrics, ctx.api, &entries);
        let endpoints = leader_endpoints(&broker, &ctx, &entries);
        let head = FetchHead {
            version: ctx.version,
            correlation_id: ctx.correlation_id,
            error: ErrorCode::None,
            session_id,
        };
        match encode(&head, &mut entries, &endpoints) {
            Ok(response) => {
                count_done(metrics, &ctx);
                Reply::Now(response)
            }
            Err(e) => unencodable(&ctx, &e),
        }
    }
}

/// Counts what goes out, for the broker and for each topic. Kafka counts a request once for each partition in it.
fn count(metrics: &Metrics, api: ApiKey, entries: &[(PartitionKey, PartitionData)]) {
    let all = &metrics.all_topics;
    let (mut bytes, mut failed) = (0, 0);
    for (_, data) in entries {
        let topic = data.partition.as_ref().map(|p| &p.topic_metrics);
        let own = data.records_bytes() as u64;
        bytes += own;
        if let Some(topic) = topic {
            topic.total_fetch_requests.inc();
            topic.bytes_out.add(own);
        }
        if !data.error.is_ok() {
            failed += 1;
            metrics.requests.of(api).error(data.error);
            if let Some(topic) = topic {
                topic.failed_fetch_requests.inc();
            }
        }
    }
    all.bytes_out.add(bytes);
    all.total_fetch_requests.add(entries.len() as u64);
    all.failed_fetch_requests.add(failed);
}

/// Where the leaders that are named in the response can be reached (KIP-951).
fn leader_endpoints(
    broker: &Broker,
    ctx: &RequestContext,
    entries: &[(PartitionKey, PartitionData)],
) -> Vec<NodeEndpoint> {
    let mut leaders: Vec<i32> =
        entries.iter().filter_map(|(_, d)| d.current_leader.map(|(id, _)| id)).collect();
    if leaders.is_empty() || ctx.version < 16 {
        return Vec::new();
    }
    leaders.sort_unstable();
    leaders.dedup();
    let image = broker.image.load();
    leaders
        .into_iter()
        .filter_map(|id| {
            let node = image.cluster.active_broker(id)?;
            let (host, port) = address(node, &ctx.peer.listener)?;
            Some(NodeEndpoint {
                node_id: id,
                host: host.clone(),
                port,
                rack: node.rack.clone(),
                ..Default::default()
            })
        })
        .collect()
}
