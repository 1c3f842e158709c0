//! Client telemetry (KIP-714): which metrics clients are asked to push, and what they pushed last.

mod otlp;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use ottla_metadata::image::{ConfigsImage, ResourceKind};
use ottla_protocol::ErrorCode;
use ottla_protocol::records::crc32c;
use ottla_protocol::types::{Str, Uuid};

pub use otlp::{DataPoint, decode_metrics};

/// Clients whose pushes are remembered; the one that was silent longest goes first.
const MAX_CLIENTS: usize = 1_000;
/// Data points kept of each client.
const MAX_POINTS: usize = 500;
/// Push interval when no subscription says otherwise. Source: Kafka `ClientMetricsConfigs.INTERVAL_MS_DEFAULT`.
const DEFAULT_INTERVAL_MS: i32 = 300_000;

/// What identifies a client to the match rules of a subscription.
#[derive(Debug, Clone, Default)]
pub struct ClientIdentity {
    pub client_id: Str,
    pub software_name: Str,
    pub software_version: Str,
    pub source_address: String,
    pub source_port: u16,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Subscription {
    pub id: i32,
    pub interval_ms: i32,
    pub metrics: Vec<Str>,
}

struct Client {
    identity: ClientIdentity,
    subscription: Subscription,
    last_get_ms: i64,
    last_push_ms: i64,
    terminating: bool,
    points: Vec<DataPoint>,
}

#[derive(Default)]
pub struct Telemetry {
    clients: Mutex<HashMap<Uuid, Client>>,
}

impl Telemetry {
    /// What a client should push, from the client-metrics resources that match it.
    pub fn subscription(&self, configs: &ConfigsImage, instance: Uuid, who: &ClientIdentity) -> Subscription {
        let mut interval_ms = i32::MAX;
        let mut metrics: Vec<Str> = Vec::new();
        let mut matched = false;
        for (resource, values) in configs.iter().filter(|(r, _)| r.kind == ResourceKind::CLIENT_METRICS) {
            let _ = &resource.name;
            if !matches(values.get("match").map(|v| &**v).unwrap_or_default(), instance, who) {
                continue;
            }
            matched = true;
            interval_ms = interval_ms
                .min(values.get("interval.ms").and_then(|v| v.parse().ok()).unwrap_or(DEFAULT_INTERVAL_MS));
            for name in values.get("metrics").map(|v| &**v).unwrap_or_default().split(',') {
                let name = name.trim();
                // An asterisk asks for everything, which the protocol writes as an empty prefix.
                let name = if name == "*" { "" } else { name };
                if name.is_empty() && values.get("metrics").is_none_or(|v| !v.contains('*')) {
                    continue;
                }
                metrics.push(name.into());
            }
        }
        if metrics.iter().any(|m| m.is_empty()) {
            metrics = vec![Str::EMPTY];
        }
        metrics.sort();
        metrics.dedup();
        let interval_ms = if matched { interval_ms } else { DEFAULT_INTERVAL_MS };
        let text: Vec<&str> = metrics.iter().map(|m| &**m).collect();
        let id =
            crc32c(format!("{}{interval_ms}", text.join(",")).as_bytes()) as i32 ^ crc32c(&instance.0) as i32;
        Subscription { id, interval_ms, metrics }
    }

    /// Remembers that a client asked for its subscription.
    ///
    /// # Errors
    /// THROTTLING_QUOTA_EXCEEDED when it asks again before its push interval is over.
    pub fn on_get(
        &self,
        instance: Uuid,
        identity: ClientIdentity,
        subscription: Subscription,
        now_ms: i64,
    ) -> Result<(), ErrorCode> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = clients.get_mut(&instance) {
            let early = now_ms - known.last_get_ms < i64::from(known.subscription.interval_ms);
            let changed = known.subscription != subscription;
            let pushed = known.last_push_ms >= known.last_get_ms;
            if early && !changed && !pushed {
                return Err(ErrorCode::ThrottlingQuotaExceeded);
            }
            known.subscription = subscription;
            known.last_get_ms = now_ms;
            return Ok(());
        }
        if clients.len() >= MAX_CLIENTS
            && let Some(oldest) = clients
                .iter()
                .min_by_key(|(id, c)| (c.last_get_ms.max(c.last_push_ms), **id))
                .map(|(id, _)| *id)
        {
            clients.remove(&oldest);
        }
        let client = Client {
            identity,
            subscription,
            last_get_ms: now_ms,
            last_push_ms: -1,
            terminating: false,
            points: Vec::new(),
        };
        clients.insert(instance, client);
        Ok(())
    }

    /// Checks a push before its payload is looked at.
    pub fn check_push(
        &self,
        instance: Uuid,
        subscription_id: i32,
        terminating: bool,
        now_ms: i64,
    ) -> Result<(), ErrorCode> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(client) = clients.get_mut(&instance) else { return Err(ErrorCode::UnknownSubscriptionId) };
        if client.terminating {
            return Err(ErrorCode::InvalidRequest);
        }
        if client.subscription.id != subscription_id {
            return Err(ErrorCode::UnknownSubscriptionId);
        }
        let since = now_ms - client.last_push_ms;
        // A client may end at any time, and half an interval of jitter is what clients are told to use.
        if !terminating && client.last_push_ms >= 0 && since < i64::from(client.subscription.interval_ms) / 2
        {
            return Err(ErrorCode::ThrottlingQuotaExceeded);
        }
        client.last_push_ms = now_ms;
        client.terminating = terminating;
        Ok(())
    }

    pub fn store(&self, instance: Uuid, mut points: Vec<DataPoint>) {
        points.truncate(MAX_POINTS);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get_mut(&instance) {
            client.points = points;
        }
    }

    /// The last values by metric: client id and instance with each.
    pub fn values(&self) -> BTreeMap<String, Vec<(Str, Uuid, f64)>> {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out: BTreeMap<String, Vec<(Str, Uuid, f64)>> = BTreeMap::new();
        for (instance, client) in &*clients {
            for point in &client.points {
                let value = (client.identity.client_id.clone(), *instance, point.value);
                out.entry(point.name.clone()).or_default().push(value);
            }
        }
        for values in out.values_mut() {
            values.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        }
        out
    }
}

/// Whether a client fits all `key=regex` pairs of a subscription's `match`.
fn matches(rules: &str, instance: Uuid, who: &ClientIdentity) -> bool {
    rules.split(',').map(str::trim).filter(|r| !r.is_empty()).all(|rule| {
        let Some((key, pattern)) = rule.split_once('=') else { return false };
        let value = match key.trim() {
            "client_instance_id" => instance.to_string(),
            "client_id" => who.client_id.to_string(),
            "client_software_name" => who.software_name.to_string(),
            "client_software_version" => who.software_version.to_string(),
            "client_source_address" => who.source_address.clone(),
            "client_source_port" => who.source_port.to_string(),
            _ => return false,
        };
        regex::Regex::new(&format!("^(?:{})$", pattern.trim())).is_ok_and(|r| r.is_match(&value))
    })
}
