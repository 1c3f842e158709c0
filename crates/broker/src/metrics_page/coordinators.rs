//! Groups with their lag, and transactions. Both are asked of their coordinators when the page is.
//!
//! Lag is what kafka-exporter calls it: `kafka_consumergroup_lag{consumergroup,topic,partition}`, the distance from
//! the committed offset to the end that consumers see.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use ottla_coordinator::context::RequestContext;
use ottla_coordinator::group::{GroupRequest, GroupResponse};
use ottla_coordinator::transaction::{TxnRequest, TxnResponse};
use ottla_protocol::messages::ListTransactionsRequest;
use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ottla_protocol::types::Str;

use crate::metrics::{Exposition, LoadTimes};
use crate::state::Broker;

/// Groups, by name, whose offsets are on the page.
const MAX_GROUPS: usize = 1_000;
/// Partitions of all groups whose offsets are on the page.
const MAX_OFFSETS: usize = 20_000;
/// A coordinator that is busier than this is left out.
const PATIENCE: Duration = Duration::from_secs(2);
/// The newest versions that name topics by their names.
const OFFSET_FETCH_VERSION: i16 = 9;
const LIST_VERSION: i16 = 5;

const CLASSIC_STATES: [&str; 5] = ["PreparingRebalance", "CompletingRebalance", "Stable", "Empty", "Dead"];
const CONSUMER_STATES: [&str; 5] = ["Empty", "Assigning", "Reconciling", "Stable", "Dead"];

/// What the coordinators answered.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// By type and state, as ListGroups spells them.
    groups: BTreeMap<(String, String), usize>,
    offsets: Vec<Offset>,
    omitted_groups: usize,
    transactions: BTreeMap<String, usize>,
}

#[derive(Debug)]
struct Offset {
    group: Str,
    topic: Str,
    partition: i32,
    committed: i64,
    /// None when another broker leads the partition.
    lag: Option<i64>,
}

fn context(api_version: i16) -> RequestContext {
    RequestContext {
        client_id: Str::from_static("metrics"),
        client_host: Str::from_static("/127.0.0.1"),
        api_version,
        topic_filter: None,
    }
}

impl Snapshot {
    pub async fn take(b: &Broker) -> Snapshot {
        let mut snapshot = Snapshot::default();
        // What is there when patience ends is what is shown.
        let _ = tokio::time::timeout(PATIENCE, snapshot.ask(b)).await;
        snapshot
    }

    async fn ask(&mut self, b: &Broker) {
        let transactions = b.transactions.request_all(
            TxnRequest::ListTransactions(ListTransactionsRequest {
                duration_filter: -1,
                ..Default::default()
            }),
            1,
        );
        for part in transactions.await {
            if let TxnResponse::ListTransactions(list) = part {
                for t in list.transaction_states {
                    *self.transactions.entry(t.transaction_state.to_string()).or_default() += 1;
                }
            }
        }
        let listed = b.groups.request_all(&context(LIST_VERSION), || GroupRequest::ListGroups {
            states_filter: Vec::new(),
            types_filter: Vec::new(),
        });
        let mut ids = Vec::new();
        for part in listed.await {
            if let GroupResponse::ListGroups { groups, .. } = part {
                for group in groups {
                    let key = (group.group_type.to_string(), group.group_state.to_string());
                    *self.groups.entry(key).or_default() += 1;
                    ids.push(group.group_id);
                }
            }
        }
        ids.sort_unstable();
        self.omitted_groups = ids.len().saturating_sub(MAX_GROUPS);
        ids.truncate(MAX_GROUPS);
        let asked: Vec<_> = ids
            .into_iter()
            .map(|id| {
                let group =
                    OffsetFetchRequestGroup { group_id: id.clone(), topics: None, ..Default::default() };
                let request = GroupRequest::OffsetFetch { group, require_stable: false };
                let answer = b.groups.request(b, &id, request, context(OFFSET_FETCH_VERSION));
                (id, answer)
            })
            .collect();
        for (id, answer) in asked {
            if let GroupResponse::OffsetFetch(group) = answer.await {
                let partitions = group.topics.iter().flat_map(|t| t.partitions.iter().map(move |p| (t, p)));
                for (topic, p) in partitions.filter(|(_, p)| p.error_code == 0 && p.committed_offset >= 0) {
                    if self.offsets.len() == MAX_OFFSETS {
                        self.omitted_groups += 1;
                        break;
                    }
                    self.offsets.push(Offset {
                        group: id.clone(),
                        topic: topic.name.clone(),
                        partition: p.partition_index,
                        committed: p.committed_offset,
                        lag: lag(b, &topic.name, p.partition_index, p.committed_offset),
                    });
                }
            }
        }
    }

