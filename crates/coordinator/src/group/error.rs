//! Why a group request is refused. Texts are Kafka's, clients show them.

use ottla_protocol::ErrorCode;
use ottla_protocol::types::Str;

/// A refusal of the group coordinator. All are the client's to act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    #[error("{}", ErrorCode::InvalidGroupId.message())]
    InvalidGroupId,
    #[error("{}", ErrorCode::InvalidSessionTimeout.message())]
    InvalidSessionTimeout,
    #[error("{}", ErrorCode::CoordinatorNotAvailable.message())]
    CoordinatorNotAvailable,
    #[error("Group {0} not found.")]
    GroupNotFound(Str),
    #[error("Group {0} not found.")]
    GroupOfMemberNotFound(Str),
    #[error("Consumer group {0} not found.")]
    ConsumerGroupNotFound(Str),
    #[error("Group {0} is not a consumer group.")]
    NotConsumerGroup(Str),
    #[error("Group {0} is not a classic group.")]
    NotClassicGroup(Str),
    #[error("Group {0} is in dead state.")]
    GroupDead(Str),
    #[error("{}", ErrorCode::NonEmptyGroup.message())]
    NonEmptyGroup,
    #[error("Member {member_id} is not a member of group {group_id}.")]
    NotAMember { member_id: Str, group_id: Str },
    #[error("{}", ErrorCode::UnknownMemberId.message())]
    UnknownMemberId,
    #[error("Instance id {0} is unknown.")]
    UnknownInstanceId(Str),
    #[error("Member with instance id {instance_id} is not a member of group {group_id}.")]
    InstanceNotAMember { instance_id: Str, group_id: Str },
    #[error("{}", ErrorCode::FencedInstanceId.message())]
    FencedInstanceId,
    #[error("Static member {member_id} with instance id {instance_id} was fenced by member {owner}.")]
    InstanceFencedBy { member_id: Str, instance_id: Str, owner: Str },
    #[error(
        "Static member {member_id} with instance id {instance_id} cannot join the group because the instance id is owned by {owner} member."
    )]
    UnreleasedInstanceId { member_id: Str, instance_id: Str, owner: Str },
    #[error("{}", ErrorCode::IllegalGeneration.message())]
    IllegalGeneration,
    #[error(
        "The request generation id {received} is not equal to the member epoch {expected} of member {member_id}."
    )]
    GenerationMismatch { received: i32, expected: i32, member_id: Str },
    #[error("{}", ErrorCode::RebalanceInProgress.message())]
    RebalanceInProgress,
    #[error(
        "A new rebalance is triggered in group {group_id} and member {member_id} should rejoin to catch up."
    )]
    MemberMustRejoin { group_id: Str, member_id: Str },
    #[error("{}", ErrorCode::InconsistentGroupProtocol.message())]
    InconsistentGroupProtocol,
    #[error(
        "Cannot join the consumer group {0} with the classic protocol because the group migration is disabled."
    )]
    MigrationDisabled(Str),
    #[error("Member {0}'s protocols are not supported.")]
    ProtocolsNotSupported(Str),
    #[error(
        "The protocol type {received} from member {member_id} request is not equal to the group protocol type consumer."
    )]
    ProtocolTypeMismatch { received: Str, member_id: Str },
    #[error(
        "The protocol name {received} from member {member_id} request is not equal to the protocol name {expected} returned in the join response."
    )]
    ProtocolNameMismatch { received: Str, member_id: Str, expected: Str },
    #[error("Malformed embedded consumer protocol in subscription deserialization.")]
    MalformedSubscription,
    #[error("Member {0} does not use the classic protocol.")]
    NotUsingClassicProtocol(Str),
    #[error("The consumer group has reached its maximum capacity of {0} members.")]
    GroupFull(i32),
    #[error(
        "The consumer group member has a greater member epoch ({received}) than the one known by the group coordinator ({expected}). The member must abandon all its partitions and rejoin."
    )]
    GreaterMemberEpoch { received: i32, expected: i32 },
    #[error(
        "The consumer group member has a smaller member epoch ({received}) than the one known by the group coordinator ({expected}). The member must abandon all its partitions and rejoin."
    )]
    SmallerMemberEpoch { received: i32, expected: i32 },
    #[error(
        "The consumer group member is in a unknown state. The member must abandon all its partitions and rejoin."
    )]
    UnknownMemberState,
    #[error("Cannot upgrade classic group {0} to consumer group because online upgrade is disabled.")]
    UpgradeDisabled(Str),
    #[error(
        "Cannot upgrade classic group {0} to consumer group because the group does not use the consumer embedded protocol."
    )]
    UpgradeOtherProtocol(Str),
    #[error(
        "Cannot upgrade classic group {0} to consumer group because the group size exceeds the consumer group maximum size."
    )]
    UpgradeTooLarge(Str),
    #[error(
        "Cannot upgrade classic group {0} to consumer group because the embedded consumer protocol is malformed."
    )]
    UpgradeMalformed(Str),
    #[error(
        "Cannot upgrade classic group {0} to consumer group because an unsupported custom assignor is in use. Please refer to the documentation or switch to a default assignor before re-attempting the upgrade."
    )]
    UpgradeCustomAssignor(Str),
    #[error("Cannot downgrade the classic group {0}: the embedded consumer protocol is malformed.")]
    DowngradeMalformed(Str),
    #[error("{0}")]
    InvalidRequest(&'static str),
    #[error("ServerAssignor {name} is not supported. Supported assignors: {supported}.")]
    UnsupportedAssignor { name: Str, supported: String },
    #[error("SubscribedTopicRegex `{regex}` is not a valid regular expression: {reason}.")]
    InvalidRegex { regex: Str, reason: &'static str },
    #[error(
        "Failed to compute a new target assignment for epoch {epoch}: Member is subscribed to a non-existent topic"
    )]
    AssignorFailed { epoch: i32 },
    #[error("OffsetCommit version 9 or above must be used by members using the consumer group protocol")]
    CommitVersionTooOld,
    #[error("Received {} {received} is newer than current member epoch {expected}.", epoch_word(*.classic))]
    NewerMemberEpoch { classic: bool, received: i32, expected: i32 },
    #[error("Partition {topic}-{partition} is not assigned or pending revocation for member.")]
    PartitionNotAssigned { classic: bool, topic: Str, partition: i32 },
    #[error("Received {} {received} is older than assignment epoch {expected} for partition {topic}-{partition}.", epoch_word(*.classic))]
    OlderThanAssignment { classic: bool, received: i32, expected: i32, topic: Str, partition: i32 },
    #[error("The received {} {received} does not match the expected member epoch {expected}.", epoch_word(*.classic))]
    MemberEpochMismatch { classic: bool, received: i32, expected: i32 },
}

