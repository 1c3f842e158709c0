//! Facts with the lines that say them, and the JSON document that they add up to.

use serde_json::{Map, Value};

use super::Table;

/// The form of a tool's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

impl Format {
    /// Takes `--output FORMAT` out of a command line: every tool has it, and none of Kafka's options is called so.
    ///
    /// # Errors
    /// The value, when it is not a format.
    pub fn take(args: &[String]) -> Result<(Format, Vec<String>), String> {
        let mut format = Format::Text;
        let mut rest = Vec::with_capacity(args.len());
        let mut words = args.iter();
        while let Some(word) = words.next() {
            let value = match word.as_str() {
                "--" => {
                    rest.push(word.clone());
                    rest.extend(words.by_ref().cloned());
                    break;
                }
                "--output" => words.next().map_or("", String::as_str),
                other => match other.strip_prefix("--output=") {
                    Some(value) => value,
                    None => {
                        rest.push(word.clone());
                        continue;
                    }
                },
            };
            format = match value {
                "text" => Format::Text,
                "json" => Format::Json,
                other => return Err(other.to_owned()),
            };
        }
        Ok((format, rest))
    }
}

/// Something that a tool reports: lines for a person, fields for a program.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    lines: Vec<String>,
    fields: Map<String, Value>,
}

impl Entry {
    /// An entry that a line says.
    pub fn new(line: impl Into<String>) -> Entry {
        Entry { lines: vec![line.into()], fields: Map::new() }
    }

    /// An entry without a line of its own.
    pub fn silent() -> Entry {
        Entry::default()
    }

    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Entry {
        self.fields.insert(key.to_owned(), value.into());
        self
    }

    /// Entries within this one; their lines follow those so far.
    pub fn list(mut self, key: &str, entries: impl IntoIterator<Item = Entry>) -> Entry {
        let mut values = Vec::new();
        for entry in entries {
            self.lines.extend(entry.lines);
            values.push(Value::Object(entry.fields));
        }
        self.with(key, values)
    }

    /// A table within this entry; its lines are printed if `shown`.
    pub fn table(mut self, key: &str, table: &Table, shown: bool) -> Entry {
        if shown {
            self.lines.extend(table.lines());
        }
        let values: Vec<Value> = table.entries().map(|e| Value::Object(e.fields)).collect();
        self.with(key, values)
    }

    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

/// What a tool has said.
#[derive(Debug, Default)]
pub(super) struct Document {
    fields: Map<String, Value>,
    errors: Vec<String>,
    /// Objects have been printed as they came.
    streamed: bool,
}

impl Document {
    fn values(&mut self, key: &str) -> Option<&mut Vec<Value>> {
        self.fields.entry(key).or_insert_with(|| Value::Array(Vec::new())).as_array_mut()
    }

    pub fn list(&mut self, key: &str) {
        self.values(key);
    }

    pub fn push(&mut self, key: &str, entry: Entry) {
        if let Some(values) = self.values(key) {
            values.push(Value::Object(entry.fields));
        }
    }

    pub fn merge(&mut self, entry: Entry) {
        self.fields.extend(entry.fields);
    }

    fn text(&mut self, key: &str, text: &str) {
        let text = text.trim();
        if !text.is_empty()
            && let Some(values) = self.values(key)
        {
            values.push(Value::from(text));
        }
    }

    pub fn message(&mut self, text: &str) {
        self.text("messages", text);
    }

    /// Keeps a warning, or gives the object that says it in a stream.
    pub fn warning(&mut self, text: &str) -> Option<Value> {
        if self.streamed {
            return Some(Value::Object(Map::from_iter([("warning".to_owned(), text.trim().into())])));
        }
        self.text("warnings", text);
        None
    }

    pub fn error(&mut self, text: &str) {
        self.errors.push(text.trim().to_owned());
    }

    pub fn streams(&mut self) {
        self.streamed = true;
    }

    /// The document; none when there is nothing to say beside an error or what was streamed.
    pub fn output(&self) -> Option<Value> {
        let needed = !self.fields.is_empty() || (self.errors.is_empty() && !self.streamed);
        needed.then(|| Value::Object(self.fields.clone()))
    }

    /// `{"error": ...}`.
    pub fn failure(&self) -> Option<Value> {
        let text = self.errors.join("\n");
        (!self.errors.is_empty()).then(|| Value::Object(Map::from_iter([("error".to_owned(), text.into())])))
    }
}
