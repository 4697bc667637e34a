//! The HTTP endpoints of a daemon, each on an address of its own: `/healthz` and `/readyz`, `/metrics`, and `/debug/state` on loopback.

mod https;
mod review;
mod scrape;
mod webhook;

pub use webhook::{Review, Webhook};

use crate::{
    certificate::{Certificate, CertificateError, Source},
    metrics::Registry,
    readiness::Readiness,
    shutdown::Shutdown,
    tls::{TlsError, TlsOptions},
};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::future::BoxFuture;
use https::Patience;
use review::Reviewer;
use scrape::Gate;
use serde::Serialize;
use serde_json::json;
use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};
use tokio_rustls::TlsAcceptor;

/// How long `/debug/state` waits for the task that owns the state.
const DEBUG_TIMEOUT: Duration = Duration::from_secs(5);

/// Where to listen.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    /// `/healthz`, `/readyz`.
    pub health: SocketAddr,
    /// `/metrics`; `None` serves none.
    pub metrics: Option<(SocketAddr, Protection)>,
    /// `/debug/state`, which nothing protects: an address of loopback; `None` serves none.
    pub debug: Option<SocketAddr>,
}

/// Who may read metrics.
#[derive(Clone)]
pub enum Protection {
    /// Everybody, in the clear.
    None,
    /// Over HTTPS, whoever has a token that the API server knows and that RBAC allows to get the nonResourceURL `/metrics`.
    Https {
        /// The certificate.
        certificate: Source,
        /// To ask the API server with.
        client: crate::client::Client,
        /// How TLS is spoken.
        tls: TlsOptions,
    },
}

impl fmt::Debug for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Https { certificate, .. } => {
                f.debug_struct("Https").field("certificate", certificate).finish_non_exhaustive()
            }
        }
    }
}

/// Asks the owner of the state for it, of one Service or of all; `None` when it does not answer.
pub type DebugState = Arc<dyn Fn(Option<String>) -> BoxFuture<'static, Option<Vec<u8>>> + Send + Sync>;

/// A request for the state; the driver task answers it.
#[derive(Debug)]
pub struct DebugRequest {
    service: Option<String>,
    answer: oneshot::Sender<Vec<u8>>,
}

impl DebugRequest {
    /// Whether a Service (`namespace/name`) is asked for: without a filter every one is.
    #[must_use]
    pub fn wants(&self, service: &str) -> bool {
        self.service.as_ref().is_none_or(|wanted| wanted == service)
    }

    /// Answers with this state, as JSON. Whoever asked may have gone: then it is dropped.
    pub fn answer(self, state: &impl Serialize) {
        let text =
            serde_json::to_vec(state).unwrap_or_else(|error| json!({ "error": error.to_string() }).to_string().into());
        drop(self.answer.send(text));
    }
}

/// A [`DebugState`] that asks a driver task through its channel: the state is rendered only when somebody looks.
#[must_use]
pub fn ask(requests: mpsc::Sender<DebugRequest>) -> DebugState {
    Arc::new(move |service| {
        let requests = requests.clone();
        Box::pin(async move {
            let (answer, receive) = oneshot::channel();
            let exchange = async move {
                requests.send(DebugRequest { service, answer }).await.ok()?;
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
    /// No certificate for the metrics endpoint.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// TLS cannot be spoken as it was asked for.
    #[error(transparent)]
    Tls(#[from] TlsError),
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
pub struct Admin {
    health: TcpListener,
    metrics: Option<(TcpListener, Gate)>,
    debug: Option<TcpListener>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("health", &self.health).field("debug", &self.debug).finish_non_exhaustive()
    }
}

impl Admin {
    /// Binds the addresses. Port 0 takes any free one.
    ///
    /// # Errors
    /// An address that cannot be had, or a certificate that cannot.
    pub async fn bind(config: AdminConfig) -> Result<Self, AdminError> {
        let health = bind(config.health, "health probes").await?;
        let metrics = match config.metrics {
            Some((address, protection)) => Some((bind(address, "metrics").await?, gate(protection)?)),
            None => None,
        };
        let debug = match config.debug {
            Some(address) => Some(bind(address, "debug state").await?),
            None => None,
        };
        Ok(Self { health, metrics, debug })
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
        self.metrics.as_ref().map(|(listener, _)| listener.local_addr()).transpose()
    }

    /// Where the state is shown; `None` when it is not.
    ///
    /// # Errors
    /// The system does not say.
    pub fn debug_address(&self) -> io::Result<Option<SocketAddr>> {
        self.debug.as_ref().map(TcpListener::local_addr).transpose()
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
            if let Some((listener, gate)) = self.metrics {
                scrape::serve(listener, gate, Patience::default(), registry, shutdown.clone()).await;
            }
            Ok(())
        };
        let debug = async {
            match self.debug {
                Some(listener) => run(listener, debug_router(debug), "debug state", shutdown.clone()).await,
                None => Ok(()),
            }
        };
        tokio::try_join!(health, metrics, debug).map(|_| ())
    }
}

fn gate(protection: Protection) -> Result<Gate, AdminError> {
    match protection {
        Protection::None => Ok(Gate::Open),
        Protection::Https { certificate, client, tls } => {
            let certificate = Arc::new(Certificate::new(certificate, SystemTime::now())?);
            let acceptor = TlsAcceptor::from(Arc::new(tls.server_config(certificate)?));
            Ok(Gate::Closed(acceptor, Box::new(Reviewer::new(client, scrape::PATH))))
        }
    }
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

/// `/debug/state`, and `/debug/state/NAMESPACE/NAME`: of one Service alone, where the state is by Service.
fn debug_router(debug: DebugState) -> Router {
    Router::new()
        .route("/debug/state", get(|State(debug): State<DebugState>| answer(debug(None))))
        .route(
            "/debug/state/{namespace}/{name}",
            get(|State(debug): State<DebugState>, Path((namespace, name)): Path<(String, String)>| {
                answer(debug(Some(format!("{namespace}/{name}"))))
            }),
        )
        .with_state(debug)
}

async fn answer(state: BoxFuture<'static, Option<Vec<u8>>>) -> Response {
    match state.await {
        Some(state) => ([(CONTENT_TYPE, "application/json")], state).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": "the driver task does not answer" })))
            .into_response(),
    }
}

#[cfg(test)]
mod tests;
