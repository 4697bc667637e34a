//! One handle that says: stop.

use std::io;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Whether the process (or a part of it) shall stop. Clones share one state; once set it stays set.
#[derive(Debug, Clone)]
pub struct Shutdown {
    sender: watch::Sender<bool>,
}

impl Shutdown {
    /// Not set; set by [`Shutdown::trigger`] alone.
    #[must_use]
    pub fn manual() -> Self {
        Self { sender: watch::Sender::new(false) }
    }

    /// Set by the first SIGTERM or SIGINT. A second one ends the process at once, so that a stuck shutdown needs no SIGKILL.
    ///
    /// # Errors
    /// The signal handlers cannot be installed.
    pub fn on_signals() -> io::Result<Self> {
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let shutdown = Self::manual();
        let handle = shutdown.clone();
        tokio::spawn(async move {
            let mut next = async || {
                tokio::select! {
                    _ = term.recv() => "SIGTERM",
                    _ = int.recv() => "SIGINT",
                }
            };
            let name = next().await;
            tracing::info!(signal = name, "shutting down");
            handle.trigger();
            let name = next().await;
            tracing::warn!(signal = name, "asked again: ending at once");
            std::process::exit(1);
        });
        Ok(shutdown)
    }

    /// Sets it.
    pub fn trigger(&self) {
        self.sender.send_replace(true);
    }

    /// Whether it is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        *self.sender.borrow()
    }

    /// Waits until it is set.
    pub async fn wait(&self) {
        // The sender lives in `self`, so this ends only by the value.
        let _ = self.sender.subscribe().wait_for(|set| *set).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn clones_share_the_state_and_waiting_after_the_fact_returns() {
        let shutdown = Shutdown::manual();
        let other = shutdown.clone();
        assert!(!other.is_set());
        let waiter = tokio::spawn(async move { other.wait().await });
        shutdown.trigger();
        waiter.await.unwrap();
        assert!(shutdown.is_set());
        shutdown.wait().await;
    }
}
