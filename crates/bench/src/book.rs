//! What was measured, as it is kept in `docs/benchmarks.json`: one entry for each scenario and set of peers, with the day and
//! the commit it is of, so that one scenario can be measured anew without the others.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::machine;
use crate::scenario::{SCENARIOS, Scenario};
use crate::stats::{Better, Results, Spread};
use crate::system::System;

/// A scenario as it comes from a run.
#[derive(Debug)]
pub struct Measured {
    pub scenario: &'static Scenario,
    pub results: Results,
    /// By system: why it has no figures, or not all.
    pub notes: BTreeMap<String, String>,
}

impl Measured {
    pub fn of(scenario: &'static Scenario) -> Measured {
        Measured { scenario, results: Results::default(), notes: BTreeMap::new() }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Book {
    pub entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub scenario: String,
    /// In the order in which they were started in the first round.
    pub systems: Vec<String>,
    pub date: String,
    pub commit: String,
    pub machine: String,
    pub rounds: usize,
    /// A tenth of the amounts: a look, not a measurement.
    pub quick: bool,
    #[serde(default)]
    pub notes: BTreeMap<String, String>,
    pub figures: Vec<Row>,
}

/// A figure over all rounds of all systems.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    pub unit: String,
    pub better: Better,
    /// The ratio to Apache Kafka that is aimed at, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aim: Option<f64>,
    /// The value that is aimed at, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<f64>,
    /// By system, a value for each round.
    pub values: BTreeMap<String, Vec<f64>>,
}

pub const KAFKA: &str = "Apache Kafka";
pub const OTTLA: &str = "Ottla";

impl Row {
    pub fn spread(&self, system: &str) -> Option<Spread> {
        Spread::of(self.values.get(system)?.clone())
    }

    /// Ottla's median over that of Apache Kafka.
    pub fn ratio(&self) -> Option<f64> {
        let (one, other) = (self.spread(OTTLA)?.median, self.spread(KAFKA)?.median);
        (other > 0.0).then(|| one / other)
    }

    /// Whether what is aimed at is reached: the ratio, or else the value; none where there is no aim or no peer.
    pub fn reached(&self) -> Option<bool> {
        let holds = |is: f64, aim: f64| match self.better {
            Better::Less => is <= aim,
            Better::More => is >= aim,
            Better::Neither => true,
        };
        match (self.aim, self.goal) {
            (Some(aim), None) => Some(holds(self.ratio()?, aim)),
            (None, Some(goal)) => Some(holds(self.spread(OTTLA)?.median, goal)),
            (Some(aim), Some(goal)) => {
                let value = holds(self.spread(OTTLA)?.median, goal);
                Some(value && self.ratio().is_none_or(|r| holds(r, aim)))
            }
            (None, None) => None,
        }
    }
}

impl Book {
    pub fn of(all: Vec<Measured>, systems: &[System], rounds: usize, quick: bool, data: &Path) -> Book {
        let (date, commit, machine) = (machine::now(), machine::commit(), machine::describe(data));
        let systems: Vec<String> = systems.iter().map(|s| s.name().to_owned()).collect();
        let entries = all
            .into_iter()
            .filter(|_| rounds > 0)
            .map(|m| Entry {
                scenario: m.scenario.name.to_owned(),
                systems: systems.clone(),
                date: date.clone(),
                commit: commit.clone(),
                machine: machine.clone(),
                rounds,
                quick,
                notes: m.notes,
                figures: m.results.into_rows(),
            })
            .collect();
        Book { entries }
    }

    pub fn load(path: &Path) -> Result<Book, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
    }

    pub fn save(&self, path: &Path) -> Result<(), String> {
        let mut text = serde_json::to_string_pretty(self).map_err(|e| e.to_string())?;
        text.push('\n');
        std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
    }

    pub fn find(&self, scenario: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.scenario == scenario)
    }

    /// Takes the entries of `newer` in place of those of the same scenario with the same peers. Ratios are of one run, so
    /// that figures of different runs are never put into one entry. Entries come in the order of the scenarios.
    pub fn merge(&mut self, newer: Book) {
        for entry in newer.entries {
            let same = |e: &Entry| e.scenario == entry.scenario && e.systems == entry.systems;
            self.entries.retain(|e| !same(e));
            self.entries.push(entry);
        }
        let place = |name: &str| SCENARIOS.iter().position(|s| s.name == name).unwrap_or(usize::MAX);
        // With Apache Kafka before without, which `find` relies on.
        self.entries
            .sort_by_key(|e| (place(&e.scenario), !e.systems.iter().any(|s| s == KAFKA), e.systems.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Figure;

    fn book(scenario: &'static Scenario, value: f64, systems: &[System]) -> Book {
        let mut m = Measured::of(scenario);
        for s in systems {
            m.results.add(s.name(), Figure::less("x", "s", value).aim(0.5));
        }
        Book::of(vec![m], systems, 1, false, Path::new("/"))
    }

    #[test]
    fn a_scenario_is_replaced_and_others_stay() {
        let both = [System::Ottla, System::Kafka];
        let mut kept = book(&SCENARIOS[1], 1.0, &both);
        kept.merge(book(&SCENARIOS[0], 2.0, &both));
        kept.merge(book(&SCENARIOS[1], 3.0, &both));
        kept.merge(book(&SCENARIOS[1], 4.0, &[System::Ottla]));
        let seen: Vec<(&str, f64, usize)> = kept
            .entries
            .iter()
            .map(|e| (e.scenario.as_str(), e.figures[0].values[OTTLA][0], e.systems.len()))
            .collect();
        assert_eq!(
            seen,
            [(SCENARIOS[0].name, 2.0, 2), (SCENARIOS[1].name, 3.0, 2), (SCENARIOS[1].name, 4.0, 1)]
        );
        let text = serde_json::to_string(&kept).expect("it can be written");
        assert_eq!(serde_json::from_str::<Book>(&text).expect("and read"), kept);
    }

    #[test]
    fn an_aim_is_of_the_ratio_and_a_goal_of_the_value() {
        let row = |aim, goal| Row {
            name: "x".into(),
            unit: "s".into(),
            better: Better::Less,
            aim,
            goal,
            values: [(OTTLA.to_owned(), vec![2.0]), (KAFKA.to_owned(), vec![4.0])].into(),
        };
        assert_eq!(row(Some(0.5), None).reached(), Some(true));
        assert_eq!(row(Some(0.4), None).reached(), Some(false));
        assert_eq!(row(None, Some(1.9)).reached(), Some(false));
        assert_eq!(row(Some(0.5), Some(3.0)).reached(), Some(true));
        assert_eq!(row(None, None).reached(), None);
    }
}
