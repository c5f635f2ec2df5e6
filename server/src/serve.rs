//! The lifetime of the server: listen, load the model, serve, shut down in order.

use std::{future::Future, io::ErrorKind, net::SocketAddr, time::Duration};

use adire_studio::Studio;
use anyhow::Context;
use axum_server::{
    Handle,
    accept::{TcpConfigAcceptor, TcpKeepaliveConfig, TcpSocketConfig},
};
use hyper_util::rt::TokioTimer;
use tokio::net::TcpListener;

use crate::{
    connections::{ConnectionLimits, Doorkeeper},
    routes,
    shutdown::Shutdown,
    startup::Startup,
    state::{AppState, Front},
};

/// A listener of a page's events whose machine went away without a word is noticed by TCP's own probes.
const PROBE: Duration = Duration::from_secs(60);

/// Most bytes of a request's head.
const MAX_HEAD_BYTES: usize = 128 << 10;

/// The server's timeouts.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For the head of a request, the wait for the next one on an open connection included: who sends a byte a
    /// minute must not hold a connection for ever. Bodies have a limit of their own.
    pub head: Duration,
    /// With each connection, and how many of them.
    pub connections: ConnectionLimits,
    /// For open connections to end when the server ends.
    pub drain: Duration,
    /// For the worker to end its step then; the jobs are safe in the store whatever happens.
    pub worker: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(30),
            connections: ConnectionLimits::default(),
            drain: Duration::from_secs(3),
            worker: Duration::from_secs(8),
        }
    }
}

/// Serves on `listener` until `shutdown` starts. `open` opens the studio while requests are answered with
/// "starting"; `ready` is called once the studio is open.
///
/// # Errors
/// The studio cannot be opened, or the listener fails.
pub async fn serve(
    listener: TcpListener,
    front: Front,
    open: impl Future<Output = anyhow::Result<Studio>>,
    shutdown: Shutdown,
    timeouts: Timeouts,
    ready: impl FnOnce(&Studio),
) -> anyhow::Result<()> {
    let startup = Startup::default();
    let handle = Handle::new();
    // Small events must leave at once, not wait for more.
    let socket =
        TcpSocketConfig::new().nodelay(true).keepalive(TcpKeepaliveConfig::new().time(PROBE).interval(PROBE));
    let mut server = axum_server::from_tcp(listener.into_std()?)
        .context("the listener cannot be used")?
        .handle(handle.clone())
        .acceptor(Doorkeeper::new(timeouts.connections, front.access.clone(), TcpConfigAcceptor::new(socket)))
        // HTTP/2 comes with TLS, which a proxy adds; without it no browser speaks it, and one connection could hold any
        // number of answers that nobody takes.
        .http1_only()
        .first_request_timeout(timeouts.head)
        .accept_error_handler(|peer, error| match error.kind() {
            // Many, when they come at all: nothing that a log should fill with.
            ErrorKind::ConnectionRefused => tracing::debug!(?peer, %error, "a connection was closed"),
            _ => tracing::warn!(%error, "a connection could not be accepted"),
        });
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.head)
        // For a head, and for what has been made of an answer and not been taken.
        .max_buf_size(MAX_HEAD_BYTES);
    // Where a request comes from decides what it may do before an admin is set up, and how often it may guess.
    let service = startup
        .router(front.access.clone(), front.starting.clone())
        .into_make_service_with_connect_info::<SocketAddr>();
    let mut serving = tokio::spawn(server.serve(service));

    let studio = tokio::select! {
        studio = open => studio?,
        // Stopped while loading: nothing has been taken, so nothing has to be kept.
        () = shutdown.started() => {
            handle.shutdown();
            return Ok(());
        }
        ended = &mut serving => return ended.context("the listener's task failed")?.context("cannot accept connections"),
    };
    startup.open(routes::router(AppState::new(studio.clone(), front, shutdown.clone()))?);
    ready(&studio);

    tokio::select! {
        () = shutdown.started() => {}
        ended = &mut serving => return ended.context("the listener's task failed")?.context("cannot accept connections"),
    }
    tracing::info!("shutting down");
    handle.graceful_shutdown(Some(timeouts.drain));
    // Together: streams end by the switch, and the studio refuses what still comes.
    let (drained, stopped) = tokio::join!(
        tokio::time::timeout(timeouts.drain, serving),
        tokio::time::timeout(timeouts.worker, studio.shutdown())
    );
    if drained.is_err() {
        tracing::warn!(
            "some connections did not close within {} s and were dropped",
            timeouts.drain.as_secs()
        );
    }
    if stopped.is_err() {
        tracing::warn!(
            "the worker is still in a step after {} s; its job resumes after restart",
            timeouts.worker.as_secs()
        );
    }
    Ok(())
}
