//! Any bytes in the place of a file of storage: leader epochs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ottla_sim::fuzz::run("leader_epochs", data));
