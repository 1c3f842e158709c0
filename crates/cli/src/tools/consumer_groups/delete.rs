//! `--delete` and `--delete-offsets`.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::{Target, TopicPartition};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, OffsetDeleteRequest, OffsetDeleteResponse,
};
use ottla_protocol::types::Str;
use serde_json::Value;

use super::reset::parse_partitions;
use super::{GroupsError, GroupsResult, Tool, print_error};
use crate::output::{self, Cell, Column, Entry, Table};
use crate::tools::java_text::{client_exception, exception, tool_exception};

fn quoted(groups: &[String]) -> String {
    groups.iter().map(|g| format!("'{g}'")).collect::<Vec<_>>().join(", ")
}

impl Tool {
    pub async fn delete(&self) -> GroupsResult<()> {
        let mut deleted = Vec::new();
        let mut failed = BTreeMap::new();
        let groups: BTreeSet<String> = self.group_ids().await?.into_iter().collect();
        for group in groups {
            let request =
                DeleteGroupsRequest { groups_names: vec![Str::from(group.as_str())], ..Default::default() };
            let code = |r: &DeleteGroupsResponse| {
                r.results.first().map_or(ErrorCode::None, |g| ErrorCode::from_code(g.error_code))
            };
            match self.admin.call_checked(&Target::Group(group.clone()), &request, code).await {
                Ok(response) => match code(&response) {
                    ErrorCode::None => deleted.push(group),
                    code => {
                        let message = response.results.first().and_then(|r| r.error_message.clone());
                        failed.insert(group, exception(code, message.as_deref()));
                    }
                },
                Err(error) => {
                    failed.insert(group, client_exception(&error));
                }
            }
        }
        output::list("deleted");
        for group in &deleted {
            output::show("deleted", Entry::silent().with("group", group.as_str()));
        }
        if failed.is_empty() {
            let groups = quoted(&deleted);
            output::remark(format!("Deletion of requested consumer groups ({groups}) was successful."));
            return Ok(());
        }
        print_error("Deletion of some consumer groups failed:");
        for (group, error) in &failed {
            output::complain(format!("* Group '{group}' could not be deleted due to: {error}"));
        }
        if !deleted.is_empty() {
            let groups = quoted(&deleted);
            output::remark(format!("\nThese consumer groups were deleted successfully: {groups}"));
        }
        Ok(())
    }

    pub async fn delete_offsets(&self) -> GroupsResult<()> {
        let group = self.options.text("group").unwrap_or_default();
        let (named, whole): (Vec<&str>, Vec<&str>) =
            self.options.texts("topic").into_iter().partition(|t| t.contains(':'));
        let mut partitions = BTreeSet::new();
        for argument in named {
            partitions.extend(parse_partitions(argument)?);
        }
        let mut results: BTreeMap<(String, String), (TopicPartition, Option<String>)> = BTreeMap::new();
        let mut add = |p: TopicPartition, error: Option<String>| {
            // Kafka sorts by the texts of topic and partition.
            results.insert((p.topic.clone(), p.partition.to_string()), (p, error));
        };
        for topic in whole {
            match self.partitions(&BTreeSet::from([topic])).await {
                Ok(found) => partitions.extend(found.into_keys()),
                Err(GroupsError::Tool(error)) => {
                    add(TopicPartition::new(topic, -1), Some(tool_exception(&error)));
                }
                Err(error) => return Err(error),
            }
        }
        let response = self.delete_offsets_of(group, &partitions).await?;
        let codes: BTreeMap<TopicPartition, i16> = response
            .topics
            .iter()
            .flat_map(|t| t.partitions.iter().map(move |p| (t, p)))
            .map(|(t, p)| (TopicPartition::new(t.name.as_str(), p.partition_index), p.error_code))
            .collect();
        let mut top = ErrorCode::from_code(response.error_code);
        for p in partitions {
            let code = if response.error_code != 0 {
                response.error_code
            } else {
                codes.get(&p).copied().unwrap_or(0)
            };
            let code = ErrorCode::from_code(code);
            if top.is_ok() {
                top = code;
            }
            add(p, (!code.is_ok()).then(|| exception(code, None)));
        }
        match top {
            ErrorCode::None => {
                output::remark(format!("Request succeeded for deleting offsets from group {group}."));
            }
            ErrorCode::InvalidGroupId
            | ErrorCode::GroupIdNotFound
            | ErrorCode::GroupAuthorizationFailed
            | ErrorCode::NonEmptyGroup => print_error(top.message()),
            ErrorCode::GroupSubscribedToTopic
            | ErrorCode::TopicAuthorizationFailed
            | ErrorCode::UnknownTopicOrPartition => {
                print_error("Encountered some partition-level error, see the follow-up details.");
            }
            other => print_error(&format!("Encountered some unknown error: {}", other.name())),
        }
        let mut table = Table::new(vec![
            Column::new("TOPIC", "topic").at_least(15),
            Column::new("PARTITION", "partition").fixed(10),
            Column::new("STATUS", "error").fixed(15),
        ])
        .blank_first();
        for (p, error) in results.values() {
            let status = match error {
                None => Cell::new("Successful", Value::Null),
                Some(error) => Cell::new(format!("Error: {error}"), error.as_str()),
            };
            let partition = Cell::optional((p.partition >= 0).then_some(p.partition), "-");
            table.row(vec![p.topic.as_str().into(), partition, status]);
        }
        output::table("offsets", &table);
        Ok(())
    }

    async fn delete_offsets_of(
        &self,
        group: &str,
        partitions: &BTreeSet<TopicPartition>,
    ) -> GroupsResult<OffsetDeleteResponse> {
        let mut topics: BTreeMap<&str, Vec<OffsetDeleteRequestPartition>> = BTreeMap::new();
        for p in partitions {
            let partition =
                OffsetDeleteRequestPartition { partition_index: p.partition, ..Default::default() };
            topics.entry(&p.topic).or_default().push(partition);
        }
        let topics = topics.into_iter().map(|(name, partitions)| OffsetDeleteRequestTopic {
            name: Str::from(name),
            partitions,
            ..Default::default()
        });
        let request = OffsetDeleteRequest {
            group_id: Str::from(group),
            topics: topics.collect(),
            ..Default::default()
        };
        let target = Target::Group(group.to_owned());
        let code = |r: &OffsetDeleteResponse| ErrorCode::from_code(r.error_code);
        Ok(self.admin.call_checked(&target, &request, code).await?)
    }
}
