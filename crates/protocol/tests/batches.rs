//! Record batches that Apache Kafka 4.4 wrote, good and broken, read as Kafka reads them.

use ottla_protocol::compression::{self, Codec, Compression};
use ottla_protocol::records::{
    Batch, BatchBuilder, BatchIter, BatchOptions, Header, RecordsError, Scratch, TimestampType, patch,
};
use serde_json::Value;

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex")).collect()
}

fn cases() -> Vec<Value> {
    let packed = include_bytes!("data/batches.jsonl.gz");
    let text = compression::decompress(Codec::Gzip, packed, 64 << 20).expect("gzip");
    String::from_utf8(text)
        .expect("utf-8")
        .lines()
        .map(|line| serde_json::from_str(line).expect("json"))
        .collect()
}

fn bytes_of(value: &Value) -> Option<Vec<u8>> {
    value.as_str().map(unhex)
}

/// Kafka's own weaknesses show as classes of `java.lang`; there only the refusal counts.
fn check_error(case: &str, error: &RecordsError, class: &str, text: Option<&str>) {
    if class.starts_with("java.lang") || class.ends_with("KafkaException") {
        return;
    }
    assert_eq!(
        error.is_corrupt(),
        class.ends_with("CorruptRecordException"),
        "{case}: {error:?} for {class}"
    );
    if let Some(text) = text {
        assert_eq!(error.to_string(), text, "{case}");
    }
}

fn check_batch(case: &str, batch: &Batch<'_>, expected: &Value, scratch: &mut Scratch) {
    let header = batch.header();
    assert_eq!(i64::from(header.magic), expected["magic"], "{case}");
    if expected.get("headerError").is_none() {
        assert_eq!(batch.size() as u64, expected["sizeInBytes"], "{case}");
        assert_eq!(u64::from(header.crc), expected["crc"], "{case}");
        assert_eq!(header.max_timestamp, expected["maxTimestamp"], "{case}");
        assert_eq!(header.codec().expect("codec").name(), expected["compression"], "{case}");
        let timestamp_type = match header.timestamp_type() {
            TimestampType::NoTimestampType => "NO_TIMESTAMP_TYPE",
            TimestampType::CreateTime => "CREATE_TIME",
            TimestampType::LogAppendTime => "LOG_APPEND_TIME",
        };
        assert_eq!(timestamp_type, expected["timestampType"], "{case}");
        assert_eq!(header.last_offset(), expected["lastOffset"], "{case}");
        assert_eq!(header.next_offset(), expected["nextOffset"], "{case}");
    }
    if let Some(valid) = expected["crcValid"].as_bool() {
        assert_eq!(batch.ensure_valid().is_ok(), valid, "{case}");
    }
    if header.magic == 2 && expected.get("headerError").is_none() {
        assert_eq!(header.base_offset, expected["baseOffset"], "{case}");
        assert_eq!(header.base_timestamp, expected["baseTimestamp"], "{case}");
        assert_eq!(header.partition_leader_epoch, expected["partitionLeaderEpoch"], "{case}");
        assert_eq!(header.producer_id, expected["producerId"], "{case}");
        assert_eq!(i64::from(header.producer_epoch), expected["producerEpoch"], "{case}");
        assert_eq!(header.base_sequence, expected["baseSequence"], "{case}");
        assert_eq!(header.last_sequence(), expected["lastSequence"], "{case}");
        assert_eq!(header.is_transactional(), expected["transactional"], "{case}");
        assert_eq!(header.is_control(), expected["control"], "{case}");
        assert_eq!(header.records_count, expected["count"], "{case}");
        if let Some(horizon) = expected.get("deleteHorizonMs") {
            assert_eq!(header.delete_horizon_ms(), horizon.as_i64(), "{case}");
        }
    }
    let wrong = expected.get("recordsError").or(expected.get("headerError")).and_then(Value::as_str);
    let text = expected.get("recordsText").and_then(Value::as_str);
    let control_wrong = case.starts_with("bad/control") || case.starts_with("control");
    let mut seen = 0;
    let records = expected["records"].as_array();
    let mut failure = None;
    match batch.records(scratch) {
        Err(error) => failure = Some(error),
        Ok(iter) => {
            for record in iter {
                let record = match record {
                    Ok(record) => record,
                    Err(error) => {
                        failure = Some(error);
                        break;
                    }
                };
                let Some(expected) = records.and_then(|records| records.get(seen)) else {
                    break;
                };
                seen += 1;
                assert_eq!(record.offset, expected["offset"], "{case}");
                assert_eq!(record.timestamp, expected["timestamp"], "{case}");
                assert_eq!(record.size_in_bytes as u64, expected["sizeInBytes"], "{case}");
                if let Some(sequence) = expected.get("sequence") {
                    assert_eq!(record.sequence, *sequence, "{case}");
                }
                assert_eq!(record.key.map(<[u8]>::to_vec), bytes_of(&expected["key"]), "{case}");
                assert_eq!(record.value.map(<[u8]>::to_vec), bytes_of(&expected["value"]), "{case}");
                let headers: Vec<_> = record.headers.iter().collect();
                assert_eq!(headers.len(), record.headers.len(), "{case}");
                let wanted = expected.get("headers").and_then(Value::as_array).cloned().unwrap_or_default();
                assert_eq!(headers.len(), wanted.len(), "{case}");
                for (header, wanted) in headers.iter().zip(&wanted) {
                    assert_eq!(header.key, wanted[0].as_str().expect("key").as_bytes(), "{case}");
                    assert_eq!(header.value.map(<[u8]>::to_vec), bytes_of(&wanted[1]), "{case}");
                }
            }
        }
    }
    match (wrong, failure) {
        (None, None) => assert_eq!(seen, records.map_or(0, Vec::len), "{case}"),
        (Some(class), Some(error)) => check_error(case, &error, class, text),
        (None, Some(error)) => panic!("{case}: {error}"),
        (Some(class), None) => assert!(control_wrong, "{case}: Kafka refuses it with {class} {text:?}"),
    }
}

