//! Any bytes in the place of a file of storage: partition metadata.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ottla_sim::fuzz::run("partition_metadata", data));
