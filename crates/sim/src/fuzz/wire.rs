//! One target per family of the wire: requests, responses, records of the logs that nodes keep, and record batches.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_coordinator::group::GroupRecord;
use ottla_coordinator::transaction::TxnRecord;
use ottla_metadata::record::VersionedRecord;
use ottla_protocol::messages::registry::MESSAGES;
use ottla_protocol::records::{BatchIter, RecordsError, Scratch, patch};
use ottla_protocol::wire::MessageInfo;
use serde_json::Value;

/// Decompressed bytes of one batch.
const BUDGET: usize = 1 << 20;
/// A good input is no longer than this.
const MAX_SEED_BYTES: usize = 2048;
/// Messages as Apache Kafka's serializer wrote them.
const WIRE: &[u8] = include_bytes!("../../../protocol/tests/data/wire.jsonl.zst");
/// Batches as Apache Kafka wrote them, good and bad.
const BATCHES: &[u8] = include_bytes!("../../../protocol/tests/data/batches.jsonl.gz");

thread_local! {
    static REQUESTS: Vec<&'static MessageInfo> = of_kind("request");
    static RESPONSES: Vec<&'static MessageInfo> = of_kind("response");
    static SCRATCH: std::cell::RefCell<Scratch> = std::cell::RefCell::new(Scratch::with_budget(BUDGET));
}

fn of_kind(kind: &str) -> Vec<&'static MessageInfo> {
    MESSAGES.iter().filter(|message| message.kind == kind).collect()
}

/// An error, or a value that encodes to bytes which decode again. The first byte chooses the message, the second its
/// version.
fn message(messages: &[&MessageInfo], bytes: &[u8]) {
    let [selector, version, body @ ..] = bytes else { return };
    let message = messages[usize::from(*selector) % messages.len()];
    let versions = message.max_version - message.min_version + 1;
    let version = message.min_version + i16::from(*version) % versions;
    if let Ok(again) = (message.reencode)(Bytes::copy_from_slice(body), version) {
        let same = (message.reencode)(again.clone(), version).expect("what was encoded can be decoded");
        assert_eq!(again, same, "{} v{version} is encoded in two ways", message.name);
    }
}

pub fn requests(bytes: &[u8]) {
    REQUESTS.with(|messages| message(messages, bytes));
}

pub fn responses(bytes: &[u8]) {
    RESPONSES.with(|messages| message(messages, bytes));
}

/// Metadata records, and keys and values of the coordinators' records: the first byte is the length of the key.
pub fn records(bytes: &[u8]) {
    let _ = VersionedRecord::decode(bytes);
    let Some((at, rest)) = bytes.split_first() else { return };
    let _ = VersionedRecord::decode(rest);
    let (key, value) = rest.split_at(usize::from(*at).min(rest.len()));
    let _ = GroupRecord::decode(key, Some(value));
    let _ = GroupRecord::decode(key, None);
    let _ = TxnRecord::decode(key, Some(value));
}

/// Every record of every batch is read under a budget, whatever the codec.
pub fn batches(bytes: &[u8]) {
    read_batches(bytes);
    // Most inputs fail the checksum; with it put right the rest of the reader is reached too.
    if bytes.len() > 61 {
        let mut repaired = bytes.to_vec();
        repaired[16] = 2;
        let length = (repaired.len() - 12) as i32;
        repaired[8..12].copy_from_slice(&length.to_be_bytes());
        patch::refresh_crc(&mut repaired);
        read_batches(&repaired);
    }
}

fn read_batches(bytes: &[u8]) {
    SCRATCH.with_borrow_mut(|scratch| {
        for batch in BatchIter::new(bytes) {
            let Ok(batch) = batch else { break };
            let _ = batch.ensure_valid();
            let (mut count, mut whole) = (0, false);
            if let Ok(mut records) = batch.records(scratch) {
                whole = records.by_ref().all(|record| {
                    count += u64::from(record.is_ok());
                    record.is_ok_and(|r| r.headers.iter().count() == r.headers.len())
                });
            }
            let mut left = count;
            let one_by_one = batch.each_record(scratch, |_| {
                left = left.wrapping_sub(1);
                Ok::<_, RecordsError>(())
            });
            assert!(!whole || (one_by_one.is_ok() && left == 0), "{count} records, {left} of them not seen");
        }
    });
}

fn lines(text: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(text);
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn wire_lines() -> Vec<Value> {
    lines(&zstd::decode_all(WIRE).expect("the file unpacks"))
}

fn hex(line: &Value, field: &str) -> Option<Vec<u8>> {
    let text = line[field].as_str()?;
    let digits = |at: usize| u8::from_str_radix(text.get(at..at + 2).unwrap_or("00"), 16).unwrap_or(0);
    Some((0..text.len()).step_by(2).map(digits).collect())
}

fn message_seeds(kind: &str) -> Vec<Vec<u8>> {
    let places: BTreeMap<&str, (u8, i16)> = of_kind(kind)
        .iter()
        .enumerate()
        .map(|(at, message)| (message.name, (at as u8, message.min_version)))
        .collect();
    let seed = |line: &Value| {
        let (selector, first) = places.get(line["message"].as_str()?)?;
        let version = i16::try_from(line["version"].as_i64()?).ok()?;
        let mut bytes = vec![*selector, u8::try_from(version - first).ok()?];
        bytes.extend(hex(line, "hex")?);
        (bytes.len() <= MAX_SEED_BYTES).then_some(bytes)
    };
    wire_lines().iter().filter_map(seed).collect()
}

pub fn request_seeds() -> Vec<Vec<u8>> {
    message_seeds("request")
}

pub fn response_seeds() -> Vec<Vec<u8>> {
    message_seeds("response")
}

pub fn record_seeds() -> Vec<Vec<u8>> {
    let lines = wire_lines();
    let of = |kind: &'static str| lines.iter().filter(move |line| line["kind"] == kind);
    let mut seeds: Vec<Vec<u8>> =
        of("metadata-record:metadata").filter_map(|line| hex(line, "framed")).collect();
    for (key_kind, value_kind) in [
        ("__consumer_offsets:coordinator-key", "__consumer_offsets:coordinator-value"),
        ("__transaction_state:coordinator-key", "__transaction_state:coordinator-value"),
    ] {
        for value in of(value_kind) {
            let key = of(key_kind).rfind(|key| key["apiKey"] == value["apiKey"]);
            let Some((key, value)) = key.and_then(|key| hex(key, "framed")).zip(hex(value, "framed")) else {
                continue;
            };
            let Ok(length) = u8::try_from(key.len()) else { continue };
            seeds.push([vec![length], key, value].concat());
        }
    }
    seeds.retain(|seed| seed.len() <= MAX_SEED_BYTES);
    seeds
}

pub fn batch_seeds() -> Vec<Vec<u8>> {
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(BATCHES), &mut text).expect("unpacks");
    let mut seeds: Vec<Vec<u8>> = lines(&text).iter().filter_map(|line| hex(line, "hex")).collect();
    seeds.retain(|seed| seed.len() <= MAX_SEED_BYTES);
    seeds
}
