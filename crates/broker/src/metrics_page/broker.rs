//! Topics, replicas and logs of the broker, and what its clients pushed.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::metrics::{Counter, Exposition, TopicMetrics};
use crate::partition::Partition;
use crate::state::Broker;

/// Topics, by name, whose rates are on the page. Prometheus would choke on more, and a broker with more has the sum.
const MAX_TOPICS: usize = 5_000;

const TOPIC_COUNTERS: [(&str, fn(&TopicMetrics) -> &Counter); 10] = [
    ("messagesin", |t| &t.messages_in),
    ("bytesin", |t| &t.bytes_in),
    ("bytesout", |t| &t.bytes_out),
    ("bytesrejected", |t| &t.bytes_rejected),
    ("totalproducerequests", |t| &t.total_produce_requests),
    ("totalfetchrequests", |t| &t.total_fetch_requests),
    ("failedproducerequests", |t| &t.failed_produce_requests),
    ("failedfetchrequests", |t| &t.failed_fetch_requests),
    ("invalidmessagecrcrecords", |t| &t.invalid_message_crc_records),
    ("invalidoffsetorsequencerecords", |t| &t.invalid_offset_or_sequence_records),
];

pub fn render(out: &mut Exposition, b: &Broker) {
    let partitions = b.partitions.all();
    topics(out, b, &partitions);
    replicas(out, b, &partitions);
    logs(out, b, &partitions);
    b.cleaner.render(out, b.partitions.log_dirs());
    let (sessions, session_partitions, evicted) = b.fetch_sessions.totals();
    out.gauge("kafka_server_fetchsessioncache_numincrementalfetchsessions", &[], sessions);
    out.gauge("kafka_server_fetchsessioncache_numincrementalfetchpartitionscached", &[], session_partitions);
    out.counter("kafka_server_fetchsessioncache_incrementalfetchsessionevictions_total", &[], evicted);
    out.gauge("kafka_server_kafkaserver_brokerstate", &[], b.state.load(Ordering::Relaxed));
    telemetry(out, b);
}

/// `BrokerTopicMetrics`: of the whole broker without a label, then by topic. Partitions are sorted by topic.
fn topics(out: &mut Exposition, b: &Broker, partitions: &[Arc<Partition>]) {
    let mut topics: Vec<&Arc<Partition>> = partitions.iter().collect();
    topics.dedup_by(|a, b| a.topic_id == b.topic_id);
    let omitted = topics.len().saturating_sub(MAX_TOPICS);
    topics.truncate(MAX_TOPICS);
    for (name, of) in TOPIC_COUNTERS {
        let name = format!("kafka_server_brokertopicmetrics_{name}_total");
        out.counter(&name, &[], of(&b.metrics.all_topics).get());
        for p in &topics {
            out.counter(&name, &[("topic", &p.topic)], of(&p.topic_metrics).get());
        }
    }
    out.gauge("ottla_metrics_omitted_topics", &[], omitted);
}

fn replicas(out: &mut Exposition, b: &Broker, partitions: &[Arc<Partition>]) {
    let image = b.image.load();
    let (mut under, mut under_min, mut at_min, mut offline) = (0, 0, 0, 0);
    let mut by_partition = Vec::with_capacity(partitions.len());
    for p in partitions {
        if let Some(r) = image.topics.partition(&p.topic_id, p.index) {
            let min = usize::try_from(p.log.config().min_insync_replicas).unwrap_or(0);
            let is_under = r.isr.len() < r.replicas.len();
            under += usize::from(is_under);
            under_min += usize::from(r.isr.len() < min);
            at_min += usize::from(r.isr.len() == min);
            by_partition.push((p, is_under, r.isr.len() < min, r.isr.len(), r.replicas.len()));
        }
        offline += usize::from(p.log.dir_state().is_offline());
    }
    out.gauge("kafka_server_replicamanager_partitioncount", &[], partitions.len());
    out.gauge("kafka_server_replicamanager_leadercount", &[], partitions.len());
    out.gauge("kafka_server_replicamanager_underreplicatedpartitions", &[], under);
    out.gauge("kafka_server_replicamanager_underminisrpartitioncount", &[], under_min);
    out.gauge("kafka_server_replicamanager_atminisrpartitioncount", &[], at_min);
    out.gauge("kafka_server_replicamanager_offlinereplicacount", &[], offline);
    let producers: usize = partitions.iter().map(|p| p.log.producer_id_count()).sum();
    out.gauge("kafka_server_replicamanager_produceridcount", &[], producers);
    for (p, is_under, ..) in &by_partition {
        gauge(out, "kafka_cluster_partition_underreplicated", p, i32::from(*is_under));
    }
    for (p, _, is_under_min, ..) in &by_partition {
        gauge(out, "kafka_cluster_partition_underminisr", p, i32::from(*is_under_min));
    }
    for (p, .., in_sync, _) in &by_partition {
        gauge(out, "kafka_cluster_partition_insyncreplicascount", p, in_sync);
    }
    for (p, .., replicas) in &by_partition {
        gauge(out, "kafka_cluster_partition_replicascount", p, replicas);
    }
}

