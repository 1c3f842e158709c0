//! A connection to another node as requests and responses: pipelined, matched by order and correlation id.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ottla_protocol::types::Str;
use ottla_protocol::wire::{DecodeError, EncodeError, Message, Reader, Writer};
use ottla_protocol::{ApiKey, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait to be written to one connection.
const SEND_QUEUE: usize = 256;
/// Room made at once for a response that has been announced.
const FRAME_TRUSTED: usize = 1024 * 1024;
const READ_SIZE: usize = 64 * 1024;

/// Why a request got no response.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    #[error("cannot connect to {address}: {source}")]
    Connect { address: String, source: io::Error },
    #[error("the connection to {address} was closed")]
    Closed { address: String },
    #[error("no response from {address} to {api} within {timeout_ms} ms")]
    Timeout { address: String, api: ApiKey, timeout_ms: u128 },
    #[error("cannot write {api} version {version}: {source}")]
    Encode { api: ApiKey, version: i16, source: EncodeError },
    #[error("cannot read the response to {api} version {version} from {address}: {source}")]
    Decode { address: String, api: ApiKey, version: i16, source: DecodeError },
}

struct Outgoing {
    frame: Bytes,
    /// None for a request without a response.
    reply: Option<(i32, oneshot::Sender<Bytes>)>,
}

/// A handle to one connection; clones share it. When the last handle goes, the connection closes.
#[derive(Clone)]
pub struct Channel {
    address: Arc<str>,
    client_id: Str,
    next_correlation_id: Arc<AtomicI32>,
    sender: mpsc::Sender<Outgoing>,
    closed: Arc<AtomicBool>,
    local_port: u16,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Channel({})", self.address)
    }
}

impl Channel {
    /// Connects to `host:port`. `max_frame_bytes` bounds what a response may announce.
    pub async fn connect(
        address: &str,
        client_id: Str,
        timeout: Duration,
        max_frame_bytes: usize,
    ) -> Result<Channel, ChannelError> {
        let failed = |source| ChannelError::Connect { address: address.to_owned(), source };
        let stream = tokio::time::timeout(timeout, TcpStream::connect(address))
            .await
            .map_err(|_| failed(io::ErrorKind::TimedOut.into()))?
            .map_err(failed)?;
        let _ = stream.set_nodelay(true);
        let local_port = stream.local_addr().map_or(0, |a| a.port());
        let (sender, receiver) = mpsc::channel(SEND_QUEUE);
        let closed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&closed);
        tokio::spawn(async move {
            // Ends when the peer closes, breaks the protocol, or every handle is gone; dropping the waiting
            // senders tells each caller.
            let _ = drive(stream, receiver, max_frame_bytes).await;
            flag.store(true, Ordering::Release);
        });
        Ok(Channel {
            address: address.into(),
            client_id,
            next_correlation_id: Arc::new(AtomicI32::new(0)),
            sender,
            closed,
            local_port,
        })
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn local_port(&self) -> u16 {
        self.local_port
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire) || self.sender.is_closed()
    }

    fn closed_error(&self) -> ChannelError {
        ChannelError::Closed { address: self.address.to_string() }
    }

    /// Sends a request and waits for its response.
    pub async fn call<Req: Message, Resp: Message>(
        &self,
        api: ApiKey,
        version: i16,
        request: &Req,
        timeout: Duration,
    ) -> Result<Resp, ChannelError> {
        let pending = self.send(api, version, request).await?;
        pending.wait(timeout).await
    }

    /// Queues a request; the response is awaited separately, so that requests can be pipelined in order.
    pub async fn send<Req: Message, Resp: Message>(
        &self,
        api: ApiKey,
        version: i16,
        request: &Req,
    ) -> Result<PendingResponse<Resp>, ChannelError> {
        let mut w = Writer::new();
        request.encode(&mut w, version).map_err(|source| ChannelError::Encode { api, version, source })?;
        self.send_raw(api, version, &[w.into_bytes()]).await
    }

    /// Queues a request whose body is already encoded, in parts.
    pub async fn send_raw<Resp: Message>(
        &self,
        api: ApiKey,
        version: i16,
        body: &[Bytes],
    ) -> Result<PendingResponse<Resp>, ChannelError> {
        let (reply, response) = oneshot::channel();
        let correlation_id = self.enqueue(api, version, body, Some(reply)).await?;
        let address = Arc::clone(&self.address);
        Ok(PendingResponse {
            api,
            version,
            correlation_id,
            address,
            response,
            _type: std::marker::PhantomData,
        })
    }

    /// Queues a request that has no response (Produce with acks=0).
    pub async fn send_unanswered(
        &self,
        api: ApiKey,
        version: i16,
        body: &[Bytes],
    ) -> Result<(), ChannelError> {
        self.enqueue(api, version, body, None).await.map(|_| ())
    }

    async fn enqueue(
        &self,
        api: ApiKey,
        version: i16,
        body: &[Bytes],
        reply: Option<oneshot::Sender<Bytes>>,
    ) -> Result<i32, ChannelError> {
        let correlation_id = self.next_correlation_id.fetch_add(1, Ordering::Relaxed);
        let frame =
            frame::request_frame_of_parts(api, version, correlation_id, Some(self.client_id.clone()), body)
                .map_err(|source| ChannelError::Encode { api, version, source })?;
        let reply = reply.map(|r| (correlation_id, r));
        self.sender.send(Outgoing { frame, reply }).await.map_err(|_| self.closed_error())?;
        Ok(correlation_id)
    }
}

