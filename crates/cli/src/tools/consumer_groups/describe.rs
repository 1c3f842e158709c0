//! `--describe`: offsets, members and states of groups.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::TopicPartition;
use ottla_client::admin::OffsetSpec;
use serde_json::{Value, json};

use super::cluster::{Committed, Group, Member};
use super::{GroupsResult, Tool, print_error};
use crate::error::ToolError;
use crate::output::{self, Cell, Column, Entry, Table};

const MISSING: &str = "-";
const COLUMN: usize = 15;

/// A line of the offsets' view.
struct OffsetRow {
    topic: String,
    partition: i32,
    leader_epoch: Option<i32>,
    offset: Option<i64>,
    end: Option<i64>,
    lag: Option<i64>,
    consumer: Option<String>,
    host: Option<String>,
    client: Option<String>,
}

fn or_missing<T: ToString + Into<Value>>(value: Option<T>) -> Cell {
    Cell::optional(value, MISSING)
}

/// Whether there is something to show; tells on standard error what is special about the group.
fn worth_showing(group: &Group, rows: usize) -> GroupsResult<bool> {
    let id = &group.id;
    match group.state.as_str() {
        "Dead" => print_error(&format!("Consumer group '{id}' does not exist.")),
        "Empty" => {
            output::notice(format!("\nConsumer group '{id}' has no active members."));
        }
        "PreparingRebalance" | "CompletingRebalance" | "Assigning" | "Reconciling" => {
            output::notice(format!("\nWarning: Consumer group '{id}' is rebalancing."));
        }
        "Stable" => {}
        state => {
            return Err(ToolError::message(format!(
                "Expected a valid consumer group state, but found '{state}'."
            ))
            .into());
        }
    }
    Ok(group.state != "Dead" && rows > 0)
}

impl Tool {
    pub async fn describe(&self) -> GroupsResult<()> {
        let mut groups = BTreeMap::new();
        for id in self.group_ids().await? {
            groups.insert(id.clone(), self.described(&id).await?);
        }
        let verbose = self.options.has("verbose");
        output::list("groups");
        if self.options.has("members") {
            for group in groups.values() {
                print_members(group, verbose)?;
            }
        } else if self.options.has("state") {
            for group in groups.values() {
                print_state(group, verbose)?;
            }
        } else {
            let mut rows = Vec::new();
            for group in groups.values() {
                rows.push((group, self.offset_rows(group).await?));
            }
            for (group, rows) in rows {
                print_offsets(group, &rows, verbose)?;
            }
        }
        Ok(())
    }

    async fn offset_rows(&self, group: &Group) -> GroupsResult<Vec<OffsetRow>> {
        let committed = self.committed(&group.id).await?;
        let mut members: Vec<&Member> = group.members.iter().filter(|m| !m.assigned.is_empty()).collect();
        members.sort_by_key(|m| std::cmp::Reverse(m.assigned.len()));
        let mut rows = Vec::new();
        let mut assigned = BTreeSet::new();
        for member in members {
            assigned.extend(member.assigned.iter().cloned());
            rows.extend(self.partition_rows(&member.assigned, &committed, Some(member)).await?);
        }
        let others: BTreeSet<TopicPartition> =
            committed.keys().filter(|p| !assigned.contains(*p)).cloned().collect();
        if !others.is_empty() {
            rows.extend(self.partition_rows(&others, &committed, None).await?);
        }
        Ok(rows)
    }

    async fn partition_rows(
        &self,
        partitions: &BTreeSet<TopicPartition>,
        committed: &BTreeMap<TopicPartition, Committed>,
        who: Option<&Member>,
    ) -> GroupsResult<Vec<OffsetRow>> {
        let topics: BTreeSet<&str> = partitions.iter().map(|p| p.topic.as_str()).collect();
        let known = self.partitions(&topics).await?;
        let with_leader: Vec<_> = partitions
            .iter()
            .filter(|p| known.get(*p) != Some(&false))
            .map(|p| (p.clone(), OffsetSpec::Latest))
            .collect();
        let mut ends = BTreeMap::new();
        for (partition, end) in self.admin.list_offsets(&with_leader, false).await? {
            ends.insert(partition, end?.offset);
        }
        let rows = partitions.iter().map(|p| {
            let own = committed.get(p);
            let end = ends.get(p).copied();
            let lag = own.zip(end).map(|(own, end)| end - own.offset);
            OffsetRow {
                topic: p.topic.clone(),
                partition: p.partition,
                leader_epoch: own.and_then(|own| own.leader_epoch),
                offset: own.map(|own| own.offset),
                end,
                lag,
                consumer: who.map(|m| m.id.clone()),
                host: who.map(|m| m.host.clone()),
                client: who.map(|m| m.client_id.clone()),
            }
        });
        Ok(rows.collect())
    }
}

fn group_entry(group: &Group) -> Entry {
    Entry::silent().with("group", group.id.as_str()).with("state", group.state.as_str())
}

