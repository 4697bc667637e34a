//! The HTTP endpoints of a daemon: `/healthz` and `/readyz` on one address, `/metrics` and `/debug/state` on another.
//!
//! Metrics are plain HTTP and so belong on loopback in this version. HTTPS with TokenReview and SubjectAccessReview takes the place of
//! `metrics_router`'s listener in [`serve`]; `/debug/state` stays on loopback even then.

use crate::{
    metrics::{CONTENT_TYPE, encode},
    readiness::Readiness,
    shutdown::Shutdown,
};
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::future::BoxFuture;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};

/// How long `/debug/state` waits for the task that owns the state.
const DEBUG_TIMEOUT: Duration = Duration::from_secs(5);

/// Where to listen.
#[derive(Debug, Clone, Copy)]
pub struct AdminConfig {
    /// `/healthz`, `/readyz`.
    pub health: SocketAddr,
    /// `/metrics`, and on loopback also `/debug/state`; `None` serves neither.
    pub metrics: Option<SocketAddr>,
}

/// Asks the owner of the state for it; `None` when it does not answer.
pub type DebugState = Arc<dyn Fn() -> BoxFuture<'static, Option<Value>> + Send + Sync>;

/// A request for the state; the driver task answers on the sender.
pub type DebugRequest = oneshot::Sender<Value>;

/// A [`DebugState`] that asks a driver task through its channel: the state is rendered only when somebody looks.
#[must_use]
pub fn ask(requests: mpsc::Sender<DebugRequest>) -> DebugState {
    Arc::new(move || {
        let requests = requests.clone();
        Box::pin(async move {
            let (answer, receive) = oneshot::channel();
            let exchange = async move {
                requests.send(answer).await.ok()?;
                receive.await.ok()
            };
            tokio::time::timeout(DEBUG_TIMEOUT, exchange).await.ok().flatten()
        })
    })
}

/// Why the endpoints cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address cannot be had.
    #[error("cannot listen on {address} ({endpoint}): {source}: is another process there? Choose another port")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What it is for.
        endpoint: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Serving ended by itself.
    #[error("serving {endpoint} ended: {source}")]
    Serve {
        /// What ended.
        endpoint: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

/// Listeners that are bound already, so that a port conflict is an error of the start and not of some moment later.
#[derive(Debug)]
pub struct Admin {
    health: TcpListener,
    metrics: Option<TcpListener>,
}

impl Admin {
    /// Binds the addresses. Port 0 takes any free one.
    ///
    /// # Errors
    /// An address that cannot be had.
    pub async fn bind(config: AdminConfig) -> Result<Self, AdminError> {
        let health = bind(config.health, "health probes").await?;
        let metrics = match config.metrics {
            Some(address) => Some(bind(address, "metrics").await?),
            None => None,
        };
        Ok(Self { health, metrics })
    }

    /// Where health probes are served.
    ///
    /// # Errors
    /// The system does not say.
    pub fn health_address(&self) -> io::Result<SocketAddr> {
        self.health.local_addr()
    }

    /// Where metrics are served; `None` when they are not.
    ///
    /// # Errors
    /// The system does not say.
    pub fn metrics_address(&self) -> io::Result<Option<SocketAddr>> {
        self.metrics.as_ref().map(TcpListener::local_addr).transpose()
    }

    /// Serves until shutdown.
    ///
    /// # Errors
    /// A listener that fails.
    pub async fn serve(
        self,
        registry: Arc<Registry>,
        readiness: Readiness,
        debug: DebugState,
        shutdown: Shutdown,
    ) -> Result<(), AdminError> {
        let health = run(self.health, health_router(readiness), "health probes", shutdown.clone());
        let metrics = async {
            match self.metrics {
                Some(listener) => {
                    let loopback = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
                    run(listener, metrics_router(registry, loopback.then_some(debug)), "metrics", shutdown).await
                }
                None => Ok(()),
            }
        };
        tokio::try_join!(health, metrics).map(|_| ())
    }
}

/// Binds and serves until shutdown; see [`Admin`].
///
/// # Errors
/// An address that cannot be had, a listener that fails.
pub async fn serve(
    config: AdminConfig,
    registry: Arc<Registry>,
    readiness: Readiness,
    debug: DebugState,
    shutdown: Shutdown,
) -> Result<(), AdminError> {
    Admin::bind(config).await?.serve(registry, readiness, debug, shutdown).await
}

/// All addresses of both families where the kernel has IPv6, else of IPv4.
#[must_use]
pub fn any_address(port: u16) -> SocketAddr {
    let has_v6 = std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok();
    if has_v6 { (Ipv6Addr::UNSPECIFIED, port).into() } else { (Ipv4Addr::UNSPECIFIED, port).into() }
}

async fn bind(address: SocketAddr, endpoint: &'static str) -> Result<TcpListener, AdminError> {
    TcpListener::bind(address).await.map_err(|source| AdminError::Bind { address, endpoint, source })
}

async fn run(
    listener: TcpListener,
    router: Router,
    endpoint: &'static str,
    shutdown: Shutdown,
) -> Result<(), AdminError> {
    // Ends with the shutdown and not with the last keep-alive connection: a probe must not delay the process.
    let server = axum::serve(listener, router).into_future();
    tokio::select! {
        result = server => result.map_err(|source| AdminError::Serve { endpoint, source }),
        () = shutdown.wait() => Ok(()),
    }
}

/// `/healthz` and `/readyz`.
fn health_router(readiness: Readiness) -> Router {
    Router::new()
        // Answered by the runtime that does the work: a process that is stuck does not answer.
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(|State(readiness): State<Readiness>| async move {
                let report = readiness.report();
                let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                (status, report.text)
            }),
        )
        .with_state(readiness)
}

/// `/metrics`, and `/debug/state` where it may be shown.
fn metrics_router(registry: Arc<Registry>, debug: Option<DebugState>) -> Router {
    let router = Router::new().route("/metrics", get(metrics).with_state(registry));
    match debug {
        Some(debug) => router.route("/debug/state", get(debug_state).with_state(debug)),
        None => router,
    }
}

async fn metrics(State(registry): State<Arc<Registry>>) -> Response {
    match encode(&registry) {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn debug_state(State(debug): State<DebugState>) -> Response {
    match debug().await {
        Some(state) => Json(state).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": "the driver task does not answer" })))
            .into_response(),
    }
}

#[cfg(test)]
mod tests;
