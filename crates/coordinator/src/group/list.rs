//! ListGroups, DescribeGroups, ConsumerGroupDescribe, DeleteGroups.

use std::collections::BTreeSet;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_group_describe_response::DescribedGroup as DescribedConsumerGroup;
use ottla_protocol::messages::delete_groups_response::DeletableGroupResult;
use ottla_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use ottla_protocol::messages::list_groups_response::ListedGroup;
use ottla_protocol::types::Str;

use super::classic::{ClassicGroup, ClassicState};
use super::error::GroupError;
use super::group_enum::Group;
use super::kind::GroupKind;
use super::outcome::GroupOutcome;
use super::shard::GroupShard;
use crate::topics::TopicsView;

/// From this version on DescribeGroups says that a group does not exist (KIP-1043).
const DESCRIBE_NOT_FOUND_VERSION: i16 = 6;

impl GroupShard {
    pub(crate) fn list_groups(&self, states_filter: &[Str], types_filter: &[Str]) -> Vec<ListedGroup> {
        let states: BTreeSet<String> =
            states_filter.iter().map(|state| state.trim().to_lowercase()).collect();
        let kinds: BTreeSet<Option<GroupKind>> =
            types_filter.iter().map(|kind| GroupKind::parse(kind)).collect();
        self.groups
            .iter()
            .filter(|(_, group)| {
                (states.is_empty() || states.contains(&group.state_name().to_lowercase()))
                    && (kinds.is_empty() || kinds.contains(&Some(group.kind())))
            })
            .map(|(group_id, group)| ListedGroup {
                group_id: group_id.clone(),
                protocol_type: Str::from(group.protocol_type()),
                group_state: Str::from_static(group.state_name()),
                group_type: Str::from_static(group.kind().name()),
                ..Default::default()
            })
            .collect()
    }

    pub(crate) fn describe_groups(&self, group_ids: &[Str], api_version: i16) -> Vec<DescribedGroup> {
        group_ids.iter().map(|group_id| self.describe_group(group_id, api_version)).collect()
    }

    fn describe_group(&self, group_id: &Str, api_version: i16) -> DescribedGroup {
        if group_id.is_empty() {
            return DescribedGroup {
                group_id: group_id.clone(),
                error_code: ErrorCode::InvalidGroupId.code(),
                ..Default::default()
            };
        }
        let error = match self.groups.get(group_id) {
            Some(Group::Classic(group)) => return describe_classic_group(group),
            Some(_) => GroupError::NotClassicGroup(group_id.clone()),
            None => GroupError::GroupNotFound(group_id.clone()),
        };
        let mut described = DescribedGroup {
            group_id: group_id.clone(),
            group_state: Str::from_static("Dead"),
            ..Default::default()
        };
        if api_version >= DESCRIBE_NOT_FOUND_VERSION {
            described.error_code = error.code().code();
            described.error_message = Some(error.message());
        }
        described
    }

    pub(crate) fn consumer_group_describe(
        &self,
        group_ids: &[Str],
        topics: &dyn TopicsView,
    ) -> Vec<DescribedConsumerGroup> {
        group_ids
            .iter()
            .map(|group_id| {
                let error = match self.groups.get(group_id) {
                    _ if group_id.is_empty() => GroupError::InvalidGroupId,
                    Some(Group::Consumer(group)) => {
                        return group.describe(self.config.default_assignor(), topics);
                    }
                    Some(_) => GroupError::NotConsumerGroup(group_id.clone()),
                    None => GroupError::GroupNotFound(group_id.clone()),
                };
                DescribedConsumerGroup {
                    group_id: group_id.clone(),
                    error_code: error.code().code(),
                    error_message: (error != GroupError::InvalidGroupId).then(|| error.message()),
                    ..Default::default()
                }
            })
            .collect()
    }

    pub(crate) fn delete_groups(
        &self,
        group_ids: &[Str],
        out: &mut GroupOutcome,
    ) -> Vec<DeletableGroupResult> {
        let mut results: Vec<DeletableGroupResult> = Vec::with_capacity(group_ids.len());
        for group_id in group_ids {
            // The same group twice is one deletion.
            if results.iter().any(|result| result.group_id == *group_id) {
                continue;
            }
            let result = self.delete_group(group_id, out);
            results.push(DeletableGroupResult {
                group_id: group_id.clone(),
                error_code: result.map_or_else(|error| error.code(), |()| ErrorCode::None).code(),
                ..Default::default()
            });
        }
        results
    }

    fn delete_group(&self, group_id: &Str, out: &mut GroupOutcome) -> Result<(), GroupError> {
        let (owned_id, group) =
            self.groups.get_key_value(group_id).ok_or_else(|| GroupError::GroupNotFound(group_id.clone()))?;
        group.validate_delete()?;
        self.delete_all_offsets(owned_id, &mut out.records);
        group.tombstones(&mut out.records);
        Ok(())
    }
}

fn describe_classic_group(group: &ClassicGroup) -> DescribedGroup {
    let protocol = group.protocol_name.as_ref().filter(|_| group.state == ClassicState::Stable);
    DescribedGroup {
        group_id: group.group_id.clone(),
        group_state: Str::from_static(group.state.name()),
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        protocol_data: protocol.cloned().unwrap_or_default(),
        members: group
            .members()
            .values()
            .map(|member| DescribedGroupMember {
                member_id: member.member_id.clone(),
                group_instance_id: member.instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                member_metadata: protocol
                    .and_then(|protocol| member.metadata(protocol))
                    .cloned()
                    .unwrap_or_default(),
                member_assignment: member.assignment.clone(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}
