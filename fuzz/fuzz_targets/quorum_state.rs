//! Any bytes in the place of a file of storage: quorum state.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ottla_sim::fuzz::run("quorum_state", data));
