//! `--describe`: offsets, members and states of groups.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::TopicPartition;
use ottla_client::admin::OffsetSpec;

use super::cluster::{Committed, Group, Member};
use super::{GroupsResult, Tool, print_error};
use crate::error::ToolError;
use crate::output;

const MISSING: &str = "-";
const COLUMN: usize = 15;

/// A line of the offsets' view.
struct OffsetRow {
    topic: String,
    partition: String,
    leader_epoch: String,
    offset: String,
    end: String,
    lag: String,
    consumer: String,
    host: String,
    client: String,
}

fn or_missing(value: Option<impl ToString>) -> String {
    value.map_or_else(|| MISSING.to_owned(), |v| v.to_string())
}

fn width<'a>(least: usize, texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|t| t.chars().count()).max().unwrap_or(0).max(least)
}

/// Whether there is something to show; tells on standard error what is special about the group.
fn worth_showing(group: &Group, rows: usize) -> GroupsResult<bool> {
    let id = &group.id;
    match group.state.as_str() {
        "Dead" => print_error(&format!("Consumer group '{id}' does not exist.")),
        "Empty" => {
            output::flush();
            eprintln!("\nConsumer group '{id}' has no active members.");
        }
        "PreparingRebalance" | "CompletingRebalance" | "Assigning" | "Reconciling" => {
            output::flush();
            eprintln!("\nWarning: Consumer group '{id}' is rebalancing.");
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
            let who = [&*member.id, &*member.host, &*member.client_id];
            rows.extend(self.partition_rows(&member.assigned, &committed, who).await?);
        }
        let others: BTreeSet<TopicPartition> =
            committed.keys().filter(|p| !assigned.contains(*p)).cloned().collect();
        if !others.is_empty() {
            rows.extend(self.partition_rows(&others, &committed, [MISSING; 3]).await?);
        }
        Ok(rows)
    }

    async fn partition_rows(
        &self,
        partitions: &BTreeSet<TopicPartition>,
        committed: &BTreeMap<TopicPartition, Committed>,
        [consumer, host, client]: [&str; 3],
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
                partition: p.partition.to_string(),
                leader_epoch: or_missing(own.and_then(|own| own.leader_epoch)),
                offset: or_missing(own.map(|own| own.offset)),
                end: or_missing(end),
                lag: or_missing(lag),
                consumer: consumer.to_owned(),
                host: host.to_owned(),
                client: client.to_owned(),
            }
        });
        Ok(rows.collect())
    }
}

