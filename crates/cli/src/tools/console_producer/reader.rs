//! A line as a record: headers, key and value by their separators. Source: Kafka `LineMessageReader`.

use bytes::Bytes;
use ottla_client::producer::ProducerRecord;

use crate::error::ToolError;

/// Reads lines as records.
#[derive(Debug)]
pub struct LineReader {
    topic: String,
    parse_key: bool,
    key_separator: String,
    parse_headers: bool,
    headers_delimiter: String,
    headers_separator: String,
    headers_key_separator: String,
    ignore_error: bool,
    null_marker: Option<String>,
    line_number: u64,
}

impl LineReader {
    pub fn new(properties: &[(String, String)]) -> Result<LineReader, ToolError> {
        let get = |key: &str| properties.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        let text = |key: &str, default: &str| get(key).unwrap_or(default).to_owned();
        let flag = |key: &str| get(key).is_some_and(|v| v.trim().eq_ignore_ascii_case("true"));
        let reader = LineReader {
            topic: text("topic", ""),
            parse_key: flag("parse.key"),
            key_separator: text("key.separator", "\t"),
            parse_headers: flag("parse.headers"),
            headers_delimiter: text("headers.delimiter", "\t"),
            headers_separator: text("headers.separator", ","),
            headers_key_separator: text("headers.key.separator", ":"),
            ignore_error: flag("ignore.error"),
            null_marker: get("null.marker").map(str::to_owned),
            line_number: 0,
        };
        reader.check()?;
        Ok(reader)
    }

    fn check(&self) -> Result<(), ToolError> {
        let delimiter = ("headers.delimiter", &self.headers_delimiter);
        let separator = ("headers.separator", &self.headers_separator);
        let key_separator = ("headers.key.separator", &self.headers_key_separator);
        let mut pairs = vec![(delimiter, separator), (delimiter, key_separator), (separator, key_separator)];
        if let Some(marker) = &self.null_marker {
            let marker = ("null.marker", marker);
            let key = ("key.separator", &self.key_separator);
            pairs.extend([(marker, key), (marker, separator), (marker, delimiter), (marker, key_separator)]);
        }
        match pairs.iter().find(|(a, b)| a.1 == b.1) {
            Some((a, b)) => Err(ToolError::message(format!("{} and {} may not be equal", a.0, b.0))),
            None => Ok(()),
        }
    }

    /// The record of a line, which may end in a line break.
    pub fn record(&mut self, line: &[u8]) -> Result<ProducerRecord, ToolError> {
        self.line_number += 1;
        let line = String::from_utf8_lossy(line);
        let line = line.strip_suffix('\n').unwrap_or(&line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let mut rest = line;
        let headers = match self.parse_headers {
            true => self.cut(&mut rest, line, &self.headers_delimiter, "headers delimiter")?,
            false => None,
        };
        let key = match self.parse_key {
            true => self.cut(&mut rest, line, &self.key_separator, "key separator")?,
            false => None,
        };
        let bytes = |text: &str| (!self.is_null(text)).then(|| Bytes::copy_from_slice(text.as_bytes()));
        Ok(ProducerRecord {
            topic: self.topic.clone(),
            key: key.and_then(bytes),
            value: bytes(rest),
            headers: match headers {
                Some(text) if !self.is_null(text) => self.headers(text)?,
                _ => Vec::new(),
            },
            ..Default::default()
        })
    }

    fn is_null(&self, text: &str) -> bool {
        self.null_marker.as_deref() == Some(text)
    }

    /// Takes the text before a separator off the front of `rest`.
    fn cut<'a>(
        &self,
        rest: &mut &'a str,
        line: &str,
        separator: &str,
        what: &str,
    ) -> Result<Option<&'a str>, ToolError> {
        match rest.split_once(separator) {
            Some((before, after)) => {
                *rest = after;
                Ok(Some(before))
            }
            None if self.ignore_error => Ok(None),
            None => Err(ToolError::message(format!(
                "No {what} found on line number {}: '{line}'",
                self.line_number
            ))),
        }
    }

    fn headers(&self, text: &str) -> Result<Vec<(String, Option<Bytes>)>, ToolError> {
        let mut headers = Vec::new();
        let mut pairs: Vec<&str> = text.split(self.headers_separator.as_str()).collect();
        // As Java's split: empty parts at the end do not count.
        while pairs.len() > 1 && pairs.last().is_some_and(|p| p.is_empty()) {
            pairs.pop();
        }
        for pair in pairs {
            match pair.split_once(self.headers_key_separator.as_str()) {
                Some((key, _)) if self.is_null(key) => {
                    return Err(ToolError::message(format!(
                        "Header keys should not be equal to the null marker '{key}' as they can't be null"
                    )));
                }
                Some((key, value)) => {
                    let value = (!self.is_null(value)).then(|| Bytes::copy_from_slice(value.as_bytes()));
                    headers.push((key.to_owned(), value));
                }
                None if self.ignore_error => headers.push((pair.to_owned(), None)),
                None => {
                    return Err(ToolError::message(format!(
                        "No header key separator found in pair '{pair}' on line number {}",
                        self.line_number
                    )));
                }
            }
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::LineReader;

    fn read(properties: &[(&str, &str)], line: &str) -> Result<String, String> {
        let mut all = vec![("topic".to_owned(), "t".to_owned())];
        all.extend(properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        let mut reader = LineReader::new(&all).map_err(|e| e.text())?;
        let record = reader.record(line.as_bytes()).map_err(|e| e.text())?;
        let text = |b: Option<&bytes::Bytes>| match b {
            Some(b) => String::from_utf8_lossy(b).into_owned(),
            None => "-".to_owned(),
        };
        let headers: Vec<String> =
            record.headers.iter().map(|(k, v)| format!("{k}={}", text(v.as_ref()))).collect();
        Ok(format!("{}|{}|{}", headers.join(","), text(record.key.as_ref()), text(record.value.as_ref())))
    }

    #[test]
    fn lines_are_taken_apart_as_kafka_does() {
        let key = ("parse.key", "true");
        let headers = ("parse.headers", "true");
        assert_eq!(read(&[], "a\tb\r\n"), Ok("|-|a\tb".to_owned()));
        assert_eq!(read(&[key], "a\tb\tc\n"), Ok("|a|b\tc".to_owned()));
        assert_eq!(read(&[key, headers], "h:1,i:\tk\tv\n"), Ok("h=1,i=|k|v".to_owned()));
        assert_eq!(read(&[key, ("null.marker", "N")], "N\tN"), Ok("|-|-".to_owned()));
        assert_eq!(read(&[key, ("ignore.error", "true")], "nosep"), Ok("|-|nosep".to_owned()));
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line() {
        let error = read(&[("parse.key", "true")], "nosep\n");
        assert_eq!(error, Err("No key separator found on line number 1: 'nosep'".to_owned()));
        assert!(read(&[("parse.headers", "true")], "\tx").is_err());
        assert!(read(&[("headers.separator", ":")], "x").is_err());
    }
}
