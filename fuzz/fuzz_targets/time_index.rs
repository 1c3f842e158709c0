//! Any bytes in the place of a file of storage: time index.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ottla_sim::fuzz::run("time_index", data));
