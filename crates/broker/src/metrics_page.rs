//! `/metrics`, `/livez` and `/readyz` of a node, with the JMX exporter's usual names.

use std::fmt::Display;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use crate::http::{Page, Pages};
use crate::metrics::{Exposition, Histogram, Metrics};
use crate::state::Broker;

/// The pages of a node; the broker may not be there (yet).
pub struct NodePages {
    pub metrics: Arc<Metrics>,
    pub broker: std::sync::OnceLock<Weak<Broker>>,
    pub controller: Option<Arc<crate::controller::ControllerNode>>,
}

impl Pages for NodePages {
    fn page(&self, path: &str) -> Page {
        let broker = self.broker.get().and_then(Weak::upgrade);
        match path {
            "/metrics" => Page {
                status: 200,
                content_type: "text/plain; version=0.0.4; charset=utf-8",
                body: self.render(broker.as_deref()),
            },
            "/livez" => Page::text(200, "ok\n"),
            "/readyz" => match (&broker, &self.controller) {
                (Some(b), _) if b.is_running() => Page::text(200, "ok\n"),
                (Some(_), _) => Page::text(503, "the broker is starting or stopping\n"),
                (None, Some(c)) if c.is_ready() => Page::text(200, "ok\n"),
                _ => Page::text(503, "the node is starting\n"),
            },
            _ => Page::text(404, "pages: /metrics /livez /readyz\n"),
        }
    }
}

fn histogram(out: &mut Exposition, name: &str, labels: &[(&str, &dyn Display)], h: &Histogram) {
    const SHARES: [f64; 6] = [0.5, 0.75, 0.95, 0.98, 0.99, 0.999];
    const NAMES: [&str; 6] = ["0.50", "0.75", "0.95", "0.98", "0.99", "0.999"];
    for (quantile, us) in NAMES.iter().zip(h.quantiles(SHARES)) {
        let mut labels = labels.to_vec();
        labels.push(("quantile", quantile));
        out.sample("summary", name, &labels, us as f64 / 1000.0);
    }
}

impl NodePages {
    fn render(&self, broker: Option<&Broker>) -> String {
        let mut out = Exposition::new();
        self.network(&mut out);
        self.requests(&mut out);
        if let Some(broker) = broker {
            broker_metrics(&mut out, broker);
        }
        if let Some(controller) = &self.controller {
            controller.render(&mut out);
        }
        process(&mut out);
        out.finish()
    }

    fn network(&self, out: &mut Exposition) {
        let net = &self.metrics.net;
        let get = |c: &std::sync::atomic::AtomicU64| c.load(Ordering::Relaxed);
        out.gauge(
            "kafka_server_socket_server_metrics_connection_count",
            &[],
            net.connections.load(Ordering::Relaxed),
        );
        out.counter(
            "kafka_server_socket_server_metrics_connection_creation_total",
            &[],
            get(&net.connections_accepted_total),
        );
        out.counter("ottla_net_connections_refused_total", &[], get(&net.connections_refused_total));
        out.counter("ottla_net_connections_closed_idle_total", &[], get(&net.connections_closed_idle_total));
        out.counter("ottla_net_bytes_in_total", &[], get(&net.bytes_in_total));
        out.counter("ottla_net_bytes_out_total", &[], get(&net.bytes_out_total));
        out.counter("ottla_net_bad_frames_total", &[], get(&net.bad_frames_total));
        out.counter("ottla_net_malformed_requests_total", &[], self.metrics.malformed_requests.get());
    }

    fn requests(&self, out: &mut Exposition) {
        let requests = &self.metrics.requests;
        for (api, m) in requests.used() {
            out.counter(
                "kafka_network_requestmetrics_requests_total",
                &[("request", &api)],
                m.requests.get(),
            );
        }
        for (api, m) in requests.used() {
            for (code, n) in m.errors() {
                out.counter(
                    "kafka_network_requestmetrics_errors_total",
                    &[("request", &api), ("error", &code)],
                    n,
                );
            }
        }
        for (api, m) in requests.used() {
            out.counter(
                "kafka_network_requestmetrics_requestbytes",
                &[("request", &api)],
                m.request_bytes.get(),
            );
        }
        for (api, m) in requests.used() {
            histogram(
                out,
                "kafka_network_requestmetrics_totaltimems",
                &[("request", &api)],
                &m.total_time_us,
            );
        }
        for (api, m) in requests.used() {
            out.counter(
                "kafka_network_requestmetrics_totaltimems_count",
                &[("request", &api)],
                m.total_time_us.count(),
            );
        }
    }
}

