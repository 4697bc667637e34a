//! `/metrics`: over HTTPS to whom the API server allows it, or in the clear to everybody where that was asked for.

use super::{
    https::{self, Answer, Patience},
    review::{Access, Reviewer},
};
use crate::{
    metrics::{Registry, text::CONTENT_TYPE},
    shutdown::Shutdown,
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Where the metrics are.
pub(super) const PATH: &str = "/metrics";

/// How metrics are protected.
pub(super) enum Gate {
    /// Not at all.
    Open,
    /// TLS with this certificate, and a bearer token that the API server knows.
    Closed(TlsAcceptor, Box<Reviewer>),
}

/// Serves until shutdown.
pub(super) async fn serve(
    listener: TcpListener,
    gate: Gate,
    patience: Patience,
    registry: Arc<Registry>,
    shutdown: Shutdown,
) {
    let (tls, reviewer) = match gate {
        Gate::Open => (None, None),
        Gate::Closed(acceptor, reviewer) => (Some(acceptor), Some(reviewer)),
    };
    https::serve(listener, tls, patience, Metrics { reviewer, registry }, shutdown).await;
}

struct Metrics {
    /// `None`: everybody may.
    reviewer: Option<Box<Reviewer>>,
    registry: Arc<Registry>,
}

impl Answer for Metrics {
    const NAME: &'static str = "/metrics";

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        answer(&request, self.reviewer.as_deref(), &self.registry).await
    }
}

async fn answer(
    request: &Request<Incoming>,
    reviewer: Option<&Reviewer>,
    registry: &Registry,
) -> Response<Full<Bytes>> {
    if request.uri().path() != PATH {
        return refuse(StatusCode::NOT_FOUND, "only /metrics is here\n");
    }
    if request.method() != Method::GET {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    let access = match (reviewer, bearer(request.headers())) {
        (None, _) => Access::Allowed,
        (Some(reviewer), Some(token)) => reviewer.access(token).await,
        (Some(_), None) => Access::Unauthenticated,
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
