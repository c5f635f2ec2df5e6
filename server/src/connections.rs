//! Connections: how many there may be, in all and from one network, and for how long a client may take nothing of what
//! it requested. One that is over the limit is answered at once and closed, so that it takes no descriptor from others.

use std::{
    collections::HashMap,
    future::Future,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use adire_studio::Network;
use axum_server::accept::{Accept, TcpConfigAcceptor};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

use crate::access::Access;

/// Most that the server holds where the system would let it have more.
const MAX_CONNECTIONS: usize = 4096;
/// Descriptors that are the studio's: database, blobs, models, logs.
const RESERVED: u64 = 256;
/// When all but a quarter of the places are taken, a network may hold so many: a network that fills the rest leaves room for
/// those who come with a browser.
const FEW: usize = 8;
/// For the answer to a connection that is one too many.
const GOODBYE: Duration = Duration::from_secs(1);

/// How many connections, and how patient the server is with each.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// From everywhere.
    pub in_all: usize,
    /// From one network. A trusted proxy serves many clients, so only `in_all` holds for it.
    pub per_network: usize,
    /// A client that takes nothing of an answer for so long is cut off.
    pub stall: Duration,
}

impl ConnectionLimits {
    /// Limits for a process that may have so many files open. An answer may need a file beside its connection.
    pub fn for_files(most: u64) -> Self {
        let in_all = usize::try_from(most.saturating_sub(RESERVED) / 2)
            .unwrap_or(MAX_CONNECTIONS)
            .clamp(32, MAX_CONNECTIONS);
        Self { in_all, per_network: (in_all / 2).min(200), stall: Duration::from_secs(30) }
    }
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self::for_files(1024)
    }
}

/// Who holds how many.
#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_network: HashMap<Network, usize>,
}

/// Lets connections in, and wraps those that are.
#[derive(Clone)]
pub(crate) struct Doorkeeper {
    limits: ConnectionLimits,
    access: Arc<Access>,
    socket: TcpConfigAcceptor,
    open: Arc<Mutex<Open>>,
}

impl Doorkeeper {
    pub(crate) fn new(limits: ConnectionLimits, access: Arc<Access>, socket: TcpConfigAcceptor) -> Self {
        Self { limits, access, socket, open: Arc::default() }
    }

    fn enter(&self, peer: SocketAddr) -> Option<Place> {
        let network = Network::of(peer.ip());
        let ConnectionLimits { in_all, per_network, .. } = self.limits;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let all = open.all;
        let own = open.by_network.get(&network).copied().unwrap_or(0);
        let crowded = all >= in_all - in_all / 4;
        let fits = self.access.trusts(peer.ip()) || (own < per_network && (!crowded || own < FEW));
        if all >= in_all || !fits {
            return None;
        }
        open.all += 1;
        *open.by_network.entry(network).or_default() += 1;
        Some(Place { open: self.open.clone(), network })
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for Doorkeeper {
    type Stream = Watched<TcpStream>;
    type Service = S;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, S)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let here = self.clone();
        Box::pin(async move {
            let Some(place) = here.enter(stream.peer_addr()?) else {
                let _ = tokio::time::timeout(GOODBYE, refuse(&stream)).await;
                return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "too many connections"));
            };
            let (stream, service) = here.socket.accept(stream, service).await?;
            Ok((
                Watched { io: stream, stall: here.limits.stall, timer: None, waits: false, _place: place },
                service,
            ))
        })
    }
}

/// Says why, as far as the socket takes it at once.
async fn refuse(stream: &TcpStream) -> io::Result<()> {
    const ANSWER: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
        retry-after: 30\r\nconnection: close\r\ncontent-length: 179\r\n\r\n\
        {\"type\":\"urn:adire:problem:too-many-connections\",\"title\":\"Too many connections\",\"status\":503,\
        \"detail\":\"Too many connections are open; close some and try again.\",\"retry_after\":30}\n";
    stream.writable().await?;
    stream.try_write(ANSWER.as_bytes()).map(drop)
}

/// A connection's place; given back when it is dropped.
#[derive(Debug)]
struct Place {
    open: Arc<Mutex<Open>>,
    network: Network,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        if let Some(own) = open.by_network.get_mut(&self.network) {
            *own -= 1;
            if *own == 0 {
                open.by_network.remove(&self.network);
            }
        }
    }
}

/// A connection that ends when its client takes nothing for too long. One that is idle, or a stream on which nothing
/// happens, has nothing to take.
#[derive(Debug)]
pub(crate) struct Watched<I> {
    io: I,
    stall: Duration,
    /// Made when first needed, and kept.
    timer: Option<Pin<Box<Sleep>>>,
    /// Something is to be written that has not been taken.
    waits: bool,
    _place: Place,
}

