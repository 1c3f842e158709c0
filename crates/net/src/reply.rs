//! What a service answers to a frame.

use std::future::Future;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

/// A run of bytes of an open file, sent without passing through user memory.
#[derive(Clone)]
pub struct FileRange {
    pub file: Arc<dyn AsRawFd + Send + Sync>,
    pub position: u64,
    pub len: usize,
}

impl std::fmt::Debug for FileRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileRange({}+{})", self.position, self.len)
    }
}

/// A part of a response.
#[derive(Debug, Clone)]
pub enum Segment {
    Bytes(Bytes),
    File(FileRange),
}

/// A whole response including its length prefix.
#[derive(Debug, Default)]
pub struct Response {
    pub segments: Vec<Segment>,
    /// Close the connection once this has been sent.
    pub close: bool,
    /// Called once, when the last byte has been handed to the kernel or the connection is gone.
    pub on_sent: Option<Box<dyn FnOnceSent>>,
}

/// A callback that may be printed.
pub trait FnOnceSent: Send {
    fn sent(self: Box<Self>);
}

impl<F: FnOnce() + Send> FnOnceSent for F {
    fn sent(self: Box<Self>) {
        self()
    }
}

impl std::fmt::Debug for dyn FnOnceSent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("on_sent")
    }
}

impl Response {
    pub fn bytes(bytes: Bytes) -> Response {
        Response { segments: vec![Segment::Bytes(bytes)], ..Default::default() }
    }

    pub fn len(&self) -> usize {
        self.segments
            .iter()
            .map(|s| match s {
                Segment::Bytes(b) => b.len(),
                Segment::File(f) => f.len,
            })
            .sum()
    }

    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }
}

pub type ReplyFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// The answer to one frame.
pub enum Reply {
    /// Send this.
    Now(Response),
    /// Send what this becomes. It is polled once right away, and again when it is next in line.
    Later(ReplyFuture),
    /// As `Later`, and no further frame of the connection is taken before it is done: its work is not in order
    /// with that of later requests until then.
    Exclusive(ReplyFuture),
    /// The request has no response (Produce with acks=0).
    Nothing,
    /// Close the connection without a response.
    Close,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reply::Now(r) => f.debug_tuple("Now").field(r).finish(),
            Reply::Later(_) => f.write_str("Later"),
            Reply::Exclusive(_) => f.write_str("Exclusive"),
            Reply::Nothing => f.write_str("Nothing"),
            Reply::Close => f.write_str("Close"),
        }
    }
}
