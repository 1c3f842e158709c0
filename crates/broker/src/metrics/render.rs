//! Prometheus text exposition, version 0.0.4.

use std::fmt::{Display, Write};

/// Collects samples by metric and prints them with one `# TYPE` line each.
#[derive(Debug, Default)]
pub struct Exposition {
    out: String,
    current: String,
}

impl Exposition {
    pub fn new() -> Exposition {
        Exposition::default()
    }

    /// One sample. Samples of one metric must follow each other.
    pub fn sample(&mut self, kind: &str, name: &str, labels: &[(&str, &dyn Display)], value: impl Display) {
        if self.current != name {
            self.current = name.to_owned();
            let _ = writeln!(self.out, "# TYPE {name} {kind}");
        }
        self.out.push_str(name);
        self.labels(labels);
        let _ = writeln!(self.out, " {value}");
    }

    pub fn counter(&mut self, name: &str, labels: &[(&str, &dyn Display)], value: u64) {
        self.sample("counter", name, labels, value);
    }

    pub fn gauge(&mut self, name: &str, labels: &[(&str, &dyn Display)], value: impl Display) {
        self.sample("gauge", name, labels, value);
    }

    /// A distribution: its quantiles, sum and count belong to one metric.
    pub fn summary(
        &mut self,
        name: &str,
        labels: &[(&str, &dyn Display)],
        quantiles: &[(&str, f64)],
        sum: f64,
        count: u64,
    ) {
        for (quantile, value) in quantiles {
            let mut labels = labels.to_vec();
            labels.push(("quantile", quantile));
            self.sample("summary", name, &labels, value);
        }
        for (part, value) in [("_sum", sum), ("_count", count as f64)] {
            self.out.push_str(name);
            self.out.push_str(part);
            self.labels(labels);
            let _ = writeln!(self.out, " {value}");
        }
    }

    fn labels(&mut self, labels: &[(&str, &dyn Display)]) {
        if labels.is_empty() {
            return;
        }
        self.out.push('{');
        for (i, (name, value)) in labels.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let _ = write!(self.out, "{comma}{name}=\"");
            for c in value.to_string().chars() {
                match c {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
        }
        self.out.push('}');
    }

    pub fn finish(self) -> String {
        self.out
    }
}
