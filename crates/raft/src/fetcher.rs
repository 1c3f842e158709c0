//! Followers and observers: fetching the log, and snapshots, from the leader.

use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic, ReplicaState};
use ottla_protocol::messages::fetch_response::FetchResponse;
use ottla_protocol::messages::fetch_snapshot_request::{
    FetchSnapshotRequest, PartitionSnapshot, SnapshotId as SnapshotIdData, TopicSnapshot,
};
use ottla_protocol::messages::fetch_snapshot_response::FetchSnapshotResponse;
use ottla_protocol::records::{Batch, BatchIter};
use ottla_protocol::types::{Str, Uuid};

use crate::core::{MAX_FETCH_WAIT_MS, METADATA_TOPIC, QuorumCore};
use crate::events::{Effect, PeerAddress, PeerRequest, PeerResponse, RequestId};
use crate::log::{LogView, OffsetAndEpoch, SnapshotId};

/// A snapshot that is being fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SnapshotFetch {
    id: SnapshotId,
    position: u64,
    /// All of it is there; the shell is installing it.
    complete: bool,
}

/// At most one request is under way at any time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fetcher {
    in_flight: Option<(RequestId, i64)>,
    sent_ms: i64,
    /// Not before this time.
    retry_at_ms: i64,
    /// Until when the leader must have answered.
    leader_deadline_ms: i64,
    snapshot: Option<SnapshotFetch>,
    next_bootstrap: usize,
    /// The shell is changing the log: the next fetch waits until it has said so.
    appending: bool,
}

impl Fetcher {
    pub(crate) fn next_deadline_ms(&self) -> i64 {
        match self.in_flight {
            Some((_, deadline)) => deadline,
            None => self.retry_at_ms,
        }
    }

    pub(crate) fn on_snapshot_installed(&mut self) {
        self.snapshot = None;
    }

    pub(crate) fn on_flushed(&mut self) {
        self.appending = false;
    }

    /// A new leader gets the full time to answer.
    pub(crate) fn on_new_leader(&mut self) {
        self.leader_deadline_ms = 0;
        self.retry_at_ms = 0;
    }
}

impl QuorumCore {
    /// Whom to ask: the leader, or one bootstrap server or voter after the other.
    fn fetch_target(&mut self) -> Option<PeerAddress> {
        if let Some(leader) = self.leader_address() {
            return Some(leader);
        }
        let own = self.config.node_id;
        let mut servers: Vec<PeerAddress> = self
            .config
            .bootstrap_servers
            .iter()
            .map(|(host, port)| PeerAddress { node_id: -1, host: host.clone(), port: *port })
            .collect();
        servers.extend(self.voters().voters.values().filter(|v| v.id != own).filter_map(|v| {
            let a = v.address(&self.config.listener)?;
            Some(PeerAddress { node_id: v.id, host: a.host.clone(), port: a.port })
        }));
        if servers.is_empty() {
            return None;
        }
        let at = self.fetcher.next_bootstrap % servers.len();
        self.fetcher.next_bootstrap = at + 1;
        Some(servers.swap_remove(at))
    }

    /// Sends the next fetch if none is under way.
    pub(crate) fn fetch_next(&mut self, log: &dyn LogView, now_ms: i64, out: &mut Vec<Effect>) {
        if let Some((_, deadline)) = self.fetcher.in_flight {
            if now_ms < deadline {
                return;
            }
            self.fetcher.in_flight = None;
        }
        if self.election.leader_id.is_some() && now_ms >= self.fetcher.leader_deadline_ms {
            if self.fetcher.leader_deadline_ms > 0 {
                // The leader is silent: ask around who leads now.
                self.leader_address = None;
                let epoch = self.election.epoch;
                self.follow(None, epoch, out);
            }
            self.fetcher.leader_deadline_ms = now_ms + self.config.fetch_timeout_ms;
        }
        let installing = self.fetcher.snapshot.is_some_and(|s| s.complete);
        if self.fetcher.appending || installing || now_ms < self.fetcher.retry_at_ms {
            return;
        }
        self.fetcher.retry_at_ms = now_ms + self.config.retry_backoff_ms;
        let Some(to) = self.fetch_target() else {
            return;
        };
        let request = match self.fetcher.snapshot {
            Some(s) => PeerRequest::FetchSnapshot(self.snapshot_request(&s)),
            None => PeerRequest::Fetch(self.fetch_request(log)),
        };
        let id = self.send(to, request, out);
        let timeout = self.config.fetch_timeout_ms.max(i64::from(MAX_FETCH_WAIT_MS));
        self.fetcher.in_flight = Some((id, now_ms + timeout));
        self.fetcher.sent_ms = now_ms;
    }

