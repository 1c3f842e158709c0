//! Floor 1: what a leader keeps about those who fetch from it. No I/O, no clock.
//!
//! - [`fetch_session`]: incremental fetch sessions (KIP-227).

pub mod fetch_session;
