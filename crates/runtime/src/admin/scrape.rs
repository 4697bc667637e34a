//! `/metrics`: over HTTPS to whom the API server allows it, or in the clear to everybody where that was asked for.
//!
//! Every byte here may come from an enemy, and the speaker answers ARP on the same thread: connections are few, paced and short. Each carries
//! one request, so that no idle one keeps buffers; a TLS handshake per scrape costs less than a millisecond.

use super::review::{Access, Reviewer};
use crate::{
    certificate::Certificate,
    metrics::{Registry, text::CONTENT_TYPE},
    shutdown::Shutdown,
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

/// Where the metrics are.
pub(super) const PATH: &str = "/metrics";
/// Connections at once; more wait in the kernel.
const CONNECTIONS: usize = 8;
/// Pause between two new connections: bounds the handshakes, and with them the processor time that strangers can take.
const PACE: Duration = Duration::from_millis(20);
/// After an accept that failed, usually for want of file descriptors.
const RECOVER: Duration = Duration::from_millis(500);
/// Longest head of a request: a bearer token of 8 KiB and what Prometheus says beside it.
const HEAD_BYTES: usize = 16 * 1024;
/// Most headers of a request.
const HEADERS: usize = 32;

/// How long a caller may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For the TLS handshake.
    handshake: Duration,
    /// For the head of the request.
    head: Duration,
    /// For everything, the API server's reviews and a slow reader included.
    connection: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { handshake: seconds(5), head: seconds(5), connection: seconds(30) }
    }
}

/// How metrics are protected.
pub(super) enum Gate {
    /// Not at all.
    Open,
    /// TLS with this certificate, and a bearer token that the API server knows.
    Closed(TlsAcceptor, Box<Reviewer>),
}

impl Gate {
    /// TLS with this certificate, and this reviewer of tokens.
    pub(super) fn closed(
        certificate: &Arc<Certificate>,
        reviewer: Reviewer,
    ) -> Result<Self, crate::certificate::CertificateError> {
        Ok(Self::Closed(TlsAcceptor::from(Arc::new(certificate.server_config()?)), Box::new(reviewer)))
    }
}

/// Serves until shutdown.
pub(super) async fn serve(
    listener: TcpListener,
    gate: Gate,
    patience: Patience,
    registry: Arc<Registry>,
    shutdown: Shutdown,
) {
    let shared = Arc::new(Shared { gate, patience, registry });
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    // Ends its tasks with this function.
    let mut connections = JoinSet::new();
    let accept = async {
        loop {
            while connections.try_join_next().is_some() {}
            // Never closed.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let shared = Arc::clone(&shared);
                    connections.spawn(async move {
                        let served = timeout(patience.connection, connection(stream, &shared)).await;
                        if let Some(error) = served.unwrap_or(Err("took too long".to_owned())).err() {
                            tracing::debug!(%peer, error, "a connection to /metrics ended early");
                        }
                        drop(place);
                    });
                    sleep(PACE).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection to /metrics can be accepted");
                    sleep(RECOVER).await;
                }
            }
        }
    };
    tokio::select! {
        () = accept => {}
        () = shutdown.wait() => {}
    }
}

struct Shared {
    gate: Gate,
    patience: Patience,
    registry: Arc<Registry>,
}

async fn connection(stream: TcpStream, shared: &Shared) -> Result<(), String> {
    match &shared.gate {
        Gate::Open => exchange(stream, shared).await,
        Gate::Closed(acceptor, _) => {
            let handshake = timeout(shared.patience.handshake, acceptor.accept(stream)).await;
            let stream =
                handshake.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|e| e.to_string())?;
            exchange(stream, shared).await
        }
    }
}

/// One request and its answer.
async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin, shared: &Shared) -> Result<(), String> {
    let service =
        service_fn(async |request| Ok::<_, Infallible>(answer(&request, &shared.gate, &shared.registry).await));
    http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .timer(TokioTimer::new())
        .header_read_timeout(shared.patience.head)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .map_err(|error| error.to_string())
}

async fn answer(request: &Request<Incoming>, gate: &Gate, registry: &Registry) -> Response<Full<Bytes>> {
    if request.uri().path() != PATH {
        return refuse(StatusCode::NOT_FOUND, "only /metrics is here\n");
    }
    if request.method() != Method::GET {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    let access = match gate {
        Gate::Open => Access::Allowed,
        Gate::Closed(_, reviewer) => match bearer(request.headers()) {
            Some(token) => reviewer.access(token).await,
            None => Access::Unauthenticated,
        },
    };
    match access {
        Access::Allowed => {
            let mut response = Response::new(Full::new(Bytes::from(registry.encode())));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
            response
        }
        Access::Unauthenticated => {
            let mut response =
                refuse(StatusCode::UNAUTHORIZED, "a bearer token of this cluster is needed: see docs/metrics.md\n");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            response
        }
        Access::Forbidden => {
            refuse(StatusCode::FORBIDDEN, "RBAC does not allow you to get the nonResourceURL /metrics\n")
        }
        Access::Unknown => {
            refuse(StatusCode::SERVICE_UNAVAILABLE, "the API server does not say whether you may: see the log\n")
        }
    }
}

/// The token of `Authorization: Bearer TOKEN`; the scheme in any case (RFC 9110 section 11.1).
fn bearer(headers: &http::HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn refuse(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests;
