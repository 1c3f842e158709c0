//! A strict reader of the Prometheus text format, version 0.0.4: whatever `promtool check metrics` refuses is an error.

use std::collections::{BTreeMap, BTreeSet};

/// Values by name and labels; the labels as `name=value`, sorted, separated by commas.
#[derive(Debug, Default)]
pub struct Samples {
    pub values: BTreeMap<(String, String), f64>,
    pub kinds: BTreeMap<String, String>,
}

impl Samples {
    /// The value of a sample; `labels` as `name=value,...`, sorted.
    pub fn get(&self, name: &str, labels: &str) -> Option<f64> {
        self.values.get(&(name.to_owned(), labels.to_owned())).copied()
    }

    pub fn sum(&self, name: &str) -> f64 {
        self.values.iter().filter(|((n, _), _)| n == name).map(|(_, v)| v).sum()
    }

    pub fn names(&self) -> BTreeSet<&str> {
        self.values.keys().map(|(name, _)| name.as_str()).collect()
    }
}

fn is_name(text: &str, colons: bool) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_' || (colons && c == ':');
    text.starts_with(letter) && text.chars().all(|c| letter(c) || c.is_ascii_digit())
}

/// Labels behind `{`: sorted text, and the rest behind `}`.
fn labels(text: &str) -> Result<(String, &str), String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut rest = text;
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            let texts: Vec<String> = found.iter().map(|(k, v)| format!("{k}={v}")).collect();
            return Ok((texts.join(","), after));
        }
        let (name, after) = rest.split_once("=\"").ok_or("no label value")?;
        if !is_name(name, false) {
            return Err(format!("not a label: {name}"));
        }
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next() {
                None => return Err("the label value has no end".to_owned()),
                Some((at, '"')) => break at,
                Some((_, '\\')) => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, c @ ('\\' | '"'))) => value.push(c),
                    other => return Err(format!("bad escape {other:?}")),
                },
                Some((_, '\n')) => return Err("a line break in a label".to_owned()),
                Some((_, c)) => value.push(c),
            }
        };
        if found.insert(name.to_owned(), value).is_some() {
            return Err(format!("label {name} twice"));
        }
        rest = &after[end + 1..];
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return Err("neither , nor } behind a label".to_owned()),
        }
    }
}

fn number(text: &str) -> Result<f64, String> {
    match text {
        "+Inf" => return Ok(f64::INFINITY),
        "-Inf" => return Ok(f64::NEG_INFINITY),
        "NaN" => return Ok(f64::NAN),
        _ => {}
    }
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E');
    if !text.chars().all(plain) {
        return Err(format!("not a number: {text}"));
    }
    text.parse().map_err(|_| format!("not a number: {text}"))
}

/// Reads a page.
///
/// # Errors
/// The line that breaks a rule, and the rule.
pub fn parse(text: &str) -> Result<Samples, String> {
    let mut samples = Samples::default();
    let mut finished: BTreeSet<String> = BTreeSet::new();
    let mut family: Option<(String, String)> = None;
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    for line in text.lines() {
        let wrong = |why: &str| Err(format!("{why}: {line}"));
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let Some((name, kind)) = rest.split_once(' ') else { return wrong("no type") };
            if !is_name(name, true)
                || !["counter", "gauge", "summary", "histogram", "untyped"].contains(&kind)
            {
                return wrong("not a type line");
            }
            if let Some((old, _)) = family.take() {
                finished.insert(old);
            }
            if finished.contains(name) {
                return wrong("the samples of a metric must follow each other");
            }
            samples.kinds.insert(name.to_owned(), kind.to_owned());
            family = Some((name.to_owned(), kind.to_owned()));
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        if line.is_empty() {
            return wrong("an empty line");
        }
        let end = line.find(['{', ' ']).unwrap_or(line.len());
        let (name, rest) = line.split_at(end);
        if !is_name(name, true) {
            return wrong("not a name");
        }
        let Some((current, kind)) = &family else { return wrong("a sample without a type") };
        let part = name.strip_prefix(current.as_str());
        let belongs = match kind.as_str() {
            "summary" => matches!(part, Some("" | "_sum" | "_count")),
            "histogram" => matches!(part, Some("_bucket" | "_sum" | "_count")),
            _ => part == Some(""),
        };
        if !belongs {
            return wrong("a sample of another metric");
        }
        let (key, rest) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest).map_err(|e| format!("{e}: {line}"))?,
            None => (String::new(), rest),
        };
        if kind == "summary" && part == Some("") && !key.contains("quantile=") {
            return wrong("a summary without a quantile");
        }
        let Some(value) = rest.strip_prefix(' ') else { return wrong("no value") };
        let value = number(value).map_err(|e| format!("{e}: {line}"))?;
        if kind == "counter" && value < 0.0 {
            return wrong("a negative counter");
        }
        if samples.values.insert((name.to_owned(), key), value).is_some() {
            return wrong("a sample twice");
        }
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn good_pages_are_read_and_bad_ones_refused() {
        let good = "# TYPE a counter\na 1\na{x=\"1\\\"\\\\\\n,}\",b=\"\"} 2.5e3\n# TYPE s summary\ns{quantile=\"0.5\"} NaN\ns_sum 0\ns_count 0\n";
        let samples = parse(good).unwrap();
        assert_eq!(samples.get("a", "b=,x=1\"\\\n,}"), Some(2500.0));
        for bad in [
            "a 1\n",
            "# TYPE a counter\na 1",
            "# TYPE a counter\na -1\n",
            "# TYPE a counter\na inf\n",
            "# TYPE a counter\na 1\na 1\n",
            "# TYPE a counter\nb 1\n",
            "# TYPE a counter\na 1\n# TYPE b gauge\nb 1\n# TYPE a counter\na{x=\"1\"} 1\n",
            "# TYPE a counter\na{x=1} 1\n",
            "# TYPE a counter\na{x=\"1\",x=\"2\"} 1\n",
            "# TYPE a counter\na{x=\"\\q\"} 1\n",
            "# TYPE a-b counter\na-b 1\n",
            "# TYPE s summary\ns 1\n",
            "# TYPE a counter\n\na 1\n",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
