//! Connections as a client sees them: order, back-pressure, limits, bad frames.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use ottla_net::{
    Connection, ConnectionLimits, ConnectionOptions, FileRange, FrameError, LimitSettings, Listener,
    ListenerHandle, ListenerOptions, MemoryBudget, NetMetrics, PeerInfo, Reply, Response, Segment, Service,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Answers a frame with itself. The first byte of the body says how.
struct Echo {
    release: Arc<Notify>,
    file: Arc<std::fs::File>,
}

struct EchoConnection {
    release: Arc<Notify>,
    file: Arc<std::fs::File>,
    seen: usize,
}

const NOW: u8 = b'n';
const LATER: u8 = b'l';
const EXCLUSIVE: u8 = b'e';
const NOTHING: u8 = b'0';
const FILE: u8 = b'f';
const FILE_BYTES: usize = 300_000;

fn framed(body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(4 + body.len());
    out.put_i32(body.len() as i32);
    out.put_slice(body);
    out.freeze()
}

impl Service for Echo {
    type Connection = EchoConnection;

    fn connect(&self, _: PeerInfo) -> EchoConnection {
        EchoConnection { release: Arc::clone(&self.release), file: Arc::clone(&self.file), seen: 0 }
    }
}

impl Connection for EchoConnection {
    fn on_frame(&mut self, frame: Bytes) -> Reply {
        self.seen += 1;
        let mut body = frame.to_vec();
        // How many frames had been seen when this one was taken.
        body.push(self.seen as u8);
        let response = Response::bytes(framed(&body));
        let release = Arc::clone(&self.release);
        match frame.first() {
            Some(&LATER) => Reply::Later(Box::pin(async move {
                release.notified().await;
                Reply::Now(response)
            })),
            Some(&EXCLUSIVE) => Reply::Exclusive(Box::pin(async move {
                release.notified().await;
                Reply::Now(response)
            })),
            Some(&NOTHING) => Reply::Nothing,
            Some(&FILE) => {
                let mut head = BytesMut::new();
                head.put_i32(FILE_BYTES as i32);
                let file: Arc<dyn std::os::fd::AsRawFd + Send + Sync> = Arc::clone(&self.file) as _;
                let range = FileRange { file, position: 10, len: FILE_BYTES };
                Reply::Now(Response {
                    segments: vec![Segment::Bytes(head.freeze()), Segment::File(range)],
                    ..Default::default()
                })
            }
            _ => Reply::Now(response),
        }
    }

    fn on_bad_frame(&mut self, _: &FrameError) {}
}

struct Server {
    handle: ListenerHandle,
    release: Arc<Notify>,
    metrics: Arc<NetMetrics>,
}

fn serve(limits: LimitSettings, max_idle: Duration) -> Server {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(&vec![7; FILE_BYTES + 20]).expect("written");
    let release = Arc::new(Notify::new());
    let metrics = Arc::new(NetMetrics::default());
    let options = ListenerOptions {
        name: "TEST".into(),
        connection: ConnectionOptions {
            max_frame_bytes: 100 * 1024 * 1024,
            max_in_flight: 4,
            max_idle,
            budget: MemoryBudget::new(64 * 1024 * 1024),
        },
        limits: Arc::new(ConnectionLimits::new(limits)),
        listener_limits: Arc::default(),
        metrics: Arc::clone(&metrics),
        send_buffer_bytes: None,
        receive_buffer_bytes: None,
        backlog: 1024,
    };
    let listener = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), options).expect("bound");
    let service = Echo { release: Arc::clone(&release), file: Arc::new(file) };
    let handle = listener.start(Arc::new(service)).expect("started");
    Server { handle, release, metrics }
}

fn request(kind: u8, n: u8) -> Bytes {
    framed(&[kind, n, 0, 0, 0, 0, 0, 0])
}

