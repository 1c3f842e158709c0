//! Server-side assignors of consumer groups. Source: Kafka `coordinator.group.assignor`.
//!
//! Where Kafka's result depends on the iteration order of a hash map (of members, of topics), the order here is
//! that of the ids, so the same group always gets the same assignment.

mod range;
mod uniform_heterogeneous;
mod uniform_homogeneous;

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::types::{Str, Uuid};

use crate::topics::TopicsView;

/// An entry of `group.consumer.assignors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AssignorKind {
    /// Balances partitions over members and moves as few as it can.
    Uniform,
    /// Ranges of each topic, equal ranges of topics with equal partition counts to the same member.
    Range,
}

impl AssignorKind {
    pub fn name(self) -> &'static str {
        match self {
            AssignorKind::Uniform => "uniform",
            AssignorKind::Range => "range",
        }
    }

    pub fn parse(name: &str) -> Option<AssignorKind> {
        [AssignorKind::Uniform, AssignorKind::Range].into_iter().find(|kind| kind.name() == name)
    }

    /// Computes the assignment of every member; members without one may be missing.
    ///
    /// # Errors
    /// When a member subscribes to a topic that does not exist.
    pub fn assign(
        self,
        spec: &GroupSpec<'_>,
    ) -> Result<BTreeMap<Str, BTreeMap<Uuid, BTreeSet<i32>>>, NoSuchTopic> {
        if spec.members.is_empty() {
            return Ok(BTreeMap::new());
        }
        match (self, spec.subscription_type) {
            (AssignorKind::Range, SubscriptionType::Homogeneous) => range::assign_homogeneous(spec),
            (AssignorKind::Range, SubscriptionType::Heterogeneous) => range::assign_heterogeneous(spec),
            (AssignorKind::Uniform, SubscriptionType::Homogeneous) => uniform_homogeneous::assign(spec),
            (AssignorKind::Uniform, SubscriptionType::Heterogeneous) => uniform_heterogeneous::assign(spec),
        }
    }
}

/// A subscribed topic is not in the metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("members are subscribed to topic {0} which does not exist in the topic metadata")]
pub struct NoSuchTopic(pub Uuid);

/// Whether all members subscribe to the same topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionType {
    Homogeneous,
    Heterogeneous,
}

/// A member as an assignor sees it.
#[derive(Debug, Clone)]
pub struct MemberSpec<'a> {
    pub instance_id: Option<&'a Str>,
    pub topic_ids: BTreeSet<Uuid>,
    /// Its target so far.
    pub assignment: &'a BTreeMap<Uuid, BTreeSet<i32>>,
}

/// A group as an assignor sees it.
pub struct GroupSpec<'a> {
    pub members: BTreeMap<Str, MemberSpec<'a>>,
    pub subscription_type: SubscriptionType,
    /// Who has a partition as its target so far.
    pub assigned: &'a BTreeMap<Uuid, BTreeMap<i32, Str>>,
    pub topics: &'a dyn TopicsView,
}

impl GroupSpec<'_> {
    fn partition_count(&self, topic_id: Uuid) -> Result<i32, NoSuchTopic> {
        self.topics.partition_count(topic_id).ok_or(NoSuchTopic(topic_id))
    }

    fn is_partition_assigned(&self, topic_id: Uuid, partition: i32) -> bool {
        self.assigned.get(&topic_id).is_some_and(|partitions| partitions.contains_key(&partition))
    }
}
