//! The HTTP side of a node: `/metrics` for Prometheus, `/livez` and `/readyz` for supervisors.
//!
//! Three GET pages need no HTTP library: a request line is read, within limits, and one answer written.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// A request's head may not be longer.
const MAX_HEAD_BYTES: usize = 8 * 1024;
/// Requests that are answered at the same time.
const MAX_CONNECTIONS: usize = 64;
const TIMEOUT: Duration = Duration::from_secs(5);

/// Status, content type and body of a page.
pub struct Page {
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
}

impl Page {
    pub fn text(status: u16, body: impl Into<String>) -> Page {
        Page { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }
}

/// What the pages show.
pub trait Pages: Send + Sync + 'static {
    fn page(&self, path: &str) -> impl Future<Output = Page> + Send;
}

/// Binds `host:port` and serves until the returned task is dropped with the runtime.
pub async fn serve<P: Pages>(address: &str, pages: Arc<P>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let local = listener.local_addr()?;
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    tokio::spawn(async move {
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let pages = Arc::clone(&pages);
                    tokio::spawn(async move {
                        let _ = tokio::time::timeout(TIMEOUT, answer(stream, &*pages)).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an HTTP connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(local)
}

async fn answer<P: Pages>(mut stream: TcpStream, pages: &P) -> io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        let mut chunk = [0u8; 1024];
        let n = stream.read(&mut chunk).await?;
        if n == 0 || head.len() + n > MAX_HEAD_BYTES {
            return write(&mut stream, &Page::text(400, "bad request\n"), true).await;
        }
        head.extend_from_slice(&chunk[..n]);
    }
    let line = head.split(|b| *b == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line).into_owned();
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    let page = match method {
        "GET" | "HEAD" => pages.page(path).await,
        _ => Page::text(405, "only GET is served\n"),
    };
    write(&mut stream, &page, method != "HEAD").await
}

async fn write(stream: &mut TcpStream, page: &Page, with_body: bool) -> io::Result<()> {
    let reason = match page.status {
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Service Unavailable",
    };
    let head = format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        page.status,
        page.content_type,
        page.body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    if with_body {
        stream.write_all(page.body.as_bytes()).await?;
    }
    stream.shutdown().await
}
