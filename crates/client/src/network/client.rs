//! The client's core: a pool of connections, the picture of the cluster, and calls that find their node.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::metadata_request::MetadataRequestTopic;
use ottla_protocol::messages::{
    ApiVersionsResponse, DescribeClusterRequest, FindCoordinatorRequest, FindCoordinatorResponse,
    MetadataRequest, MetadataResponse,
};
use ottla_protocol::types::Str;
use tokio::time::Instant;

use super::{Backoff, BrokerNode, ClusterView, Connection, Request};
use crate::{ClientConfig, ClientError};

/// Who has to answer a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Any broker.
    Any,
    /// The active controller, or with `bootstrap.servers` the broker that forwards to it.
    Controller,
    Node(i32),
    Leader {
        topic: String,
        partition: i32,
    },
    /// The coordinator of a group of any kind.
    Group(String),
    /// The coordinator of a transactional id.
    Transaction(String),
}

/// Connections to one node are apart by use, so that a waiting fetch does not hold back a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    Main,
    Coordinator,
}

type Slot = Arc<tokio::sync::Mutex<Option<Connection>>>;

/// A handle to the client; clones share everything.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bootstrap: Vec<String>,
    /// The bootstrap list is of controllers (`bootstrap.controllers`).
    controllers: bool,
    client_id: String,
    request_timeout: Duration,
    api_timeout: Duration,
    connect_timeout: Duration,
    backoff: Backoff,
    /// One slot per node and lane; bounded by the size of the cluster.
    pool: Mutex<BTreeMap<(i32, Lane), Slot>>,
    bootstrap_slots: Vec<Slot>,
    view: Mutex<Arc<ClusterView>>,
    coordinators: Mutex<BTreeMap<(i8, String), i32>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

impl Client {
    /// A client of the brokers in `bootstrap.servers` or the controllers in `bootstrap.controllers`.
    /// Connects when it first has to.
    ///
    /// # Errors
    /// When the configuration has no usable address or a value that cannot be read.
    pub fn new(config: &ClientConfig) -> Result<Client, ClientError> {
        config.warn_unknown();
        let controllers = config.contains("bootstrap.controllers");
        let key = if controllers { "bootstrap.controllers" } else { "bootstrap.servers" };
        let mut bootstrap = Vec::new();
        for address in config.text(key, "").split(',').map(str::trim).filter(|a| !a.is_empty()) {
            let address = address.rsplit_once("://").map_or(address, |(_, a)| a);
            let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none() {
                return Err(ClientError::Config(format!("Invalid url in {key}: {address}")));
            }
            bootstrap.push(address.to_owned());
        }
        if bootstrap.is_empty() {
            return Err(ClientError::Config(format!("No resolvable bootstrap urls given in {key}")));
        }
        let protocol = config.text("security.protocol", "PLAINTEXT");
        if !protocol.eq_ignore_ascii_case("PLAINTEXT") {
            return Err(ClientError::Config(format!(
                "security.protocol {protocol} is not supported by this client"
            )));
        }
        let request_timeout = config.millis("request.timeout.ms", 30_000)?;
        let slots = bootstrap.iter().map(|_| Slot::default()).collect();
        Ok(Client {
            inner: Arc::new(Inner {
                bootstrap,
                controllers,
                client_id: config.text("client.id", ""),
                request_timeout,
                api_timeout: config.millis("default.api.timeout.ms", 60_000)?,
                connect_timeout: config.millis("socket.connection.setup.timeout.ms", 10_000)?,
                backoff: Backoff::new(config)?,
                pool: Mutex::new(BTreeMap::new()),
                bootstrap_slots: slots,
                view: Mutex::new(Arc::new(ClusterView::default())),
                coordinators: Mutex::new(BTreeMap::new()),
            }),
        })
    }

    pub fn request_timeout(&self) -> Duration {
        self.inner.request_timeout
    }

    pub fn api_timeout(&self) -> Duration {
        self.inner.api_timeout
    }

    pub(crate) fn backoff(&self) -> Backoff {
        self.inner.backoff
    }

    /// Whether the bootstrap list names controllers.
    pub fn is_of_controllers(&self) -> bool {
        self.inner.controllers
    }

    /// What is known of the cluster at this moment.
    pub fn view(&self) -> Arc<ClusterView> {
        Arc::clone(&locked(&self.inner.view))
    }

    /// The cluster's nodes, asked for when none are known yet.
    pub async fn nodes(&self) -> Result<Vec<BrokerNode>, ClientError> {
        if self.view().brokers.is_empty() {
            self.refresh(Some(&[])).await?;
        }
        Ok(self.view().brokers.values().cloned().collect())
    }

