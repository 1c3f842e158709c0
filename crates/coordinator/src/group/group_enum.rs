//! A group of any kind.

use super::classic::ClassicGroup;
use super::consumer::ConsumerGroup;
use super::error::GroupError;
use super::foreign::ForeignGroup;
use super::kind::GroupKind;
use super::record::GroupRecord;
use crate::offsets::ExpirationBase;

#[derive(Debug, Clone)]
pub(crate) enum Group {
    Classic(ClassicGroup),
    Consumer(ConsumerGroup),
    Foreign(ForeignGroup),
}

impl Group {
    pub(crate) fn kind(&self) -> GroupKind {
        match self {
            Group::Classic(_) => GroupKind::Classic,
            Group::Consumer(_) => GroupKind::Consumer,
            Group::Foreign(group) => group.kind,
        }
    }

    pub(crate) fn state_name(&self) -> &'static str {
        match self {
            Group::Classic(group) => group.state.name(),
            Group::Consumer(group) => group.state().name(),
            Group::Foreign(group) => group.state_name(),
        }
    }

    pub(crate) fn protocol_type(&self) -> &str {
        match self {
            Group::Classic(group) => group.protocol_type.as_deref().unwrap_or_default(),
            Group::Consumer(_) => "consumer",
            Group::Foreign(group) => group.protocol_type(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Group::Classic(group) => group.is_empty(),
            Group::Consumer(group) => group.is_empty(),
            Group::Foreign(group) => group.members.is_empty(),
        }
    }

    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        match self {
            Group::Classic(group) => group.is_subscribed_to(topic),
            Group::Consumer(group) => group.is_subscribed_to(topic),
            Group::Foreign(_) => false,
        }
    }

    pub(crate) fn validate_offset_delete(&self) -> Result<(), GroupError> {
        match self {
            Group::Classic(group) => group.validate_offset_delete(),
            Group::Consumer(_) | Group::Foreign(_) => Ok(()),
        }
    }

    pub(crate) fn validate_delete(&self) -> Result<(), GroupError> {
        match self {
            Group::Classic(group) => group.validate_delete(),
            Group::Consumer(group) if group.is_empty() => Ok(()),
            Group::Consumer(_) | Group::Foreign(_) => Err(GroupError::NonEmptyGroup),
        }
    }

    /// Since when an offset of the group counts as unused; `None` while it must not expire.
    pub(crate) fn expiration_base(&self) -> Option<ExpirationBase> {
        match self {
            Group::Classic(group) => group.expiration_base(),
            Group::Consumer(_) => Some(ExpirationBase::Commit),
            Group::Foreign(_) => None,
        }
    }

    pub(crate) fn tombstones(&self, records: &mut Vec<GroupRecord>) {
        match self {
            Group::Classic(group) => group.tombstones(records),
            Group::Consumer(group) => group.tombstones(records, None),
            Group::Foreign(_) => {}
        }
    }
}
