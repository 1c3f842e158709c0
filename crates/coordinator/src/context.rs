//! What comes with a request besides its body, and the tokens replies are matched by.

use std::fmt;
use std::sync::Arc;

use ottla_protocol::types::{Str, Uuid};

use crate::topics::TopicsView;

/// The caller's name for a pending reply. The shard never interprets it; each token is answered once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyToken(pub u64);

/// Whether a topic, by name, may be described by the principal of a request.
pub type TopicFilter = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Facts of the connection and header a request came with.
#[derive(Clone)]
pub struct RequestContext {
    /// The header's client id, empty when it was null.
    pub client_id: Str,
    /// As Java prints an `InetAddress`: `/127.0.0.1`.
    pub client_host: Str,
    /// The version of the request.
    pub api_version: i16,
    /// Restricts what a regular expression subscription resolves to; `None` allows every topic.
    pub topic_filter: Option<TopicFilter>,
}

impl fmt::Debug for RequestContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestContext")
            .field("client_id", &self.client_id)
            .field("client_host", &self.client_host)
            .field("api_version", &self.api_version)
            .field("filtered", &self.topic_filter.is_some())
            .finish()
    }
}

/// The world as the shard sees it during one call.
pub struct Env<'a> {
    /// Wall clock, milliseconds since the epoch.
    pub now_ms: i64,
    /// The newest committed topic metadata.
    pub topics: &'a dyn TopicsView,
    /// Gives a fresh random id (version 4 UUID bits) per call; used for member ids.
    pub new_uuid: &'a mut dyn FnMut() -> Uuid,
}

/// A producer id with the epoch it is used at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdAndEpoch {
    pub producer_id: i64,
    pub producer_epoch: i16,
}
