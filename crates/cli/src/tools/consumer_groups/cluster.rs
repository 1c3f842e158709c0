//! What the cluster says of groups, as Kafka's admin client puts it together.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ottla_client::{Admin, BrokerNode, ClientError, Target, TopicPartition};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_group_describe_response::Assignment;
use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ottla_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerProtocolAssignment,
    DescribeGroupsRequest, DescribeGroupsResponse, ListGroupsRequest, ListGroupsResponse, OffsetFetchRequest,
    OffsetFetchResponse,
};
use ottla_protocol::types::Str;
use ottla_protocol::wire::{Message, Reader};

use super::{GroupsResult, Tool};
use crate::error::ToolError;

/// Newest version of OffsetFetch and OffsetCommit that names topics by their names.
pub const LAST_VERSION_WITH_NAMES: i16 = 9;

/// A group as ListGroups has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    pub id: String,
    pub protocol: String,
    pub state: String,
    /// `Classic`, `Consumer`, `Share`, `Streams`; empty when an old broker does not say.
    pub kind: String,
}

/// A member of a group.
#[derive(Debug, Clone, Default)]
pub struct Member {
    pub id: String,
    pub instance_id: String,
    pub client_id: String,
    pub host: String,
    pub assigned: BTreeSet<TopicPartition>,
    pub target: BTreeSet<TopicPartition>,
    pub epoch: Option<i32>,
    /// Of a group in migration: whether the member speaks the new protocol.
    pub upgraded: Option<bool>,
}

/// A group as it is described.
#[derive(Debug, Clone)]
pub struct Group {
    pub id: String,
    pub state: String,
    pub assignor: String,
    pub coordinator: BrokerNode,
    pub members: Vec<Member>,
    pub epoch: Option<i32>,
    pub assignment_epoch: Option<i32>,
}

/// A committed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    pub offset: i64,
    pub leader_epoch: Option<i32>,
}

/// `CONSUMER` or `consumer` as `Consumer`.
fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters.flat_map(char::to_lowercase)).collect()
    })
}

/// Every group of every broker, by id.
pub async fn list_groups(
    admin: &Admin,
    states: &[String],
    types: &[String],
) -> Result<Vec<ListedGroup>, ClientError> {
    let strs = |texts: &[String]| texts.iter().map(|t| Str::from(t.as_str())).collect();
    let request =
        ListGroupsRequest { states_filter: strs(states), types_filter: strs(types), ..Default::default() };
    let mut groups = BTreeMap::new();
    for node in admin.client().nodes().await? {
        let response = admin
            .call_checked(&Target::Node(node.id), &request, |r: &ListGroupsResponse| {
                ErrorCode::from_code(r.error_code)
            })
            .await?;
        ClientError::check(response.error_code, None)?;
        for group in response.groups {
            let listed = ListedGroup {
                id: group.group_id.to_string(),
                protocol: group.protocol_type.to_string(),
                state: group.group_state.to_string(),
                kind: capitalized(&group.group_type),
            };
            groups.insert(listed.id.clone(), listed);
        }
    }
    Ok(groups.into_values().collect())
}

fn partitions_of(assignment: &Assignment) -> BTreeSet<TopicPartition> {
    let topics = assignment.topic_partitions.iter();
    topics.flat_map(|t| t.partitions.iter().map(|p| TopicPartition::new(t.topic_name.as_str(), *p))).collect()
}

/// The partitions in an assignment of the classic protocol.
fn classic_partitions(assignment: &Bytes) -> Result<BTreeSet<TopicPartition>, ToolError> {
    let Some((version, body)) = assignment.split_first_chunk::<2>() else {
        return Ok(BTreeSet::new());
    };
    let version = i16::from_be_bytes(*version).clamp(0, ConsumerProtocolAssignment::MAX_VERSION);
    let mut r = Reader::new(Bytes::copy_from_slice(body));
    let assignment = ConsumerProtocolAssignment::decode(&mut r, version)
        .map_err(|e| ToolError::message(format!("Error deserializing assignment: {e}")))?;
    let topics = assignment.assigned_partitions.iter();
    Ok(topics.flat_map(|t| t.partitions.iter().map(|p| TopicPartition::new(t.topic.as_str(), *p))).collect())
}

impl Tool {
    /// Groups of the consumer protocol, classic or new, and those that only hold offsets.
    pub async fn consumer_groups(&self) -> GroupsResult<Vec<ListedGroup>> {
        let types = ["Consumer".to_owned(), "Classic".to_owned()];
        self.listed(&[], &types).await
    }

    pub async fn listed(&self, states: &[String], types: &[String]) -> GroupsResult<Vec<ListedGroup>> {
        let mut groups = list_groups(&self.admin, states, types).await?;
        groups.retain(|g| g.protocol.is_empty() || g.protocol == "consumer");
        Ok(groups)
    }

    async fn coordinator(&self, group: &str) -> Result<BrokerNode, ClientError> {
        let id = self.admin.client().group_coordinator(group).await?;
        let nodes = self.admin.client().nodes().await?;
        Ok(nodes.into_iter().find(|n| n.id == id).unwrap_or(BrokerNode {
            id,
            host: String::new(),
            port: -1,
            rack: None,
        }))
    }