    fn count(&self, kind: &str, state: Option<&str>) -> usize {
        let of_kind = self.groups.iter().filter(|((k, _), _)| k.eq_ignore_ascii_case(kind));
        of_kind
            .filter(|((_, s), _)| state.is_none_or(|state| s.eq_ignore_ascii_case(state)))
            .map(|(_, n)| n)
            .sum()
    }
}

fn lag(b: &Broker, topic: &str, partition: i32, committed: i64) -> Option<i64> {
    let id = b.image.load().topics.id_of(topic)?;
    let partition = b.partitions.get(&id, partition)?;
    Some((partition.log.high_watermark() - committed).max(0))
}

pub fn render(out: &mut Exposition, b: &Broker, snapshot: Snapshot) {
    groups(out, b, &snapshot);
    offsets(out, &snapshot);
    let states = [
        "Empty",
        "Ongoing",
        "PrepareCommit",
        "PrepareAbort",
        "CompleteCommit",
        "CompleteAbort",
        "Dead",
        "PrepareEpochFence",
    ];
    for state in states {
        let count = snapshot.transactions.get(state).copied().unwrap_or(0);
        out.gauge("ottla_transaction_coordinator_transactions", &[("state", &state)], count);
    }
    let prefix = "kafka_server_transaction_coordinator_metrics";
    partitions(out, prefix, b.transactions.partition_counts(), &b.metrics.transactions);
}

fn partitions(out: &mut Exposition, prefix: &str, counts: (usize, usize), times: &LoadTimes) {
    let (active, loading) = counts;
    for (state, count) in [("active", active), ("loading", loading)] {
        out.gauge(&format!("{prefix}_num_partitions"), &[("state", &state)], count);
    }
    out.counter(&format!("{prefix}_partition_load_failed_count"), &[], times.failed.get());
    out.gauge(&format!("{prefix}_partition_load_time_max"), &[], times.max_ms());
    out.gauge(&format!("{prefix}_partition_load_time_avg"), &[], times.avg_ms());
}

fn groups(out: &mut Exposition, b: &Broker, snapshot: &Snapshot) {
    const PREFIX: &str = "kafka_server_group_coordinator_metrics";
    let m = &b.metrics.groups;
    for protocol in ["classic", "consumer"] {
        let labels: [(&str, &dyn Display); 1] = [("protocol", &protocol)];
        out.gauge(&format!("{PREFIX}_group_count"), &labels, snapshot.count(protocol, None));
    }
    for (kind, states) in [("classic", CLASSIC_STATES), ("consumer", CONSUMER_STATES)] {
        let name = format!("{PREFIX}_{kind}_group_count");
        for state in states {
            out.gauge(&name, &[("state", &state)], snapshot.count(kind, Some(state)));
        }
    }
    for (name, counter) in [
        ("offset_commit_count", &m.offset_commits),
        ("offset_deletion_count", &m.offset_deletions),
        ("offset_expiration_count", &m.offset_expirations),
        ("group_completed_rebalance_count", &m.classic_rebalances),
        ("consumer_group_rebalance_count", &m.consumer_rebalances),
    ] {
        out.counter(&format!("{PREFIX}_{name}"), &[], counter.get());
    }
    partitions(out, PREFIX, b.groups.partition_counts(), &m.load_times);
}

fn offsets(out: &mut Exposition, snapshot: &Snapshot) {
    fn labels(o: &Offset) -> [(&'static str, &dyn Display); 3] {
        [("consumergroup", &o.group), ("topic", &o.topic), ("partition", &o.partition)]
    }
    for o in &snapshot.offsets {
        out.gauge("kafka_consumergroup_current_offset", &labels(o), o.committed);
    }
    for o in &snapshot.offsets {
        if let Some(lag) = o.lag {
            out.gauge("kafka_consumergroup_lag", &labels(o), lag);
        }
    }
    let mut sums: BTreeMap<(&Str, &Str), i64> = BTreeMap::new();
    for o in &snapshot.offsets {
        *sums.entry((&o.group, &o.topic)).or_default() += o.lag.unwrap_or(0);
    }
    for ((group, topic), sum) in sums {
        let labels: [(&str, &dyn Display); 2] = [("consumergroup", group), ("topic", topic)];
        out.gauge("kafka_consumergroup_lag_sum", &labels, sum);
    }
    out.gauge("ottla_metrics_omitted_groups", &[], snapshot.omitted_groups);
}