async fn answer(stream: &mut TcpStream) -> Vec<u8> {
    let len = stream.read_i32().await.expect("a length") as usize;
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await.expect("a body");
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_leave_in_the_order_of_requests_and_work_starts_before_its_turn() {
    let server = serve(LimitSettings::default(), Duration::ZERO);
    let mut stream = TcpStream::connect(server.handle.local).await.expect("connected");
    for (kind, n) in [(NOW, 1), (LATER, 2), (NOW, 3), (NOTHING, 4), (NOW, 5)] {
        stream.write_all(&request(kind, n)).await.expect("sent");
    }
    assert_eq!(answer(&mut stream).await[1], 1);
    // The second request holds the third back, though that one has been taken.
    assert!(tokio::time::timeout(Duration::from_millis(100), stream.read_i32()).await.is_err());
    server.release.notify_one();
    let second = answer(&mut stream).await;
    let third = answer(&mut stream).await;
    let fifth = answer(&mut stream).await;
    assert_eq!((second[1], third[1], fifth[1]), (2, 3, 5));
    assert_eq!((third[8], fifth[8]), (3, 5), "both were taken in the order of arrival");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exclusive_reply_keeps_later_frames_untaken() {
    let server = serve(LimitSettings::default(), Duration::ZERO);
    let mut stream = TcpStream::connect(server.handle.local).await.expect("connected");
    stream.write_all(&request(EXCLUSIVE, 1)).await.expect("sent");
    stream.write_all(&request(NOW, 2)).await.expect("sent");
    let taken = || server.metrics.frames_in_total.load(std::sync::atomic::Ordering::Relaxed);
    assert!(tokio::time::timeout(Duration::from_millis(100), stream.read_i32()).await.is_err());
    assert_eq!(taken(), 1);
    server.release.notify_one();
    assert_eq!(answer(&mut stream).await[1], 1);
    assert_eq!(answer(&mut stream).await[1], 2);
    assert_eq!(taken(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_requests_than_may_be_in_flight_all_get_their_answers() {
    let server = serve(LimitSettings::default(), Duration::ZERO);
    let mut stream = TcpStream::connect(server.handle.local).await.expect("connected");
    let all: Vec<u8> = (0..100u8).flat_map(|n| request(LATER, n).to_vec()).collect();
    stream.write_all(&all).await.expect("sent");
    for n in 0..100u8 {
        server.release.notify_one();
        assert_eq!(answer(&mut stream).await[1], n);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_range_is_sent_whole() {
    let server = serve(LimitSettings::default(), Duration::ZERO);
    let mut stream = TcpStream::connect(server.handle.local).await.expect("connected");
    stream.write_all(&request(FILE, 1)).await.expect("sent");
    stream.write_all(&request(NOW, 2)).await.expect("sent");
    let body = answer(&mut stream).await;
    assert_eq!(body.len(), FILE_BYTES);
    assert!(body.iter().all(|b| *b == 7));
    assert_eq!(answer(&mut stream).await[1], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_length_costs_its_connection_alone() {
    let server = serve(LimitSettings::default(), Duration::ZERO);
    let mut good = TcpStream::connect(server.handle.local).await.expect("connected");
    for length in [-1, 0, 3, i32::MAX, 100 * 1024 * 1024 + 1] {
        let mut bad = TcpStream::connect(server.handle.local).await.expect("connected");
        bad.write_i32(length).await.expect("sent");
        let mut rest = Vec::new();
        let _ =
            tokio::time::timeout(Duration::from_secs(5), bad.read_to_end(&mut rest)).await.expect("closed");
        assert!(rest.is_empty());
    }
    good.write_all(&request(NOW, 9)).await.expect("sent");
    assert_eq!(answer(&mut good).await[1], 9);
    assert_eq!(server.metrics.bad_frames_total.load(std::sync::atomic::Ordering::Relaxed), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_are_closed_and_busy_ones_are_not() {
    let server = serve(LimitSettings::default(), Duration::from_millis(200));
    let mut idle = TcpStream::connect(server.handle.local).await.expect("connected");
    let mut waiting = TcpStream::connect(server.handle.local).await.expect("connected");
    waiting.write_all(&request(LATER, 1)).await.expect("sent");
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(5), idle.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "an idle connection stays open");
    server.release.notify_one();
    assert_eq!(answer(&mut waiting).await[1], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_gets_no_more_connections_than_it_may_have() {
    let limits = LimitSettings { max_connections_per_ip: 2, ..Default::default() };
    let server = serve(limits, Duration::ZERO);
    let mut open = Vec::new();
    for n in 0..2 {
        let mut stream = TcpStream::connect(server.handle.local).await.expect("connected");
        stream.write_all(&request(NOW, n)).await.expect("sent");
        assert_eq!(answer(&mut stream).await[1], n);
        open.push(stream);
    }
    let mut third = TcpStream::connect(server.handle.local).await.expect("connected");
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), third.read_to_end(&mut rest)).await.expect("closed");
    drop(open.pop());
    for _ in 0..100 {
        let mut again = TcpStream::connect(server.handle.local).await.expect("connected");
        if again.write_all(&request(NOW, 7)).await.is_ok() && again.read_i32().await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the place of a closed connection was not given back");
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok()).expect("pages") * 4096
}

/// A frame's announced length is a promise, not an allocation: 1,000 connections that each announce 100 MiB and
/// send 1 KiB may cost 25.6 MiB together (256 MiB for 10,000).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn announced_bytes_that_never_come_cost_no_memory() {
    let server = serve(LimitSettings::default(), Duration::ZERO);
    let before = resident_bytes();
    let mut streams = Vec::new();
    for _ in 0..1_000 {
        let mut stream = TcpStream::connect(server.handle.local).await.expect("connected");
        stream.write_i32(100 * 1024 * 1024).await.expect("sent");
        stream.write_all(&[0; 1024]).await.expect("sent");
        streams.push(stream);
    }
    let expected = 1_000 * 1_028;
    let arrived = || server.metrics.bytes_in_total.load(std::sync::atomic::Ordering::Relaxed);
    while arrived() < expected {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 25_600 * 1024, "{grown} bytes for 1,000 connections");
}

/// However a large frame is cut on its way, the connection wakes for its end, and for what follows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_frame_that_comes_in_pieces_is_whole_and_what_follows_is_read_at_once() {
    let server = serve(LimitSettings::default(), Duration::ZERO);
    let mut stream = TcpStream::connect(server.handle.local).await.expect("connected");
    stream.set_nodelay(true).expect("no delay");
    for size in [1 << 20, 200 * 1024, 300_001] {
        let body: Vec<u8> = [NOW].into_iter().chain((1..size).map(|n: usize| (n % 251) as u8)).collect();
        for piece in framed(&body).chunks(70_000) {
            stream.write_all(piece).await.expect("sent");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let large =
            tokio::time::timeout(Duration::from_secs(20), answer(&mut stream)).await.expect("an answer");
        assert_eq!(large[..size], body, "{size} bytes");
        stream.write_all(&request(NOW, 1)).await.expect("sent");
        let small =
            tokio::time::timeout(Duration::from_secs(20), answer(&mut stream)).await.expect("an answer");
        assert_eq!(small[..2], [NOW, 1]);
    }
}
