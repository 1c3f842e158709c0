//! Records and replies as one line of text.

use std::fmt::Write;

use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_protocol_assignment::ConsumerProtocolAssignment;
use ottla_protocol::types::{Str, Uuid};
use ottla_protocol::wire::{Message, Reader};

use super::script::World;
use crate::group::{GroupOutcome, GroupRecord, GroupResponse};
use crate::topics::TopicsView;

impl World {
    pub(super) fn render(&mut self, outcome: &GroupOutcome) {
        for record in &outcome.records {
            let text = self.record_text(record);
            writeln!(self.transcript, "  + {text}").unwrap();
        }
        for (token, response) in &outcome.replies {
            let text = self.response_text(response);
            let name = self.names.get(&token.0).map_or("?", String::as_str);
            writeln!(self.transcript, "  = {name}: {text}").unwrap();
        }
    }

    fn topic_text(&self, topic_id: Uuid, partitions: &[i32]) -> String {
        let name = self.topics.topic_name(topic_id).unwrap_or_else(|| Str::from("gone"));
        let numbers: Vec<String> = partitions.iter().map(i32::to_string).collect();
        format!("{name}:{}", numbers.join("+"))
    }

    fn record_text(&self, record: &GroupRecord) -> String {
        match record {
            GroupRecord::OffsetCommit { group, topic, partition, value } => match value {
                Some(value) => format!("offset {group} {topic}-{partition} {}", value.offset),
                None => format!("offset {group} {topic}-{partition} gone"),
            },
            GroupRecord::GroupMetadata { group, value: Some(value) } => {
                let members: Vec<String> = value
                    .members
                    .iter()
                    .map(|member| format!("{}={}", member.member_id, bytes_text(&member.assignment)))
                    .collect();
                format!(
                    "group {group} gen={} protocol={} leader={} at={} {members:?}",
                    value.generation,
                    value.protocol.as_deref().unwrap_or("-"),
                    value.leader.as_deref().unwrap_or("-"),
                    value.current_state_timestamp,
                )
            }
            GroupRecord::GroupMetadata { group, value: None } => format!("group {group} gone"),
            GroupRecord::ConsumerGroupMetadata { group, value } => match value {
                Some(value) => format!("epoch {group} {}", value.epoch),
                None => format!("epoch {group} gone"),
            },
            GroupRecord::ConsumerGroupPartitionMetadata { group, .. } => format!("metadata {group} gone"),
            GroupRecord::ConsumerGroupMemberMetadata { member, value, .. } => match value {
                Some(value) => {
                    let topics: Vec<&str> = value.subscribed_topic_names.iter().map(Str::as_str).collect();
                    let mut text = format!("member {member} topics={}", topics.join(","));
                    if let Some(regex) = value.subscribed_topic_regex.as_ref().filter(|r| !r.is_empty()) {
                        write!(text, " regex={regex}").unwrap();
                    }
                    if value.classic_member_metadata.is_some() {
                        text.push_str(" classic");
                    }
                    text
                }
                None => format!("member {member} gone"),
            },
            GroupRecord::ConsumerGroupTargetAssignmentMetadata { group, value } => match value {
                Some(value) => format!("target {group} epoch={}", value.assignment_epoch),
                None => format!("target {group} gone"),
            },
            GroupRecord::ConsumerGroupTargetAssignmentMember { member, value, .. } => match value {
                Some(value) => {
                    let topics: Vec<String> = value
                        .topic_partitions
                        .iter()
                        .map(|topic| self.topic_text(topic.topic_id, &topic.partitions))
                        .collect();
                    format!("target {member} [{}]", topics.join(" "))
                }
                None => format!("target {member} gone"),
            },
            GroupRecord::ConsumerGroupCurrentMemberAssignment { member, value, .. } => match value {
                Some(value) => {
                    let list = |topics: &[ottla_protocol::messages::coordinator_record::consumer_group_current_member_assignment_value::TopicPartitions]| {
                        let all: Vec<String> =
                            topics.iter().map(|topic| self.topic_text(topic.topic_id, &topic.partitions)).collect();
                        all.join(" ")
                    };
                    format!(
                        "current {member} epoch={} previous={} state={} [{}] revoking [{}]",
                        value.member_epoch,
                        value.previous_member_epoch,
                        value.state,
                        list(&value.assigned_partitions),
                        list(&value.partitions_pending_revocation)
                    )
                }
                None => format!("current {member} gone"),
            },
            GroupRecord::ConsumerGroupRegularExpression { regex, value, .. } => match value {
                Some(value) => {
                    let topics: Vec<&str> = value.topics.iter().map(Str::as_str).collect();
                    format!("regex {regex} [{}]", topics.join(" "))
                }
                None => format!("regex {regex} gone"),
            },
            GroupRecord::Foreign { .. } => "foreign".to_owned(),
        }
    }

