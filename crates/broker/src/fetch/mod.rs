//! What Fetch is made of besides its handler: sessions, reads, waiting, and the response without copies.

mod deadlines;
mod load;
mod pool;
mod read;
mod response;
mod sessions;

pub use deadlines::Deadlines;
pub use load::{load, load_cached};
pub use pool::ColdReaders;
pub use read::{PartitionData, ReadLimits, Reading, Records};
pub use response::{FetchHead, encode};
pub use sessions::FetchSessions;

#[cfg(test)]
mod tests;