fn epoch_word(classic: bool) -> &'static str {
    if classic { "generation id" } else { "member epoch" }
}

impl GroupError {
    /// The code on the wire.
    pub fn code(&self) -> ErrorCode {
        let stale = |classic: &bool| {
            if *classic { ErrorCode::IllegalGeneration } else { ErrorCode::StaleMemberEpoch }
        };
        match self {
            GroupError::InvalidGroupId => ErrorCode::InvalidGroupId,
            GroupError::InvalidSessionTimeout => ErrorCode::InvalidSessionTimeout,
            GroupError::CoordinatorNotAvailable => ErrorCode::CoordinatorNotAvailable,
            GroupError::GroupNotFound(_)
            | GroupError::ConsumerGroupNotFound(_)
            | GroupError::NotConsumerGroup(_)
            | GroupError::NotClassicGroup(_)
            | GroupError::GroupDead(_)
            | GroupError::UpgradeDisabled(_)
            | GroupError::UpgradeOtherProtocol(_)
            | GroupError::UpgradeTooLarge(_)
            | GroupError::UpgradeMalformed(_)
            | GroupError::UpgradeCustomAssignor(_)
            | GroupError::DowngradeMalformed(_) => ErrorCode::GroupIdNotFound,
            GroupError::NonEmptyGroup => ErrorCode::NonEmptyGroup,
            GroupError::GroupOfMemberNotFound(_)
            | GroupError::NotAMember { .. }
            | GroupError::UnknownMemberId
            | GroupError::UnknownInstanceId(_)
            | GroupError::InstanceNotAMember { .. }
            | GroupError::NotUsingClassicProtocol(_) => ErrorCode::UnknownMemberId,
            GroupError::FencedInstanceId | GroupError::InstanceFencedBy { .. } => ErrorCode::FencedInstanceId,
            GroupError::UnreleasedInstanceId { .. } => ErrorCode::UnreleasedInstanceId,
            GroupError::IllegalGeneration | GroupError::GenerationMismatch { .. } => {
                ErrorCode::IllegalGeneration
            }
            GroupError::RebalanceInProgress | GroupError::MemberMustRejoin { .. } => {
                ErrorCode::RebalanceInProgress
            }
            GroupError::InconsistentGroupProtocol
            | GroupError::MigrationDisabled(_)
            | GroupError::ProtocolsNotSupported(_)
            | GroupError::ProtocolTypeMismatch { .. }
            | GroupError::ProtocolNameMismatch { .. }
            | GroupError::MalformedSubscription => ErrorCode::InconsistentGroupProtocol,
            GroupError::GroupFull(_) => ErrorCode::GroupMaxSizeReached,
            GroupError::GreaterMemberEpoch { .. }
            | GroupError::SmallerMemberEpoch { .. }
            | GroupError::UnknownMemberState => ErrorCode::FencedMemberEpoch,
            GroupError::InvalidRequest(_) => ErrorCode::InvalidRequest,
            GroupError::UnsupportedAssignor { .. } => ErrorCode::UnsupportedAssignor,
            GroupError::InvalidRegex { .. } => ErrorCode::InvalidRegularExpression,
            GroupError::AssignorFailed { .. } => ErrorCode::UnknownServerError,
            GroupError::CommitVersionTooOld => ErrorCode::UnsupportedVersion,
            GroupError::NewerMemberEpoch { classic, .. }
            | GroupError::PartitionNotAssigned { classic, .. }
            | GroupError::OlderThanAssignment { classic, .. }
            | GroupError::MemberEpochMismatch { classic, .. } => stale(classic),
        }
    }

    /// Kafka's text, for the responses that carry one.
    pub fn message(&self) -> Str {
        Str::from(self.to_string())
    }
}
