//! Fetch below its handler.

mod cold;
mod response;
