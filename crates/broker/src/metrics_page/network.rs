//! Listeners, requests, and the threads that serve them.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ottla_net::NetMetrics;

use crate::metrics::{ApiMetrics, Exposition, Histogram, Metrics};

type Listeners = Vec<(Arc<str>, Arc<NetMetrics>)>;

pub fn listeners(out: &mut Exposition, metrics: &Metrics) {
    let all = metrics.listeners.all();
    for (name, net) in &all {
        let connections = net.connections.load(Ordering::Relaxed);
        // One task serves a connection, on whichever thread is free: there is one "processor" for all.
        let labels: [(&str, &dyn Display); 2] = [("listener", name), ("networkProcessor", &0)];
        out.gauge("kafka_server_socket_server_metrics_connection_count", &labels, connections);
    }
    let mut counter = |name: &str, of: fn(&NetMetrics) -> &AtomicU64| each(out, &all, name, of);
    counter("kafka_server_socket_server_metrics_connection_creation_total", |n| {
        &n.connections_accepted_total
    });
    counter("kafka_server_socket_server_metrics_incoming_byte_total", |n| &n.bytes_in_total);
    counter("kafka_server_socket_server_metrics_outgoing_byte_total", |n| &n.bytes_out_total);
    counter("kafka_server_socket_server_metrics_request_total", |n| &n.frames_in_total);
    counter("ottla_net_connections_refused_total", |n| &n.connections_refused_total);
    counter("ottla_net_connections_closed_idle_total", |n| &n.connections_closed_idle_total);
    counter("ottla_net_bad_frames_total", |n| &n.bad_frames_total);
    out.counter("ottla_net_malformed_requests_total", &[], metrics.malformed_requests.get());
}

fn each(out: &mut Exposition, all: &Listeners, name: &str, of: fn(&NetMetrics) -> &AtomicU64) {
    for (listener, net) in all {
        out.counter(name, &[("listener", listener)], of(net).load(Ordering::Relaxed));
    }
}

pub fn requests(out: &mut Exposition, metrics: &Metrics) {
    let requests = &metrics.requests;
    for (api, m) in requests.used() {
        out.counter("kafka_network_requestmetrics_requests_total", &[("request", &api)], m.requests.get());
    }
    for (api, m) in requests.used() {
        for (code, n) in m.errors() {
            let labels: [(&str, &dyn Display); 2] = [("request", &api), ("error", &code)];
            out.counter("kafka_network_requestmetrics_errors_total", &labels, n);
        }
    }
    for (api, m) in requests.used() {
        let bytes = m.request_bytes.get();
        out.counter("kafka_network_requestmetrics_requestbytes", &[("request", &api)], bytes);
    }
    let times: [(&str, fn(&ApiMetrics) -> &Histogram); 2] = [
        ("kafka_network_requestmetrics_totaltimems", |m| &m.total_time_us),
        ("kafka_network_requestmetrics_localtimems", |m| &m.local_time_us),
    ];
    for (name, of) in times {
        for (api, m) in requests.used() {
            histogram(out, name, &[("request", &api)], of(m));
        }
    }
}

fn histogram(out: &mut Exposition, name: &str, labels: &[(&str, &dyn Display)], h: &Histogram) {
    const SHARES: [f64; 6] = [0.5, 0.75, 0.95, 0.98, 0.99, 0.999];
    const NAMES: [&str; 6] = ["0.50", "0.75", "0.95", "0.98", "0.99", "0.999"];
    let values = h.quantiles(SHARES).map(|us| us as f64 / 1000.0);
    let quantiles: Vec<(&str, f64)> = NAMES.into_iter().zip(values).collect();
    out.summary(name, labels, &quantiles, h.sum() as f64 / 1000.0, h.count());
}

/// Threads of the runtime: they are what Kafka's network processors and request handlers are.
pub fn threads(out: &mut Exposition, metrics: &Metrics) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    let runtime = runtime.metrics();
    let workers = runtime.num_workers();
    let busy: Duration = (0..workers).map(|w| runtime.worker_total_busy_duration(w)).sum();
    let idle = IdleShare::between_scrapes(busy, workers);
    out.gauge("ottla_runtime_workers", &[], workers);
    out.gauge("ottla_runtime_tasks", &[], runtime.num_alive_tasks());
    out.sample("counter", "ottla_runtime_busy_seconds_total", &[], busy.as_secs_f64());
    out.gauge("kafka_network_requestchannel_requestqueuesize", &[], runtime.global_queue_depth());
    out.gauge("kafka_network_socketserver_networkprocessoravgidlepercent", &[], idle);
    out.gauge("kafka_server_kafkarequesthandlerpool_requesthandleravgidlepercent", &[], idle);
    for (operation, waiting) in [("Fetch", metrics.waiting_fetches.load(Ordering::Relaxed)), ("Produce", 0)] {
        let labels: [(&str, &dyn Display); 1] = [("delayedOperation", &operation)];
        out.gauge("kafka_server_delayedoperationpurgatory_purgatorysize", &labels, waiting);
    }
}

/// How much of the time since the last look the workers had nothing to do.
struct IdleShare {
    at: Instant,
    busy: Duration,
    share: f64,
}

/// Looks that follow each other faster share one answer.
const SHORTEST_WINDOW: Duration = Duration::from_secs(1);

impl IdleShare {
    fn between_scrapes(busy: Duration, workers: usize) -> f64 {
        static LAST: Mutex<Option<IdleShare>> = Mutex::new(None);
        let now = Instant::now();
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = &*last
            && now.saturating_duration_since(last.at) < SHORTEST_WINDOW
        {
            return last.share;
        }
        let share = last.as_ref().map_or(1.0, |last| {
            let time = now.saturating_duration_since(last.at).as_secs_f64() * workers.max(1) as f64;
            (1.0 - busy.saturating_sub(last.busy).as_secs_f64() / time).clamp(0.0, 1.0)
        });
        *last = Some(IdleShare { at: now, busy, share });
        share
    }
}
