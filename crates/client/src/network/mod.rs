//! Connections, metadata, and requests that find the node which can answer them.

mod backoff;
mod client;
mod connection;
mod request;
mod view;

pub(crate) use backoff::Backoff;
pub(crate) use client::Lane;
pub use client::{Client, Target};
pub(crate) use connection::Connection;
pub use connection::VersionRange;
pub use request::Request;
pub use view::{BrokerNode, ClusterView, PartitionView, TopicView};
