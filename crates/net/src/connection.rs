//! HOT: one connection: frames in, responses out, in order.
//!
//! Not to be done here: a copy of a frame's bytes, a task or channel per request, an allocation per response
//! that is ready at once.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use crate::limits::MemoryBudget;
use crate::reply::{FileRange, Reply, ReplyFuture, Response, Segment};
use crate::{Connection, FrameError, NetMetrics};

/// The least that is read at once, and what an idle connection's first read costs.
const READ_SMALL: usize = 8 * 1024;
/// The most that is made ready for a frame because the one before was as large.
const READ_USUAL: usize = 64 * 1024;
/// The most that is read ahead of the frame that is being assembled.
const READ_LARGE: usize = 256 * 1024;
/// Room that is made for an announced frame, in multiples of what has come of it: ten thousand connections that
/// announce much and send little must not take memory that they have not paid for.
const TRUST: usize = 16;
/// Responses waiting to be sent beyond which no further request is read.
const MAX_UNSENT_BYTES: usize = 8 * 1024 * 1024;
/// Buffers handed to one vectored write.
const MAX_IOV: usize = 64;
/// The shortest possible request: key, version, correlation id and a null client id.
const MIN_FRAME: usize = 8;

/// The limits of a connection.
#[derive(Debug, Clone)]
pub struct ConnectionOptions {
    /// `socket.request.max.bytes`
    pub max_frame_bytes: usize,
    /// Requests that may wait for their response before reading pauses.
    pub max_in_flight: usize,
    /// `connections.max.idle.ms`; zero keeps idle connections.
    pub max_idle: Duration,
    pub budget: Arc<MemoryBudget>,
}

struct Pending {
    reply: Reply,
    bytes: usize,
}

/// Serves one connection until either side closes it.
pub(crate) async fn serve<C: Connection>(
    stream: TcpStream,
    handler: C,
    options: ConnectionOptions,
    metrics: Arc<NetMetrics>,
    shutdown: watch::Receiver<bool>,
) {
    let mut driver = Driver {
        stream,
        handler,
        options,
        metrics,
        input: BytesMut::new(),
        pending: VecDeque::new(),
        output: VecDeque::new(),
        output_bytes: 0,
        closing: false,
        end_of_input: false,
        filled: false,
        usual: 0,
    };
    driver.run(shutdown).await;
    let held: usize = driver.pending.iter().map(|p| p.bytes).sum();
    driver.options.budget.give_back(held);
}

struct Driver<C> {
    stream: TcpStream,
    handler: C,
    options: ConnectionOptions,
    metrics: Arc<NetMetrics>,
    input: BytesMut,
    pending: VecDeque<Pending>,
    output: VecDeque<Output>,
    output_bytes: usize,
    /// No more requests are taken; the connection ends when the output has been sent.
    closing: bool,
    end_of_input: bool,
    /// The last read filled all the room it was given.
    filled: bool,
    /// Bytes of the last frame: the next is likely to be as large, and then comes with one read.
    usual: usize,
}

struct Output {
    segment: Segment,
    on_sent: Option<Box<dyn crate::reply::FnOnceSent>>,
}

impl<C: Connection> Driver<C> {
    async fn run(&mut self, mut shutdown: watch::Receiver<bool>) {
        let idle = self.options.max_idle;
        let mut timer: Option<Pin<Box<Sleep>>> =
            (!idle.is_zero()).then(|| Box::pin(tokio::time::sleep(idle)));
        let mut active = Instant::now();
        loop {
            self.take_frames();
            self.collect_ready();
            if !self.output.is_empty() && self.write_some().is_err() {
                return;
            }
            if self.output.is_empty() && (self.closing || (self.end_of_input && self.pending.is_empty())) {
                return;
            }
            // A request that was held back by a limit may go now that responses have left.
            if self.frame_waits() {
                continue;
            }
            let wants_read = !self.end_of_input && !self.closing && self.has_room();
            let blocked_by_budget = wants_read && self.options.budget.exhausted();
            let budget = Arc::clone(&self.options.budget);
            tokio::select! {
                biased;
                reply = next_ready(&mut self.pending) => {
                    let bytes = self.pending.pop_front().map_or(0, |p| p.bytes);
                    self.options.budget.give_back(bytes);
                    self.take_reply(reply);
                    self.collect_answered();
                }
                result = self.stream.writable(), if !self.output.is_empty() => {
                    if result.is_err() { return }
                }
                result = self.stream.readable(), if wants_read && !blocked_by_budget => {
                    if result.is_err() { return }
                    match self.read_some() {
                        Ok(()) => active = Instant::now(),
                        Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                        Err(_) => return,
                    }
                }
                () = budget.wait_for_room(), if blocked_by_budget => {}
                _ = shutdown.changed() => {
                    self.stop_taking();
                }
                () = async { match timer.as_mut() { Some(t) => t.as_mut().await, None => std::future::pending().await } } => {
                    let deadline = active + idle;
                    if Instant::now() >= deadline && self.pending.is_empty() && self.output.is_empty() {
                        NetMetrics::add(&self.metrics.connections_closed_idle_total, 1);
                        return;
                    }
                    let next = deadline.max(Instant::now() + Duration::from_millis(100));
                    if let Some(t) = timer.as_mut() { t.as_mut().reset(next) }
                }
            }
        }
    }

