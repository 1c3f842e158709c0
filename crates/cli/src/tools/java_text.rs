//! How Java prints what Kafka's tools print: exceptions by their class, tables by `ToolsUtils`, numbers of JSON.

use ottla_client::ClientError;
use ottla_protocol::ErrorCode;

use crate::error::ToolError;
use crate::output::{Column, Table};

const ERRORS: &str = "org.apache.kafka.common.errors.";

/// The simple name of the exception class of an error code.
fn class_name(code: ErrorCode) -> String {
    match code {
        ErrorCode::NonEmptyGroup => return "GroupNotEmptyException".to_owned(),
        ErrorCode::RequestTimedOut => return "TimeoutException".to_owned(),
        ErrorCode::UnknownServerError => return "UnknownServerException".to_owned(),
        ErrorCode::InvalidTopicException => return "InvalidTopicException".to_owned(),
        ErrorCode::NotLeaderOrFollower => return "NotLeaderOrFollowerException".to_owned(),
        ErrorCode::KafkaStorageError => return "KafkaStorageException".to_owned(),
        _ => {}
    }
    let mut name = String::new();
    for word in code.name().split('_') {
        let mut letters = word.chars();
        if let Some(first) = letters.next() {
            name.push(first);
            name.push_str(&letters.as_str().to_ascii_lowercase());
        }
    }
    if name.ends_with("Exception") {
        return name;
    }
    let name = name.strip_suffix("AuthorizationFailed").map(|n| format!("{n}Authorization")).unwrap_or(name);
    format!("{name}Exception")
}

/// `Throwable.toString` of the exception that stands for an error of the protocol.
pub fn exception(code: ErrorCode, message: Option<&str>) -> String {
    let text = message.filter(|m| !m.is_empty()).unwrap_or(code.message());
    format!("{ERRORS}{}: {text}", class_name(code))
}

/// `Throwable.toString` of what a client call failed with.
pub fn client_exception(error: &ClientError) -> String {
    match error {
        ClientError::Api { code, message } => exception(*code, message.as_deref()),
        other => format!("{ERRORS}{}: {other}", class_name(other.code())),
    }
}

/// As [`client_exception`], for what a tool's work failed with.
pub fn tool_exception(error: &ToolError) -> String {
    match error {
        ToolError::Client(error) => client_exception(error),
        other => other.text(),
    }
}

/// `ToolsUtils.prettyPrintTable`: padded columns, each with a tab behind it.
pub fn pretty_table(columns: &[(&'static str, &'static str)]) -> Table {
    let columns = columns.iter().map(|(title, key)| Column::new(title, key).fitting()).collect();
    Table::new(columns).separated("\t").ended("\t", "\t")
}

/// A string as JSON.
pub fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