fn broker_metrics(out: &mut Exposition, b: &Broker) {
    let t = &b.metrics.all_topics;
    let mut topic = |name: &str, value: u64| {
        out.counter(&format!("kafka_server_brokertopicmetrics_{name}_total"), &[], value);
    };
    topic("messagesin", t.messages_in.get());
    topic("bytesin", t.bytes_in.get());
    topic("bytesout", t.bytes_out.get());
    topic("bytesrejected", t.bytes_rejected.get());
    topic("totalproducerequests", t.total_produce_requests.get());
    topic("totalfetchrequests", t.total_fetch_requests.get());
    topic("failedproducerequests", t.failed_produce_requests.get());
    topic("failedfetchrequests", t.failed_fetch_requests.get());
    topic("invalidmessagecrcrecords", t.invalid_message_crc_records.get());
    topic("invalidoffsetorsequencerecords", t.invalid_offset_or_sequence_records.get());
    let image = b.image.load();
    let partitions = b.partitions.all();
    let (mut under, mut under_min, mut at_min, mut offline) = (0, 0, 0, 0);
    for p in &partitions {
        if let Some(r) = image.topics.partition(&p.topic_id, p.index) {
            let min = p.log.config().min_insync_replicas as usize;
            under += usize::from(r.isr.len() < r.replicas.len());
            under_min += usize::from(r.isr.len() < min);
            at_min += usize::from(r.isr.len() == min);
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
    let dirs = b.partitions.dirs();
    out.gauge(
        "kafka_log_logmanager_offlinelogdirectorycount",
        &[],
        dirs.iter().filter(|d| d.offline).count(),
    );
    b.cleaner.render(out, b.partitions.log_dirs());
    let (sessions, session_partitions, evicted) = b.fetch_sessions.totals();
    out.gauge("kafka_server_fetchsessioncache_numincrementalfetchsessions", &[], sessions);
    out.gauge("kafka_server_fetchsessioncache_numincrementalfetchpartitionscached", &[], session_partitions);
    out.counter("kafka_server_fetchsessioncache_incrementalfetchsessionevictions_total", &[], evicted);
    let mut log = |name: &str, value: &dyn Fn(&crate::partition::Partition) -> i64| {
        for p in &partitions {
            out.gauge(name, &[("topic", &p.topic), ("partition", &p.index)], value(p));
        }
    };
    log("kafka_log_log_size", &|p| p.log.size() as i64);
    log("kafka_log_log_numlogsegments", &|p| p.log.segment_count() as i64);
    log("kafka_log_log_logstartoffset", &|p| p.log.log_start_offset());
    log("kafka_log_log_logendoffset", &|p| p.log.log_end_offset());
    log("kafka_cluster_partition_laststableoffsetlag", &|p| {
        p.log.high_watermark() - p.log.last_stable_offset()
    });
    out.counter(
        "kafka_server_group_coordinator_metrics_offset_commit_count",
        &[],
        b.metrics.offset_commits.get(),
    );
    out.gauge("kafka_server_kafkaserver_brokerstate", &[], b.state.load(Ordering::Relaxed));
    out.counter("ottla_client_telemetry_pushes_total", &[], b.metrics.telemetry_pushes.get());
    for (name, values) in b.telemetry.values() {
        let metric = format!(
            "ottla_client_{}",
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect::<String>()
        );
        for (client_id, instance, value) in values {
            out.gauge(&metric, &[("client_id", &client_id), ("client_instance_id", &instance)], value);
        }
    }
}

/// Memory, processor time and descriptors of this process.
fn process(out: &mut Exposition) {
    let page = 4096;
    if let Ok(statm) = std::fs::read_to_string("/proc/self/statm")
        && let Some(pages) = statm.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok())
    {
        out.gauge("process_resident_memory_bytes", &[], pages * page);
    }
    if let Ok(stat) = std::fs::read_to_string("/proc/self/stat")
        && let Some((_, rest)) = stat.rsplit_once(')')
    {
        let ticks: u64 = rest.split(' ').skip(12).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
        out.sample("counter", "process_cpu_seconds_total", &[], ticks as f64 / 100.0);
    }
    if let Ok(fds) = std::fs::read_dir("/proc/self/fd") {
        out.gauge("process_open_fds", &[], fds.count());
    }
}
