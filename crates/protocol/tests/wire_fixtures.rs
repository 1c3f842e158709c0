//! Every message in every version, as Apache Kafka's own serializer wrote it, decodes and encodes to the same bytes.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::messages::registry::MESSAGES;
use ottla_protocol::wire::{MessageInfo, Reader};
use ottla_protocol::{ApiKey, frame};
use serde_json::Value;

fn lines() -> Vec<Value> {
    let packed = include_bytes!("data/wire.jsonl.zst");
    let text = zstd::decode_all(&packed[..]).expect("fixture unpacks");
    let text = String::from_utf8(text).expect("fixture is text");
    text.lines().map(|l| serde_json::from_str(l).expect("fixture line is JSON")).collect()
}

fn hex(text: &str) -> Bytes {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex digits"))
        .collect::<Vec<u8>>()
        .into()
}

fn by_name() -> BTreeMap<&'static str, &'static MessageInfo> {
    MESSAGES.iter().map(|m| (m.name, m)).collect()
}

#[test]
fn every_message_of_kafka_round_trips() {
    let messages = by_name();
    let (mut checked, mut failures) = (0, Vec::new());
    for line in lines() {
        let Some(text) = line["hex"].as_str() else { continue };
        if line["kind"] == "frame" {
            continue;
        }
        let name = line["message"].as_str().expect("a message name");
        let version = line["version"].as_i64().expect("a version") as i16;
        let variant = line["variant"].as_str().unwrap_or("");
        let Some(info) = messages.get(name) else {
            failures.push(format!("{name}: no such message"));
            continue;
        };
        let bytes = hex(text);
        match (info.reencode)(bytes.clone(), version) {
            Ok(again) if again == bytes => {}
            Ok(again) => failures.push(format!("{name} v{version} {variant}: {text} became {again:02x?}")),
            Err(e) => failures.push(format!("{name} v{version} {variant}: {e}")),
        }
        match (info.json)(bytes, version).map(|t| serde_json::from_str::<Value>(&t)) {
            Ok(Ok(json)) if json == line["json"] => {}
            other => {
                failures.push(format!("{name} v{version} {variant}: {other:?} instead of {}", line["json"]))
            }
        }
        checked += 1;
    }
    assert!(
        failures.is_empty(),
        "{} failures, first: {:#?}",
        failures.len(),
        &failures[..failures.len().min(5)]
    );
    assert!(checked > 8_000, "only {checked} messages checked");
}

#[test]
fn every_frame_of_kafka_has_the_header_we_expect() {
    let mut checked = 0;
    for line in lines().iter().filter(|l| l["kind"] == "frame") {
        let api = ApiKey::from_code(line["apiKey"].as_i64().expect("api key") as i16).expect("known api");
        let version = line["version"].as_i64().expect("version") as i16;
        assert_eq!(
            i64::from(api.request_header_version(version)),
            line["requestHeaderVersion"],
            "{api} v{version}"
        );
        assert_eq!(
            i64::from(api.response_header_version(version)),
            line["responseHeaderVersion"],
            "{api} v{version}"
        );
        if let Some(request) = line["request"].as_str() {
            let mut r = Reader::new(hex(request).slice(4..));
            match frame::read_request_header(&mut r).expect("header decodes") {
                frame::Header::Known { api: got, version: v, correlation_id, client_id } => {
                    assert_eq!((got, v), (api, version));
                    assert_eq!(i64::from(correlation_id), line["correlationId"]);
                    assert_eq!(client_id.as_deref(), line["clientId"].as_str());
                }
                other => panic!("{api} v{version}: {other:?}"),
            }
        }
        checked += 1;
    }
    assert!(checked > 300, "only {checked} frames checked");
}

/// Truncation at every byte and single-byte damage give an error or a value, never a panic, and a damaged
/// count never makes room for more than the input could hold.
#[test]
fn damaged_messages_are_errors() {
    let messages = by_name();
    for (i, line) in lines().iter().enumerate().filter(|(i, _)| i % 7 == 0) {
        let (Some(text), Some(name)) = (line["hex"].as_str(), line["message"].as_str()) else { continue };
        let Some(info) = messages.get(name) else { continue };
        let version = line["version"].as_i64().unwrap_or(0) as i16;
        let bytes = hex(text);
        let step = (bytes.len() / 40).max(1);
        for cut in (0..bytes.len()).step_by(step) {
            let _ = (info.reencode)(bytes.slice(..cut), version);
        }
        for at in (i % step..bytes.len()).step_by(step) {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = bytes.to_vec();
                damaged[at] ^= flip;
                let _ = (info.reencode)(damaged.into(), version);
            }
        }
    }
}

/// Counts that promise billions of elements cost nothing.
#[test]
fn a_count_bomb_is_refused_before_anything_is_allocated() {
    for info in MESSAGES {
        for version in info.min_version..=info.max_version {
            for fill in [0x7f, 0xff] {
                let bomb = Bytes::from(vec![fill; 64]);
                let _ = (info.reencode)(bomb, version);
            }
            let default = (info.default_bytes)(version).expect("a default value has an encoding");
            (info.reencode)(default, version).expect("the default value round-trips");
        }
    }
}
