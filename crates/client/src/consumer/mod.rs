//! The consumer: reads assigned or subscribed partitions, from one task that owns it.
//!
//! Fetches run in the background, one at a time per broker. `poll` hands records out, deals with rebalances and
//! commits. Source: Kafka `ClassicKafkaConsumer`, KIP-848.

mod config;
mod fetch;
mod group;
mod offsets;
mod partitions;
mod record;
mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::FetchResponse;
use regex::Regex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::admin::OffsetSpec;
use crate::{Client, ClientConfig, ClientError, TopicPartition};
pub use config::ConsumerConfig;
use fetch::{Answered, Wanted};
pub use group::Member;
use group::{Event, Membership};
pub use offsets::CommittedOffset;
use partitions::Partitions;
pub use record::ConsumerRecord;

/// Where to read when a partition has no committed offset, or one that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetReset {
    Earliest,
    Latest,
    /// An error.
    None,
}

#[derive(Debug)]
enum Subscription {
    None,
    Assigned,
    Topics,
    Pattern(Regex),
}

/// A consumer. Belongs to one task; dropping it without [`Consumer::close`] leaves its group by session timeout.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    config: ConsumerConfig,
    subscription: Subscription,
    partitions: Partitions,
    membership: Option<Membership>,
    fetches: JoinSet<Answered>,
    busy: BTreeSet<i32>,
    last_commit: Instant,
    last_metadata: Instant,
    backoff_until: Option<Instant>,
}

impl Consumer {
    pub fn new(config: &ClientConfig) -> Result<Consumer, ClientError> {
        let client = Client::new(config)?;
        Ok(Consumer {
            client,
            config: ConsumerConfig::new(config)?,
            subscription: Subscription::None,
            partitions: Partitions::default(),
            membership: None,
            fetches: JoinSet::new(),
            busy: BTreeSet::new(),
            last_commit: Instant::now(),
            last_metadata: Instant::now(),
            backoff_until: None,
        })
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn config(&self) -> &ConsumerConfig {
        &self.config
    }

    /// Who this consumer is in its group, once it has joined.
    pub fn member(&self) -> Option<Member> {
        self.membership.as_ref()?.member()
    }

    fn group(&self) -> Result<String, ClientError> {
        match &self.config.group_id {
            Some(group) if !group.is_empty() => Ok(group.clone()),
            _ => Err(ClientError::Api {
                code: ErrorCode::InvalidGroupId,
                message: Some(
                    "To use the group management or offset commit APIs, you must provide a valid group.id in the \
                     consumer configuration."
                        .to_owned(),
                ),
            }),
        }
    }

    /// Reads these partitions, and no others. No group is joined; offsets can be committed for one all the same.
    pub fn assign(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        self.membership = None;
        self.subscription = Subscription::Assigned;
        self.partitions.assign(partitions.into_iter().collect());
    }

    /// Joins the group for these topics.
    pub async fn subscribe(&mut self, topics: &[&str]) -> Result<(), ClientError> {
        self.subscription = Subscription::Topics;
        if self.config.auto_create_topics {
            self.client.refresh_creating(topics).await?;
        }
        self.join(topics.iter().map(|t| (*t).to_owned()).collect())
    }

    /// Joins the group for all topics whose whole name matches, also those that are created later.
    pub async fn subscribe_pattern(&mut self, pattern: &str) -> Result<(), ClientError> {
        let regex =
            Regex::new(&format!("^(?:{pattern})$")).map_err(|e| ClientError::Config(e.to_string()))?;
        let topics = self.matching(&regex).await?;
        self.subscription = Subscription::Pattern(regex);
        self.join(topics)
    }

    async fn matching(&mut self, regex: &Regex) -> Result<Vec<String>, ClientError> {
        let view = self.client.refresh(None).await?;
        self.last_metadata = Instant::now();
        let topics = view.topics.values();
        let topics =
            topics.filter(|t| regex.is_match(&t.name) && !(t.internal && self.config.exclude_internal));
        Ok(topics.map(|t| t.name.clone()).collect())
    }

    fn join(&mut self, topics: Vec<String>) -> Result<(), ClientError> {
        let group = self.group()?;
        match &self.membership {
            Some(membership) => membership.subscribe(topics),
            None => {
                let (client, config) = (self.client.clone(), self.config.clone());
                self.membership = Some(Membership::start(client, config, group, topics));
            }
        }
        Ok(())
    }

    /// The partitions that are read at this moment.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.partitions.all()
    }

