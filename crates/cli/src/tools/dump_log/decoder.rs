//! From a record to what is printed of its key and value.

use ottla_protocol::records::Record;
use serde_json::Value;

use super::{coordinator, metadata, remote};
use crate::error::ToolError;
use crate::output::Cell;

/// Text of the key and of the value.
pub type Decoded = (Option<String>, Option<String>);

/// The decoders that come with Kafka's tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plain {
    Text,
    Bytes,
    Integer,
    Long,
}

impl Plain {
    pub fn of_class(class: &str) -> Option<Plain> {
        match class.strip_prefix("org.apache.kafka.tools.api.")? {
            "StringDecoder" => Some(Plain::Text),
            "DefaultDecoder" => Some(Plain::Bytes),
            "IntegerDecoder" => Some(Plain::Integer),
            "LongDecoder" => Some(Plain::Long),
            _ => None,
        }
    }

    fn decode(self, bytes: &[u8]) -> Result<String, ToolError> {
        let wrong =
            |size: usize| ToolError::message(format!("Size of data received by the decoder is not {size}"));
        Ok(match self {
            Plain::Text => String::from_utf8_lossy(bytes).into_owned(),
            // Java prints the identity of the array here, which says nothing.
            Plain::Bytes => bytes.iter().map(|b| format!("{b:02x}")).collect(),
            Plain::Integer => {
                let raw = <[u8; 4]>::try_from(bytes).map_err(|_| wrong(4))?;
                i32::from_be_bytes(raw).to_string()
            }
            Plain::Long => {
                let raw = <[u8; 8]>::try_from(bytes).map_err(|_| wrong(8))?;
                i64::from_be_bytes(raw).to_string()
            }
        })
    }
}

/// What the records of a log are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoder {
    Plain {
        key: Plain,
        value: Plain,
    },
    /// `__consumer_offsets`.
    Offsets,
    /// `__transaction_state`.
    Transactions,
    /// `__share_group_state`.
    ShareState,
    /// `__cluster_metadata`.
    ClusterMetadata,
    /// `__remote_log_metadata`.
    RemoteLogMetadata,
}

impl Decoder {
    /// A decoded text: records of Kafka's own topics are JSON, where they could be read.
    pub fn cell(self, text: String) -> Cell {
        match self {
            Decoder::Plain { .. } => text.into(),
            _ => {
                let value = serde_json::from_str(&text).unwrap_or_else(|_| Value::from(text.as_str()));
                Cell::new(text, value)
            }
        }
    }

    /// Key and value as text. A record that is not what it should be is told in the text, except that records of
    /// coordinators must have a key.
    pub fn decode(self, record: &Record<'_>) -> Result<Decoded, ToolError> {
        Ok(match self {
            Decoder::Plain { key, value } => (
                record.key.map(|bytes| key.decode(bytes)).transpose()?,
                record.value.map(|bytes| value.decode(bytes)).transpose()?,
            ),
            Decoder::Offsets => coordinator::decode(coordinator::Log::Groups, record)?,
            Decoder::Transactions => coordinator::decode(coordinator::Log::Transactions, record)?,
            Decoder::ShareState => coordinator::decode(coordinator::Log::Share, record)?,
            Decoder::ClusterMetadata => {
                let text = metadata::decode(record.value.unwrap_or_default())
                    .unwrap_or_else(|e| format!("Error at {}, skipping. {e}", record.offset));
                (None, Some(text))
            }
            Decoder::RemoteLogMetadata => {
                let text = remote::decode(record.value.unwrap_or_default())
                    .unwrap_or_else(|e| format!("Error at offset {}, skipping. {e}", record.offset));
                (None, Some(text))
            }
        })
    }
}
