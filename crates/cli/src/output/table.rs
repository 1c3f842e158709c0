//! Tables: padded columns for a person, an object per row for a program.

use serde_json::Value;

use super::Entry;

/// A value with its text.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    value: Value,
}

impl Cell {
    /// A value whose text is not the value itself.
    pub fn new(text: impl Into<String>, value: impl Into<Value>) -> Cell {
        Cell { text: text.into(), value: value.into() }
    }

    pub fn into_parts(self) -> (String, Value) {
        (self.text, self.value)
    }

    /// A value that may be missing, and the text that says so.
    pub fn optional<T: ToString + Into<Value>>(value: Option<T>, missing: &str) -> Cell {
        match value {
            Some(value) => Cell::new(value.to_string(), value),
            None => Cell::new(missing, Value::Null),
        }
    }
}

impl<T: ToString + Into<Value>> From<T> for Cell {
    fn from(value: T) -> Cell {
        Cell::new(value.to_string(), value)
    }
}

/// A column: its head in the text, its name in JSON.
#[derive(Debug, Clone)]
pub struct Column {
    title: &'static str,
    key: &'static str,
    width: Option<usize>,
    least: usize,
    shown: bool,
}

impl Column {
    /// A column without padding.
    pub fn new(title: &'static str, key: &'static str) -> Column {
        Column { title, key, width: None, least: 0, shown: true }
    }

    /// As wide as this, whatever is in it.
    pub fn fixed(self, width: usize) -> Column {
        Column { width: Some(width), ..self }
    }

    /// As wide as its widest cell and at least this; the head does not count.
    pub fn at_least(self, least: usize) -> Column {
        Column { width: Some(0), least: least.max(1), ..self }
    }

    /// As wide as its widest cell or its head.
    pub fn fitting(self) -> Column {
        let least = self.title.chars().count();
        self.at_least(least)
    }

    /// Only part of the text if so; JSON has it always.
    pub fn shown(self, shown: bool) -> Column {
        Column { shown, ..self }
    }
}

/// Rows of cells under columns.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    separator: &'static str,
    row_end: &'static str,
    head_end: &'static str,
    blank_first: bool,
}

impl Table {
    pub fn new(columns: Vec<Column>) -> Table {
        Table { columns, rows: Vec::new(), separator: " ", row_end: "", head_end: "", blank_first: false }
    }

    /// What stands between two columns.
    pub fn separated(self, separator: &'static str) -> Table {
        Table { separator, ..self }
    }

    /// What stands behind the last column of the head and of the rows.
    pub fn ended(self, head_end: &'static str, row_end: &'static str) -> Table {
        Table { head_end, row_end, ..self }
    }

    /// An empty line comes first.
    pub fn blank_first(self) -> Table {
        Table { blank_first: true, ..self }
    }

    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The rows as entries of a list.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.rows.iter().map(|row| {
            let cells = self.columns.iter().zip(row).filter(|(column, _)| !column.key.is_empty());
            cells.fold(Entry::silent(), |entry, (column, cell)| entry.with(column.key, cell.value.clone()))
        })
    }

    fn widths(&self) -> Vec<Option<usize>> {
        let widest = |at: usize| {
            self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.text.chars().count()).max()
        };
        let columns = self.columns.iter().enumerate();
        columns
            .map(|(at, column)| match column.least {
                0 => column.width,
                least => Some(widest(at).unwrap_or(0).max(least)),
            })
            .collect()
    }

    /// The table as Kafka's tool prints it.
    pub fn lines(&self) -> Vec<String> {
        let widths = self.widths();
        let join = |texts: &mut dyn Iterator<Item = &str>, end: &str| {
            let mut line = String::new();
            let mut first = true;
            for ((text, column), width) in texts.zip(&self.columns).zip(&widths) {
                if !column.shown {
                    continue;
                }
                if !first {
                    line.push_str(self.separator);
                }
                first = false;
                match width {
                    Some(width) => line.push_str(&format!("{text:<width$}")),
                    None => line.push_str(text),
                }
            }
            line + end
        };
        let mut lines = Vec::with_capacity(self.rows.len() + 2);
        if self.blank_first {
            lines.push(String::new());
        }
        lines.push(join(&mut self.columns.iter().map(|c| c.title), self.head_end));
        for row in &self.rows {
            lines.push(join(&mut row.iter().map(|c| c.text.as_str()), self.row_end));
        }
        lines
    }
}
