//! `kafka.network:type=RequestMetrics`: rates, errors and times by API.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use ottla_protocol::{APIS, ApiKey, ErrorCode};

use super::{Counter, Histogram};

#[derive(Debug, Default)]
pub struct ApiMetrics {
    pub requests: Counter,
    pub request_bytes: Counter,
    /// From the end of reading the request to its response being ready.
    pub total_time_us: Histogram,
    /// The part of it that the request's own connection spent in the handler, before any waiting.
    pub local_time_us: Histogram,
    errors: Mutex<BTreeMap<ErrorCode, u64>>,
}

impl ApiMetrics {
    pub fn error(&self, code: ErrorCode) {
        if !code.is_ok() {
            *self.errors.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
        }
    }

    pub fn errors(&self) -> BTreeMap<ErrorCode, u64> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One slot per API, filled when the API is first used.
#[derive(Debug)]
pub struct RequestMetrics {
    slots: Box<[OnceLock<ApiMetrics>]>,
}

impl Default for RequestMetrics {
    fn default() -> Self {
        let last = APIS.last().map_or(0, |a| a.key.code() as usize);
        RequestMetrics { slots: (0..=last).map(|_| OnceLock::new()).collect() }
    }
}

impl RequestMetrics {
    pub fn of(&self, api: ApiKey) -> &ApiMetrics {
        self.slots[api.code() as usize].get_or_init(ApiMetrics::default)
    }

    /// The APIs that have been used.
    pub fn used(&self) -> impl Iterator<Item = (ApiKey, &ApiMetrics)> {
        APIS.iter().filter_map(|a| Some((a.key, self.slots[a.key.code() as usize].get()?)))
    }
}
