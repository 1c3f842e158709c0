//! A listening socket: accepts connections within the limits and serves each in a task of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::connection::{self, ConnectionOptions};
use crate::limits::{ConnectionLimits, Refusal};
use crate::{NetMetrics, PeerInfo, Service};

/// Pause before trying again to accept when the limits or the process's descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

static NEXT_CONNECTION: AtomicU64 = AtomicU64::new(1);

/// How a listener takes connections.
#[derive(Debug, Clone)]
pub struct ListenerOptions {
    pub name: Arc<str>,
    pub connection: ConnectionOptions,
    pub limits: Arc<ConnectionLimits>,
    /// Limits of this listener alone (`listener.name.X.max.connections`).
    pub listener_limits: Arc<ConnectionLimits>,
    pub metrics: Arc<NetMetrics>,
    /// `socket.send.buffer.bytes` and `socket.receive.buffer.bytes`; None leaves the system's default.
    pub send_buffer_bytes: Option<usize>,
    pub receive_buffer_bytes: Option<usize>,
    /// `socket.listen.backlog.size`
    pub backlog: i32,
}

/// A bound socket that does not accept yet.
pub struct Listener {
    socket: TcpListener,
    options: ListenerOptions,
}

/// A running listener; dropping it closes the socket and the connections.
#[derive(Debug)]
pub struct ListenerHandle {
    pub local: SocketAddr,
    stop: watch::Sender<bool>,
}

impl ListenerHandle {
    /// Stops accepting and closes every connection of the listener.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

impl Listener {
    /// Binds the address. The port may be 0.
    pub fn bind(address: SocketAddr, options: ListenerOptions) -> io::Result<Listener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        if let Some(bytes) = options.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.bind(&address.into())?;
        socket.listen(options.backlog)?;
        Ok(Listener { socket: TcpListener::from_std(socket.into())?, options })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts connections until the handle is stopped or dropped. Must be called within a runtime.
    pub fn start<S: Service>(self, service: Arc<S>) -> io::Result<ListenerHandle> {
        let local = self.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(self.accept_loop(service, stopped));
        Ok(ListenerHandle { local, stop })
    }

    async fn accept_loop<S: Service>(self, service: Arc<S>, mut stopped: watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                _ = stopped.changed() => return,
                accepted = self.socket.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(e) => {
                    // Out of descriptors, or a connection that was gone before it was accepted.
                    tracing::warn!(listener = %self.options.name, error = %e, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            if !self.admit(peer, &mut stopped).await {
                continue;
            }
            self.spawn(&service, stream, peer, stopped.clone());
        }
    }

    /// Waits until the limits let the connection in; false when it must be closed.
    async fn admit(&self, peer: SocketAddr, stopped: &mut watch::Receiver<bool>) -> bool {
        let options = &self.options;
        loop {
            let refusal = match options.limits.admit(peer.ip(), Instant::now()) {
                Ok(()) => match options.listener_limits.admit(peer.ip(), Instant::now()) {
                    Ok(()) => return true,
                    Err(refusal) => {
                        options.limits.release(peer.ip());
                        refusal
                    }
                },
                Err(refusal) => refusal,
            };
            if refusal == Refusal::TooManyFromIp {
                NetMetrics::add(&options.metrics.connections_refused_total, 1);
                tracing::info!(listener = %options.name, %peer, "closed: too many connections from this address");
                return false;
            }
            tokio::select! {
                _ = stopped.changed() => return false,
                () = tokio::time::sleep(ACCEPT_PAUSE) => {}
            }
        }
    }

    fn spawn<S: Service>(
        &self,
        service: &Arc<S>,
        stream: TcpStream,
        peer: SocketAddr,
        stopped: watch::Receiver<bool>,
    ) {
        let options = self.options.clone();
        let _ = stream.set_nodelay(true);
        let socket = socket2::SockRef::from(&stream);
        let _ = socket.set_keepalive(true);
        if let Some(bytes) = options.send_buffer_bytes {
            let _ = socket.set_send_buffer_size(bytes);
        }
        let info = PeerInfo {
            id: NEXT_CONNECTION.fetch_add(1, Ordering::Relaxed),
            peer,
            local: stream.local_addr().unwrap_or(peer),
            listener: Arc::clone(&options.name),
        };
        NetMetrics::add(&options.metrics.connections_accepted_total, 1);
        options.metrics.connections.fetch_add(1, Ordering::Relaxed);
        let handler = service.connect(info);
        tokio::spawn(async move {
            let released = Released(&options, peer);
            connection::serve(
                stream,
                handler,
                options.connection.clone(),
                Arc::clone(&options.metrics),
                stopped,
            )
            .await;
            drop(released);
        });
    }
}

/// Counts the connection out of the limits however its task ends.
struct Released<'a>(&'a ListenerOptions, SocketAddr);

impl Drop for Released<'_> {
    fn drop(&mut self) {
        self.0.limits.release(self.1.ip());
        self.0.listener_limits.release(self.1.ip());
    }
}