#[test]
fn batches_of_kafka_are_read_as_kafka_reads_them() {
    let mut scratch = Scratch::default();
    let cases = cases();
    assert_eq!(cases.len(), 518);
    for case in &cases {
        let name = case["case"].as_str().expect("name");
        let bytes = unhex(case["hex"].as_str().expect("hex"));
        let decoded = &case["decoded"];
        let expected = decoded["batches"].as_array().cloned().unwrap_or_default();
        let mut iter = BatchIter::new(&bytes);
        let mut seen = 0;
        let mut failure = None;
        for batch in iter.by_ref() {
            match batch {
                Ok(batch) => {
                    let expected = expected.get(seen).unwrap_or_else(|| panic!("{name}: batch {seen}"));
                    check_batch(name, &batch, expected, &mut scratch);
                    seen += 1;
                }
                Err(error) => failure = Some(error),
            }
        }
        // A batch without room for its own header is one more batch for Kafka and an error here.
        if let Some(RecordsError::BatchTooSmall { .. }) = failure {
            assert_eq!(expected[seen]["headerError"], "java.lang.IndexOutOfBoundsException", "{name}");
            continue;
        }
        assert_eq!(seen, expected.len(), "{name}");
        match (decoded["error"].as_str(), failure) {
            (None, None) => {
                let trailing = decoded["trailingBytes"].as_u64().unwrap_or(0);
                assert_eq!(iter.remaining().len() as u64, trailing, "{name}");
            }
            (Some(class), Some(error)) => check_error(name, &error, class, decoded["text"].as_str()),
            // The largest length overflows in Kafka; here the batch is merely incomplete.
            (Some(class), None) => assert!(class.starts_with("java.lang"), "{name}: {class}"),
            (None, Some(error)) => panic!("{name}: {error}"),
        }
    }
}

