//! One shard of the group coordinator: dispatch of requests and timers.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;
use ottla_protocol::messages::heartbeat_response::HeartbeatResponse;
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_protocol::messages::offset_delete_response::OffsetDeleteResponse;
use ottla_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;
use ottla_protocol::types::Str;

use super::classic::{self, complete_join, prepare_rebalance, reschedule_heartbeat};
use super::config::GroupConfig;
use super::group_enum::Group;
use super::messages::{GroupRequest, GroupResponse, offset_commit_error, txn_offset_commit_error};
use super::outcome::GroupOutcome;
use crate::context::{Env, ReplyToken, RequestContext, TopicFilter};
use crate::offsets::OffsetStore;
use crate::timers::Timers;
use crate::topics::{TopicChanges, TopicsView};

pub(crate) type GroupTimers = Timers<TimerKey, TimerTask>;

/// What a deadline belongs to: group id, and member id where it is a member's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TimerKey {
    ClassicHeartbeat(Str, Str),
    ClassicJoin(Str),
    ClassicSync(Str),
    ConsumerSession(Str, Str),
    ConsumerRebalance(Str, Str),
    ConsumerJoin(Str, Str),
    ConsumerSync(Str, Str),
    ResolveRegexes(Str),
    ExpireOffsets,
}

/// What to do at a deadline, besides what its key says.
#[derive(Clone)]
pub(crate) enum TimerTask {
    ClassicHeartbeat,
    ClassicInitialJoin {
        delay_ms: i64,
        remaining_ms: i64,
    },
    ClassicJoin,
    ClassicSync {
        generation_id: i32,
    },
    /// Session, join or sync timeout of a member of a consumer group: it is out.
    FenceConsumerMember,
    /// Revocation took too long, if the member is still at this epoch.
    ConsumerRebalance {
        member_epoch: i32,
    },
    ResolveRegexes {
        regexes: BTreeSet<Str>,
        topic_filter: Option<TopicFilter>,
    },
    /// Where a sweep in pieces goes on.
    ExpireOffsets {
        after: Option<Str>,
        started_ms: i64,
    },
}

/// What a decision about one classic group may touch besides the group.
pub(crate) struct Fx<'a> {
    pub(crate) timers: &'a mut GroupTimers,
    pub(crate) config: &'a GroupConfig,
    pub(crate) now_ms: i64,
    pub(crate) out: &'a mut GroupOutcome,
}

/// The groups and offsets of one partition of `__consumer_offsets`. One task owns it.
#[derive(Clone)]
pub struct GroupShard {
    pub(crate) config: GroupConfig,
    pub(crate) groups: BTreeMap<Str, Group>,
    pub(crate) offsets: OffsetStore,
    /// Consumer groups by a topic they subscribe to.
    pub(crate) groups_by_topic: BTreeMap<Str, BTreeSet<Str>>,
    // Soft state from here on.
    pub(crate) timers: GroupTimers,
    /// Hashes of topics, as long as the topic does not change.
    pub(crate) topic_hashes: BTreeMap<Str, i64>,
    /// Version of the last image that created a topic.
    pub(crate) last_version_with_new_topics: i64,
}

impl GroupShard {
    /// An empty shard, to be loaded.
    pub fn new(config: GroupConfig) -> GroupShard {
        GroupShard {
            config,
            groups: BTreeMap::new(),
            offsets: OffsetStore::default(),
            groups_by_topic: BTreeMap::new(),
            timers: Timers::new(),
            topic_hashes: BTreeMap::new(),
            last_version_with_new_topics: -1,
        }
    }

    /// Takes over changed configs; timers that run keep their deadlines.
    pub fn set_config(&mut self, config: GroupConfig) {
        self.config = config;
    }

    /// The ids of all groups.
    pub fn group_ids(&self) -> impl Iterator<Item = &Str> {
        self.groups.keys()
    }

