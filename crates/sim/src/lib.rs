//! Floor 5: production code under simulated faults. `cargo xtask sim` runs it.
//!
//! - [`fs::SimFs`]: the disk of `ottla-testkit` behind the seam of `ottla-storage`.
//! - [`storage`]: logs and log directories on that disk, beside a reference model that knows what was promised.

pub mod fs;
pub mod storage;