    /// Reads on from this offset.
    pub fn seek(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), ClientError> {
        if self.partitions.seek(partition, Some(offset), None) {
            return Ok(());
        }
        Err(ClientError::InvalidState(format!("No current assignment for partition {partition}")))
    }

    /// Reads on from the offset that the broker names, when it is needed.
    pub fn seek_to(&mut self, partition: &TopicPartition, spec: OffsetSpec) -> Result<(), ClientError> {
        if self.partitions.seek(partition, None, Some(spec)) {
            return Ok(());
        }
        Err(ClientError::InvalidState(format!("No current assignment for partition {partition}")))
    }

    /// Stops, or goes on, handing out records of a partition.
    pub fn pause(&mut self, partition: &TopicPartition, paused: bool) {
        self.partitions.pause(partition, paused);
    }

    /// The offset of the next record to hand out, when it is known.
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.partitions.position(partition)
    }

    /// Offsets by time or end, each with its own error.
    pub async fn list_offsets(
        &self,
        specs: &[(TopicPartition, OffsetSpec)],
    ) -> Result<BTreeMap<TopicPartition, i64>, ClientError> {
        let answers = self.client.list_offsets(specs, self.config.read_committed).await?;
        answers.into_iter().map(|(p, answer)| Ok((p, answer?.offset))).collect()
    }

    /// What the group has committed.
    pub async fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, CommittedOffset>, ClientError> {
        offsets::fetch(&self.client, &self.group()?, partitions, true).await
    }

    /// Commits the positions of all partitions.
    pub async fn commit(&mut self) -> Result<(), ClientError> {
        let positions = self.partitions.positions();
        self.commit_offsets(&positions).await
    }

    /// Commits offsets: those of the next records to read.
    pub async fn commit_offsets(
        &mut self,
        offsets: &BTreeMap<TopicPartition, i64>,
    ) -> Result<(), ClientError> {
        let group = self.group()?;
        let member = self.membership.as_ref().and_then(Membership::member);
        if self.membership.is_some() && member.is_none() {
            return Err(ClientError::Api { code: ErrorCode::UnknownMemberId, message: None });
        }
        self.last_commit = Instant::now();
        offsets::commit(&self.client, &group, member.as_ref(), offsets).await
    }

    async fn auto_commit(&mut self) {
        if self.config.auto_commit
            && let Err(error) = self.commit().await
        {
            tracing::warn!("offset commit failed: {error}");
        }
    }

    /// Up to `max.poll.records` records, as soon as there are any; none when `timeout` is over.
    ///
    /// # Errors
    /// What ends reading until the caller does something: no offset to read from, damaged records, a group that
    /// refuses this member, missing rights.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<ConsumerRecord>, ClientError> {
        let deadline = Instant::now().checked_add(timeout);
        if matches!(self.subscription, Subscription::None) {
            return Err(ClientError::InvalidState(
                "Consumer is not subscribed to any topics or assigned any partitions".to_owned(),
            ));
        }
        loop {
            if let Some(membership) = &mut self.membership {
                membership.polled();
                while let Ok(event) = membership.events.try_recv() {
                    Box::pin(Self::on_event(
                        &mut self.partitions,
                        &self.config,
                        &self.client,
                        membership,
                        event,
                    ))
                    .await?;
                }
            }
            if self.config.auto_commit && self.last_commit.elapsed() >= self.config.auto_commit_interval {
                self.auto_commit().await;
                self.last_commit = Instant::now();
            }
            self.refresh_pattern().await?;
            self.find_positions().await?;
            self.start_fetches().await;
            let records = self.partitions.take(self.config.max_poll_records)?;
            if !records.is_empty() || deadline.is_some_and(|d| Instant::now() >= d) {
                return Ok(records);
            }
            self.wait(deadline).await?;
        }
    }

    /// Waits for a fetch, the group, a pause between attempts, or the deadline.
    async fn wait(&mut self, deadline: Option<Instant>) -> Result<(), ClientError> {
        const LONG: Duration = Duration::from_secs(1);
        let mut until = Instant::now() + LONG;
        for at in [deadline, self.backoff_until].into_iter().flatten() {
            until = until.min(at);
        }
        let event = async {
            match &mut self.membership {
                Some(membership) => match membership.events.recv().await {
                    Some(event) => (membership, event),
                    None => std::future::pending().await,
                },
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(answered) = self.fetches.join_next(), if !self.fetches.is_empty() => {
                if let Ok(answered) = answered {
                    self.on_fetched(answered).await?;
                }
            }
            (membership, event) = event => {
                Self::on_event(&mut self.partitions, &self.config, &self.client, membership, event).await?;
            }
            () = tokio::time::sleep_until(until) => {
                if self.backoff_until.is_some_and(|at| at <= Instant::now()) {
                    self.backoff_until = None;
                }
            }
        }
        Ok(())
    }

    async fn on_event(
        partitions: &mut Partitions,
        config: &ConsumerConfig,
        client: &Client,
        membership: &Membership,
        event: Event,
    ) -> Result<(), ClientError> {
        match event {
            Event::Assigned(assigned) => partitions.assign(assigned.into_iter().collect()),
            Event::Revoking { keep, done } => {
                if config.auto_commit
                    && let (Some(group), Some(member)) = (&config.group_id, membership.member())
                    && let Err(error) =
                        offsets::commit(client, group, Some(&member), &partitions.positions()).await
                {
                    tracing::warn!("offset commit before a rebalance failed: {error}");
                }
                partitions.assign(keep.into_iter().collect());
                let _ = done.send(());
            }
            Event::Lost => partitions.assign(BTreeSet::new()),
            Event::Failed(error) => return Err(error),
        }
        Ok(())
    }

    async fn refresh_pattern(&mut self) -> Result<(), ClientError> {
        let Subscription::Pattern(regex) = &self.subscription else { return Ok(()) };
        if self.last_metadata.elapsed() < self.config.metadata_max_age {
            return Ok(());
        }
        let regex = regex.clone();
        let topics = self.matching(&regex).await?;
        if let Some(membership) = &self.membership {
            membership.subscribe(topics);
        }
        Ok(())
    }

    /// Finds where to read partitions that have no position: committed offsets first, then the reset policy.
    async fn find_positions(&mut self) -> Result<(), ClientError> {
        let unknown = self.partitions.without_position();
        if unknown.is_empty() || self.backoff_until.is_some() {
            return Ok(());
        }
        let mut committed = BTreeMap::new();
        let plain: Vec<TopicPartition> =
            unknown.iter().filter(|(_, r)| r.is_none()).map(|(p, _)| p.clone()).collect();
        if !plain.is_empty() && self.config.group_id.as_deref().is_some_and(|g| !g.is_empty()) {
            committed = match self.committed(&plain).await {
                Ok(committed) => committed,
                Err(error) if error.is_retriable() => {
                    self.back_off();
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
        }
        let mut specs = Vec::new();
        for (partition, reset) in unknown {
            if let Some(committed) = committed.get(&partition) {
                self.partitions.found(&partition, committed.offset);
                continue;
            }
            let spec = match (reset, self.config.reset) {
                (Some(spec), _) => spec,
                (None, OffsetReset::Earliest) => OffsetSpec::Earliest,
                (None, OffsetReset::Latest) => OffsetSpec::Latest,
                (None, OffsetReset::None) => return Err(ClientError::NoOffset(partition)),
            };
            specs.push((partition, spec));
        }
        if specs.is_empty() {
            return Ok(());
        }
        for (partition, answer) in self.client.list_offsets(&specs, self.config.read_committed).await? {
            match answer {
                Ok(found) => self.partitions.found(&partition, found.offset),
                Err(error) if error.is_retriable() => self.back_off(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn back_off(&mut self) {
        self.backoff_until = Some(Instant::now() + self.client.backoff().delay(1));
    }

    async fn start_fetches(&mut self) {
        if self.backoff_until.is_some() {
            return;
        }
        let view = self.client.view();
        let mut by_leader: BTreeMap<i32, Vec<Wanted>> = BTreeMap::new();
        let mut unknown = BTreeSet::new();
        for wanted in self.partitions.to_fetch() {
            let partition = &wanted.partition;
            match view.leader(&partition.topic, partition.partition) {
                Some(leader) if self.busy.contains(&leader) => {}
                Some(leader) => {
                    let topic = view.topics.get(&partition.topic);
                    let leader_epoch = topic
                        .and_then(|t| t.partitions.get(&partition.partition))
                        .map_or(-1, |p| p.leader_epoch);
                    by_leader.entry(leader).or_default().push(Wanted { leader_epoch, ..wanted });
                }
                None => {
                    unknown.insert(wanted.partition.topic);
                }
            }
        }
        if !unknown.is_empty() {
            let topics: Vec<&str> = unknown.iter().map(String::as_str).collect();
            match self.client.refresh(Some(&topics)).await {
                Ok(view) if topics.iter().all(|t| view.partition_count(t).is_some()) => {}
                _ => self.back_off(),
            }
        }
        for (leader, wanted) in by_leader {
            self.busy.insert(leader);
            self.fetches.spawn(fetch::fetch(self.client.clone(), self.config.clone(), leader, wanted));
        }
    }

    async fn on_fetched(&mut self, answered: Answered) -> Result<(), ClientError> {
        self.busy.remove(&answered.node);
        let response = match answered.result {
            Ok(response) if response.error_code == 0 => response,
            Ok(response) => {
                tracing::debug!("fetch from {} answered {}", answered.node, response.error_code);
                self.back_off();
                return Ok(());
            }
            Err(error) => {
                tracing::debug!("fetch from {} failed: {error}", answered.node);
                self.back_off();
                let topics: BTreeSet<&str> =
                    answered.wanted.iter().map(|w| w.partition.topic.as_str()).collect();
                let topics: Vec<&str> = topics.into_iter().collect();
                let _ = self.client.refresh(Some(&topics)).await;
                return Ok(());
            }
        };
        self.on_response(&answered.wanted, response).await
    }

    async fn on_response(&mut self, wanted: &[Wanted], response: FetchResponse) -> Result<(), ClientError> {
        let mut stale = BTreeSet::new();
        let mut failure = None;
        for topic in response.responses {
            let name: Arc<str> = Arc::from(topic.topic.as_str());
            for data in topic.partitions {
                let Some(wanted) = wanted
                    .iter()
                    .find(|w| w.partition.partition == data.partition_index && *w.partition.topic == *name)
                else {
                    continue;
                };
                if !self.partitions.is_current(wanted) {
                    continue;
                }
                let partition = &wanted.partition;
                match ErrorCode::from_code(data.error_code) {
                    ErrorCode::None => {
                        let Some(bytes) = data.records.filter(|b| !b.is_empty()) else { continue };
                        let aborted =
                            self.config.read_committed.then(|| data.aborted_transactions.unwrap_or_default());
                        match records::read(
                            partition,
                            &name,
                            wanted.offset,
                            &bytes,
                            aborted,
                            self.config.check_crcs,
                        ) {
                            Ok(fetched) => self.partitions.arrived(partition, fetched),
                            Err(source) => {
                                let partition = partition.clone();
                                failure = Some(ClientError::CorruptRecords { partition, source });
                            }
                        }
                    }
                    ErrorCode::OffsetOutOfRange => match self.config.reset {
                        OffsetReset::Earliest => {
                            self.partitions.seek(partition, None, Some(OffsetSpec::Earliest));
                        }
                        OffsetReset::Latest => {
                            self.partitions.seek(partition, None, Some(OffsetSpec::Latest));
                        }
                        OffsetReset::None => {
                            failure = Some(ClientError::Api {
                                code: ErrorCode::OffsetOutOfRange,
                                message: Some(format!(
                                    "Fetch position {} is out of range for partition {partition}",
                                    wanted.offset
                                )),
                            });
                        }
                    },
                    code if code.is_retriable() => {
                        stale.insert(partition.topic.clone());
                    }
                    code => failure = Some(ClientError::Api { code, message: None }),
                }
            }
        }
        if !stale.is_empty() {
            self.back_off();
            let topics: Vec<&str> = stale.iter().map(String::as_str).collect();
            let _ = self.client.refresh(Some(&topics)).await;
        }
        failure.map_or(Ok(()), Err)
    }

    /// Commits when `enable.auto.commit` says so, and leaves the group.
    pub async fn close(mut self) -> Result<(), ClientError> {
        self.fetches.abort_all();
        let result = match self.config.auto_commit && (self.membership.is_none() || self.member().is_some()) {
            true => self.commit().await,
            false => Ok(()),
        };
        if let Some(membership) = self.membership.take() {
            membership.leave().await;
        }
        result
    }
}