    /// Decides a request. Its reply is in this outcome or, for JoinGroup and SyncGroup, in a later one.
    pub fn handle(
        &mut self,
        request: GroupRequest,
        token: ReplyToken,
        ctx: &RequestContext,
        env: &mut Env<'_>,
    ) -> GroupOutcome {
        let mut out = GroupOutcome::default();
        self.note_topics(env.topics);
        let response = match request {
            GroupRequest::JoinGroup(request) => {
                self.join_group(request, token, ctx, env, &mut out);
                return out;
            }
            GroupRequest::SyncGroup(request) => {
                self.sync_group(request, token, ctx, env, &mut out);
                return out;
            }
            GroupRequest::Heartbeat(request) => {
                let error = self.heartbeat(&request, env, &mut out).unwrap_or_else(|error| error.code());
                GroupResponse::Heartbeat(HeartbeatResponse { error_code: error.code(), ..Default::default() })
            }
            GroupRequest::LeaveGroup(request) => {
                GroupResponse::LeaveGroup(self.leave_group(&request, ctx.api_version, env, &mut out))
            }
            GroupRequest::ConsumerGroupHeartbeat(request) => {
                let response = self.consumer_group_heartbeat(&request, ctx, env, &mut out);
                GroupResponse::ConsumerGroupHeartbeat(response.unwrap_or_else(|error| {
                    out.records.clear();
                    ConsumerGroupHeartbeatResponse {
                        error_code: error.code().code(),
                        // Kafka does not show the text of what it regards as its own failure.
                        error_message: (error.code() != ErrorCode::UnknownServerError)
                            .then(|| error.message()),
                        ..Default::default()
                    }
                }))
            }
            GroupRequest::OffsetCommit(request) => {
                let response = self.offset_commit(&request, ctx, env, &mut out);
                GroupResponse::OffsetCommit(
                    response.unwrap_or_else(|error| offset_commit_error(&request, error.code())),
                )
            }
            GroupRequest::TxnOffsetCommit(request) => {
                let response = self.txn_offset_commit(&request, ctx, env, &mut out);
                GroupResponse::TxnOffsetCommit(
                    response.unwrap_or_else(|error| txn_offset_commit_error(&request, error.code())),
                )
            }
            GroupRequest::OffsetDelete(request) => {
                let response = self.offset_delete(&request, &mut out);
                GroupResponse::OffsetDelete(response.unwrap_or_else(|error| OffsetDeleteResponse {
                    error_code: error.code().code(),
                    ..Default::default()
                }))
            }
            GroupRequest::OffsetFetch { group, require_stable } => {
                let response = self.offset_fetch(&group, require_stable);
                GroupResponse::OffsetFetch(response.unwrap_or_else(|error| OffsetFetchResponseGroup {
                    group_id: group.group_id,
                    error_code: error.code().code(),
                    ..Default::default()
                }))
            }
            GroupRequest::DescribeGroups { group_ids } => {
                GroupResponse::DescribeGroups(self.describe_groups(&group_ids, ctx.api_version))
            }
            GroupRequest::ConsumerGroupDescribe { group_ids } => {
                GroupResponse::ConsumerGroupDescribe(self.consumer_group_describe(&group_ids, env.topics))
            }
            GroupRequest::ListGroups { states_filter, types_filter } => GroupResponse::ListGroups {
                error: ErrorCode::None,
                groups: self.list_groups(&states_filter, &types_filter),
            },
            GroupRequest::DeleteGroups { group_ids } => {
                GroupResponse::DeleteGroups(self.delete_groups(&group_ids, &mut out))
            }
        };
        out.reply(token, response);
        out
    }

