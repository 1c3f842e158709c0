//! Floor 5: production code under simulated faults. `cargo xtask sim` runs it.
//!
//! - [`fs::SimFs`]: the disk of `ottla-testkit` behind the seam of `ottla-storage`.
//! - [`load`], [`node`]: producers over real sockets against a real node, and what they were promised.
//! - [`chaos`]: a real node that is killed, or cut off from its disk, under load.
//! - [`durable`]: how fast durable acknowledgements are.
//! - [`fuzz`]: any bytes in the place of each file.
//! - [`storage`]: logs and log directories on that disk, beside a reference model that knows what was promised.

pub mod chaos;
pub mod durable;
pub mod fs;
pub mod fuzz;
pub mod load;
pub mod node;
pub mod storage;
