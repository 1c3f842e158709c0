//! Metadata of a cluster: the image that records build, the controller that decides them, the
//! answers that the image alone gives, and the configuration of nodes and topics.
//!
//! No I/O, no clock, no randomness: time and random numbers are arguments.

pub mod config;
pub mod controller;
pub mod describe;
pub mod features;
pub mod format;
pub mod image;
pub mod record;
