//! Any bytes in the place of a family of messages: records.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ottla_sim::fuzz::run("records", data));
