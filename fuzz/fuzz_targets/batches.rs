//! Any bytes in the place of a family of messages: batches.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ottla_sim::fuzz::run("batches", data));
