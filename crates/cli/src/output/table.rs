//! A table of text, columns padded to their widest cell.

/// Rows under headers. Every column but the last is padded.
#[derive(Debug, Clone, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(headers: &[&str]) -> Table {
        Table { rows: vec![headers.iter().map(|h| (*h).to_owned()).collect()] }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// How many rows there are, without the headers.
    pub fn len(&self) -> usize {
        self.rows.len() - 1
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        (0..columns)
            .map(|c| {
                self.rows.iter().filter_map(|r| r.get(c)).map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect()
    }

    /// Prints as Kafka's `ToolsUtils.prettyPrintTable`: columns padded, parted by a blank and a tab.
    pub fn print(&self) {
        let widths = self.widths();
        for row in &self.rows {
            let mut text = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                text.push_str(&format!("{cell:<width$}\t"));
            }
            super::line(text.trim_end());
        }
    }

    /// Prints rows parted by one blank, as the group tools do.
    pub fn print_spaced(&self) {
        let widths = self.widths();
        for row in &self.rows {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            super::line(cells.join(" ").trim_end());
        }
    }
}