    /// The earliest time at which [`GroupShard::on_time`] has something to do.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.timers.next_deadline_ms()
    }

    /// Handles what is due, up to the first thing that has records: apply those and call again.
    pub fn on_time(&mut self, env: &mut Env<'_>) -> GroupOutcome {
        let mut out = GroupOutcome::default();
        self.note_topics(env.topics);
        while out.records.is_empty() {
            let Some((key, task)) = self.timers.pop_due(env.now_ms) else { break };
            out.splittable = false;
            self.on_timer(key, task, env, &mut out);
        }
        out
    }

    fn on_timer(&mut self, key: TimerKey, task: TimerTask, env: &mut Env<'_>, out: &mut GroupOutcome) {
        match (key, task) {
            (TimerKey::ExpireOffsets, TimerTask::ExpireOffsets { after, started_ms }) => {
                self.on_expire_offsets(after, started_ms, env.now_ms, out);
            }
            (TimerKey::ResolveRegexes(group_id), TimerTask::ResolveRegexes { regexes, topic_filter }) => {
                self.resolve_regexes(&group_id, &regexes, topic_filter.as_ref(), env, out);
            }
            (
                TimerKey::ConsumerSession(group_id, member_id)
                | TimerKey::ConsumerJoin(group_id, member_id)
                | TimerKey::ConsumerSync(group_id, member_id),
                _,
            ) => self.fence_consumer_member(&group_id, &member_id, env, out),
            (
                TimerKey::ConsumerRebalance(group_id, member_id),
                TimerTask::ConsumerRebalance { member_epoch },
            ) => {
                let at_epoch = match self.groups.get(&group_id) {
                    Some(Group::Consumer(group)) => {
                        group.member(&member_id).is_some_and(|member| member.member_epoch == member_epoch)
                    }
                    _ => false,
                };
                if at_epoch {
                    self.fence_consumer_member(&group_id, &member_id, env, out);
                }
            }
            (key, task) => self.on_classic_timer(key, task, env.now_ms, out),
        }
    }

    fn on_classic_timer(&mut self, key: TimerKey, task: TimerTask, now_ms: i64, out: &mut GroupOutcome) {
        let group_id = match &key {
            TimerKey::ClassicHeartbeat(group_id, _)
            | TimerKey::ClassicJoin(group_id)
            | TimerKey::ClassicSync(group_id) => group_id,
            _ => return,
        };
        // The group may have been deleted or upgraded meanwhile.
        let Some(Group::Classic(group)) = self.groups.get_mut(group_id) else { return };
        let mut fx = Fx { timers: &mut self.timers, config: &self.config, now_ms, out };
        match (&key, task) {
            (TimerKey::ClassicHeartbeat(_, member_id), _) => {
                classic::expire_heartbeat(group, member_id, &mut fx);
            }
            (_, TimerTask::ClassicInitialJoin { delay_ms, remaining_ms }) => {
                classic::try_complete_initial_rebalance(group, delay_ms, remaining_ms, &mut fx);
            }
            (_, TimerTask::ClassicJoin) => complete_join(group, &mut fx),
            (_, TimerTask::ClassicSync { generation_id }) => {
                classic::expire_pending_sync(group, generation_id, &mut fx);
            }
            _ => {}
        }
    }

    fn on_expire_offsets(
        &mut self,
        after: Option<Str>,
        started_ms: i64,
        now_ms: i64,
        out: &mut GroupOutcome,
    ) {
        let (deadline_ms, task) = match self.expire_offsets(after.as_ref(), now_ms, out) {
            Some(after) => (now_ms, TimerTask::ExpireOffsets { after: Some(after), started_ms }),
            None => {
                let next_ms = (started_ms + self.config.offsets_retention_check_interval_ms).max(now_ms + 1);
                (next_ms, TimerTask::ExpireOffsets { after: None, started_ms: next_ms })
            }
        };
        self.timers.schedule(TimerKey::ExpireOffsets, deadline_ms, task);
    }

    /// Arms the timers of what has been loaded. From here on requests may come.
    pub fn on_loaded(&mut self, env: &mut Env<'_>) -> GroupOutcome {
        let mut out = GroupOutcome::default();
        self.note_topics(env.topics);
        self.arm_consumer_timers(env.now_ms);
        let mut fx = Fx { timers: &mut self.timers, config: &self.config, now_ms: env.now_ms, out: &mut out };
        for group in self.groups.values_mut() {
            let Group::Classic(group) = group else { continue };
            for member_id in group.member_ids() {
                reschedule_heartbeat(group, &member_id, &mut fx);
            }
            let max_size = usize::try_from(fx.config.group_max_size).unwrap_or(0);
            if group.members().len() > max_size {
                // Over capacity since the limit changed: members rejoin until it is full.
                prepare_rebalance(group, &mut fx);
            }
        }
        let next_ms = env.now_ms + self.config.offsets_retention_check_interval_ms;
        self.timers.schedule(
            TimerKey::ExpireOffsets,
            next_ms,
            TimerTask::ExpireOffsets { after: None, started_ms: next_ms },
        );
        out
    }

    /// Follows a new metadata image: groups look at changed topics again, offsets of deleted topics go.
    pub fn on_metadata_update(&mut self, changes: &TopicChanges, topics: &dyn TopicsView) -> GroupOutcome {
        self.note_topics(topics);
        if changes.created {
            self.last_version_with_new_topics = topics.version();
        }
        let names = changes.changed.iter().chain(changes.deleted.iter().map(|(name, _)| name));
        for name in names {
            self.topic_hashes.remove(name);
            for group_id in self.groups_by_topic.get(name).into_iter().flatten() {
                if let Some(Group::Consumer(group)) = self.groups.get_mut(group_id) {
                    group.request_metadata_refresh();
                }
            }
        }
        let mut out = GroupOutcome { splittable: true, ..Default::default() };
        self.delete_offsets_of_topics(&changes.deleted, &mut out.records);
        out
    }

    /// Answers everything that waits inside groups; for a shard about to be dropped.
    pub fn fail_all(&mut self, error: ErrorCode) -> Vec<(ReplyToken, GroupResponse)> {
        let mut replies = Vec::new();
        for group in self.groups.values_mut() {
            let Group::Classic(group) = group else { continue };
            for (member_id, join, sync) in group.drain_parked() {
                if let Some(parked) = join {
                    replies.push((
                        parked.token,
                        GroupResponse::JoinGroup(JoinGroupResponse {
                            member_id,
                            error_code: error.code(),
                            protocol_name: (parked.api_version < 7).then_some(Str::EMPTY),
                            ..Default::default()
                        }),
                    ));
                }
                if let Some(parked) = sync {
                    replies.push((
                        parked.token,
                        GroupResponse::SyncGroup(SyncGroupResponse {
                            error_code: error.code(),
                            ..Default::default()
                        }),
                    ));
                }
            }
        }
        self.timers.clear();
        replies
    }

    /// Tokens that wait inside groups.
    pub fn parked_tokens(&self) -> Vec<ReplyToken> {
        self.groups
            .values()
            .flat_map(|group| match group {
                Group::Classic(group) => group.parked_tokens().collect(),
                _ => Vec::new(),
            })
            .collect()
    }

    fn note_topics(&mut self, topics: &dyn TopicsView) {
        if self.last_version_with_new_topics == -1 {
            self.last_version_with_new_topics = topics.version();
        }
    }

    /// Drops a group and what points at it.
    pub(crate) fn remove_group(&mut self, group_id: &str) {
        if let Some(Group::Consumer(group)) = self.groups.remove(group_id) {
            for topic in group.subscribed_topics() {
                self.unsubscribe(group_id, topic);
            }
        }
    }

    pub(crate) fn unsubscribe(&mut self, group_id: &str, topic: &str) {
        if let Some(groups) = self.groups_by_topic.get_mut(topic) {
            groups.remove(group_id);
            if groups.is_empty() {
                self.groups_by_topic.remove(topic);
                self.topic_hashes.remove(topic);
            }
        }
    }
}
