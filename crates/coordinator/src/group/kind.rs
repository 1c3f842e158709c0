//! The kinds of groups.

/// The kind of a group. Source: Kafka `Group.GroupType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupKind {
    Classic,
    Consumer,
    Share,
    Streams,
}

impl GroupKind {
    /// The name as ListGroups and `group.coordinator.rebalance.protocols` have it.
    pub fn name(self) -> &'static str {
        match self {
            GroupKind::Classic => "classic",
            GroupKind::Consumer => "consumer",
            GroupKind::Share => "share",
            GroupKind::Streams => "streams",
        }
    }

    /// Reads a name in any case; `None` for what is no kind.
    pub fn parse(name: &str) -> Option<GroupKind> {
        [GroupKind::Classic, GroupKind::Consumer, GroupKind::Share, GroupKind::Streams]
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(name))
    }
}
