//! Any bytes in the place of a family of messages: responses.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ottla_sim::fuzz::run("responses", data));
