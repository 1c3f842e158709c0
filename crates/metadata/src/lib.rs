//! Metadata of a cluster: the image that records build, the controller that decides them, and the
//! configuration of nodes and topics. No I/O, no clock, no randomness.

pub mod config;
pub mod features;
pub mod image;
pub mod record;
