//! Any bytes in the place of each file that storage reads, and of each family of messages: an error (which names the
//! file), or something sound; never a panic, and never more memory than a small multiple of the input.
//!
//! The targets are plain functions. `fuzz/fuzz_targets` hands them to libFuzzer; [`driver`] mutates good files and
//! needs nothing but a stable compiler.

pub mod driver;
mod memory;
mod targets;
mod wire;

pub use targets::{TARGETS, Target};

/// Runs the target of a name.
///
/// # Panics
/// When the target finds something, or there is no such target.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a known target");
    (target.run)(bytes);
}