#[test]
fn good_uncompressed_batches_are_built_to_the_same_bytes() {
    let mut scratch = Scratch::default();
    let mut built = 0;
    for case in cases() {
        let name = case["case"].as_str().expect("name");
        if case["valid"] != true || name.starts_with("bad/") {
            continue;
        }
        let bytes = unhex(case["hex"].as_str().expect("hex"));
        for batch in BatchIter::new(&bytes) {
            let batch = batch.expect("valid");
            let header = *batch.header();
            if header.magic < 2 || header.records_count == 0 {
                continue;
            }
            let options = BatchOptions {
                base_offset: header.base_offset,
                partition_leader_epoch: header.partition_leader_epoch,
                compression: Compression::of(header.codec().expect("codec")),
                timestamp_type: header.timestamp_type(),
                log_append_time: header.max_timestamp,
                producer_id: header.producer_id,
                producer_epoch: header.producer_epoch,
                base_sequence: header.base_sequence,
                transactional: header.is_transactional(),
                control: header.is_control(),
                delete_horizon_ms: header.delete_horizon_ms(),
            };
            let mut builder = BatchBuilder::new(options);
            let mut largest_is_said = false;
            for record in batch.records(&mut scratch).expect("records") {
                let record = record.expect("record");
                let delta = (record.offset - header.base_offset) as i32;
                largest_is_said |= record.timestamp == header.max_timestamp;
                // With LogAppendTime the deltas of the producer stay in the records but are not readable there.
                let headers: Vec<Header<'_>> = record.headers.iter().collect();
                builder.append_at_delta(delta, record.timestamp, record.key, record.value, headers);
            }
            builder.set_last_offset(header.last_offset());
            let out = builder.build().expect("builds");
            if header.is_compressed() && header.timestamp_type() == TimestampType::CreateTime {
                let again = Batch::parse(&out).expect("parses");
                let mut other = Scratch::default();
                let left = batch.records(&mut scratch).expect("records");
                let mut right = again.records(&mut other).expect("records");
                for (left, right) in left.zip(right.by_ref()) {
                    assert_eq!(left.expect("record"), right.expect("record"), "{name}");
                }
                assert!(right.next().is_none());
            } else if !header.is_compressed()
                && largest_is_said
                && header.timestamp_type() == TimestampType::CreateTime
            {
                assert_eq!(&out[..], batch.bytes(), "{name}");
                built += 1;
            }
        }
    }
    assert!(built >= 40, "{built}");
}

#[test]
fn patching_keeps_batches_valid_and_truncations_and_flips_never_panic() {
    let mut scratch = Scratch::with_budget(1 << 20);
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound.max(1) as u64) as usize
    };
    for case in cases() {
        let mut bytes = unhex(case["hex"].as_str().expect("hex"));
        if bytes.len() > 2000 || bytes.is_empty() {
            continue;
        }
        for round in 0..60 {
            let mut changed = bytes.clone();
            if round % 3 == 0 {
                changed.truncate(random(bytes.len()));
            } else {
                for _ in 0..=random(3) {
                    let at = random(changed.len());
                    changed[at] ^= 1 << random(8);
                }
            }
            for batch in BatchIter::new(&changed).flatten() {
                let _ = batch.ensure_valid();
                let _ = batch.first_offset(&mut scratch);
                if let Ok(records) = batch.records(&mut scratch) {
                    for record in records.flatten() {
                        assert!(record.headers.iter().count() <= record.headers.len());
                    }
                }
            }
        }
        if case["valid"] == true && Batch::parse(&bytes).is_ok_and(|batch| batch.header().magic == 2) {
            let size = Batch::parse(&bytes).expect("parses").size();
            patch::set_base_offset(&mut bytes, 77);
            patch::set_partition_leader_epoch(&mut bytes, 5);
            patch::set_max_timestamp(&mut bytes[..size], TimestampType::LogAppendTime, 1234);
            let batch = Batch::parse(&bytes).expect("parses");
            batch.ensure_valid().expect("the checksum is right");
            assert_eq!(batch.header().base_offset, 77);
            assert_eq!(batch.header().partition_leader_epoch, 5);
            assert_eq!(batch.header().max_timestamp, 1234);
            assert_eq!(batch.header().timestamp_type(), TimestampType::LogAppendTime);
        }
    }
}
