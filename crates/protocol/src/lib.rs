//! Floor 0: Kafka's wire types. Every API message and internal record (generated), framing, error codes,
//! record batches and compression.
//!
//! Nothing here does I/O. Whatever is decoded is hostile until it has been decoded: lengths are checked
//! against the bytes that are left before anything is allocated, and a bad input is a [`wire::DecodeError`].

mod api_key;
pub mod compression;
mod error_code;
pub mod frame;
pub mod java;
#[allow(clippy::all, reason = "generated: one shape of code for every schema")]
pub mod messages;
pub mod records;
pub mod types;
pub mod wire;

pub use api_key::{APIS, ApiInfo, ApiKey};
pub use error_code::ErrorCode;