    /// Sends a request and gives the response whatever it says, trying again when connections are lost.
    ///
    /// # Errors
    /// When there was no response before `default.api.timeout.ms`, or the node does not know the API.
    pub async fn call<R: Request>(&self, target: &Target, request: &R) -> Result<R::Response, ClientError> {
        self.call_checked(target, request, |_| ErrorCode::None).await
    }

    /// Sends a request and tries again while `error_of` finds a retriable error in the response. The last
    /// response is given when time is up.
    pub async fn call_checked<R: Request>(
        &self,
        target: &Target,
        request: &R,
        error_of: impl Fn(&R::Response) -> ErrorCode,
    ) -> Result<R::Response, ClientError> {
        self.call_capped(target, request, i16::MAX, self.inner.api_timeout, error_of).await
    }

    /// As [`Client::call_checked`], with a newest version and a time limit.
    pub async fn call_capped<R: Request>(
        &self,
        target: &Target,
        request: &R,
        max_version: i16,
        limit: Duration,
        error_of: impl Fn(&R::Response) -> ErrorCode,
    ) -> Result<R::Response, ClientError> {
        let deadline = Instant::now() + limit;
        let mut attempt = 0;
        loop {
            let result = async {
                let connection = self.route(target, deadline).await?;
                let timeout =
                    self.inner.request_timeout.min(deadline.saturating_duration_since(Instant::now()));
                connection.call(request, max_version, timeout).await
            }
            .await;
            attempt += 1;
            let delay = self.inner.backoff.delay(attempt);
            let out_of_time = Instant::now() + delay >= deadline;
            match result {
                Ok(response) => {
                    let error = error_of(&response);
                    if error.is_ok() || !error.is_retriable() || out_of_time {
                        return Ok(response);
                    }
                    tracing::debug!("{} answered {}, attempt {attempt}", R::API, error.name());
                    self.forget(target).await;
                }
                Err(error) if error.is_retriable() => {
                    tracing::debug!("{} failed: {error}, attempt {attempt}", R::API);
                    if out_of_time {
                        return Err(match error {
                            ClientError::Channel(_) => ClientError::Timeout(format!(
                                "Timed out waiting for a node assignment. Call: {}",
                                call_name(R::API.name())
                            )),
                            other => other,
                        });
                    }
                    self.forget(target).await;
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(delay).await;
        }
    }

    /// Sends one request to one node, once.
    pub async fn call_once<R: Request>(
        &self,
        node: i32,
        request: &R,
        max_version: i16,
        timeout: Duration,
    ) -> Result<R::Response, ClientError> {
        self.connection(node, Lane::Main).await?.call(request, max_version, timeout).await
    }

    /// Sends one request; the caller tries again.
    pub(crate) async fn call_once_or_reconnect<R: Request>(
        &self,
        target: &Target,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        let connection = self.route(target, Instant::now() + self.inner.request_timeout).await?;
        connection.call(request, i16::MAX, self.inner.request_timeout).await
    }

    /// What a node says of its API versions and features.
    pub async fn api_versions(&self, node: i32) -> Result<Arc<ApiVersionsResponse>, ClientError> {
        self.nodes().await?;
        Ok(self.connection(node, Lane::Main).await?.info)
    }

    /// What some node says of its API versions and features.
    pub async fn any_api_versions(&self) -> Result<Arc<ApiVersionsResponse>, ClientError> {
        let deadline = Instant::now() + self.inner.api_timeout;
        Ok(self.route(&Target::Any, deadline).await?.info)
    }

    /// Asks for metadata of some topics, or of all, and remembers it. Topics are not created by asking.
    pub async fn refresh(&self, topics: Option<&[&str]>) -> Result<Arc<ClusterView>, ClientError> {
        if self.inner.controllers {
            return self.refresh_controllers().await;
        }
        let response = self.metadata(topics, false).await?;
        Ok(self.remember(&response, topics.is_none()))
    }

    /// As [`Client::refresh`], asking the broker to create topics that do not exist.
    pub async fn refresh_creating(&self, topics: &[&str]) -> Result<Arc<ClusterView>, ClientError> {
        let response = self.metadata(Some(topics), true).await?;
        Ok(self.remember(&response, false))
    }

    fn remember(&self, response: &MetadataResponse, all: bool) -> Arc<ClusterView> {
        let mut view = locked(&self.inner.view);
        *view = Arc::new(view.merged(response, all));
        Arc::clone(&view)
    }

    /// A Metadata response as it is.
    pub async fn metadata(
        &self,
        topics: Option<&[&str]>,
        create: bool,
    ) -> Result<MetadataResponse, ClientError> {
        let request = MetadataRequest {
            topics: topics.map(|names| {
                names
                    .iter()
                    .map(|name| MetadataRequestTopic { name: Some(Str::from(*name)), ..Default::default() })
                    .collect()
            }),
            allow_auto_topic_creation: create,
            ..Default::default()
        };
        let response = Box::pin(self.call(&Target::Any, &request)).await?;
        ClientError::check(response.error_code, None)?;
        Ok(response)
    }

    async fn refresh_controllers(&self) -> Result<Arc<ClusterView>, ClientError> {
        let request = DescribeClusterRequest { endpoint_type: 2, ..Default::default() };
        let response = Box::pin(self.call(&Target::Any, &request)).await?;
        ClientError::check(response.error_code, response.error_message.as_deref())?;
        let mut new = ClusterView {
            cluster_id: Some(response.cluster_id.to_string()),
            controller_id: response.controller_id,
            ..Default::default()
        };
        for b in &response.brokers {
            let rack = b.rack.as_ref().map(|r| r.to_string());
            let node = BrokerNode { id: b.broker_id, host: b.host.to_string(), port: b.port, rack };
            new.brokers.insert(node.id, node);
        }
        let mut view = locked(&self.inner.view);
        *view = Arc::new(new);
        Ok(Arc::clone(&view))
    }

    /// The connection for a target; looks up what is not known.
    pub(crate) async fn route(&self, target: &Target, deadline: Instant) -> Result<Connection, ClientError> {
        match target {
            Target::Any => self.any(deadline).await,
            Target::Controller => {
                self.nodes().await?;
                let controller = self.view().controller_id;
                if controller < 0 {
                    self.refresh(Some(&[])).await?;
                    return Err(ClientError::Api { code: ErrorCode::NotController, message: None });
                }
                self.connection(controller, Lane::Main).await
            }
            Target::Node(id) => {
                self.nodes().await?;
                self.connection(*id, Lane::Main).await
            }
            Target::Leader { topic, partition } => {
                let leader = self.leader(topic, *partition).await?;
                self.connection(leader, Lane::Main).await
            }
            Target::Group(group) => {
                let node = self.coordinator(GROUP, group).await?;
                self.connection(node, Lane::Coordinator).await
            }
            Target::Transaction(id) => {
                let node = self.coordinator(TRANSACTION, id).await?;
                self.connection(node, Lane::Coordinator).await
            }
        }
    }

    /// The leader of a partition, from memory or from the cluster.
    pub async fn leader(&self, topic: &str, partition: i32) -> Result<i32, ClientError> {
        if let Some(leader) = self.view().leader(topic, partition) {
            return Ok(leader);
        }
        let view = self.refresh(Some(&[topic])).await?;
        if let Some(leader) = view.leader(topic, partition) {
            return Ok(leader);
        }
        let code = match view.topics.get(topic) {
            Some(t) if t.error_code != 0 => ErrorCode::from_code(t.error_code),
            Some(t) if t.partitions.contains_key(&partition) => ErrorCode::LeaderNotAvailable,
            _ => ErrorCode::UnknownTopicOrPartition,
        };
        Err(ClientError::Api { code, message: None })
    }

    /// The node that coordinates a group (any kind).
    pub async fn group_coordinator(&self, group: &str) -> Result<i32, ClientError> {
        self.coordinator(GROUP, group).await
    }

    /// The node that coordinates a transactional id.
    pub async fn transaction_coordinator(&self, id: &str) -> Result<i32, ClientError> {
        self.coordinator(TRANSACTION, id).await
    }

    async fn coordinator(&self, kind: i8, key: &str) -> Result<i32, ClientError> {
        if let Some(node) = locked(&self.inner.coordinators).get(&(kind, key.to_owned())) {
            return Ok(*node);
        }
        let request = FindCoordinatorRequest {
            key: Str::from(key),
            key_type: kind,
            coordinator_keys: vec![Str::from(key)],
            ..Default::default()
        };
        let response = self.find_coordinator(&request).await?;
        let (code, message, node) = match response.coordinators.first() {
            Some(c) => (c.error_code, c.error_message.clone(), (c.node_id, &c.host, c.port)),
            None => {
                let node = (response.node_id, &response.host, response.port);
                (response.error_code, response.error_message.clone(), node)
            }
        };
        ClientError::check(code, message.as_deref())?;
        let (id, host, port) = node;
        {
            let mut view = locked(&self.inner.view);
            if !view.brokers.contains_key(&id) {
                let mut new = ClusterView::clone(&view);
                new.brokers.insert(id, BrokerNode { id, host: host.to_string(), port, rack: None });
                *view = Arc::new(new);
            }
        }
        locked(&self.inner.coordinators).insert((kind, key.to_owned()), id);
        Ok(id)
    }

    async fn find_coordinator(
        &self,
        request: &FindCoordinatorRequest,
    ) -> Result<FindCoordinatorResponse, ClientError> {
        let mut request = request.clone();
        let any = self.any(Instant::now() + self.inner.api_timeout).await?;
        // Version 4 has the keys as a list, older ones one key.
        if any.version::<FindCoordinatorRequest>(i16::MAX)? >= 4 {
            request.key = Str::EMPTY;
        } else {
            request.coordinator_keys = Vec::new();
        }
        any.call(&request, i16::MAX, self.inner.request_timeout).await
    }

    /// Forgets what a failed answer has shown to be stale.
    async fn forget(&self, target: &Target) {
        match target {
            Target::Any | Target::Node(_) => {}
            Target::Controller => {
                let _ = Box::pin(self.refresh_quickly(None)).await;
            }
            Target::Leader { topic, .. } => {
                let _ = Box::pin(self.refresh_quickly(Some(topic))).await;
            }
            Target::Group(key) => {
                locked(&self.inner.coordinators).remove(&(GROUP, key.clone()));
            }
            Target::Transaction(key) => {
                locked(&self.inner.coordinators).remove(&(TRANSACTION, key.clone()));
            }
        }
    }

    async fn refresh_quickly(&self, topic: Option<&str>) -> Result<(), ClientError> {
        let limit = self.inner.request_timeout.min(Duration::from_secs(5));
        let topics: Vec<&str> = topic.into_iter().collect();
        let _ = tokio::time::timeout(limit, self.refresh(Some(&topics))).await;
        Ok(())
    }

    /// Forgets the coordinator of a group, so that the next call looks it up.
    pub(crate) fn forget_group(&self, group: &str) {
        locked(&self.inner.coordinators).remove(&(GROUP, group.to_owned()));
    }

    /// A connection to any node that answers: known nodes first, then the bootstrap list.
    async fn any(&self, deadline: Instant) -> Result<Connection, ClientError> {
        let open = locked(&self.inner.pool).values().cloned().collect::<Vec<_>>();
        for slot in open.iter().chain(&self.inner.bootstrap_slots) {
            if let Ok(guard) = slot.try_lock()
                && let Some(connection) = guard.as_ref().filter(|c| !c.is_closed())
            {
                return Ok(connection.clone());
            }
        }
        let mut last = None;
        let view = self.view();
        for id in view.brokers.keys() {
            match self.connection(*id, Lane::Main).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = Some(error),
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        for (address, slot) in self.inner.bootstrap.iter().zip(&self.inner.bootstrap_slots) {
            match self.open(slot, address).await {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    tracing::warn!("bootstrap broker {address} disconnected: {error}");
                    last = Some(error);
                }
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        Err(last
            .unwrap_or_else(|| ClientError::Timeout("Timed out waiting for a node assignment.".to_owned())))
    }

    /// The connection to a known node, opened when it is not.
    pub(crate) async fn connection(&self, node: i32, lane: Lane) -> Result<Connection, ClientError> {
        let address = match self.view().brokers.get(&node) {
            Some(broker) => broker.address(),
            None => {
                return Err(ClientError::Api { code: ErrorCode::BrokerNotAvailable, message: None });
            }
        };
        let slot = Arc::clone(locked(&self.inner.pool).entry((node, lane)).or_default());
        self.open(&slot, &address).await
    }

    async fn open(&self, slot: &Slot, address: &str) -> Result<Connection, ClientError> {
        let mut guard = slot.lock().await;
        if let Some(connection) =
            guard.as_ref().filter(|c| !c.is_closed() && c.channel().address() == address)
        {
            return Ok(connection.clone());
        }
        let inner = &self.inner;
        let connection =
            Connection::open(address, &inner.client_id, inner.connect_timeout, inner.request_timeout).await?;
        *guard = Some(connection.clone());
        Ok(connection)
    }
}

/// An API's name as Kafka's admin client names the call.
fn call_name(api: &str) -> String {
    let mut chars = api.chars();
    chars.next().map(|c| c.to_ascii_lowercase()).into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests;
