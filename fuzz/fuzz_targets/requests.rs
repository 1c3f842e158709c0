//! Any bytes as any request: an error or a value that encodes to bytes which decode again; never a panic.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ottla_protocol::messages::registry::MESSAGES;

fuzz_target!(|data: &[u8]| {
    let [selector, version, body @ ..] = data else { return };
    let kind: Vec<_> = MESSAGES.iter().filter(|m| m.kind == "request").collect();
    let message = kind[*selector as usize % kind.len()];
    let versions = (message.max_version - message.min_version + 1) as u8;
    let version = message.min_version + (version % versions) as i16;
    if let Ok(again) = (message.reencode)(Bytes::copy_from_slice(body), version) {
        (message.reencode)(again, version).expect("what was encoded can be decoded");
    }
});
