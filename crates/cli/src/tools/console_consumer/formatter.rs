//! Records as text. Source: Kafka `DefaultMessageFormatter`, `LoggingMessageFormatter`, `NoOpMessageFormatter`.

use ottla_client::consumer::ConsumerRecord;
use ottla_protocol::types::Uuid;

use super::coordinator::{self, Kind};
use crate::error::ToolError;
use crate::java::double_text;

/// How records are printed.
#[derive(Debug)]
pub enum Formatter {
    Default(Fields),
    Logging(Fields),
    NoOp,
    Coordinator(Kind),
}

impl Formatter {
    /// By the name of Kafka's class, with or without its package.
    pub fn new(class: &str, properties: &[(String, String)]) -> Result<Formatter, ToolError> {
        let name = class.rsplit(['.', '$']).next().unwrap_or(class);
        Ok(match name {
            "DefaultMessageFormatter" => Formatter::Default(Fields::new(properties)?),
            "LoggingMessageFormatter" => Formatter::Logging(Fields::new(properties)?),
            "NoOpMessageFormatter" => Formatter::NoOp,
            "OffsetsMessageFormatter" => Formatter::Coordinator(Kind::Offsets),
            "GroupMetadataMessageFormatter" => Formatter::Coordinator(Kind::GroupMetadata),
            "TransactionLogMessageFormatter" => Formatter::Coordinator(Kind::TransactionLog),
            _ => return Err(ToolError::message(class)),
        })
    }

    pub fn write(&mut self, record: &ConsumerRecord) -> Result<Vec<u8>, ToolError> {
        match self {
            Formatter::Default(fields) => fields.write(record),
            Formatter::Logging(fields) => {
                let text = fields.write(record)?;
                eprintln!("{}", logged(record));
                Ok(text)
            }
            Formatter::NoOp => Ok(Vec::new()),
            Formatter::Coordinator(kind) => coordinator::write(*kind, record),
        }
    }
}

fn timestamp(record: &ConsumerRecord) -> Option<String> {
    let kind = if record.log_append_time { "LogAppendTime" } else { "CreateTime" };
    (record.timestamp >= 0 || record.log_append_time).then(|| format!("{kind}:{}", record.timestamp))
}

fn logged(record: &ConsumerRecord) -> String {
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    let timestamp = timestamp(record).map(|t| format!("{t}, ")).unwrap_or_default();
    let key = record.key.as_ref().map_or("null ".to_owned(), |k| format!("{}, ", text(k)));
    let value = record.value.as_ref().map_or("null".to_owned(), |v| text(v));
    format!("{timestamp}key:{key}value:{value}")
}

/// A deserializer whose values have a text.
#[derive(Debug, Clone, Copy)]
enum Deserializer {
    Text,
    Short,
    Integer,
    Long,
    Float,
    Double,
    Boolean,
    Uuid,
}

impl Deserializer {
    /// An unknown class is reported and left out, as Kafka does.
    fn of(class: &str) -> Option<Deserializer> {
        Some(match class.rsplit('.').next().unwrap_or(class) {
            "StringDeserializer" => Deserializer::Text,
            "ShortDeserializer" => Deserializer::Short,
            "IntegerDeserializer" => Deserializer::Integer,
            "LongDeserializer" => Deserializer::Long,
            "FloatDeserializer" => Deserializer::Float,
            "DoubleDeserializer" => Deserializer::Double,
            "BooleanDeserializer" => Deserializer::Boolean,
            "UUIDDeserializer" => Deserializer::Uuid,
            _ => {
                eprintln!("Unable to instantiate a deserializer from {class}");
                return None;
            }
        })
    }

    fn text(self, bytes: &[u8]) -> Result<String, ToolError> {
        fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], ToolError> {
            <[u8; N]>::try_from(bytes)
                .map_err(|_| ToolError::message(format!("Size of data received by deserializer is not {N}")))
        }
        Ok(match self {
            Deserializer::Text => String::from_utf8_lossy(bytes).into_owned(),
            Deserializer::Short => i16::from_be_bytes(fixed(bytes)?).to_string(),
            Deserializer::Integer => i32::from_be_bytes(fixed(bytes)?).to_string(),
            Deserializer::Long => i64::from_be_bytes(fixed(bytes)?).to_string(),
            Deserializer::Float => double_text(f64::from(f32::from_be_bytes(fixed(bytes)?))),
            Deserializer::Double => double_text(f64::from_be_bytes(fixed(bytes)?)),
            Deserializer::Boolean => match fixed::<1>(bytes)? {
                [0] => "false".to_owned(),
                [1] => "true".to_owned(),
                [other] => {
                    return Err(ToolError::message(format!(
                        "Unexpected byte received by BooleanDeserializer: {other}"
                    )));
                }
            },
            // The text of java.util.UUID in either form that its deserializer reads.
            Deserializer::Uuid => match std::str::from_utf8(bytes) {
                Ok(text) if text.len() == 36 => text.to_owned(),
                Ok(text) => match text.parse::<Uuid>() {
                    Ok(uuid) => uuid.to_string(),
                    Err(_) => return Err(ToolError::message("Error parsing data into UUID")),
                },
                Err(_) => return Err(ToolError::message("Error parsing data into UUID")),
            },
        })
    }
}

/// What is printed of a record, in which words.
#[derive(Debug)]
pub struct Fields {
    timestamp: bool,
    key: bool,
    value: bool,
    partition: bool,
    offset: bool,
    delivery: bool,
    epoch: bool,
    headers: bool,
    key_separator: String,
    line_separator: String,
    headers_separator: String,
    null_literal: String,
    key_deserializer: Option<Deserializer>,
    value_deserializer: Option<Deserializer>,
    headers_deserializer: Option<Deserializer>,
}

