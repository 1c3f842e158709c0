//! Subscriptions by regular expression: validation, and resolving them to topics as a step of its own after the
//! heartbeat that asked for it.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::types::Str;
use regex::Regex;

use super::group::{ConsumerGroup, ResolvedRegex};
use super::member::ConsumerMember;
use super::metadata_hash::group_hash;
use super::subscription::SubscriptionCounts;
use super::target::METADATA_REFRESH_INTERVAL_MS;
use super::{Decision, records};
use crate::context::{Env, RequestContext, TopicFilter};
use crate::group::error::GroupError;
use crate::group::{Group, GroupOutcome, GroupShard, TimerKey, TimerTask};
use crate::re2;

/// A group's regular expressions are not resolved again within this time. Source: `REGEX_BATCH_REFRESH_MIN_INTERVAL_MS`.
const REFRESH_MIN_INTERVAL_MS: i64 = 10_000;

/// What a heartbeat did to the group's regular expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RegexStatus {
    NoChange,
    /// Changed; its topics are not known yet.
    Updated,
    /// Changed, and its topics are known already.
    UpdatedAndResolved,
}

impl RegexStatus {
    pub(super) fn is_updated(self) -> bool {
        self != RegexStatus::NoChange
    }
}

/// Keeps the group's regular expressions in step with a member's subscription and asks for their resolution
/// when it is due. Source: `GroupMetadataManager.maybeUpdateRegularExpressions`.
pub(super) fn maybe_update_regexes(
    ctx: &RequestContext,
    group: &ConsumerGroup,
    old: &ConsumerMember,
    updated: &ConsumerMember,
    decision: &mut Decision<'_>,
) -> Result<RegexStatus, GroupError> {
    let mut status = RegexStatus::NoChange;
    let mut refresh = false;
    if old.subscribed_topic_regex != updated.subscribed_topic_regex {
        status = RegexStatus::Updated;
        if let Some(regex) = old.regex()
            && group.regex_member_count(regex) == 1
        {
            decision.records.push(records::regex_tombstone(&group.group_id, regex));
        }
        match updated.regex() {
            Some(regex) if group.regex_member_count(regex) == 0 => {
                re2::compile(regex).map_err(|error| GroupError::InvalidRegex {
                    regex: regex.clone(),
                    reason: error.description,
                })?;
                refresh = true;
            }
            Some(regex) if group.resolved_regexes().contains_key(regex) => {
                status = RegexStatus::UpdatedAndResolved;
            }
            Some(_) => {}
            None if old.regex().is_some() => status = RegexStatus::UpdatedAndResolved,
            None => {}
        }
    }
    if !refresh && group.regex_counts().is_empty() {
        return Ok(status);
    }
    let key = TimerKey::ResolveRegexes(group.group_id.clone());
    if decision.timers.contains(&key) {
        return Ok(status);
    }
    let last = group.resolved_regexes().values().next();
    let last_refresh_ms = last.map(|resolved| resolved.timestamp_ms);
    if last_refresh_ms.is_some_and(|last_ms| decision.now_ms <= last_ms + REFRESH_MIN_INTERVAL_MS) {
        return Ok(status);
    }
    let counts = group.regex_counts_after(Some(old), updated);
    let last_version = last.map_or(0, |resolved| resolved.version);
    refresh |= counts.len() != group.resolved_regexes().len();
    refresh |= last_version < decision.last_version_with_new_topics;
    refresh |= last_refresh_ms.is_none_or(|last_ms| {
        decision.now_ms > last_ms + decision.config.group_consumer_regex_refresh_interval_ms
    });
    if refresh && !counts.is_empty() {
        decision.timers.schedule(
            key,
            decision.now_ms,
            TimerTask::ResolveRegexes {
                regexes: counts.into_keys().collect(),
                topic_filter: ctx.topic_filter.clone(),
            },
        );
    }
    Ok(status)
}

impl GroupShard {
    /// Resolves regular expressions against all topics and bumps the group epoch if what they match changed.
    pub(crate) fn resolve_regexes(
        &mut self,
        group_id: &Str,
        regexes: &BTreeSet<Str>,
        topic_filter: Option<&TopicFilter>,
        env: &mut Env<'_>,
        out: &mut GroupOutcome,
    ) {
        let Some(Group::Consumer(group)) = self.groups.get_mut(group_id) else { return };
        let mut counts = SubscriptionCounts::from_map(group.topic_count_map());
        let mut bump = false;
        for (regex, resolved) in resolve(regexes, topic_filter, env) {
            if group.regex_member_count(&regex) == 0 {
                continue;
            }
            let old = group.resolved_regexes().get(&regex);
            let unchanged = match old {
                Some(old) => old.topics == resolved.topics,
                None => resolved.topics.is_empty(),
            };
            if !unchanged {
                bump = true;
                for topic in old.into_iter().flat_map(|old| &old.topics) {
                    counts.remove_regex(topic);
                }
                for topic in &resolved.topics {
                    counts.add_regex(topic);
                }
            }
            out.records.push(records::regex(group_id, &regex, &resolved));
        }
        let hash = group_hash(&counts, &mut self.topic_hashes, env.topics);
        if bump || hash != group.metadata_hash() {
            let group_epoch = group.group_epoch() + 1;
            out.records.push(records::epoch(group_id, group_epoch, hash));
            group.set_refresh_deadline(env.now_ms + METADATA_REFRESH_INTERVAL_MS, group_epoch);
        }
    }
}

fn resolve(
    regexes: &BTreeSet<Str>,
    topic_filter: Option<&TopicFilter>,
    env: &Env<'_>,
) -> BTreeMap<Str, ResolvedRegex> {
    let empty =
        ResolvedRegex { topics: BTreeSet::new(), version: env.topics.version(), timestamp_ms: env.now_ms };
    let mut resolved: BTreeMap<Str, ResolvedRegex> =
        regexes.iter().map(|regex| (regex.clone(), empty.clone())).collect();
    // What does not compile (written by an implementation with another syntax) matches nothing.
    let compiled: Vec<(&Str, Regex)> =
        regexes.iter().filter_map(|regex| Some((regex, re2::compile(regex).ok()?))).collect();
    env.topics.for_each_name(&mut |name| {
        let mut allowed = None;
        for (text, regex) in &compiled {
            if regex.is_match(name)
                && *allowed.get_or_insert_with(|| topic_filter.is_none_or(|filter| filter(name)))
                && let Some(entry) = resolved.get_mut(*text)
            {
                entry.topics.insert(Str::from(name));
            }
        }
    });
    resolved
}