impl<I> Watched<I> {
    /// Passes on how a write went, or that it has waited too long.
    fn watch<T>(&mut self, context: &mut Context<'_>, went: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if went.is_ready() {
            self.waits = false;
            return went;
        }
        let stall = self.stall;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(stall)));
        if !self.waits {
            self.waits = true;
            timer.as_mut().reset(Instant::now() + stall);
        }
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client stopped reading")))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let went = Pin::new(&mut self.io).poll_write(context, bytes);
        self.watch(context, went)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let went = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.watch(context, went)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let went = Pin::new(&mut self.io).poll_flush(context);
        if went.is_pending() { self.watch(context, went) } else { went }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use axum_server::accept::TcpSocketConfig;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::access::{AccessSettings, parse_network};

    fn doorkeeper(in_all: usize, per_network: usize) -> (tempfile::TempDir, Doorkeeper) {
        let data = tempfile::tempdir().unwrap();
        let trusted_proxies = vec![parse_network("10.9.9.9").unwrap()];
        let settings = AccessSettings { trusted_proxies, ..AccessSettings::default() };
        let access = Arc::new(Access::open(data.path(), settings).unwrap());
        let limits = ConnectionLimits { in_all, per_network, stall: Duration::from_secs(30) };
        (data, Doorkeeper::new(limits, access, TcpConfigAcceptor::new(TcpSocketConfig::new())))
    }

    fn peer(text: &str) -> SocketAddr {
        format!("{text}:1").parse().unwrap()
    }

    #[test]
    fn one_network_gets_its_share_and_a_full_house_leaves_room_for_newcomers() {
        let (_data, door) = doorkeeper(100, 60);
        let first: Vec<_> = std::iter::from_fn(|| door.enter(peer("10.0.0.1"))).collect();
        assert_eq!(first.len(), 60);
        let second: Vec<_> = std::iter::from_fn(|| door.enter(peer("10.0.0.2"))).collect();
        assert_eq!(second.len(), 15, "up to three quarters of all");
        let third: Vec<_> = std::iter::from_fn(|| door.enter(peer("10.0.0.3"))).collect();
        assert_eq!(third.len(), 8);
        let proxy: Vec<_> = std::iter::from_fn(|| door.enter(peer("10.9.9.9"))).collect();
        assert_eq!(proxy.len(), 100 - 60 - 15 - 8);
        assert!(door.enter(peer("10.0.0.4")).is_none());
        drop((first, second, third, proxy));
        assert!(door.open.lock().unwrap().by_network.is_empty());
        assert!(door.enter(peer("10.0.0.1")).is_some());
    }

    #[test]
    fn the_system_s_limit_leaves_descriptors_for_the_studio() {
        for files in [64, 256, 1024, 4096, 1 << 20, u64::MAX] {
            let limits = ConnectionLimits::for_files(files);
            assert!(limits.in_all >= 32 && limits.per_network <= limits.in_all / 2, "{files}: {limits:?}");
            if files >= 512 {
                assert!(2 * limits.in_all as u64 + RESERVED <= files, "{files}: {limits:?}");
            }
        }
    }

    #[tokio::test]
    async fn who_takes_nothing_is_cut_off() {
        let (_data, door) = doorkeeper(10, 10);
        let (ours, mut theirs) = tokio::io::duplex(16);
        let place = door.enter(peer("10.0.0.1")).unwrap();
        let stall = Duration::from_millis(50);
        let mut connection = Watched { io: ours, stall, timer: None, waits: false, _place: place };
        let writing = tokio::spawn(async move { connection.write_all(&[7; 200]).await });
        theirs.read_exact(&mut [0; 16]).await.unwrap();
        assert_eq!(writing.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(door.open.lock().unwrap().by_network.is_empty(), "its place is free");
    }

    #[tokio::test]
    async fn an_idle_connection_has_nothing_to_take() {
        let (_data, door) = doorkeeper(10, 10);
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let place = door.enter(peer("10.0.0.1")).unwrap();
        let stall = Duration::from_millis(1);
        let mut connection = Watched { io: ours, stall, timer: None, waits: false, _place: place };
        connection.write_all(b"before").await.unwrap();
        tokio::time::sleep(10 * stall).await;
        connection.write_all(b"after").await.unwrap();
        drop(connection);
        let mut taken = String::new();
        theirs.read_to_string(&mut taken).await.unwrap();
        assert_eq!(taken, "beforeafter");
    }
}