/// A response that has not come yet.
pub struct PendingResponse<Resp> {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    address: Arc<str>,
    response: oneshot::Receiver<Bytes>,
    _type: std::marker::PhantomData<fn() -> Resp>,
}

impl<Resp: Message> PendingResponse<Resp> {
    pub fn correlation_id(&self) -> i32 {
        self.correlation_id
    }

    pub async fn wait(self, timeout: Duration) -> Result<Resp, ChannelError> {
        let PendingResponse { api, version, address, response, .. } = self;
        let bytes = match tokio::time::timeout(timeout, response).await {
            Err(_) => {
                return Err(ChannelError::Timeout {
                    address: address.to_string(),
                    api,
                    timeout_ms: timeout.as_millis(),
                });
            }
            Ok(Err(_)) => return Err(ChannelError::Closed { address: address.to_string() }),
            Ok(Ok(bytes)) => bytes,
        };
        decode_response(api, version, bytes).map_err(|(version, source)| ChannelError::Decode {
            address: address.to_string(),
            api,
            version,
            source,
        })
    }
}

/// Reads header and body. A broker that does not know our version of ApiVersions answers in version 0 (KIP-511).
fn decode_response<Resp: Message>(
    api: ApiKey,
    version: i16,
    bytes: Bytes,
) -> Result<Resp, (i16, DecodeError)> {
    let read = |version: i16| -> Result<Resp, DecodeError> {
        let mut r = Reader::new(bytes.clone());
        r.int32()?;
        if api.response_header_version(version) == 1 {
            let mut tags = r.tagged_fields()?;
            while r.next_tag(&mut tags)?.is_some() {}
        }
        Resp::decode(&mut r, version)
    };
    match read(version) {
        Ok(response) => Ok(response),
        Err(_) if api == ApiKey::ApiVersions && version > 0 => read(0).map_err(|e| (0, e)),
        Err(e) => Err((version, e)),
    }
}

async fn drive(
    stream: TcpStream,
    mut requests: mpsc::Receiver<Outgoing>,
    max_frame: usize,
) -> io::Result<()> {
    let (mut read, mut write) = stream.into_split();
    let mut waiting: VecDeque<(i32, oneshot::Sender<Bytes>)> = VecDeque::new();
    let mut input = BytesMut::new();
    let mut output: VecDeque<Bytes> = VecDeque::new();
    let mut requests_open = true;
    loop {
        while let Some(frame) = take_frame(&mut input, max_frame)? {
            let correlation_id = frame.first_chunk::<4>().map(|b| i32::from_be_bytes(*b));
            match waiting.pop_front() {
                Some((expected, reply)) if correlation_id == Some(expected) => {
                    let _ = reply.send(frame);
                }
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        if !requests_open && output.is_empty() && waiting.is_empty() {
            return Ok(());
        }
        tokio::select! {
            received = requests.recv(), if requests_open => match received {
                Some(out) => {
                    output.push_back(out.frame);
                    waiting.extend(out.reply);
                    while output.len() < 64 {
                        let Ok(out) = requests.try_recv() else { break };
                        output.push_back(out.frame);
                        waiting.extend(out.reply);
                    }
                }
                None => requests_open = false,
            },
            result = write_front(&mut write, &output), if !output.is_empty() => {
                let mut n = result?;
                while let Some(front) = output.front_mut() {
                    if n < front.len() {
                        bytes::Buf::advance(front, n);
                        break;
                    }
                    n -= front.len();
                    output.pop_front();
                }
            }
            n = read_more(&mut read, &mut input, max_frame) => if n? == 0 { return Ok(()) },
        }
    }
}

async fn write_front(
    write: &mut tokio::net::tcp::OwnedWriteHalf,
    output: &VecDeque<Bytes>,
) -> io::Result<usize> {
    let mut slices = [io::IoSlice::new(&[]); 16];
    let mut n = 0;
    for bytes in output.iter().take(16) {
        slices[n] = io::IoSlice::new(bytes);
        n += 1;
    }
    write.write_vectored(&slices[..n]).await
}

async fn read_more(
    read: &mut tokio::net::tcp::OwnedReadHalf,
    input: &mut BytesMut,
    max_frame: usize,
) -> io::Result<usize> {
    let missing = match input.first_chunk::<4>().map(|b| i32::from_be_bytes(*b)) {
        Some(n) if n > 0 && n as usize <= max_frame => (4 + n as usize).saturating_sub(input.len()),
        _ => READ_SIZE,
    };
    input.reserve(missing.min(FRAME_TRUSTED.max(input.len())).max(READ_SIZE / 4));
    read.read_buf(input).await
}

fn take_frame(input: &mut BytesMut, max_frame: usize) -> io::Result<Option<Bytes>> {
    let Some(size) = input.first_chunk::<4>().map(|b| i32::from_be_bytes(*b)) else { return Ok(None) };
    if size < 4 || size as usize > max_frame {
        return Err(io::ErrorKind::InvalidData.into());
    }
    if input.len() < 4 + size as usize {
        return Ok(None);
    }
    bytes::Buf::advance(input, 4);
    Ok(Some(input.split_to(size as usize).freeze()))
}