    fn fetch_request(&self, log: &dyn LogView) -> FetchRequest {
        let end = log.end();
        FetchRequest {
            cluster_id: Some(Str::from(self.config.cluster_id.as_str())),
            replica_id: self.config.node_id,
            replica_state: ReplicaState { replica_id: self.config.node_id, ..Default::default() },
            max_wait_ms: MAX_FETCH_WAIT_MS,
            min_bytes: 0,
            max_bytes: i32::try_from(self.config.fetch_max_bytes).unwrap_or(i32::MAX),
            topics: vec![FetchTopic {
                topic: Str::from_static(METADATA_TOPIC),
                topic_id: Uuid::ONE,
                partitions: vec![FetchPartition {
                    partition: 0,
                    current_leader_epoch: self.election.epoch,
                    fetch_offset: end.offset,
                    last_fetched_epoch: end.epoch,
                    log_start_offset: log.start_offset(),
                    replica_directory_id: self.config.directory_id,
                    high_watermark: self.high_watermark.unwrap_or(-1),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    fn snapshot_request(&self, s: &SnapshotFetch) -> FetchSnapshotRequest {
        FetchSnapshotRequest {
            cluster_id: Some(Str::from(self.config.cluster_id.as_str())),
            replica_id: self.config.node_id,
            max_bytes: i32::try_from(self.config.fetch_snapshot_max_bytes).unwrap_or(i32::MAX),
            topics: vec![TopicSnapshot {
                name: Str::from_static(METADATA_TOPIC),
                partitions: vec![PartitionSnapshot {
                    partition: 0,
                    current_leader_epoch: self.election.epoch,
                    snapshot_id: SnapshotIdData {
                        end_offset: s.id.offset,
                        epoch: s.id.epoch,
                        ..Default::default()
                    },
                    position: i64::try_from(s.position).unwrap_or(i64::MAX),
                    replica_directory_id: self.config.directory_id,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    pub(crate) fn on_failed(&mut self, id: RequestId, now_ms: i64) {
        if self.fetcher.in_flight.is_some_and(|(i, _)| i == id) {
            self.fetcher.in_flight = None;
            self.fetcher.retry_at_ms = now_ms + self.config.retry_backoff_ms;
            // The address may be wrong by now: the others know.
            if self.voters().voters.is_empty() {
                self.leader_address = None;
            }
        }
    }

    pub(crate) fn on_response(
        &mut self,
        id: RequestId,
        response: PeerResponse,
        log: &dyn LogView,
        now_ms: i64,
        out: &mut Vec<Effect>,
    ) {
        if self.fetcher.in_flight.is_none_or(|(i, _)| i != id) || self.is_leader() {
            return;
        }
        self.fetcher.in_flight = None;
        match response {
            PeerResponse::Fetch(r) => self.on_fetched(r, log, now_ms, out),
            PeerResponse::FetchSnapshot(r) => self.on_snapshot_fetched(r, now_ms, out),
            _ => {}
        }
    }

    fn remember_leader_address(&mut self, id: i32, host: &str, port: i32) {
        if let Ok(port) = u16::try_from(port) {
            self.leader_address = Some(PeerAddress { node_id: id, host: host.to_owned(), port });
        }
    }

    fn on_fetched(
        &mut self,
        mut response: FetchResponse,
        log: &dyn LogView,
        now_ms: i64,
        out: &mut Vec<Effect>,
    ) {
        if response.error_code != ErrorCode::None.code() {
            return;
        }
        let partition = response.responses.pop().and_then(|mut t| t.partitions.pop());
        let Some(p) = partition else {
            return;
        };
        let leader = Some(p.current_leader.leader_id).filter(|id| *id >= 0);
        if let Some(id) = leader
            && let Some(node) = response.node_endpoints.iter().find(|n| n.node_id == id)
        {
            self.remember_leader_address(id, &node.host, node.port);
        }
        if !self.learn_leader(leader, p.current_leader.leader_epoch, out) {
            return;
        }
        if p.error_code != ErrorCode::None.code() {
            return;
        }
        self.fetcher.leader_deadline_ms = now_ms + self.config.fetch_timeout_ms;
        self.fetcher.retry_at_ms = now_ms;
        if p.diverging_epoch.epoch >= 0 && p.diverging_epoch.end_offset >= 0 {
            let diverging = &p.diverging_epoch;
            let at = OffsetAndEpoch::new(diverging.end_offset, diverging.epoch);
            let offset = truncation_offset(log, at);
            // What is committed is never taken back.
            if self.high_watermark.is_none_or(|hw| offset >= hw) {
                self.history.truncate_to(offset);
                self.fetcher.appending = true;
                out.push(Effect::Truncate { offset });
            }
            // Should the two logs never agree, they shall not ask each other all the time.
            self.fetcher.retry_at_ms = now_ms + self.config.retry_backoff_ms;
            return;
        }
        if p.snapshot_id.epoch >= 0 && p.snapshot_id.end_offset >= 0 {
            self.fetcher.snapshot = Some(SnapshotFetch {
                id: SnapshotId::new(p.snapshot_id.end_offset, p.snapshot_id.epoch),
                position: 0,
                complete: false,
            });
            self.fetcher.retry_at_ms = now_ms + self.config.retry_backoff_ms;
            return;
        }
        let records = p.records.unwrap_or_default();
        let end = match self.check_fetched(&records, log) {
            Some(end) => end,
            None => return,
        };
        if end > log.end().offset {
            self.fetcher.appending = true;
            out.push(Effect::AppendFetched { batches: whole_batches(&records) });
        }
        let before = self.high_watermark;
        let committed = p.high_watermark.min(end);
        if committed >= 0 {
            self.raise_high_watermark(committed, out);
        }
        // A leader that answers at once though it has nothing new is asked a little later.
        let nothing_new = !self.fetcher.appending && self.high_watermark == before;
        if nothing_new && now_ms - self.fetcher.sent_ms < self.config.retry_backoff_ms {
            self.fetcher.retry_at_ms = now_ms + self.config.retry_backoff_ms;
        }
    }

    /// The end of the log with these batches, or none if they do not belong there.
    fn check_fetched(&mut self, records: &Bytes, log: &dyn LogView) -> Option<i64> {
        let mut end = log.end().offset;
        let whole = whole_batches(records);
        for batch in BatchIter::new(&whole) {
            let batch: Batch<'_> = batch.ok()?;
            batch.ensure_valid().ok()?;
            let header = batch.header();
            if header.base_offset != end || header.partition_leader_epoch > self.election.epoch {
                return None;
            }
            end = header.next_offset();
        }
        self.learn_batches(&whole).ok()?;
        Some(end)
    }

    fn on_snapshot_fetched(
        &mut self,
        mut response: FetchSnapshotResponse,
        now_ms: i64,
        out: &mut Vec<Effect>,
    ) {
        let partition = response.topics.pop().and_then(|mut t| t.partitions.pop());
        let Some(p) = partition.filter(|_| response.error_code == ErrorCode::None.code()) else {
            return;
        };
        let leader = Some(p.current_leader.leader_id).filter(|id| *id >= 0);
        let epoch = p.current_leader.leader_epoch;
        if let Some(id) = leader
            && let Some(node) = response.node_endpoints.iter().find(|n| n.node_id == id)
        {
            self.remember_leader_address(id, &node.host, i32::from(node.port));
        }
        if !self.learn_leader(leader, epoch, out) {
            return;
        }
        if p.error_code != ErrorCode::None.code() {
            // The leader has it no more, or is none: ask for the log again.
            self.fetcher.snapshot = None;
            return;
        }
        self.fetcher.leader_deadline_ms = now_ms + self.config.fetch_timeout_ms;
        self.fetcher.retry_at_ms = now_ms;
        let Some(fetch) = &mut self.fetcher.snapshot else {
            return;
        };
        let same = p.snapshot_id.end_offset == fetch.id.offset
            && p.snapshot_id.epoch == fetch.id.epoch
            && u64::try_from(p.position) == Ok(fetch.position);
        let bytes = p.unaligned_records.unwrap_or_default();
        if !same || (bytes.is_empty() && p.size > p.position) {
            self.fetcher.snapshot = None;
            return;
        }
        let position = fetch.position;
        fetch.position += bytes.len() as u64;
        let id = fetch.id;
        fetch.complete = u64::try_from(p.size).is_ok_and(|size| fetch.position >= size);
        let complete = fetch.complete;
        out.push(Effect::WriteSnapshotChunk { id, position, bytes });
        if complete {
            out.push(Effect::InstallSnapshot { id });
        }
    }
}

/// Without an incomplete batch at the end, which a limit in bytes can leave.
fn whole_batches(records: &Bytes) -> Bytes {
    let mut iter = BatchIter::new(records);
    while let Some(Ok(_)) = iter.next() {}
    records.slice(..iter.position().min(records.len()))
}

/// Where to cut a log that differs from the leader's, which ends `at.epoch` at `at.offset`.
fn truncation_offset(log: &dyn LogView, at: OffsetAndEpoch) -> i64 {
    let end = log.end().offset;
    if at.epoch == 0 {
        return at.offset.min(end);
    }
    let local = log.end_of_epoch(at.epoch);
    if local.epoch == at.epoch { local.offset.min(at.offset) } else { local.offset.min(end) }
}
