//! What Fetch is made of besides its handler: sessions, reads, waiting, and the response without copies.

mod read;
mod response;
mod sessions;

pub use read::{PartitionData, ReadLimits, read_all};
pub use response::{FetchHead, encode};
pub use sessions::FetchSessions;

#[cfg(test)]
mod tests;