    /// What has been answered still goes out; what waits is cut off.
    fn stop_taking(&mut self) {
        self.closing = true;
        self.options.budget.give_back(self.pending.drain(..).map(|p| p.bytes).sum());
    }

    fn has_room(&self) -> bool {
        self.pending.len() < self.options.max_in_flight
            && self.output_bytes < MAX_UNSENT_BYTES
            && !matches!(self.pending.back(), Some(Pending { reply: Reply::Exclusive(_), .. }))
    }

    /// The length of the frame at the start of the input, once its four bytes are there.
    fn announced(&self) -> Option<i32> {
        self.input.first_chunk::<4>().map(|b| i32::from_be_bytes(*b))
    }

    fn frame_waits(&self) -> bool {
        !self.closing
            && self.has_room()
            && self.announced().is_some_and(|n| n < MIN_FRAME as i32 || self.input.len() - 4 >= n as usize)
    }

    /// Hands complete frames to the service until a limit is reached.
    fn take_frames(&mut self) {
        while !self.closing && self.has_room() {
            let Some(size) = self.announced() else { break };
            let max = self.options.max_frame_bytes;
            let error = if size < MIN_FRAME as i32 {
                Some(FrameError::TooSmall { size: size.into() })
            } else if size as usize > max {
                Some(FrameError::TooLarge { size: size.into(), max })
            } else {
                None
            };
            if let Some(error) = error {
                NetMetrics::add(&self.metrics.bad_frames_total, 1);
                self.handler.on_bad_frame(&error);
                self.stop_taking();
                return;
            }
            let size = size as usize;
            if self.input.len() < 4 + size {
                break;
            }
            self.usual = 4 + size;
            self.input.advance(4);
            let frame = self.input.split_to(size).freeze();
            NetMetrics::add(&self.metrics.frames_in_total, 1);
            self.dispatch(frame);
        }
        if self.input.is_empty() && self.input.capacity() > 0 && !self.filled {
            // An idle connection keeps no buffer.
            self.input = BytesMut::new();
        }
    }

    fn dispatch(&mut self, frame: Bytes) {
        let bytes = frame.len();
        let mut reply = self.handler.on_frame(frame);
        if let Reply::Later(future) | Reply::Exclusive(future) = &mut reply {
            // The first poll does the part that must happen in the order of arrival.
            if let Poll::Ready(done) = poll_once(future) {
                reply = done;
            }
        }
        match reply {
            Reply::Nothing => {}
            reply if self.pending.is_empty() => match reply {
                Reply::Later(_) | Reply::Exclusive(_) => self.hold(reply, bytes),
                done => self.take_reply(done),
            },
            reply => self.hold(reply, bytes),
        }
    }

    fn hold(&mut self, reply: Reply, bytes: usize) {
        self.options.budget.take(bytes);
        self.pending.push_back(Pending { reply, bytes });
    }

    /// Moves replies that are next in line and ready to the output.
    fn collect_ready(&mut self) {
        while let Some(front) = self.pending.front() {
            if matches!(front.reply, Reply::Later(_) | Reply::Exclusive(_)) {
                return;
            }
            if let Some(front) = self.pending.pop_front() {
                self.options.budget.give_back(front.bytes);
                self.take_reply(front.reply);
            }
        }
    }

    /// Replies that wait for the same thing become ready together, and leave together: those behind one that has just
    /// become ready are asked before it is sent.
    fn collect_answered(&mut self) {
        while let Some(Pending { reply: Reply::Later(future) | Reply::Exclusive(future), .. }) =
            self.pending.front_mut()
            && let Poll::Ready(reply) = poll_once(future)
        {
            let bytes = self.pending.pop_front().map_or(0, |p| p.bytes);
            self.options.budget.give_back(bytes);
            self.take_reply(reply);
        }
    }

    fn take_reply(&mut self, reply: Reply) {
        match reply {
            Reply::Now(response) => self.queue(response),
            Reply::Nothing => {}
            Reply::Close => {
                self.stop_taking();
            }
            // A future that became a future; it was next in line and stays so.
            Reply::Later(_) | Reply::Exclusive(_) => self.pending.push_front(Pending { reply, bytes: 0 }),
        }
    }

    fn queue(&mut self, response: Response) {
        if self.closing {
            return;
        }
        self.output_bytes += response.len();
        let close = response.close;
        let mut on_sent = response.on_sent;
        let last = response.segments.len().saturating_sub(1);
        for (i, segment) in response.segments.into_iter().enumerate() {
            let on_sent = if i == last { on_sent.take() } else { None };
            self.output.push_back(Output { segment, on_sent });
        }
        if close {
            self.stop_taking();
        }
    }

    /// Bytes that are missing of the frame at the start of the input; none while its length is not known or not allowed.
    fn missing(&self) -> Option<usize> {
        let announced = usize::try_from(self.announced()?).ok()?;
        let allowed = 0 < announced && announced <= self.options.max_frame_bytes;
        allowed.then(|| (4 + announced).saturating_sub(self.input.len()))
    }