    /// A group, by the new protocol's API and where that does not know it by the classic one.
    pub async fn described(&self, id: &str) -> GroupsResult<Group> {
        let target = Target::Group(id.to_owned());
        let request = ConsumerGroupDescribeRequest { group_ids: vec![Str::from(id)], ..Default::default() };
        let code = |r: &ConsumerGroupDescribeResponse| {
            r.groups.first().map_or(ErrorCode::None, |g| ErrorCode::from_code(g.error_code))
        };
        match self.admin.call_checked(&target, &request, code).await {
            Ok(response) => match (code(&response), response.groups.into_iter().next()) {
                (ErrorCode::None, Some(group)) => {
                    let members = group.members.iter().map(|m| Member {
                        id: m.member_id.to_string(),
                        instance_id: m.instance_id.as_deref().unwrap_or_default().to_owned(),
                        client_id: m.client_id.to_string(),
                        host: m.client_host.to_string(),
                        assigned: partitions_of(&m.assignment),
                        target: partitions_of(&m.target_assignment),
                        epoch: Some(m.member_epoch),
                        upgraded: (m.member_type != -1).then_some(m.member_type == 1),
                    });
                    return Ok(Group {
                        id: id.to_owned(),
                        state: group.group_state.to_string(),
                        assignor: group.assignor_name.to_string(),
                        members: members.collect(),
                        coordinator: self.coordinator(id).await?,
                        epoch: Some(group.group_epoch),
                        assignment_epoch: Some(group.assignment_epoch),
                    });
                }
                (ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion, _) | (_, None) => {}
                (code, Some(group)) => {
                    let message = group.error_message.map(|m| m.to_string());
                    return Err(ClientError::Api { code, message }.into());
                }
            },
            Err(error) if error.code() == ErrorCode::UnsupportedVersion => {}
            Err(error) => return Err(error.into()),
        }
        self.described_classic(id).await
    }

    async fn described_classic(&self, id: &str) -> GroupsResult<Group> {
        let request = DescribeGroupsRequest { groups: vec![Str::from(id)], ..Default::default() };
        let response = self
            .admin
            .call_checked(&Target::Group(id.to_owned()), &request, |r: &DescribeGroupsResponse| {
                r.groups.first().map_or(ErrorCode::None, |g| ErrorCode::from_code(g.error_code))
            })
            .await?;
        let Some(group) = response.groups.into_iter().next() else {
            return Err(ToolError::message(format!("Group {id} not found.")).into());
        };
        ClientError::check(group.error_code, group.error_message.as_deref())?;
        if !group.protocol_type.is_empty() && &*group.protocol_type != "consumer" {
            return Err(ToolError::message(format!(
                "java.lang.IllegalArgumentException: GroupId {id} is not a consumer group ({}).",
                group.protocol_type
            ))
            .into());
        }
        let mut members = Vec::new();
        for m in &group.members {
            members.push(Member {
                id: m.member_id.to_string(),
                instance_id: m.group_instance_id.as_deref().unwrap_or_default().to_owned(),
                client_id: m.client_id.to_string(),
                host: m.client_host.to_string(),
                assigned: classic_partitions(&m.member_assignment)?,
                ..Member::default()
            });
        }
        Ok(Group {
            id: id.to_owned(),
            state: group.group_state.to_string(),
            assignor: group.protocol_data.to_string(),
            members,
            coordinator: self.coordinator(id).await?,
            epoch: None,
            assignment_epoch: None,
        })
    }

    /// What a group has committed.
    pub async fn committed(&self, group: &str) -> GroupsResult<BTreeMap<TopicPartition, Committed>> {
        let request = OffsetFetchRequest {
            groups: vec![OffsetFetchRequestGroup {
                group_id: Str::from(group),
                topics: None,
                member_epoch: -1,
                ..Default::default()
            }],
            ..Default::default()
        };
        let limit = self.admin.client().api_timeout();
        let code = |r: &OffsetFetchResponse| {
            let code = r.groups.first().map_or(r.error_code, |g| g.error_code);
            ErrorCode::from_code(code)
        };
        let target = Target::Group(group.to_owned());
        let response =
            self.admin.client().call_capped(&target, &request, LAST_VERSION_WITH_NAMES, limit, code).await?;
        ClientError::check(code(&response).code(), None)?;
        let mut offsets = BTreeMap::new();
        for topic in response.groups.iter().flat_map(|g| &g.topics) {
            for p in &topic.partitions {
                if p.error_code != 0 || p.committed_offset < 0 {
                    continue;
                }
                let epoch = p.committed_leader_epoch;
                let committed =
                    Committed { offset: p.committed_offset, leader_epoch: (epoch >= 0).then_some(epoch) };
                offsets.insert(TopicPartition::new(topic.name.as_str(), p.partition_index), committed);
            }
        }
        Ok(offsets)
    }

    /// The partitions of topics, with whether each has a leader.
    pub async fn partitions(&self, topics: &BTreeSet<&str>) -> GroupsResult<BTreeMap<TopicPartition, bool>> {
        if topics.is_empty() {
            return Ok(BTreeMap::new());
        }
        let names: Vec<&str> = topics.iter().copied().collect();
        let view = self.admin.client().refresh(Some(&names)).await?;
        let mut partitions = BTreeMap::new();
        for name in names {
            let topic = view.topics.get(name).ok_or_else(unknown_topic)?;
            ClientError::check(topic.error_code, None)?;
            for p in topic.partitions.values() {
                partitions.insert(TopicPartition::new(name, p.partition), p.leader >= 0);
            }
        }
        Ok(partitions)
    }
}

fn unknown_topic() -> ClientError {
    ClientError::Api { code: ErrorCode::UnknownTopicOrPartition, message: None }
}