    fn response_text(&self, response: &GroupResponse) -> String {
        let name = |code: i16| ErrorCode::from_code(code).name();
        match response {
            GroupResponse::JoinGroup(join) => {
                let members: Vec<&str> =
                    join.members.iter().map(|member| member.member_id.as_str()).collect();
                let mut text = format!("{} member={}", name(join.error_code), join.member_id);
                if join.error_code == 0 {
                    write!(
                        text,
                        " gen={} protocol={} leader={} members=[{}]",
                        join.generation_id,
                        join.protocol_name.as_deref().unwrap_or("-"),
                        join.leader,
                        members.join(" ")
                    )
                    .unwrap();
                }
                if join.skip_assignment {
                    text.push_str(" skip");
                }
                text
            }
            GroupResponse::SyncGroup(sync) => {
                format!("{} {}", name(sync.error_code), bytes_text(&sync.assignment))
            }
            GroupResponse::Heartbeat(heartbeat) => name(heartbeat.error_code).to_owned(),
            GroupResponse::LeaveGroup(leave) => {
                let members: Vec<String> = leave
                    .members
                    .iter()
                    .map(|member| {
                        let id = if member.member_id.is_empty() {
                            member.group_instance_id.as_deref().unwrap_or_default()
                        } else {
                            &member.member_id
                        };
                        format!("{id}={}", name(member.error_code))
                    })
                    .collect();
                format!("{} [{}]", name(leave.error_code), members.join(" "))
            }
            GroupResponse::ConsumerGroupHeartbeat(beat) => match &beat.error_message {
                Some(message) => format!("{} {message}", name(beat.error_code)),
                None => {
                    let mut text = format!(
                        "{} member={} epoch={}",
                        name(beat.error_code),
                        beat.member_id.as_deref().unwrap_or("-"),
                        beat.member_epoch
                    );
                    if let Some(assignment) = &beat.assignment {
                        let topics: Vec<String> = assignment
                            .topic_partitions
                            .iter()
                            .map(|topic| self.topic_text(topic.topic_id, &topic.partitions))
                            .collect();
                        write!(text, " [{}]", topics.join(" ")).unwrap();
                    }
                    text
                }
            },
            GroupResponse::OffsetCommit(commit) => {
                let all: Vec<String> = commit
                    .topics
                    .iter()
                    .flat_map(|topic| {
                        topic.partitions.iter().map(move |partition| {
                            format!(
                                "{}-{}={}",
                                topic.name,
                                partition.partition_index,
                                name(partition.error_code)
                            )
                        })
                    })
                    .collect();
                all.join(" ")
            }
            GroupResponse::TxnOffsetCommit(commit) => {
                let all: Vec<String> = commit
                    .topics
                    .iter()
                    .flat_map(|topic| {
                        topic.partitions.iter().map(move |partition| {
                            format!(
                                "{}-{}={}",
                                topic.name,
                                partition.partition_index,
                                name(partition.error_code)
                            )
                        })
                    })
                    .collect();
                all.join(" ")
            }
            GroupResponse::OffsetDelete(delete) => {
                let all: Vec<String> = delete
                    .topics
                    .iter()
                    .flat_map(|topic| {
                        topic.partitions.iter().map(move |partition| {
                            format!(
                                "{}-{}={}",
                                topic.name,
                                partition.partition_index,
                                name(partition.error_code)
                            )
                        })
                    })
                    .collect();
                format!("{} {}", name(delete.error_code), all.join(" "))
            }
            GroupResponse::OffsetFetch(fetch) => {
                let all: Vec<String> = fetch
                    .topics
                    .iter()
                    .flat_map(|topic| {
                        topic.partitions.iter().map(move |partition| {
                            let error = match partition.error_code {
                                0 => String::new(),
                                code => format!("({})", name(code)),
                            };
                            format!(
                                "{}-{}={}{error}",
                                topic.name, partition.partition_index, partition.committed_offset
                            )
                        })
                    })
                    .collect();
                format!("{} {}", name(fetch.error_code), all.join(" "))
            }
            GroupResponse::DescribeGroups(groups) => {
                let group = &groups[0];
                let members: Vec<&str> =
                    group.members.iter().map(|member| member.member_id.as_str()).collect();
                format!(
                    "{} {} type={} protocol={} [{}] {}",
                    name(group.error_code),
                    group.group_state,
                    group.protocol_type,
                    group.protocol_data,
                    members.join(" "),
                    group.error_message.as_deref().unwrap_or_default()
                )
            }
            GroupResponse::ConsumerGroupDescribe(groups) => {
                let group = &groups[0];
                let members: Vec<String> = group
                    .members
                    .iter()
                    .map(|member| {
                        format!("{}@{}/{}", member.member_id, member.member_epoch, member.member_type)
                    })
                    .collect();
                format!(
                    "{} {} epoch={}/{} {} [{}] {}",
                    name(group.error_code),
                    group.group_state,
                    group.group_epoch,
                    group.assignment_epoch,
                    group.assignor_name,
                    members.join(" "),
                    group.error_message.as_deref().unwrap_or_default()
                )
            }
            GroupResponse::ListGroups { groups, .. } => {
                let all: Vec<String> = groups
                    .iter()
                    .map(|group| format!("{}/{}/{}", group.group_id, group.group_type, group.group_state))
                    .collect();
                all.join(" ")
            }
            GroupResponse::DeleteGroups(results) => name(results[0].error_code).to_owned(),
        }
    }
}

/// An assignment of the consumer protocol in words, other bytes as text.
fn bytes_text(bytes: &Bytes) -> String {
    let mut reader = Reader::new(bytes.clone());
    let decoded = reader.int16().ok().and_then(|version| {
        let assignment = ConsumerProtocolAssignment::decode(&mut reader, version).ok()?;
        Some(assignment)
    });
    match decoded {
        Some(assignment) => {
            let topics: Vec<String> = assignment
                .assigned_partitions
                .iter()
                .map(|topic| {
                    let numbers: Vec<String> = topic.partitions.iter().map(i32::to_string).collect();
                    format!("{}:{}", topic.topic, numbers.join("+"))
                })
                .collect();
            format!("<{}>", topics.join(" "))
        }
        None => String::from_utf8_lossy(bytes).into_owned(),
    }
}
