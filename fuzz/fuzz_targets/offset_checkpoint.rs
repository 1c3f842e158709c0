//! Any bytes in the place of a file of storage: offset checkpoint.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ottla_sim::fuzz::run("offset_checkpoint", data));
