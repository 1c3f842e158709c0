//! A line of the dump: names and values, as Kafka's text or as a JSON object.

use std::io::{self, Write};

use serde_json::{Map, Value};

use crate::output::Cell;

/// Where lines go, and in which form.
pub struct Lines<'w> {
    pub writer: &'w mut dyn Write,
    pub json: bool,
}

impl Lines<'_> {
    pub fn print(&mut self, line: Line) -> io::Result<()> {
        if self.json {
            return writeln!(self.writer, "{}", Value::Object(line.fields));
        }
        writeln!(self.writer, "{}", line.text)
    }
}

/// What is told of one thing.
pub struct Line {
    text: String,
    fields: Map<String, Value>,
    /// What stands before the first fact.
    prefix: &'static str,
}

impl Line {
    /// `kind` is what the object is, in JSON.
    pub fn new(kind: &str) -> Line {
        let kind = Map::from_iter([("kind".to_owned(), Value::from(kind))]);
        Line { text: String::new(), fields: kind, prefix: "" }
    }

    /// A line that is a sentence.
    pub fn said(kind: &str, text: String) -> Line {
        Line { text, ..Line::new(kind) }
    }

    pub fn prefix(self, prefix: &'static str) -> Line {
        Line { prefix, ..self }
    }

    fn separate(&mut self) {
        let separator = if self.text.is_empty() { self.prefix } else { " " };
        self.text.push_str(separator);
    }

    /// `name: value`.
    pub fn fact(self, name: &str, value: impl Into<Cell>) -> Line {
        self.fact_as(name, name, value)
    }

    /// As [`Line::fact`], with another name in JSON.
    pub fn fact_as(mut self, name: &str, key: &str, value: impl Into<Cell>) -> Line {
        let (text, value) = value.into().into_parts();
        self.separate();
        self.text.push_str(name);
        self.text.push_str(": ");
        self.text.push_str(&text);
        self.field(key, value)
    }

    /// A field that the text says in another way.
    pub fn field(mut self, key: &str, value: impl Into<Value>) -> Line {
        self.fields.insert(key.to_owned(), value.into());
        self
    }

    /// Text that a field says in another way.
    pub fn text(mut self, text: &str) -> Line {
        self.separate();
        self.text.push_str(text);
        self
    }
}
