//! Floor 2: listeners and connections. Bytes become frames here, and responses become bytes again, in the
//! order of their requests; what the frames mean is the business of the [`Service`] above.
//!
//! A connection is one task. It reads frames, hands each to the service at once, and keeps the replies in a
//! queue: a reply that is ready is written, one that waits (a long poll, acks=all) holds back those behind it
//! but not the work that their requests have started already.

mod channel;
mod connection;
mod limits;
mod listener;
mod metrics;
mod reply;

pub use channel::{Channel, ChannelError, PendingResponse};
pub use connection::ConnectionOptions;
pub use limits::{ConnectionLimits, LimitSettings, MemoryBudget, Refusal};
pub use listener::{Listener, ListenerHandle, ListenerOptions};
pub use metrics::NetMetrics;
pub use reply::{FileRange, Reply, ReplyFuture, Response, Segment};

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// Unique within the process.
    pub id: u64,
    pub peer: SocketAddr,
    pub local: SocketAddr,
    /// Name of the listener that accepted the connection.
    pub listener: Arc<str>,
}

/// What stands behind a listener: makes the state of each connection.
pub trait Service: Send + Sync + 'static {
    type Connection: Connection;

    fn connect(&self, peer: PeerInfo) -> Self::Connection;
}

/// The state of one connection; dropped when the connection closes.
pub trait Connection: Send + 'static {
    /// Takes one request frame (without its length). Whatever must happen in the order of arrival happens
    /// before this returns.
    fn on_frame(&mut self, frame: Bytes) -> Reply;

    /// The connection broke the framing rules and is about to be closed.
    fn on_bad_frame(&mut self, error: &FrameError);
}

/// Why a connection was closed by us.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {size} bytes is larger than socket.request.max.bytes ({max})")]
    TooLarge { size: i64, max: usize },
    #[error("a frame of {size} bytes is shorter than a request header")]
    TooSmall { size: i64 },
}
