//! A command line after reading.

use std::collections::BTreeMap;

/// Options with their values. Values have been checked to be of their option's type.
#[derive(Debug, Clone, Default)]
pub struct Parsed {
    values: BTreeMap<&'static str, Vec<String>>,
    /// The options in the order in which they were given.
    order: Vec<&'static str>,
    words: Vec<String>,
}

impl Parsed {
    pub(super) fn saw(&mut self, name: &'static str) {
        self.order.push(name);
    }

    pub(super) fn add_flag(&mut self, name: &'static str) {
        self.values.entry(name).or_default();
    }

    pub(super) fn add_value(&mut self, name: &'static str, value: &str) {
        self.values.entry(name).or_default().push(value.to_owned());
    }

    pub(super) fn add_word(&mut self, word: &str) {
        self.words.push(word.to_owned());
    }

    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The last value of an option.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.last().map(String::as_str)
    }

    pub fn texts(&self, name: &str) -> Vec<&str> {
        self.values.get(name).into_iter().flatten().map(String::as_str).collect()
    }

    pub fn int(&self, name: &str) -> Option<i32> {
        self.text(name)?.parse().ok()
    }

    pub fn long(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    pub fn double(&self, name: &str) -> Option<f64> {
        self.text(name)?.parse().ok()
    }

    /// Options in the order in which they were given, with repetitions.
    pub fn order(&self) -> &[&'static str] {
        &self.order
    }

    /// Words that belong to no option.
    pub fn words(&self) -> &[String] {
        &self.words
    }
}
