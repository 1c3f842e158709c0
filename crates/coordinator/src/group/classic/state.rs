//! The states of a classic group and which may follow which.

/// Source: Kafka `ClassicGroupState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClassicState {
    /// No members; offsets may remain.
    Empty,
    /// Members are (re)joining.
    PreparingRebalance,
    /// All have joined; the leader's assignment is awaited.
    CompletingRebalance,
    /// Every member has its assignment.
    Stable,
}

impl ClassicState {
    pub fn name(self) -> &'static str {
        match self {
            ClassicState::Empty => "Empty",
            ClassicState::PreparingRebalance => "PreparingRebalance",
            ClassicState::CompletingRebalance => "CompletingRebalance",
            ClassicState::Stable => "Stable",
        }
    }

    /// Whether a group in this state may go to `next`.
    pub fn may_become(self, next: ClassicState) -> bool {
        use ClassicState::*;
        matches!(
            (self, next),
            (PreparingRebalance, Empty)
                | (Stable | CompletingRebalance | Empty, PreparingRebalance)
                | (PreparingRebalance, CompletingRebalance)
                | (CompletingRebalance, Stable)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transitions_are_those_of_kafka() {
        use ClassicState::*;
        let states = [Empty, PreparingRebalance, CompletingRebalance, Stable];
        let table: String = states
            .iter()
            .map(|from| {
                let to: Vec<&str> =
                    states.iter().filter(|to| from.may_become(**to)).map(|state| state.name()).collect();
                format!("{} -> {}\n", from.name(), to.join(", "))
            })
            .collect();
        expect_test::expect![[r#"
            Empty -> PreparingRebalance
            PreparingRebalance -> Empty, CompletingRebalance
            CompletingRebalance -> PreparingRebalance, Stable
            Stable -> PreparingRebalance
        "#]]
        .assert_eq(&table);
    }
}