fn gauge(out: &mut Exposition, name: &str, p: &Partition, value: impl Display) {
    out.gauge(name, &[("topic", &p.topic), ("partition", &p.index)], value);
}

fn logs(out: &mut Exposition, b: &Broker, partitions: &[Arc<Partition>]) {
    let dirs = b.partitions.dirs();
    let offline = dirs.iter().filter(|d| d.offline).count();
    out.gauge("kafka_log_logmanager_offlinelogdirectorycount", &[], offline);
    for dir in &dirs {
        let path = dir.path.display();
        out.gauge(
            "kafka_log_logmanager_logdirectoryoffline",
            &[("logDirectory", &path)],
            i32::from(dir.offline),
        );
    }
    for state in b.partitions.log_dirs().states() {
        let path = state.path().display();
        out.counter("ottla_log_damaged_places_total", &[("logDirectory", &path)], state.damaged_places());
    }
    for state in b.partitions.log_dirs().states() {
        let path = state.path().display();
        out.counter("ottla_log_cold_reads_total", &[("logDirectory", &path)], state.cold_reads().0);
    }
    for state in b.partitions.log_dirs().states() {
        let path = state.path().display();
        out.counter("ottla_log_cold_read_bytes_total", &[("logDirectory", &path)], state.cold_reads().1);
    }
    for state in b.partitions.log_dirs().states() {
        let path = state.path().display();
        out.gauge("ottla_log_index_memory_bytes", &[("logDirectory", &path)], state.index_memory_bytes());
    }
    let values: [(&str, fn(&Partition) -> i64); 5] = [
        ("kafka_log_log_size", |p| p.log.size() as i64),
        ("kafka_log_log_numlogsegments", |p| p.log.segment_count() as i64),
        ("kafka_log_log_logstartoffset", |p| p.log.log_start_offset()),
        ("kafka_log_log_logendoffset", |p| p.log.log_end_offset()),
        ("kafka_cluster_partition_laststableoffsetlag", |p| {
            p.log.high_watermark() - p.log.last_stable_offset()
        }),
    ];
    for (name, value) in values {
        for p in partitions {
            gauge(out, name, p, value(p));
        }
    }
}

/// What clients pushed (KIP-714). Names and values are theirs: two names may become one metric here.
fn telemetry(out: &mut Exposition, b: &Broker) {
    out.counter("ottla_client_telemetry_pushes_total", &[], b.metrics.telemetry_pushes.get());
    let mut metrics: BTreeMap<String, BTreeMap<(String, String), f64>> = BTreeMap::new();
    for (name, values) in b.telemetry.values() {
        let clean = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let metric = format!("ottla_client_metric_{}", name.chars().map(clean).collect::<String>());
        let samples = metrics.entry(metric).or_default();
        for (client_id, instance, value) in values {
            samples.insert((client_id.to_string(), instance.to_string()), value);
        }
    }
    for (metric, samples) in metrics {
        for ((client_id, instance), value) in samples {
            let labels: [(&str, &dyn Display); 2] =
                [("client_id", &client_id), ("client_instance_id", &instance)];
            match value {
                v if v == f64::INFINITY => out.gauge(&metric, &labels, "+Inf"),
                v if v == f64::NEG_INFINITY => out.gauge(&metric, &labels, "-Inf"),
                v => out.gauge(&metric, &labels, v),
            }
        }
    }
}
