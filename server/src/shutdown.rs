//! One switch that ends the server: thrown by SIGINT or SIGTERM, seen by the listener and by every open
//! event stream.

use std::sync::Arc;

use tokio::sync::watch;

/// A handle to the switch; clones see the same one.
#[derive(Clone, Debug)]
pub struct Shutdown(Arc<watch::Sender<bool>>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Shutdown {
    /// Throws it. Twice is the same as once.
    pub fn start(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is thrown; returns at once when it has been. Owns what it needs, so a stream may keep it.
    pub fn started(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut seen = self.0.subscribe();
        async move {
            // An error means that the sender is gone, and the server with it.
            let _ = seen.wait_for(|started| *started).await;
        }
    }
}

/// Waits for SIGINT (Ctrl-C) or, on Unix, SIGTERM, and names it.
///
/// # Errors
/// The system refuses signal handlers.
pub(crate) async fn signal() -> std::io::Result<&'static str> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result.map(|()| "SIGINT"),
            _ = terminate.recv() => Ok("SIGTERM"),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.map(|()| "Ctrl-C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everyone_sees_it_also_those_who_come_late() {
        let shutdown = Shutdown::default();
        let early = tokio::spawn(shutdown.started());
        shutdown.start();
        early.await.unwrap();
        shutdown.clone().started().await;
    }
}