fn print_offsets(group: &Group, rows: &[OffsetRow], verbose: bool) -> GroupsResult<()> {
    if !worth_showing(group, rows.len())? {
        return Ok(());
    }
    let group_width = width(COLUMN, std::iter::once(group.id.as_str()));
    let topic_width = width(COLUMN, rows.iter().map(|r| r.topic.as_str()));
    let consumer_width = width(COLUMN, rows.iter().map(|r| r.consumer.as_str()));
    let host_width = width(COLUMN, rows.iter().map(|r| r.host.as_str()));
    let mut text = String::new();
    let mut row = |group: &str, r: &OffsetRow| {
        let epoch = if verbose { format!("{:<15} ", r.leader_epoch) } else { String::new() };
        text.push_str(&format!(
            "\n{group:<group_width$} {:<topic_width$} {:<10} {epoch}{:<15} {:<15} {:<15} {:<consumer_width$} \
             {:<host_width$} {}",
            r.topic, r.partition, r.offset, r.end, r.lag, r.consumer, r.host, r.client
        ));
    };
    let header = OffsetRow {
        topic: "TOPIC".to_owned(),
        partition: "PARTITION".to_owned(),
        leader_epoch: "LEADER-EPOCH".to_owned(),
        offset: "CURRENT-OFFSET".to_owned(),
        end: "LOG-END-OFFSET".to_owned(),
        lag: "LAG".to_owned(),
        consumer: "CONSUMER-ID".to_owned(),
        host: "HOST".to_owned(),
        client: "CLIENT-ID".to_owned(),
    };
    row("GROUP", &header);
    for r in rows {
        row(&group.id, r);
    }
    output::line(text);
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

fn print_members(group: &Group, verbose: bool) -> GroupsResult<()> {
    // The table's head is printed even when there is nobody in it.
    worth_showing(group, group.members.len())?;
    let members = &group.members;
    let column = |least: usize, text: fn(&Member) -> &str| width(least, members.iter().map(text));
    let group_width = width(COLUMN, members.iter().map(|_| group.id.as_str()));
    let id_width = column(COLUMN, |m| &m.id);
    let instance_width = column(17, |m| &m.instance_id);
    let host_width = column(COLUMN, |m| &m.host);
    let client_width = column(COLUMN, |m| &m.client_id);
    let texts: Vec<(String, String)> =
        members.iter().map(|m| (assignment_text(&m.assigned), assignment_text(&m.target))).collect();
    let current_width = width(20, texts.iter().map(|t| t.0.as_str()));
    let target_width = width(20, texts.iter().map(|t| t.1.as_str()));
    let with_instance = members.iter().any(|m| !m.instance_id.is_empty());
    let migrating =
        members.iter().any(|m| m.upgraded == Some(false)) && members.iter().any(|m| m.upgraded == Some(true));

    let row = |cells: [&str; 6], more: [&str; 5]| {
        let [group, id, instance, host, client, partitions] = cells;
        let mut text = format!("{group:<group_width$} {id:<id_width$} ");
        if with_instance {
            text.push_str(&format!("{instance:<instance_width$} "));
        }
        text.push_str(&format!("{host:<host_width$} {client:<client_width$} {partitions:<15} "));
        if verbose {
            let [epoch, current, target_epoch, target, upgraded] = more;
            text.push_str(&format!(
                "{epoch:<15} {current:<current_width$} {target_epoch:<15} {target:<target_width$}"
            ));
            if migrating {
                text.push_str(&format!(" {upgraded}"));
            }
        }
        output::line(text);
    };
    output::line("");
    row(
        ["GROUP", "CONSUMER-ID", "GROUP-INSTANCE-ID", "HOST", "CLIENT-ID", "#PARTITIONS"],
        ["CURRENT-EPOCH", "CURRENT-ASSIGNMENT", "TARGET-EPOCH", "TARGET-ASSIGNMENT", "UPGRADED"],
    );
    for (m, (current, target)) in members.iter().zip(&texts) {
        let partitions = m.assigned.len().to_string();
        let epoch = or_missing(m.epoch);
        let target_epoch = or_missing(group.assignment_epoch);
        row(
            [&group.id, &m.id, &m.instance_id, &m.host, &m.client_id, &partitions],
            [&epoch, current, &target_epoch, target, &or_missing(m.upgraded)],
        );
    }
    Ok(())
}

fn print_state(group: &Group, verbose: bool) -> GroupsResult<()> {
    if !worth_showing(group, 1)? {
        return Ok(());
    }
    let node = &group.coordinator;
    let coordinator = format!("{}:{}  ({})", node.host, node.port, node.id);
    let coordinator_width = width(25, std::iter::once(coordinator.as_str()));
    let group_width = width(COLUMN, std::iter::once(group.id.as_str()));
    let assignor = if group.assignor.is_empty() { MISSING } else { &group.assignor };
    let row = |[group, coordinator, assignor, state, epoch, assignment_epoch, members]: [&str; 7]| {
        let epochs = if verbose { format!("{epoch:<15} {assignment_epoch:<25} ") } else { String::new() };
        format!(
            "\n{group:<group_width$} {coordinator:<coordinator_width$} {assignor:<20} {state:<20} {epochs}{members}"
        )
    };
    let head = row([
        "GROUP",
        "COORDINATOR (ID)",
        "ASSIGNMENT-STRATEGY",
        "STATE",
        "GROUP-EPOCH",
        "TARGET-ASSIGNMENT-EPOCH",
        "#MEMBERS",
    ]);
    let line = row([
        &group.id,
        &coordinator,
        assignor,
        &group.state,
        &or_missing(group.epoch),
        &or_missing(group.assignment_epoch),
        &group.members.len().to_string(),
    ]);
    output::line(head + &line);
    Ok(())
}