fn print_offsets(group: &Group, rows: &[OffsetRow], verbose: bool) -> GroupsResult<()> {
    let mut table = Table::new(vec![
        Column::new("GROUP", "group").at_least(COLUMN),
        Column::new("TOPIC", "topic").at_least(COLUMN),
        Column::new("PARTITION", "partition").fixed(10),
        Column::new("LEADER-EPOCH", "leaderEpoch").fixed(15).shown(verbose),
        Column::new("CURRENT-OFFSET", "currentOffset").fixed(15),
        Column::new("LOG-END-OFFSET", "logEndOffset").fixed(15),
        Column::new("LAG", "lag").fixed(15),
        Column::new("CONSUMER-ID", "consumerId").at_least(COLUMN),
        Column::new("HOST", "host").at_least(COLUMN),
        Column::new("CLIENT-ID", "clientId"),
    ])
    .blank_first();
    for r in rows {
        table.row(vec![
            group.id.as_str().into(),
            r.topic.as_str().into(),
            r.partition.into(),
            or_missing(r.leader_epoch),
            or_missing(r.offset),
            or_missing(r.end),
            or_missing(r.lag),
            or_missing(r.consumer.as_deref()),
            or_missing(r.host.as_deref()),
            or_missing(r.client.as_deref()),
        ]);
    }
    let worth_showing = worth_showing(group, rows.len())?;
    output::show("groups", group_entry(group).table("offsets", &table, worth_showing));
    Ok(())
}

/// `topic:0,1;other:2`.
fn assignment_text(assignment: &BTreeSet<TopicPartition>) -> String {
    if assignment.is_empty() {
        return MISSING.to_owned();
    }
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for p in assignment {
        topics.entry(&p.topic).or_default().push(p.partition.to_string());
    }
    let texts: Vec<String> = topics.iter().map(|(topic, ps)| format!("{topic}:{}", ps.join(","))).collect();
    texts.join(";")
}

/// The topics of an assignment with their partitions.
fn assignment_json(assignment: &BTreeSet<TopicPartition>) -> Value {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for p in assignment {
        topics.entry(&p.topic).or_default().push(p.partition);
    }
    topics.into_iter().map(|(topic, partitions)| (topic.to_owned(), Value::from(partitions))).collect()
}

fn print_members(group: &Group, verbose: bool) -> GroupsResult<()> {
    let members = &group.members;
    let with_instance = members.iter().any(|m| !m.instance_id.is_empty());
    let migrating =
        members.iter().any(|m| m.upgraded == Some(false)) && members.iter().any(|m| m.upgraded == Some(true));
    let mut table = Table::new(vec![
        Column::new("GROUP", "group").at_least(COLUMN),
        Column::new("CONSUMER-ID", "consumerId").at_least(COLUMN),
        Column::new("GROUP-INSTANCE-ID", "groupInstanceId").at_least(17).shown(with_instance),
        Column::new("HOST", "host").at_least(COLUMN),
        Column::new("CLIENT-ID", "clientId").at_least(COLUMN),
        Column::new("#PARTITIONS", "partitionCount").fixed(15),
        // The line has a blank at its end where no epoch follows.
        Column::new("", "").shown(!verbose),
        Column::new("CURRENT-EPOCH", "currentEpoch").fixed(15).shown(verbose),
        Column::new("CURRENT-ASSIGNMENT", "currentAssignment").at_least(20).shown(verbose),
        Column::new("TARGET-EPOCH", "targetEpoch").fixed(15).shown(verbose),
        Column::new("TARGET-ASSIGNMENT", "targetAssignment").at_least(20).shown(verbose),
        Column::new("UPGRADED", "upgraded").shown(verbose && migrating),
    ])
    .blank_first();
    for m in members {
        let instance = (!m.instance_id.is_empty()).then_some(m.instance_id.as_str());
        table.row(vec![
            group.id.as_str().into(),
            m.id.as_str().into(),
            Cell::optional(instance, ""),
            m.host.as_str().into(),
            m.client_id.as_str().into(),
            m.assigned.len().into(),
            "".into(),
            or_missing(m.epoch),
            Cell::new(assignment_text(&m.assigned), assignment_json(&m.assigned)),
            or_missing(group.assignment_epoch),
            Cell::new(assignment_text(&m.target), assignment_json(&m.target)),
            or_missing(m.upgraded),
        ]);
    }
    // The table's head is printed even when there is nobody in it.
    worth_showing(group, members.len())?;
    output::show("groups", group_entry(group).table("members", &table, true));
    Ok(())
}

fn print_state(group: &Group, verbose: bool) -> GroupsResult<()> {
    let node = &group.coordinator;
    let coordinator = format!("{}:{}  ({})", node.host, node.port, node.id);
    let coordinator_json = json!({"host": &*node.host, "port": node.port, "id": node.id});
    let assignor = (!group.assignor.is_empty()).then_some(group.assignor.as_str());
    let mut table = Table::new(vec![
        Column::new("GROUP", "group").at_least(COLUMN),
        Column::new("COORDINATOR (ID)", "coordinator").at_least(25),
        Column::new("ASSIGNMENT-STRATEGY", "assignmentStrategy").fixed(20),
        Column::new("STATE", "state").fixed(20),
        Column::new("GROUP-EPOCH", "groupEpoch").fixed(15).shown(verbose),
        Column::new("TARGET-ASSIGNMENT-EPOCH", "targetAssignmentEpoch").fixed(25).shown(verbose),
        Column::new("#MEMBERS", "memberCount"),
    ])
    .blank_first();
    table.row(vec![
        group.id.as_str().into(),
        Cell::new(coordinator, coordinator_json),
        or_missing(assignor),
        group.state.as_str().into(),
        or_missing(group.epoch),
        or_missing(group.assignment_epoch),
        group.members.len().into(),
    ]);
    if worth_showing(group, 1)? {
        output::table("groups", &table);
    }
    Ok(())
}
