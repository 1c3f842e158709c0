//! `--reset-offsets`: plans of offsets, and carrying them out. Source: Kafka `GroupOffsetsResetter`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use ottla_client::admin::OffsetSpec;
use ottla_client::{ClientError, Target, TopicPartition};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use ottla_protocol::types::Str;

use super::cluster::LAST_VERSION_WITH_NAMES;
use super::{GroupsError, GroupsResult, Tool, csv, print_error, time};
use crate::error::ToolError;
use crate::output::{self, Column, Progress, Table};

/// Partitions of one request, so that many of them show progress.
const PARTITIONS_AT_ONCE: usize = 500;

/// Offsets to set, by partition.
pub type Plan = BTreeMap<TopicPartition, i64>;

fn joined(partitions: &[&TopicPartition]) -> String {
    partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// `topic:0,1` as partitions.
pub fn parse_partitions(argument: &str) -> GroupsResult<Vec<TopicPartition>> {
    let parts: Vec<&str> = argument.split(':').collect();
    let [topic, partitions] = parts[..] else {
        return Err(GroupsError::Usage(format!(
            "Invalid topic arg '{argument}', expected topic name and partitions"
        )));
    };
    let parse = |text: &str| {
        text.parse().map(|p: i32| TopicPartition::new(topic, p)).map_err(|_| {
            GroupsError::Usage(format!("Invalid partition '{text}' specified in topic arg '{argument}''"))
        })
    };
    partitions.split(',').map(parse).collect()
}

fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

impl Tool {
    pub async fn reset(&self) -> GroupsResult<()> {
        let mut plans: BTreeMap<String, Plan> = BTreeMap::new();
        for id in self.group_ids().await? {
            let state = match self.described(&id).await {
                Ok(group) => group.state,
                Err(GroupsError::Tool(ToolError::Client(ClientError::Api {
                    code: ErrorCode::GroupIdNotFound,
                    ..
                }))) => "Dead".to_owned(),
                Err(error) => return Err(error),
            };
            let plan = if state == "Empty" || state == "Dead" {
                self.reset_inactive(&id).await?
            } else {
                print_error(&format!(
                    "Assignments can only be reset if the group '{id}' is inactive, but the current state is {state}."
                ));
                Plan::new()
            };
            plans.insert(id, plan);
        }
        if self.options.has("export") {
            let single = self.options.texts("group").len() == 1;
            output::remark(csv::render(&plans, single));
        }
        let table = table(&plans);
        if self.options.has("export") || plans.is_empty() {
            table.entries().for_each(|entry| output::show("offsets", entry));
            if plans.is_empty() {
                output::remark("");
            }
        } else {
            output::table("offsets", &table);
        }
        Ok(())
    }

    async fn reset_inactive(&self, group: &str) -> GroupsResult<Plan> {
        let partitions = self.partitions_to_reset(group).await?;
        let plan = self.plan(group, partitions).await?;
        if self.options.has("execute") && !self.options.has("dry-run") {
            self.commit(group, &plan).await?;
        }
        Ok(plan)
    }

    async fn partitions_to_reset(&self, group: &str) -> GroupsResult<BTreeSet<TopicPartition>> {
        if self.options.has("all-topics") {
            return Ok(self.committed(group).await?.into_keys().collect());
        }
        if !self.options.has("topic") {
            if self.options.has("from-file") {
                return Ok(BTreeSet::new());
            }
            return Err(GroupsError::Usage(
                "One of the reset scopes should be defined: --all-topics, --topic.".to_owned(),
            ));
        }
        let (named, whole): (Vec<&str>, Vec<&str>) =
            self.options.texts("topic").into_iter().partition(|t| t.contains(':'));
        let mut partitions = BTreeSet::new();
        for argument in named {
            partitions.extend(parse_partitions(argument)?);
        }
        let whole: BTreeSet<&str> = whole.into_iter().collect();
        partitions.extend(self.partitions(&whole).await?.into_keys());
        Ok(partitions)
    }

    async fn check_partitions(&self, partitions: &BTreeSet<TopicPartition>) -> GroupsResult<()> {
        let topics: BTreeSet<&str> = partitions.iter().map(|p| p.topic.as_str()).collect();
        let known = self.partitions(&topics).await?;
        let missing: Vec<&TopicPartition> = partitions.iter().filter(|p| !known.contains_key(*p)).collect();
        if !missing.is_empty() {
            let text = format!("The partitions \"{}\" do not exist", joined(&missing));
            return Err(ToolError::message(text).into());
        }
        let leaderless: Vec<&TopicPartition> =
            partitions.iter().filter(|p| known.get(*p) == Some(&false)).collect();
        if !leaderless.is_empty() {
            let text = format!("The partitions \"{}\" have no leader", joined(&leaderless));
            return Err(ToolError::message(text).into());
        }
        Ok(())
    }

    async fn plan(&self, group: &str, partitions: BTreeSet<TopicPartition>) -> GroupsResult<Plan> {
        self.check_partitions(&partitions).await?;
        let options = &self.options;
        if let Some(offset) = options.long("to-offset") {
            self.within_range(partitions.into_iter().map(|p| (p, offset)).collect()).await
        } else if options.has("to-earliest") {
            self.offsets(&partitions, OffsetSpec::Earliest).await
        } else if options.has("to-latest") {
            self.offsets(&partitions, OffsetSpec::Latest).await
        } else if let Some(shift) = options.long("shift-by") {
            let committed = self.committed(group).await?;
            let mut wanted = Plan::new();
            for p in partitions {
                let Some(own) = committed.get(&p) else {
                    return Err(GroupsError::Usage(format!(
                        "Cannot shift offset for partition {p} since there is no current committed offset"
                    )));
                };
                wanted.insert(p, own.offset.saturating_add(shift));
            }
            self.within_range(wanted).await
        } else if let Some(text) = options.text("to-datetime") {
            let timestamp = time::parse_datetime(text).map_err(ToolError::message)?;
            self.offsets_at(&partitions, timestamp).await
        } else if let Some(text) = options.text("by-duration") {
            let duration = time::parse_duration(text).map_err(ToolError::message)?;
            self.offsets_at(&partitions, now_ms().saturating_sub(duration)).await
        } else if let Some(path) = options.text("from-file") {
            self.plan_of_file(group, path).await
        } else if options.has("to-current") {
            let committed = self.committed(group).await?;
            let (known, others): (BTreeSet<_>, BTreeSet<_>) =
                partitions.into_iter().partition(|p| committed.contains_key(p));
            let mut plan = self.offsets(&others, OffsetSpec::Latest).await?;
            plan.extend(known.into_iter().filter_map(|p| {
                let offset = committed.get(&p)?.offset;
                Some((p, offset))
            }));
            Ok(plan)
        } else {
            let scenarios: Vec<String> = super::SCENARIOS.iter().map(|s| format!("[{s}]")).collect();
            Err(GroupsError::Usage(format!(
                "Option '[reset-offsets]' requires one of the following scenarios: [{}]",
                scenarios.join(", ")
            )))
        }
    }

    async fn plan_of_file(&self, group: &str, path: &str) -> GroupsResult<Plan> {
        let text = std::fs::read_to_string(path).map_err(|e| ToolError::message(format!("{path}: {e}")))?;
        let groups = self.options.texts("group");
        let single = if let [group] = groups[..] { Some(group) } else { None };
        let mut plans = csv::parse(&text, single).map_err(ToolError::message)?;
        match plans.remove(group) {
            Some(plan) => self.within_range(plan).await,
            None => {
                print_error(&format!("No reset plan for group {group} found."));
                Ok(Plan::new())
            }
        }
    }

    async fn offsets(&self, partitions: &BTreeSet<TopicPartition>, spec: OffsetSpec) -> GroupsResult<Plan> {
        let specs: Vec<_> = partitions.iter().map(|p| (p.clone(), spec)).collect();
        let mut plan = Plan::new();
        let mut progress = Progress::new("partitions looked up", Some(specs.len() as u64));
        for some in specs.chunks(PARTITIONS_AT_ONCE) {
            for (partition, listed) in self.admin.list_offsets(some, false).await? {
                plan.insert(partition, listed?.offset);
            }
            progress.add(some.len() as u64);
        }
        Ok(plan)
    }

    /// The first offsets at a time or later; the end where there are none.
    async fn offsets_at(&self, partitions: &BTreeSet<TopicPartition>, timestamp: i64) -> GroupsResult<Plan> {
        let mut plan = self.offsets(partitions, OffsetSpec::Timestamp(timestamp)).await?;
        let none: BTreeSet<TopicPartition> =
            plan.iter().filter(|(_, offset)| **offset < 0).map(|(p, _)| p.clone()).collect();
        for p in &none {
            output::notice_on_output(format!(
                "\nWarn: Partition {} from topic {} is empty. Falling back to latest known offset.",
                p.partition, p.topic
            ));
        }
        plan.extend(self.offsets(&none, OffsetSpec::Latest).await?);
        Ok(plan)
    }

    /// Offsets moved to where the log has records.
    async fn within_range(&self, mut wanted: Plan) -> GroupsResult<Plan> {
        let partitions: BTreeSet<TopicPartition> = wanted.keys().cloned().collect();
        let starts = self.offsets(&partitions, OffsetSpec::Earliest).await?;
        let ends = self.offsets(&partitions, OffsetSpec::Latest).await?;
        for (p, offset) in &mut wanted {
            let bound = |offset: i64, what: &str, bound: i64| {
                tracing::warn!(
                    "New offset ({offset}) is {what} offset for topic partition {p}. Value will be set to {bound}."
                );
                bound
            };
            match (starts.get(p), ends.get(p)) {
                (_, Some(end)) if *offset > *end => *offset = bound(*offset, "higher than latest", *end),
                (Some(start), _) if *offset < *start => {
                    *offset = bound(*offset, "lower than earliest", *start)
                }
                _ => {}
            }
        }
        Ok(wanted)
    }

    async fn commit(&self, group: &str, plan: &Plan) -> GroupsResult<()> {
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for (p, offset) in plan {
            topics.entry(&p.topic).or_default().push(OffsetCommitRequestPartition {
                partition_index: p.partition,
                committed_offset: *offset,
                committed_leader_epoch: -1,
                committed_metadata: Some(Str::from("")),
                ..Default::default()
            });
        }
        let topics = topics.into_iter().map(|(name, partitions)| OffsetCommitRequestTopic {
            name: Str::from(name),
            partitions,
            ..Default::default()
        });
        let request = OffsetCommitRequest {
            group_id: Str::from(group),
            generation_id_or_member_epoch: -1,
            topics: topics.collect(),
            ..Default::default()
        };
        let target = Target::Group(group.to_owned());
        let limit = self.admin.client().api_timeout();
        let code = |r: &OffsetCommitResponse| {
            let mut codes = r.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code);
            codes.find(|c| *c != 0).map_or(ErrorCode::None, ErrorCode::from_code)
        };
        let response =
            self.admin.client().call_capped(&target, &request, LAST_VERSION_WITH_NAMES, limit, code).await?;
        let failed: Vec<String> = response
            .topics
            .iter()
            .flat_map(|t| t.partitions.iter().map(move |p| (t, p)))
            .filter(|(_, p)| p.error_code != 0)
            .map(|(t, p)| format!("{}-{}", t.name, p.partition_index))
            .collect();
        match code(&response) {
            ErrorCode::None => Ok(()),
            _ => Err(ToolError::message(format!(
                "Failed altering group offsets for the following partitions: [{}]",
                failed.join(", ")
            ))
            .into()),
        }
    }
}

fn table(plans: &BTreeMap<String, Plan>) -> Table {
    let group_width = plans.keys().map(|g| g.chars().count()).max().unwrap_or(0).max(15);
    let mut table = Table::new(vec![
        Column::new("GROUP", "group").fixed(group_width),
        Column::new("TOPIC", "topic").at_least(15),
        Column::new("PARTITION", "partition").fixed(10),
        Column::new("NEW-OFFSET", "newOffset"),
    ])
    .blank_first();
    for (group, plan) in plans {
        for (p, offset) in plan {
            table.row(vec![
                group.as_str().into(),
                p.topic.as_str().into(),
                p.partition.into(),
                (*offset).into(),
            ]);
        }
    }
    table
}