impl Fields {
    pub fn new(properties: &[(String, String)]) -> Result<Fields, ToolError> {
        let get = |key: &str| properties.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        let flag =
            |key: &str, default: bool| get(key).map_or(default, |v| v.trim().eq_ignore_ascii_case("true"));
        let text = |key: &str, default: &str| get(key).unwrap_or(default).to_owned();
        Ok(Fields {
            timestamp: flag("print.timestamp", false),
            key: flag("print.key", false),
            value: flag("print.value", true),
            partition: flag("print.partition", false),
            offset: flag("print.offset", false),
            delivery: flag("print.delivery", false),
            epoch: flag("print.epoch", false),
            headers: flag("print.headers", false),
            key_separator: text("key.separator", "\t"),
            line_separator: text("line.separator", "\n"),
            headers_separator: text("headers.separator", ","),
            null_literal: text("null.literal", "null"),
            key_deserializer: get("key.deserializer").and_then(Deserializer::of),
            value_deserializer: get("value.deserializer").and_then(Deserializer::of),
            headers_deserializer: get("headers.deserializer").and_then(Deserializer::of),
        })
    }

    fn bytes(
        &self,
        out: &mut Vec<u8>,
        deserializer: Option<Deserializer>,
        bytes: Option<&[u8]>,
    ) -> Result<(), ToolError> {
        let bytes = bytes.unwrap_or(self.null_literal.as_bytes());
        match deserializer {
            Some(deserializer) => out.extend_from_slice(deserializer.text(bytes)?.as_bytes()),
            None => out.extend_from_slice(bytes),
        }
        Ok(())
    }

    pub fn write(&self, record: &ConsumerRecord) -> Result<Vec<u8>, ToolError> {
        let mut columns: Vec<Vec<u8>> = Vec::new();
        if self.timestamp {
            columns.push(timestamp(record).unwrap_or_else(|| "NO_TIMESTAMP".to_owned()).into_bytes());
        }
        if self.partition {
            columns.push(format!("Partition:{}", record.partition).into_bytes());
        }
        if self.offset {
            columns.push(format!("Offset:{}", record.offset).into_bytes());
        }
        // Neither is known here: the console consumer does not hand them to its formatter.
        if self.delivery {
            columns.push(b"Delivery:NOT_PRESENT".to_vec());
        }
        if self.epoch {
            columns.push(b"Epoch:NOT_PRESENT".to_vec());
        }
        if self.headers {
            let mut text = Vec::new();
            if record.headers.is_empty() {
                text.extend_from_slice(b"NO_HEADERS");
            }
            for (i, (key, value)) in record.headers.iter().enumerate() {
                if i > 0 {
                    text.extend_from_slice(self.headers_separator.as_bytes());
                }
                text.extend_from_slice(key.as_bytes());
                text.push(b':');
                self.bytes(&mut text, self.headers_deserializer, value.as_deref())?;
            }
            columns.push(text);
        }
        if self.key {
            let mut text = Vec::new();
            self.bytes(&mut text, self.key_deserializer, record.key.as_deref())?;
            columns.push(text);
        }
        if self.value {
            let mut text = Vec::new();
            self.bytes(&mut text, self.value_deserializer, record.value.as_deref())?;
            columns.push(text);
        }
        if columns.is_empty() {
            return Ok(Vec::new());
        }
        let mut out = columns.join(self.key_separator.as_bytes());
        out.extend_from_slice(self.line_separator.as_bytes());
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ottla_client::consumer::ConsumerRecord;

    use super::Formatter;

    fn record() -> ConsumerRecord {
        ConsumerRecord {
            topic: "t".into(),
            partition: 2,
            offset: 7,
            timestamp: 5,
            log_append_time: false,
            leader_epoch: 0,
            key: None,
            value: Some(Bytes::from_static(&[0, 0, 1, 0])),
            headers: vec![("h".to_owned(), Some(Bytes::from_static(b"1"))), ("i".to_owned(), None)],
        }
    }

    fn print(class: &str, properties: &[(&str, &str)]) -> Result<String, String> {
        let properties: Vec<(String, String)> =
            properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let mut formatter = Formatter::new(class, &properties).map_err(|e| e.text())?;
        let bytes = formatter.write(&record()).map_err(|e| e.text())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn fields_come_in_kafkas_order() {
        let all =
            ["timestamp", "key", "offset", "partition", "headers"].map(|f| (format!("print.{f}"), "true"));
        let mut properties: Vec<(&str, &str)> = all.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        properties.push(("value.deserializer", "org.apache.kafka.common.serialization.IntegerDeserializer"));
        properties.push(("null.literal", "NIL"));
        let text = print("org.apache.kafka.tools.consumer.DefaultMessageFormatter", &properties);
        assert_eq!(text.unwrap(), "CreateTime:5\tPartition:2\tOffset:7\th:1,i:NIL\tNIL\t256\n");
    }

    #[test]
    fn other_formatters_go_by_their_class() {
        assert_eq!(print("NoOpMessageFormatter", &[]).unwrap(), "");
        assert_eq!(print("DefaultMessageFormatter", &[("print.value", "false")]).unwrap(), "");
        assert!(print("com.example.Mine", &[]).is_err());
        let long = print("DefaultMessageFormatter", &[("value.deserializer", "LongDeserializer")]);
        assert_eq!(long.unwrap_err(), "Size of data received by deserializer is not 8");
    }
}
