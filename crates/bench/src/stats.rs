//! Figures of several rounds, and what they say together.

use std::collections::BTreeMap;

/// What a figure is measured in, and which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Less,
    More,
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
}

impl Figure {
    pub fn less(name: impl Into<String>, unit: &'static str, value: f64) -> Figure {
        Figure { name: name.into(), unit, better: Better::Less, value, aim: None }
    }

    pub fn more(name: impl Into<String>, unit: &'static str, value: f64) -> Figure {
        Figure { name: name.into(), unit, better: Better::More, value, aim: None }
    }

    pub fn aim(mut self, ratio: f64) -> Figure {
        self.aim = Some(ratio);
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
    /// Figures in the order in which they were first seen: name, unit, direction, aim.
    order: Vec<Figure>,
    values: BTreeMap<(String, String), Vec<f64>>,
}

impl Results {
    pub fn add(&mut self, system: &str, figure: Figure) {
        self.values.entry((system.to_owned(), figure.name.clone())).or_default().push(figure.value);
        if !self.order.iter().any(|f| f.name == figure.name) {
            self.order.push(figure);
        }
    }

    pub fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.order.iter()
    }

    pub fn spread(&self, system: &str, figure: &str) -> Option<Spread> {
        Spread::of(self.values.get(&(system.to_owned(), figure.to_owned()))?.clone())
    }

    /// Median of the one over the median of the other.
    pub fn ratio(&self, system: &str, base: &str, figure: &str) -> Option<f64> {
        let (one, other) = (self.spread(system, figure)?.median, self.spread(base, figure)?.median);
        (other > 0.0).then(|| one / other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios() {
        let mut r = Results::default();
        for (system, values) in [("a", vec![3.0, 1.0, 2.0]), ("b", vec![4.0, 8.0])] {
            for v in values {
                r.add(system, Figure::less("x", "s", v));
            }
        }
        assert_eq!(r.spread("a", "x"), Some(Spread { least: 1.0, median: 2.0, greatest: 3.0 }));
        assert_eq!(r.ratio("a", "b", "x"), Some(2.0 / 6.0));
        assert_eq!(r.ratio("a", "c", "x"), None);
        assert_eq!(r.figures().count(), 1);
    }
}
