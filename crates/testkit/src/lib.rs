//! Floor 0: what simulations are made of. A seeded source of randomness and a disk that forgets, as plain values.
//!
//! # Map
//! - [`rng::Rng`]: the same seed gives the same numbers, on every machine and in every version.
//! - [`disk::SimDisk`]: a file system in memory that knows what was synced, fails where it is told to, and can lose
//!   what was not synced: wholly, in part, or torn at sector boundaries.
//!
//! Nothing here is part of the product; tests and `cargo xtask sim` use it.

pub mod disk;
pub mod rng;
