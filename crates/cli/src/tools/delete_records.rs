//! `kafka-delete-records`: raises the start of partitions. Source: Kafka `DeleteRecordsCommand`.

use ottla_client::TopicPartition;
use serde_json::Value;

use crate::args::Parser;
use crate::connect;
use crate::error::{ToolError, ToolResult};
use crate::output::{self, Entry, Progress};

/// Partitions of one request, so that many of them show progress.
const PARTITIONS_AT_ONCE: usize = 500;

fn parser() -> Parser {
    Parser::new("This tool helps to delete records of the given partitions down to the specified offset.")
        .bootstrap()
        .text("offset-json-file", "Offset json file path", "REQUIRED: The JSON file with offset per partition. The format to use is: {\"partitions\": [{\"topic\": \"foo\", \"partition\": 1, \"offset\": 1}], \"version\":1 }")
}

pub fn main(args: &[String]) -> ToolResult {
    let parser = parser();
    let options = parser.parse(args)?;
    parser.require(&options, &["bootstrap-server", "offset-json-file"])?;
    let admin = connect::admin(&options)?;
    let path = options.text("offset-json-file").unwrap_or_default();
    let text = std::fs::read_to_string(path)
        .map_err(|e| ToolError::message(format!("Unable to read file {path}: {e}")))?;
    let offsets = offsets(&text)?;
    output::remark("Executing records delete operation");
    connect::block_on(async {
        let mut results = Vec::with_capacity(offsets.len());
        let mut progress = Progress::new("partitions", Some(offsets.len() as u64));
        for some in offsets.chunks(PARTITIONS_AT_ONCE) {
            results.extend(admin.delete_records(some).await?);
            progress.add(some.len() as u64);
        }
        drop(progress);
        output::remark("Records delete operation completed:");
        output::list("partitions");
        for (partition, result) in results {
            let (text, low_watermark, error) = match result {
                Ok(low_watermark) => {
                    let text = format!("partition: {partition}\tlow_watermark: {low_watermark}");
                    (text, Some(low_watermark), None)
                }
                Err(error) => {
                    (format!("partition: {partition}\terror: {error}"), None, Some(error.to_string()))
                }
            };
            let entry = Entry::new(text)
                .with("topic", partition.topic.as_str())
                .with("partition", partition.partition)
                .with("lowWatermark", low_watermark)
                .with("error", error);
            output::show("partitions", entry);
        }
        Ok(())
    })
}

fn offsets(text: &str) -> Result<Vec<(TopicPartition, i64)>, ToolError> {
    let json: Value =
        serde_json::from_str(text).map_err(|_| ToolError::message("The input string is not a valid JSON"))?;
    let version = json.get("version").map_or(Some(1), Value::as_i64);
    if version != Some(1) {
        let version = json.get("version").map(Value::to_string).unwrap_or_default();
        return Err(ToolError::message(format!("Not supported version field value {version}")));
    }
    let partitions = json
        .get("partitions")
        .and_then(Value::as_array)
        .ok_or_else(|| ToolError::message("Missing partitions field"))?;
    let mut offsets: Vec<(TopicPartition, i64)> = Vec::new();
    for entry in partitions {
        let field = |name: &str| {
            entry.get(name).ok_or_else(|| ToolError::message(format!("No such field exists: `{name}`")))
        };
        let wrong =
            |value: &Value| ToolError::message(format!("Expected another type of value, received {value}"));
        let topic = field("topic")?;
        let topic = topic.as_str().ok_or_else(|| wrong(topic))?;
        let partition = field("partition")?;
        let partition =
            partition.as_i64().and_then(|p| i32::try_from(p).ok()).ok_or_else(|| wrong(partition))?;
        let offset = field("offset")?;
        let offset = offset.as_i64().ok_or_else(|| wrong(offset))?;
        let partition = TopicPartition::new(topic, partition);
        if offsets.iter().any(|(p, _)| *p == partition) {
            return Err(ToolError::message(format!(
                "Offset json file contains duplicate topic partitions: {partition}"
            )));
        }
        offsets.push((partition, offset));
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::offsets;

    #[test]
    fn offsets_are_read_and_what_is_wrong_is_named() {
        let good = offsets(r#"{"partitions":[{"topic":"a","partition":1,"offset":5}],"version":1}"#).unwrap();
        assert_eq!((good[0].0.to_string().as_str(), good[0].1), ("a-1", 5));
        let error = |text: &str| offsets(text).unwrap_err().text();
        assert_eq!(error("nope"), "The input string is not a valid JSON");
        assert_eq!(error(r#"{"version":2}"#), "Not supported version field value 2");
        assert_eq!(error("{}"), "Missing partitions field");
        assert!(error(r#"{"partitions":[{"topic":"a","partition":1}]}"#).contains("offset"));
        let twice = r#"{"partitions":[{"topic":"a","partition":1,"offset":5},{"topic":"a","partition":1,"offset":6}]}"#;
        assert!(error(twice).contains("duplicate"));
    }
}
