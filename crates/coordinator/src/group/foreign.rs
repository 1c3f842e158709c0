//! A share or streams group as far as it must be known to leave it alone: that it exists, and who is in it.

use std::collections::BTreeSet;

use ottla_protocol::types::Str;

use super::kind::GroupKind;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ForeignGroup {
    pub(crate) kind: GroupKind,
    pub(crate) members: BTreeSet<Str>,
}

impl ForeignGroup {
    pub(crate) fn new(kind: GroupKind) -> ForeignGroup {
        ForeignGroup { kind, members: BTreeSet::new() }
    }

    pub(crate) fn state_name(&self) -> &'static str {
        if self.members.is_empty() { "Empty" } else { "Stable" }
    }

    pub(crate) fn protocol_type(&self) -> &'static str {
        self.kind.name()
    }
}