    fn read_some(&mut self) -> io::Result<()> {
        let wanted = match self.missing() {
            Some(missing) => {
                let spare = self.input.capacity() - self.input.len();
                match spare >= missing.min(READ_SMALL / 2) {
                    true => 0,
                    false => missing.min(self.input.len().saturating_mul(TRUST)).max(READ_SMALL),
                }
            }
            _ if self.filled => READ_LARGE,
            // A read that leaves room tells that the socket is empty.
            _ => (self.usual + self.usual / 8).clamp(READ_SMALL, READ_USUAL),
        };
        self.input.reserve(wanted);
        let room = self.input.capacity() - self.input.len();
        let n = self.receive()?;
        self.filled = n == room;
        if n == 0 {
            self.end_of_input = true;
        }
        NetMetrics::add(&self.metrics.bytes_in_total, n as u64);
        Ok(())
    }

    /// Receives into the room behind the input. Where the bytes do not fill it the socket is empty: the runtime is told so
    /// at once, or it would have us ask again and be told by the system. What comes later is told anew, as is the end.
    fn receive(&mut self) -> io::Result<usize> {
        let mut received = None;
        let input = &mut self.input;
        let stream = &self.stream;
        let outcome = stream.try_io(Interest::READABLE, || {
            let room = input.spare_capacity_mut();
            let all = room.len();
            let n = SockRef::from(stream).recv(room)?;
            received = Some(n);
            if n > 0 && n < all { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        let Some(n) = received else {
            return Err(outcome.err().unwrap_or_else(|| io::ErrorKind::WouldBlock.into()));
        };
        // SAFETY: `recv` has written `n` bytes to the spare capacity. Exercised by every test of this crate.
        unsafe { self.input.set_len(self.input.len() + n) };
        Ok(n)
    }

    /// Writes until the output is empty or the socket is full.
    fn write_some(&mut self) -> io::Result<()> {
        while let Some(front) = self.output.front() {
            let result = match &front.segment {
                Segment::File(range) => self.send_file(range),
                Segment::Bytes(_) => self.send_bytes(),
            };
            match result {
                Ok(n) => self.sent(n)?,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn send_bytes(&self) -> io::Result<usize> {
        let mut iov = [io::IoSlice::new(&[]); MAX_IOV];
        let mut used = 0;
        for output in self.output.iter().take(MAX_IOV) {
            let Segment::Bytes(bytes) = &output.segment else { break };
            iov[used] = io::IoSlice::new(bytes);
            used += 1;
        }
        self.stream.try_write_vectored(&iov[..used])
    }

    fn send_file(&self, range: &FileRange) -> io::Result<usize> {
        let socket = self.stream.as_raw_fd();
        let file = range.file.as_raw_fd();
        self.stream.try_io(Interest::WRITABLE, || {
            let mut offset = range.position as libc::off_t;
            // SAFETY: both descriptors are open for as long as `self.stream` and `range.file` are borrowed,
            // and `offset` outlives the call. Exercised by the fetch tests over 64 KiB.
            let n = unsafe { libc::sendfile(socket, file, &mut offset, range.len) };
            if n < 0 { Err(io::Error::last_os_error()) } else { Ok(n as usize) }
        })
    }

    fn sent(&mut self, mut n: usize) -> io::Result<()> {
        NetMetrics::add(&self.metrics.bytes_out_total, n as u64);
        self.output_bytes -= n.min(self.output_bytes);
        if n == 0 {
            let empty = self.output.front().is_some_and(|o| match &o.segment {
                Segment::Bytes(b) => b.is_empty(),
                Segment::File(f) => f.len == 0,
            });
            if !empty {
                // The file is shorter than the log believes: the response cannot be completed.
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        while let Some(front) = self.output.front_mut() {
            let len = match &mut front.segment {
                Segment::Bytes(b) => b.len(),
                Segment::File(f) => f.len,
            };
            if n < len {
                match &mut front.segment {
                    Segment::Bytes(b) => b.advance(n),
                    Segment::File(f) => {
                        f.position += n as u64;
                        f.len -= n;
                    }
                }
                return Ok(());
            }
            n -= len;
            if let Some(on_sent) = self.output.pop_front().and_then(|o| o.on_sent) {
                on_sent.sent();
            }
            if n == 0
                && self
                    .output
                    .front()
                    .is_none_or(|o| !matches!(&o.segment, Segment::Bytes(b) if b.is_empty()))
            {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Polls a new reply without arranging to be woken: it is polled again with a real waker when it is in line.
fn poll_once(future: &mut ReplyFuture) -> Poll<Reply> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Completes with the reply of the front request; never, when nothing waits.
async fn next_ready(pending: &mut VecDeque<Pending>) -> Reply {
    poll_fn(|cx| match pending.front_mut() {
        Some(Pending { reply: Reply::Later(future) | Reply::Exclusive(future), .. }) => {
            future.as_mut().poll(cx)
        }
        _ => Poll::Pending,
    })
    .await
}

impl<C> Drop for Driver<C> {
    fn drop(&mut self) {
        self.metrics.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
