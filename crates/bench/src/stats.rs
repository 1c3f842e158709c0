//! Figures of several rounds, and what they say together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::book::Row;

/// What a figure is measured in, and which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    Less,
    More,
    /// It tells of the machine or the load generator, and not of a system.
    Neither,
}

/// One measured number.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// What it is; the same text in every round and for every system.
    pub name: String,
    pub unit: &'static str,
    pub better: Better,
    pub value: f64,
    /// The ratio to Apache Kafka that is aimed at, if one is.
    pub aim: Option<f64>,
    /// The value that is aimed at, if one is.
    pub goal: Option<f64>,
}

impl Figure {
    pub fn less(name: impl Into<String>, unit: &'static str, value: f64) -> Figure {
        Figure { name: name.into(), unit, better: Better::Less, value, aim: None, goal: None }
    }

    pub fn more(name: impl Into<String>, unit: &'static str, value: f64) -> Figure {
        Figure { name: name.into(), unit, better: Better::More, value, aim: None, goal: None }
    }

    /// What the machine or the load generator had to do with the figures beside it.
    pub fn beside(name: impl Into<String>, unit: &'static str, value: f64) -> Figure {
        Figure { name: name.into(), unit, better: Better::Neither, value, aim: None, goal: None }
    }

    pub fn aim(mut self, ratio: f64) -> Figure {
        self.aim = Some(ratio);
        self
    }

    pub fn goal(mut self, value: f64) -> Figure {
        self.goal = Some(value);
        self
    }
}

/// A figure over all rounds: the median and how far the rounds lie apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub least: f64,
    pub median: f64,
    pub greatest: f64,
}

impl Spread {
    /// None without values. Of an even number of values the median is the mean of the two in the middle.
    pub fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let (least, greatest) = (*values.first()?, *values.last()?);
        let mid = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[mid] } else { (values[mid - 1] + values[mid]) / 2.0 };
        Some(Spread { least, median, greatest })
    }
}

/// All rounds of one scenario, by system.
#[derive(Debug, Clone, Default)]
pub struct Results {
    rows: Vec<Row>,
}

impl Results {
    pub fn add(&mut self, system: &str, figure: Figure) {
        let at = self.rows.iter().position(|r| r.name == figure.name).unwrap_or_else(|| {
            self.rows.push(Row {
                name: figure.name,
                unit: figure.unit.to_owned(),
                better: figure.better,
                aim: figure.aim,
                goal: figure.goal,
                values: BTreeMap::new(),
            });
            self.rows.len() - 1
        });
        self.rows[at].values.entry(system.to_owned()).or_default().push(figure.value);
    }

    /// Figures in the order in which they were first seen.
    pub fn into_rows(self) -> Vec<Row> {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios() {
        let mut r = Results::default();
        for (system, values) in [("Ottla", vec![3.0, 1.0, 2.0]), ("Apache Kafka", vec![4.0, 8.0])] {
            for v in values {
                r.add(system, Figure::less("x", "s", v));
            }
        }
        let rows = r.into_rows();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].spread("Ottla"), Some(Spread { least: 1.0, median: 2.0, greatest: 3.0 }));
        assert_eq!(rows[0].ratio(), Some(2.0 / 6.0));
        assert_eq!(rows[0].spread("Nisshi"), None);
    }
}
