//! The life of the server: listen, load, open the gate, and end in order.

use std::{future::Future, sync::Arc, time::Duration};

use adire_studio::Studio;
use anyhow::Context;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

use crate::{gate::Gate, routes, shutdown::Shutdown, site::Site, state::AppState};

/// How long open connections may take to end.
const DRAIN: Duration = Duration::from_secs(3);
/// How long the worker may take to end its step; the jobs are safe in the store whatever happens.
const WORKER: Duration = Duration::from_secs(8);

/// Serves on `listener` until `shutdown` starts. `open` opens the studio while requests are answered with
/// "warming up" already; `ready` is called once when it has.
///
/// # Errors
/// The studio cannot be opened, or the listener fails.
pub async fn serve(
    listener: TcpListener,
    site: Arc<Site>,
    open: impl Future<Output = anyhow::Result<Studio>>,
    shutdown: Shutdown,
    ready: impl FnOnce(&Studio),
) -> anyhow::Result<()> {
    let gate = Gate::default();
    // Small events must leave at once, not wait for more.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
    });
    let serving = axum::serve(listener, gate.router()).with_graceful_shutdown(shutdown.started());
    let mut serving = tokio::spawn(serving.into_future());

    let studio = tokio::select! {
        studio = open => studio?,
        // Stopped while loading: nothing has been taken, so nothing has to be kept.
        () = shutdown.started() => return Ok(()),
        ended = &mut serving => return ended.context("the listener's task failed")?.context("cannot accept connections"),
    };
    gate.open(routes::router(AppState::new(studio.clone(), site, shutdown.clone()))?);
    ready(&studio);

    tokio::select! {
        () = shutdown.started() => {}
        ended = &mut serving => return ended.context("the listener's task failed")?.context("cannot accept connections"),
    }
    tracing::info!("shutting down");
    // Together: streams end by the switch, and the studio refuses what still comes.
    let (drained, stopped) =
        tokio::join!(tokio::time::timeout(DRAIN, serving), tokio::time::timeout(WORKER, studio.shutdown()));
    if drained.is_err() {
        tracing::warn!("some connections did not end in {} s and are cut", DRAIN.as_secs());
    }
    if stopped.is_err() {
        tracing::warn!(
            "the worker is still in a step after {} s; its job goes on at the next start",
            WORKER.as_secs()
        );
    }
    Ok(())
}
