//! Any bytes in the place of a file of storage: producer snapshot.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ottla_sim::fuzz::run("producer_snapshot", data));
