//! Batches that Apache Kafka 4.4 wrote, good and broken, as one partition of a Produce request: what its broker makes
//! of them, this one does.

use ottla_protocol::ErrorCode;
use ottla_protocol::compression::{self, Codec};
use ottla_protocol::records::{Batch, BatchIter, Scratch, TimestampType, patch};
use ottla_storage::config::CompressionType;
use ottla_storage::producer_state::AppendOrigin;
use ottla_storage::validation::{
    ValidBatch, ValidationContext, analyze, validate_produce_request, validate_records,
};
use ottla_storage::{CleanupPolicy, LogConfig, LogError, TopicPartition};
use serde_json::Value;

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex")).collect()
}

fn cases() -> Vec<Value> {
    let packed = include_bytes!("../../protocol/tests/data/batches.jsonl.gz");
    let text = compression::decompress(Codec::Gzip, packed, 64 << 20).expect("gzip");
    String::from_utf8(text)
        .expect("utf-8")
        .lines()
        .map(|line| serde_json::from_str(line).expect("json"))
        .collect()
}

fn configs() -> [(&'static str, LogConfig); 4] {
    let plain = LogConfig::default();
    let compact = CleanupPolicy { delete: false, compact: true };
    [
        ("compactedTopic", LogConfig { cleanup_policy: compact, ..plain.clone() }),
        (
            "logAppendTimeTopic",
            LogConfig { message_timestamp_type: TimestampType::LogAppendTime, ..plain.clone() },
        ),
        (
            "uncompressedTopic",
            LogConfig { compression_type: CompressionType::Codec(Codec::None), ..plain.clone() },
        ),
        ("plainTopic", plain),
    ]
}

const NOW_MS: i64 = 1_700_001_000_000;

/// Kafka's validator alone, without the checks of headers and checksums that come before it.
fn validate(bytes: &[u8], config: &LogConfig) -> Result<(Vec<u8>, i64, bool), LogError> {
    let partition = TopicPartition::new("t", 0);
    let context = ValidationContext {
        partition: &partition,
        config,
        origin: AppendOrigin::Client,
        leader_epoch: 6,
        now_ms: NOW_MS,
    };
    let mut valid = 0;
    let mut codec = Codec::None;
    for batch in BatchIter::new(bytes) {
        let batch = batch?;
        valid += batch.size();
        let found = batch.header().codec()?;
        if found != Codec::None {
            codec = found;
        }
    }
    let validated = validate_records(&bytes[..valid], codec, &context, &mut Scratch::default())?;
    let (mut out, rewritten) = match validated.batch {
        ValidBatch::Rewritten(bytes) => (bytes, true),
        ValidBatch::AsItCame(batch) => (batch.parts().concat(), false),
    };
    let delta = Batch::parse(&out)?.header().last_offset_delta;
    patch::set_base_offset(&mut out, 1000 + validated.record_count - 1 - i64::from(delta));
    Ok((out, validated.max_timestamp, rewritten))
}

fn check(name: &str, sound: bool, expected: &Value, result: Result<(Vec<u8>, i64, bool), LogError>) -> bool {
    let Some(class) = expected["error"].as_str() else {
        let (out, max_timestamp, rewritten) =
            result.unwrap_or_else(|error| panic!("{name}: Kafka accepts it: {error}"));
        assert_eq!(max_timestamp, expected["maxTimestamp"], "{name}");
        assert_eq!(rewritten, expected["rewritten"], "{name}");
        let batch = Batch::parse(&out).expect("a batch");
        // The validator alone keeps a wrong checksum that came in.
        assert!(batch.ensure_valid().is_ok() || !sound, "{name}");
        let header = unhex(expected["header"].as_str().expect("hex"));
        if !batch.header().is_compressed() || !rewritten {
            assert_eq!(out[..61], header[..], "{name}");
        }
        return true;
    };
    if class.starts_with("java.lang") {
        // Kafka's own weakness, answered with UNKNOWN_SERVER_ERROR there.
        if let Err(error) = result {
            assert_ne!(error.error_code(), ErrorCode::UnknownServerError, "{name}: {error}");
        }
        return false;
    }
    let error = match result {
        Err(error) => error,
        Ok(_) => panic!("{name}: Kafka refuses it: {expected}"),
    };
    let code = match class.rsplit('.').next().expect("a name") {
        "InvalidRecordException" => ErrorCode::InvalidRecord,
        "CorruptRecordException" => ErrorCode::CorruptMessage,
        "InvalidTimestampException" => ErrorCode::InvalidTimestamp,
        // Content that does not decompress is UNKNOWN_SERVER_ERROR there.
        "KafkaException" => {
            assert_eq!(error.error_code(), ErrorCode::InvalidRecord, "{name}");
            return false;
        }
        other => panic!("{name}: {other}"),
    };
    assert_eq!(error.error_code(), code, "{name}: {error} for {expected}");
    if let Some(text) = expected["text"].as_str() {
        assert_eq!(error.to_string(), text, "{name}");
    }
    if let Some(records) = expected["recordErrors"].as_array() {
        let found: Vec<Value> = error
            .record_errors()
            .iter()
            .map(|error| serde_json::json!([error.batch_index, error.message]))
            .collect();
        assert_eq!(found, *records, "{name}");
    }
    true
}

#[test]
fn a_produce_is_validated_as_kafka_validates_it() {
    let mut compared = 0;
    for case in cases() {
        let name = case["case"].as_str().expect("name");
        let bytes = unhex(case["hex"].as_str().expect("hex"));
        let produce = &case["produce"];
        if produce.is_null() {
            continue;
        }
        match (produce["requestError"].as_str(), validate_produce_request(13, Some(&bytes))) {
            (Some(class), Err(error)) => {
                // A batch without room for its header is found out one step earlier.
                if !class.starts_with("java.lang") && !name.ends_with("length-48") {
                    assert_eq!(error.to_string(), produce["requestText"].as_str().expect("text"), "{name}");
                    compared += 1;
                }
                continue;
            }
            (Some(class), Ok(())) => panic!("{name}: {class}"),
            (None, Ok(())) => {}
            (None, Err(error)) => {
                assert!(name.ends_with("length-48"), "{name}: {error}");
                continue;
            }
        }
        let partition = TopicPartition::new("t", 0);
        let plain = LogConfig::default();
        let context = ValidationContext {
            partition: &partition,
            config: &plain,
            origin: AppendOrigin::Replication,
            leader_epoch: i32::MAX,
            now_ms: NOW_MS,
        };
        let sound = !produce["checksumError"].is_string();
        if !sound {
            let error = analyze(&bytes, &context).expect_err("a wrong checksum");
            assert_eq!(error.error_code(), ErrorCode::CorruptMessage, "{name}");
        }
        for (topic, config) in configs() {
            let name = format!("{name} {topic}");
            compared += usize::from(check(&name, sound, &produce[topic], validate(&bytes, &config)));
        }
    }
    assert!(compared > 1100, "{compared}");
}
