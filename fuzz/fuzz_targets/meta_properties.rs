//! Any bytes in the place of a file of storage: meta properties.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ottla_sim::fuzz::run("meta_properties", data));
